#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# Workers come and go: one is killed, the configuration is reloaded, clients
# are drained at a pace or kept, and nothing is left behind.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP;
use Test::More;
use Time::HiRes qw(time);

use Broadcast::HTTP qw(http);
use Broadcast::Hub;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Plain;
use Broadcast::SSE;

my $server = <<'EOS';
    location /client   { broadcast_hub anonymous; }
    location /events/  { broadcast_events anonymous; }
    location /kept/    { broadcast_events anonymous; limit_conn conns 1000; }
    location /publish/ { broadcast_publish; }
    location = /status { broadcast_status json; }
EOS

my $http = 'broadcast_zone hubs 8m; broadcast_key 0123456789abcdef;
            limit_conn_zone $binary_remote_addr zone=conns:1m;';

my $nginx = Broadcast::Nginx->new(workers => 4, tls => 1,
    http => "$http broadcast_drain 2s;", server => $server)->start;

my $port = $nginx->port;


sub status { http($port, 'GET', '/status')->{json} }


sub publish {
    my ($n) = @_;

    my $r = http($port, 'POST', '/publish/chat', body => encode_json($n),
        headers => [ 'Content-Type' => 'application/json' ]);
    $r->{status} == 200 or die "publish: $r->{raw}";

    return $r->{json}{id};
}


sub connections {
    my $c = status()->{hubs}{chat}{connections} // {};

    return ($c->{websocket} // 0) + ($c->{sse} // 0);
}


sub gone {
    my @pids = @_;

    return wait_for(sub { !grep { kill 0, $_ } @pids }, 15);
}


# a worker is killed: its clients are gone, the others miss nothing

my $used = status()->{zone}{used};
my @plain = map { Broadcast::Plain->connect($port, '/events/chat') } 1 .. 40;
my %of = map { $_->{pid} => $_->{connections} } @{ status()->{workers} };
my ($victim) = sort { $of{$b} <=> $of{$a} } keys %of;

ok $of{$victim} < 40, 'the clients sit in several workers';

my $before = publish(0);
$_->next for @plain;

$nginx->kill_worker($victim);
my @ids = map { publish($_) } 1 .. 50;

my ($alive, $wrong) = (0, 0);

for my $ws (@plain) {
    my @seen;

    for (1 .. 50) {
        my $frame = eval { $ws->next } or last;
        push @seen, $frame->{id};
    }

    next unless @seen;
    $alive++;
    $wrong++ if "@seen" ne "@ids";
}

is $alive, 40 - $of{$victim}, 'the clients of other workers live on';
is $wrong, 0, 'and get every message, in order';

ok wait_for { connections() == $alive }, 'those of the killed one are uncounted';
ok wait_for { $nginx->workers == 4 }, 'another worker takes its place';

# whose clients resume in any worker

my $sse = Broadcast::SSE->connect($port, '/events/chat',
    headers => [ 'Last-Event-ID' => $before ]);
is_deeply [ map { $sse->event->{id} } 1 .. 50 ], \@ids,
    'a client comes again and has missed nothing';
$sse->close;

$_->drop for @plain;
ok wait_for { connections() == 0 }, 'all are gone';

# reload: clients of the old workers are drained, with the right words

my @hubs = map { Broadcast::Hub->connect($port, '/client?hub=chat') } 1 .. 6;
@plain = map { Broadcast::Plain->connect($port, '/events/chat') } 1 .. 4;
push @plain, map { Broadcast::Plain->connect($port, '/kept/chat') } 1 .. 4;
push @plain, Broadcast::Plain->connect($nginx->port('tls'), '/events/chat',
                                       tls => 1);
my @sse = map { Broadcast::SSE->connect($port, '/events/chat') } 1 .. 4;

my @old = $nginx->workers;
my $start = time;
$nginx->reload;

for my $hub (@hubs) {
    my $record;
    1 while ($record = $hub->next) && $record->{type} != 7;
    is_deeply $record, { type => 7, allowReconnect => JSON::PP::true },
        'a hub client is asked to come again';
    $hub->{ws}->message;
    is +($hub->{ws}->closed)[0], 1012, 'with 1012';
    $hub->close;
}

for my $ws (@plain) {
    1 while $ws->next;
    is +($ws->closed)[0], 1012, 'a plain client is told 1012';
    $ws->close;
}

for my $sse (@sse) {
    1 while defined $sse->block;
    pass 'an event stream ends';
    $sse->close;
}

ok time - $start < 30, 'soon, by broadcast_drain';
ok gone(@old), 'then the old workers exit';
is status()->{closed}{drain}, 19, 'all drained clients are counted';

# kept until they leave

$nginx->reload(http => "$http broadcast_drain off;");
my $kept = Broadcast::Plain->connect($port, '/events/chat');
my $hub = Broadcast::Hub->connect($port, '/client?hub=chat');
@old = $nginx->workers;
$nginx->reload;
publish('kept');
is $kept->next->{arguments}[0], 'kept', 'with broadcast_drain off it goes on';
is_deeply $hub->invocation('message'), [ 'kept' ], 'so does a hub client';
$hub->drop;
select undef, undef, undef, 2.5;
publish('kept');
is $kept->next->{arguments}[0], 'kept', 'and on';
ok scalar(grep { kill 0, $_ } @old), 'its worker stays';
$kept->close;
ok gone(@old), 'until it has left';

# but not beyond worker_shutdown_timeout

$nginx->reload(main => 'worker_shutdown_timeout 2s;');
my @last = (Broadcast::Plain->connect($port, '/events/chat'),
            Broadcast::Plain->connect($port, '/kept/chat'),
            Broadcast::Plain->connect($nginx->port('tls'), '/events/chat',
                                      tls => 1),
            Broadcast::SSE->connect($port, '/events/chat'));
@old = $nginx->workers;
$start = time;
$nginx->reload;
ok gone(@old),
    'worker_shutdown_timeout ends even those';
ok time - $start < 30, 'in its time';
ok $_->at_end, 'the client is cut' for @last;
$_->close for @last;

# clients that are there when all ends

my @rest = map { Broadcast::Hub->connect($port, '/client?hub=chat') } 1 .. 4;
push @rest, Broadcast::Plain->connect($port, '/kept/chat');

$nginx->stop_ok(name => 'a graceful end with clients, without alerts');
$_->drop for @rest;

# the same by TERM

$nginx = Broadcast::Nginx->new(workers => 2, http => $http,
                               server => $server)->start;
$port = $nginx->port;
@rest = (Broadcast::Hub->connect($port, '/client?hub=chat'),
         Broadcast::Plain->connect($port, '/kept/chat'),
         Broadcast::SSE->connect($port, '/events/chat'));
$nginx->stop_ok(signal => 'TERM', name => 'and by TERM');
$_->drop for $rest[0], $rest[1];
$rest[2]->close;

done_testing;
