#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# broadcast.doctor() and what it knows of a running nginx: all is well, nobody
# is there, the one who numbers stands still, sessions and transactions of
# others.  What SQL alone can provoke is in t/sql/doctor.sql.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::Nginx qw(wait_for);
use Broadcast::Pooler;
use Broadcast::Postgres;

my $pg = Broadcast::Postgres->new;
$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", db => 'app', user => 'app');

my @at = (db => 'app', user => 'app');


# the checks that are not ok, with their status

sub doctor {
    my ($patience) = @_;

    return join ', ', map { "$_->[0] $_->[1]" } $pg->rows(
        q{select "check", status from broadcast.doctor(}
        . (defined $patience ? "'$patience'" : '')
        . q{) where status <> 'ok' order by 1}, @at);
}

sub detail {
    return $pg->psql(qq{select detail from broadcast.doctor()
                         where "check" = '$_[0]'}, @at);
}

sub says {
    my ($words) = @_;

    return wait_for { doctor() eq $words } 20;
}

is(doctor(), 'nodes warn, relay warn', 'where no nginx is, it says so');

sub node {
    my ($database) = @_;

    return Broadcast::Nginx->new(
        workers => 2,
        http    => "broadcast_zone hubs 16m; broadcast_database \"$database\""
                 . ' timeout=3s pool=7 streams=3;',
        server  => 'location /events/ { broadcast_events anonymous; }')->start;
}

my $nginx = node($pg->conninfo('app', 'app'));

ok(says(''), 'with an nginx all is well') or diag(doctor());
like(detail('connections'), qr/nginx may make 21,/,
     '... it told how many connections it may make');
like(detail('role_rights'), qr/^app /, '... and its role');

# a session that is the server's own, not a pooler's

is($pg->psql('select session = backend and listens and moved = 0
                from broadcast.node', @at), 't', '... and its server process');
like(detail('relay'), qr/^\S+ numbers, by process \d+$/, '... which numbers');

$pg->psql('select pg_terminate_backend(backend) from broadcast.node', db => 'app');
ok((wait_for { $pg->psql('select session = backend and moved = 0 and backend in
        (select pid from pg_stat_activity) from broadcast.node', @at) eq 't' }
    20), 'a session that was ended and made anew is no pooler\'s');
ok(says(''), '... all is well again') or diag(doctor());


# --- what holds rows --------------------------------------------------------

my $session = $pg->session(@at);
$session->run('begin; select txid_current()');

is(doctor(), '', 'a transaction that is open');
is(doctor('0 s'), 'snapshots warn', '... is told when patience is over');
$session->run('rollback');

$session->run(q{set broadcast.doorbell = off; begin;
    select broadcast.send_all('chat', 't', '[1]');
    prepare transaction 'left behind'});
is(doctor('0 s'), 'snapshots warn', 'so is a prepared one');
like($pg->psql(q{select detail from broadcast.doctor('0 s')
                  where "check" = 'snapshots'}, @at), qr/'left behind'/,
     '... with its name');
$session->run(q{rollback prepared 'left behind'});
is(doctor('0 s'), '', '... as long as it is there');


# --- nobody numbers ---------------------------------------------------------

kill 'STOP', $nginx->workers;
$pg->psql(q{select broadcast.send_all('chat', 't', '[1]')}, @at);

ok(says('lag warn'), 'what nginx does not number in time is told');

kill 'CONT', $nginx->workers;
ok(says(''), '... until it does') or diag(doctor());

$nginx->stop_ok;

my $thief = $pg->session(@at);
$thief->run(q{select pg_advisory_lock(hashtext('broadcast.relay'))});

is(doctor(), 'relay error', 'somebody else who holds the lock is told');
like($pg->psql(q{select hint from broadcast.doctor() where "check" = 'relay'},
               @at), qr/pg_terminate_backend/, '... and what to do');
$thief->close;


# --- a pooler ---------------------------------------------------------------

SKIP: {
    skip 'pgbouncer is not installed', 4 if !Broadcast::Pooler->program;

    for my $case ([ session => 'warn', 'a pooler in session mode is seen' ],
                  [ transaction => 'error', 'one that gives a session another '
                                          . 'process is proven' ])
    {
        my ($mode, $status, $words) = @$case;

        # in turn each of five server processes is given what is asked next

        my $pooler = Broadcast::Pooler->new($pg, mode => $mode,
            conf => { min_pool_size => 5, server_round_robin => 1 });
        my $port = $pooler->port;
        my $through = node("host=127.0.0.1 port=$port dbname=app user=app");

        # in transaction mode other checks may complain, too

        ok((wait_for { doctor() =~ /pooler $status/ } 30), $words)
            or diag(doctor(), $pooler->log);

        $through->stop_ok;
        $pooler->stop;
    }
}

done_testing();
