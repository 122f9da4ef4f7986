#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# The kill matrix: the wall clock is stepped, that of the database or that of a
# node; an hour forth, two hours back.  Nobody sees anything.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::Clock;
use Broadcast::Matrix;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Postgres;

plan skip_all => 'a sanitizer and another library before all do not go'
                 . ' together'
    if ($ENV{BROADCAST_BUILD} // '') =~ /sanitize/;

my $lease = 4;

my $servers = Broadcast::Clock->new
    or plan skip_all => 'libfaketime is not installed';
my $nodes = Broadcast::Clock->new;

my $pg = Broadcast::Postgres->new(env => $servers->env);

# The first node has a clock of its own, the second one the true one.

my $m = Broadcast::Matrix->new(pg => [ $pg ], env => $nodes->env,
    main => join ' ', map { "env $_;" } sort keys %{ $nodes->env });

$pg->psql("update broadcast.setting set value = '$lease s'
            where name = 'node_lease'", $m->at);

push @{ $m->{nginxes} }, $m->node(env => {});


# The lease of a node, short: so the leader judges others when it begins.

sub beats {
    return $pg->psql(q{select count(*) from broadcast.node
        where abs(extract(epoch from clock_timestamp() - seen_at)) < 2},
        $m->at);
}


sub stepped {
    my ($clock, $now) = @_;

    return sub {
        my ($run) = @_;

        $run->fault;

        for my $seconds (3600, -3600) {
            $clock->step($seconds);
            my $is = $now->() - time;
            cmp_ok(abs($is - $seconds), '<', 60, "the clock shows $seconds s");

            ok((wait_for { beats() == 2 } 60), 'both nodes are there');
            $run->flows;
        }
    };
}


sub silent_ok {
    my ($run) = @_;

    $run->ends_are([], 'clients see nothing', @{ $run->{clients} });
    $run->pauses_at_most(1.5, 'nobody pauses longer than 1.5 s');

    for my $kind ('sql', 'http') {
        my $n = $run->outcomes($kind);
        is($n->{unknown} + $n->{refused}, 0, "publishers by $kind see nothing");
    }
}


$m->row("a node's clock is stepped", stepped($nodes, sub {
    my $r = Broadcast::HTTP::http($m->port, 'GET', '/status');
    return Broadcast::Matrix::date($r->{headers}{date});
}), then => \&silent_ok);

sleep 1 while time - $^T < 2 * $lease;

$m->row("the database's clock is stepped", stepped($servers, sub {
    return int $pg->psql('select extract(epoch from clock_timestamp())::int');
}), then => \&silent_ok);

$m->stop_ok;

done_testing();
