#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# The numbering while other transactions are open for the whole run: one with a
# snapshot, so that nothing that was moved can be removed, one with a number of
# its own, and one that has sent.  What a batch costs is counted in pages, which
# do not depend on the machine.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP qw(decode_json);
use Test::More;

use Broadcast::Postgres;

my $pg = Broadcast::Postgres->new(conf => { shared_buffers => '256MB',
                                            max_wal_size => '4GB' });
my @at = (db => 'app', user => 'app');
my $total = 200_000;

$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);
$pg->psql('create table note (body text)', @at);

my $relay = $pg->session(@at);

sub stage {
    my ($n) = @_;

    return $pg->psql(qq{select broadcast.stage(array_fill('chat'::text, a),
        array_fill(1::smallint, a), array_fill(0::smallint, a),
        array_fill(2::smallint, a), array_fill(''::text, a),
        array_fill(''::text, a), array_fill('t'::text, a),
        array_fill('[1]'::text, a), array_fill(''::text, a),
        array_fill(0::bigint, a), array_fill(null::float8, a))
        from (select array[$n]) x(a)}, @at);
}

# the pages that a statement touches

sub pages {
    my ($sql, $session) = @_;
    my $plan = decode_json(($session // $relay)->run(
        "explain (analyze, buffers, timing off, format json) $sql"))->[0];

    return $plan->{Plan}{'Shared Hit Blocks'}
           + $plan->{Plan}{'Shared Read Blocks'};
}

sub send_one { $pg->psql(q{select broadcast.send_all('chat', 't', '[]')}, @at) }


# --- nothing is searched for among the dead ---------------------------------

my ($reader, $writer, $sender) = map { $pg->session(@at) } 1 .. 3;

$reader->run('begin isolation level repeatable read; select 1');
$writer->run(q{begin; insert into note values ('open')});
$sender->run(q{begin; select broadcast.send_all('chat', 'late', '[]')});

# plans are made, pages are there

sub batch { $relay->run('select broadcast.sequence(500)') }

stage(2000);
batch() for 1 .. 3;

my $first = pages('select broadcast.sequence(500)');
send_one();
my $one = pages('select broadcast.sequence(500)');
$relay->run(q{select broadcast.position('chat')}) for 1 .. 2;
my $position = pages(q{select broadcast.position('chat')});

my $numbered = 2001;

while ($numbered < $total) {
    stage(10_000);

    my $last = $numbered + 10_000 >= $total;
    $relay->run(join ';', ('select broadcast.sequence(500)') x ($last ? 19 : 20));
    $numbered += 10_000;
}

my $then = pages('select broadcast.sequence(500)');

cmp_ok($then, '<=', 2 * $first,
       "the last batch of $total costs what the first one did ($first, $then)");
is(batch(), 0, '... and all is numbered');

send_one();
my $then_one = pages('select broadcast.sequence(500)');
cmp_ok($then_one, '<=', 2 * $one, "a batch of one, too ($one, $then_one)");
cmp_ok(pages('select broadcast.sequence(500)'), '<=', $then_one,
       '... and one of none');

my $then_position = pages(q{select broadcast.position('chat')});
cmp_ok($then_position, '<=', $position + 2100,
       "a position looks at no more than some 1000 dead rows ($then_position)");

# who begins to number now does not look at all of them

my $successor = $pg->session(@at);
stage(500);
cmp_ok(pages('select broadcast.sequence(500)', $successor), '<=', 3 * $first,
       'nor does another session that begins to number');

cmp_ok($pg->psql(q{select pg_relation_size('broadcast.hub')
                          + pg_relation_size('broadcast.state')}, @at),
       '<=', 65536, 'no row was changed again and again');


# --- a late committer does not wait -----------------------------------------

$sender->run(q{select broadcast.send_all('chat', 'later', '[]'); commit});
is($relay->run('select broadcast.sequence(500)'), 2,
   'what an old transaction sent is numbered as soon as it is over');
is($pg->psql(q{select string_agg(target, ' ' order by seq)
                 from (select * from broadcast.message order by pos desc
                        limit 2) m}, @at), 'late later', '... in its order');
is($pg->psql(q{select count(*) = max(seq) and min(seq) = 1
                      and count(distinct seq) = count(*)
                 from broadcast.message}, @at), 't',
   'numbers are without holes');
$_->run('rollback') for $reader, $writer;


# --- order ------------------------------------------------------------------

# The second was open before the first; it sends behind the first's commit.

for my $more (0, 1200) {
    my $early = $pg->session(@at);

    $early->run(q{begin; insert into note values ('x')});
    stage($more) if $more;
    $pg->psql(q{select broadcast.send_all('chat', 'cause', '[]')}, @at);
    $early->run(q{select broadcast.send_all('chat', 'effect', '[]'); commit});
    1 while batch();

    is($pg->psql(q{select string_agg(target, ' ' order by seq)
                     from (select * from broadcast.message order by pos desc
                            limit 2) m}, @at), 'cause effect',
       "what is sent behind a commit is behind it, $more before");
}


# --- nobody waits -----------------------------------------------------------

my $slow = $pg->session(@at);

$slow->run(q{set statement_timeout = '5s'});
stage(3);
$relay->run('begin');
is($relay->run('select broadcast.sequence(2)'), 2, 'a numbering that is open');

is($slow->run(q{select broadcast.send_all('chat', 'x', '[]')}), '',
   '... holds up no sender');
like($slow->run(q{select broadcast.position('chat')}), qr/-\d+\.\./,
     '... and no position');
is($slow->run(q{select count(*) from broadcast.read(0, 1)}), 1,
   '... and no reader');

my $second = $slow->send('select broadcast.sequence(10)');
is($slow->finish($second, 0.3), undef, 'a second one that numbers waits');
$relay->run('commit');
is($slow->finish($second), 2, '... and has what is left');
is(batch(), 0, '... which the first does not find again');
is($pg->psql(q{select count(*) = max(seq) and count(distinct seq) = count(*)
                 from broadcast.message}, @at), 't', 'no number is given twice');

# a numbering that is taken back

send_one();
$relay->run('begin');
is(batch(), 1, 'a numbering');
$relay->run('rollback');
is(batch(), 1, '... that was taken back is made again');

# locks of the table that a publisher, VACUUM or an operator has

$sender->run(q{begin; select broadcast.send_all('chat', 'open', '[]')});
$slow->run(q{begin; lock table broadcast.staging in share update exclusive mode});
send_one();
is(batch(), 1, 'neither an open publisher nor VACUUM holds up the numbering');
$_->run('rollback') for $sender, $slow;


# --- from another server ----------------------------------------------------

# as it is restored from a dump: transactions of another server, yet to come
# here

$pg->psql(q{
    insert into broadcast.staging (hub, type, scope, source, target, arguments,
                                   xid)
    select 'chat', 1, 0, 0, 'restored', '[]', '999999999999';
    insert into broadcast.drained values (9999999, '999999999998:999999999998:', 5)},
    @at);
is($pg->session(@at)->run('select broadcast.sequence(10)'), 1,
   'what was staged in another server is numbered here');

done_testing();
