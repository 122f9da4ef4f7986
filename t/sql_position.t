#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# A page loads state and position in one statement and resumes from there: of
# what it has sent or seen committed nothing is missed and nothing comes twice,
# wherever the numbering stands.  The state is a table into which each sender
# writes what it sends.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::Postgres;
use Broadcast::Wait qw(wait_for);

my $pg = Broadcast::Postgres->new($ENV{PG13} ? (bindir => $ENV{PG13}) : ());
my @at = (db => 'app', user => 'app');

$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);

$pg->psql(<<'EOS', @at);
create table said (what text);
create function say(what text) returns void language sql as $$
    insert into said values ($1);
    select broadcast.send_all('chat', $1, '[]') $$;

-- what a node does: it waits until all is settled, then replays
create function resumed(place text) returns text language plpgsql as $$
declare
    p text[] := regexp_match(place, '^([0-9a-f]+)-(\d+)(.*)$');
    s record;
begin
    select * into s from broadcast.replay_state('chat', p[3]);
    if s.settled is not true then return 'not settled'; end if;
    return (select coalesce(string_agg(r.target, ' ' order by r.seq), '-')
              from broadcast.replay('chat', s.epoch, p[2]::bigint, s.newest,
                                    1000, p[3]) r
             where r.type = 1);
end $$;
EOS

my $load = q{select coalesce(string_agg(what, ' ' order by what), '-') || '|'
                    || broadcast.position('chat') from said};

sub session { $pg->session(@at) }
sub number { $pg->psql('select broadcast.sequence(1000)', @at) }
sub resumed { $pg->psql("select resumed('$_[0]')", @at) }
sub load { split /\|/, ref $_[0] ? $_[0]->run($load) : $pg->psql($load, @at) }
sub say_ { $pg->psql("select say('$_[0]')", @at) }

# state and messages together: each once, and all of it

sub whole_ok {
    my ($state, $position, $name) = @_;
    my $more = resumed($position);

    my $got = join ' ', sort grep { $_ ne '-' } split / /, "$state $more";
    my $all = $pg->psql(q{select string_agg(what, ' ' order by what)
                            from said}, @at);

    is($got, $all, $name);
    return join ' ', sort split / /, $more;
}


# --- one by one -------------------------------------------------------------

my ($state, $position) = load();
is($position, '0-0', 'before anything was sent there is no suffix');

say_('a');
($state, $position) = load();
like($position, qr/^0-0\.\.[0-9a-f]+$/, 'what is committed and not numbered '
                                        . 'stands behind the number');
isnt($pg->psql("select broadcast.settled('chat', substr('$position', 4))", @at),
     't', '... and is not settled');
number();
is($pg->psql("select broadcast.settled('chat', substr('$position', 4))", @at),
   't', '... until it is numbered');
is(whole_ok($state, $position, 'a resume behind it has the rest'), '-',
   '... which is nothing');

my ($s1, $p1) = load();
like($p1, qr/^[0-9a-f]+-1$/, 'when all is numbered there is no suffix');
say_('b');
my ($s2, $p2) = load();
say_('c');
number();
is(whole_ok($s1, $p1, 'a resume without a suffix'), 'b c',
   '... has all that came later');
is(whole_ok($s2, $p2, 'a resume from before one message'), 'c',
   '... has that one');


# --- a transaction that is open ---------------------------------------------

my $open = session();
$open->run(q{begin; select say('d')});
say_('e');
my ($s3, $p3) = load();
is($s3, 'a b c e', 'what an open transaction has sent is not in the state');
$open->run(q{select say('f'); commit});
say_('g');
number();
is(whole_ok($s3, $p3, 'nor counts it as seen'), 'd f g',
   '... though it was sent first');

# numbered before the reader looks, numbered behind its back, not numbered

$open->run(q{begin; select say('h')});
say_('i');
number();
say_('j');
my ($s4, $p4) = load();
$open->run('commit');
say_('k');
is(resumed($p4), 'not settled', 'before the numbering the resume waits');
number();
say_('l');
is(join(' ', sort split / /, resumed($p4)), 'h k',
   'what is numbered meanwhile comes');
number();
is(whole_ok($s4, $p4, 'interleaved with two runs of the numbering'), 'h k l',
   '... each once');


# --- the reader's own transaction -------------------------------------------

$open->run(q{begin; select say('m')});
my ($s5, $p5) = load($open);
like($p5, qr/\.~[0-9a-f]+_1$/, 'a transaction knows what it has sent itself');
$open->run(q{select say('n')});
is(resumed($p5), 'not settled', 'while it is open the resume waits');
say_('o');
my ($s6, $p6) = load($open);
$open->run(q{select say('p'); commit});
is(resumed($p5), 'not settled', '... and until it is numbered');
number();
is(whole_ok($s5, $p5, 'of its own messages it has the later ones'), 'n o p',
   '... and those of others');
is(whole_ok($s6, $p6, '... of two of its own and one of others'), 'p',
   '... the last');

$open->run(q{begin; select say('q'); savepoint s; select say('never');
             rollback to s});
my ($s7, $p7) = load($open);
$open->run(q{select say('r'); commit});
number();
is(whole_ok($s7, $p7, 'what was taken back counts for nothing'), 'r',
   '... and what took its place is not taken for it');

$open->run(q{begin; select say('never')});
my ($s8, $p8) = load($open);
$open->run('rollback');
say_('s');
number();
is(resumed($p8), 's', 'a transaction that was rolled back is settled');


# --- a snapshot of long ago -------------------------------------------------

$open->run('begin isolation level repeatable read');
say_('t');
my ($s9, $p9) = load($open);
is($s9 =~ /t/ ? 1 : 0, 1, 'a snapshot');
say_('u');
number();
say_('v');
is((load($open))[1], $p9, '... has one position, whatever is numbered');
number();
is((load($open))[1], $p9, '... and moved');
whole_ok(load($open), '... which misses nothing and has nothing twice');

# its own, in a snapshot in which its own number is of the future

$open->run(q{select say('w')});
my ($s10, $p10) = load($open);
$open->run(q{select say('x'); commit});
number();
whole_ok($s10, $p10, '... with what it sends itself');


# --- who does what in many steps --------------------------------------------

# Twelve sessions send, commit and load in an order made by a fixed seed, with
# the numbering in between; every position that was taken must be whole.

srand 5;

my @sessions = map { session() } 1 .. 12;
my (@open, @loads);

for my $step (1 .. 400) {
    my $i = int rand 12;
    my $session = $sessions[$i];
    my $what = rand;

    if ($what < 0.15) {
        $pg->psql('select broadcast.sequence(' . (1 + int rand 6) . ')', @at);

    } elsif ($what < 0.3) {
        push @loads, [ load($session), $open[$i] ? 1 : 0 ];

    } elsif (!$open[$i]) {
        $session->run($what < 0.4 ? 'begin isolation level repeatable read'
                                  : 'begin');
        $open[$i] = 1;

    } elsif ($what < 0.8) {
        $session->run("select say('z$step')");

    } else {
        $session->run('commit');
        $open[$i] = 0;
    }
}

$_->run('commit') for @sessions;
1 while number();

my $all = $pg->psql(q{select string_agg(what, ' ' order by what)
                        from said}, @at);
my $positions = join ',', map { "'$_->[1]'" } @loads;
my @resumed = map { $_->[0] } $pg->rows(
    "select resumed(p) from unnest(array[$positions]) with ordinality u(p, n)
      order by n", @at);
my @wrong = grep {
    my $state = $loads[$_][0];
    join(' ', sort grep { $_ ne '-' } split / /, "$state $resumed[$_]") ne $all
} 0 .. $#loads;

cmp_ok(scalar(grep { $_->[1] =~ /\./ } @loads), '>', 30,
       'many positions with a suffix');
is_deeply([ @wrong ], [], '... and each is whole: nothing missed, nothing twice')
    or diag(map { "$loads[$_][1]: $loads[$_][0] + $resumed[$_]\n" } @wrong);


# --- what stands in it ------------------------------------------------------

is_deeply([ $pg->rows(q{select * from broadcast.seen('..ff_2.1.3~a1_7-1f')},
                      @at) ],
          [ [ 255, 257, 2147483647 ], [ 258, 258, 2147483647 ],
            [ 261, 261, 2147483647 ], [ 161, 161, 7 ] ],
          'runs of transactions, and the own one');
is($pg->psql(q{select broadcast.runs(array[255, 259], array[257, 259])}, @at),
   '.ff_2.2', '... are written as they are read');

for my $bad ('.', '..', '..g', '..1_', '~1_1', '..1~1', '..1;', '.. 1',
             '..' . '1' x 16, '..1' x 400)
{
    is($pg->psql("select broadcast.settled('chat', '$bad') is null", @at),
       $bad eq '.' ? 'f' : 't', 'no suffix: ' . substr $bad, 0, 20);
}

is($pg->psql(q{select broadcast.settled('chat',
                 '..fffffffffffffff_fffffffffffffff~fffffffffffffff_fffffff')},
             @at), 'f', 'transactions that are yet to come are no error');


# --- all of one snapshot ----------------------------------------------------

# where messages come through the WAL, what was read of it while somebody asks

$pg->psql(q{update broadcast.wal set slot = 's';
            insert into broadcast.wal_cursor values ('0/1', 0)}, @at);

my ($asks, $reads) = (session(), session());

$reads->run('begin; lock broadcast.wal');

my $mark = $asks->send(q{select s.newest || ' ' || s.settled
                           from broadcast.replay_state('chat', '..1_5-5') s});

wait_for(sub { $pg->psql('select count(*) from pg_locks where not granted') });
say_('read');
$reads->run(q{insert into broadcast.wal_cursor values ('0/9', 0);
              select broadcast.sequence(1000); commit});
like($asks->finish($mark), qr/ false$/,
     'what is not among the numbers that are told is not settled');
$pg->psql(q{update broadcast.wal set slot = null}, @at);


# --- bounded ----------------------------------------------------------------

my $runs = $pg->psql(q{select broadcast.runs(array_agg(x), array_agg(x))
    from (select 1000000000000 + 3 * i as x from generate_series(1, 5000) i) s},
    @at);
cmp_ok(length $runs, '<=', 900, 'a position has a bound');
my $kept = $pg->psql("select count(*) from broadcast.seen('.$runs')", @at);
cmp_ok($kept, '>', 400, '... far off');
is($pg->psql("select max(last) from broadcast.seen('.$runs')", @at),
   1000000000000 + 3 * $kept, '... beyond it the newest are left out');

done_testing();
