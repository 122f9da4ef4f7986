#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# The kill matrix with `broadcast_source wal`: the source is left and taken
# again under load, which nobody sees; the slot is dropped, and the server gives
# up the WAL of one, which everybody is told of.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::Matrix;
use Broadcast::Nginx qw(wait_for);

my $m = Broadcast::Matrix->new(workers => 2,
    conf => { wal_level => 'logical', min_wal_size => '32MB' },
    http => 'broadcast_drain 500ms; broadcast_source wal;');
my ($pg, $nginx) = ($m->pg, $m->nginx);

$pg->psql('alter role app replication');

sub comes {
    my ($source, $seconds) = @_;

    wait_for {
        (Broadcast::Matrix::database($nginx)->{source} // '') eq $source;
    } $seconds // 60
        or die "the source is not $source:\n" . $nginx->tail;
}

sub slot {
    return $pg->psql("select $_[0] from pg_replication_slots
                       where slot_name = 'broadcast'");
}

comes('wal');


# --- the source --------------------------------------------------------------

{
    $m->row('the source is left and taken again, with transactions open', sub {
        my ($run) = @_;
        my $late = $pg->session($m->at);
        my $later = $pg->session($m->at);

        $run->fault;

        # one has sent through the WAL when its source is left

        $late->run("begin; select broadcast.send_all('aside', 'late', '[1]')");
        $nginx->reload(http => 'broadcast_zone hubs 8m; broadcast_database "'
            . $pg->conninfo('app', 'app') . '" timeout=2s;'
            . 'broadcast_drain 500ms;');
        comes('outbox');
        $run->flows;
        is(slot('slot_name'), 'broadcast',
           'the slot stays while a transaction is open that has sent there');

        $late->run("select broadcast.send_all('aside', 'late', '[2]'); commit");
        $late->close;
        ok((wait_for { slot('slot_name') eq '' } 60), '... and is dropped then');

        # the other one has sent through the outbox when it is taken again

        $later->run("begin; select broadcast.send_all('aside', 'later', '[1]')");
        $nginx->reload(http => 'broadcast_zone hubs 8m; broadcast_database "'
            . $pg->conninfo('app', 'app') . '" timeout=2s;'
            . 'broadcast_drain 500ms; broadcast_source wal;');
        $run->flows;
        ok((wait_for { slot('slot_name') eq 'broadcast' } 60),
           'a slot is being made');
        is(Broadcast::Matrix::database($nginx)->{source}, 'outbox',
           '... behind the transactions that are open');
        $later->run("select broadcast.send_all('aside', 'later', '[2]'); commit");
        $later->close;
        comes('wal');
        $run->flows;
    });

    is($pg->psql("select string_agg(target || (arguments->>0), ' ' order by pos)
                    from broadcast.message
                   where hub = 'aside'", $m->at),
       'late1 late2 later1 later2', 'what those transactions sent is there');
}


# --- the slot is lost --------------------------------------------------------

sub told {
    my ($run) = @_;

    $run->ends_are([], 'plain clients are told of it, and stay', $run->plain);
}

$m->row('the slot is dropped', sub {
    my ($run) = @_;
    my $epoch = $pg->psql("select epoch from broadcast.hub
                            where name = '" . $run->hub . "'", $m->at);

    $run->fault;
    wait_for { ($pg->try(q{
        select pg_terminate_backend(active_pid) from pg_replication_slots
         where slot_name = 'broadcast' and active;
        select pg_drop_replication_slot('broadcast')}))[0] } 60
        or die "the slot cannot be dropped\n";

    wait_for { $pg->psql("select epoch <> $epoch from broadcast.hub
                           where name = '" . $run->hub . "'", $m->at) eq 't' } 60
        or die "the hub does not begin anew\n";
    comes('wal');
    $run->flows;
}, then => \&told, loses => 1, gaps => 1);

$m->row('the server does not keep the WAL for as long as nobody reads it', sub {
    my ($run) = @_;

    $pg->psql("alter system set max_slot_wal_keep_size = '1MB'");
    $pg->psql('select pg_reload_conf()');

    my $relayer = $m->relayer;
    $run->fault;
    kill 'STOP', $relayer;

    wait_for {
        $pg->psql('create table if not exists t (a int); insert into t values (1)');
        $pg->psql('select pg_switch_wal()');
        $pg->psql('checkpoint');
        slot('wal_status') eq 'lost';
    } 60
        or die 'the slot is ' . slot('wal_status') . "\n";

    kill 'CONT', $relayer;
    wait_for { slot('wal_status') ne 'lost' } 60
        or die "the slot is not made anew\n";
    comes('wal');
    $pg->psql('alter system reset max_slot_wal_keep_size');
    $pg->psql('select pg_reload_conf()');
    $run->flows;
}, then => \&told, loses => 1, gaps => undef);

like($nginx->error_log,
     qr/messages may have been lost with the replication slot broadcast: it was dropped/,
     'the log says that a slot was dropped');
like($nginx->error_log,
     qr/messages may have been lost .*: the server has removed WAL that was not read yet, max_slot_wal_keep_size is 1MB/,
     '... and that one was lost, and why');

$m->stop_ok;

done_testing();
