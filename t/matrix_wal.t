#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# The kill matrix with `broadcast_source wal`: who reads the slot is killed,
# PostgreSQL restarts and crashes.  Nobody misses anything.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::Matrix;
use Broadcast::Nginx qw(wait_for);

my $m = Broadcast::Matrix->new(workers => 3,
    conf => { wal_level => 'logical' },
    http => 'broadcast_drain 500ms; broadcast_source wal;');
my ($pg, $nginx) = ($m->pg, $m->nginx);

sub source { return Broadcast::Matrix::database($nginx)->{source} // '' }

sub comes {
    my ($source, $seconds) = @_;

    wait_for { source() eq $source } $seconds // 60
        or die "the source is not $source:\n" . $nginx->tail;
}

sub slot {
    return $pg->psql("select $_[0] from pg_replication_slots
                       where slot_name = 'broadcast'");
}

like((wait_for { Broadcast::Matrix::database($nginx)->{source_error} } 60),
     qr/ALTER ROLE app REPLICATION/, 'a role without the right is told how to '
                                     . 'get it');
is(source(), 'outbox', '... and the outbox goes on');

$pg->psql('alter role app replication');
comes('wal');
is(Broadcast::Matrix::database($nginx)->{source_error}, undef,
   'with the right the source changes, without a reload');


# --- who reads it ------------------------------------------------------------

$m->row("the relay's worker is killed, three times", sub {
    my ($run) = @_;

    for my $n (1 .. 3) {
        $run->fault if $n == 1;
        $nginx->kill_worker($m->relayer);
        $run->flows;
    }

    comes('wal');
}, then => sub {
    my ($run) = @_;

    is($run->outcomes('sql')->{unknown}, 0, 'SQL publishers see nothing');
});

$m->row('the session that reads the slot is ended, three times', sub {
    my ($run) = @_;

    for my $n (1 .. 3) {
        $run->fault if $n == 1;
        wait_for { slot('pg_terminate_backend(active_pid)') eq 't' } 60
            or die "nobody reads the slot\n";
        $run->flows;
    }
}, then => sub {
    my ($run) = @_;

    $run->ends_are([], 'clients see nothing', @{ $run->{clients} });
});

$m->row('all of nginx is killed', sub {
    my ($run) = @_;

    $run->fault;
    $nginx->crash;
    $nginx->start;
    $run->over;
    $run->flows;
});


# --- PostgreSQL --------------------------------------------------------------

for my $how ('restarts', 'crashes') {
    $m->row("PostgreSQL $how", sub {
        my ($run) = @_;

        $run->fault;
        $pg->restart($how eq 'crashes' ? 'immediate' : 'fast');
        $run->over;
        $run->flows;
    }, then => sub {
        my ($run) = @_;

        $run->ends_are([], 'clients see nothing but a pause',
                       @{ $run->{clients} });
        $run->goes_on_within(8, 'messages come again within 8 s');
    });
}


$m->stop_ok;

done_testing();
