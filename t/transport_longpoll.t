#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# Long polling on the wire, signalr.md 2.1, 2.4, 2.5 and 7.5: statuses, headers
# and bodies of each kind of poll, and that no byte is lost with one.  One
# worker: moves are in conn_move.t.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(time);

use Broadcast::Clock;
use Broadcast::HTTP;
use Broadcast::LongPoll;
use Broadcast::Nginx qw(wait_for);
use Broadcast::SSE;
use Broadcast::Token qw(client_token);
use Broadcast::WebSocket;

my $key = '0123456789abcdef';
my $gone = 'No Connection with that ID';

my $nginx = Broadcast::Nginx->new(
    tls     => 1,
    http    => <<"EOC",
        broadcast_zone hubs 8m;
        broadcast_key $key;

        server {
            listen 127.0.0.1:%%PORT narrow%% sndbuf=16k;
            location /client { broadcast_hub; }
        }
EOC
    server  => <<'EOC',
        location /client   { broadcast_hub; broadcast_message_size 100000; }
        location /small    { broadcast_hub; broadcast_queue 2000; }
        location /any      { broadcast_hub hub=any anonymous; }
        location /sse      {
            broadcast_hub hub=any anonymous; broadcast_transports sse;
        }
        location /publish/ { broadcast_publish; }
        location /api/     { broadcast_api open; }
        location = /status { broadcast_status json; }
EOC
)->start;

my $port = $nginx->port;
my $ann = client_token($key, 'chat', sub => 'ann');
my $bob = client_token($key, 'chat', sub => 'bob');

sub http { Broadcast::HTTP::http($port, @_) }

sub lp { Broadcast::LongPoll->connect($port, '/client?hub=chat',
                                      token => $ann, @_) }

sub publish {
    my ($text, $hub) = @_;
    $hub //= 'chat';
    my $r = http('POST', "/publish/$hub?target=m", body => $text);
    die "publish: $r->{status} $r->{body}\n" if $r->{status} != 200;
}

sub said { join ' ', map { $_->{type} == 1 ? $_->{arguments}[0] : "type$_->{type}" }
                     @{ $_[0]{records} // [] } }

sub is_answer {
    my ($r, $status, $body, $name) = @_;
    is("$r->{status} $r->{body}", "$status $body", $name);
}

sub status { http('GET', '/status')->{json} }


# --- the first poll ----------------------------------------------------------

my $lp = lp(nohandshake => 1);
my $h = $lp->{first}{headers};

is_answer($lp->{first}, 200, '', 'the first poll is answered at once, empty');
is($h->{'content-length'}, 0, '... with a length of 0');
is($h->{'content-type'}, 'application/octet-stream', '... and a type');
is($h->{'cache-control'}, 'no-cache, no-store', 'Cache-Control');
is($h->{pragma}, 'no-cache', 'Pragma');
is($h->{expires}, 'Thu, 01 Jan 1970 00:00:00 GMT', 'Expires');

is(status()->{hubs}{chat}{connections}{longpoll}, 1,
   'status counts the connection');
is(http('GET', "/api/v1/hubs/chat/connections/$lp->{id}")->{status}, 200,
   'the negotiated id is the connection\'s');


# --- handshake, messages -----------------------------------------------------

publish('early');

my $r = $lp->post({ protocol => 'json', version => 1 });
is_answer($r, 200, '', 'a POST is answered empty');

$r = $lp->poll;
is_answer($r, 200, "{}\x1e",
          'the next poll has the handshake, nothing that was sent before it');
is($r->{headers}{'content-type'}, 'application/octet-stream',
   'data is application/octet-stream');
is($r->{headers}{'content-length'}, 3, '... with its length');
is($r->{headers}{'cache-control'}, 'no-cache, no-store',
   '... and not to be cached');


my $wait = $lp->start;
publish('one');
$r = $lp->answer($wait);
is(said($r), 'one', 'a poll that waits is answered by a message');

publish($_) for 'two', 'three', 'four';
is(said($lp->poll), 'two three four',
   'what came between two polls comes with the next, all of it, in order');

$r = $lp->post({ type => 1, invocationId => '7', target => 'Nope',
                 arguments => [] });
is($r->{status}, 200, 'an invocation is taken');
$r = $lp->poll;
is($r->{records}[0]{error}, "Unknown hub method 'Nope'",
   '... and answered by a poll');

$lp->post('{"type":1,"invocationId":"8","tar');
$lp->post("get\":\"Half\",\"arguments\":[]}\x1e");
is($lp->poll->{records}[0]{error}, "Unknown hub method 'Half'",
   'a record may come in two POSTs');

is_answer($lp->post('x' x 100_001), 413, 'The body is too large.',
          'a POST above the message size is refused');


# --- two polls at once -------------------------------------------------------

my $old = $lp->start;

# It is parked when it was read: a request on another connection is read behind
# it.

http('GET', '/status');
my $new = $lp->start;
$r = $lp->answer($old);
is_answer($r, 204, '', 'a new poll ends the one that waits with 204');
publish('five');
is(said($lp->answer($new)), 'five', '... and has what comes then');


# --- aborted polls -----------------------------------------------------------

$wait = $lp->start;
http('GET', '/status');
$wait->{connection}->close;
ok(wait_for { $nginx->access_log =~ m{ 499 } }, 'an aborted poll is noticed');
publish('six');
is(said($lp->poll), 'six', '... the next one has the message');

# More than sockets buffer, so the answer is not all handed over when its
# client goes away.

my $big = 'b' x 900_000;
my $narrow = bless { %$lp, port => $nginx->port('narrow') }, ref $lp;

$wait = $narrow->start;
http('GET', '/status');
publish($big);
publish('seven');
like($wait->{connection}->head->{headers}{'content-length'}, qr/^900\d\d\d$/,
     'a large answer has begun');
$wait->{connection}->close;
$r = $lp->poll;
ok(said($r) eq "$big seven",
   'it is cut off: all of it comes with the next, and what came behind');

$wait = $narrow->start;
http('GET', '/status');
publish($big);
$wait->{connection}->head;
$r = $lp->poll;
ok(said($r) eq $big, 'the same if the first poll is still being read');
ok(!defined eval { $wait->{connection}->bytes(900_000) },
   '... which is cut off');
$wait->{connection}->close;

$wait = $narrow->start;
http('GET', '/status');
publish($big);
publish('eight');
ok(said($narrow->answer($wait)) eq $big, 'a slow poll gets all of it');
is(said($lp->poll), 'eight', '... and the next one only what came behind');

ok(wait_for { status()->{hubs}{chat}{connections}{longpoll} == 1 },
   'all of this is one connection');


# --- forms of a request ------------------------------------------------------

my $c = Broadcast::HTTP->connect($port);
publish('k1');
is(said($lp->poll(at => $c)), 'k1', 'a poll on a connection that is kept');
publish('k2');
is(said($lp->poll(at => $c)), 'k2', '... and the next one on the same');

my $get = 'GET ' . $lp->url . " HTTP/1.1\r\nHost: x\r\n"
        . "Authorization: Bearer $ann\r\n\r\n";
$c->write($get . $get);
publish('p1');
$r = $c->head; $c->body($r);
like($r->{body}, qr/"p1"/, 'the first of two pipelined polls is answered');
publish('p2');
$r = $c->head; $c->body($r);
like($r->{body}, qr/"p2"/, '... then the second one waits');
$c->close;

publish('v10');
$r = $lp->poll(version => '1.0');
is(said($r), 'v10', 'HTTP/1.0');
is($r->{headers}{connection}, 'close', '... which is closed behind it');

publish('tls');
{
    my $secure = bless { %$lp, port => $nginx->port('tls'), tls => 1 },
                 ref $lp;
    is(said($secure->poll), 'tls', 'over TLS');
}

SKIP: {
    skip 'curl has no HTTP/2', 2 unless `curl -V` =~ /HTTP2/;

    my $curl = sub {
        my $url = 'https://127.0.0.1:' . $nginx->port('tls') . $lp->url;
        return scalar `curl -sk --http2 -m 10 -w '%{http_version} %{http_code}' -H 'Authorization: Bearer $ann' '$url'`;
    };

    publish('h2');
    like($curl->(), qr/"h2".*\x1e2 200$/s, 'over HTTP/2');
    publish('y' x 200_000);
    like($curl->(), qr/(?:y{1000}){200}".*\x1e2 200$/s,
         '... more than a window of it');
}


# --- what does not fit -------------------------------------------------------

for my $o ([ GET => '' ], [ POST => 'x' ], [ DELETE => '' ]) {
    my ($method, $body) = @$o;
    is_answer($lp->request($method, auth => $bob,
                           $method eq 'POST' ? (body => $body) : ()),
              403, 'The connection is another user\'s.',
              "another user is kept out: $method");
}

is_answer(http('GET', $lp->url . "&access_token=$ann",
               headers => [ Accept => 'text/event-stream' ]),
          400, 'Cannot change transports mid-connection',
          'an event stream is another transport');
is(Broadcast::WebSocket->connect($port, $lp->url . "&access_token=$ann")
   ->{head}{status}, 400, 'so is a WebSocket');

my $other = lp(negotiate => 1);
my $sse = Broadcast::SSE->connect($port, $other->url . "&access_token=$ann");
is_answer($other->poll, 400, 'Cannot change transports mid-connection',
          'a poll does not serve an event stream');
is_answer($other->delete, 400,
          'Cannot terminate this connection using the DELETE endpoint.',
          'which is not deleted either');
undef $sse;

my $ws = lp(negotiate => 1);
my $socket = Broadcast::WebSocket->connect($port,
                                           $ws->url . "&access_token=$ann");
is_answer($ws->poll, 400, 'Cannot change transports mid-connection',
          'nor a WebSocket');
is_answer($ws->post('x'), 405,
          'POST requests are not allowed for WebSocket connections.',
          'which takes no POST');
$socket->drop;

$other = Broadcast::LongPoll->connect($port, '/sse', negotiate => 1);
is_answer($other->poll, 404,
          'LongPolling transport not supported by this end point type',
          'long polling may be switched off');

my $htt = Broadcast::LongPoll->connect($port, '/client?hub=chat',
    negotiate => 1, token => client_token($key, 'chat', 'asrs.s.htt' => 3));
is_answer($htt->poll, 404,
          'LongPolling transport not supported by this end point type',
          '... also by the token');


# --- ends --------------------------------------------------------------------

$wait = $lp->start;
http('GET', '/status');
$r = $lp->delete;
is_answer($r, 202, '', 'DELETE is 202');
is_answer($lp->answer($wait), 204, '', '... ends the poll that waits');
is_answer($lp->poll, 404, $gone, '... and the connection: a poll finds none');
is_answer($lp->post('x'), 404, $gone, '... nor does a POST');
is_answer($lp->delete, 404, $gone, '... nor a DELETE');

$lp = lp();
$wait = $lp->start;
http('GET', '/status');
like(http('DELETE', "/api/v1/hubs/chat/connections/$lp->{id}?reason=so")
   ->{status}, qr/^20[02]$/, 'REST closes a connection');
$r = $lp->answer($wait);
is($r->{status}, 200, 'the poll that waits is answered');
is_deeply($r->{records},
          [ { type => 7, error => 'so', allowReconnect => JSON::PP::true } ],
          '... with a Close that says why');
is_answer($lp->poll, 404, $gone, '... and that was the end');

$lp = lp();
publish('before');
http('DELETE', "/api/v1/hubs/chat/connections/$lp->{id}?reason=so");
is(said($r = $lp->poll), 'before type7',
   'a Close while nobody polls waits for the poll, behind what was queued');
is_answer($lp->poll, 404, $gone, '... and that was the end');

$lp = lp();
http('DELETE', "/api/v1/hubs/chat/connections/$lp->{id}");
is_answer($lp->delete, 202, '', 'DELETE while a Close waits');
ok(wait_for { $lp->poll->{status} == 404 }, '... ends it at once');

$lp = lp();
$wait = $lp->start;
http('GET', '/status');
$lp->post({ type => 7 });
is_answer($lp->answer($wait), 204, '', 'a Close of the client\'s ends its poll');
is_answer($lp->poll, 404, $gone, '... and that was the end');

$lp = lp(nohandshake => 1);
$lp->post({ protocol => 'nope', version => 1 });
is_answer($r = $lp->poll, 200,
          qq({"error":"The protocol 'nope' is not supported."}\x1e),
          'a refused handshake is told');
is_answer($lp->poll, 404, $gone, '... and that was the end');

my $slow = status()->{closed}{slow};
$lp = Broadcast::LongPoll->connect($port, '/small?hub=chat', token => $ann);
publish('s' x 900) for 1 .. 3;
is_deeply($lp->poll->{records},
          [ { type => 7, allowReconnect => JSON::PP::true,
              error => 'The client does not read fast enough.' } ],
          'more than broadcast_queue between two polls ends the connection');
is(status()->{closed}{slow}, $slow + 1, '... and is counted');


# --- time --------------------------------------------------------------------

my $short = client_token($key, 'chat', sub => 'ann', 'asrs.s.ttl' => 1);
$lp = lp(token => $short);
my $start = time;
$r = $lp->poll;
my $took = time - $start;
is_answer($r, 200, '', 'a poll with nothing to say ends empty');
like($r->{headers}{'content-type'}, qr{^text/plain}, '... text/plain');
ok($took > 0.9 && $took < 30, '... after the time that its token names');
is_answer($lp->delete, 202, '', '... and its connection has lived on');

# A token is good for 60 s beyond its end.  One that is good for as long as it
# takes to connect:

my $stale;

sub stale {
    for (1, 2, 4, 8, 16) {
        $stale = client_token($key, 'chat', sub => 'ann',
                              exp => int(time) - 59 + $_);
        my $lp = eval { lp(token => $stale) };
        return $lp if $lp;
    }

    die "a token does not last until it has connected\n";
}

$lp = stale();
$r = $lp->poll(timeout => 60);
is_answer($r, 401, '', 'the poll that waits when its token ends is told so');
is($r->{headers}{'www-authenticate'}, 'Bearer', '... as any such request');
is($lp->poll->{status}, 401, '... so is the next one');
is_answer($lp->poll(auth => $ann), 404, $gone, 'the connection has ended');

$lp = stale();
$wait = $lp->start(auth => $ann);

ok(wait_for { $lp->post({ type => 6 }, auth => $stale)->{status} == 401 },
   'meanwhile the other token has ended');

publish('later');
is(said($lp->answer($wait)), 'later',
   'a poll with a newer token keeps the connection');
$lp->delete(auth => $ann);

$lp = lp();
$start = time;
$r = $lp->poll(auth => client_token($key, 'chat', sub => 'ann',
                                    exp => int($start) - 58));
is_answer($r, 401, '', 'one with an older token waits as long as that is good');
cmp_ok(time - $start, '<', 60, '... and no longer');
$lp->delete;

# --- a client that has gone behind its requests ------------------------------

# The answer to the first tells the worker that nobody is there: the poll ends
# while it begins, with what it would have carried.

my ($worker) = $nginx->workers;
my $there = http('POST', '/any/negotiate?negotiateVersion=1', body => '');
my $path = "/any?id=$there->{json}{connectionToken}";

is_answer(http('GET', $path), 200, '', 'a connection by long polling');

my $client = Broadcast::HTTP->connect($port);
my $hello = qq({"protocol":"json","version":1}\x1e);

kill STOP => $worker;
$client->write("POST $path HTTP/1.1\r\nHost: x\r\nContent-Length: "
               . length($hello) . "\r\n\r\n$hello"
               . "GET $path HTTP/1.1\r\nHost: x\r\n\r\n");
$client->close;
kill CONT => $worker;

is_answer(http('GET', $path), 200, "{}\x1e",
          'what a poll of a client that has gone carried is for the next one');
is_deeply([ $nginx->workers ], [ $worker ], '... and the worker lives');


$nginx->stop_ok;


# --- the long waits, of an nginx whose time goes ten times as fast -----------

# Not under the sanitizers: what they preload and this do not go together.

SKIP: {
    my $fast = $ENV{BROADCAST_BUILD} ? undef : Broadcast::Clock::fast(10);

    skip 'no time that goes faster', 7 unless $fast;

    $nginx = Broadcast::Nginx->new(
        env    => $fast,
        http   => 'broadcast_zone hubs 4m;',
        server => <<'EOC')->start;
            location /any      { broadcast_hub hub=any anonymous; }
            location = /status { broadcast_status json; }
EOC
    $port = $nginx->port;

    my $silent = Broadcast::LongPoll->connect($port, '/any');
    my $began = time;
    my $polls = Broadcast::LongPoll->connect($port, '/any');
    $start = time;
    $wait = $polls->start;

    ok(wait_for { status()->{closed}{timeout} == 1 },
       'a connection that nobody polls ends, counted as a timeout');
    cmp_ok(10 * (time - $began), '>', 14.5, '... not before 15 s');
    is_answer($silent->poll, 404, $gone, '... and is gone');

    $r = $polls->answer($wait, 60);
    $took = 10 * (time - $start);

    is_answer($r, 200, '', 'a poll is held for a long time, then ends empty');
    like($r->{headers}{'content-type'}, qr{^text/plain}, '... text/plain');
    ok($took > 89, '... after 90 s') or diag("after $took s");
    $nginx->stop_ok;
}

done_testing();
