#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# The measuring command, at the floor alone: what it prints, and that a server
# which loses or doubles a message fails the run instead of being measured.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Temp qw(tempdir);
use IO::Socket::INET;
use JSON::PP;
use POSIX qw(:sys_wait_h);
use Test::More;
use Time::HiRes qw(sleep);

my $top = abs_path(dirname(__FILE__) . '/..');
my $tmp = tempdir(CLEANUP => 1);
my $port = 19303;
my $pid;

END { local $?; kill 'TERM', $pid if $pid }


my $text = `$top/util/bench --only floor --quick --rounds 1 --clients 20 \\
            --json $tmp/bench.json 2>$tmp/bench.log`;

is($?, 0, 'a run at the floor succeeds') or diag(slurp("$tmp/bench.log"));

like($text, qr/^paced, server CPU per delivery, us +~?\d+\.\d+$/m,
     'the table has a figure for a delivery');
like($text, qr/^20 clients, paced at 20\/s +floor$/m,
     'the table tells clients and rate');

my $json = decode_json(slurp("$tmp/bench.json"));

is_deeply($json->{failed}, [], 'no run failed');
cmp_ok($json->{plans}[0]{runs}{floor}[0]{paced}{messages}, '>=', 40,
       'the paced messages of 2.5 seconds were sent');


# the load generator's own alarm

for my $case ([ lose  => qr/^lost: \d+ of \d+ deliveries/ ],
              [ twice => qr/^client \d+ got \d+ of \d+ messages/ ]) {

    my ($fault, $sentence) = @$case;

    $pid = fork // die "fork: $!";

    if ($pid == 0) {
        exec("$top/build/bench/floor", $port, $fault)
            or POSIX::_exit(127);
    }

    ok(listens(), "a server that may $fault listens");

    my $out = `$top/build/bench/load --port $port --path / --publish / \\
               --pids $pid --clients 100 --saturated 200`;

    is($? >> 8, 1, "$fault: the load generator fails");
    like(decode_json($out)->{error}, $sentence, "$fault: it says so");

    kill 'TERM', $pid;
    waitpid $pid, 0;
    undef $pid;
}


# bad use

for my $case ([ '--wrong'         => qr/unknown option: --wrong/ ],
              [ '--json'          => qr/--json needs a value/ ],
              [ '--only nothing'  => qr/--only: there is no "nothing"/ ],
              [ '--rounds 0 --only floor' => qr/a number is wrong/ ]) {

    my ($options, $sentence) = @$case;

    my $said = `$top/util/bench $options 2>&1`;

    ok($? >> 8 == 1 && $said =~ $sentence, "util/bench $options is refused")
        or diag($said);
}

done_testing();


sub listens {
    for (1 .. 100) {
        return 1 if IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                          PeerPort => $port);
        return 0 if waitpid($pid, WNOHANG) == $pid;
        sleep 0.05;
    }

    return 0;
}


sub slurp {
    open my $f, '<', $_[0] or die "$_[0]: $!";
    local $/;
    return scalar <$f>;
}
