#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# A reload makes a durable hub ephemeral and back: it says what it is, and
# numbers of the one kind are never taken for those of the other.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::HTTP qw(http);
use Broadcast::Nginx qw(wait_for);
use Broadcast::Plain;
use Broadcast::Postgres;
use Broadcast::SSE;
use Broadcast::Token qw(client_token);

my $pg = Broadcast::Postgres->new;
$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", db => 'app', user => 'app');

my $durable = "broadcast_zone hubs 1m; broadcast_drain 200ms;"
            . ' broadcast_database "' . $pg->conninfo('app', 'app') . '";';
my $ephemeral = "$durable broadcast_ephemeral chat;";

my $nginx = Broadcast::Nginx->new(
    workers => 2,
    http    => $durable,
    server  => <<'EOC')->start;
        location /events/  { broadcast_events anonymous; }
        location /publish/ { broadcast_publish; }
        location = /status { broadcast_status; }
EOC

my $port = $nginx->port;

sub status { http($port, 'GET', '/status?format=json')->{json} }
sub chat { status()->{hubs}{chat} }

sub leads {
    return wait_for { status()->{database}{relay} eq 'leader' } 10;
}

sub publish {
    return http($port, 'POST', '/publish/chat', body => 'x',
                headers => [ 'Content-Type' => 'text/plain' ])->{json}{id};
}

sub epoch { $_[0] =~ s/-.*//sr }

ok(leads(), 'the relay leads');

publish() for 1 .. 2;
my $first = publish();
like($first, qr/-3$/, 'three messages in a durable hub');
ok(chat()->{durable}, 'it says so');

$nginx->reload(http => $ephemeral);
ok(!chat()->{durable}, 'reloaded as ephemeral, it says that');
ok((wait_for { $nginx->workers == 2 } 10), 'the old workers have gone');

publish() for 1 .. 4;
my $own = publish();
like($own, qr/-5$/, 'it counts from 1');
isnt(epoch($own), epoch($first), '... in an epoch of its own');
is($pg->psql('select count(*) from broadcast.message', db => 'app',
             user => 'app'), 3, '... without the database');

my $old = Broadcast::SSE->connect($port, '/events/chat',
    headers => [ 'Last-Event-ID' => $first ]);
is($old->event->{event}, 'broadcast.gap',
   'a resume from the database\'s number begins with a gap');
$old->close;

$nginx->reload(http => $durable);
ok(chat()->{durable}, 'reloaded as durable, it says that');
ok((wait_for { $nginx->workers == 2 } 10), 'the old workers have gone');
ok(leads(), 'a relay leads');

my $next = publish();
is($next, epoch($first) . '-4', 'the database goes on with its numbers');

$old = Broadcast::SSE->connect($port, '/events/chat',
    headers => [ 'Last-Event-ID' => $own ]);
is($old->event->{event}, 'broadcast.gap',
   'a resume from the number of the log begins with a gap');

my $back = Broadcast::SSE->connect($port, '/events/chat',
    headers => [ 'Last-Event-ID' => $first ]);
is($back->event->{id}, $next, 'one from the database\'s goes on');

$old->close;
$back->close;

# A client that an old worker keeps publishes as the new configuration says.

my $key = 'broadcast_key ' . 'k' x 32 . '; ';
s/drain 200ms/drain off/ for $durable, $ephemeral;

$nginx->reload(http => $key . $durable);
ok(leads(), 'a relay leads that lets its clients stay');

sub client {
    return Broadcast::Plain->connect($port, '/events/chat',
        token => client_token('k' x 32, 'chat', sub => 'ann',
                              role => 'broadcast.send'));
}

sub said {
    my ($client) = @_;
    $client->send({ send => '*', target => 't', arguments => [] });

    while (my $frame = $client->next) {
        return $frame->{id} if $frame->{target} ne 'broadcast.gap';
    }

    return 'nothing';
}

my $client = client();
is(said($client), epoch($first) . '-5', 'a client of a durable hub publishes');

$nginx->reload(http => $key . $ephemeral);
$own = said($client);
like($own, qr/-1$/, 'its worker exits, the hub is ephemeral now: so is what '
     . 'it publishes');
isnt(epoch($own), epoch($first), '... with no number of the database');
is($pg->psql('select max(seq) from broadcast.message', db => 'app',
             user => 'app'), 5, '... which does not see it');
$client->close;

$client = client();
$nginx->reload(http => $key . $durable);
is(said($client), epoch($first) . '-6', 'and the other way round');

$client->close;
$nginx->stop_ok(signal => 'TERM');

done_testing();
