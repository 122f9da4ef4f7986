#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# What a call of a method costs this side of the database, in counts that are
# the same on every machine; see t/conn_cost.t.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::Counted;
use Broadcast::HTTP qw(http);
use Broadcast::Hub;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Postgres;

plan skip_all => 'another build does other work' if $ENV{BROADCAST_BUILD};

my $missing = Broadcast::Counted::missing();
plan skip_all => $missing if $missing;

# as they were measured: a bound is a fifth more, since the answers of a
# connection may come in other pieces each time

my %measured = (instructions => 19200, allocations => 7);

my $pg = Broadcast::Postgres->new;
$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", db => 'app', user => 'app');
$pg->psql(<<'EOQ', db => 'app', user => 'app');
    CREATE SCHEMA api;
    CREATE FUNCTION api.echo(t text) RETURNS text LANGUAGE sql
        AS 'SELECT t';
    SELECT broadcast.expose('chat', 'api');
EOQ

my $nginx = Broadcast::Counted->new(
    callgrind => 1,
    http   => 'broadcast_zone hubs 8m; broadcast_ephemeral *;'
            . 'broadcast_database "' . $pg->conninfo('app', 'app')
            . '" pool=1; access_log off;',
    server => <<'EOS')->start;
        location /client   { broadcast_hub anonymous; }
        location = /status { broadcast_status json; }
EOS

my $port = $nginx->port;

ok wait_for { http($port, 'GET', '/status')->{json}{database}{state} eq 'up' },
    'the database is up';

my $hub = Broadcast::Hub->connect($port, '/client?hub=chat');

sub invoke {
    my ($n) = @_;

    for (1 .. $n) {
        my $is = $hub->invoke('Echo', 'hello') // 'nothing';
        die "answered: $is\n" unless $is eq 'hello';
    }
}

invoke(50);

for my $kind (sort keys %measured) {
    my @n = map { my $n = $_; $nginx->$kind(sub { invoke($n) }) } 20, 220;
    my $is = int(($n[1] - $n[0]) / 200);
    my $bound = int($measured{$kind} * 6 / 5);

    note "$kind of a call: $is, of $bound";
    cmp_ok $is, '<=', $bound, "$kind of a call are within their bound";
    cmp_ok $is, '>', $bound / 5, '... and were counted';
}

$hub->close;
$nginx->stop(signal => 'TERM', seconds => 30);

done_testing;
