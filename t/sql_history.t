#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# The history in parts: an older table becomes the first one, new ones are made
# ahead, and one that nobody needs goes as a whole, while the numbering goes on
# whoever reads.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP qw(decode_json);
use Test::More;

use Broadcast::Postgres;
use Broadcast::Wait qw(wait_for);

my $pg = Broadcast::Postgres->new(conf => { max_wal_size => '4GB' });
my @at = (db => 'app', user => 'app');
my $file = "$FindBin::Bin/../sql/broadcast.sql";

sub q1 { $pg->psql($_[0], @at) }
sub parts { q1(q{select string_agg(inhrelid::regclass::text, ' '
                     order by length(inhrelid::regclass::text), inhrelid)
                   from pg_inherits
                  where inhparent = 'broadcast.message'::regclass}) }
sub send_ { q1("select broadcast.send_all('chat', '$_', '[]')") for @_;
            q1('select broadcast.sequence(1000)') }
sub set_ { q1("update broadcast.setting set value = '$_[1]'
                where name = 'history_$_[0]'") }
sub position_ { q1(q{select broadcast.position('chat')}) }

# rows of a hub as if they had been sent, an hour's worth at a time

sub fill {
    my ($hub, $from, $n, $age) = @_;

    q1(qq{insert into broadcast.message (pos, hub, epoch, seq, type, scope,
              source, target, arguments, mark, size, created_at, xid, nth)
          select $from + i, '$hub', h.epoch, $from + i, 1, 0, 0, 'filled',
                 '[]', i, 300, clock_timestamp() - interval '$age', '3', 1
            from generate_series(1, $n) i, broadcast.hub h
           where h.name = '$hub'});
}


# --- an older version -------------------------------------------------------

$pg->createdb('app', 'app');
$pg->psql('create role reads login; create role part login; create role sees login');
$pg->file($file, @at);
$pg->psql(<<'EOS', @at);
drop table broadcast.message, broadcast.history, broadcast.upkept,
           broadcast.drained cascade;
drop index broadcast.staging_xid;
alter table broadcast.staging drop column xid, drop column nth;
alter table broadcast.hub drop column pos;
create table broadcast.message (
    pos bigint primary key, hub text not null, epoch bigint not null,
    seq bigint not null, type smallint not null, scope smallint not null,
    source smallint not null, name text, grp text, target text, arguments json,
    detail text, excluded text, mark bigint not null, ttl double precision,
    size int not null, created_at timestamptz not null,
    unique (hub, epoch, seq));
insert into broadcast.hub (name, epoch, seq) values ('chat', 255, 3);
insert into broadcast.message (pos, hub, epoch, seq, type, scope, source,
    target, arguments, mark, size, created_at)
select i, 'chat', 255, i, 1, 0, 0, 'old' || i, '[]', i, 300,
       clock_timestamp() from generate_series(1, 3) i;
update broadcast.state set head = 3;
insert into broadcast.staging (hub, type, scope, source, target, arguments)
values ('chat', 1, 0, 0, 'waits', '[]');
create view said as select seq, target from broadcast.message where type = 1;
grant select on said to sees;
grant usage on schema broadcast to reads, part;
grant select on broadcast.message to reads with grant option;
grant select (seq, target) on broadcast.message to part;
EOS

# by a superuser

$pg->file($file, db => 'app');
is(q1(q{select string_agg(c.oid::regclass::text, ' ') from pg_class c
         where c.relnamespace = 'broadcast'::regnamespace
           and c.relowner <> 'app'::regrole}), '',
   'a superuser who upgrades it leaves all of it to its owner');
is(q1('select broadcast.position(\'chat\')') =~ /^ff-3\.\./ ? 1 : 0, 1,
   'an older schema: the position is what it was, and what waits is seen');
is(q1('select broadcast.sequence(10)'), 1, '... it is numbered');
is(q1(q{select string_agg(pos || ':' || seq || target, ' ' order by pos)
          from broadcast.read(0, 10)}),
   '1:1old1 2:2old2 3:3old3 4:4waits', '... behind the old history');
is(q1(q{select string_agg(target, ' ' order by seq)
          from broadcast.replay('chat', 255, 1, 4, 10)}), 'old2 old3 waits',
   '... in one replay');
is($pg->psql('select count(*) from said', db => 'app', user => 'sees'), 4,
   'a view of the table is one of the whole');
is($pg->psql('select count(*) from broadcast.message', db => 'app',
             user => 'reads'), 4, 'who may read it may read the whole');
is($pg->psql('select max(target) from broadcast.message', db => 'app',
             user => 'part'), 'waits', '... or the columns that he may');
ok(!($pg->try('select * from broadcast.message', db => 'app',
              user => 'part'))[0], '... and no others');
is(parts(), 'broadcast.message_0 broadcast.message_4', 'it is the first part');

$pg->file($file, @at);
is(parts(), 'broadcast.message_0 broadcast.message_4',
   'a second installation changes nothing');


# --- made ahead -------------------------------------------------------------

q1('select broadcast.upkeep()');
is(parts(), join(' ', map { "broadcast.message_$_" } 0, 4, 65540),
   'a part is ready behind the one that is filled');

my ($size, $next) = (65536, 65540);

fill('chat', 4, $next - 5, '0');
is(position_(), 'ff-' . ($next - 1), 'a part that is full');
is(send_('first of the next'), 1, 'the numbering goes on in the next one');
is(position_(), 'ff-' . $next, '... without a hole');
is(q1('select pos from broadcast.hub') >= $next - 1 ? 1 : 0, 1,
   '... and looks for the newest number there alone');

# nobody made one

q1('drop table broadcast.message_65540; delete from broadcast.history where first = 65540');
is(send_('nowhere'), 1, 'where no part is ready it is made on the way');

# two at once

my ($a, $b) = map { $pg->session(@at) } 1, 2;
q1('drop table broadcast.message_65540; delete from broadcast.history where first = 65540');
$a->run('begin; select broadcast.upkeep()');
q1(q{select broadcast.send_all('chat', 'x', '[]')});
my $mark = $b->send('select broadcast.sequence(10)');
is($b->finish($mark, 0.3), undef, 'who numbers waits for one that is being made');
$a->run('commit');
is($b->finish($mark), 1, '... and uses it');


# --- the oldest goes --------------------------------------------------------

sub upkeep { q1('select broadcast.upkeep()') }

is(upkeep(), '', 'upkeep');
like(parts(), qr/message_0 /, '... leaves what is kept');

q1(q{update broadcast.message set created_at = clock_timestamp()
     - interval '25 hours' where pos < 3});
is(upkeep(), '', 'a part with one row that is kept');
like(parts(), qr/message_0 /, '... stays');
q1(q{update broadcast.message set created_at = clock_timestamp()
     - interval '25 hours' where pos < 65540});

# an open reader, a numbering that does not wait for it, nor for who would drop

my $reader = $pg->session(@at);
$reader->run('begin; select count(*) from broadcast.message where pos < 4');

my $prune = $pg->session(@at);
my $pruning = $prune->send('select broadcast.upkeep()');
$b->run(q{set statement_timeout = '3s'});

my $went = 0;
for (1 .. 20) {
    q1(q{select broadcast.send_all('chat', 'x', '[]')});
    $went++ if $b->run('select broadcast.sequence(10)') eq '1';
    $went++ if $b->run('select count(*) >= 1 from broadcast.read(65540, 10)') eq 't';
}

is($went, 40, 'while an old part is read, and is over, the numbering goes on');
like($prune->finish($pruning), qr/message_0, which is over, cannot be dropped/,
     '... and upkeep says why it could not');
is(q1(q{select failure is not null and since is not null from broadcast.upkept}),
   't', '... for the doctor, too');
is(q1(q{select count(*) from broadcast.message where pos < 4}), 3,
   '... and has removed nothing');

$reader->run('commit');
is(upkeep(), '', 'when nobody reads');
unlike(parts(), qr/message_0 /, '... the part goes');
is(q1('select failure is null from broadcast.upkept'), 't',
   '... and nothing is wrong any more');

# an open transaction of a sender, or of one with a snapshot, is no reader

$reader->run(q{begin isolation level repeatable read; select 1;
               select broadcast.send_all('chat', 'x', '[]')});
is(upkeep(), '', 'a transaction that is open elsewhere');
unlike(parts(), qr/message_4 /, '... holds up nothing');
$reader->run('rollback');

my $position = position_();
my ($seq) = $position =~ /-(\d+)$/;

is(q1(qq{select oldest from broadcast.replay_state('chat')}), $seq - 20,
   'what is left is the history');


# --- beyond the count -------------------------------------------------------

set_(count => 7);
is(q1(q{select oldest from broadcast.replay_state('chat')}), $seq - 6,
   'what is beyond the count is not served');
is(q1(qq{select string_agg(seq::text, ' ' order by seq)
           from broadcast.replay('chat', 255, 0, $seq, 100)}),
   join(' ', $seq - 6 .. $seq), '... nor replayed');

q1(q{select broadcast.send_all('rare', 'once', '[]')});
q1('select broadcast.sequence(10)');
my $head = q1('select broadcast.head()');
my $upto = q1('select max(upto) from broadcast.history');
q1("select broadcast.history_add(" . ($upto) . ")");
fill('chat', $head, $upto - $head + 10, '0');
upkeep();
like(parts(), qr/message_65540 /,
     'a part with a row that its hub keeps stays, whatever other hubs keep');
q1(q{update broadcast.message set created_at = clock_timestamp()
      - interval '2 hours' where hub = 'rare'});
upkeep();
like(parts(), qr/message_65540 /, '... however old the others are');
q1(q{delete from broadcast.message where hub = 'rare'});
upkeep();
unlike(parts(), qr/message_65540 /,
       'one of which all is beyond the count of its hub goes');
is(q1(q{select broadcast.position('rare')}) =~ /-1$/ ? 1 : 0, 1,
   '... and what was the newest of a hub stays its position');


# --- deleted by somebody ----------------------------------------------------

set_(count => 100000);
$position = position_();
$head = q1('select broadcast.head()');

q1(q{delete from broadcast.message where pos > broadcast.head() - 3});
is(position_(), $position, 'who deletes the newest rows gives no number back');
is(q1('select broadcast.head()'), $head, '... nor a pos');
my ($oldest, $newest) = split /\|/, q1(q{select oldest || '|' || newest
    from broadcast.replay_state('chat')});
cmp_ok($oldest, '<', $newest, '... the rest is still there');

q1('truncate broadcast.message');
is(position_(), $position, 'who truncates the table, too');
is(q1('select broadcast.head()'), $head, '... nor a pos');
send_('on');
is(position_(), $position =~ s/(\d+)$/$1 + 1/er, 'and it goes on behind them');
is(q1('select broadcast.head()'), $head + 1, '... with the next pos');

my ($part) = q1('select tableoid::regclass from broadcast.message');
q1("delete from $part");
is(position_(), $position =~ s/(\d+)$/$1 + 1/er, '... one part alone, too');
send_('on');
q1("truncate $part");
is(position_(), $position =~ s/(\d+)$/$1 + 2/er, '... however');

send_('these', 'too');

my ($numbers, $owner) = map { $pg->session(@at) } 1 .. 2;

q1(q{select broadcast.send_all('chat', 'meanwhile', '[]')});
$owner->run('begin; truncate broadcast.message');

my $waits = $numbers->send('select broadcast.sequence(500)');

wait_for(sub { q1(q{select count(*) from pg_locks where not granted}) });
$owner->run('commit');
is($numbers->finish($waits), 1, 'who numbers waits for one that truncates');
is(q1('select pos from broadcast.message'), $head + 5,
   '... and goes on behind what that one took away');

$owner->run('begin isolation level repeatable read; select 1');
send_('unseen');
$owner->run('truncate broadcast.message; commit');
is(q1('select max(pos) from broadcast.message'), $head + 6,
   'whoever does not see all of it does not truncate it');
q1('delete from broadcast.message');


# --- too old in a part that is not full -------------------------------------

send_(map { "n$_" } 1 .. 5);
q1(q{update broadcast.message set created_at = clock_timestamp()
      - interval '25 hours' where target in ('n1', 'n2')});
upkeep();
is(q1(q{select string_agg(target, ' ' order by seq) from broadcast.message}),
   'n1 n2 n3 n4 n5', 'old rows of a part that is being filled stay for a while');
q1(q{update broadcast.message set created_at = clock_timestamp()
      - interval '31 hours' where target in ('n1')});
upkeep();
is(q1(q{select string_agg(target, ' ' order by seq) from broadcast.message}),
   'n3 n4 n5', '... and go when they are a quarter older');


# --- what reading costs -----------------------------------------------------

# twenty parts more

q1(q{select broadcast.history_add((select max(upto) from broadcast.history))
       from generate_series(1, 20)});
fill('chat', q1('select broadcast.head()'), 5000, '0');
$head = q1('select broadcast.head()');
($seq) = position_() =~ /(\d+)$/;

my $measure = $pg->session(@at);

sub pages {
    my ($sql) = @_;

    $measure->run($sql) for 1 .. 2;

    my $plan = decode_json($measure->run(
        "explain (analyze, buffers, timing off, format json) $sql"))->[0];

    return $plan->{Plan}{'Shared Hit Blocks'}
           + $plan->{Plan}{'Shared Read Blocks'};
}

my $behind = $head - 5;
cmp_ok(pages("select * from broadcast.read($behind, 500)"), '<=', 40,
       'a read of the newest rows looks at few pages');
cmp_ok(pages("select * from broadcast.read($head, 500)"), '<=', 30,
       '... one of none, too');
cmp_ok(pages(q{select broadcast.head()}), '<=', 60, '... the head');
cmp_ok(pages(q{select broadcast.position('chat')}), '<=', 80, '... a position');
cmp_ok(pages(q{select * from broadcast.replay_state('chat')}), '<=', 250,
       '... how far a history reaches');
cmp_ok(pages("select * from broadcast.replay('chat', 255, $seq - 2000, $seq, 64)"),
       '<=', 350, '... a page of it');

# of many hubs, one that is kept is soon found

my $full = q1('select max(first) from broadcast.history');

q1(qq{insert into broadcast.hub (name, epoch, pos)
      select 'hub' || i, 1, $full from generate_series(1, 5000) i});
q1(qq{insert into broadcast.message (pos, hub, epoch, seq, type, scope, source,
          target, mark, size, created_at)
      select $full + i, 'hub' || i, 1, 1, 1, 0, 0, 't', i, 300,
             clock_timestamp() from generate_series(1, 5000) i});
cmp_ok(pages("select broadcast.history_over($full)"), '<=', 2000,
       'that a part is not over costs no look at each hub');

my $holder = $pg->session(@at);

$holder->run(q{begin; select from broadcast.hub where name = 'hub7' for update});
is(q1("select broadcast.history_drop($full)"), 'f',
   'while somebody has the row of a hub, no part of its history goes');
$holder->run('rollback');
is(q1("select broadcast.history_drop($full)"), 't', '... and then it does');
is(q1(q{select count(*) from broadcast.positions()
         where hub like 'hub%' and seq = 1}), 5000,
   '... with the newest number of each of its hubs kept');

done_testing();
