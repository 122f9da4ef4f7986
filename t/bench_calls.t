#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# The measuring command's calls of functions: what it prints, that its ratios
# are those of its rounds, and that an answer which is not that of its call
# fails the run instead of being counted.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Temp qw(tempdir);
use JSON::PP;
use Test::More;

use Broadcast::Nginx;
use Broadcast::Postgres;
use Broadcast::Wait qw(slurp);

my $top = "$FindBin::Bin/..";
my $tmp = tempdir(CLEANUP => 1);


my $text = `$top/util/bench --only calls --quick --rounds 1 --clients 16 \\
            --json $tmp/bench.json 2>$tmp/bench.log`;

is($?, 0, 'a run succeeds') or diag(slurp("$tmp/bench.log"));

like($text, qr{^calls,\ 16\ clients\ +pgbench\ +exposed\ +volatile\ +message
               \ +exp/pgb\ +vol/pgb\ +mes/pgb}mx,
     'the table tells the columns');
like($text, qr/^calls per second(?: +~?\d+){4}(?: +\d+\.\d\d){3} /m,
     'all four were called');
like($text, qr/fsync=off/, 'what the cluster was set to is told');

my $json = decode_json(slurp("$tmp/bench.json") // '{}');
my $rounds = $json->{calls}{rounds};

is_deeply($json->{failed}, [], 'no run failed');

for my $column (qw(pgbench method volatile message)) {
    my $run = $rounds->{$column}[0];

    cmp_ok($run->{per_second}, '>', 1, "$column: it was called");
    ok($run->{p50_us} > 0 && $run->{p50_us} <= $run->{p99_us}
       && $run->{p99_us} <= $run->{max_us}, "$column: times have an order");
}

my $row = $json->{calls}{table}[0];
my $ratio = $rounds->{method}[0]{per_second}
            / $rounds->{pgbench}[0]{per_second};

cmp_ok(abs($row->{ratio}{method} - $ratio), '<', 0.001,
       'the ratio is that of the exposed function to pgbench');
like($row->{aim}, $ratio < 0.6 ? qr/^at least 0.6: missed$/
                               : qr/^at least 0.6: met$/,
     'and is compared with the aim');


# the load generator's own alarm

my $pg = Broadcast::Postgres->new;

$pg->createdb('app', 'app');
$pg->file("$top/sql/broadcast.sql", db => 'app', user => 'app');
$pg->psql(<<'SQL', db => 'app', user => 'app');
    CREATE FUNCTION wrong(event jsonb) RETURNS jsonb LANGUAGE sql AS $$
        SELECT jsonb_build_object('result', CASE
            WHEN event #>> '{arguments,0}' = 'number 00000003'
            THEN '"number 00000004"' ELSE event #> '{arguments,0}' END) $$;

    SELECT broadcast.bind('message', 'wrong', 'chat', 'Wrong');
SQL

my $nginx = Broadcast::Nginx->new(
    http => 'broadcast_zone hubs 4m; '
            . 'broadcast_database "' . $pg->conninfo('app', 'app') . '";',
    server => 'location /client { broadcast_hub anonymous; }');

$nginx->start;

for my $loop (qw(--calls --open)) {
    my $out = `$top/build/bench/load --port @{[ $nginx->port ]} --signalr \\
               --path '/client?hub=chat' --publish / --pids @{[ $nginx->pid ]} \\
               --database @{[ $pg->pid ]} --clients 10 --target Wrong $loop 500`;

    is($? >> 8, 1, "$loop: a wrong answer fails the load generator");
    like(decode_json($out)->{error},
         qr/^client \d+: not the answer of its turn: .*number 00000004/,
         "$loop: it says which");
}

$nginx->stop_ok;

done_testing();
