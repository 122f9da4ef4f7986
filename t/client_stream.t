#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# Functions that return a set are streams of the official client: rows flow as
# they are made and as they are read, and nothing runs that nobody wants.

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

# A function marks its backend by the name of the application.  A sequence
# counts what was made, whatever becomes of the transaction.

$pg->psql(<<'EOS', @at);
create schema chat;
create sequence chat.ticks;
create sequence chat.large;

create function chat.count(n int) returns setof int language sql as
$$ select generate_series(1, n) $$;

create function chat.made(n int) returns setof int language plpgsql as $$
begin
    for i in 1 .. n loop
        return next i;
    end loop;
end $$;

create function chat.things(n int)
returns table (n int, name text, nothing date) language sql as
$$ select i, chr(96 + i), null::date from generate_series(1, $1) i $$;

create function chat.bytes() returns setof bytea language sql as
$$ select b from (values ('\x00ff10'::bytea), ('')) v(b) $$;

create function chat.cursor(n int) returns refcursor language plpgsql as $$
declare
    c refcursor;
begin
    open c for select i from generate_series(1, n) i;
    return c;
end $$;

create function chat.cursors(n int) returns refcursor language plpgsql as $$
declare
    c refcursor := 'it''s "mine"';
begin
    open c for select i as n, '\x00ff'::bytea as b from generate_series(1, n) i;
    return c;
end $$;

create function chat.breaks(n int) returns setof int language sql as
$$ select i / case when i < n then 1 else 0 end from generate_series(1, n) i $$;

create function chat.raises(n int) returns setof int language plpgsql as $$
begin
    return next 1;
    raise exception 'enough: %', n;
end $$;

create function chat.names() returns setof int language plpgsql as $$
begin
    raise exception 'no seat' using datatype = 'RoomFull';
end $$;

create function chat.tells(n int) returns setof int language plpgsql as $$
begin
    for i in 1 .. n loop
        perform broadcast.send_connection('chat',
            broadcast.context()->>'connectionId', 'told',
            jsonb_build_array(i));
        return next i;
    end loop;
end $$;

create function chat.ticks(mark text, n int) returns setof int language sql as
$$ select case when nextval('chat.ticks') > 0 and pg_sleep(0.01) is not null
          then i end
     from set_config('application_name', mark, true) s,
          generate_series(1, n) i $$;

create function chat.sleeps(mark text) returns setof int language sql as
$$ select case when pg_sleep(60) is not null then 1 end
     from set_config('application_name', mark, true) s $$;

create function chat.large(mark text, n int)
returns table (n bigint, text text) language sql as
$$ select nextval('chat.large'), repeat('x', 1000)
     from set_config('application_name', mark, true) s,
          setval('chat.large', 1, false) v, generate_series(1, n) i $$;

create function chat.state(mark text) returns text language sql as
$$ select coalesce((select state from pg_stat_activity
                     where application_name = mark limit 1), 'none') $$;

create function chat.kill(mark text) returns bigint language sql as
$$ select count(pg_terminate_backend(pid)) from pg_stat_activity
    where application_name = mark $$;

create function chat.reached(name text) returns bigint language plpgsql as $$
declare
    n bigint;
begin
    execute format('select last_value from chat.%I', name) into n;
    return n;
end $$;

create function chat.add(a int, b int) returns int language sql as
$$ select a + b $$;

create function chat.total(variadic n int[]) returns bigint language sql as
$$ select coalesce(sum(i), 0) from unnest(n) i $$;

create function chat.joined(by text, part text[]) returns text language sql as
$$ select array_to_string(part, by) $$;

create function chat.doubles(n int[]) returns setof int language sql as
$$ select 2 * unnest(n) $$;

create function bound(event jsonb) returns setof jsonb language sql as
$$ select jsonb_build_object('n', i, 'of', event->'arguments'->0)
     from generate_series(1, (event->'arguments'->>0)::int) i $$;

create function bound_raises(event jsonb) returns setof jsonb
language plpgsql as $$
begin
    raise exception 'bound says no';
end $$;

select broadcast.expose('chat', 'chat');
select broadcast.bind('message', 'bound', 'chat', 'Bound');
select broadcast.bind('message', 'bound_raises', 'chat', 'BoundRaises');
EOS

sub nginx {
    my ($workers, $parameters, $http) = @_;

    my $nginx = Broadcast::Nginx->new(
        workers => $workers,
        http    => 'broadcast_zone hubs 16m; broadcast_database "'
                 . $pg->conninfo('app', 'app') . "\" $parameters; "
                 . ($http // ''),
        server  => <<'EOC')->start;
            location /client   { broadcast_hub anonymous; keepalive_timeout 0; }
            location = /status { broadcast_status json; }
EOC

    ok $nginx->leads, 'the database is up, and a relay leads';

    return $nginx;
}

sub part {
    my ($nginx, $part, $transport, $protocol) = @_;

    local $ENV{BASE} = 'http://127.0.0.1:' . $nginx->port;
    local $ENV{TRANSPORT} = $transport // 1;
    local $ENV{PROTOCOL} = $protocol // 'json';
    local $ENV{PART} = $part;
    local $ENV{MASTER} = $nginx->pid;

    program('stream.mjs');
}

my $nginx = nginx(4, 'timeout=9s streams=4', 'broadcast_drain off;');

for my $way ([1, 'json'], [1, 'messagepack'], [2, 'json'], [4, 'json'],
             [4, 'messagepack'])
{
    my ($transport, $protocol) = @$way;

    subtest { 1, 'WebSocket', 2, 'SSE', 4, 'long polling' }->{$transport}
            . ", $protocol" => sub { part($nginx, 'rows', @$way) };
}

subtest 'a slow reader' => sub { part($nginx, 'slow') };
subtest 'a reload' => sub { part($nginx, 'reload') };
subtest 'a reload, long polling' => sub { part($nginx, 'reload', 4) };

$nginx->stop_ok;

$nginx = nginx(1, 'timeout=2s stream_timeout=3s');

subtest 'limits' => sub { part($nginx, 'limits') };

$nginx->stop_ok;

$nginx = nginx(2, 'timeout=9s');

$nginx->allow(qr/exited on signal 9/);
subtest 'a killed worker' => sub { part($nginx, 'killed') };

$nginx->stop_ok;

done_testing();
