#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# How workers end.  A reload: their clients get what is published through the
# new ones, and are sent away one after the other over the time of
# broadcast_drain.  QUIT: the same, and the end comes within that time, whatever
# clients are there and do, also with worker_shutdown_timeout.  TERM: at once.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Select;
use Test::More;
use Time::HiRes ();

use Broadcast::HTTP qw(http);
use Broadcast::Hub;
use Broadcast::LongPoll;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Plain;
use Broadcast::SSE;

my $server = <<'EOC';
        location /events/  { broadcast_events anonymous; }
        location /client   { broadcast_hub anonymous hub=chat; }
        location /api/     { broadcast_api open; }
        location /publish/ { broadcast_publish; }
        location = /status { broadcast_status json; }
EOC

my ($nginx, $port);

sub nginx {
    my ($drain, %o) = @_;

    $nginx = Broadcast::Nginx->new(workers => 2, server => $server,
        http => "broadcast_zone hubs 4m; broadcast_drain $drain;"
              . ' broadcast_client_timeout 5m;', %o)->start;
    $port = $nginx->port;
}

sub status { http($port, 'GET', '/status')->{json} }

sub publish {
    return http($port, 'POST', '/publish/chat?target=m', body => $_[0],
                headers => [ 'Content-Type' => 'text/plain' ]);
}

sub plain { Broadcast::Plain->connect($port, '/events/chat') }
sub sse   { Broadcast::SSE->connect($port, '/events/chat') }
sub hub   { Broadcast::Hub->connect($port, '/client') }
sub poll  { Broadcast::LongPoll->connect($port, '/client') }


# --- a reload: one after the other --------------------------------------------

# Reads what comes to them, publishes behind each end that it sees, and writes
# down how much each had got when it was closed, until the sub says that it is
# enough.

my ($published, %codes, %last);

sub ends {
    my ($enough, @clients) = @_;

    my %of = map { fileno $_->{socket} => $_ } @clients;
    my $select = IO::Select->new(map { $_->{socket} } @clients);

    ($published, %codes, %last) = (0);
    publish(++$published);

    while ($select->count && !$enough->()) {
        my @ready = $select->can_read(60) or last;
        my $ends = 0;

        for my $socket (@ready) {
            my $client = $of{fileno $socket};
            my $record;

            # what was read at once with it as well

            do {
                $record = $client->next;
                is($record->{arguments}[0], $last{$client}, 'no hole')
                    if $record
                       && $record->{arguments}[0] ne ++$last{$client};
            } while $record && length $client->{buffer};

            next if $record;

            $codes{($client->closed)[0]}{$client} = $last{$client} // 0;
            $ends++;
            $select->remove($socket);
            $client->drop;
        }

        publish(++$published) if $ends;
    }

    return map { $of{fileno $_} } $select->handles;
}

# How many of the ends had a message between them: a slow machine sees some of
# them at once, but all of them only if all were told in one turn.

sub moments {
    my %seen = map { $_ => 1 } map { values %$_ } values %codes;
    return scalar keys %seen;
}

my $n = 60;

nginx('60s');

my @clients = map { plain() } 1 .. $n;
ok((wait_for { status()->{hubs}{chat}{connections}{websocket} == $n }),
   "$n clients");

$nginx->reload;

my @stay = ends(sub { moments() >= 8 }, @clients);

cmp_ok(moments(), '>=', 8,
       'a reload: some are sent away, others get what is published then')
    or diag(join ' ', sort { $a <=> $b } map { values %$_ } values %codes);
is_deeply([ keys %codes ], [ 1012 ], '... to come again');
cmp_ok(scalar @stay, '>', 0, '... and some are there still');

$_->drop for @stay;
ok((wait_for { $nginx->workers(1) == 2 }),
   'when these have left the old workers end, long before their time');
$nginx->stop_ok;

$n = 10;

nginx('2s');

@clients = map { plain() } 1 .. $n;
ok((wait_for { status()->{hubs}{chat}{connections}{websocket} == $n }),
   "$n clients");

$nginx->reload;
is(scalar ends(sub { 0 }, @clients), 0, 'within a short time all are sent away');
is_deeply([ keys %codes ], [ 1012 ], '... to come again');

ok((wait_for { $nginx->workers(1) == 2 }), 'the old workers have ended');
is(status()->{closed}{drain}, $n, '... and counted them');
$nginx->stop_ok;


# --- the end, with each kind of client ----------------------------------------

# Clients that do what they should when they are closed, and such that do not.

sub all_kinds {
    my $polls = poll();
    my $waits = poll();

    return { plain => plain(), sse => sse(), hub => hub(),
             silent => plain(), deaf => hub(),
             polls => $polls, between => $waits, poll => $polls->start };
}

sub ended {
    my ($is, $name) = @_;

    is($is->{plain}->next, undef, "$name: a WebSocket is closed");
    is(($is->{plain}->closed)[0], 1012, '... with 1012');
    $is->{plain}->drop;

    ok(eval { 1 while $is->{sse}->event; 1 }, '... a stream ends');

    my $record = $is->{hub}->next;
    $record = $is->{hub}->next while $record && $record->{type} != 7;
    ok($record && $record->{allowReconnect},
       '... a hub\'s client may come again');
    $is->{hub}->drop;

    my $r = $is->{polls}->answer($is->{poll});
    like($r->{status}, qr/^20[04]$/, '... a poll is answered');
}

# One that is told to go, and says nothing either, by a worker that stays: it is
# cut off when its own time is over, which is longer than that of the drain.

sub stays {
    return Broadcast::Nginx->new(server => $server,
                                 http => 'broadcast_zone hubs 1m;')->start;
}

sub told_to_go {
    my ($other) = @_;
    my $hub = Broadcast::Hub->connect($other->port, '/client');

    http($other->port, 'DELETE', "/api/v1/hubs/chat/connections/$hub->{id}");

    return $hub;
}

# When the last line was written, which is that of the end.

sub written {
    my ($which) = @_;
    return (Time::HiRes::stat($which->dir . '/error.log'))[9];
}

for my $shutdown ('', 'worker_shutdown_timeout 10s;') {

    nginx('2s', main => $shutdown);

    my $is = all_kinds();
    ok((wait_for { my $c = status()->{hubs}{chat}{connections};
                   $c->{websocket} == 4 && $c->{sse} == 1
                       && $c->{longpoll} == 2 }), 'clients of each kind');

    my $name = 'QUIT' . ($shutdown && ', with worker_shutdown_timeout');
    my $other = stays();
    kill 'QUIT', $nginx->pid;
    my $told = told_to_go($other);
    ended($is, $name);

    my @wrong = $nginx->stop;
    is_deeply(\@wrong, [], '... it ends by itself, its log without alerts');

    ok($other->wait_log(qr/closed: by command/),
       '... who was told at the same time by a worker that stays is cut off');
    cmp_ok(written($nginx), '<', written($other),
           '... later than who said nothing to one that ended');
    $told->drop;
    $other->stop_ok;
}

# who would be there for half an hour

nginx('30m', main => 'worker_shutdown_timeout 2s;');
my $is = all_kinds();
$nginx->stop_ok(name => 'worker_shutdown_timeout ends a longer drain');

my $quiet = Broadcast::Nginx->new(
    log => 'error', main => 'worker_shutdown_timeout 10s;',
    http => 'broadcast_zone hubs 1m; broadcast_drain 20s;');
my ($fine, $words) = $quiet->test;
ok($fine && $words =~ /"broadcast_drain" of 20000ms is longer than/,
   '... "nginx -t" tells of it, also where error_log takes errors alone')
    or diag($words);

nginx('off', main => 'worker_shutdown_timeout 1s;');
$is = all_kinds();
$nginx->stop_ok(name => '... and one that is off');

nginx('30m');
$is = all_kinds();
$nginx->stop_ok(signal => 'TERM', name => 'TERM with each kind of client ends it');

done_testing();
