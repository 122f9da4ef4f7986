#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# README.md by the letter: its SQL is run as it stands there, and nginx
# connects as a role that was given what it says and nothing else.  Everything
# works, and PostgreSQL's log has no permission that was denied.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::HTTP qw(http);
use Broadcast::Hub;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Postgres;
use Broadcast::SSE;
use Broadcast::Token qw(client_token);
use Broadcast::Wait qw(slurp);

my $key = '0123456789abcdef0123456789abcdef';
my $pg = Broadcast::Postgres->new;
my @app = (db => 'app', user => 'app');

# the one block of README.md with this in it

my %blocks;

sub readme {
    my ($with) = @_;
    my @found = grep { index($_, $with) >= 0 }
                slurp("$FindBin::Bin/../README.md") =~ /^```sql\n(.*?)^```$/msg;

    is(scalar @found, 1, "README.md has one block with $with");

    return $found[0];
}

$pg->createdb('app', 'app');
$pg->psql('create role shop login');
$pg->psql('create table note (owner text, body text);
           create table message (room int, id int, body text);
           create schema app', @app);

# roles are made by who may

my ($roles, $rest) = readme('CREATE ROLE nginx') =~ /\A(.*?\n\n)(.*)\z/s;

$pg->psql($roles, db => 'app');
$pg->psql($rest, @app);

$pg->file("$FindBin::Bin/../sql/broadcast.sql", @app);
$pg->psql(readme('TO shop;'), @app);
$pg->psql(readme('GRANT EXECUTE ON ALL FUNCTIONS'), @app);
$pg->psql(readme('SELECT broadcast.expose('), @app);
$pg->psql('GRANT USAGE ON SCHEMA chat_hub TO nginx', @app);
$pg->psql(readme('FUNCTION welcome('), @app);
$pg->psql(readme('FUNCTION chat_hub.history('), @app);
$pg->psql(readme('TO web_user, web_anon;          --'), @app);

$pg->psql('create function app.tick(event jsonb) returns jsonb language sql as $$
    select jsonb_build_object(\'target\', \'tick\', \'arguments\', \'[]\'::jsonb) $$;
    grant usage on schema app to nginx', @app);

my $timer = readme("bind('timer'");
$timer =~ s/10 s/200 ms/ or die;
$pg->psql($timer, @app);

$pg->psql(<<'EOS', @app);
insert into message values (1, 1, 'a'), (1, 2, 'b'), (2, 3, 'c');
grant select on message to nginx;
create function chat_hub.cursor() returns refcursor language plpgsql as $$
declare c refcursor;
begin open c for select 1 as one; return c; end $$;
create function chat_hub.enter() returns int language plpgsql as $$
begin raise exception 'only % may enter', 8 using datatype = 'RoomFull'; end $$;
create function chat_hub.fails() returns int language sql as 'select 1 / 0';
create function app.door(event jsonb) returns jsonb language sql as
    $$ select '{"groups":["all"]}'::jsonb $$;
create function app.bye(event jsonb) returns jsonb language sql as $$
    select jsonb_build_object('target', 'bye', 'arguments', jsonb_build_array(event->>'userId')) $$;
create function app.web(event jsonb) returns jsonb language sql as $$
    select jsonb_build_object('body', event->>'path', 'actions', '{"hub":"chat","target":"web"}'::jsonb) $$;
create function app.stored(event jsonb) returns jsonb language sql as $$
    select jsonb_build_object('target', 'stored', 'arguments', jsonb_build_array(event->'status')) $$;
create function app.rows(event jsonb) returns setof jsonb language sql as
    $$ select to_jsonb(i) from generate_series(1, 3) i $$;
select broadcast.bind('connect', 'app.door', 'chat');
select broadcast.bind('disconnected', 'app.bye', 'chat');
select broadcast.bind('message', 'app.rows', 'chat', 'rows');
select broadcast.bind('http', 'app.web');
select broadcast.bind('after', 'app.stored', 'chat');
EOS

my ($nginx, $other) = map {
    Broadcast::Nginx->new(
        http   => "broadcast_zone hubs 4m; broadcast_key $key;"
                . 'broadcast_database "' . $pg->conninfo('app', 'nginx')
                . '" timeout=5s;',
        server => <<'EOS')->start;
        location /client     { broadcast_hub; }
        location /events/    { broadcast_events anonymous; }
        location /publish/   { broadcast_publish; }
        location /functions/ { broadcast_function; }
        location /api/       { broadcast_api open; }
        location = /done     { broadcast_after stored; return 204; }
        location = /status   { broadcast_status json; }
EOS
} 1 .. 2;

my @ports = map { $_->port } $nginx, $other;

for my $port (@ports) {
    ok((wait_for { http($port, 'GET', '/status')->{json}{database}{relay} =~ /leader|follower/ } 20),
       'nginx takes part');
    ok((wait_for { http($port, 'GET', '/functions/web/there')->{status} == 200 } 15),
       '... and knows the bindings');
}

my $watch = Broadcast::SSE->connect($ports[1], '/events/chat?group=lobby');

# the next event of this name; ticks and others come in between

sub event {
    my ($name, $from) = @_;

    while (my $event = ($from // $watch)->event) {
        return $event->{data} if $event->{event} eq $name;
    }

    return undef;
}

my $ann = Broadcast::Hub->connect($ports[0], '/client?hub=chat',
                                  token => client_token($key, 'chat', sub => 'ann'));
my $id = 0;

# the items and the result, or the error, of an invocation or a stream

sub call {
    my ($type, $target, @arguments) = @_;
    my @items;

    $ann->send({ type => $type, invocationId => '' . ++$id, target => $target,
                 arguments => \@arguments });

    while (my $record = $ann->next) {
        next unless ($record->{invocationId} // '') eq $id;
        push @items, $record->{item} if $record->{type} == 2;
        return $record->{error} // join ',', @items, $record->{result} // ()
            if $record->{type} == 3;
    }

    return undef;
}

my $joined = event('joined');
$joined = event('joined') if $joined eq '[null]';      # who watches, perhaps
is($joined, '["ann"]', 'a bound function is told who connected, and acts');
is(call(1, 'Say', 'lobby', 'hi'), 2, 'a method has a result');
is(event('said'), '["ann", "hi"]', '... and sends');
like(call(1, 'Enter'), qr/RoomFull: only 8 may enter$/, '... or an error with a name');
is(call(4, 'History', 1), 'a,b', 'a stream of rows');
is(call(4, 'Cursor'), '1', '... of a cursor');
is(call(4, 'Rows'), '1,2,3', '... of a bound function');
like(call(1, 'Fails'), qr/^An unexpected error/, 'an error of a method');
ok((wait_for { $pg->psql(q{select count(*) from broadcast.function_error
                            where function like '%fails%'}, @app) } 5), '... is kept');

is(http($ports[0], 'GET', '/functions/web/there')->{body}, 'there', 'an http function answers');
is(event('web'), '[]', '... and acts');
is(http($ports[0], 'GET', '/done')->{status}, 204, 'what is followed by an after function');
is(event('stored'), '[204]', '... which acts');
ok(defined event('tick'), 'a timer ticks');

$pg->psql(q{select broadcast.send_all('chat', 'shop', '[1]')}, db => 'app', user => 'shop');
is(event('shop'), '[1]', 'a role with its three lines sends');
ok(!($pg->try(q{select broadcast.send_user('chat', 'ann', 'shop', '[1]')},
              db => 'app', user => 'shop'))[0], '... as those say, and no otherwise');
ok(!($pg->try(q{select broadcast.bind('http', 'app.web')}, db => 'app', user => 'nginx'))[0],
   'nginx may bind nothing');

my $v = 'api-version=2024-12-01';
my @json = (headers => [ 'Content-Type' => 'application/json' ]);
my ($c) = map { $_->{connectionId} }
          @{ http($ports[1], 'GET', "/api/hubs/chat/groups/all/connections?$v")->{json}{value} };

ok(defined $c, 'the other instance lists the members of a group');
is(http($ports[1], 'HEAD', "/api/hubs/chat/connections/$c?$v")->{status}, 200,
   '... knows the connection');
is(http($ports[1], 'PUT', "/api/hubs/chat/groups/lobby/connections/$c?$v")->{status}, 200,
   '... adds it to a group');
ok((wait_for { http($ports[1], 'HEAD', "/api/hubs/chat/groups/lobby?$v")->{status} == 200 } 5),
   '... which is known there');
is(http($ports[1], 'POST', "/api/hubs/chat/users/ann/:send?$v", @json,
        body => '{"target":"rest","arguments":[3]}')->{status}, 202, '... sends to a user');
is($ann->invocation('rest')->[0], 3, '... who gets it');
is(http($ports[0], 'POST', '/publish/chat?target=pub', @json, body => '4')->{status}, 200,
   'who publishes by HTTP');
is(event('pub'), '[4]', '... is heard everywhere');

# the setting is anybody's, the answer is not

my $known = $pg->psql(q{select min(connection_id) from broadcast.connections
                        where user_id = 'ann'}, @app);
my $asks = qq{set broadcast.call = '{"connectionId":"$known"}';
              select coalesce(broadcast.context()->>'userId', 'none')};

$pg->psql('grant execute on function broadcast.context() to shop', @app);
like($pg->psql($asks, db => 'app', user => 'nginx'), qr/ann$/,
     'in a session of nginx\'s role the context is that of the connection named');
like($pg->psql($asks, db => 'app', user => 'shop'), qr/none$/,
     '... who is not nginx learns nothing of a connection');

$ann->close;
is(event('bye'), '["ann"]', 'a bound function is told who left');

is_deeply([ $pg->rows(q{select "check", detail from broadcast.doctor()
                         where "check" in ('role_rights', 'role_power', 'role_members',
                                           'public_rights', 'bindings', 'exposed', 'owner',
                                           'relay', 'nodes') and status = 'error'}, @app) ],
          [], 'the doctor finds nothing wrong with the rights');

my @denied = grep { !/send_user|function bind/ } $pg->log =~ /(permission denied.*)/g;

is_deeply(\@denied, [], 'nothing was denied but what should be');

# running the file again takes no right away

$pg->file("$FindBin::Bin/../sql/broadcast.sql", @app);
is($pg->psql('select count(*) > 0 from broadcast.methods()', db => 'app', user => 'nginx'), 't',
   'an upgrade to the same version keeps the grants');

$_->stop_ok for $nginx, $other;

done_testing();
