#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# Nodes that are there and cannot be heard: one whose way to the database is
# cut, for less than its lease and for more, one whose processes stand still,
# also when it leads.  Others call `disconnected` for its clients, and it closes
# them when it is back.  An outage of the database itself disconnects nobody.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(sleep time);

use Broadcast::Cluster;
use Broadcast::LongPoll;
use Broadcast::Nginx qw(wait_for);

my $lease = 3;
my $cluster = Broadcast::Cluster->new(lease => "$lease s", wire => 1);
my @nodes = $cluster->nodes;

sub sql { $cluster->sql($_[0]) }

sub soon {
    my ($code, $expected, $name, $seconds) = @_;
    my $got;

    wait_for { ($got = $code->()) eq $expected } $seconds // 20;
    is $got, $expected, $name;
}

my $stay;

sub clients {
    my ($node, $name) = @_;

    my %client = (hub   => $cluster->hub($node, "$name-hub"),
                  plain => $cluster->plain($node, "$name-plain"),
                  sse   => $cluster->sse($node, "$name-sse"));

    # one that does not poll for 15 s is gone

    $client{poll} = Broadcast::LongPoll->connect($node->port,
        '/client?hub=chat', token => $cluster->token("$name-poll"))
        if $name ne 'stay';

    soon(sub { $cluster->seen(qq{kind = 'connected' and "user" ~ '^$name-'}) },
         scalar keys %client, "$name: clients of each kind");

    return \%client;
}

# Its clients hear that they may come again, and each of them was told of once.

sub closed {
    my ($client, $name) = @_;

    # one that is forgotten gets pings for good

    local $SIG{ALRM} = sub { die "$name: a client is not closed\n" };
    alarm 60;

    my $record = $client->{hub}->next(20);
    $record = $client->{hub}->next(20) while $record && $record->{type} != 7;
    ok($record && $record->{allowReconnect},
       "$name: its clients are closed, with reconnect allowed");

    1 while defined $client->{plain}->message(20);
    is(($client->{plain}->closed)[0], 1012, '... a plain WebSocket with 1012');
    ok(eval { 1 while $client->{sse}->event(20); 1 }, '... a stream ends');
    ok((wait_for {
           $client->{poll}->poll(timeout => 20)->{status} =~ /^(?:204|404)$/
       } 20), '... and a long poll') if $client->{poll};

    alarm 0;

    $client->{$_}->drop for qw(hub plain);
    $client->{sse}->close;

    my $n = keys %$client;

    soon(sub { $cluster->tally(qq{"user" ~ '^$name-'}) },
         "connected 1, disconnected 1 x $n", '... `disconnected` came once');
    is($cluster->seen(qq{"user" ~ '^$name-' and error = 'node lost'}), $n,
       '... as others called it');
}

sub lost {
    my ($name) = @_;

    soon(sub { $cluster->seen(qq{kind = 'disconnected'
                                 and "user" ~ '^$name-'}) },
         $name eq 'stay' ? 3 : 4,
         "$name: others call `disconnected` for its clients", 30);
}

# A message by another node reaches the one, or it knows that it missed it.

my $leader = $cluster->leader;
my ($cut, $third) = $cluster->followers;
$stay = clients($third, 'stay');


# --- a way that is cut --------------------------------------------------------

# for less than its lease: if this machine lets that go by meanwhile, as the clock
# says, once more with other clients

my ($brief, $of, $id, $took);

for my $try (1 .. 5) {
    $of = "brief$try";
    $brief = clients($cut, $of);

    my $began = time;

    $cut->{wire}->cut;
    wait_for { $cluster->database($cut)->{state} eq 'down' };
    is($cluster->database($cut)->{state}, 'down', 'a node is cut off');
    $id = $cluster->publish($third, "meanwhile $try")->{json}{id};
    $cut->{wire}->mend;
    soon(sub { $cluster->database($cut)->{state} }, 'up', '... and it is back');
    $took = time - $began;

    last if $took < $lease - 0.5 || !disconnected($of);

    diag("once more: it was away for $took s");
    closed($brief, $of);
}

sub disconnected {
    return $cluster->seen(qq{kind = 'disconnected' and "user" ~ '^$_[0]-'});
}

like($brief->{hub}->invocation('m', 30)->[0], qr/^meanwhile /,
   '... for less than its lease: its clients have missed nothing');
is($brief->{sse}->event->{id}, $id, '... and are still there');
is(disconnected($of), 0, '... nobody was told of');

$cut->{wire}->cut;
lost($of);
is($cluster->rest($third, 'HEAD', "users/$of-hub")->{status}, 404,
   '... and know them no more');
is($cluster->publish($cut, 'x')->{status}, 503, '... publishers are told');
$cut->{wire}->mend;
closed($brief, $of);


# --- a leader that is cut off, and one that stands still ----------------------

my $led = clients($leader, 'led');

$leader->{wire}->cut;
$cluster->forget($leader);
my $second = $cluster->leader(10);
ok($second, 'a leader is cut off: another leads');
lost('led');
$leader->{wire}->mend;
push @{ $cluster->{nodes} }, $leader;
closed($led, 'led');
soon(sub { $cluster->database($leader)->{relay} }, 'follower',
     'who led before follows');

my $still = clients($second, 'still') if $second != $third;
($second, $still) = ($third, $stay) if !$still;
my $name = $still == $stay ? 'stay' : 'still';

$second->freeze;
$cluster->forget($second);
ok($cluster->leader(30),
   'the processes of a leader stand still, its machine lives: another leads');
lost($name);
is($cluster->publish(($cluster->nodes)[0], 'on')->{status}, 200,
   '... and messages are numbered');
$second->thaw;
push @{ $cluster->{nodes} }, $second;
closed($still, $name);
soon(sub { $cluster->database($second)->{relay} }, 'follower',
     'when it goes on it follows');


# --- a follower that stands still ---------------------------------------------

my ($follower) = grep { $_ != $third } $cluster->followers;
my $slow = clients($follower, 'slow');

$follower->freeze;
lost('slow');
$follower->thaw;
closed($slow, 'slow');

is(sql(q{select string_agg("user" || ' ' || error, ', ') from seen
          where kind = 'disconnected' and "user" ~ '^stay-'}), '',
   'in all this nobody else was told of') if $name ne 'stay';

if ($name ne 'stay') {
    $stay->{$_}->drop for qw(hub plain);
    $stay->{sse}->close;
}

$_->stop_ok(signal => 'TERM') for @nodes;

done_testing();
