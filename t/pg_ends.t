#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# What `disconnected` says of the ends that the server makes: too slow, overrun,
# expired, drained, and in the words of who closed it.  The others are in
# pg_settle.t.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib";

use Encode qw(encode_utf8);
use JSON::PP qw(encode_json);
use Test::More;

use Broadcast::HTTP qw(http worker_at);
use Broadcast::Hub;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Plain;
use Broadcast::Postgres;
use Broadcast::Token qw(client_token);

my $key = '0123456789abcdef0123456789abcdef';
my $pg = Broadcast::Postgres->new;
my @at = (db => 'app', user => 'app');

$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);

$pg->psql(<<'EOS', @at);
create table ended (id text, error text);

create function ends(event jsonb) returns void language sql as $$
    insert into ended values (event->>'connectionId', event->>'error')
$$;

-- while the test holds lock 1

create function gate(event jsonb) returns void language sql
    as 'select pg_advisory_xact_lock_shared(1)';

create function shuts(event jsonb) returns jsonb language sql as $$
    select jsonb_build_object('body', 'shut', 'actions', jsonb_build_object(
               'action', 'close', 'connectionId', event->'query'->'id',
               'reason', 'by an action'))
$$;

select broadcast.bind('disconnected', 'ends');
select broadcast.bind('connected', 'gate', 'held');
select broadcast.bind('http', 'shuts', 'chat');
EOS

my $nginx = Broadcast::Nginx->new(
    workers => 2,
    http    => "broadcast_zone hubs 2m; broadcast_key $key;"
             . 'broadcast_drain 1s; broadcast_ephemeral flood;'
             . 'broadcast_database "' . $pg->conninfo('app', 'app')
             . '" pool=4;',
    server  => <<'EOC')->start;
        location /client     { broadcast_hub; }
        location /slow       { broadcast_hub anonymous; broadcast_queue 4k; }
        location /publish/   { broadcast_publish; }
        location /functions/ { broadcast_function; }
        location /api/       { broadcast_api open; }
        location = /status   { broadcast_status json; }
        location = /pid      { return 200 $pid; }
EOC

my $port = $nginx->port;

sub status { http($port, 'GET', '/status')->{json} }

ok((wait_for { my $d = status()->{database};
               $d->{state} eq 'up' && $d->{relay} eq 'leader' } 10),
   'the database is there');

sub client {
    my ($hub, %o) = @_;

    return Broadcast::Hub->connect($port, ($o{at} // '/client') . "?hub=$hub",
        on => delete $o{on},
        token => client_token($key, $hub, sub => 'ann', %o));
}

# the row of a client, by its connection id, is there

sub here {
    my ($hub) = @_;

    ok((wait_for { $pg->psql("select count(*) from broadcast.connections
                              where connection_id = '$hub->{id}'", @at) } 10),
       'it is there');
}

sub why {
    my ($hub, $error, $name) = @_;
    my @rows;

    wait_for { @rows = $pg->rows("select error from ended
                                  where id = '$hub->{id}'", @at) } 20;

    is($rows[0] && $rows[0][0], $error, $name);
}

sub flood {
    my ($c, $hub, $bytes) = @_;

    $c->request('POST', "/publish/$hub?target=t", keepalive => 1,
                body => 'x' x $bytes,
                headers => [ 'Content-Type' => 'text/plain' ]);
    my $r = $c->head;
    $c->body($r, 'POST');
}


# --- who closed it says why --------------------------------------------------

my $ann = client('chat');
here($ann);
$pg->psql("select broadcast.close_connection('chat', '$ann->{id}', 'enough')",
          @at);
why($ann, 'enough', 'closed by SQL, which says why');

$ann = client('chat');
here($ann);
$pg->psql("select broadcast.close_connection('chat', '$ann->{id}')", @at);
why($ann, 'closed by the server', '... which does not');

$ann = client('chat');
here($ann);
http($port, 'GET', "/functions/shuts?id=$ann->{id}");
why($ann, 'by an action', 'closed by an action');

$ann = client('chat');
here($ann);
http($port, 'DELETE', "/api/v1/hubs/chat/connections/$ann->{id}?reason=by%20REST");
why($ann, 'by REST', 'closed by REST');

$ann = client('chat');
here($ann);
http($port, 'DELETE',
     "/api/v1/hubs/chat/connections/$ann->{id}?reason=" . '%F0%9F%8E%88' x 70);
why($ann, encode_utf8("\x{1f388}" x 63),
    'a long reason is cut, between two characters');

# `connected` is under way: it is kept until that has ended

my $session = $pg->session(@at);
$session->run('select pg_advisory_lock(1)');

$ann = client('held');
ok((wait_for { $pg->psql(q{select count(*) from pg_locks
                           where locktype = 'advisory' and not granted}) } 10),
   'connected is under way');
$pg->psql("select broadcast.close_connection('held', '$ann->{id}', 'early')",
          @at);
my $record;
1 while ($record = $ann->next) && $record->{type} != 7;
is($record->{error}, 'early', 'the client is told');
$session->run('select pg_advisory_unlock(1)');
why($ann, 'early', '... and the event, when connected is over');


# --- other ends --------------------------------------------------------------

$ann = client('chat', exp => int(time) + 5, 'asrs.s.coae' => 'true');
why($ann, 'token expired', 'a token that runs out');

$ann = client('chat', at => '/slow');
here($ann);
my $c = Broadcast::HTTP->connect($port);
my $slow = status()->{closed}{slow};

for (1 .. 400) {
    last if status()->{closed}{slow} > $slow;
    flood($c, 'chat', 100000);
}

why($ann, 'too slow', 'a client that does not read');


# An overrun, of a worker that stands still, while the other publishes.

my ($stopped, $going) = sort $nginx->workers;
my $still = client('flood', on => worker_at($port, '/pid', $stopped));

$c = worker_at($port, '/pid', $going);
here($still);

kill 'STOP', $stopped;
flood($c, 'flood', 20000) for 1 .. 90;
kill 'CONT', $stopped;

why($still, 'log overrun', 'a worker that did not keep up');

$ann = client('chat');
here($ann);
$nginx->reload;
why($ann, 'drained', 'a worker that exits');

$nginx->stop_ok;

done_testing;
