#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# The kill matrix: a server process stands still for 10 s, and its connection
# stays open: nobody is told of anything.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(time sleep);

use Broadcast::Matrix;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Wait qw(slurp);

my $m = Broadcast::Matrix->new;
my $pg = $m->pg;
my $still = 10;


# Stops a server process between two statements: in the middle of one it might
# hold what others need, which is another row.

sub stop_idle {
    my ($find) = @_;

    my $pid = wait_for {
        my $pid = $find->() or return 0;

        kill 'STOP', $pid;
        return $pid if $pg->psql("select state from pg_stat_activity
                                   where pid = $pid") eq 'idle';
        kill 'CONT', $pid;
        0;
    } 60
        or die "no idle server process\n";

    return $pid;
}


$m->row("the relay's server process stands still", sub {
    my ($run) = @_;

    my $pid = stop_idle(sub { $m->relay_backend });
    $run->fault;
    sleep $still;
    kill 'CONT', $pid;
    $run->over;
    $run->flows;

}, then => sub {
    my ($run) = @_;

    $run->ends_are([], 'clients see nothing but a pause',
                   @{ $run->{clients} });
    $run->goes_on_within(6, 'messages come again within 6 s');
});

$m->row("a pool's server process stands still", sub {
    my ($run) = @_;

    my $pid = stop_idle(sub {
        return $pg->psql(q{select pid from pg_stat_activity
            where query ~ 'broadcast.stage' and pid <> pg_backend_pid()
            order by query_start desc limit 1});
    });
    my $began = time;

    $run->fault;
    $run->flows;
    like(slurp("/proc/$pid/stat"), qr/\) T /,
         'publishers go on while it stands');

    my $took = time - $began;
    sleep $still - $took if $took < $still;
    kill 'CONT', $pid;
    $run->over;
    $run->flows;

}, then => sub {
    my ($run) = @_;

    $run->ends_are([], 'clients see nothing', @{ $run->{clients} });
    $run->pauses_at_most(1.5, 'nobody pauses longer than 1.5 s');
    cmp_ok($run->outcomes('http')->{unknown}, '>', 0,
           'publishers over it are told that nobody knows');
    is($run->outcomes('sql')->{unknown}, 0, 'SQL publishers see nothing');
});

$m->stop_ok;

done_testing();
