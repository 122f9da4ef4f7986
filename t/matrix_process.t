#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# The kill matrix: processes of nginx are killed.  Clients of the dead process
# are cut off and come back, others see nothing, nobody misses anything.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::Matrix;
use Broadcast::Nginx qw(wait_for);

my $m = Broadcast::Matrix->new(workers => 3, http => 'broadcast_drain 500ms;');
my $nginx = $m->nginx;


# --- workers -------------------------------------------------------------------

# Three in a row: what a death leaves behind is met by the next one.

for my $which ('a worker', "the relay's worker") {
    my (%his, $cut);

    $m->row("$which is killed, three times", sub {
        my ($run) = @_;

        for my $n (1 .. 3) {
            my $relayer = $m->relayer;
            my ($pid) = grep { $which eq 'a worker' ? $_ != $relayer
                                                    : $_ == $relayer }
                        $nginx->workers;
            my @his = $run->clients_of($pid);

            $his{$_} = 1 for @his;
            $run->fault if $n == 1;
            $nginx->kill_worker($pid);
            $run->flows;
            $cut += @his;
        }

    }, then => sub {
        my ($run) = @_;

        cmp_ok($cut, '>', 0, 'clients were there');
        $run->ends_are([ 'cut' ], 'clients of the dead process are cut off',
                       keys %his);

        my @others = grep { !$his{$_} } $run->plain;
        $run->ends_are([], 'others see nothing', @others);

        $run->pauses_at_most(1.5, 'others pause 1.5 s at most', @others)
            if @others;
        is($run->outcomes('sql')->{unknown}, 0, 'SQL publishers see nothing');
    });
}


# --- the master ----------------------------------------------------------------

{
    my $after;

    $m->row('the master is killed, its workers are left', sub {
        my ($run) = @_;

        $run->fault;
        my @workers = $nginx->behead;
        $run->flows;
        $after = grep { $run->ends($_) } @{ $run->{clients} };

        # a new one takes the port when the old workers have given it up

        kill 'QUIT', @workers;
        $nginx->start;
        $run->flows;
        ok((wait_for { !grep { kill 0, $_ } @workers } 60),
           'the old workers end');

    }, then => sub {
        my ($run) = @_;

        is($after, 0, 'nobody sees anything');
        $run->ends_are([ 'closed-1012', 'ended', 'cut' ],
                       'with a new master, clients of the old workers are'
                       . ' closed, to come back', $run->plain);
        is($run->outcomes('sql')->{unknown}, 0, 'SQL publishers see nothing');
    });
}

$m->row('the master and all its workers are killed', sub {
    my ($run) = @_;

    $run->fault;
    $nginx->crash;
    $nginx->start;
    $run->over;
    $run->flows;

}, then => sub {
    my ($run) = @_;

    $run->ends_are([ 'cut' ], 'all are cut off', @{ $run->{clients} });
    $run->goes_on_within(5, 'messages come again within 5 s');
    is($run->outcomes('sql')->{unknown}, 0, 'SQL publishers see nothing');
});

$m->stop_ok;

done_testing();
