#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# Positions in a durable hub: a client goes on where it was whatever has
# happened to nginx.  Of what a position says was seen nothing comes again,
# whether that has a number or not.  Long replays: t/pg_position_long.t.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP;
use Test::More;
use Time::HiRes qw(time sleep);

use Broadcast::HTTP qw(http);
use Broadcast::Hub;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Plain;
use Broadcast::Position;
use Broadcast::Postgres;
use Broadcast::SSE;
use Broadcast::Token qw(client_token);

my $pg = Broadcast::Postgres->new;
my @at = (db => 'app', user => 'app');
my $key = '0123456789abcdef0123456789abcdef';

$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);

my $nginx = Broadcast::Nginx->new(
    workers => 2,
    http    => "broadcast_zone hubs 1m; broadcast_key $key;"
             . 'broadcast_database "' . $pg->conninfo('app', 'app')
             . '" timeout=3s;',
    server  => <<'EOC')->start;
        location /client   { broadcast_hub; }
        location /open     { broadcast_hub anonymous; }
        location /events/  { broadcast_events anonymous; }
        location = /status { broadcast_status json; }
EOC

my $port = $nginx->port;

from_node($nginx, $pg, @at);

ok(leads(), 'the relay leads');


# --- nginx forgets everything ------------------------------------------------

is(position(), '0-0', 'a hub that nobody has used');
my $c = hub('0-0');
is(take($c, 1), '@0-0', 'is told as it was asked for');
sends('chat', 1, 1);
my $first = numbered();
my ($epoch) = $first =~ /^(\w+)-1$/;
is(take($c, 2), "m1 \@$first", '... and its first message comes');
$c->close;

$pg->psql(q{select broadcast.send_group('chat', 'g', 'grouped', '[]');
            select broadcast.send_user('chat', 'ann', 'private', '[]');
            select broadcast.send_user('chat', 'bob', 'secret', '[]');
            select broadcast.send_connection('chat', 'abc', 'direct', '[]')},
          @at);
sends('chat', 2, 150);
my $newest = numbered();

forgotten();

$c = hub($first, at => '/client',
    token => client_token($key, 'chat', sub => 'ann', groups => [ 'g' ]));
is(take($c, 4), "grouped \@$epoch-2 private \@$epoch-3",
   'from the history: what is to its groups and its user');
my ($m, $place) = until_last($c, 150);
is_deeply($m, [ 2 .. 150 ], '... and what is to all, in order');
is($place, $newest, '... each with its position');
is(take($c, 1), "\@$newest", '... and the position behind the replay');
sends('chat', 151, 151);
is(take($c, 2), "m151 \@" . numbered(), '... which joins what is live');
$c->close;

for my $requested ("$epoch-999999", 'abc-7', 'nonsense', "$epoch-1..zz") {
    my $now = numbered();
    $c = hub($requested);
    my $gap = $c->next;
    is($gap->{target}, 'broadcast.gap', "$requested: a gap first");
    is($gap->{arguments}[0]{requested}, $requested, '... with what was asked');
    like($gap->{arguments}[0]{oldest}, qr/^$epoch-\d+$/, '... and what there is');
    my $seen = '';
    while (my $r = $c->next) { $seen = said($r); last if $seen eq "\@$now" }
    is($seen, "\@$now", '... then the position');
    $c->close;
}


# --- positions of what has no number -----------------------------------------

$pg->psql(<<'EOS', @at);
create table said (what text);
create function say(what text) returns void language sql as $$
    insert into said values ($1);
    select broadcast.send_all('place', $1, '[]') $$;
EOS

my $load = q{select coalesce(string_agg(what, ' ' order by what), '') || '|'
                    || broadcast.position('place') from said};

# the three kinds of client from one position, until each has the last message

sub everywhere_ok {
    my ($position, $last, $wants, $name, %o) = @_;

    my $events = "/events/place?last_event_id=$position";
    my $h = hub($position, hub => 'place');
    my $s = Broadcast::SSE->connect($port, $events);
    my $p = Broadcast::Plain->connect($port, $events);

    $o{then}->() if $o{then};

    my (@hub, @sse, @plain);
    while (my $r = $h->next) {
        push @hub, said($r) unless said($r) =~ /^@|^type6/;
        last if $hub[-1] && $hub[-1] eq $last;
    }
    while (my $r = $s->event) { push @sse, $r->{event}; last if $sse[-1] eq $last }
    while (my $r = $p->next) { push @plain, $r->{target}; last if $plain[-1] eq $last }

    is("@hub", $wants, "$name: SignalR");
    is("@sse", $wants, "$name: an event stream");
    is("@plain", $wants, "$name: a plain WebSocket");

    $_->close for $h, $s, $p;
}

$nginx->stop_ok;

$pg->psql(q{select say('a'); select say('b')}, @at);
my ($state, $position) = split /\|/, $pg->psql($load, @at);
is($state, 'a b', 'while no node runs: the state');
like($position, qr/^0-0\.\./, '... and its position, with a suffix');
my $open = $pg->session(@at);
$open->run(q{begin; select say('d')});
$pg->psql(q{select say('c')}, @at);
my (undef, $later) = split /\|/, $pg->psql($load, @at);
$open->run(q{commit});
$pg->psql(q{select say('e')}, @at);

$nginx->start;
leads();

everywhere_ok($position, 'e', 'd c e', 'what was seen is left out, the rest '
                                      . 'comes');
everywhere_ok($later, 'e', 'd e', 'also of a transaction that was open then');

# the leading relay's backend stands still: nothing is numbered

sub frozen {
    my ($pid) = $pg->psql(q{select l.pid from pg_locks l
                             where l.locktype = 'advisory' and l.granted}, @at)
                =~ /(\d+)/;
    kill 'STOP', $pid;
    return $pid;
}

my $pid = frozen();
$pg->psql(q{select say('f')}, @at);
($state, $position) = split /\|/, $pg->psql($load, @at);
is($state, 'a b c d e f', 'the numbering stands still: the state');
like($position, qr/^\w+-5\.\./, '... is ahead of the numbers');
everywhere_ok($position, 'g', 'g', 'a resume waits for the numbers', then => sub {
    $pg->psql(q{select say('g')}, @at);
    sleep 0.5;
    kill 'CONT', $pid;
});

$open->run(q{begin; select say('h')});
(undef, $position) = split /\|/, $open->run($load);
like($position, qr/~\w+_1$/, 'a transaction that has sent asks');
everywhere_ok($position, 'j', 'i j', 'a resume waits for its commit', then => sub {
    sleep 0.3;
    $open->run(q{select say('i'); commit});
    $pg->psql(q{select say('j')}, @at);
});

$open->run(q{begin; select say('k')});
(undef, $position) = split /\|/, $open->run($load);
$c = hub($position, hub => 'place');
my $began = time;
is($c->next->{target}, 'broadcast.gap', 'and not longer than a call may '
                                            . 'take');
cmp_ok(time - $began, '>', 2, '... which it does');
$open->run('rollback');
$c->close;

# broken off in such a replay: the place has what is left out

$pid = frozen();
$pg->psql(q{select say('l')}, @at);
($state, $position) = split /\|/, $pg->psql($load, @at);
$pg->psql(q{select say('m')}, @at);
kill 'CONT', $pid;
numbered('place');

$position =~ s/-\d+/-1/;        # as if the page had loaded at 1
my $s = Broadcast::SSE->connect($port,
    "/events/place?last_event_id=$position");
my $event = $s->event;
like($event->{id}, qr/^\w+-\d+\.\./, 'an id of a replay keeps the suffix');
my $at = $event->{id};
$s->close;
my @ids;
$s = Broadcast::SSE->connect($port, "/events/place?last_event_id=$at");
while (my $e = $s->event) { push @ids, $e; last if $e->{event} eq 'm' }
ok(!grep({ $_->{event} eq 'l' } @ids), '... so what was seen is left out '
                                       . 'there, too');
$pg->psql(q{select say('n')}, @at);
like($s->event->{id}, qr/^\w+-\d+$/, 'what is live has none');
$s->close;

$c = hub($position, hub => 'place');
like($c->next->{target}, qr/^[a-k]$/, 'SignalR: a message');
like(said($c->next), qr/^\@\w+-\d+\.\./, '... and the position with the suffix');
while (my $r = $c->next) { last if said($r) eq 'n' }
$c->next;
like(said($c->next), qr/^\@\w+-\d+$/, '... which ends with the replay');
$c->close;


$nginx->stop_ok;

done_testing;
