#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# broadcast.bindings_version(), by which nginx knows that its copy of the
# methods is old: another number behind whatever happens to a function of an
# exposed schema, also when the oids and xids of the rows follow each other.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::Postgres;

my $pg = Broadcast::Postgres->new(conf => { autovacuum => 'off' });
my @db = (db => 'app');

$pg->createdb('app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @db);
$pg->psql("create schema chat_hub;
           select broadcast.expose('chat', 'chat_hub')", @db);

my $session = $pg->session(@db);
my %seen;

# the number is kept with the snapshot, so each session has its own way to it

sub version {
    my $kept = $session->run('select broadcast.bindings_version()');
    my $fresh = $pg->psql('select broadcast.bindings_version()', @db);

    is($kept, $fresh, 'all sessions say the same number');

    return $fresh;
}

sub new_number {
    my ($name) = @_;
    my $version = version();

    ok(!$seen{$version}++, "$name: another number");
}

$seen{version()} = 1;

$pg->psql("create function chat_hub.f(a int) returns int language sql
           as 'select a'", @db);
new_number('a function that was made');

# in one transaction, so that oid and xid grow by one each; behind the eighth
# an xid of its own makes their difference odd, or even

my @types = ('int', 'text');

for my $n (1 .. 16) {
    my ($old, $new) = @types[$n % 2 ? (0, 1) : (1, 0)];

    $pg->psql("drop function chat_hub.f($old);
               create function chat_hub.f(a $new) returns $new language sql
               as 'select a'", @db);
    new_number("one in the place of another, $n");

    $pg->psql('select pg_current_xact_id()', @db) if $n == 8;
}

$pg->psql("create or replace function chat_hub.f(a int) returns int
           language sql as 'select a + 1'", @db);
new_number('one that was replaced');

$pg->psql('revoke execute on function chat_hub.f from public', @db);
new_number('one whose right was taken');

$pg->psql('drop function chat_hub.f', @db);
my $version = version();
is($version, version(), 'the same number as long as nothing happens');

done_testing;
