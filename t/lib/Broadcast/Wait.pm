package Broadcast::Wait;

# Copyright (C) The nginx-broadcast authors
#
# Waiting for conditions with a deadline, times, free ports, processes.

use strict;
use warnings;

use Exporter 'import';
use IO::Socket::INET;
use POSIX ();
use Time::HiRes qw(time sleep);

our @EXPORT_OK = qw(
    wait_for within at_best free_port children cmdline spawn become alone reap
    gone slurp);


# wait_for(sub, seconds): the first true value of sub, or undef at the deadline,
# which is 30 s or later: machines that run tests are slow and busy, and a limit
# that is not reached costs nothing.

sub wait_for(&;$) {
    my ($condition, $seconds) = @_;

    return within($condition, ($seconds // 0) > 30 ? $seconds : 30);
}


# The same, where no more than that time shall go by in vain.

sub within {
    my ($condition, $seconds) = @_;

    my $end = time + $seconds;

    while (1) {
        my $value = $condition->();
        return $value if $value;
        return undef if time > $end;
        sleep 0.02;
    }
}


# at_best(sub, bound): how long the sub takes, in the best of five runs if the
# first of them do not stay below the bound.  For what is done at once: that the
# machine stands still now and then is no fault of it.

sub at_best(&$) {
    my ($code, $bound) = @_;
    my $best;

    for (1 .. 5) {
        my $began = time;
        $code->();
        my $took = time - $began;

        $best = $took if !defined $best || $took < $best;
        last if $best < $bound;
    }

    return $best;
}


# A port of 127.0.0.1 that nobody listens on, below the range that the kernel
# gives to clients; never one that this program had before, it may not be
# listened on yet.

my %given;

sub free_port {
    for (1 .. 200) {
        my $port = 20000 + int rand 12000;
        next if $given{$port}++;

        my $s = IO::Socket::INET->new(
            LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 1);

        return $port if $s;
    }

    die "no free port on 127.0.0.1\n";
}


# Pids of a process's children that have not ended.

sub children {
    my ($parent) = @_;
    my @pids;

    for my $stat (glob '/proc/[0-9]*/stat') {
        my $line = slurp($stat) // next;
        my ($pid, $state, $ppid) = $line =~ /^(\d+) \(.*\) (\S) (\d+)/s or next;
        push @pids, $pid if $ppid == $parent && $state !~ /[ZX]/;
    }

    return sort { $a <=> $b } @pids;
}


sub cmdline {
    my ($pid) = @_;
    my $line = slurp("/proc/$pid/cmdline") // '';

    $line =~ tr/\0/ /;
    return $line;
}


# spawn(command => [...], user => name, env => {}, log => file): a pid.
# Its input is /dev/null, both its outputs go to the file.

sub spawn {
    my (%o) = @_;

    my $pid = fork // die "fork: $!\n";
    return $pid if $pid;

    open STDIN, '<', '/dev/null';
    open STDOUT, '>>', $o{log} // '/dev/null';
    open STDERR, '>&', \*STDOUT;

    $ENV{$_} = $o{env}{$_} for keys %{ $o{env} // {} };

    become($o{user}) if defined $o{user};

    { no warnings; exec { $o{command}[0] } @{ $o{command} }; }

    print "cannot run $o{command}[0]: $!\n";
    POSIX::_exit(127);
}


# Turns this process into another user's, for good.

sub become {
    my ($user) = @_;
    my ($uid, $gid, $home) = (getpwnam $user)[2, 3, 7];

    defined $uid or die "no user $user\n";
    return if $uid == $<;

    $) = "$gid $gid";
    $( = $gid;
    POSIX::setuid($uid) or die "setuid($user): $!\n";
    $ENV{HOME} = $home;
    chdir '/';
}


# In a child: the sockets of its parent's clients are the parent's alone, so what
# that closes is closed.  But for those of the list.

sub alone {
    my %keep = map { $_ => 1 } 0 .. 2, @_;

    POSIX::close($_) for grep { !$keep{$_} }
                         map { m{/(\d+)$} ? $1 : () } glob "/proc/$$/fd/*";
}


# Waits for a child of ours; true and its status in $? when it is gone.

sub reap {
    my ($pid, $seconds) = @_;

    return within(sub { waitpid($pid, POSIX::WNOHANG()) != 0 },
                  $seconds // 30);
}


# As reap(), also for processes that are not our children.

sub gone {
    my ($pid, $seconds) = @_;

    return within(sub { waitpid($pid, POSIX::WNOHANG()) > 0 || !kill 0, $pid },
                  $seconds // 30);
}


sub slurp {
    my ($file) = @_;

    open my $f, '<:raw', $file or return undef;
    local $/;
    return scalar <$f>;
}


1;
