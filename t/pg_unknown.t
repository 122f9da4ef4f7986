#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# What publishers are told when their statement does not come to its end: 503,
# to come again, only where surely nothing was kept, 500 (Unknown) where the
# session ended inside of COMMIT, which both happens and does not.  And that
# those who publish at the same time share their commits.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(time sleep);

use Broadcast::HTTP qw(http);
use Broadcast::Nginx qw(wait_for);
use Broadcast::Pooler;
use Broadcast::Postgres;

my $pg = Broadcast::Postgres->new(tcp => 1);
my @at = (db => 'app', user => 'app');

$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);

my ($nginx, $port);

sub node {
    my ($conninfo) = @_;

    $nginx = Broadcast::Nginx->new(
        http    => "broadcast_zone hubs 16m; broadcast_database \"$conninfo\""
                 . ' timeout=5s pool=1;',
        server  => <<'EOC')->start;
        location /publish/ { broadcast_publish; }
        location /api/     { broadcast_api open; }
        location = /status { broadcast_status; }
EOC
    $port = $nginx->port;

    ok((wait_for { publish('hello')->{status} == 200 } 15), 'a node publishes');
}

sub request {
    my ($words, $rest) = @_;

    return $rest
        ? ('POST', '/api/v1/hubs/chat',
           body => "{\"target\":\"t\",\"arguments\":[\"$words\"]}",
           headers => [ 'Content-Type' => 'application/json' ])
        : ('POST', '/publish/chat', body => $words,
           headers => [ 'Content-Type' => 'text/plain' ]);
}

sub publish { http($port, request(@_)) }

sub begun {
    my $c = Broadcast::HTTP->connect($port);
    $c->request(request(@_));
    return $c;
}

sub ended {
    my $head = $_[0]->head;
    $_[0]->body($head, 'POST');
    return $head;
}

sub kept {
    return $pg->psql(qq{select count(*) from
        (select arguments from broadcast.message
          union all select arguments from broadcast.staging) x
        where arguments::text = '["$_[0]"]'}, @at);
}

# the process that publishes, if this holds for it

sub backend {
    my ($what) = @_;

    return $pg->psql(qq{select pid from pg_stat_activity
        where query ~ 'broadcast.stage' and pid <> pg_backend_pid()
          and $what});
}

sub backend_soon {
    my ($what) = @_;
    my $pid;

    wait_for { $pid = backend($what) };

    return $pid;
}

sub terminate { $pg->psql("select pg_terminate_backend($_[0])") }

sub told {
    my ($r, $status, $words, $kept, $name) = @_;

    is($r->{status}, $status, $name);

    if ($status == 503) {
        ok($r->{headers}{'retry-after'}, '... it may come again');

    } else {
        is($r->{json}{code}, 'Unknown', '... nobody knows');
        ok(!$r->{headers}{'retry-after'}, '... it is not told to come again');
    }

    is(kept($words), $kept, $kept ? '... it was kept' : '... it was not kept');
}


# --- commits are shared -----------------------------------------------------

node($pg->conninfo('app', 'app'));

{
    my $before = $pg->psql('select coalesce(max(pos), 0) from broadcast.message',
                           @at);
    my @open = map { begun("shared $_", $_ % 2) } 1 .. 200;
    my %status;

    $status{ ended($_)->{status} }++ for @open;
    is_deeply(\%status, { 200 => 100, 202 => 100 },
              '200 publishes and sends at once');

    ok((wait_for { $pg->psql("select count(*) from broadcast.message
                               where pos > $before", @at) == 200 } 10),
       '... are kept');

    my $commits = $pg->psql("select count(distinct xid) from broadcast.message
                              where pos > $before", @at);
    cmp_ok($commits, '<=', 100, '... in groups, of two at least') or diag($commits);

    $before += 200;

    for (1 .. 5) {
        publish("single $_");
    }

    is($pg->psql("select count(distinct xid) from broadcast.message
                   where pos > $before", @at), 5,
       'one after the other has one each: so they were counted');
}


# --- before it is executed --------------------------------------------------

# what it was asked last may have been something else

my $pid;

ok((wait_for {
    publish('again');
    $pid = backend("state = 'idle'");
} 15), 'the process that publishes is idle');

kill 'STOP', $pid;
my $c = begun('unread');

# who asks behind it is answered when it was sent

http($port, 'GET', '/status') for 1, 2;
sleep 0.3;
terminate($pid);
kill 'CONT', $pid;

told(ended($c), 503, 'unread', 0, 'a process that ends before it reads it');


# --- while it is executed ---------------------------------------------------

my $lock = $pg->session(@at);

for my $rest (0, 1) {
    ok((wait_for { publish('again')->{status} == 200 } 15), 'it goes on');
    $lock->run('begin; lock table broadcast.staging in exclusive mode');
    $c = begun("locked $rest", $rest);
    terminate(backend_soon(q{wait_event_type = 'Lock'}));
    told(ended($c), 503, "locked $rest", 0,
         ($rest ? 'a send' : 'a publish') . ' that is ended in the middle');
    $lock->run('rollback');
}


# --- inside of COMMIT, before it is written ---------------------------------

ok((wait_for { publish('again')->{status} == 200 } 15), 'it goes on');

$pg->psql(q{
    create function slowly() returns trigger language plpgsql as $$
        begin perform pg_sleep(20); return null; end $$;
    create constraint trigger slowly after insert on broadcast.staging
        deferrable initially deferred for each row
        when (new.arguments::text like '%slowly%')
        execute function slowly()}, @at);

$c = begun('slowly');
terminate(backend_soon(q{wait_event = 'PgSleep'}));
told(ended($c), 500, 'slowly', 0,
     'one that is ended inside of COMMIT, and is not committed');

$pg->psql('drop trigger slowly on broadcast.staging', @at);


# --- inside of COMMIT, when it is written -----------------------------------

# It waits for a standby that is not there.

sub standby {
    my ($name) = @_;

    $pg->psql("alter system set synchronous_standby_names = '$name'");
    $pg->psql('select pg_reload_conf()');

    wait_for { $pg->psql(q{select count(*) from pg_stat_activity
        where wait_event = 'SyncRep'}) > 0 == ($name ne '') } 15;
}

sub written {
    my ($words, $rest, $name) = @_;

    ok((wait_for { publish('again')->{status} == 200 } 15), 'it goes on');
    standby('nobody');
    $c = begun($words, $rest);
    terminate(backend_soon(q{wait_event = 'SyncRep'}));
    my $r = ended($c);
    standby('');
    told($r, 500, $words, 1, $name);
}

written('written', 0, 'one that is ended inside of COMMIT, and is committed');
written('sent', 1, 'a send, the same');

ok((wait_for { publish('again')->{status} == 200 } 15), 'it goes on');


# --- a pooler in between ----------------------------------------------------

SKIP: {
    skip 'pgbouncer is not installed', 7 if !Broadcast::Pooler->program;

    $nginx->stop_ok(signal => 'TERM');

    my $pooler = Broadcast::Pooler->new($pg);
    my $at = $pooler->port;

    node("host=127.0.0.1 port=$at dbname=app user=app");
    written('pooled', 0, 'through a pooler, which has words of its own for it');

    $pooler->stop;
}

$nginx->stop_ok(signal => 'TERM');

done_testing();
