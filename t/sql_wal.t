#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# Who leaves the WAL as the source puts what is left there below what is staged
# from then on, also below what is staged at that very moment.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::Postgres;
use Broadcast::Wait qw(wait_for);

my $pg = Broadcast::Postgres->new(conf => { wal_level => 'logical' });
my @at = (db => 'app', user => 'app');

sub q1 { $pg->psql($_[0], @at) }
sub plan_ { "select what from broadcast.wal_plan($_[0], 'p', null, null)" }

$pg->createdb('app', 'app');
$pg->psql('grant create on database app to app; alter role app replication',
          db => 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);

is(q1(plan_(q{'left'})), 'create', 'a slot is wanted');
q1(q{select pg_create_logical_replication_slot('left', 'pgoutput')});
is(q1(plan_(q{'left'})), 'read', '... and is there');
# A client may make a position up: what it is good for is looked at with each
# of its tries, and would be written to the WAL with each.

q1(q{truncate broadcast.wal_cursor;
     insert into broadcast.wal_cursor (lsn, n) values ('0/1', 0)});

sub beats {
    return q1(q{select count(*) from pg_logical_slot_peek_binary_changes('left',
                    null, null, 'proto_version', '1', 'publication_names', 'p',
                    'messages', 'true')
                 where position('beat'::bytea in data) > 0});
}

sub asks {
    my ($suffix) = @_;

    return q1(qq{select string_agg(distinct broadcast.settled('chat',
                        $suffix)::text, ' ')
                   from generate_series(1, 300) n});
}

my $now = q{'.-' || to_hex((pg_current_wal_insert_lsn() - '0/0')::bigint)};
my $old = q{'.~' || to_hex(pg_snapshot_xmin(pg_current_snapshot())::text::bigint
                           - n) || '_1-0'};
my ($began, $beats) = (time, beats());

is(asks($now), 'false', 'a position that the relay has not reached is not '
                        . 'settled');
cmp_ok(beats() - $beats, '>', 0, '... and gives it something to read');
is(asks($old), 'false', 'nor is one of a transaction of long ago');

my $most = 10 * (time - $began + 1) + 2;

cmp_ok(beats() - $beats, '<=', $most, "... 600 of them at most $most times");
cmp_ok(q1('select count(*) from broadcast.wal_own'), '<=', $most,
       '... nor does the table grow with them');

$beats = beats();
is(asks(q{'.-7' || repeat('f', 15)}), 'false',
   'one beyond all that is written is not settled');
is(beats(), $beats, '... and nothing is written for it');

q1('truncate broadcast.wal_own, broadcast.wal_cursor');
q1('update broadcast.wal set wanted = null');

# one that stages in this mode, between the two looks at the sequence of ids

my ($holder, $leaves) = map { $pg->session(@at) } 1 .. 2;

$holder->run('begin; select from broadcast.wal for update');

my $mark = $leaves->send(plan_('null'));

wait_for(sub { q1('select count(*) from pg_locks where not granted') });
q1(q{begin isolation level repeatable read;
     select broadcast.send_all('chat', 'staged', '[]'); commit});
$holder->run('rollback');
is($leaves->finish($mark), 'again', 'the slot is left');

# a message that was left in it

my $read = q{select r.taken
    from (select broadcast.wal_seal(convert_to(b, 'UTF8')) || b
            from (select json_build_array('3', 1, 'chat', 1, 0, 0, null, null,
                         'left', null, null, null, 0, false)::text
                         || E'\n[]') w(b)) w(m),
         broadcast.sequence_wal('{0/1,0/2}', '{1,1}', '{3,3}', array[m, m],
                                '0/3') r};

q1('truncate broadcast.wal_cursor');
is(q1($read), 2, '... what is left in it is read');
is(q1(q{select string_agg(target, ' ' order by id) from broadcast.staging}),
   'staged left left', '... each in its place');
q1(q{select broadcast.send_all('chat', 'later', '[]')});
is(q1(q{select target from broadcast.staging order by id desc limit 1}),
   'later', '... before what is sent by now');

done_testing();
