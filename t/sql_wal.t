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
