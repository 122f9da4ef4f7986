#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# The kill matrix with `broadcast_source wal` and two nodes: the one that leads
# is killed or stands still, and they are of different minds about the source.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::Matrix;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Wait qw(children);

my $m = Broadcast::Matrix->new(conf => { wal_level => 'logical' }, nginx => []);
my $pg = $m->pg;

$pg->psql('alter role app replication');

my $wal = 'broadcast_drain 500ms; broadcast_source wal;';
push @{ $m->{nginxes} }, map { $m->node(http => $wal) } 1, 2;

sub database { return Broadcast::Matrix::database($m->nginx($_[0])) }

# which node leads, and which does not

sub leader {
    my $n = wait_for {
        my @led = grep { (database($_)->{relay} // '') eq 'leader' } 0, 1;
        @led ? $led[0] + 1 : 0;
    } 20;

    return ($n - 1, 2 - $n);
}

sub comes {
    my ($source, @nodes) = @_;

    wait_for { !grep { (database($_)->{source} // '') ne $source } @nodes } 60
        or die "the source is not $source:\n" . $m->nginx($nodes[0])->tail;
}

comes('wal', 0, 1);


$m->row('the node that leads is killed', sub {
    my ($run) = @_;
    my ($led, $other) = leader();

    $run->fault;
    $m->nginx($led)->crash;
    $run->flows(of => [ grep { /sql/ } @{ $run->{publishers} } ],
                to => [ grep { /\@@{[ $other + 1 ]}$/ } @{ $run->{clients} } ]);
    $m->nginx($led)->start;
    $run->over;
    $run->flows;
});

$m->row('the node that leads stands still', sub {
    my ($run) = @_;
    my ($led, $other) = leader();
    my @all = ($m->nginx($led)->pid, $m->nginx($led)->workers(1));

    $run->fault;
    kill 'STOP', @all;
    $run->flows(of => [ grep { /sql/ } @{ $run->{publishers} } ],
                to => [ grep { /\@@{[ $other + 1 ]}$/ } @{ $run->{clients} } ]);
    kill 'CONT', @all;
    $run->over;
    $run->flows;
});


# --- nodes of different minds ------------------------------------------------

{
    my ($led, $other) = leader();

    $m->row('a node takes the lead that wants the other source', sub {
        my ($run) = @_;
        my $info = $pg->conninfo('app', 'app');

        $m->nginx($other)->reload(http => 'broadcast_zone hubs 8m;'
            . "broadcast_database \"$info\" timeout=2s; broadcast_drain 500ms;");
        comes('wal', 0, 1);

        $run->fault;
        $m->nginx($led)->crash;
        comes('outbox', $other);
        $m->nginx($led)->start;
        $run->flows;
        comes('outbox', 0, 1);
        ok((wait_for {
            $pg->psql('select count(*) from pg_replication_slots') == 0
        } 60), 'the slot is gone');

        # and back

        $m->nginx($other)->crash;
        comes('wal', $led);
        $m->nginx($other)->start;
        $run->over;
        $run->flows;
        comes('wal', 0, 1);
    });
}

$m->stop_ok;

done_testing();
