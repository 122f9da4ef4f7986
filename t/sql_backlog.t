#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# What was sent while nobody numbered, or by one transaction, costs the same a
# message as a little does, also where the statistics say that the table is
# empty, as it mostly is.  Counted in pages, which do not depend on the machine.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP qw(decode_json);
use Test::More;

use Broadcast::Postgres;

my $pg = Broadcast::Postgres->new;
my @at = (db => 'app', user => 'app');
my $sql = "$FindBin::Bin/../sql/broadcast.sql";

$pg->createdb('app', 'app');
$pg->file($sql, @at);

sub stage {
    my ($n, $hub) = @_;

    return $pg->psql("do \$\$ begin perform broadcast.send_all('$hub', 't', '[]')
                        from generate_series(1, $n); end \$\$", @at);
}

# the pages that a batch touches

sub pages {
    my ($relay) = @_;

    my $plan = decode_json($relay->run(
        'explain (analyze, buffers, timing off, format json)
         select broadcast.sequence(500)'))->[0];

    return $plan->{Plan}{'Shared Hit Blocks'}
           + $plan->{Plan}{'Shared Read Blocks'};
}

sub numbers {
    my ($what) = @_;

    my $relay = $pg->session(@at);

    $relay->run('select broadcast.sequence(500)');      # plans are made
    stage(500, 'few');
    my $few = pages($relay);

    stage(20_000, 'many');
    my $many = pages($relay);

    cmp_ok $many, '<=', 1.5 * $few,
        "500 of 20000 cost what 500 do, $what ($few, $many)";

    1 while $relay->run('select broadcast.sequence(500)');
}

numbers('in a new schema');

$pg->psql('vacuum analyze broadcast.staging', @at);
is $pg->psql(q{select reltuples from pg_class
                where oid = 'broadcast.staging'::regclass}, @at), 0,
   'the table is known as empty';
numbers('in a table that is known as empty');

stage(20_000, 'many');
$pg->psql('analyze broadcast.staging', @at);
numbers('in a table that is known as full');


# --- upgrade ----------------------------------------------------------------

$pg->psql('drop index broadcast.staging_xid;
           create index staging_xid on broadcast.staging (xid, id)', @at);
stage(3, 'waits');
$pg->file($sql, @at);
$pg->psql('vacuum analyze broadcast.staging', @at);
is $pg->session(@at)->run('select broadcast.sequence(500)'), 3,
   'what waits is numbered behind an upgrade';
$pg->psql('vacuum analyze broadcast.staging', @at);
numbers('behind an upgrade');

is $pg->psql(q{select count(distinct seq) = count(*) and count(*) = max(seq)
                 from broadcast.message where hub = 'many'}, @at), 't',
   'each has its number, once';

done_testing;
