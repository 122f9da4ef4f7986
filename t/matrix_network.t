#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# The kill matrix: the cable between the leading node and the database is cut.
# No packet comes through and no connection ends: both sides find out by
# themselves.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::Matrix;
use Broadcast::Network;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Postgres;

my $net = Broadcast::Network->new
    or plan skip_all => 'a network namespace needs root and the right to'
                        . ' make one';

my $pg = Broadcast::Postgres->new(prefix => [ $net->prefix ],
                                  listen => $net->address,
                                  hba => 'host all all ' . $net->network
                                         . ' trust');

# The first node comes by the cable and leads, the second one by a socket.

my $m = Broadcast::Matrix->new(pg => [ $pg ], conninfo => 'host='
    . $net->address . ' port=' . $pg->port . ' dbname=app user=app');

is(Broadcast::Matrix::relay($m->nginx), 'leader',
   'the node at the end of the cable leads');

# A node that is cut off for longer than its lease has its clients closed, which
# is another row.

$pg->psql("update broadcast.setting set value = '1 minute'
            where name = 'node_lease'", $m->at);

push @{ $m->{nginxes} }, $m->node(conninfo => $pg->conninfo('app', 'app'));

my (@here, @there);

$m->row('the cable of the leading node is cut', sub {
    my ($run) = @_;

    @there = grep { !/\@2/ } @{ $run->{clients} };
    @here = grep { /\@2/ } @{ $run->{clients} };

    $run->fault;
    $net->cut;
    $run->flows(to => \@here,
                of => [ grep { $_ ne 'http1' } @{ $run->{publishers} } ]);
    is(Broadcast::Matrix::relay($m->nginx(1)), 'leader',
       'the other node leads');

    $net->heal;
    $run->over;
    $run->flows;

}, then => sub {
    my ($run) = @_;

    $run->ends_are([], 'clients of both nodes see nothing but a pause',
                   @{ $run->{clients} });
    $run->pauses_at_most(11.5, 'at the other node of at most 10 s and a turn',
                         @here);
    $run->goes_on_within(15, 'at the node itself until it is back, and 15 s',
                         @there);
    is($run->outcomes('sql')->{unknown}, 0, 'SQL publishers see nothing');
});

$m->stop_ok;

done_testing();
