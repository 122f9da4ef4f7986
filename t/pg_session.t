#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# What a function leaves in its session is not there for others.  The pool is
# one connection, and streams have one, so each call has the session that the
# one before has left.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::HTTP qw(http);
use Broadcast::Hub;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Postgres;
use Broadcast::Token qw(client_token);

my $key = '0123456789abcdef0123456789abcdef';
my $pg = Broadcast::Postgres->new;
my @at = (db => 'app', user => 'app');

$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);

# the one may call functions of the schema, the other none

$pg->psql(<<'EOS');
create role web nologin;
create role other nologin;
grant web, other to app;
EOS

$pg->psql(<<'EOS', @at);
create schema elsewhere;
create schema hub;

create function public.leave() returns void language plpgsql as $$
begin
    set search_path = elsewhere, pg_catalog;
    set role other;
end $$;

create function public.litter() returns void language plpgsql as $$
begin
    set bytea_output = escape;
    set statement_timeout = '123s';
    listen left_behind;
    create temp table left_behind (i int);
    perform pg_advisory_lock(7);
end $$;

create function public.seen() returns text language sql
as $$ select current_setting('role') || ' ' || current_setting('search_path')
$$;

create function public.litters() returns text language sql as $$
    select concat_ws(' ', current_setting('bytea_output'),
                     nullif(current_setting('statement_timeout') <> '123s',
                            true),
                     (select c from pg_listening_channels() c),
                     (select 'table' from pg_class
                       where relname = 'left_behind'),
                     (select 'lock' from pg_locks
                       where locktype = 'advisory' and objid = 7))
$$;

create function hub.session() returns text language sql
    as 'select public.seen()';
create function hub.leave() returns text language sql
    as $$ select public.leave(); select 'left' $$;
create function hub.path() returns void language plpgsql
    as $$ begin set search_path = elsewhere; end $$;
create function hub.litter() returns void language sql
    as 'select public.litter()';
create function hub.litters() returns text language sql
    as 'select public.litters()';

create function hub.says(hub text) returns text language plpgsql as $$
begin
    perform broadcast.send_all(hub, 'said', '[1]');
    perform public.leave();
    return 'said';
end $$;

-- two that are not what they say

create function hub.who(x text) returns text language sql
    as $$ select broadcast.context()->>'userId' $$;
create function hub.pure(x text) returns text language plpgsql immutable
    as $$ begin
        return coalesce(broadcast.context()->>'userId', 'nobody');
    end $$;
create function hub.pure_leave(x text) returns text
language plpgsql immutable as $$
begin
    return set_config('role', 'other', false);
end $$;

create function hub.leaves() returns setof text language plpgsql as $$
begin
    perform public.leave();
    perform public.litter();
    return next 'left';
end $$;
create function hub.breaks() returns setof text language plpgsql as $$
begin
    perform public.litter();
    return next 'left';
    raise exception 'no';
end $$;
create function hub.sessions() returns setof text language sql
    as $$ select public.seen() || ' ' || public.litters() $$;

create function leaves(event jsonb) returns jsonb language sql
    as $$ select public.leave(); select '{"body":"left"}'::jsonb $$;
create function session(event jsonb) returns jsonb language sql
    as $$ select jsonb_build_object('body', public.seen()) $$;
create function enters(event jsonb) returns void language sql
    as 'select public.leave()';
create function msg(event jsonb) returns jsonb language sql
    as $$ select public.leave(); select '{"result":"left"}'::jsonb $$;

select broadcast.expose('chat', 'hub');
select broadcast.bind('http', 'leaves'), broadcast.bind('http', 'session');
create function msg_says(event jsonb) returns jsonb language sql as $$
    select public.leave();
    select '{"result":"left","actions":[{"target":"said","arguments":[2]}]}'
           ::jsonb $$;
create function msg_says_json(event jsonb) returns json language sql as $$
    select public.leave();
    select '{"result": "left", "actions":{"target":"said","arguments":[3]}}'
           ::json $$;
select broadcast.bind('message', 'msg', 'chat', 'msg');
select broadcast.bind('message', f::regproc, 'chat', f)
  from unnest(array['msg_says', 'msg_says_json']) f;
select broadcast.bind('connected', 'enters', 'noisy');

grant usage on schema hub, public to web;
grant execute on all functions in schema hub, public to web;
EOS

my ($nginx, $port);

sub start {
    my ($settings) = @_;

    $nginx = Broadcast::Nginx->new(
        http => "broadcast_zone hubs 4m; broadcast_key $key;"
              . 'broadcast_database "' . $pg->conninfo('app', 'app')
              . "\" pool=1 streams=1 $settings;",
        server => <<'EOC')->start;
        location /client     { broadcast_hub; }
        location /functions/ { broadcast_function; }
        location = /status   { broadcast_status; }
EOC

    $port = $nginx->port;

    ok((wait_for {
        my $d = http($port, 'GET', '/status?format=json')->{json}{database};
        $d->{state} eq 'up' && $d->{relay} eq 'leader';
    } 10), "the database is there, '$settings'");
}

sub client {
    my ($hub) = @_;

    return Broadcast::Hub->connect($port, "/client?hub=$hub",
        token => client_token($key, $hub, sub => 'ann', role => 'web'));
}

sub call { http($port, 'GET', "/functions/$_[0]")->{body} }

my $clean = 'none "$user", public';


# --- a role at once, all else soon -------------------------------------------

for my $settings ('', 'role_claim=role') {
    start($settings);

    my $ann = client('chat');
    my $bob = client('chat');
    my $session = $settings ? 'web "$user", public' : $clean;

    is $bob->invoke('session'), $session, 'a method sees its own session';

    if ($settings) {
        is $ann->invoke('path'), undef, 'a method sets a search_path for good';
        is $bob->invoke('session'), $session, '... the next call has it not';

    } else {
        for my $target ('leave', 'msg') {
            is $ann->invoke($target), 'left',
                "$target: another role and search_path, set for good";
            like $bob->invoke('session'), qr/^none /,
                '... the next call has its own role';
            ok((wait_for { $bob->invoke('session') eq $session } 5),
               '... and soon its own search_path');
        }

        # the first five times it is planned for its arguments

        my %seen;

        for my $n (1 .. 8) {
            is $ann->invoke('who', "$n"), 'ann', 'ann calls'
                if $n == 1;
            $ann->invoke('who', "$n");
            $seen{ $bob->invoke('pure', "$n") }++;
        }

        is_deeply \%seen, { nobody => 8 },
            'an IMMUTABLE function sees nobody\'s context, not the last one\'s';

        is $ann->invoke('pure_leave', 'x'), 'other', 'one that sets a role';
        like $bob->invoke('session'), qr/^none /,
            '... leaves it to nobody';

        is $ann->invoke('says', 'chat'), 'said',
            'a role that may not send, behind a send';
        is_deeply $bob->invocation('said'), [ 1 ], '... which comes';
        ok((wait_for { $bob->invoke('session') eq $session } 5),
           '... and its session is clean');

        for my $n (2, 3) {
            my $target = $n == 2 ? 'msg_says' : 'msg_says_json';

            is $ann->invoke($target), 'left',
                "$target: a role that may not send, and an action returned";
            is_deeply $bob->invocation('said'), [ $n ], '... which is staged';
            ok((wait_for { $bob->invoke('session') eq $session } 5),
               '... and its session is clean');
        }

        is call('leaves'), 'left', 'an http function that does it';
        is call('session'), $session, '... leaves nothing';

        my $noisy = client('noisy');
        ok((wait_for { $pg->psql(q{select count(*) from broadcast.connections
                                    where hub = 'noisy'}, @at) } 5),
           'a connected function that does it');
        is call('session'), $session, '... leaves nothing';

        is $ann->stream('leaves'), 'left', 'a stream that does it';
        is $bob->stream('sessions'), "$session hex", '... is clean behind it';
        is $ann->stream('breaks'), 'An error occurred on the server while '
            . 'streaming results. HubException: no', 'one that fails';
        is $bob->stream('sessions'), "$session hex", '... too';
    }

    is $ann->invoke('litter'), undef, 'a method that leaves more';

    ok((wait_for { $pg->psql(q{select count(*) = 0 from pg_locks
                                where locktype = 'advisory' and objid = 7})
                   eq 't' } 5), '... which is gone soon, without another call');
    is $bob->invoke('litters'), 'hex', '... all of it';

    $nginx->stop_ok;
}

done_testing;
