#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# What a client POSTs is answered with 200 if its connection's worker has taken
# it, and with 404 if the connection had ended: before, while the body was read,
# or while it waited in the log for that worker, which is stopped here to hold
# it there.  The official client takes a 200 for success.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Select;
use JSON::PP;
use Test::More;

use Broadcast::HTTP qw(worker_at);
use Broadcast::LongPoll;
use Broadcast::Nginx qw(wait_for);
use Broadcast::SSE;

# A connection of its own queue each worker has, so that the kernel spreads
# connections also while a worker is stopped.

my $nginx = Broadcast::Nginx->new(
    workers => 2,
    http    => <<'EOC',
        broadcast_zone hubs 4m;

        server {
            listen 127.0.0.1:%%PORT spread%% reuseport;
            keepalive_requests 10000;
            location /client   { broadcast_hub anonymous; }
            location /api/     { broadcast_api open; }
            location = /status { broadcast_status json; }
            location = /pid    { return 200 $pid; }
        }
EOC
)->start;

my $port = $nginx->port('spread');
my ($owner, $other) = sort $nginx->workers;

my $taken = '200 ';
my $gone = '404 No Connection with that ID';
my $hello = qq({"protocol":"json","version":1}\x1e);
my $ping = qq({"type":6}\x1e);
my $call = qq({"type":1,"invocationId":"1","target":"None","arguments":[]}\x1e);

sub at { worker_at($port, '/pid', $_[0]) }

my ($ops, $post) = (at($other), at($other));

sub request {
    my ($c, $method, $uri, %o) = @_;
    $c->request($method, $uri, keepalive => 1, %o);
    return answer($c, $method);
}

sub answer {
    my ($c, $method) = @_;
    my $r = $c->head;
    $c->body($r, $method);
    return $r;
}

sub words { my $r = answer(@_); return "$r->{status} $r->{body}" }

# an event stream at the owner, with its handshake done

sub stream {
    my $r = decode_json(request($ops, 'POST',
                                '/client/negotiate?hub=chat&negotiateVersion=1',
                                body => '')->{body});
    my $sse = Broadcast::SSE->connect($port,
                                 "/client?hub=chat&id=$r->{connectionToken}",
                                 on => at($owner));

    $sse->{id} = $r->{connectionId};
    $sse->{url} = "/client?hub=chat&id=$r->{connectionToken}";

    request($post, 'POST', $sse->{url}, body => $hello);
    $sse->event;

    return $sse;
}

sub starts {
    my ($client, $body, %o) = @_;
    my $c = $o{at} // $post;
    $c->request('POST', ref $client eq 'Broadcast::LongPoll' ? $client->url
                                                             : $client->{url},
                keepalive => 1, body => $body);
    return $c;
}

sub ends {
    my ($id) = @_;
    my $r = request($ops, 'DELETE',
                    "/api/hubs/chat/connections/$id?api-version=2024-12-01");
    die "close: $r->{status}\n" if $r->{status} != 200;
}

sub is_there {
    my ($id) = @_;
    return request($ops, 'HEAD', "/api/hubs/chat/connections/$id"
                                 . '?api-version=2024-12-01')->{status} == 200;
}

sub silent { !IO::Select->new($_[0]{socket})->can_read(0.5) }


# --- an event stream ----------------------------------------------------------

my $sse = stream();
is(words(starts($sse, $call)), $taken, 'a message is taken at another worker');
like($sse->event->{data}, qr/"type":3,"invocationId":"1"/, '... and answered');
is(words(starts($sse, '')), $taken, 'nothing is taken as well');

my $own = at($owner);
is(words(starts($sse, $ping, at => $own)), $taken,
   'a message is taken at its own worker');

kill 'STOP', $owner;
starts($sse, $call);
ok(silent($post), 'while nobody takes it, it is not answered');
kill 'CONT', $owner;
is(words($post), $taken, '... and then it is');
like($sse->event->{data}, qr/"type":3/, '... since it was taken');

# ended while its body is read

$post->write("POST $sse->{url} HTTP/1.1\r\nHost: a\r\nContent-Length: "
             . length($ping) . "\r\n\r\n" . substr $ping, 0, 4);
ends($sse->{id});
like($sse->event->{data}, qr/"type":7/, 'it is told to go');
ok((wait_for { !is_there($sse->{id}) } 30), '... and ends');
$post->write(substr $ping, 4);
is(words($post), $gone, 'a body that was read meanwhile is not taken');
is(words(starts($sse, $ping)), $gone, '... nor is the next one');

# ended in the log before it

$sse = stream();
kill 'STOP', $owner;
ends($sse->{id});
starts($sse, $ping);
kill 'CONT', $owner;
is(words($post), $gone, 'what stands behind the end in the log is not taken');
like($sse->event->{data}, qr/"type":7/, '... whose client was told of it');

# ended by it

$sse = stream();
is(words(starts($sse, qq({"type":7}\x1e$call))), $taken,
   'what ends the connection was taken');
is($sse->event, undef, '... and does end it');

# a client that is gone does not matter

$sse = stream();
my $next = at($other);
kill 'STOP', $owner;
starts($sse, $call)->close;
$post = $next;
starts($sse, $ping);
kill 'CONT', $owner;
is(words($post), $taken, 'who comes behind one that has gone away is answered');
like($sse->event->{data}, qr/"type":3/, '... and that one was taken');


# --- a poll -------------------------------------------------------------------

my $poll_at = at($owner);
my $lp = Broadcast::LongPoll->connect($port, '/client?hub=chat', at => $poll_at);

kill 'STOP', $owner;
ends($lp->{id});
starts($lp, $ping);
kill 'CONT', $owner;
is(words($post), $gone,
   'nor is it where the last words wait for a poll, which has not come');
is($lp->poll(at => $poll_at)->{records}[0]{type}, 7, '... and then comes');

# On its way to another worker: taken by the one that it goes to.

my $here = at($other);
$lp = Broadcast::LongPoll->connect($port, '/client?hub=chat', at => $poll_at);

kill 'STOP', $owner;
my $wait = $lp->start(at => $here);
starts($lp, $call);
kill 'CONT', $owner;
is(words($post), $taken, 'what overtakes a move is taken');
my $r = $lp->answer($wait);
is(scalar(grep { $_->{type} == 3 } @{ $r->{records} }), 1, '... once');
is($lp->delete(at => $here)->{status}, 202, '... where it came to');


# --- the death of the worker --------------------------------------------------

$sse = stream();
$nginx->behead;
kill 'STOP', $owner;
starts($sse, $ping);
kill 'KILL', $owner;
is(words($post), $gone, 'what a dead worker has not taken is not taken');

kill 'QUIT', $other;
ok((wait_for { !kill 0, $other } 20), 'the other worker ends');
is_deeply([ $nginx->complaints ], [], 'the log is without alerts');

done_testing();
