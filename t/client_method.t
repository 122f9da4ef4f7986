#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# Functions of an exposed schema as hub methods, with the official client over
# every transport and protocol; and functions that come, change and go.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::Nginx;
use Broadcast::Node qw(program);
use Broadcast::Postgres;

my $pg = Broadcast::Postgres->new;
my @at = (db => 'app', user => 'app');

$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);

$pg->psql(<<'EOS', @at);
create schema chat_hub;
create type chat_hub.point as (x int, y int);
create type chat_hub.file as (name text, body bytea, at timestamptz);

create function chat_hub.echo(x text) returns text
language sql as $$ select x $$;

create function chat_hub.camel(x int) returns int
language sql as $$ select x * 2 $$;

create function chat_hub.over() returns text
language sql as $$ select 'none' $$;
create function chat_hub.over(a int) returns text
language sql as $$ select 'one' $$;
create function chat_hub.over(a int, b int) returns text
language sql as $$ select 'two' $$;

create function chat_hub.twice(a int) returns int
language sql as $$ select 1 $$;

create function chat_hub.defaults(a int, b int default 10, c int default 100)
returns int language sql as $$ select a + b + c $$;

create function chat_hub.total(variadic n int[]) returns bigint
language sql as $$ select coalesce(sum(v), 0) from unnest(n) v $$;

create function chat_hub.swap(p chat_hub.point) returns chat_hub.point
language sql as $$ select row(p.y, p.x)::chat_hub.point $$;

create function chat_hub.reverse(a int[]) returns int[]
language sql as $$ select array_agg(v order by i desc)
                     from unnest(a) with ordinality u(v, i) $$;

create function chat_hub.json(j jsonb) returns jsonb
language sql as $$ select jsonb_build_object('got', j) $$;

create function chat_hub.types(b bytea, t timestamptz, u uuid, f float8,
                               y boolean)
returns text language sql as $$
    select concat_ws('|', encode(b, 'hex'), t at time zone 'utc', u, f, y) $$;

create function chat_hub.bytes() returns bytea
language sql as $$ select '\x00ff10'::bytea $$;

create function chat_hub.stamp() returns timestamptz language sql as
$$ select timestamptz '2024-02-29 12:34:56.123456+02' $$;

create function chat_hub.files() returns chat_hub.file[] language sql as $$
    select array[row('a', '\x01'::bytea, 'epoch')::chat_hub.file,
                 row('b', null, null)::chat_hub.file] $$;

create function chat_hub.uuid() returns uuid language sql as
$$ select '6f2c7f3a-0000-4000-8000-000000000001'::uuid $$;

create function chat_hub.nothing() returns void
language plpgsql as $$ begin end $$;

create function chat_hub.isnull(x text) returns boolean
language sql as $$ select x is null $$;

create function chat_hub.fail() returns int
language plpgsql as $$ begin raise exception 'no more chairs'; end $$;

create function chat_hub.full() returns int language plpgsql as $$
begin
    raise exception 'seven of seven' using datatype = 'RoomFull';
end $$;

create function chat_hub.secret() returns int
language plpgsql as $$ begin return 1 / 0; end $$;

create function chat_hub.denied() returns int
language plpgsql as $$ begin return (select count(*) from pg_authid); end $$;

create function chat_hub._hidden() returns int
language sql as $$ select 1 $$;

create function chat_hub.collect(head text, items int[]) returns text
language sql as $$ select head || array_to_string(items, '+') $$;

create function chat_hub.me() returns jsonb language sql as $$
    select broadcast.context() $$;

create function chat_hub.talk(n int) returns int language plpgsql as $$
declare
    c jsonb := broadcast.context();
begin
    for i in 1 .. 3 loop
        perform broadcast.send_connection(c->>'hub', c->>'connectionId',
                                          'said', jsonb_build_array(n, i));
    end loop;
    return n;
end $$;

create function chat_hub.deep(n int) returns jsonb
language sql as $$ select (repeat('[', n) || repeat(']', n))::jsonb $$;

create function chat_hub.deeps(n int) returns setof jsonb
language sql as $$ select chat_hub.deep(n) $$;

create function chat_hub.rows(n int) returns setof int
language sql as $$ select generate_series(1, n) $$;

create function bound(event jsonb) returns jsonb language plpgsql as $$
begin
    if event->'arguments'->>0 = 'raise' then
        raise exception 'bound says no';
    end if;

    return jsonb_build_object('result', event->'arguments', 'actions',
        jsonb_build_object('target', 'said', 'connectionId',
                           event->'connectionId', 'arguments',
                           jsonb_build_array('bound')));
end $$;

select broadcast.bind('message', 'bound', null, 'Bound');

select broadcast.expose('chat', 'chat_hub');
select broadcast.expose('brief', 'chat_hub');

create function chat_hub.twice(a text) returns int
language sql as $$ select 2 $$;
EOS

my $nginx = Broadcast::Nginx->new(
    workers => 2,
    http    => 'broadcast_zone hubs 16m; broadcast_ephemeral brief; '
             . 'broadcast_database "' . $pg->conninfo('app', 'app')
             . '" timeout=9s;',
    server  => <<'EOC')->start;
        location /client   { broadcast_hub anonymous; keepalive_timeout 0; }
        location = /status { broadcast_status json; }
EOC

my $port = $nginx->port;

ok $nginx->leads, 'the database is up, and a relay leads';

$ENV{BASE} = "http://127.0.0.1:$port";
$ENV{PSQL} = join ' ', $pg->psql_command(@at);

for my $case ([ 'WebSockets, json', 1, 'json', 'chat' ],
              [ 'WebSockets, messagepack', 1, 'messagepack', 'chat' ],
              [ 'an ephemeral hub', 1, 'json', 'brief' ],
              [ 'ServerSentEvents, json', 2, 'json', 'chat' ],
              [ 'LongPolling, messagepack', 4, 'messagepack', 'chat' ])
{
    my $name;
    ($name, @ENV{qw(TRANSPORT PROTOCOL HUB)}) = @$case;

    subtest $name => sub { program('method.mjs') };
}

like $nginx->error_log, qr/chat_hub\.secret\(\).*22012/,
     'the log tells a function\'s author what went wrong';

unlike $nginx->error_log, qr/no more chairs.*error\]/, 'and nothing twice';

$nginx->stop_ok;

done_testing();
