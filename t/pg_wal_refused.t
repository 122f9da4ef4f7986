#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# `broadcast_source wal` where something is missing for it: what and how to get
# it is said in the log, the status and the doctor, and the outbox goes on.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::HTTP qw(http);
use Broadcast::Nginx qw(wait_for);
use Broadcast::Postgres;
use Broadcast::SSE;

# the database is not the schema owner's, who may not make a publication there

my $pg = Broadcast::Postgres->new(conf => { max_replication_slots => 2 });
$pg->psql('create role app login');
$pg->createdb('app');
$pg->createdb('another');
$pg->psql('create schema broadcast authorization app', db => 'app');

my @at = (db => 'app', user => 'app');

$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);

my $nginx = Broadcast::Nginx->new(
    http    => 'broadcast_zone hubs 16m; broadcast_database "'
             . $pg->conninfo('app', 'app') . '" timeout=3s;'
             . 'broadcast_source wal slot=ours publication=of_ours;',
    server  => <<'EOC')->start;
        location /events/  { broadcast_events anonymous; }
        location = /status { broadcast_status; }
EOC

my $port = $nginx->port;
my $sse = Broadcast::SSE->connect($port, '/events/chat');
my $n = 0;

sub database {
    return http($port, 'GET', '/status?format=json')->{json}{database};
}

sub doctor {
    return $pg->psql(q{select status || ' ' || detail from broadcast.doctor()
                        where "check" = 'source'}, @at);
}

# each reason: as the status says it, and a message that comes all the same

sub refused {
    my ($like, $name) = @_;

    ok((wait_for { (database()->{source_error} // '') =~ $like } 20), $name)
        or diag(database()->{source_error} // 'no error', $nginx->tail(5));

    $n++;
    $pg->psql("select broadcast.send_all('chat', 'm', '[$n]')", @at);
    is($sse->event->{data}, "[$n]", '... the outbox goes on');
    is(database()->{source}, 'outbox', '... and is the source');
}

refused(qr/^wal_level is replica; ALTER SYSTEM SET wal_level = logical, and restart the server$/,
        'a server without wal_level = logical');
like(doctor(), qr/^error wal_level is replica/, '... the doctor says so, too');
is($pg->psql(q{select status from broadcast.doctor()
                where "check" = 'wal_level'}, @at), 'error',
   '... also by its own check');

$pg->append('postgresql.conf', 'wal_level = logical');
$pg->restart;

refused(qr/^the role may not read the WAL; ALTER ROLE app REPLICATION$/,
        'a role without the right');

$pg->psql(q{select pg_create_logical_replication_slot('ours', 'test_decoding')},
          db => 'app');
$pg->psql('alter role app replication');

refused(qr/^the replication slot ours is not ours: of the plugin test_decoding;/,
        'a slot of that name with another plugin');

$pg->psql(q{select pg_drop_replication_slot('ours');
            select pg_create_logical_replication_slot('ours', 'pgoutput')},
          db => 'another');

refused(qr/ not ours: of the database another; name another one by slot=, or SELECT pg_drop_replication_slot\('ours'\)$/,
        '... of another database');

$pg->psql(q{select pg_drop_replication_slot('ours');
            select pg_create_physical_replication_slot('ours')});

refused(qr/ not ours: a physical one;/, '... of another kind');

$pg->psql(q{select pg_drop_replication_slot('ours');
            select pg_create_logical_replication_slot('ours', 'pgoutput')},
          db => 'app');

refused(qr/ not ours: somebody else made it;/, '... that somebody else made');
is($pg->psql('select count(*) from pg_replication_slots'), 1,
   '... none of them was touched');

$pg->psql(q{select pg_drop_replication_slot('ours')});

refused(qr/^there is no publication of_ours, .*; CREATE PUBLICATION of_ours$/,
        'a publication that the owner of the schema may not make');

$pg->psql(q{select pg_create_physical_replication_slot('a' || i, true)
              from generate_series(1, 2) i});
$pg->psql('create publication of_ours', db => 'app');

refused(qr/^all replication slots are in use/, 'no slot is left');
$pg->psql(q{select pg_drop_replication_slot('a1')});

ok((wait_for { database()->{source} eq 'wal' } 20),
   'when nothing is missing any more the source changes by itself')
    or diag(database()->{source_error});
$n++;
$pg->psql("select broadcast.send_all('chat', 'm', '[$n]')", @at);
is($sse->event->{data}, "[$n]", '... and messages come by it');
is($pg->psql(q{select count(*) from broadcast.message where xid is not null},
             @at), $n, '... all are kept');

# of two workers that find it in the log, one says it, once

for my $what ('wal_level is replica', 'the role may not',
              'somebody else made it', 'there is no publication')
{
    is(() = $nginx->error_log =~ /\[error\].*\Q$what\E/g, 1,
       "the log says it once: $what");
}


# --- the cap -----------------------------------------------------------------

like($nginx->error_log, qr/\[warn\].*max_slot_wal_keep_size is not set/,
     'a WAL without a cap is warned of');
like(doctor(), qr/^warn max_slot_wal_keep_size is not set/,
     '... by the doctor, too');
$pg->psql(q{alter system set max_slot_wal_keep_size = '1GB'});
$pg->psql('select pg_reload_conf()');
ok((wait_for { doctor() =~ /^ok what is sent goes through the WAL: replication slot ours, wal_status reserved, \d+ bytes behind$/ } 10),
   '... until there is one') or diag(doctor());



# --- by hand -----------------------------------------------------------------

# who leads sets it; somebody else who does sends into the void

$nginx->reload(http => 'broadcast_zone hubs 16m; broadcast_database "'
             . $pg->conninfo('app', 'app') . '" timeout=3s;');
ok((wait_for { $pg->psql(q{select count(*) from broadcast.wal
                            where slot is null}, @at) == 1
               && database()->{source} eq 'outbox' } 20),
   'another directive, and the slot is gone');

$sse = Broadcast::SSE->connect($port, '/events/chat');
$pg->psql(q{update broadcast.setting set value = 'wal' where name = 'source';
            select broadcast.send_all('chat', 'm', '["lost"]')}, @at);
is($sse->event->{event}, 'broadcast.gap',
   'a source that was set by hand: what was sent there is told to be missing');
$n++;
ok((wait_for { database()->{source} eq 'outbox' } 20),
   '... and it is set back');
$pg->psql("select broadcast.send_all('chat', 'm', '[$n]')", @at);
is($sse->event->{data}, "[$n]", '... so messages come again');

$nginx->stop_ok(signal => 'TERM');

done_testing();
