#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# Clients that leave or dawdle while their request waits: for a function, for
# the first sight of the database, for their own body.  Nothing of them is left
# and nobody else notices.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::HTTP ();
use Broadcast::Nginx qw(wait_for);
use Broadcast::Postgres;
use Broadcast::SSE;

my $pg = Broadcast::Postgres->new;
my @at = (db => 'app', user => 'app');

$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);

$pg->psql(<<'EOS', @at);
create function naps(event jsonb) returns jsonb language plpgsql as
    $$ begin perform pg_sleep(0.4); return '{"body":"awake"}'; end $$;
create function which(event jsonb) returns jsonb language sql as
    $$ select jsonb_build_object('body', format('%s %s', event->'query'->>'n', length(event->>'body'))) $$;
create function door(event jsonb) returns jsonb language plpgsql as
    $$ begin perform pg_sleep(0.4); return null; end $$;
select broadcast.bind('http', 'naps');
select broadcast.bind('http', 'which');
select broadcast.bind('connect', 'door', hub => 'guarded');
EOS

my $nginx = Broadcast::Nginx->new(
    tls    => 1,
    http   => 'broadcast_zone hubs 8m; broadcast_database "'
            . $pg->conninfo('app', 'app') . '" timeout=9s;',
    server => <<'EOC',
        client_body_timeout 2s;
        location /functions/ { broadcast_function; }
        location /events/    { broadcast_events anonymous; }
        location /publish/   { broadcast_publish; }
        location = /status   { broadcast_status; }
EOC
)->start;

my $port = $nginx->port;

sub status {
    return Broadcast::HTTP::http($port, 'GET', '/status?format=json')->{json};
}

ok((wait_for { status()->{database}{state} eq 'up' } 15), 'the database is up');

# --- while a function runs ---------------------------------------------------

my @gone = map {
    my $c = Broadcast::HTTP->connect($port);
    $c->write("GET $_ HTTP/1.1\r\nHost: x\r\n\r\n");
    $c;
} ('/functions/naps', '/events/guarded') x 2;

my $stays = Broadcast::HTTP->connect($port);
$stays->write("GET /functions/naps HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");

is(status()->{database}{state}, 'up', 'others are served meanwhile');
$_->close for @gone;

my $r = $stays->head;
$stays->body($r, 'GET');
is("$r->{status} $r->{body}", '200 awake', 'who stays gets the answer');

is(status()->{hubs}{guarded}{connections}{sse} // 0, 0,
   'who left while the door was asked has no connection');

my $sse = Broadcast::SSE->connect($port, '/events/guarded');
is($sse->{head}{status}, 200, 'who waits is let in');
$sse->close;

# --- several on one connection -----------------------------------------------

my $many = Broadcast::HTTP->connect($port);
$many->write(join '', map {
    "POST /functions/which?n=$_ HTTP/1.1\r\nHost: x\r\nContent-Length: $_\r\n\r\n" . 'x' x $_
} 1 .. 4);
is_deeply([ map { $r = $many->head; $many->body($r, 'POST'); $r->{body} } 1 .. 4 ],
          [ map { "$_ $_" } 1 .. 4 ], 'pipelined calls, answered in order');
$many->write("GET /functions/naps HTTP/1.1\r\nHost: x\r\n\r\n"
             . "GET /functions/which?n=5 HTTP/1.1\r\nHost: x\r\n\r\n");
is_deeply([ map { $r = $many->head; $many->body($r, 'GET'); $r->{body} } 1 .. 2 ],
          [ 'awake', '5 ' ], 'a fast one waits for the slow one before it');
$many->write("GET /functions/naps HTTP/1.1\r\nHost: x\r\n\r\n" x 2);
$many->close;

SKIP: {
    `curl --version 2>/dev/null` =~ /HTTP2/ or skip 'curl without HTTP/2', 4;

    my $at = 'https://127.0.0.1:' . $nginx->port('tls') . '/functions';
    my $curl = 'curl -sk --http2 --max-time';

    is(`printf %05000d 7 | $curl 9 -w ' %{http_version}' -H 'Content-Length:' -T - '$at/which?n=6'`,
       '6 5000 2', 'a body without a length over HTTP/2');
    is(join(' ', sort split /(?<=awake)/, `$curl 9 -Z --no-progress-meter $at/naps $at/naps $at/naps`),
       'awake awake awake', 'several streams at once');
    is(`$curl 0.2 $at/naps`, '', 'one that is given up');
    is(`$curl 9 $at/naps`, 'awake', '... and one after it');
}

ok((wait_for {
        Broadcast::HTTP::http($port, 'GET', '/status?format=prometheus')->{body}
            =~ /pool_connections\{state="busy"\} 0\b/
    } 5), 'what nobody waits for ends: no connection to the database is busy with it');

# --- a body that comes late, in pieces, or never -----------------------------

my $slow = Broadcast::HTTP->connect($port);
$slow->write("POST /publish/chat HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
             . "Content-Length: 5\r\n\r\n");
for my $byte (split //, 'hello') {
    select undef, undef, undef, 0.05;
    $slow->write($byte);
}
$r = $slow->head;
$slow->body($r, 'POST');
is($r->{status}, 200, 'a body byte by byte');

my $never = Broadcast::HTTP->connect($port);
$never->write("POST /publish/chat HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe");
ok($never->at_end, 'a body that never comes ends at client_body_timeout');

my $cut = Broadcast::HTTP->connect($port);
$cut->write("POST /publish/chat HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe");
$cut->close;

my $pair = Broadcast::HTTP->connect($port);
$pair->write(join '', map {
    "POST /publish/chat HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n$_"
} 1 .. 3);
my @ids;
for (1 .. 3) {
    $r = $pair->head;
    $pair->body($r, 'POST');
    push @ids, $r->{body} =~ /-(\d+)"/;
}
is_deeply(\@ids, [ $ids[0], $ids[0] + 1, $ids[0] + 2 ],
          'pipelined publishes, in order');

# --- before the database was ever seen ---------------------------------------

$nginx->stop(signal => 'TERM');
$pg->stop;
$nginx->start;

my $early = Broadcast::HTTP->connect($port);
$early->write("GET /events/chat HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
my $leaves = Broadcast::HTTP->connect($port);
$leaves->write("GET /events/chat HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
is(status()->{database}{state}, 'down', 'the database is down from the start');
$leaves->close;
$r = $early->head;
is("$r->{status} $r->{headers}{'retry-after'}", '503 1',
   'a connect waits for the time-out, then 503');

$early = Broadcast::HTTP->connect($port);
$early->write("GET /events/chat HTTP/1.1\r\nHost: x\r\n\r\n");
status();
$pg->start;
is($early->head->{status}, 200, 'it is accepted as soon as the database is seen');
$early->close;

# --- a worker that is asked to exit ------------------------------------------

ok((wait_for { Broadcast::HTTP::http($port, 'GET', '/functions/naps')->{status} == 200 } 15),
   'functions are back');
$stays = Broadcast::HTTP->connect($port);
$stays->write("GET /functions/naps HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
status();
kill 'QUIT', $nginx->pid;
$r = $stays->head;
$stays->body($r, 'GET');
is("$r->{status} $r->{body}", '200 awake', 'a worker finishes the call before it exits');

$nginx->stop_ok;

done_testing();
