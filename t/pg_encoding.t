#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# A database whose encoding cannot hold the name of a group: the connection
# that is in it keeps it at its node, and no other one waits for it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::HTTP qw(http);
use Broadcast::Nginx qw(wait_for);
use Broadcast::Plain;
use Broadcast::Postgres;
use Broadcast::Token qw(client_token);

my $key = '0123456789abcdef0123456789abcdef';
my $pg = Broadcast::Postgres->new;
my @at = (db => 'app', user => 'app');

$pg->psql('create role app login');
$pg->psql(q{create database app owner app encoding 'WIN1252' locale 'C'
            template template0});
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);

my $nginx = Broadcast::Nginx->new(
    workers => 1,
    http    => "broadcast_zone hubs 8m; broadcast_key $key;"
             . 'broadcast_database "' . $pg->conninfo('app', 'app') . '";',
    server  => <<'EOS')->start;
    location /events/  { broadcast_events; }
    location /api/     { broadcast_api open; }
    location = /status { broadcast_status json; }
EOS

ok((wait_for {
    http($nginx->port, 'GET', '/status')->{json}{database}{state} eq 'up'
} 15), 'a node has the database');


sub soon {
    my ($expected, $name) = @_;
    my $got;

    wait_for {
        $got = $pg->psql(q{select string_agg(grp, ' ' order by grp)
                             from broadcast.connection_group}, @at);
        $got eq $expected;
    };

    is $got, $expected, $name;
}


my @clients = map {
    Broadcast::Plain->connect($nginx->port, "/events/chat?group=own$_",
        token => client_token($key, 'chat', sub => "u$_",
                              role => [ 'broadcast.join' ]))
} 1 .. 3;

soon('own1 own2 own3', 'it has the groups of three connections');

# all of them in one statement

$clients[1]->send({ join => "\x{65e5}\x{672c}" });
$clients[0]->send({ join => 'a' });
$clients[2]->send({ join => 'c' });

soon('a c own1 own2 own3', 'a name that it cannot hold keeps none of the others');
ok($nginx->wait_log(qr/groups of connections were not kept: .*22P05/),
   '... and is an error in the log');
is http($nginx->port, 'HEAD', '/api/hubs/chat/groups/%E6%97%A5%E6%9C%AC'
                              . '?api-version=2024-12-01')->{status}, 200,
   '... known to its node';

$clients[0]->send({ join => 'b' });
soon('a b c own1 own2 own3', 'what changes later is kept, too');

$_->drop for @clients;
soon('', 'and all go with their connections');

$nginx->stop_ok;

done_testing();
