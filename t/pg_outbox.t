#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# Outbox and sequencer, from every source to a subscriber: one order and one
# number for all, whoever publishes, whichever node and worker a client is at,
# whatever is killed or restarted.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use Test::More;
use Time::HiRes qw(time sleep);

use Broadcast::HTTP qw(http);
use Broadcast::Nginx qw(wait_for);
use Broadcast::Postgres;
use Broadcast::SSE;

my $pg = Broadcast::Postgres->new;
$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", db => 'app', user => 'app');

my @at = (db => 'app', user => 'app');
my $server = <<'EOC';
        location /events/  { broadcast_events anonymous; }
        location /publish/ { broadcast_publish; }
        location /api/     { broadcast_api open; }
        location = /status { broadcast_status; }
EOC

sub node {
    my ($workers, %o) = @_;

    return Broadcast::Nginx->new(
        workers => $workers,
        http    => "broadcast_zone hubs 32m; broadcast_database \""
                 . $pg->conninfo('app', 'app') . "\" timeout=10s;"
                 . ($o{http} // ''),
        server  => $server)->start;
}

my $nginx = node(2);
my $port = $nginx->port;


sub database {
    my ($at) = @_;

    return http($at // $port, 'GET', '/status?format=json')
           ->{json}{database};
}

sub publish {
    my ($words, %o) = @_;

    return http($o{port} // $port, 'POST', "/publish/" . ($o{hub} // 'chat'),
                body => $words,
                headers => [ 'Content-Type' => $o{type} // 'text/plain' ]);
}

sub seq { ($_[0] // '') =~ /-(\d+)$/ ? $1 : undef }


ok((wait_for { database()->{relay} eq 'leader' } 10), 'the relay leads');
is(database()->{state}, 'up', '... and the database is up');


# --- one order for all sources ----------------------------------------------

my $sse = Broadcast::SSE->connect($port, '/events/chat');
my $r = publish('one');

is($r->{status}, 200, 'a publish is answered when it is numbered');
is($r->{json}{count}, 1, '... with its count');
is(seq($r->{json}{id}), 1, '... and the first number of the hub');

my $event = $sse->event;

is($event->{id}, $r->{json}{id}, 'the subscriber has it under that number');
is($event->{data}, '["one"]', '... and with what was published');

$pg->psql(q{select broadcast.send_all('Chat', 'sql', '["two", {"b":1,"a":2}]')},
          @at);
$event = $sse->event;

is(seq($event->{id}), 2, 'SQL gives the next number');
is($event->{event}, 'sql', '... and its target');
is($event->{data}, '["two", {"a": 2, "b": 1}]', '... arguments as jsonb');

$r = http($port, 'POST', '/api/v1/hubs/chat',
          headers => [ 'Content-Type' => 'application/json' ],
          body => '{"target":"rest","arguments":["three"]}');

is($r->{status}, 202, 'REST is answered after the commit');
is(seq($sse->event->{id}), 3, '... and takes the number behind');

is($pg->psql('select count(*) from broadcast.message', @at), 3,
   'all of them are in the history');
is($pg->psql('select count(*) from broadcast.staging', @at), 0,
   'nothing is left in the staging table');


# --- bytes ------------------------------------------------------------------

my $odd = '{"b":1,"a":12345678901234567890.10,"q":"\\"\\\\ NULL {,} \\u0000'
        . " \xc3\xbc\",\"b\":2}";

$r = publish($odd, type => 'application/json');
is($r->{status}, 200, 'JSON with everything that a quoting could spoil');
is($sse->event->{data}, "[$odd]", '... comes out byte for byte');

my $large = 'x"\\' x 330_000;
$r = publish(JSON::PP->new->encode([$large]), type => 'application/json');
is($r->{status}, 413, 'a message above broadcast_message_size is refused');

$large = 'y' x (1024 * 1024 - 16);
$r = publish($large);
is($r->{status}, 200, 'a message of 1 MB is taken');
is(length $sse->event->{data}, length($large) + 4, '... and delivered');

$r = publish('{"n":1}' . "\n" . '{"n":' . "\n", type => 'application/x-ndjson');
is($r->{status}, 400, 'one bad line of many');

$r = publish(join("\n", map { "{\"n\":$_}" } 1 .. 1200),
             type => 'application/x-ndjson');
is($r->{json}{count}, 1200, '1200 lines are one transaction');

my @seqs = map { seq($sse->event->{id}) } 1 .. 1200;
is($seqs[-1] - $seqs[0], 1199, '... numbered without a hole');
is(seq($r->{json}{id}), $seqs[-1], '... the answer is that of the last one');


# --- commits in the reverse of the ids --------------------------------------

my $slow = $pg->session(@at);

$slow->run(q{begin; select broadcast.send_all('chat', 'slow', '[1]')});
$pg->psql(q{select broadcast.send_all('chat', 'fast', '[2]')}, @at);

my $fast = $sse->event;
is($fast->{event}, 'fast', 'an open transaction holds up nobody');

$slow->run('commit');

$event = $sse->event;
is($event->{event}, 'slow', 'what commits later comes later, though its id '
                            . 'is smaller');
is(seq($event->{id}), seq($fast->{id}) + 1, '... without a hole');

$slow->run(q{begin; create function f(jsonb) returns jsonb language sql
             as 'select $1'; select broadcast.bind('http', 'f')});
$pg->psql(q{select broadcast.send_all('chat', 'free', '[2]')}, @at);

is((eval { $sse->event(20) } // {})->{event}, 'free',
   'nor does one with a bind in it');

$slow->run('rollback');

$slow->run(q{begin; select broadcast.send_all('chat', 'never', '[1]')});
$slow->run('rollback');


# --- the doorbell is not needed ---------------------------------------------

$pg->psql(q{set broadcast.doorbell = off;
            select broadcast.send_all('chat', 'quiet', '[1]')}, @at);
is($sse->event->{event}, 'quiet', 'with the doorbell off the poll finds it');

$pg->psql(q{select broadcast.send_all('chat', 'bell', '[1]')}, @at);
is($sse->event->{event}, 'bell', 'with the doorbell it comes at once');


# --- many at once -----------------------------------------------------------

{
    my $before = seq(publish('start')->{json}{id});
    my @open = map { my $c = Broadcast::HTTP->connect($port);
                     $c->request('POST', '/publish/chat', body => $_,
                         headers => [ 'Content-Type' => 'text/plain' ]);
                     $c } 1 .. 60;
    my @ids;

    for my $c (@open) {
        my $head = $c->head;
        $c->body($head, 'POST');
        push @ids, seq($head->{json}{id});
    }

    @ids = sort { $a <=> $b } grep { defined } @ids;
    is_deeply(\@ids, [ map { $before + $_ } 1 .. 60 ],
              '60 publishers at once, each has a number of its own');

    $sse->event for 0 .. 60;
}


# --- a second node ----------------------------------------------------------

my $other = node(2);

ok((wait_for { database($other->port)->{relay} eq 'follower' } 10),
   'the relay of a second node follows');

my $far = Broadcast::SSE->connect($other->port, '/events/chat');

for my $from (1, 2, 1) {
    $r = publish("from $from", port => $from == 1 ? $port : $other->port);
    is($r->{status}, 200, "published at node $from");
    is($sse->event->{id}, $r->{json}{id}, '... node 1 has it');
    is($far->event->{id}, $r->{json}{id}, '... node 2 under the same number');
}

$pg->psql(q{select broadcast.send_all('chat', 'both', '[1]')}, @at);
is($sse->event->{id}, $far->event->{id}, 'so it is with what SQL sends');


# --- the relay's worker dies ------------------------------------------------

sub relayer {
    my ($pid) = ($_[0]->error_log
                 =~ /.*\] (\d+)#\S+ broadcast: this worker relays/s);
    return $pid;
}

my $old = relayer($nginx);
$nginx->kill_worker($old);
my $began = time;

$pg->psql(q{select broadcast.send_all('chat', 'orphan', '[1]')}, @at);

# one of the two streams may have sat in that worker

is($far->event->{event}, 'orphan', 'a killed relay: its work goes on');
cmp_ok(time - $began, '<', 30, '... soon');

ok((wait_for { (relayer($nginx) // $old) != $old } 5),
   'another worker of the node relays');
ok((wait_for { database()->{relay} ne 'off' } 5), '... and has a session');

$r = publish('after');
is($far->event->{id}, $r->{json}{id}, 'publishing goes on');


# --- a node dies ------------------------------------------------------------

$nginx->crash;

ok((wait_for { database($other->port)->{relay} eq 'leader' } 15),
   'the node that is left leads');

$r = publish('alone', port => $other->port);
is($far->event->{id}, $r->{json}{id}, '... and publishes');


# --- PostgreSQL restarts ----------------------------------------------------

my $last = $r->{json}{id};

$pg->restart('fast');

$pg->psql(q{select broadcast.send_all('chat', 'again', '[1]')}, @at);

$event = $far->event;
is($event->{event}, 'again', 'after a restart of PostgreSQL it reads on');
is(seq($event->{id}), seq($last) + 1, '... with the next number');
ok((wait_for { database($other->port)->{state} eq 'up' } 10),
   '... and says that it is up');

$pg->crash;
$pg->start;
$pg->psql(q{select broadcast.send_all('chat', 'crashed', '[1]')}, @at);

is($far->event->{event}, 'crashed', '... after a crash, too');

my $late = Broadcast::SSE->connect($other->port, '/events/chat',
    headers => [ 'Last-Event-ID' => $last ]);
is($late->event->{event}, 'again', 'a resume crosses restarts');
is($late->event->{event}, 'crashed', '... in order');

# --- a worker that is told to quit ------------------------------------------

$_->close for $far, $late;

my $lock = $pg->session(@at);
$lock->run('begin; lock table broadcast.staging');

my $slowly = Broadcast::HTTP->connect($other->port);
$slowly->request('POST', '/publish/chat', body => 'the last',
                 headers => [ 'Content-Type' => 'text/plain' ]);

ok((wait_for { $pg->psql(q{select count(*) from pg_stat_activity
        where wait_event_type = 'Lock' and query ~ 'stage'}) } 10),
   'a publish waits for a lock in the database');

kill 'QUIT', $other->pid;
sleep 0.5;
$lock->run('rollback');

my $head = $slowly->head;
$slowly->body($head, 'POST');
like($head->{status}, qr/^20[02]$/, 'a worker that quits answers it before');
is($pg->psql(q{select count(*) from (select arguments from broadcast.message
                union all select arguments from broadcast.staging) x
                where arguments::text = '["the last"]'}, @at), 1,
   '... and it was kept');

$other->stop_ok;

done_testing();
