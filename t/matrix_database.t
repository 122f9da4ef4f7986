#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# The kill matrix: PostgreSQL restarts, crashes, loses its sessions, has no
# room.  Clients see nothing but a pause, and miss nothing.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Temp ();
use Test::More;
use Time::HiRes qw(sleep);

use Broadcast::Matrix;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Wait qw(reap);

my @mounts;

END {
    local $?;
    system('umount', '-l', $_) for @mounts;
}


# A file system of so many megabytes, of the user postgres; undef: no right to.

sub small {
    my ($megabytes) = @_;

    return undef if $> != 0;

    my $dir = File::Temp::tempdir('broadcast-small-XXXXXX', TMPDIR => 1,
                                  CLEANUP => 1);
    my ($uid, $gid) = (getpwnam 'postgres')[2, 3];

    return undef if system('mount', '-t', 'tmpfs', '-o',
        "size=${megabytes}m,uid=$uid,gid=$gid,mode=0700", 'none', $dir) != 0;

    push @mounts, $dir;
    return $dir;
}


sub fill {
    my ($file) = @_;

    open my $f, '>', $file or die "$file: $!\n";
    1 while syswrite $f, "\0" x 65536;
    1 while syswrite $f, "\0" x 512;
    close $f;
}


# Publishers of both kinds were refused, or lost sight of what they sent.

sub refused {
    my ($run, $times) = @_;

    wait_for {
        !grep {
            my $n = $run->outcomes($_);
            $n->{refused} + $n->{unknown} < $times;
        } 'sql', 'http';
    } 60
        or die "nobody is refused\n";
}


sub silent_ok {
    my ($run, $seconds) = @_;

    $run->ends_are([], 'clients see nothing but a pause',
                   @{ $run->{clients} });
    $run->goes_on_within($seconds, "messages come within $seconds s again");
}


# --- restarts --------------------------------------------------------------------

{
    my $m = Broadcast::Matrix->new;
    my $pg = $m->pg;

    $m->row('fast restart', sub {
        my ($run) = @_;

        $run->fault;
        $pg->restart('fast');
        $run->over;
        $run->flows;
    }, then => sub { silent_ok($_[0], 6) });

    $m->row('crash', sub {
        my ($run) = @_;

        $run->fault;
        $pg->crash;
        $pg->start;
        $run->over;
        $run->flows;
    }, then => sub { silent_ok($_[0], 6) });

    $m->row('every session is terminated, three times', sub {
        my ($run) = @_;

        for my $n (1 .. 3) {
            $run->fault if $n == 1;
            $pg->psql(q{
                select pg_terminate_backend(pid) from pg_stat_activity
                 where backend_type = 'client backend'
                   and pid <> pg_backend_pid()});
            $run->over;
            $run->flows;
        }
    }, then => sub { silent_ok($_[0], 6) });

    $m->stop_ok;
}


# --- no room ---------------------------------------------------------------------

SKIP: {
    my $dir = small(24)
        // skip 'a small file system needs root and the right to mount', 2;
    my $m = Broadcast::Matrix->new(tablespace => $dir);

    $m->row('the disk is full', sub {
        my ($run) = @_;

        $run->fault;
        fill("$dir/filler");
        refused($run, 5);
        unlink "$dir/filler";
        $run->over;
        $run->flows;

    }, then => sub {
        my ($run) = @_;

        cmp_ok($run->outcomes('sql')->{refused}, '>', 0,
               'SQL publishers are refused');
        cmp_ok($run->outcomes('http')->{refused}, '>', 0,
               'HTTP publishers, too, with 503: surely not kept');
        silent_ok($run, 6);
    });

    $m->stop_ok;
}

SKIP: {
    my $dir = small(12)
        // skip 'a small file system needs root and the right to mount', 2;
    my $m = Broadcast::Matrix->new(
        postgres => { initdb => [ '--wal-segsize=1', "--waldir=$dir/wal" ] },
        conf => { min_wal_size => '2MB', max_wal_size => '4MB',
                  wal_recycle => 'off', fsync => 'on' });
    my $pg = $m->pg;

    $m->row('the disk of the WAL is full', sub {
        my ($run) = @_;

        $run->fault;
        fill("$dir/filler");
        wait_for { !($pg->try('select pg_switch_wal()'))[0] } 60
            or die "the server goes on\n";
        refused($run, 1);
        unlink "$dir/filler";

        # it may have given up, or come back by itself

        wait_for {
            $pg->start if $pg->ended;
            ($pg->try('select 1'))[0];
        } 60
            or die "the server does not come back\n";
        $run->over;
        $run->flows;

    }, then => sub { silent_ok($_[0], 6) });

    $m->stop_ok;
}

done_testing();
