#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# Timers of two nodes with two workers each on one database: no tick runs
# twice, whoever leads, dies or comes back; what was missed is one tick; what
# is slow or fails holds up no other.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(time);

use Broadcast::HTTP qw(http);
use Broadcast::Nginx qw(wait_for);
use Broadcast::Postgres;
use Broadcast::SSE;

my $pg = Broadcast::Postgres->new(conf => { track_functions => 'all' });
$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", db => 'app', user => 'app');

my @at = (db => 'app', user => 'app');

# a sequence is not rolled back: it counts what was begun

$pg->psql(<<'EOS', @at);
create sequence begun;
create table ran (name text, due timestamptz, started timestamptz
    default clock_timestamp());

create function note(event jsonb) returns jsonb language plpgsql as $$
begin
    insert into ran (name, due)
    values (event->>'name', (event->>'due')::timestamptz);
    return jsonb_build_object('target', event->>'name', 'arguments',
                              jsonb_build_array(event->>'due'));
end $$;

create function slow(event jsonb) returns void language plpgsql as $$
begin
    perform nextval('begun');
    perform pg_sleep(0.7);
    insert into ran (name, due)
    values (event->>'name', (event->>'due')::timestamptz);
end $$;

create function stuck(event jsonb) returns void language plpgsql as $$
begin
    perform nextval('begun');
    insert into ran (name, due) values ('never', now());
    perform pg_sleep(600);
end $$;

create function boom(event jsonb) returns jsonb language plpgsql as $$
begin
    insert into ran (name, due) values ('never', now());
    raise exception 'boom';
end $$;
EOS

sub node {
    return Broadcast::Nginx->new(
        workers => 2,
        http    => "broadcast_zone hubs 16m; broadcast_database \""
                 . $pg->conninfo('app', 'app') . '" timeout=1500ms;',
        server  => <<'EOC')->start;
        location /events/  { broadcast_events anonymous; }
        location = /status { broadcast_status; }
EOC
}

my @nodes = (node(), node());

sub relay {
    return http($_[0]->port, 'GET', '/status?format=json')
           ->{json}{database}{relay};
}

sub value { $pg->psql($_[0], @at) }
sub count { value("select count(*) from ran where name = '$_[0]'") }
sub timer { value("select $_[1] from broadcast.timer where name = '$_[0]'") }

# waits for n more rows of a timer

sub more {
    my ($name, $n, $seconds) = @_;
    my $before = count($name);

    return wait_for { count($name) >= $before + $n } $seconds // 20;
}

sub leader {
    return wait_for {
        my ($one) = grep { relay($_) eq 'leader' } @nodes;
        $one } 20;
}

sub worker {
    my ($pid) = ($_[0]->error_log
                 =~ /.*\] (\d+)#\S+ broadcast: this node's relay leads/s);
    return $pid;
}

sub metric {
    my ($node, $pattern) = @_;
    my ($n) = http($node->port, 'GET', '/status?format=prometheus')->{body}
              =~ /^nginx_broadcast_$pattern (\d+)/m;
    return $n // 0;
}

my $first = leader();
ok($first, 'one of two nodes leads');

# how often nginx called a function of the schema

sub calls {
    return value("select coalesce(sum(calls), 0) from pg_stat_user_functions
                   where schemaname = 'broadcast' and funcname = '$_[0]'");
}

ok((wait_for { calls('bindings_version') > 4 } 20), 'it looks after bindings');
is(calls('timers'), 0, 'where no timer is bound none is asked for');


# --- ticks ------------------------------------------------------------------

my $sse = Broadcast::SSE->connect($nodes[1]->port, '/events/chat');

value(q{select broadcast.bind('timer', 'note', 'chat', 'app.tick', '200 ms')});

my $event = $sse->event;
is($event->{event}, 'app.tick', 'a tick\'s action reaches a client');
like($event->{data}, qr/^\["\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z"\]$/,
     '... with the time that it was due');

ok(more('app.tick', 10), 'it ticks on');
ok((wait_for { calls('timers') > 4 } 20), '... asked for now');
is(value(q{select count(*) from ran r, broadcast.timer_state t
            where abs(extract(epoch from r.due - t.anchor) * 5
                  - round(extract(epoch from r.due - t.anchor) * 5)) > 1e-4}),
   0, '... on the grid of its interval');
is(value(q{select count(*) from ran where started < due}), 0,
   '... never before it is due');
ok((wait_for { metric($first, 'function_calls_total\{kind="timer",outcome="ok"\}')
               >= 10 } 10), '... counted as calls of the kind');


# --- others -----------------------------------------------------------------

value(q{select broadcast.bind('timer', 'slow', null, 'slow', '200 ms')});
ok(more('slow', 2), 'a function that takes longer than its interval runs');
is(value(q{select count(*) from (select started - lag(started)
             over (order by started) as gap from ran where name = 'slow') x
            where gap < '0.7 s'}), 0, '... but one run at a time');

my ($from, $to) = (value(q{select max(started) from ran where name = 'slow'}));
ok(more('slow', 1), '... again and again');
$to = value(q{select max(started) from ran where name = 'slow'});
ok(value(qq{select count(*) from ran where name = 'app.tick'
             and started between '$from' and '$to'}) >= 1,
   '... and another timer ticks meanwhile');

value(q{select broadcast.bind('timer', 'boom', null, 'boom', '200 ms')});
ok((wait_for { (timer('boom', 'failures') || 0) >= 2 } 20),
   'a function that fails is called for the next tick again');
is(timer('boom', 'last_error'), 'P0001: boom', '... its error is in the view');
ok(value(q{select bool_and(sqlstate = 'P0001' and function = 'public.boom')
             from broadcast.function_error where kind = 'timer'}) eq 't',
   '... and in broadcast.function_error');
like($first->error_log, qr/"timer" function public\.boom failed: boom \(P0001\)/,
     '... and a line of the log tells it');
ok((wait_for { metric($first,
        'function_calls_total\{kind="timer",outcome="error"\}') >= 2 } 10),
   '... it is counted as an error');

value(q{select broadcast.unbind('timer', 'slow');
        select broadcast.unbind('timer', 'boom');
        select broadcast.bind('timer', 'stuck', null, 'stuck', '200 ms')});

ok((wait_for { (timer('stuck', 'failures') || 0) >= 1 } 20),
   'a function that does not end is ended');
like(timer('stuck', 'last_error'), qr/^57014: /, '... by the time-out');
ok(more('app.tick', 3), '... and others tick meanwhile');
is(count('never'), 0, '... of what failed nothing is kept');


# --- the leader's worker dies in the middle of a call ------------------------

value('truncate ran');
ok((wait_for { value(q{select count(*) from pg_stat_activity
        where wait_event = 'PgSleep'}) >= 1 } 20), 'a tick is under way');

my $old = worker($first);
$first->kill_worker($old);

ok(more('app.tick', 3), 'when the leading worker is killed it ticks on');
ok(more('app.tick', 3), '... again and again');

value(q{select broadcast.unbind('timer', 'stuck')});
is(timer('stuck', 'count(*)'), 0, 'unbind takes a timer out of the view');
is(value(q{select count(*) from broadcast.timer_state}), 1,
   '... and leaves no state');

my $second = leader();
$second->crash;
@nodes = grep { $_ != $second } @nodes;

ok(more('app.tick', 3), 'when the leading node dies the other goes on');
ok(leader(), '... and leads');

is(value(q{select count(*) - count(distinct due) from ran
            where name = 'app.tick'}), 0, 'no tick was run twice');


# --- an outage --------------------------------------------------------------

$sse->close;
value(q{select broadcast.unbind('timer', 'note');
        select broadcast.bind('timer', 'note', 'chat', 'outage', '1 s')});
ok(more('outage', 2), 'a timer of a second');

$pg->crash;
my $began = time;
wait_for { time - $began > 3.5 } 10;
$pg->start;

my $back = $pg->psql('select pg_postmaster_start_time()');
ok(more('outage', 3, 30), 'the database was away for some intervals');

is(value(qq{select count(*) from ran where name = 'outage'
             and due <= '$back' and started > '$back'}), 1,
   '... of the ticks in these there was one');
is(value(q{select count(*) - count(distinct due) from ran
            where name = 'outage'}), 0, '... and no other twice');


# --- bound anew -------------------------------------------------------------

# what was due before may still be under way

value(q{select broadcast.bind('timer', 'note', 'chat', 'outage', '1 hour')});
my $since = value('select clock_timestamp()');
value(q{select broadcast.bind('timer', 'note', 'chat', 'mark', '100 ms')});
ok(more('mark', 12), 'a second of another timer');
is(value(qq{select count(*) from ran where name = 'outage'
             and due > '$since'}), 0,
   'with a longer interval it does not tick any more');

value(q{select broadcast.bind('timer', 'note', 'chat', 'outage', '100 ms')});
ok(more('outage', 3), 'with a short one it does');

value(q{select broadcast.unbind('timer', 'note', null, 'outage')});
$since = value('select clock_timestamp()');
ok(more('mark', 12), 'another second');
is(value(qq{select count(*) from ran where name = 'outage'
             and due > '$since'}), 0, 'what was unbound is not called');


# --- an exit ----------------------------------------------------------------

value(q{select broadcast.bind('timer', 'slow', null, 'last', '1 s')});
ok((wait_for { value(q{select count(*) from pg_stat_activity
        where wait_event = 'PgSleep'}) >= 1 } 20),
   'a tick is under way when nginx is told to end');

$nodes[0]->stop_ok;

ok((wait_for { !value(q{select count(*) from pg_stat_activity
        where wait_event = 'PgSleep'}) } 20), 'it was not cut off');
is(value(q{select count(*) from ran where name = 'last'}),
   timer('last', 'runs'), '... but is kept, and known as run');

done_testing();
