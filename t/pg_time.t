#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# The time limit of calls: one timer serves all that a worker has under way,
# so each must end at its own time, whatever became of those before it; and
# the memory of those that ended serves the next, so none may see another's.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(sleep time);

use Broadcast::HTTP qw(http);
use Broadcast::Nginx qw(wait_for);
use Broadcast::Postgres;

my $pg = Broadcast::Postgres->new;
my @at = (db => 'app', user => 'app');

$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);

$pg->psql(<<'EOS', @at);
create table ran (word text);

create function nap(event jsonb) returns jsonb language plpgsql as $$
begin
    insert into ran values (event->>'path');
    perform pg_sleep((event->'query'->>'s')::float);
    return jsonb_build_object('body', event->>'path');
end $$;

create function back(event jsonb) returns jsonb language sql as $$
    select jsonb_build_object('body', event->>'body') $$;

select broadcast.bind('http', 'nap'), broadcast.bind('http', 'back');
EOS

my ($nginx, $port);

sub start {
    my ($timeout) = @_;

    $nginx->stop_ok if $nginx;
    $nginx = Broadcast::Nginx->new(
        http   => 'broadcast_zone hubs 4m; broadcast_database "'
                . $pg->conninfo('app', 'app') . "\" pool=1 timeout=$timeout;",
        server => <<'EOC',
        location /functions/ { broadcast_function; }
        location = /status   { broadcast_status json; }
EOC
    )->start;
    $port = $nginx->port;

    ok(wait_for(sub {
        http($port, 'GET', '/status')->{json}{database}{state} eq 'up'
    }), 'the database is up');
}

start('5s');

is(http($port, 'GET', '/functions/nap/first?s=0.1')->{body}, 'first',
   'a function is called');


# One connection, which was not prompt, so it takes one call at a time: the
# second is sent when the first ended, and is given up by its caller while it
# runs; the third never leaves.

my @calls = map { call("nap/$_?s=3.2") } qw(one two three);

is_deeply([ map { answer($_)->{status} } @calls ], [ 200, 504, 504 ],
          'who cannot be served in time is told so');

for my $n (1, 2) {
    cmp_ok($calls[$n]{took}, '>', 4.9, "call $n had all of its time");
    cmp_ok($calls[$n]{took}, '<', 20, "call $n had no more");
}

is(http($port, 'GET', '/functions/nap/last?s=0')->{body}, 'last',
   'the connection is used again');
is_deeply([ map { @$_ } $pg->rows('select word from ran', @at) ],
          [ qw(first one two last) ],
          'what was given up before it was sent is never carried out');


# The server says nothing: each of them ends by the worker's clock, and the
# first, which has ended, set it.

start('1s');

my ($b, $ended);

for (1 .. 10) {
    my $a = call('nap/a?s=0.4');
    sleep 0.3;
    $b = call('nap/b?s=0');
    last if ($ended = answer($a)->{body}) eq 'a';
}

is($ended, 'a', 'the first ends well');
$pg->freeze;

# their time ends before the relay finds the server silent

@calls = ();

for (1 .. 2) {
    push @calls, call('nap/c?s=0');
    sleep 0.6;
}

for my $c (@calls) {
    is(answer($c)->{status}, 504, 'a call to a server that stands still ends');
    cmp_ok($c->{took}, '>', 0.9, 'not before its time');
    cmp_ok($c->{took}, '<', 10, 'and not long after it');
}

$pg->thaw;

ok(wait_for(sub {
    http($port, 'GET', '/functions/nap/again?s=0')->{status} == 200
}), 'the server answers again');

start('10s');


# Sizes that fit the kept memory and sizes that do not, many at once.

my $wrong = 0;

for my $turn (1 .. 8) {
    my @texts = map { chr(ord('a') + $_) x (7 ** ($_ % 6) + $turn) } 0 .. 11;
    my @under_way = map { call('back', $_) } @texts;

    for my $n (0 .. $#texts) {
        my $r = answer($under_way[$n]);
        $wrong++ unless $r->{status} == 200 && $r->{body} eq $texts[$n];
    }
}

is($wrong, 0, 'each of many calls gets its own answer');


# Nothing is under way, so nothing holds up the end; then something is.

my $c = call('nap/quit?s=3');

ok(wait_for(sub {
    $pg->psql(q{select count(*) from pg_stat_activity
                 where state = 'active' and wait_event = 'PgSleep'}) > 0
}), 'a function runs');

kill 'QUIT', $nginx->pid;

is(answer($c)->{body}, 'quit', 'a worker that exits waits for its call');

$nginx->stop_ok;

done_testing();


sub call {
    my ($path, $body) = @_;

    my $c = Broadcast::HTTP->connect($port);

    $c->write((defined $body ? 'POST' : 'GET')
              . " /functions/$path HTTP/1.1\r\n"
              . "Host: x\r\nContent-Type: text/plain\r\n"
              . 'Content-Length: ' . length($body // '') . "\r\n"
              . "Connection: close\r\n\r\n" . ($body // ''));

    return { c => $c, at => time };
}


sub answer {
    my ($call) = @_;

    my $r = $call->{c}->head;

    $call->{c}->body($r, 'GET');
    $call->{took} = time - $call->{at};

    return $r;
}
