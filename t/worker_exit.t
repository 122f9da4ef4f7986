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
use Time::HiRes qw(time);

use Broadcast::HTTP qw(http);
use Broadcast::Hub;
use Broadcast::LongPoll;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Plain;
use Broadcast::SSE;

my $server = <<'EOC';
        location /events/  { broadcast_events anonymous; }
        location /client   { broadcast_hub anonymous hub=chat; }
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

my $drain = 4;
my $n = 60;

nginx("${drain}s");

my @clients = map { plain() } 1 .. $n;
ok((wait_for { status()->{hubs}{chat}{connections}{websocket} == $n }),
   "$n clients");

my $began = time;
$nginx->reload;

# Reads what comes to them, and writes down when each was closed.

my %of = map { fileno $_->{socket} => $_ } @clients;
my $select = IO::Select->new(map { $_->{socket} } @clients);
my $published = 0;
my (@ends, %last, %closed);

while ($select->count && time - $began < $drain + 15) {
    publish(++$published);

    for my $socket ($select->can_read(0.05)) {
        my $client = $of{fileno $socket};
        my $record;

        # what was read at once with it as well

        do {
            $record = $client->next(5);
            is($record->{arguments}[0], $last{$client}, 'no hole')
                if $record && $record->{arguments}[0] ne ++$last{$client};
        } while $record && length $client->{buffer};

        next if $record;

        push @ends, time - $began;
        $closed{($client->closed)[0]}++;
        $select->remove($socket);
        $client->drop;
    }
}

is(scalar @ends, $n, 'all are sent away');
is_deeply(\%closed, { 1012 => $n }, '... to come again');

# the two workers began when they were told to, soon after the signal

my @before = map { my $at = $_ * $drain / 4;
                   scalar grep { $_ < $at } @ends } 1 .. 3;

cmp_ok($before[0], '<=', $n * 0.5, '... not many in the first quarter');
cmp_ok($before[1], '<=', $n * 0.75, '... or half of the time');
cmp_ok($before[1], '>=', 1, '... and not all at its end');
cmp_ok($ends[-1], '<', $drain + 5, '... nor long behind it');
diag(join ' ', map { sprintf '%.1f', $ends[$_] }
     0, $n / 4, $n / 2, 3 * $n / 4, $n - 1);

my @got = sort { $a <=> $b } values %last;
cmp_ok($got[0], '>=', 1,
       'each of them got what was published behind the reload');
cmp_ok($got[-1], '>', $got[0], '... as long as it was there');

ok((wait_for { $nginx->workers(1) == 2 } 20), 'the old workers have ended');
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

    is($is->{plain}->next(20), undef, "$name: a WebSocket is closed");
    is(($is->{plain}->closed)[0], 1012, '... with 1012');
    $is->{plain}->drop;

    ok(eval { 1 while $is->{sse}->event(20); 1 }, '... a stream ends');

    my $record = $is->{hub}->next(20);
    $record = $is->{hub}->next(20) while $record && $record->{type} != 7;
    ok($record && $record->{allowReconnect},
       '... a hub\'s client may come again');
    $is->{hub}->drop;

    my $r = $is->{polls}->answer($is->{poll}, 20);
    like($r->{status}, qr/^20[04]$/, '... a poll is answered');
}

for my $shutdown ('', 'worker_shutdown_timeout 10s;') {

    nginx('2s', main => $shutdown);

    my $is = all_kinds();
    ok((wait_for { my $c = status()->{hubs}{chat}{connections};
                   $c->{websocket} == 4 && $c->{sse} == 1
                       && $c->{longpoll} == 2 }), 'clients of each kind');

    my $began = time;
    my $name = 'QUIT' . ($shutdown && ', with worker_shutdown_timeout');
    kill 'QUIT', $nginx->pid;
    ended($is, $name);

    my @wrong = $nginx->stop(seconds => 30);
    my $took = time - $began;
    is_deeply(\@wrong, [], '... it ends by itself, its log without alerts');
    cmp_ok($took, '<', 2 + 2, '... within the time, whoever says nothing');
    diag(sprintf 'ended after %.1f s', $took);
}

# who would be there for half an hour

nginx('30m', main => 'worker_shutdown_timeout 2s;');
my $is = all_kinds();
$began = time;
my @wrong = $nginx->stop(seconds => 30);
is_deeply(\@wrong, [], 'worker_shutdown_timeout ends a longer drain');
cmp_ok(time - $began, '<', 6, '... in time');

my $quiet = Broadcast::Nginx->new(
    log => 'error', main => 'worker_shutdown_timeout 10s;',
    http => 'broadcast_zone hubs 1m; broadcast_drain 20s;');
my ($fine, $words) = $quiet->test;
ok($fine && $words =~ /"broadcast_drain" of 20000ms is longer than/,
   '... "nginx -t" tells of it, also where error_log takes errors alone')
    or diag($words);

nginx('off', main => 'worker_shutdown_timeout 1s;');
$is = all_kinds();
$began = time;
@wrong = $nginx->stop(seconds => 30);
is_deeply(\@wrong, [], '... and one that is off');
cmp_ok(time - $began, '<', 6, '... in time');

nginx('30s');
$is = all_kinds();
$began = time;
$nginx->stop_ok(signal => 'TERM', name => 'TERM with each kind of client');
cmp_ok(time - $began, '<', 8, '... ends at once');

done_testing();
