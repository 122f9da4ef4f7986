#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# The measuring command's commits: what it prints, that what it calls a relation
# is one of its rounds' figures, and that a message which comes twice fails the
# run instead of being counted.

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


my $text = `$top/util/bench --only commits --smoke --clients 16 \\
            --json $tmp/bench.json 2>$tmp/bench.log`;

is($?, 0, 'a run succeeds') or diag(slurp("$tmp/bench.log"));

like($text, qr/^commit to client, 16 clients +LISTEN +events +hub +memory /m,
     'the first table tells the columns');
like($text, qr/^publishing commits, 8 writers +INSERT +NOTIFY +commit /m,
     'and so does the second');
like($text, qr/^at 1000\/s, last client, p99, ms(?: +~?\d+\.\d\d){4} /m,
     'all four received');
like($text, qr/fsync=on .* a page is on its disk after \d+ us/,
     'what a flush costs is told');

my $json = decode_json(slurp("$tmp/bench.json") // '{}');
my $rounds = $json->{commits}{rounds};

is_deeply($json->{failed}, [], 'no run failed');

for my $column (qw(listen events hub memory)) {
    my $run = $rounds->{$column}[0]{at_1000};

    cmp_ok($run->{commits}, '>', 1, "$column: there were commits");

    my ($first, $half, $last) = @$run{qw(first half last)};

    ok($first->{p50_ms} > 0 && $first->{p50_ms} <= $half->{p50_ms}
       && $half->{p50_ms} <= $last->{p50_ms}
       && $last->{p50_ms} <= $last->{p99_ms}
       && $last->{p99_ms} <= $last->{max_ms}, "$column: times have an order");
}

for my $column (qw(plain notify commit adaptive off wal)) {
    my $run = $rounds->{$column}[0]{closed};

    cmp_ok($run->{per_second}, '>', 1, "$column: there were commits");
    ok($run->{database_us} > 0, "$column: they took the database some time");
}

cmp_ok($rounds->{http}[0]{posts}{per_second}, '>', 1, 'there were posts');

my ($late) = grep { $_->{name} eq 'at 100/s, median client, p50, ms' }
             @{$json->{commits}{tables}[0]{rows}};
my ($rate) = grep { $_->{name} eq 'commits per second' }
             @{$json->{commits}{tables}[1]{rows}};
my $more = $rounds->{hub}[0]{at_100}{half}{p50_ms}
           - $rounds->{listen}[0]{at_100}{half}{p50_ms};
my $share = $rounds->{adaptive}[0]{closed}{per_second}
            / $rounds->{plain}[0]{closed}{per_second};

cmp_ok(abs($late->{relation}{hub} - $more), '<', 0.001,
       'the hub is beside LISTEN by their difference');
like($late->{aim}, $more > 3 ? qr/^at most 3 more: missed: .*hub/
                                      : qr/^at most 3 more: (?!.*hub)/,
     'which is compared with the aim');
cmp_ok(abs($rate->{relation}{adaptive} - $share), '<', 0.001,
       'commits are beside plain ones by their ratio');
like($rate->{aim}, $share < 0.5 ? qr/^at least 0.5: missed: adaptive/
                                         : qr/^at least 0.5: met/,
     'which is compared with the aim, too');


# the load generator's own alarm

my $pg = Broadcast::Postgres->new;

$pg->createdb('app', 'app');
$pg->file("$top/sql/broadcast.sql", db => 'app', user => 'app');
$pg->psql('CREATE TABLE words (id bigint GENERATED ALWAYS AS IDENTITY '
          . 'PRIMARY KEY, word text)', db => 'app', user => 'app');

my $nginx = Broadcast::Nginx->new(
    http => 'broadcast_zone hubs 4m; '
            . 'broadcast_database "' . $pg->conninfo('app', 'app') . '";',
    server => 'location /client { broadcast_hub anonymous; }');

$nginx->start;

my $send = "broadcast.send_all('chat', 'm', \$1::jsonb)";
my $insert = 'INSERT INTO words (word) VALUES ($1)';

twice('a message that comes twice',
      '--port', $nginx->port, '--signalr', '--path', '/client?hub=chat',
      '--pids', $nginx->pid, '--clients', 10,
      '--sql', "SELECT $send, $send");

twice('a row that comes twice',
      '--channel', 'bench', '--select', 'SELECT id, word FROM words '
      . 'WHERE id > $1 ORDER BY id',
      '--sql', "WITH sent AS ($insert, (\$1)) "
               . "SELECT pg_notify('bench', '')");

$nginx->stop_ok;

done_testing();


sub twice {
    my ($what, @options) = @_;

    open my $pipe, '-|', "$top/build/bench/commit",
         '--conninfo', $pg->conninfo('app', 'app'), '--writers', 2,
         '--closed', 500, @options or die "commit: $!";

    my $out = do { local $/; <$pipe> };
    close $pipe;

    is($? >> 8, 1, "$what fails the load generator");
    like(decode_json($out)->{error},
         qr/^client 0 got message \d+ twice or out of turn$/,
         "$what: it says which");
}
