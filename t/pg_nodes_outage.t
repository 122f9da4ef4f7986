#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# An outage of the database for longer than the lease of the nodes: none of
# them was heard of, and none is taken for lost, whoever is back first.  Only
# one that does not come back is.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(time);

use Broadcast::Cluster;
use Broadcast::Nginx qw(wait_for);

my $lease = 6;
my $cluster = Broadcast::Cluster->new(lease => "$lease s", wire => 1);
my @nodes = $cluster->nodes;

sub sql { $cluster->sql($_[0]) }

sub soon {
    my ($code, $expected, $name, $seconds) = @_;
    my $got;

    wait_for { ($got = $code->()) eq $expected } $seconds // 20;
    is $got, $expected, $name;
}

my ($lost) = $cluster->followers;
my @stay = grep { $_ != $lost } @nodes;
my @client = map { $cluster->hub($_, 'stay'), $cluster->sse($_, 'stay') } @stay;
my $doomed = $cluster->hub($lost, 'lost');

soon(sub { $cluster->seen(q{kind = 'connected'}) }, 5, 'clients at each node');

my $began = time;
$cluster->pg->stop;
ok((wait_for { !grep { $cluster->database($_)->{state} ne 'down' } @nodes } 15),
   'the database is stopped');
ok((wait_for { time - $began > $lease + 2 } 30), '... for longer than a lease');

# one of them does not come back

$lost->{wire}->cut;
$cluster->pg->start;
$cluster->forget($lost);
my $back = time;

soon(sub { join ' ', map { $cluster->database($_)->{state} } @stay }, 'up up',
     'it is back, and two of three nodes are');

# a worker's own connections may be back a moment after the relay's

ok((wait_for { $cluster->publish($stay[0], 'back')->{status} == 200 } 20),
   'a message is kept again');

for my $client (@client) {
    my $got = ref $client eq 'Broadcast::SSE'
        ? ($client->event(20) // {})->{data}
        : '["' . ($client->invocation('m', 20) // [ '' ])->[0] . '"]';

    is($got, '["back"]', 'a client is there and gets what is new');
}

is($cluster->seen(q{kind = 'disconnected'}), 0, 'nobody was told of')
    if time - $back < $lease;

# who judges has been there for a lease then

soon(sub { $cluster->seen(q{kind = 'disconnected' and "user" = 'lost'
                            and error = 'node lost'}) }, 1,
     'who is not back is lost, after a lease more', 40);
cmp_ok(time - $back, '>=', $lease - 0.5, '... and not before');
is($cluster->seen(q{kind = 'disconnected' and "user" = 'stay'}), 0,
   '... and nobody else is');
is(sql(q{select count(*) from broadcast.connections where user_id = 'stay'}), 4,
   'their rows are there');

$lost->{wire}->mend;
my $record = $doomed->next(20);
$record = $doomed->next(20) while $record && $record->{type} != 7;
ok($record && $record->{allowReconnect}, 'when it is back its client is closed');

$doomed->drop;
$_->can('drop') ? $_->drop : $_->close for @client;

soon(sub { $cluster->tally }, 'connected 1, disconnected 1 x 5',
     'each was connected and disconnected once');

$_->stop_ok for @nodes;

done_testing();
