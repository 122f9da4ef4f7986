#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# role_claim: functions run under the role of who calls them, with the claims
# where row-level security written for PostgREST looks for them.  The module's
# role is no superuser, owns nothing and inherits nothing; two users and an
# operator read one table through each kind of function.  The first nginx has no
# default role, the second has one.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::HTTP;
use Broadcast::Hub;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Postgres;
use Broadcast::SSE;
use Broadcast::Token qw(client_token);

my $key = '0123456789abcdef';
my $pg = Broadcast::Postgres->new;

$pg->psql('create role module login noinherit; create role web_user nologin;
           create role web_staff nologin; create role web_anon nologin;
           create role outside nologin; create role weak nologin;
           grant web_user, web_staff, web_anon, weak to module');
$pg->createdb('app', 'owner');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", db => 'app', user => 'owner');

my @owner = (db => 'app', user => 'owner');

$pg->psql(<<'EOS', @owner);
grant usage on schema broadcast to module;
grant execute on all functions in schema broadcast to module;

create table note (who text, body text);
alter table note enable row level security;
grant select on note to web_user, web_staff;
create policy mine on note to web_user using
    (who = current_setting('request.jwt.claims', true)::json->>'sub');
create policy every on note to web_staff using (true);
insert into note values ('ann', 'of ann'), ('bob', 'of bob');

create table only_module (n int);
grant select on only_module to module;

create table seen (n serial, kind text, role text, claims json);
grant insert on seen to public;
grant usage on sequence seen_n_seq to public;

create schema api;
grant usage on schema api to web_user, web_staff, web_anon, outside;

create function api.notes() returns text language sql stable as
$$ select string_agg(body, ', ' order by body) from public.note $$;
create function api.who() returns text language sql as $$ select current_user::text $$;
create function api.add(a int, b int) returns int language sql as $$ select a + b $$;
create function api.only_module() returns bigint language sql as
$$ select count(*) from public.only_module $$;
create function api.each() returns setof text language sql stable as
$$ select current_user || ': ' || body from public.note order by body $$;
create function api.cursor() returns refcursor language plpgsql as $$
declare
    c refcursor;
begin
    open c for select current_user || ': ' || body from public.note order by body;
    return c;
end $$;
create function api.each_staff() returns setof text language sql stable as $$ select 'staff'::text $$;
revoke execute on function api.each_staff() from public;
grant execute on function api.each_staff() to web_staff;
create function api.up_to(n int) returns setof int language sql stable as $$ select generate_series(1, n) $$;
create function api.tells() returns text language plpgsql as $$
begin
    perform broadcast.send_connection('chat', broadcast.context()->>'connectionId', 'told',
                                      jsonb_build_array(current_user));
    return broadcast.context()->>'userId';
end $$;
grant usage on schema broadcast to web_user;
grant execute on function broadcast.context(),
    broadcast.send_connection(text, text, text, jsonb) to web_user;
create function api.staff() returns text language sql as $$ select 'staff'::text $$;
revoke execute on function api.staff() from public;
grant execute on function api.staff() to web_staff;

create function msg(event jsonb) returns jsonb language plpgsql as $$
begin
    return jsonb_build_object('result', (select string_agg(body, ', ' order by body) from note),
        'actions', jsonb_build_array(jsonb_build_object('target', 'done', 'arguments',
                                                        jsonb_build_array(current_user))));
end $$;

create function web(event jsonb) returns jsonb language plpgsql as $$
begin
    return jsonb_build_object('headers', jsonb_build_object('x-role', current_user),
        'body', (select string_agg(body, ', ' order by body) from note),
        'actions', jsonb_build_object('hub', 'chat', 'target', 'web', 'arguments',
                                      jsonb_build_array(current_user)));
end $$;

create function settings(event jsonb) returns jsonb language sql as $$
    select jsonb_build_object('body', jsonb_build_object(
        'claims', current_setting('request.jwt.claims')::jsonb,
        'x', current_setting('request.headers')::jsonb->>'x-test',
        'method', current_setting('request.method'),
        'path', current_setting('request.path'), 'role', current_user)) $$;

create function denied(event jsonb) returns jsonb language sql as
$$ select to_jsonb(count(*)) from public.only_module $$;

create function staff(event jsonb) returns jsonb language sql as $$ select to_jsonb('staff'::text) $$;
revoke execute on function staff(jsonb) from public;
grant execute on function staff(jsonb) to web_staff;

create function door(event jsonb) returns jsonb language sql as $$
    select case when count(*) = 0 then '{"refuse":"no notes"}'::jsonb
                else jsonb_build_object('groups', jsonb_agg(body)) end from public.note $$;

create function saw(event jsonb) returns jsonb language plpgsql as $$
begin
    insert into seen (kind, role, claims)
    values (coalesce(event->>'kind', 'timer'), current_user,
            nullif(current_setting('request.jwt.claims', true), '')::json);
    return jsonb_build_object('target', event->>'kind', 'arguments', '[]'::jsonb);
end $$;

create function forget(event jsonb) returns jsonb language plpgsql as $$
begin
    set local role web_anon;
    return null;
end $$;

create function stay(event jsonb) returns jsonb language plpgsql as $$
begin
    set role web_anon;
    return null;
end $$;
create function api.stay() returns int language plpgsql as $$
begin
    set role web_anon;
    return 1;
end $$;
create function api.stays() returns setof int language plpgsql as $$
begin
    set role web_anon;
    return next 1;
end $$;

select broadcast.expose('chat', 'api');
select broadcast.bind('message', 'msg', 'chat', 'Msg');
select broadcast.bind('message', 'denied', 'chat', 'Denied');
select broadcast.bind('message', 'staff', 'chat', 'BoundStaff');
select broadcast.bind('http', 'web');
select broadcast.bind('http', 'settings');
select broadcast.bind('http', 'denied');
select broadcast.bind('http', 'staff');
select broadcast.bind('http', 'forget');
select broadcast.bind('http', 'stay');
select broadcast.bind('connect', 'door', 'guarded');
select broadcast.bind('connected', 'saw', 'life');
select broadcast.bind('disconnected', 'saw', 'life');
EOS

sub nginx {
    my ($claim) = @_;

    return Broadcast::Nginx->new(
        http   => "broadcast_zone hubs 4m; broadcast_key $key;"
                . 'broadcast_database "' . $pg->conninfo('app', 'module')
                . "\" timeout=5s role_claim=$claim;",
        server => <<'EOC')->start;
        location /client     { broadcast_hub anonymous; }
        location /events/    { broadcast_events anonymous; }
        location /functions/ { broadcast_function; }
        location = /status   { broadcast_status; }
EOC
}

my $strict = nginx('role');
my $open = nginx('role:web_anon');

sub ask {
    my ($nginx, $path, $token, %o) = @_;

    return Broadcast::HTTP::http($nginx->port, $o{method} // 'GET', "/functions/$path",
        %o, headers => [ defined $token ? (Authorization => "Bearer $token") : (),
                         @{ $o{headers} // [] } ]);
}

sub refused {
    my ($nginx) = @_;

    return Broadcast::HTTP::http($nginx->port, 'GET', '/status?format=prometheus')->{body}
        =~ /refused_total\{reason="role"\} (\d+)/ ? $1 : undef;
}

# who: role, as the claim has it

my %role = (ann => 'web_user', bob => 'web_user', sue => 'web_staff',
            out => 'outside', mod => 'module', own => 'owner', gone => 'nobody',
            none => 'none', list => [ 'web_user' ], weak => 'weak', bare => undef);

sub token {
    my ($who, $hub) = @_;

    return client_token($key, $hub // 'chat', sub => $who,
                        defined $role{$who} ? (role => $role{$who}) : ());
}

sub hub {
    my ($nginx, $who, $hub) = @_;

    return Broadcast::Hub->connect($nginx->port, '/client?hub=' . ($hub // 'chat'),
                                   defined $who ? (token => token($who, $hub)) : ());
}

for my $nginx ($strict, $open) {
    ok((wait_for { ask($nginx, 'web', token('sue'))->{status} == 200 } 15),
       'the module\'s role needs no more than EXECUTE in the schema');
}

is($pg->psql(q{select rolsuper or rolinherit or exists (
                   select from pg_class where relowner = r.oid)
                 from pg_roles r where rolname = 'module'}), 'f',
   '... it is no superuser, inherits nothing and owns nothing');


# --- HTTP functions ----------------------------------------------------------

my $watch = Broadcast::SSE->connect($strict->port, '/events/chat');

my $r = ask($strict, 'web', token('ann'));
is("$r->{headers}{'x-role'}: $r->{body}", 'web_user: of ann',
   'an http function reads what its caller may read');
my $event = $watch->event;
is("$event->{event} $event->{data}", 'web ["web_user"]',
   '... its actions are staged by the module\'s role, which alone may');
is(ask($strict, 'web', token('bob'))->{body}, 'of bob', '... another user his');
is(ask($strict, 'web', token('sue'))->{body}, 'of ann, of bob',
   '... another role what its policy says');

$r = ask($strict, 'settings/a/b', token('ann'), method => 'PUT',
         headers => [ 'X-Test' => 'yes' ], body => 'x')->{json};
is_deeply([ @$r{qw(x method path role)} ], [ 'yes', 'PUT', '/settings/a/b', 'web_user' ],
          'the request is where PostgREST has it');
is_deeply([ @{ $r->{claims} }{qw(sub role)} ], [ 'ann', 'web_user' ],
          '... and so are the claims');
is_deeply(ask($open, 'settings')->{json}{claims}, { role => 'web_anon' },
          '... with the role also where it is the default');

is(ask($strict, 'denied', token('ann'))->{status}, 500,
   'a table of the module\'s role is out of the function\'s reach');
is(ask($strict, 'staff', token('sue'))->{body}, 'staff',
   'a function that PUBLIC must not execute runs for who may');
is(ask($strict, 'staff', token('ann'))->{status}, 401, '... and is 401 for others');
is(ask($strict, 'forget', token('ann'))->{status}, 204,
   'a function may become another role of the module\'s');
is(ask($strict, 'web', token('bob'))->{body}, 'of bob',
   '... the next call is its caller\'s again');
is(ask($strict, 'stay', token('ann'))->{status}, 204, '... also for the session');
is(join('', map { ask($strict, 'web', token('bob'))->{body} } 1 .. 8), 'of bob' x 8,
   '... the next ones are their callers\' again');


# --- who is refused ----------------------------------------------------------

my $before = refused($strict);
$r = ask($strict, 'web');
is($r->{status}, 401, 'no claim and no default: 401');
is($r->{headers}{'www-authenticate'}, 'Bearer', '... which asks for a token');
is(ask($strict, 'web', token('bare'))->{status}, 401, '... also with a token without it');
is(ask($strict, 'web', token('list'))->{status}, 401, '... or one that names several');
is(ask($strict, 'web', token($_))->{status}, 401, "... or the role $role{$_}")
    for qw(out mod own gone none);
is(refused($strict), $before + 8, '... each is counted');
is($pg->psql(q{select count(*) from broadcast.function_error where message like 'the claim%'},
             @owner), 0, '... who claims none leaves no row');
ok($strict->wait_log(qr/\[error\].*"http" function public\.web failed: the role "outside" of the claim "role" may not be taken \(42501\), hint: if clients may have it: GRANT outside TO module/),
   '... and the log says what to grant');
is(ask($strict, 'web', token('weak'))->{status}, 500,
   'a role without rights on the table is the function\'s error');

is(ask($open, 'settings')->{json}{role}, 'web_anon', 'the default role');
is(ask($open, 'settings', token('bare'))->{json}{role}, 'web_anon',
   '... also for a token without the claim');
is(ask($open, 'settings', token('ann'))->{json}{role}, 'web_user', '... not for one with it');
is(ask($open, 'settings', token($_))->{status}, 401,
   "... and none for who claims something else: $_") for qw(out list);


# --- invocations -------------------------------------------------------------

my ($ann, $bob, $sue) = map { hub($strict, $_) } qw(ann bob sue);

is($ann->invoke('Msg'), 'of ann', 'a message function reads what its caller may read');
is($watch->event->{data}, '["web_user"]', '... its actions are staged');
is($bob->invoke('Msg'), 'of bob', '... another user his');
is($sue->invoke('Msg'), 'of ann, of bob', '... another role what its policy says');
is($sue->invoke('BoundStaff'), undef, 'what one may call');
is($ann->invoke('BoundStaff'), "Failed to invoke 'BoundStaff' because user is unauthorized",
   '... another may not');
like($ann->invoke('Denied'), qr/^An unexpected error occurred invoking 'Denied' on the server\.$/,
     'a table of the module\'s role is an error like any other');

is($ann->invoke('Notes'), 'of ann', 'an exposed method reads what its caller may read');
is($bob->invoke('Notes'), 'of bob', '... another user his');
is($sue->invoke('Notes'), 'of ann, of bob', '... another role what its policy says');
is($ann->invoke('Who'), 'web_user', 'it runs under the role of the claim');
is($ann->invoke('Add', 1, 2), 3, 'its arguments are converted');
like($ann->invoke('Add', 'x', 2), qr/InvalidDataException: Error binding arguments/,
     '... or that is what is said to be wrong');
is($sue->invoke('Staff'), 'staff', 'a method that PUBLIC must not execute');
is($ann->invoke('Staff'), "Failed to invoke 'Staff' because user is unauthorized",
   '... is refused to others');
like($ann->invoke('Only_Module'), qr/^An unexpected error occurred invoking 'Only_Module' on the server\.$/,
     '... and none reads a table of the module\'s role');

$ann->send({ type => 1, invocationId => 't', target => 'Tells', arguments => [] });
is_deeply($ann->invocation('told'), [ 'web_user' ], 'with the grants of the README it may send');
is($ann->next->{result}, 'ann', '... and ask who calls');
like($sue->invoke('Tells'), qr/^An unexpected error/, '... which others may not');

is($ann->stream('Each'), 'web_user: of ann', 'a stream has the rows that its caller may read');
is($sue->stream('Each'), 'web_staff: of ann, web_staff: of bob', '... another role what its policy says');
is($ann->stream('Stays'), 1, 'a stream that becomes another role for the session');
is($ann->stream('Each'), 'web_user: of ann', '... is not followed by one of that');
is($ann->invoke('Stay'), 1, 'a method that does');
is(join('', map { $ann->invoke('Notes') } 1 .. 8), 'of ann' x 8, '... neither');
is($ann->stream('Cursor'), 'web_user: of ann', '... and so has one by a cursor');
is($sue->stream('Cursor'), 'web_staff: of ann, web_staff: of bob', '... also of a role without a right to the schema');
is($ann->stream('Up_To', 3), '1, 2, 3', '... with its arguments');
like($ann->stream('Up_To', 'x'), qr/Error binding arguments/, '... or that is what is said to be wrong');
is($sue->stream('Each_Staff'), 'staff', '... who may, calls what PUBLIC may not');
is($ann->stream('Each_Staff'), "Failed to invoke 'Each_Staff' because user is unauthorized",
     '... others do not');
is($bob->stream('Each'), 'web_user: of bob', '... and the role of one stream is not that of the next');

my $anonymous = hub($strict);
like($anonymous->stream('Each'), qr/unauthorized/, 'who has no role has no stream');
is($anonymous->invoke($_), "Failed to invoke '$_' because user is unauthorized",
   "who has no role may not call $_") for qw(Msg Who);
my $default = hub($open);
is($default->invoke('Who'), 'web_anon', '... and has one where there is a default');


# --- connections -------------------------------------------------------------

sub events {
    my ($nginx, $hub, $who) = @_;

    return Broadcast::SSE->connect($nginx->port, "/events/$hub"
        . (defined $who ? '?access_token=' . token($who, $hub) : ''));
}

is(events($strict, 'guarded', 'ann')->{head}{status}, 200,
   'a connect function that finds a note of its user lets him in');
is(events($strict, 'guarded', 'weak')->{head}{status}, 500, '... not whose role finds none');
$role{eve} = 'web_user';
is(events($strict, 'guarded', 'eve')->{head}{status}, 403, '... nor who has none');
$r = events($strict, 'guarded')->{head};
is("$r->{status} $r->{headers}{'www-authenticate'}", '401 Bearer',
   'no claim and no default: 401');
is(events($strict, 'guarded', 'out')->{head}{status}, 401, '... and so is a role that is none');
is(Broadcast::HTTP::http($strict->port, 'POST', '/client/negotiate?hub=guarded&negotiateVersion=1',
                         body => '')->{status}, 200, '... of the connect alone');

sub lives { $pg->psql("select string_agg(kind || ' ' || role || ' ' || (claims->>'sub'),
                                         ', ' order by n) from seen where kind <> 'timer'", @owner) }

my $life = events($strict, 'life', 'ann');
ok((wait_for { lives() eq 'connected web_user ann' } 10), 'connected runs under the role');
undef $life;
ok((wait_for { lives() eq 'connected web_user ann, disconnected web_user ann' } 10),
   '... and so does disconnected, by the claims that were kept');

$life = events($strict, 'life');
ok((wait_for { $pg->psql(q{select count(*) from broadcast.function_error
                            where kind = 'connected' and sqlstate = '42501'}, @owner) } 10),
   'without a role it is an error of the function, and the connection lives');
is($life->{head}{status}, 200, '... which was accepted');

$pg->psql(q{select broadcast.bind('timer', 'saw', 'life', 'tick', '200 ms')}, @owner);
ok((wait_for { ($pg->psql(q{select role from seen where kind = 'timer' limit 1}, @owner) // '')
               eq 'module' } 10), 'a timer runs as the module\'s role');

$_->close for $ann, $bob, $sue, $anonymous, $default;
$_->stop_ok for $strict, $open;

done_testing();
