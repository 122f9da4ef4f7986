#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# `broadcast_source wal` in a database that is kept in another encoding: the
# WAL has UTF-8 all the same, and a character that the database has no byte for,
# which only somebody else can have sent, is no obstacle to what comes behind.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::HTTP qw(http);
use Broadcast::Nginx qw(wait_for);
use Broadcast::Postgres;
use Broadcast::SSE;

my $pg = Broadcast::Postgres->new(conf => { wal_level => 'logical' });
$pg->psql('create role app login replication');
$pg->psql(q{create database app owner app encoding 'WIN1252' locale 'C'
          template template0});
$pg->file("$FindBin::Bin/../sql/broadcast.sql", db => 'app', user => 'app');

my @at = (db => 'app', user => 'app');

my $nginx = Broadcast::Nginx->new(
    http    => 'broadcast_zone hubs 16m; broadcast_database "'
             . $pg->conninfo('app', 'app') . '" timeout=3s;'
             . 'broadcast_source wal;',
    server  => <<'EOC')->start;
        location /events/  { broadcast_events anonymous; }
        location = /status { broadcast_status; }
EOC

my $port = $nginx->port;
my $sse = Broadcast::SSE->connect($port, '/events/chat');

sub database {
    return http($port, 'GET', '/status?format=json')->{json}{database};
}

ok((wait_for { database()->{source} eq 'wal' } 15), 'the source is the WAL');

# between two messages of one batch: the relay stands still until all is there

my ($worker) = $nginx->workers;
kill 'STOP', $worker;

$pg->psql(q{select broadcast.send_all('chat', 'ä', '["é"]')}, @at);
$pg->psql(q{select pg_logical_emit_message(true, 'broadcast',
                decode(repeat('e28692', 30), 'hex'))}, @at);
$pg->psql(q{select broadcast.send_all('chat', 'ö', '["è"]')}, @at);

kill 'CONT', $worker;

my @events = map { $sse->event(15) } 1, 2;
utf8::decode($_->{event}), utf8::decode($_->{data}) for @events;

is(join(' ', map { "$_->{event} $_->{data}" } @events), 'ä ["é"] ö ["è"]',
   'messages come in UTF-8, beside one that the database cannot read');
ok((wait_for { database()->{wal_left_out} == 1 } 5), '... which is left out');
is(database()->{reconnects}, 0, '... and costs the relay nothing more');

$nginx->stop_ok(signal => 'TERM');

done_testing();
