#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# The end of a connection in the database: `disconnected` comes once, also when
# `connected` could not be called, when a crowd leaves at once over a queue of
# one, when its function never comes to an end; and it tells why.  Connections
# that came while the database was away get their rows when it is back.

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
use Broadcast::WebSocket;

my $key = '0123456789abcdef0123456789abcdef';
my $pg = Broadcast::Postgres->new;
my @at = (db => 'app', user => 'app');

$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);

$pg->psql(<<'EOS', @at);
create table seen (n serial, kind text, hub text, id text, event jsonb);

create function note(event jsonb) returns jsonb language plpgsql as $$
begin
    insert into seen (kind, hub, id, event)
    values (event->>'kind', event->>'hub', event->>'connectionId', event);
    return null;
end $$;

-- as long as the test holds lock 1

create function gate(event jsonb) returns jsonb language plpgsql as $$
begin
    perform pg_advisory_xact_lock_shared(1);
    return note(event);
end $$;

create function endless(event jsonb) returns jsonb language plpgsql as $$
begin
    perform note(event);
    perform pg_sleep(60);
    return null;
end $$;

-- what it raises cannot even be kept: the call as a whole fails

create function deep(event jsonb) returns jsonb language plpgsql as $$
begin
    raise exception 'deep';
end $$;

create function refuse() returns trigger language plpgsql as $$
begin
    raise exception 'not to be kept';
end $$;

create trigger refuse before insert on broadcast.function_error
    for each row when (new.message = 'deep') execute function refuse();

create function who(event jsonb) returns jsonb language sql as $$
    select jsonb_build_object('result', event->'claims'->'name')
$$;

select broadcast.bind('connected', 'note', 'chat');
select broadcast.bind('disconnected', 'note', 'chat');
select broadcast.bind('connected', 'gate', 'held');
select broadcast.bind('disconnected', 'note', 'held');
select broadcast.bind('disconnected', 'endless', 'endless');
select broadcast.bind('disconnected', 'deep', 'stuck');
select broadcast.bind('disconnected', 'note', 'stuck');
select broadcast.bind('message', 'who', 'chat', 'Who');
EOS

my $nginx = Broadcast::Nginx->new(
    http   => "broadcast_zone hubs 16m; broadcast_key $key;"
            . 'broadcast_ephemeral quick; broadcast_database "'
            . $pg->conninfo('app', 'app') . '" pool=4 queue=1 timeout=1s;',
    server => <<'EOC',
        location /events/  { broadcast_events anonymous; }
        location /client   { broadcast_hub anonymous; }
        location /silent   {
            broadcast_hub anonymous hub=chat; broadcast_client_timeout 1s;
        }
        location /rate     {
            broadcast_hub anonymous hub=chat; broadcast_rate 1/s;
        }
        location /api/     { broadcast_api open; }
        location = /status { broadcast_status; }
EOC
)->start;

my $port = $nginx->port;

sub database {
    return http($port, 'GET', '/status?format=json')->{json}{database};
}

sub metric {
    my ($name) = @_;

    return http($port, 'GET', '/status?format=prometheus')->{body}
           =~ /^nginx_broadcast_\Q$name\E (\S+)/m ? $1 : undef;
}

sub sql   { return $pg->psql($_[0], @at) }
sub count { return sql("select count(*) from seen where $_[0]") }
sub rows  { return sql('select count(*) from broadcast.connections'
                       . ($_[0] ? " where $_[0]" : '')) }

# how often each event came: "kind times" of each connection of the hub

sub tally {
    my ($hub) = @_;
    my %n;

    $n{$_->[0]}++ for $pg->rows(qq{
        select string_agg(kind || ' ' || c, ', ' order by kind) from
          (select id, kind, count(*) c from seen where hub = '$hub'
            group by 1, 2) x group by id}, @at);

    return \%n;
}

ok((wait_for { database()->{relay} eq 'leader' } 10), 'the relay leads');


# --- functions that fail, and fail again -------------------------------------

my $endless = Broadcast::WebSocket->connect($port, '/events/endless');
ok((wait_for { rows(q{hub = 'endless'}) == 1 } 10), 'a client');
$endless->close;

my @stuck = map { Broadcast::WebSocket->connect($port, '/events/stuck') } 1, 2;
ok((wait_for { rows(q{hub = 'stuck'}) == 2 } 10), 'two clients');
$_->close for @stuck;

# --- a crowd that leaves at once ----------------------------------------------

my @crowd = map { Broadcast::WebSocket->connect($port, '/events/chat') }
            1 .. 500;

ok((wait_for { rows(q{hub = 'chat'}) == 500 } 20),
   '500 clients have a row, though the queue has one place');

$_->drop for @crowd;

ok((wait_for { count(q{hub = 'chat' and kind = 'disconnected'}) >= 500 } 20),
   'they leave at once, and disconnected is called');
ok((wait_for { rows(q{hub = 'chat'}) == 0 } 10), '... no row is left');

is(metric('function_calls_total{kind="disconnected",outcome="refused"}') // 0,
   0, '... none was refused by the queue');
is(sql(q{select count(*) from (select id from seen where hub = 'chat'
         and kind = 'disconnected' group by 1 having count(*) <> 1) x}), 0,
   '... for each of them once');
is(sql(q{select count(distinct id) from seen where hub = 'chat'
         and kind = 'disconnected'}), 500, '... of all');
is(count(q{hub = 'chat' and kind = 'disconnected'
           and event->>'error' <> 'connection lost'}), 0,
   '... and tells that the sockets broke');

is(sql(q{select count(*) from seen a join seen b using (id)
          where a.kind = 'connected' and b.kind = 'disconnected'
            and a.n > b.n}), 0, '... behind connected');


# --- `connected` cannot be called ---------------------------------------------

my $lock = $pg->session(@at);
$lock->run('select pg_advisory_lock(1)');

sub refused {
    return metric('function_calls_total{kind="connected",outcome="refused"}')
           // 0;
}

my $refused = refused();
my @held;

for (1 .. 60) {
    push @held, Broadcast::WebSocket->connect($port, '/events/held');
    last if refused() > $refused;
}

my $all = @held;

cmp_ok(refused(), '>', $refused, 'the queue is full: connected is not called');
ok((wait_for { rows(q{hub = 'held'}) == $all } 20),
   '... nor does it come to an end: all get their rows all the same');

$lock->run('select pg_advisory_unlock(1)');
$_->close for @held;

ok((wait_for { count(q{hub = 'held' and kind = 'disconnected'}) >= $all } 10),
   'they leave: disconnected is called');
ok((wait_for { rows(q{hub = 'held'}) == 0 && database()->{unsettled} <= 2 } 10),
   '... for all');
is_deeply(tally('held'), { 'disconnected 1' => $all }, '... once for each');

# one that leaves while its `connected` hangs, which then is rolled back

$lock->run('select pg_advisory_lock(1)');
my $left = Broadcast::WebSocket->connect($port, '/events/held');
ok((wait_for { sql(q{select count(*) from pg_locks where locktype = 'advisory'
                     and not granted}) == 1 } 5), 'connected is under way');
$left->close;
ok((wait_for { count(q{hub = 'held' and kind = 'disconnected'}) > $all } 10),
   'the client left, it is cancelled: disconnected is called');
$lock->run('select pg_advisory_unlock(1)');


# --- reasons -------------------------------------------------------------------

sub why {
    my ($id) = @_;

    wait_for { count("id = '$id' and kind = 'disconnected'") } 10
        or return 'none came';

    return sql("select coalesce(event->>'error', 'null') from seen
                where id = '$id' and kind = 'disconnected'");
}

# a hub's client whose row is there

sub client {
    my ($uri) = @_;

    my $hub = Broadcast::Hub->connect($port, $uri);
    my ($id) = $hub->{id};

    # it may have gone again, so not its row is looked for

    wait_for { $hub->{cid} = sql("select id from seen where kind = 'connected'
                    and id in ('$id', '$hub->{token}')") }
        or diag("connected was not called for $id");

    return $hub;
}

my $hub = client('/client?hub=chat');
$hub->close;
is(why($hub->{cid}), 'null', 'reason of a client that closes: none');

$hub = client('/client?hub=chat');
$hub->drop;
is(why($hub->{cid}), 'connection lost', '... that goes without a word');

$hub = client('/client?hub=chat');
$hub->{ws}->text("{nonsense\x1e");
is(why($hub->{cid}), 'protocol error', '... that sends nonsense');

$hub = client('/client?hub=chat');
sql("select broadcast.close_connection('chat', '$hub->{cid}', 'enough')");
is(why($hub->{cid}), 'enough', '... that is closed, in the words of who closes it');

$hub = client('/silent');
is(why($hub->{cid}), 'timed out', '... that says nothing');

$hub = client('/rate');
$hub->send({ type => 1, target => 'Who', arguments => [] }) for 1 .. 50;
is(why($hub->{cid}), 'rate exceeded', '... that says too much');


# --- an outage -----------------------------------------------------------------

my $before = client('/client?hub=chat');

$pg->stop;
ok((wait_for { database()->{state} eq 'down' } 10), 'the database is away');

my $short = Broadcast::Hub->connect($port, '/client?hub=chat');
my $token = client_token($key, 'chat', sub => 'ann', name => 'Ann');
my $long = Broadcast::Hub->connect($port, '/client?hub=chat&q=1',
                                   token => $token);
my $brief = Broadcast::Hub->connect($port, '/client?hub=quick');

is($long->{error}, undef, 'a client is taken');

$long->send({ type => 1, target => 'Who', arguments => [],
              invocationId => '1' });
my $r = $long->next;
$r = $long->next while $r && $r->{type} == 6;
like($r->{error}, qr/ The database is away\.$/,
     '... what it invokes is refused at once');

$short->close;
$before->close;

$pg->start;

ok((wait_for { rows(q{user_id = 'ann' and claims->>'name' = 'Ann'
                      and query->>'q' = '1' and headers is not null
                      and transport = 'websocket'}) == 1 } 15),
   'it is back: the client that outlived the outage has its row');
ok((wait_for { rows(q{hub = 'quick'}) == 1 } 10),
   '... that of an ephemeral hub, too');
ok((wait_for { database()->{unsettled} <= 2 } 10), '... what ended is settled');

is(why($before->{cid}), 'null', 'who left meanwhile and had a row is settled');
is(count(qq{id in ('$short->{id}', '$short->{token}')}), 0,
   'who came and left meanwhile is not');
is(count(q{event->>'userId' = 'ann'}), 0, 'connected is not replayed');

$long->send({ type => 1, target => 'Who', arguments => [],
              invocationId => '2' });
$r = $long->next;
$r = $long->next while $r && $r->{type} == 6;
is($r->{result}, 'Ann', 'its functions know its claims');

my $id = sql(q{select connection_id from broadcast.connections
               where user_id = 'ann'});
$long->close;
is(why($id), 'null', 'when it leaves disconnected is called');
is(sql("select event->'claims'->>'name' from seen where id = '$id'"), 'Ann',
   '... with its claims');
$brief->close;


# --- the functions that fail -----------------------------------------------------

is(sql(q{select count(*) from broadcast.function_error
          where kind = 'disconnected' and hub = 'endless'
            and sqlstate = '57014'}), 1,
   'a function that never ends is cancelled, and told of once');
is(count(q{hub = 'endless'}), 0, '... nothing of it was kept');

ok((wait_for { database()->{abandoned} == 2 } 20),
   'functions whose call fails as a whole are given up after some tries');
is(sql(q{select count(*) from broadcast.function_error
          where kind = 'disconnected' and hub = 'stuck'
            and sqlstate = 'P0001' and function like '%deep%'
            and message like 'not called any more%'}), 2,
   '... which its developer can see');
is(count(q{hub = 'stuck'}), 0, '... nothing of it was kept');

# --- others have ended this node's connections -----------------------------------

$hub = client('/client?hub=chat');

# (with all in one transaction no beat of the node comes between)

sql(q{begin;
      update broadcast.node set seen_at = now() - interval '2 min';
      select broadcast.sweep();
      commit});

my $close = $hub->next;
$close = $hub->next while $close && $close->{type} != 7;

ok($close && $close->{allowReconnect},
   'cut off for its lease: its clients are closed, to come anew');
is(why($hub->{cid}), 'node lost', '... others had called disconnected');
$hub->drop;


# --- the end ----------------------------------------------------------------------

ok((wait_for { rows() == 0 && database()->{unsettled} == 0 } 10),
   'nothing is left to settle');
is(metric('disconnected_abandoned_total'), 2, '... as counted');
is(sql(q{select count(*) from (select id from seen where kind = 'disconnected'
         group by 1 having count(*) <> 1) x}), 0,
   'in all this disconnected came once for each');

$nginx->stop_ok;

done_testing();
