#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# Deployments at the same time: who binds or exposes waits for who else does,
# and neither fails for it; and who looks at the version of all this in a session
# of his own sees each change, once it is committed.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::Postgres;
use Broadcast::Wait qw(wait_for);

my $pg = Broadcast::Postgres->new;

$pg->createdb('app', 'owner');

my @owner = (db => 'app', user => 'owner');

$pg->file("$FindBin::Bin/../sql/broadcast.sql", @owner);
$pg->psql(<<'EOS', @owner);
create function f(jsonb) returns jsonb language sql as 'select $1';
create schema one;
create schema two;
create function one.say(int) returns int language sql as 'select 1';
create function two."Say"(int) returns int language sql as 'select 2';
EOS

# the second while the first is open; what that one says when it may go on

sub together {
    my ($first, $second) = @_;

    my ($a, $b) = map { $pg->session(@owner) } 1, 2;

    $a->run("begin; select broadcast.$first");
    my $mark = $b->send("select broadcast.$second");

    ok((wait_for { $pg->psql(q{select count(*) from pg_locks where not granted})
                   } 10), "$second waits for $first");

    $a->run('commit');
    my $words = $b->finish($mark);
    $_->close for $a, $b;

    return $words;
}

my $bind = "bind('message', 'f', 'chat', 'x')";

is(together($bind, $bind), '', 'both have bound it');
is($pg->psql('select count(*) from broadcast.binding', @owner), 1, '... once');

is(together("bind('timer', 'f', every => '1 s')", "bind('timer', 'f', every => '2 s')"), '',
   'a timer of two intervals');
is($pg->psql(q{select b.every = t.every and t.every = '2 s' from broadcast.binding b
                 join broadcast.timer t on b.kind = 'timer'}, @owner), 't', '... is the later one\'s');

is(together($bind, "unbind('message', 'f')"), '', 'one binds, another takes it back');
is($pg->psql(q{select count(*) from broadcast.binding where kind = 'message'}, @owner), 0,
   '... which counts');

like(together("expose('chat', 'one')", "expose('chat', 'two')"),
     qr/one\.say\(integer\) and two\."Say"\(integer\) have the same name/,
     'methods of the same name are seen by the second');

# the version, which a session keeps as long as its snapshot is the same

my ($looks, $makes, $other) = map { $pg->session(@owner) } 1 .. 3;
my $seen = '';

sub version {
    my ($changed, $name) = @_;

    my $version = $looks->run('select broadcast.bindings_version()');

    if ($changed) {
        isnt($version, $seen, $name);

    } else {
        is($version, $seen, $name);
    }

    $seen = $version;
}

$makes->run("select broadcast.unexpose('chat'), broadcast.expose('chat', 'one')");

version(1, 'there is a version');
version(0, '... which stays while nothing happens');
is($looks->run("select current_setting('broadcast.bindings')") =~ s/.* //r, $seen,
   '... and is kept by the session');

$pg->psql('create table t(i int)', @owner);
version(0, '... while something else happens');

$makes->run('begin; create function one.more(int) returns int language sql '
            . "as 'select 1'");
version(0, 'what is not committed is not seen');

$other->run('insert into t values (1)');
version(0, '... though others commit');

$makes->run('commit');
version(1, 'committed, it is');

$makes->run('begin; drop function one.more(int); rollback');
version(0, 'what was rolled back never was');

$makes->run('revoke execute on function one.more(int) from public');
version(1, 'a right is a change');

$makes->run('create function two.more(int) returns int language sql '
            . "as 'select 1'");
version(0, 'a function elsewhere is none');

$looks->run('begin');
$looks->run('drop function one.more(int)');
version(1, 'one sees what one does oneself');
$looks->run('rollback');

$seen = $pg->psql('select broadcast.bindings_version()', @owner);
version(0, '... as long as one has');

$_->close for $looks, $makes, $other;

# settings, of which a row is made that a send asks for

my ($one, $two) = map { $pg->session(@owner) } 1, 2;

sub set {
    my ($name, $value) = @_;

    return "update broadcast.setting set value = '$value' where name = '$name'";
}

sub sending {
    return $pg->psql('select message_size, doorbell, wal from broadcast.sending',
                     @owner);
}

$one->run('begin; ' . set(history_age => '2 days') . '; savepoint a; '
          . set(node_lease => '20 s') . '; rollback to a');
is($two->run("set lock_timeout = '10 s'; select broadcast.wal_source('wal')"),
   '', 'a relay that changes the source does not wait for who changes an age');
is(sending(), '1048576|adaptive|t', '... and a send knows of it');

$one->run('rollback');
$two->run("reset lock_timeout; select broadcast.wal_source('outbox')");
is(sending(), '1048576|adaptive|f', '... and that it was taken back');

for my $end (qw(commit rollback)) {
    my $size = $end eq 'commit' ? 2000 : 1048576;
    my $bell = $end eq 'commit' ? 'off' : 'commit';

    $one->run('begin; ' . set(message_size => 2000));
    my $mark = $two->send(set(doorbell => $bell));

    ok((wait_for { $pg->psql('select count(*) from pg_locks where not granted')
                   } 10), 'two settings that a send needs, at the same time');

    $one->run($end);
    is($two->finish($mark), '', "... the first one ends in a $end");
    is(sending(), "$size|$bell|f", '... and a send knows of what there is');

    $one->run(set(message_size => 1048576));
}

$_->close for $one, $two;

done_testing();
