#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# Events to the database: connected and disconnected, each once, whatever
# ends a connection, whoever dies, also over an outage; their actions come
# back as messages; bindings take effect at once.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(time sleep);

use Broadcast::HTTP qw(http worker_at);
use Broadcast::LongPoll;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Postgres;
use Broadcast::SSE;
use Broadcast::WebSocket;

my $pg = Broadcast::Postgres->new;
$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", db => 'app', user => 'app');

my @at = (db => 'app', user => 'app');

$pg->psql(<<'EOS', @at);
create table seen (
    n serial, kind text, hub text, id text, event jsonb, at timestamptz
    default clock_timestamp());

create function note(event jsonb) returns jsonb language plpgsql as $$
begin
    insert into seen (kind, hub, id, event)
    values (event->>'kind', event->>'hub', event->>'connectionId', event);
    return jsonb_build_object('target', event->>'kind', 'arguments',
               jsonb_build_array(event->>'connectionId'));
end $$;

create function broken(event jsonb) returns jsonb language plpgsql as $$
begin
    raise exception 'broken for %', event->>'kind'
        using detail = 'what was sent';
end $$;

select broadcast.bind('connected', 'note', 'chat');
select broadcast.bind('disconnected', 'note', 'chat');

-- what happens sooner does not happen since it is over
update broadcast.setting set value = '5 min' where name = 'node_lease';
EOS

my $nginx = Broadcast::Nginx->new(
    workers => 3,
    http    => "broadcast_zone hubs 16m; broadcast_database \""
             . $pg->conninfo('app', 'app') . '" timeout=20s;',
    server  => <<'EOC')->start;
        location /events/  { broadcast_events anonymous; }
        location /slow     { broadcast_hub anonymous hub=slow; }
        location /publish/ { broadcast_publish; }
        location = /status { broadcast_status; }
        location = /pid    { return 200 $pid; }
EOC

my $port = $nginx->port;

sub database {
    return http($port, 'GET', '/status?format=json')->{json}{database};
}

sub count {
    my ($where) = @_;
    return $pg->psql("select count(*) from seen where $where", @at);
}

# each id of the hub: how often connected and disconnected came

sub tally {
    my ($hub) = @_;

    return map { $_->[0] } $pg->rows(qq{
        select string_agg(kind || ' ' || c, ', ' order by kind) from
          (select id, kind, count(*) c from seen where hub = '$hub'
            group by 1, 2) x group by id order by 1}, @at);
}

# Changes bindings, and returns when nginx goes by them: all are read together, so
# it does when it calls what one more of them binds.

my $changes = 0;

sub rebind {
    my ($sql) = @_;
    my $hub = 'probe' . ++$changes;

    $pg->psql("begin; $sql; select broadcast.bind('connected', 'note',"
              . " '$hub'); commit", @at);

    wait_for {
        Broadcast::WebSocket->connect($port, "/events/$hub")->close;
        count("hub = '$hub'");
    }
        or die "what is bound is not called\n";

    wait_for { !$pg->psql(q{select count(*) from broadcast.connections
                             where hub like 'probe%'}, @at) }
        or die "the clients of $hub are not gone\n";
}

ok((wait_for { database()->{relay} eq 'leader' } 10), 'the relay leads');


# --- one connection ---------------------------------------------------------

my $watch = Broadcast::SSE->connect($port, '/events/chat');
my $own = $watch->event;

is($own->{event}, 'connected', 'the action of `connected` reaches the hub');
is(count(q{kind = 'connected'}), 1, 'it was called once');

my ($row) = $pg->rows(q{select event->>'hub', event->>'transport',
                               event->>'userId', event->>'node' is not null
                          from seen}, @at);
is_deeply($row, [ 'chat', 'sse', '', 't' ], 'it tells of the connection');

is($pg->psql('select count(*) from broadcast.connections', @at), 1,
   'the connection is in broadcast.connections');

my $ws = Broadcast::WebSocket->connect($port, '/events/Chat');
my $id = $watch->event->{data};

$ws->close;

my $event = $watch->event;
is($event->{event}, 'disconnected', 'the action of `disconnected`, too');
is($event->{data}, $id, '... for the same connection');
is($pg->psql('select count(*) from broadcast.connections', @at), 1,
   'its row is gone');

my $elsewhere = Broadcast::SSE->connect($port, '/events/other');
http($port, 'POST', '/publish/other', body => 'x',
     headers => [ 'Content-Type' => 'text/plain' ]);
$elsewhere->event;
is(count(q{hub = 'other'}), 0, 'a hub that is not bound calls nothing');
$elsewhere->close;


# --- bindings take effect within a second -----------------------------------

rebind(q{select broadcast.bind('connected', 'note', 'late');
         select broadcast.bind('disconnected', 'note', 'late')});

$ws = Broadcast::WebSocket->connect($port, '/events/late');
ok((wait_for { count(q{hub = 'late'}) == 1 } 5), 'a new binding is used');
$ws->close;
ok((wait_for { count(q{hub = 'late'}) == 2 } 5), '... at both ends');

rebind(q{select broadcast.unbind('connected', 'note', 'late');
         select broadcast.unbind('disconnected', 'note', 'late')});

$ws = Broadcast::WebSocket->connect($port, '/events/late');
$ws->close;
sleep 0.3;
is(count(q{hub = 'late'}), 2, 'taken back, it is not');


# --- a function that raises -------------------------------------------------

rebind(q{select broadcast.bind(k, 'broken', 'bad')
           from unnest(array['connected', 'disconnected']) k});

my $errors = database()->{errors};
$ws = Broadcast::WebSocket->connect($port, '/events/bad');
ok((wait_for { $pg->psql('select count(*) from broadcast.function_error',
                         @at) == 1 } 5), 'an exception is kept');
is($pg->psql('select message from broadcast.function_error', @at),
   'broken for connected', '... with its words');
ok((wait_for { database()->{errors} == $errors + 1 } 5), '... counted');
like($nginx->error_log,
     qr/\[error\].*"connected" function public\.broken failed: broken for connected \(P0001\)/,
     '... and told in the log');
unlike($nginx->error_log, qr/what was sent/, '... without its detail');

$ws->close;
ok((wait_for { $pg->psql('select count(*) from broadcast.function_error',
                         @at) == 2 } 5), '... in `disconnected`, too');
is($pg->psql(q{select count(*) from broadcast.connections
                where hub = 'bad'}, @at), 0, '... and the row is gone');
sleep 0.7;
is($pg->psql('select count(*) from broadcast.function_error', @at), 2,
   '... and it is not tried again');


# --- killed workers ---------------------------------------------------------

$pg->psql('truncate seen', @at);

my @crowd = map { Broadcast::WebSocket->connect($port, '/events/chat') }
            1 .. 30;

ok((wait_for { count(q{kind = 'connected'}) == 30 } 10),
   '30 clients: connected is called for each');

$nginx->kill_worker($_) for $nginx->workers;

ok((wait_for { count(q{kind = 'disconnected'}) >= 31 } 10),
   'every worker killed: disconnected is called for each, and not when a lease '
   . 'is over');
sleep 1;

is_deeply([ grep { $_ ne 'connected 1, disconnected 1' } tally('chat') ],
          [ 'disconnected 1' ],
          '... exactly once (one had come before the count)');
is(count(q{event->>'error' = 'worker lost'}), 31, '... with the reason');
is($pg->psql('select count(*) from broadcast.connections', @at), 0,
   'no row is left');


# --- a worker killed while `connected` is running ---------------------------

$pg->psql(<<'EOS', @at);
create function slow(event jsonb) returns jsonb language plpgsql as $$
begin
    perform pg_advisory_xact_lock_shared(1);
    return note(event);
end $$;
EOS

rebind(q{select broadcast.bind('connected', 'slow', 'slow');
         select broadcast.bind('disconnected', 'note', 'slow')});

my $lock = $pg->session(@at);

sub under_way {
    my ($n) = @_;

    return wait_for { $pg->psql(q{select count(*) from pg_locks
        where locktype = 'advisory' and classid = 0 and not granted}) == $n };
}

$lock->run('select pg_advisory_lock(1)');
$ws = Broadcast::WebSocket->connect($port, '/events/slow');
ok(under_way(1), '`connected` is under way');
$nginx->kill_worker($_) for $nginx->workers;
$lock->run('select pg_advisory_unlock(1)');

ok((wait_for { count(q{hub = 'slow' and kind = 'connected'}) == 1 } 5),
   'its worker killed, it comes to its end in the database');
ok((wait_for { count(q{hub = 'slow' and kind = 'disconnected'}) == 1 } 15),
   '... and `disconnected` is called behind it');
is($pg->psql('select count(*) from broadcast.connections', @at), 0,
   'no row is left');


# --- a poll for what has ended while `connected` is running ------------------

ok((wait_for { database()->{state} eq 'up' && $nginx->workers == 3 } 10),
   'new workers are there');

$pg->psql('truncate seen', @at);

my %to = map { $_ => worker_at($port, '/pid', $_) } $nginx->workers;
my @to = @to{ sort keys %to };

for my $poller (@to[0, 1]) {
    $lock->run('select pg_advisory_lock(1)');

    my $lp = Broadcast::LongPoll->connect($port, '/slow', at => $to[0]);

    ok(under_way(1), '`connected` is under way');
    is($lp->delete(at => $to[0])->{status}, 202, 'a client leaves');
    is(count(q{id = '} . $lp->{id} . q{'}), 0, '... before `connected` ends');

    my $wait = $lp->start(at => $poller);

    $lock->run('select pg_advisory_unlock(1)');
    is($lp->answer($wait)->{status}, 404, '... and polls once more');
}

ok((wait_for { count(q{kind = 'disconnected'}) == 2 } 10),
   '`disconnected` is called');
is_deeply([ tally('slow') ], [ ('connected 1, disconnected 1') x 2 ],
          '... once for each, behind `connected`');
is($pg->psql('select count(*) from broadcast.connections', @at), 0,
   'no row is left');
$_->close for values %to;


# --- an outage --------------------------------------------------------------

ok((wait_for { database()->{state} eq 'up' && database()->{relay} eq 'leader' }
    10), 'new workers are there');

$pg->psql('truncate seen', @at);

@crowd = map { Broadcast::WebSocket->connect($port, '/events/chat') } 1 .. 20;
ok((wait_for { count(q{kind = 'connected'}) == 20 } 10), '20 clients');

$pg->stop;
ok((wait_for { database()->{state} eq 'down' } 10), 'the database is away');

$_->close for @crowd[0 .. 9];
my ($victim) = $nginx->workers;
$nginx->kill_worker($victim);
wait_for { !grep { $_ == $victim } $nginx->workers } 10;
my $stranger = Broadcast::WebSocket->connect($port, '/events/chat');

$pg->start;

ok((wait_for { count(q{kind = 'disconnected'}) >= 10 } 20),
   'those that left meanwhile are settled when it is back');

$_->close for @crowd[10 .. 19];
$stranger->close;

ok((wait_for { count(q{kind = 'disconnected'}) >= 21 } 20), '... and the rest');
sleep 0.7;

is_deeply([ grep { $_ ne 'connected 1, disconnected 1' } tally('chat') ],
          [ 'disconnected 1' ],
          '... each of them once, also who came meanwhile and stayed');
is($pg->psql('select count(*) from broadcast.connections', @at), 0,
   'no row is left');


# --- nginx goes, with all its processes -------------------------------------

$pg->psql('truncate seen', @at);
@crowd = map { Broadcast::WebSocket->connect($port, '/events/chat') } 1 .. 5;
ok((wait_for { count(q{kind = 'connected'}) == 5 } 10), '5 clients');

# All of them in one call would take longer than a call may.

$pg->psql(<<'EOS', @at);
create function late(event jsonb) returns jsonb language plpgsql as $$
begin
    perform pg_sleep(1);
    return note(event);
end $$;
select broadcast.unbind('disconnected', 'note', 'chat');
select broadcast.bind('disconnected', 'late', 'chat');
update broadcast.setting set value = '2 s' where name = 'node_lease';
EOS
$nginx->crash;
$nginx->start;

ok((wait_for { count(q{kind = 'disconnected'}) == 5 } 60),
   'a node that died: its connections are settled by its successor');
is_deeply([ tally('chat') ], [ ('connected 1, disconnected 1') x 5 ],
          '... each once');

$nginx->stop_ok(signal => 'TERM');

done_testing();
