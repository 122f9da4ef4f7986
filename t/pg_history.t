#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# Resume from broadcast.message: a node whose shared memory knows nothing of
# what a client missed reads it from the database, in pages, and tells of what
# is not there any more before anything that lies behind it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::HTTP qw(http);
use Broadcast::Nginx qw(wait_for);
use Broadcast::Postgres;
use Broadcast::SSE;

# the server tells how it carries out what it is asked, where that is switched on

my $pg = Broadcast::Postgres->new(
    conf => { session_preload_libraries => 'auto_explain' });
$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", db => 'app', user => 'app');
my @at = (db => 'app', user => 'app');

my $nginx = Broadcast::Nginx->new(
    workers => 2,
    http    => "broadcast_zone hubs 16m; broadcast_database \""
             . $pg->conninfo('app', 'app') . '" timeout=3s;',
    server  => <<'EOC')->start;
        location /events/  { broadcast_events anonymous; }
        location /publish/ { broadcast_publish; }
        location = /status { broadcast_status; }
EOC

my $port = $nginx->port;

sub leads {
    return wait_for {
        http($port, 'GET', '/status?format=json')->{json}{database}{relay}
            eq 'leader'
    } 15;
}

sub resume {
    my ($id, $groups) = @_;

    return Broadcast::SSE->connect($port, '/events/chat' . ($groups // ''),
        timeout => 20, headers => [ 'Last-Event-ID' => $id ]);
}

sub resumes { http($port, 'GET', '/status?format=json')->{json}{resumes} }

sub seq { ($_[0] // '') =~ /-(\d+)$/ ? $1 : undef }

ok(leads(), 'the relay leads');

my $n = 1300;
my $r = http($port, 'POST', '/publish/chat',
    body => join("\n", map { "{\"n\":$_}" } 1 .. $n),
    headers => [ 'Content-Type' => 'application/x-ndjson' ]);

is(seq($r->{json}{id}), $n, "$n messages");

my ($epoch) = $r->{json}{id} =~ /^(\w+)-/;

$pg->psql(q{select broadcast.send_group('chat', 'g', 'grouped', '[1]');
            select broadcast.send_user('chat', 'u', 'private', '[1]');
            select broadcast.send_all('chat', 'end', '[1]')}, @at);
ok((wait_for { $pg->psql(q{select count(*) from broadcast.message}, @at)
               == $n + 3 } 10), '... one to a group, one to a user');

# all of nginx's memory is lost

$nginx->crash;
$pg->psql($_) for 'alter system set auto_explain.log_min_duration = 0',
                  'alter system set auto_explain.log_nested_statements = on',
                  'select pg_reload_conf()';
$nginx->start;
ok(leads(), 'nginx starts with an empty zone');

my $sse = resume("$epoch-1");
my @got = map { $sse->event } 2 .. $n;

is(seq($got[0]{id}), 2, 'a resume begins behind the position');
is(seq($got[-1]{id}), $n, '... and goes to the end');
is_deeply([ map { seq($_->{id}) } @got ], [ 2 .. $n ], '... in order');
is($got[-1]{data}, "[{\"n\":$n}]", '... with the arguments as they came');

my $event = $sse->event;
is($event->{event}, 'end', 'what was for others is left out');
is(seq($event->{id}), $n + 3, '... and counted');

# what a page costs at least is what a thousand rows of it cost

my $resumes = resumes();
is($resumes->{asked}, 1, 'the status page has the resume');
cmp_ok($resumes->{reads}, '>=', 2, '... and in how many pages it was read');
cmp_ok($resumes->{reads}, '<=', 7, '... which are as large as there is room');

like($pg->log, qr/Function Scan on replay /, 'the server tells of its plans');
unlike($pg->log, qr/JIT:/, '... none of which is worth to be compiled');

$pg->psql($_) for 'alter system reset auto_explain.log_min_duration',
                  'select pg_reload_conf()';

$sse = resume("$epoch-$n", '?group=g');
is($sse->event->{event}, 'grouped', 'a member of the group has it');
is($sse->event->{event}, 'end', '... and the rest');

http($port, 'POST', '/publish/chat', body => 'live',
     headers => [ 'Content-Type' => 'text/plain' ]);
is($sse->event->{data}, '["live"]', 'the live stream follows the history');

$sse = resume("$epoch-" . ($n + 4));
http($port, 'POST', '/publish/chat', body => 'more',
     headers => [ 'Content-Type' => 'text/plain' ]);
is($sse->event->{data}, '["more"]', 'from the newest position nothing is '
                                    . 'repeated');


# --- pages of large rows ----------------------------------------------------

# 64 kB may wait for a client: three of these and the one that has no room

$pg->psql(q{select broadcast.send_all('large', 'l',
                       jsonb_build_array(i, repeat('x', 20000)))
              from generate_series(1, 60) i}, @at);
ok((wait_for { $pg->psql(q{select count(*) from broadcast.message
                            where hub = 'large'}, @at) == 60 } 10),
   'sixty messages of 20 kB');
$nginx->crash;
$nginx->start;
leads();

$sse = Broadcast::SSE->connect($port, '/events/large', timeout => 20,
                               headers => [ 'Last-Event-ID' => '0-0' ]);
is_deeply([ map { $sse->event->{data} =~ /^\[(\d+)/ } 1 .. 60 ], [ 1 .. 60 ],
          '... come in order');
cmp_ok(resumes()->{reads}, '<=', 25, '... and few of them are read twice');


# --- rows that are gone -----------------------------------------------------

$pg->psql('delete from broadcast.message where seq <= 10 or seq = 20', @at);
$nginx->crash;
$nginx->start;
leads();

$sse = resume("$epoch-5");
$event = $sse->event;
is($event->{event}, 'broadcast.gap', 'what is aged out is a gap');
like($event->{data}, qr/"requested":\s*"$epoch-5"/, '... with what was asked');
like($event->{data}, qr/"oldest":\s*"$epoch-11"/, '... and what there is');
is(seq($sse->event->{id}), 11, '... then the history from there');

$sse = resume("$epoch-10");
is(seq($sse->event->{id}), 11, 'just reaching is no gap');
is(seq($sse->event->{id}), $_, "... $_") for 12 .. 19;
is($sse->event->{event}, 'broadcast.gap', 'a row that somebody deleted is one');
is(seq($sse->event->{id}), 21, '... and it goes on behind it');

for my $id ("$epoch-999999", 'abc-7', 'nonsense') {
    $sse = resume($id);
    is($sse->event->{event}, 'broadcast.gap', "resume from $id: a gap");
}

$nginx->stop_ok(signal => 'TERM');

done_testing();
