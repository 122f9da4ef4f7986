#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# The kill matrix: another server takes over, one that has every commit or one
# that lacks some; an older state is put back.  What PostgreSQL keeps nobody
# misses; what it loses everybody is told of.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::Matrix;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Postgres;


# Two servers, and a matrix that knows both addresses.

sub pair {
    my (%o) = @_;
    my $primary = Broadcast::Postgres->new(conf => $o{conf} // {});
    my $m = Broadcast::Matrix->new(pg => [ $primary ], nginx => [],
                                   http => $o{http} // '');
    $primary->psql($o{first}) if $o{first};
    my $standby = $primary->standby(name => 'standby');

    $m->{conninfo} = join ' ', 'host=' . $primary->host . ',' . $standby->host,
        'port=' . $primary->port . ',' . $standby->port,
        'dbname=app user=app target_session_attrs=read-write';
    $m->{publish_to} = "$m->{conninfo} connect_timeout=2";
    push @{ $m->{nginxes} }, $m->node;

    return ($m, $primary, $standby);
}


sub follow_in_step {
    my ($primary) = @_;

    $primary->psql("alter system set synchronous_standby_names = 'standby'");
    $primary->psql('select pg_reload_conf()');
    wait_for {
        $primary->psql("select count(*) from pg_stat_replication
                         where sync_state = 'sync'") > 0;
    } 60
        or die "the standby is not synchronous\n";
}


sub silent_ok {
    my ($run) = @_;

    $run->ends_are([], 'clients see nothing but a pause',
                   @{ $run->{clients} });
    $run->goes_on_within(8, 'messages come again within 8 s');
}


# Each client is told once: by a gap event, or by an end that says come back.

sub told_ok {
    my ($run) = @_;

    cmp_ok(scalar $run->{compared}->lost, '>', 0, 'PostgreSQL lost commits');
    $run->ends_are([], 'plain clients are told of it, and stay', $run->plain);
    $run->goes_on_within(8, 'messages come again within 8 s');
}


# --- a synchronous standby -----------------------------------------------------

{
    my ($m, $primary, $standby) = pair();

    follow_in_step($primary);

    $m->row('fail-over to a synchronous standby', sub {
        my ($run) = @_;

        $run->fault;
        $primary->power_off;
        $standby->promote;
        $run->over;
        $run->{pg} = $standby;
        $run->flows;
    }, then => \&silent_ok);

    $m->stop_ok;
}


# --- one that lacks commits ----------------------------------------------------

{
    my ($m, $primary, $standby) = pair();

    $m->row('fail-over to a standby that lacks commits', sub {
        my ($run) = @_;

        # it does not follow any more, all others go on

        $standby->append('postgresql.conf', "primary_conninfo = ''");
        $standby->psql('select pg_reload_conf()');
        wait_for {
            $primary->psql('select count(*) from pg_stat_replication') == 0;
        } 60
            or die "the standby follows on\n";
        $run->flows;

        $run->fault;
        $primary->power_off;
        $standby->promote;
        $run->over;
        $run->{pg} = $standby;
        $run->flows;
    }, then => \&told_ok, loses => 1, gaps => 1);

    $m->stop_ok;
}


# --- the WAL source ------------------------------------------------------------

# The slot is the first server's alone: what was not numbered yet, and what is
# sent before there is another slot, is committed and nobody can read it.

{
    my ($m, $primary, $standby) = pair(
        conf  => { wal_level => 'logical' },
        http  => 'broadcast_source wal;',
        first => 'alter role app replication');

    wait_for {
        (Broadcast::Matrix::database($m->nginx)->{source} // '') eq 'wal';
    } 60
        or die "the source is not the WAL\n";
    follow_in_step($primary);

    $m->row('fail-over with broadcast_source wal', sub {
        my ($run) = @_;

        $run->fault;
        $primary->power_off;
        $standby->promote;
        $run->over;
        $run->{pg} = $standby;
        $run->flows;

    }, then => sub {
        my ($run) = @_;

        $run->ends_are([], 'plain clients are told of it, and stay',
                       $run->plain);
        $run->goes_on_within(8, 'messages come again within 8 s');
    }, loses => 1, gaps => undef);

    $m->stop_ok;
}


# --- an older state ------------------------------------------------------------

{
    my $m = Broadcast::Matrix->new;
    my $pg = $m->pg;

    $m->row('an older base backup is restored', sub {
        my ($run) = @_;

        my $base = $pg->backup;
        $run->flows;

        $run->fault;
        $pg->stop;
        $pg->restore($base);
        $pg->start;
        $run->over;
        $run->flows;
    }, then => \&told_ok, loses => 1, gaps => 1);

    $m->stop_ok;
}

done_testing();
