#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# Idempotency-Key where messages go through the WAL: the key's row is of the
# transaction that writes them there, and their number comes as ever.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::HTTP qw(http);
use Broadcast::Nginx qw(wait_for);
use Broadcast::Postgres;

my $pg = Broadcast::Postgres->new(conf => { wal_level => 'logical' });
my @at = (db => 'app', user => 'app');

$pg->createdb('app', 'app');
$pg->psql('alter role app replication');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);

my $nginx = Broadcast::Nginx->new(
    workers => 2,
    http    => 'broadcast_zone hubs 16m; broadcast_source wal;'
             . 'broadcast_database "' . $pg->conninfo('app', 'app') . '";',
    server  => 'location /publish/ { broadcast_publish; }')->start;

sub publish {
    my ($key, $body) = @_;

    return http($nginx->port, 'POST', '/publish/chat', body => $body,
                timeout => 20, headers => [ 'Content-Type' => 'text/plain',
                                            'Idempotency-Key' => $key ]);
}

ok((wait_for { $pg->psql(q{select value from broadcast.setting
                            where name = 'source'}, @at) eq 'wal' } 15),
   'messages go through the WAL');

my $first = publish('"a"', 'one');
is($first->{status}, 200, 'a publish with a key');

my $again = publish('"a"', 'one');
is($again->{status}, 200, '... and a repeat');
is($again->{json}{id}, $first->{json}{id}, '... have one number');
is(publish('"a"', 'two')->{status}, 422, '... another body has none');
is($pg->psql(q{select count(*) from broadcast.message
                where arguments::text in ('["one"]', '["two"]')}, @at), 1,
   '... and they are one message');

ok((wait_for { $pg->psql(q{select count(*) from broadcast.idempotency
                            where seq > 0}, @at) == 1 } 15),
   'the number is kept with the key');

$nginx->stop_ok(signal => 'TERM');

done_testing();
