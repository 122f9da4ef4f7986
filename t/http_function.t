#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# SQL functions that requests ask: broadcast_function, a `connect` function
# before a connection is accepted, function= of negotiate; and what is answered
# when the database is away.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use Test::More;

use Broadcast::HTTP ();
use Broadcast::Hub;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Plain;
use Broadcast::Postgres;
use Broadcast::SSE;
use Broadcast::Token qw(claims client_token);
use Broadcast::WebSocket;

my $key = '0123456789abcdef';
my $pg = Broadcast::Postgres->new;
my @at = (db => 'app', user => 'app');

$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);

$pg->psql(<<'EOS', @at);
create function mirror(event jsonb) returns jsonb language sql as $$
    select jsonb_build_object('body', event, 'headers',
        jsonb_build_object('X-One', 1, 'Set-Cookie', jsonb_build_array('a=1', 'b=2'))) $$;
create function teapot(event jsonb) returns jsonb language sql as $$
    select '{"status":418,"headers":{"Content-Type":"text/tea"},"body":"short"}'::jsonb $$;
create function bare(event jsonb) returns jsonb language sql as
    $$ select event->'body' $$;
create function nil(event jsonb) returns jsonb language sql as
    $$ select null::jsonb $$;
create function fails(event jsonb) returns jsonb language plpgsql as
    $$ begin raise exception 'inner secret'; end $$;
create function casts(event jsonb) returns jsonb language sql as
    $$ select jsonb_build_object('body', (event->'body'->>'n')::int) $$;
create function header(event jsonb) returns jsonb language sql as $$
    select jsonb_build_object('headers', jsonb_build_object('X-A', E'a\r\nX-B: b')) $$;
create function badstatus(event jsonb) returns jsonb language sql as
    $$ select '{"status":99}'::jsonb $$;
create function slow(event jsonb) returns jsonb language plpgsql as
    $$ begin perform pg_sleep(30); return null; end $$;
create function says(event jsonb) returns jsonb language sql as $$
    select '{"status":202,"actions":{"hub":"chat","target":"said","arguments":[1]}}'::jsonb $$;

create function door(event jsonb) returns jsonb language sql as $$
    select case event->>'userId'
        when 'eve' then '{"refuse":"no eves"}'::jsonb
        when 'err' then to_jsonb(1 / (length(event->>'userId') - 3))
        else jsonb_build_object('groups', jsonb_build_array('let-in'),
                                'userId', event->>'userId' || '2') end
    where event->>'userId' is not null
    union all select '{"refuse":"who?"}'::jsonb where event->>'userId' is null $$;

create function who(event jsonb) returns jsonb language sql as $$
    select case event->'query'->>'me' when 'eve' then '{"refuse":"no eves"}'::jsonb
        else jsonb_build_object('userId', event->'query'->>'me', 'groups', '["g"]'::jsonb,
            'claims', jsonb_build_object('hub', event->>'hub', 'role', 'r')) end $$;

select broadcast.bind('http', f::regproc, event => e, role => r)
  from (values ('mirror', 'mirror', null), ('teapot', null, null), ('bare', null, null),
               ('nil', null, null), ('fails', null, null), ('casts', null, null), ('header', null, null),
               ('badstatus', null, null), ('slow', null, null), ('says', null, null),
               ('bare', 'guarded', 'admin'), ('bare', 'a/b', null)) v(f, e, r);
select broadcast.bind('connect', 'door', hub => 'guarded');
EOS

my $nginx = Broadcast::Nginx->new(
    workers => 2,
    http    => "broadcast_zone hubs 8m;\nbroadcast_key $key;\n"
             . 'broadcast_database "' . $pg->conninfo('app', 'app')
             . '" timeout=2s;',
    server  => <<'EOC',
        location /functions/ { broadcast_function; }
        location /client     { broadcast_hub anonymous; }
        location /free       { broadcast_hub anonymous nofunctions; }
        location /events/    { broadcast_events anonymous; }
        location /publish/   { broadcast_publish; }
        location = /n { broadcast_negotiate hub=chat user=nobody function=who claim=role:x; }
        location = /status   { broadcast_status json; }
EOC
)->start;

my $port = $nginx->port;

sub call {
    my ($method, $path, %o) = @_;

    return Broadcast::HTTP::http($port, $method, "/functions/$path", %o);
}

ok((wait_for { call('GET', 'nil')->{status} == 204 } 15),
   'null is an answer without a body');


# --- the event ---------------------------------------------------------------

my $ann = client_token($key, 'chat', sub => 'ann', role => 'admin', n => 1);

my $r = call('POST', "mirror/a%2Fb/c?x=1&y=a%20b&x=2&access_token=$ann",
             body => '{"k": [1, 2]}',
             headers => [ 'Content-Type' => 'application/json',
                          'X-Custom' => 'yes', Referer => "http://x/?access_token=$ann" ]);
my $e = $r->{json};

is($r->{status}, 200, 'a function answers');
is_deeply([ @$e{qw(method path body userId)} ],
          [ 'POST', 'a/b/c', { k => [ 1, 2 ] }, 'ann' ],
          'its event has method, path, body and user');
is_deeply($e->{query}, { x => [ 1, 2 ], y => 'a b' }, '... the query without the token');
is($e->{headers}{'x-custom'}, 'yes', '... headers in lower case');
is($e->{headers}{referer}, 'http://x/?access_token=***', '... and the token in none');
is($e->{claims}{n}, 1, '... claims');
is($e->{remoteAddress}, '127.0.0.1', '... the address');
unlike($r->{body}, qr/\Q$ann\E/, '... and nowhere the token');
is_deeply([ @{ $r->{headers} }{'x-one', 'set-cookie'} ], [ 1, 'a=1, b=2' ],
          'headers of the answer are sent');
is($r->{headers}{'content-length'}, length $r->{body}, '... with the length');

$r = call('PATCH', 'mirror', headers => [ Authorization => "Bearer $ann" ]);
is_deeply([ @{ $r->{json} }{qw(method path body)} ], [ 'PATCH', '', undef ],
          'any method, no path, no body');
is($r->{json}{headers}{authorization}, undef, 'Authorization is not in the headers');
is($r->{json}{claims}{sub}, 'ann', '... though it was read');
is_deeply(call('GET', 'mirror')->{json}{claims}, {}, 'without a token no claims');

$r = call('GET', 'mirror', headers => [ 'X-A' => 1, Cookie => 'a=1', 'x-a' => 2,
                                        'X-B' => 3, Cookie => 'b=2' ]);
is_deeply([ @{ $r->{json}{headers} }{qw(x-a x-b cookie)} ],
          [ '1, 2', '3', 'a=1; b=2' ], 'headers of one name are one value');

for my $case ([ 'text/plain', "h\xc3\xa9", 'body', "h\x{e9}", 'text is a string' ],
              [ 'text/plain', "a\0b", 'bodyBase64', 'YQBi', 'U+0000 is base64' ],
              [ 'image/png', "\xff\xfe", 'bodyBase64', '//4=', 'binary is base64' ],
              [ 'application/json', '"\\u0000"', 'bodyBase64', 'Ilx1MDAwMCI=',
                'so is JSON with U+0000' ])
{
    my ($type, $body, $member, $want, $name) = @$case;
    is(call('POST', 'mirror', body => $body,
            headers => [ 'Content-Type' => $type ])->{json}{$member}, $want, $name);
}

is(call('POST', 'mirror', body => '{', headers => [ 'Content-Type' => 'application/json' ])
   ->{status}, 400, 'broken JSON is 400');


# --- the answer --------------------------------------------------------------

$r = call('GET', 'teapot');
is_deeply([ $r->{status}, $r->{headers}{'content-type'}, $r->{body} ],
          [ 418, 'text/tea', 'short' ], 'status, headers and a string as it is');

$r = call('POST', 'bare', body => '[1,{"a":2}]',
          headers => [ 'Content-Type' => 'application/json' ]);
is_deeply([ $r->{headers}{'content-type'}, $r->{json} ],
          [ 'application/json', [ 1, { a => 2 } ] ], 'a bare value is the body');

# What a client sent comes back in a message of the server's: one line of log.

$r = call('POST', 'casts', body => '{"n":"1\n2020/01/01 [alert] forged"}',
          headers => [ 'Content-Type' => 'application/json' ]);
is($r->{status}, 500, 'a cast that fails is 500');
like($nginx->error_log, qr/"1 2020\/01\/01 .alert. forged"/,
     '... and one line of the log');
unlike($nginx->error_log, qr/^2020/m, '... whatever was sent');
$nginx->allow(qr/forged/);

$r = call('GET', 'fails');
is($r->{status}, 500, 'an exception is 500');
unlike($r->{raw}, qr/inner/, '... without detail');
ok($nginx->wait_log(qr/"http" function \S+ failed: inner secret/), '... which is in the log');
is(call('GET', 'header')->{status}, 500, 'a header with a line break is none');
is(call('GET', 'badstatus')->{status}, 500, 'a status that is none');
is(call('GET', 'slow')->{status}, 504, 'a slow one is 504');

my @slow = map {
    my $c = Broadcast::HTTP->connect($port);
    $c->request('GET', '/functions/slow');
    $c
} 1 .. 48;
is(scalar(grep { $_->head->{status} == 504 } @slow), 48, '... so are many at once');
my $began = time;
ok((wait_for { call('GET', 'nil')->{status} == 204 } 15),
   '... and when they are over others are called');
cmp_ok(time - $began, '<', 20, '... at once: none waits for its turn unheard');

my $sse = Broadcast::SSE->connect($port, '/events/chat');
is(call('GET', 'says')->{status}, 202, 'a function with actions answers');
is($sse->event->{event}, 'said', '... and they are broadcast');


# --- who may -----------------------------------------------------------------

is(call('GET', 'nothing')->{status}, 404, 'no such function');
is(call('GET', '')->{status}, 404, 'no function named');
is(call('GET', 'a%2Fb')->{status}, 204, 'a name may hold a slash');
is(call('GET', 'nil?access_token=bad')->{status}, 401,
   'a bad token is refused where none is needed');
is(call('GET', 'guarded')->{status}, 401, 'a role needs a token');
is(call('GET', 'guarded?access_token=' . client_token($key, 'chat'))->{status}, 403,
   '... that has it');
is(call('GET', "guarded?access_token=$ann")->{status}, 204, '... as this one');


# --- connect -----------------------------------------------------------------

sub events {
    my ($user) = @_;

    return Broadcast::SSE->connect($port, '/events/guarded'
        . (defined $user ? '?access_token='
                           . client_token($key, 'guarded', sub => $user) : ''));
}

my $ok = events('ann');
is($ok->{head}{status}, 200, 'a connect function lets a user in');
Broadcast::HTTP::http($port, 'POST', "/publish/guarded?$_", body => 'x')
    for 'user=ann', 'group=let-in', 'user=ann2';
like($ok->event->{data}, qr/x/, 'with a group of its choice');
like($ok->event->{data}, qr/x/, '... and another user id');

my $no = Broadcast::HTTP::http($port, 'GET', '/events/guarded?access_token='
                               . client_token($key, 'guarded', sub => 'eve'));
is("$no->{status} $no->{body}", '403 no eves', 'it refuses with its reason');
$no = Broadcast::HTTP::http($port, 'GET', '/events/guarded');
is("$no->{status} $no->{body}", '401 who?', '... 401 where there was no token');
is(Broadcast::HTTP::http($port, 'GET', '/events/guarded?access_token='
                         . client_token($key, 'guarded', sub => 'err'))->{status},
   500, 'an exception in it is 500');

my $hub = Broadcast::Hub->connect($port, '/client?hub=guarded',
    token => client_token($key, 'guarded', sub => 'ann'));
ok(!$hub->{error}, 'SignalR clients are asked for too');
is(Broadcast::WebSocket->connect($port, '/client?hub=guarded')->{head}{status}, 401,
   '... and refused');
is(Broadcast::WebSocket->connect($port, '/free?hub=guarded')->{head}{status}, 101,
   'but not where the location says nofunctions');


# --- negotiate ---------------------------------------------------------------

$r = Broadcast::HTTP::http($port, 'POST', '/n?me=zoe')->{json};
my $claims = claims($r->{accessToken});
is_deeply([ @$claims{qw(nameid groups role hub)} ], [ 'zoe', [ 'g' ], 'r', 'chat' ],
          'function= says who it is, with groups and claims');
$r = Broadcast::HTTP::http($port, 'GET', '/n?me=eve');
is("$r->{status} $r->{body}", '403 no eves', '... or refuses');


# --- more bindings than the zone has room for ---------------------------------

$pg->psql(q{insert into broadcast.binding (kind, function, event)
                select 'message', 'no.such', repeat('x', 900) || i from generate_series(1, 2000) i;
            select broadcast.bind('http', 'bare', event => 'late')}, db => 'app');
ok((wait_for { call('GET', 'late')->{status} != 404 } 15), 'there are too many bindings');
is(call('GET', 'nil')->{status}, 204, 'functions without a role are called');
is(call('GET', 'guarded', headers => [ Authorization => "Bearer $ann" ])->{status}, 401,
   'one with a role is not, nobody looked for it');
is(call('GET', 'guarded')->{status}, 401, '... and so for others');
$pg->psql(q{delete from broadcast.binding where function = 'no.such';
            select broadcast.unbind('http', 'bare', event => 'late')}, db => 'app');
ok((wait_for { call('GET', 'guarded', headers => [ Authorization => "Bearer $ann" ])->{status} == 204 } 15),
   '... until there is room again');


# --- the database is away ----------------------------------------------------

$pg->stop;
ok((wait_for { Broadcast::HTTP::http($port, 'GET', '/status')->{json}{database}{state}
               eq 'down' } 15), 'the database is away');

$r = call('GET', 'nil');
is("$r->{status} $r->{headers}{'retry-after'}", '503 1', 'functions are 503 at once');
$no = Broadcast::HTTP::http($port, 'GET', '/events/guarded');
is("$no->{status} $no->{headers}{'retry-after'}", '503 1',
   'a connect where a function is bound');
is(Broadcast::SSE->connect($port, '/events/chat')->{head}{status}, 200,
   'others connect');
is(Broadcast::HTTP::http($port, 'POST', '/n?me=zoe')->{status}, 503,
   'a negotiate with a function');
is(call('GET', 'nothing')->{status}, 404, 'what is not bound is still 404');

$nginx->stop_ok(signal => 'TERM');

done_testing();
