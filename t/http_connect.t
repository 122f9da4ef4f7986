#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# What opens a connection, what finds one, and what is kept out: connection
# tokens, other users, other transports, caps, methods on live connections;
# with four workers, so that most requests land elsewhere.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::HTTP;
use Broadcast::Nginx qw(wait_for);
use Broadcast::SSE;
use Broadcast::Token qw(client_token);
use Broadcast::WebSocket;

my $key = '0123456789abcdef';

my $nginx = Broadcast::Nginx->new(
    workers => 4,
    http    => "broadcast_zone hubs 8m;\nbroadcast_key $key;\n"
             . "broadcast_drain off;\n"
             . 'log_format who "$broadcast_user $broadcast_hub '
             . '$broadcast_connection_id";' . "\n",
    server  => <<'EOC',
        access_log %%DIR%%/who.log who;
        location /client { broadcast_hub; broadcast_message_size 1000; }
        location /cap    {
            broadcast_events hub=capped anonymous;
            broadcast_connections 3;
            broadcast_connections 2 key=$arg_who;
        }
        location /api/   { broadcast_api open; }
        location = /status { broadcast_status json; }
EOC
)->start;

my $port = $nginx->port;
my $ann = client_token($key, 'chat', sub => 'ann');
my $bob = client_token($key, 'chat', sub => 'bob');

sub http { Broadcast::HTTP::http($port, @_) }

sub negotiate {
    my ($token, $version) = @_;
    $version //= 1;

    return http('POST', "/client/negotiate?hub=chat&negotiateVersion=$version"
                        . "&access_token=$token")->{json};
}

sub url {
    my ($id, $token) = @_;

    return '/client?hub=chat&id=' . ($id->{connectionToken}
                                     // $id->{connectionId})
           . "&access_token=$token";
}

sub is_answer {
    my ($r, $status, $body, $name) = @_;

    is("$r->{status} $r->{body}", "$status $body", $name);
}

my $gone = 'No Connection with that ID';


# --- a WebSocket -------------------------------------------------------------

my $id = negotiate($ann);
my $ws = Broadcast::WebSocket->connect($port, url($id, $ann));

is($ws->{head}{status}, 101, 'a connection token opens a WebSocket');

$ws->text(qq({"protocol":"json","version":1}\x1e));
is($ws->message, "{}\x1e", 'it shakes hands');

is(http('GET', "/api/v1/hubs/chat/connections/$id->{connectionId}")->{status},
   200, 'the public id is known');

is((() = Broadcast::Wait::slurp($nginx->dir . '/who.log')
         =~ /^ann chat \Q$id->{connectionId}\E$/mg), 2,
   'the lines of negotiate and of the upgrade say who it is');

my $second = Broadcast::WebSocket->connect($port, url($id, $ann));
is($second->{head}{status}, 409, 'a second WebSocket is a conflict');

is_answer(http('GET', url($id, $ann), headers => [ Accept => 'text/event-stream' ]),
          400, 'Cannot change transports mid-connection',
          'an event stream is another transport');
is_answer(http('POST', url($id, $ann), body => 'x'), 405,
          'POST requests are not allowed for WebSocket connections.',
          'it takes no POST');
is_answer(http('DELETE', url($id, $ann)), 400,
          'Cannot terminate this connection using the DELETE endpoint.',
          'it cannot be deleted');
is_answer(http('POST', url($id, $bob), body => 'x'), 403,
          'The connection is another user\'s.', 'another user is kept out');

my $forged = { connectionToken => substr($id->{connectionToken}, 0, 40)
                                  . 'AAAAAAAA' };
is_answer(http('POST', url($forged, $ann), body => 'x'), 404, $gone,
          'a token with another end is no token');

$ws->close(1000);
ok(wait_for { http('POST', url($id, $ann), body => 'x')->{status} == 404 },
   'its end is the end of the token');
is(Broadcast::WebSocket->connect($port, url($id, $ann))->{head}{status}, 404,
   'which opens nothing again');


# --- an event stream ---------------------------------------------------------

$id = negotiate($ann);

is(Broadcast::WebSocket->connect($port, url($id, $bob))->{head}{status}, 404,
   'another user cannot use the token');
is_answer(http('POST', url($id, $ann), body => 'x'), 404, $gone,
          'a POST before the stream finds nothing');
my $sse = Broadcast::SSE->connect($port, url($id, $ann));
is($sse->{head}{status}, 200, 'the token opens an event stream');
like($sse->{head}{headers}{'content-type'}, qr{^text/event-stream},
     '... of its type');

my $r = http('POST', url($id, $ann),
             body => qq({"protocol":"json","version":1}\x1e),
             headers => [ 'Content-Type' => 'text/plain;charset=UTF-8' ]);
is_answer($r, 200, '', 'a POST is answered empty');
is($sse->event->{data}, "{}\x1e", 'the handshake comes back on the stream');

is_answer(http('POST', url($id, $ann), body => 'x' x 1001), 413,
          'The body is too large.', 'a POST above the message size is refused');
is_answer(http('POST', url($id, $ann), body => ''), 200, '',
          'an empty POST is nothing');
is(Broadcast::SSE->connect($port, url($id, $ann))->{head}{status}, 409,
   'a second stream is a conflict');
is_answer(http('DELETE', url($id, $ann)), 400,
          'Cannot terminate this connection using the DELETE endpoint.',
          'it cannot be deleted');
is_answer(http('POST', url($id, $bob), body => 'x'), 403,
          'The connection is another user\'s.', 'another user is kept out');

$sse->close if $sse->can('close');
undef $sse;
ok(wait_for { http('POST', url($id, $ann), body => 'x')->{status} == 404 },
   'a POST behind the stream finds nothing');


# --- version 0, and without negotiation --------------------------------------

$id = negotiate($ann, 0);
$ws = Broadcast::WebSocket->connect($port, url($id, $ann));
is($ws->{head}{status}, 101, 'with version 0 the id is the token');
is(http('GET', "/api/v1/hubs/chat/connections/$id->{connectionId}")->{status},
   200, '... and the public id');
$ws->drop;

$ws = Broadcast::WebSocket->connect($port,
                                    "/client?hub=chat&access_token=$ann");
is($ws->{head}{status}, 101, 'a WebSocket needs no id at all');
$ws->drop;

is(Broadcast::SSE->connect($port, "/client?hub=chat&access_token=$ann")
   ->{head}{status}, 400, 'an event stream does');


# --- caps --------------------------------------------------------------------

sub stream { Broadcast::SSE->connect($port, "/cap?who=$_[0]") }

my @streams = (stream('a'), stream('a'));
is($streams[$_]{head}{status}, 200, 'below both caps') for 0, 1;

my $third = stream('a');
is($third->{head}{status}, 503, 'beyond the cap of a key');

push @streams, stream('b');
is($streams[2]{head}{status}, 200, 'another key has its own');
is(stream('c')->{head}{status}, 503, 'beyond the cap of the hub');

@streams = ();
ok(wait_for { stream('a')->{head}{status} == 200 }, 'room is given back');


# --- the keys change places --------------------------------------------------

$id = negotiate($ann);
my $kept = negotiate($ann);
$sse = Broadcast::SSE->connect($port, url($id, $ann));
is($sse->{head}{status}, 200, 'a stream from before a rotation');

ok($nginx->reload(http =>
       $nginx->{http} =~ s/(?=broadcast_key)/broadcast_key fedcba9876543210;\n/r),
   'another key comes first');

is(http('POST', url($id, $ann), body => 'x')->{status}, 200,
   'it is heard by its POSTs');
is(Broadcast::WebSocket->connect($port, url($kept, $ann))->{head}{status},
   101, 'a token negotiated before opens a connection');

$nginx->stop_ok(signal => 'TERM');

done_testing();
