#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# A node was not heard of for its lease, and others ended its clients.  Each of
# its workers asks which of its own are over.  A client that changes its worker
# before that was answered, as one that polls may with each request, is asked
# for all the same: else its poll would wait for what never comes.  And they ask
# though the server has said to nobody who heard it how long the node was away.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::Cluster;
use Broadcast::HTTP qw(worker_at);
use Broadcast::LongPoll;
use Broadcast::Nginx qw(wait_for);

my $cluster = Broadcast::Cluster->new(nodes => 2, lease => '2 s', wire => 1);

$cluster->leader;

my ($node) = $cluster->followers;
my ($first, $second) = $node->workers;
my %at = map { $_ => worker_at($node->port, '/pid', $_) } $first, $second;

my $client = Broadcast::LongPoll->connect($node->port, '/client?hub=chat',
    at => $at{$first}, token => $cluster->token('ann'));

sub is_at {
    my ($pid) = @_;

    return wait_for {
        grep { $_->{pid} == $pid && $_->{connections} == 1 }
             @{ $cluster->status($node)->{workers} }
    };
}

ok(is_at($first), 'a client that polls at a worker');
ok((wait_for { $cluster->seen(q{kind = 'connected'}) }), '... is connected');

# Nobody is answered before it has moved.

my $whole = $cluster->sql(q{select pg_get_functiondef(
                            'broadcast.keep_connections(jsonb, text)'
                            ::regprocedure)});
(my $broken = $whole) =~ s/^BEGIN$/BEGIN RAISE EXCEPTION 'not now';/m;

$node->{wire}->cut;
ok((wait_for { $cluster->seen(q{kind = 'disconnected'}) } 30),
   'its node is cut off, others call `disconnected` for it');

$cluster->sql($broken);
$node->{wire}->mend;
ok($node->wait_log(qr/ $first#.* connections were not kept/, 30),
   'the node is back, the worker asks for its own and is not answered');

my $wait = $client->start(at => $at{$second});

ok(is_at($second), '... its poll takes the client to another worker');

$cluster->sql($whole);

my $r = eval { $client->answer($wait, 20) };

like($r->{body}, qr/"type":7,"allowReconnect":true/,
     '... which asks for it, too: it is told that it may come again')
    or diag $@;

is($cluster->tally, 'connected 1, disconnected 1 x 1',
   '`disconnected` came once');


# --- a beat whose answer nobody hears -----------------------------------------

# As that of a relay that was stopped, and goes on when another worker has taken
# its place: the server says once that the node was not heard of.

my $hub = $cluster->hub($node, 'bob');

ok((wait_for { $cluster->seen(q{kind = 'connected' and "user" = 'bob'}) }),
   'another client of the node');

my $name = $cluster->sql(q{select node from broadcast.connections
                            where user_id = 'bob'});

$node->{wire}->cut;
ok((wait_for { $cluster->seen(q{kind = 'disconnected' and "user" = 'bob'}) }
             30), 'its node is cut off once more');

is($cluster->sql("select broadcast.node_beat('$name')"), 't',
   '... a beat arrives, whose answer is lost');

$node->{wire}->mend;

my $until = time + 20;
my $record;
$record = $hub->next(20) until $record && $record->{type} == 7
                               || time > $until;

ok($record->{allowReconnect}, '... the client is told all the same');
$hub->drop;

$_->stop_ok(signal => 'TERM') for $cluster->nodes;

done_testing();
