#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# What is sent through the WAL: in the order of commits, what was rolled back
# not at all, and nothing that others have written there.  What becomes of it
# when something breaks is in t/matrix_wal.t, the way in and out of it in
# t/matrix_wal_slot.t.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(sleep);

use Broadcast::HTTP qw(http);
use Broadcast::Hub;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Postgres;
use Broadcast::SSE;

my $pg = Broadcast::Postgres->new(conf => { wal_level => 'logical' });
$pg->createdb('app', 'app');
$pg->psql('alter role app replication');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", db => 'app', user => 'app');

my @at = (db => 'app', user => 'app');

sub sql { return $pg->psql($_[0], @at) }

my $nginx = Broadcast::Nginx->new(
    workers => 2,
    http    => 'broadcast_zone hubs 64m; broadcast_database "'
             . $pg->conninfo('app', 'app') . '" timeout=20s;'
             . 'broadcast_source wal;',
    server  => <<'EOC')->start;
        location /events/  { broadcast_events anonymous; broadcast_queue 8m; }
        location /client   { broadcast_hub anonymous; }
        location /publish/ { broadcast_publish; }
        location = /status { broadcast_status; }
EOC

my $port = $nginx->port;

sub database {
    return http($port, 'GET', '/status?format=json')->{json}{database};
}

sub seq { return ($_[0]{id} // '') =~ /-(\d+)$/ ? $1 : -1 }

ok((wait_for { database()->{source} eq 'wal' } 15),
   'the relay makes a slot, and sends go through the WAL')
    or diag($nginx->tail);
is(sql(q{select value from broadcast.setting where name = 'source'}), 'wal',
   '... the schema says so');
is(sql(q{select plugin || ' ' || (database = 'app') || ' ' || temporary
           from pg_replication_slots where slot_name = 'broadcast'}),
   'pgoutput true false', '... the slot is a lasting one');
is(sql(q{select count(*) from pg_publication_tables
          where pubname = 'broadcast'}), 0, '... the publication has no table');

my $sse = Broadcast::SSE->connect($port, '/events/chat');


# --- a message ---------------------------------------------------------------

my $listener = $pg->session(@at);
$listener->run('listen broadcast_doorbell');

sql(q{select broadcast.send_all('Chat', 'hello', '[1, "ü\u0001\n"]')});

my $event = $sse->event;
is("$event->{event} $event->{data}", 'hello [1, "ü\u0001\n"]', 'a message');
is($event->{id}, sql(q{select to_hex(epoch) || '-1' from broadcast.message}),
   '... with its number in the history');
is($listener->run('select 1'), '1', '... and no doorbell has rung');
$listener->close;

my $r = http($port, 'POST', '/publish/chat',
    body => '{"b": 1, "a":"\u0000 \u00fc",  "big": 12345678901234567890}',
    headers => [ 'Content-Type' => 'application/json' ]);

is($r->{status}, 200, 'one that is published over HTTP');
$event = $sse->event;
is($event->{data},
   '[{"b": 1, "a":"\u0000 \u00fc",  "big": 12345678901234567890}]',
   '... byte for byte');
is($r->{json}{id}, $event->{id}, '... its publisher is told its number');

sql(q{select broadcast.send_all('chat', 'large',
                                jsonb_build_array(repeat('ü"\ ', 149000)))});
$event = $sse->event;
is(length $event->{data}, 1043004, 'one of a megabyte');


# --- transactions ------------------------------------------------------------

my $slow = $pg->session(@at);
$slow->run(q{begin; select broadcast.send_all('chat', 'slow', '[1]')});
sql(q{select broadcast.send_all('chat', 'quick', '[]')});
is($sse->event->{event}, 'quick', 'a transaction that is open holds up nobody');
$slow->run(q{select broadcast.send_all('chat', 'slow', '[2]'); commit});
is($sse->event->{data}, '[1]', '... what it sends comes with its commit');
is($sse->event->{data}, '[2]', '... in its order');

$slow->run(q{
    begin;
    select broadcast.send_all('chat', 'kept', '[1]');
    savepoint a;
    select broadcast.send_all('chat', 'not kept', '[2]');
    rollback to a;
    select broadcast.send_all('chat', 'kept', '[3]');
    savepoint b;
    select broadcast.send_all('chat', 'kept', '[4]');
    release b;
    commit;
    begin;
    select broadcast.send_all('chat', 'not kept', '[5]');
    rollback;
    begin;
    savepoint c;
    select broadcast.send_all('chat', 'not kept', '[6]');
    rollback to c;
    select broadcast.send_all('chat', 'kept', '[7]');
    commit});
is(join(' ', map { my $e = $sse->event; "$e->{event} $e->{data}" } 1 .. 4),
   'kept [1] kept [3] kept [4] kept [7]',
   'what was rolled back, also to a savepoint, is not sent');

$slow->run(q{
    begin isolation level serializable;
    select broadcast.send_all('chat', 'serializable', '[]');
    commit});
is($sse->event->{event}, 'serializable',
   'a transaction that sees an old source sends by the outbox');

$slow->run(q{
    begin; select broadcast.send_all('chat', 'prepared', '[]');
    prepare transaction 'p'; commit prepared 'p'});
is($sse->event->{event}, 'prepared', 'sends may be part of a prepared one');
$slow->close;

my $first = seq($event) + 1;

sql(q{do $$ begin
          for i in 1 .. 3000 loop
              perform broadcast.send_all('chat', 'many', jsonb_build_array(i));
          end loop;
      end $$});

my @many = map { $sse->event } 1 .. 3000;
is_deeply([ map { $_->{data} } @many ], [ map { "[$_]" } 1 .. 3000 ],
          'many messages in one transaction, in their order');
is(seq($many[-1]), seq($many[0]) + 2999, '... numbered without a hole');


# --- commands, and a Completion behind what was sent -------------------------

sql(q{
    create schema methods;
    create function methods.tell(word text) returns text language plpgsql as $$
    begin
        perform broadcast.send_connection('chat',
            broadcast.context()->>'connectionId', 'told',
            jsonb_build_array(word));
        return word;
    end $$;
    select broadcast.expose('chat', 'methods')});

my $hub = Broadcast::Hub->connect($port, '/client?hub=chat');
my $id = wait_for { sql(q{select connection_id from broadcast.connections
                           where transport ilike 'websocket%'}) } 10;

sql(qq{
    begin;
    select broadcast.send_group('chat', 'g', 'before', '[]');
    select broadcast.add_to_group('chat', 'g', connection => '$id');
    select broadcast.send_group('chat', 'g', 'within', '[]');
    select broadcast.remove_from_group('chat', 'g', connection => '$id');
    select broadcast.send_group('chat', 'g', 'behind', '[]');
    select broadcast.send_connection('chat', '$id', 'end', '[]');
    commit});

sub targets {
    my ($until) = @_;
    my @got;

    while (my $record = $hub->next) {
        push @got, $record->{type} == 3 ? "result $record->{result}"
                   : $record->{target} if $record->{type} =~ /^[13]$/;
        last if $got[-1] && $got[-1] eq $until;
    }

    return "@got";
}

is(targets('end'), 'within end', 'groups change between messages');

$hub->send({ type => 1, target => 'tell', arguments => [ 'x' ],
             invocationId => '1' });
is(targets('result x'), 'told result x',
   'a Completion stands behind what its function has sent');

sql(qq{select broadcast.close_connection('chat', '$id', 'enough')});
my $record;
1 while ($record = $hub->next) && $record->{type} != 7;
is($record->{error}, 'enough', 'a connection is closed');


# --- what others write there -------------------------------------------------

$pg->psql('create role other login');
$pg->psql(q{select pg_create_logical_replication_slot('peek', 'pgoutput')},
          db => 'app');

sql(q{select broadcast.send_all('chat', 'genuine', '["once"]')});
is($sse->event->{event}, 'genuine', 'a message that is copied out of the WAL');

my $before = database()->{wal_left_out};
my $forged = q{
    select pg_logical_emit_message(true, 'broadcast', x)
      from (values ('x'), ('{}'), (repeat('0', 64) || '["1",0,"chat",1]'),
                   (repeat('f', 70)), ('')) v(x);
    select pg_logical_emit_message(true, 'broadcast',
        convert_to(repeat('0', 70), 'UTF8') || '\x00ff');
    select pg_logical_emit_message(false, 'broadcast', 'of no transaction');
    select pg_logical_emit_message(true, 'broadcasts', 'of others')};

$pg->psql($forged, db => 'app', user => 'other');

my $again = $pg->psql(q{
    select pg_logical_emit_message(true, 'broadcast', substr(d, position(
               '\x62726f61646361737400'::bytea in d) + 14))
      from (select data from pg_logical_slot_get_binary_changes('peek', null,
                null, 'proto_version', '1', 'publication_names', 'broadcast',
                'messages', 'true')) c(d)
     where position('genuine'::bytea in d) > 0}, db => 'app');
like($again, qr/^[0-9A-F]+\/[0-9A-F]+$/, '... and sent once more');

sql(q{select broadcast.send_all('chat', 'after', '[]')});
is($sse->event->{event}, 'after',
   'what the schema has not sent, or in another transaction, is left out');
ok((wait_for { database()->{wal_left_out} == $before + 7 } 5), '... and counted')
    or diag(database()->{wal_left_out});
like($nginx->error_log, qr/\[warn\].*left out what stands in the WAL/,
     '... and logged');
unlike($nginx->error_log, qr/genuine/, '... without its words');
is(http($port, 'GET', '/status?format=prometheus')->{body}
       =~ /^nginx_broadcast_wal_left_out_total (\d+)/m ? $1 : '', $before + 7,
   '... in the metrics, too');
$pg->psql(q{select pg_drop_replication_slot('peek')}, db => 'app');

# one that fills a batch by itself

$pg->psql(q{select pg_logical_emit_message(true, 'broadcast',
                                           repeat('x', 5 << 20))},
          db => 'app', user => 'other');
ok((wait_for { database()->{wal_left_out} == $before + 8 } 5),
   'a large one is left out');
sql(q{select broadcast.send_all('chat', 'soon', '[]')});
is($sse->event->{event}, 'soon', '... what comes behind is not late');

# more than can be sent to the database before its silence ends the session

$pg->psql(q{select pg_logical_emit_message(true, 'broadcast',
                                           repeat('x', 200 << 20))},
          db => 'app', user => 'other');
sql(q{select broadcast.send_all('chat', 'behind', '[]')});
is($sse->event->{event}, 'behind', 'nobody can stop what comes behind');
cmp_ok(database()->{wal_left_out}, '>=', $before + 9,
       '... what is too large is counted');

# A worker of a slow machine takes so long for it that another one relays
# meanwhile, and reads it once more: until somebody has confirmed it.

my $read = $pg->psql('select pg_current_wal_lsn()');
ok((wait_for {
    $pg->psql(qq{select confirmed_flush_lsn >= '$read'::pg_lsn - 1048576
                   from pg_replication_slots
                  where slot_name = 'broadcast'}) eq 't';
} 60), '... and need not be read again');

# nor by the server for a session to come, which what follows would wait for

ok((wait_for {
    $pg->psql('checkpoint');
    sql(q{select broadcast.send_all('chat', 'on', '[]')});
    $sse->event;
    $pg->psql(qq{select restart_lsn >= '$read'::pg_lsn - 1048576
                   from pg_replication_slots
                  where slot_name = 'broadcast'}) eq 't';
} 60), '... by nobody');

$pg->psql(q{update broadcast.setting set value = '33554432'
             where name = 'message_size'}, db => 'app');
my ($ok, $words) = $pg->try(q{select broadcast.send_all('chat', 'large',
    jsonb_build_array(repeat('x', 16 << 20)))}, @at);
ok(!$ok, 'a send that the relay would leave out is refused');
like($words, qr/larger than the WAL source takes/, '... with words');
$pg->psql(q{update broadcast.setting set value = '1048576'
             where name = 'message_size'}, db => 'app');


# --- positions ------------------------------------------------------------------

sub resume {
    return Broadcast::SSE->connect($port, "/events/chat?last_event_id=$_[0]",
                                   timeout => 30);
}

my $open = $pg->session(@at);
$open->run(q{begin; select broadcast.send_all('chat', 'open', '[1]')});
sql(q{select broadcast.send_all('chat', 'seen', '[]')});

my $position = sql(q{select broadcast.position('chat')});
like($position, qr/^[0-9a-f]+-\d+\.(?:\.[0-9a-f]+(?:_[0-9a-f]+)?)+-[0-9a-f]+$/,
     'a position says what its statement has seen');
$open->run(q{select broadcast.send_all('chat', 'open', '[2]'); commit});
$open->close;
sql(q{select broadcast.send_all('chat', 'later', '[]')});
is(join(' ', map { $sse->event->{event} } 1 .. 4), 'seen open open later',
   'whoever is there gets what came in the order of commits');

my $resumed = resume($position);
is(join(' ', map { $resumed->event->{event} } 1 .. 3), 'open open later',
   '... whoever comes with it what the statement has not seen');

$resumed = resume(sql(q{select broadcast.position('chat')}));
sql(q{select broadcast.send_all('chat', 'live', '[]')});
is($resumed->event->{event}, 'live',
   'one of a quiet time is served, and nothing comes twice');
$sse->event;

$position = sql(q{begin; select broadcast.send_all('chat', 'own', '[1]');
                  select broadcast.position('chat');
                  select broadcast.send_all('chat', 'own', '[2]'); commit});
$position =~ s/^\s+|\s+$//g;
is(resume($position)->event->{data}, '[2]',
   'one of within a transaction counts what that has sent before');
$sse->event for 1, 2;

# a hub in which nothing was sent: nobody waits for a first message in vain

sub unused {
    my ($kind, $hub) = @_;
    my $place = sql("select broadcast.position('$hub')");

    return Broadcast::SSE->connect($port, "/events/$hub?last_event_id=$place",
                                   timeout => 30)
        if $kind eq 'sse';
    return Broadcast::Hub->connect($port, "/client?hub=$hub&position=$place",
                                   timeout => 30);
}

sub resumes { return http($port, 'GET', '/status?format=json')->{json}{resumes} }

my $were = resumes();
my $quiet = unused('hub', 'quiet');
my $stream = unused('sse', 'quiet');

do { $record = $quiet->next } while $record && $record->{type} == 6;
is("$record->{target} @{ $record->{arguments} }", 'broadcast.position 0-0',
   'the position of a hub in which nothing was sent is served');
ok((wait_for { resumes()->{reads} >= $were->{reads} + 2 } 30),
   '... to an event stream, too');
is(resumes()->{gaps}, $were->{gaps}, '... nobody is told of a gap');

sql(q{select broadcast.send_all('quiet', 'first', '[]')});
is($stream->event->{event}, 'first', '... and its first message comes');
do { $record = $quiet->next } while $record && $record->{type} == 6;
is($record->{target}, 'first', '... to all');

$position = sql(q{begin; select broadcast.send_all('begun', 'own', '[1]');
                  select broadcast.position('begun');
                  select broadcast.send_all('begun', 'own', '[2]'); commit});
$position =~ s/^\s+|\s+$//g;
like($position, qr/^0-0\./, 'one of before the first number of a hub');
is(Broadcast::SSE->connect($port, "/events/begun?last_event_id=$position",
                           timeout => 30)->event->{data}, '[2]',
   '... counts what was sent before, all the same');


# --- nothing is sent ---------------------------------------------------------

sub slot {
    return $pg->psql(qq{select $_[0] from pg_replication_slots
                         where slot_name = 'broadcast'});
}

my $mark = $pg->psql('select pg_current_wal_lsn()');

$pg->psql('create table t as select generate_series(1, 20000)');
$pg->psql('select pg_switch_wal()');
$pg->psql('create table u as select generate_series(1, 20000)');

ok((wait_for { slot("confirmed_flush_lsn > '$mark'") eq 't' } 10),
   'the WAL of other databases is confirmed while nothing is sent');
ok((wait_for {
        $pg->psql('checkpoint; create temp table v as
                   select generate_series(1, 1000)');
        sleep 0.5;
        slot("restart_lsn > '$mark'") eq 't';
    } 20), '... and need not be kept');

# a machine that is too slow for 200 MB in the time of an answer says so

my @errors = grep { /\[error\]/ && !/no answer in time|is active for PID/ }
             split /^/, $nginx->error_log;

is_deeply(\@errors, [], 'no other error was logged');

$nginx->stop_ok(signal => 'TERM');

done_testing();
