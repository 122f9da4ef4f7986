#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# A binary upgrade and the way back, and a zone of another size, with a
# database: masters that run beside each other have zones of their own.  A
# durable hub has the same messages with the same numbers in both; clients of an
# ephemeral one, who would hear nothing of what comes to the others, are sent
# away within a second or so, to come again, and those of the zone that is
# current are not.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(time);

use Broadcast::Cluster;
use Broadcast::HTTP qw(worker_at);
use Broadcast::Hub;
use Broadcast::Nginx qw(wait_for);
use Broadcast::SSE;

my $zone = '4m';
my $http = 'broadcast_ephemeral quick; broadcast_drain off;';
my $cluster = Broadcast::Cluster->new(nodes => 1, http => $http,
    zone => $zone, daemon => 1, server => <<'EOS');
        location /quick/  { broadcast_events hub=quick anonymous; }
EOS
my ($first) = $cluster->nodes;
my $pid = $first->pid;

sub relays {
    return $cluster->sql(q{select count(*) from broadcast.node
                            where seen_at > clock_timestamp() - interval '5 s'});
}

# A connection that a worker of this master has taken.

sub at {
    my ($master) = @_;
    my %mine = map { $_ => 1 } $master->workers;

    return worker_at($master->port, '/pid', sub { $mine{ $_[0] } });
}

sub plain_at {
    my ($master, $uri, $user) = @_;

    return Broadcast::Plain->connect($master->port, $uri, on => at($master),
        defined $user ? (token => $cluster->token($user)) : ());
}

# A client of the durable hub of each kind, and one of the ephemeral.

sub clients {
    my ($master, $name) = @_;

    # (negotiate goes to any: tokens are of the key)

    my $client = {
        hub   => Broadcast::Hub->connect($master->port, '/client?hub=chat',
                     token => $cluster->token("$name-hub"),
                     on => at($master)),
        plain => plain_at($master, '/events/chat', "$name-plain"),
        quick => plain_at($master, '/quick/'),
        name  => $name };

    die $client->{hub}{error} if $client->{hub}{error};

    return $client;
}

sub gone {
    my ($client, $name) = @_;
    my $began = time;

    1 while defined $client->{quick}->message;
    is(($client->{quick}->closed)[0], 1012, "$name: sent away, to come again");
    cmp_ok(time - $began, '<', 20, '... soon');
    $client->{quick}->drop;
}

sub stays {
    my ($client, $name) = @_;
    ok($client->{quick}->quiet(1.5), "$name: stays");
}

# A message comes to all these clients, with one number.

my $round = 0;

sub heard {
    my ($name, @clients) = @_;

    $round++;
    $cluster->sql("select broadcast.send_all('chat', 'm', '[\"r$round\"]')");

    my %id;

    for my $client (@clients) {
        is(($client->{hub}->invocation('m') // [ 'nothing' ])->[0],
           "r$round", "$name: SignalR client \"$client->{name}\" hears it");

        my $record = $client->{plain}->next;
        is($record->{arguments}[0], "r$round", '... the plain one, too');
        $id{ $record->{id} // 'none' }++;
    }

    is(scalar keys %id, 1, '... with one number');

    return (keys %id)[0];
}

sub leave {
    for my $client (@_) {
        $client->{hub}->drop;
        $client->{plain}->drop;
    }
}


# --- a second master ----------------------------------------------------------

my $old = clients($first, 'first');
heard('one master', $old);

my $second = $first->second;

isnt($second->pid, $pid, 'a second master runs');
gone($old, 'who is at the first, in an ephemeral hub');

my $new = clients($second, 'second');
ok((wait_for { relays() == 2 } 20), 'each has its relay');
heard('both take connections', $old, $new);
stays($new, 'who is at the second, in an ephemeral hub');


# --- the first one's workers go, and come back --------------------------------

kill 'WINCH', $pid;
ok((wait_for { !$first->workers } 20), 'the first one\'s workers are told to go');
heard('they go on for their clients', $old, $new);
stays($new, '... who is at the second');

leave($old);
ok((wait_for { !$first->workers(1) } 40), '... and go with their last client');

kill 'HUP', $pid;
ok((wait_for { $first->workers == 2 } 20), 'the way back: the first has workers');
my $again = clients($first, 'again');
gone($again, 'as long as the second takes connections');
heard('both again', $again, $new);

kill 'QUIT', $second->pid;
gone($new, 'the second is told to end: who is there');
heard('it goes on for the rest', $again, $new);

my $back = plain_at($first, '/quick/');
ok($back->quiet(1.5), '... and who comes to the first stays');
is($cluster->publish($first, 'quick')->{status}, 200, '... which works');

leave($new);
is_deeply([ $second->stop(seconds => 40) ], [], 'the second ends, by itself');
is($again->{$_->[0]}->next->{arguments}[0], 'quick', $_->[1])
    for [ 'hub', 'what was published meanwhile was heard' ], [ 'plain', '...' ];
heard('the first alone', $again);

ok((wait_for { -e $first->dir . '/nginx.pid'
               && Broadcast::Wait::slurp($first->dir . '/nginx.pid') == $pid }),
   'all is as before');
$back->drop;


# --- the whole way ------------------------------------------------------------

my $third = $first->second;
my $went = clients($third, 'third');

kill 'QUIT', $pid;
heard('the first is told to end', $again, $went);
leave($again);
is_deeply([ $first->stop(seconds => 40) ], [], '... and does');
heard('the new one alone', $went);
stays($went, '... who is there');
is($cluster->publish($third, 'x')->{status}, 200, '... it works');
is($went->{plain}->next->{arguments}[0], 'x', '... and is heard');
$went->{hub}->invocation('m');


# --- a zone of another size ---------------------------------------------------

$cluster->{nodes} = [ $third ];

my $conf = $third->{http};
$conf =~ s/hubs 4m/hubs 8m/ or die;
ok($third->reload(http => $conf), 'a reload with a zone of another size');
gone($went, 'who is in the old one, in an ephemeral hub');

my $late = clients($third, 'late');
ok((wait_for { relays() == 2 } 20), 'each zone has its relay');
heard('two zones', $went, $late);
stays($late, 'who is in the new one');

leave($went, $late);
$late->{quick}->drop;
ok((wait_for { $third->workers(1) == 2 } 40), 'the old workers end');

my ($words) = $cluster->sql(q{select count(*) from seen
    where kind = 'disconnected' and error = 'node lost'});
is($words, 0, 'nobody was taken for lost');
ok((wait_for {
    $cluster->tally !~ /x \d+; |^connected 1 x/
} 30), 'each client was connected and disconnected') or diag $cluster->tally;

is_deeply([ $third->stop(seconds => 30) ], [], 'it ends without alerts');

done_testing();
