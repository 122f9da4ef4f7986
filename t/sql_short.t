#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# The short way of the numbering: what a session keeps of its last batch, in
# place of looking for it.  It is true only while nobody else has numbered, the
# hub is the same, its epoch too, and the part of the history: each of them is
# changed in between, then in any order.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::Postgres;

my $pg = Broadcast::Postgres->new;
my @at = (db => 'app', user => 'app');

$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);

my ($relay, $other) = map { $pg->session(@at) } 1, 2;
my $sent = 0;

sub batch { return ($_[0] // $relay)->run('select broadcast.sequence(500)') }

sub send_to {
    my ($hub, $session) = @_;
    my $sql = "select broadcast.send_all('$hub', '" . ++$sent . "', '[]')";

    $session ? $session->run($sql) : $pg->psql($sql, @at);
}

# The short way alone is there.

sub short {
    my ($session) = @_;

    $pg->psql('alter function broadcast.number_any(int) rename to away', @at);
    my $n = batch($session);
    $pg->psql('alter function broadcast.away(int) rename to number_any', @at);

    return $n;
}

sub warm {
    my ($hub, $session) = @_;

    for (1 .. 3) {
        send_to($hub);
        batch($session);
    }
}

my $whole = q{
    select coalesce(string_agg(w, '; '), 'whole') from (
        select hub || ' ' || epoch || ': ' || count(*) || ' of ' || min(seq)
               || '..' || max(seq)
          from broadcast.message where epoch <> 0
         group by hub, epoch
        having max(seq) - min(seq) + 1 <> count(*)
            or count(distinct seq) <> count(*)
         union all
        select 'order of ' || a.hub from broadcast.message a
          join broadcast.message b on b.hub = a.hub and b.epoch = a.epoch
                                      and b.seq = a.seq + 1
         where b.pos < a.pos
         union all
        select target || ' is there ' || count(*) || ' times'
          from broadcast.message where type = 1
         group by target having count(*) <> 1) x(w)};

sub whole {
    my ($name) = @_;

    is($pg->psql($whole, @at), 'whole', $name);
}

sub last_of {
    return $pg->psql("select target from broadcast.message"
                     . " where hub = '$_[0]' order by seq desc limit 1", @at);
}


# --- the short way ----------------------------------------------------------

warm('chat');
send_to('chat') for 1 .. 3;
is(short(), 3, 'a hub that is alone goes the short way');
is(short(), 0, '... and so does nothing');
whole('... as whole as by the long one');

is($pg->psql(q{select count(*) from broadcast.message m
                where m.epoch = (select epoch from broadcast.hub)
                  and size = 258 and mark is not null and xid is not null
                  and nth = 1}, @at), 6, '... with all that a message has');

my $late = $pg->session(@at);
$late->run('begin');
send_to('chat', $late);
send_to('chat');
is(short(), 1, 'past an open transaction');
$late->run('commit');
is(short(), 1, '... which is found when it is over');

$late->run(q{begin; select nextval('broadcast.staging_id_seq') as early \gset});
send_to('chat');
is(short(), 1, 'past an id that was taken');
$late->run(q{insert into broadcast.staging (id, hub, type, scope, source,
             target, arguments) overriding system value
             values (:early, 'chat', 1, 0, 0, 'early', '[]'); commit});
is(short(), 1, '... by a transaction that began behind it');

$late->run('begin');
send_to('chat', $late);
send_to('chat');
is(short(), 1, 'of two with an open one');
send_to('chat');
$late->run('commit');
is(short(), 2, '... the open one and the next are numbered at once');
is($pg->psql(q{select string_agg(target, ' ' order by seq)
                 from (select * from broadcast.message order by pos desc
                        limit 2) m}, @at), join(' ', $sent - 2, $sent),
   '... in the order in which they were sent');
whole('... and all is there, once');


# --- what is true no more ---------------------------------------------------

warm('chat', $other);
send_to('chat');
is(batch(), 1, 'another session has numbered meanwhile');
whole('... and nothing is numbered twice');

warm('chat');
send_to('news');
is(batch(), 1, 'another hub');
send_to('chat'), send_to('news');
is(batch(), 2, '... and both at once');
is(last_of('news'), $sent, '... each with its own');
whole('... and its own numbers');

warm('chat');
send_to('chat');
$relay->run('begin');
is(short(), 1, 'a batch of the short way');
$relay->run('rollback');
is(batch(), 1, '... that was taken back is made again');
whole('... once');

warm('chat');
$pg->psql('select broadcast.begin_anew(1000000)', @at);
send_to('chat');
is(batch(), 1, 'the history began anew');
is($pg->psql(q{select count(distinct epoch) from broadcast.message
                where hub = 'chat'}, @at), 2, '... with a new epoch');
is($pg->psql(q{select seq - lag from (select seq, epoch, type,
                   lag(seq) over (order by pos) from broadcast.message
                    where hub = 'chat' order by pos desc limit 1) x}, @at), 1,
   '... that goes on behind its first row');
whole('... and all is there');

warm('chat');
$pg->psql(q{update broadcast.hub set epoch = epoch + 1 where name = 'chat'},
          @at);
send_to('chat');
is(batch(), 1, 'somebody has changed the epoch');
is($pg->psql(q{select m.epoch = h.epoch and m.seq = h.seq + 1
                 from broadcast.message m join broadcast.hub h on h.name = m.hub
                order by m.pos desc limit 1}, @at), 't',
   '... which has numbers of its own');

# an older version of the file does not say that it has numbered

warm('chat');
$pg->psql(q{insert into broadcast.message
            select pos + 1, hub, epoch, seq + 1, type, scope, source, name, grp,
                   'older', arguments, detail, excluded, mark, ttl, size,
                   created_at, xid, nth
              from broadcast.message order by pos desc limit 1}, @at);
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);
send_to('chat');
is(batch(), 1, 'an older version was put back, and this one again');
whole('... and goes on behind what that has numbered');

warm('chat');
my $newest = $pg->psql('select max(seq) from broadcast.message'
                       . q{ where hub = 'chat'}, @at);
$pg->psql('truncate broadcast.message', @at);
send_to('chat');
is(short(), 1, 'what was numbered is gone');
is($pg->psql('select seq from broadcast.message', @at), $newest + 1,
   '... and the next number behind it');

# the end of a part of the history is a handful of messages away

warm('chat');
my $end = $pg->psql('select min(upto) from broadcast.history where upto >'
                    . ' (select max(pos) from broadcast.message)', @at);
my $room = $end - $pg->psql('select max(pos) from broadcast.message', @at);
$pg->psql(qq{do \$\$ begin for i in 1 .. ${\($room - 3)} loop
                 perform broadcast.send_all('chat', 'many ' || i, '[]');
             end loop; end \$\$}, @at);
1 while batch();
warm('chat');
send_to('chat') for 1 .. 3;
batch();
warm('chat');
cmp_ok($pg->psql('select max(pos) from broadcast.message', @at), '>', $end,
       'a part of the history is full');
is($pg->psql('select pos >= ' . $end . q{ from broadcast.hub
               where name = 'chat'}, @at), 't', '... which is kept of the hub');
send_to('chat');
is(short(), 1, '... and the next one goes the short way');
whole('... and no number is missing');


# --- in any order -----------------------------------------------------------

my $seed = $ENV{BROADCAST_SEED} // time;
note "BROADCAST_SEED=$seed";
srand $seed;

$pg->psql('truncate broadcast.message', @at);
my $before = $sent;

my @open = map { { session => $pg->session(@at) } } 1 .. 4;
my @steps = (
    sub { send_to(rand() < 0.8 ? 'chat' : 'news') },
    sub {
        my $o = $open[rand @open];
        $o->{session}->run('begin') unless $o->{open}++;
        send_to(rand() < 0.8 ? 'chat' : 'news', $o->{session});
    },
    sub {
        my $o = $open[rand @open];
        $o->{session}->run('commit') if delete $o->{open};
    },
    (sub { batch() }) x 3,
    sub { batch($other) if rand() < 0.1 },
    sub {
        return if rand() < 0.8;
        $relay->run('begin');
        batch();
        $relay->run('rollback');
    });

$steps[rand @steps]->() for 1 .. 1500;
$_->{open} && $_->{session}->run('commit') for @open;
batch();

is($pg->psql('select count(*) from broadcast.message', @at), $sent - $before,
   'whatever was sent in any order is numbered')
    or diag "BROADCAST_SEED=$seed";
whole('... once, without holes');
is(batch(), 0, '... and nothing is left');

done_testing();
