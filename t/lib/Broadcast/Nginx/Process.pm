package Broadcast::Nginx::Process;

# Copyright (C) The nginx-broadcast authors
#
# The processes of a Broadcast::Nginx: which there are, what they hold, and what
# is done to them.

use strict;
use warnings;

use Broadcast::Wait qw(wait_for children cmdline reap slurp);


# Pids of the workers that take connections; of those too that are shutting
# down with workers(1).

sub workers {
    my ($self, $all) = @_;

    return () unless $self->{pid};

    return grep {
        my $line = cmdline($_);
        $line =~ /worker process/ && ($all || $line !~ /shutting down/)
    } children($self->{pid});
}


# Kills a worker; its end is no fault of nginx then.

sub kill_worker {
    my ($self, $pid, $signal) = @_;

    push @{ $self->{allowed} }, qr/process $pid exited on signal/;
    kill $signal // 'KILL', $pid;
}


# Kills the master and all workers at once, as a power cut does.

sub crash {
    my ($self) = @_;

    my $pid = $self->{pid} or return;

    kill 'STOP', $pid;
    my @all = ($pid, $self->workers(1), children($pid));
    kill 'KILL', @all;
    reap($pid, 10);
    wait_for { !grep { kill 0, $_ } @all } 10;
    $self->{pid} = undef;
}


# Kills the master alone; the pids of its workers, which go on.

sub behead {
    my ($self) = @_;

    my $pid = $self->{pid};
    my @workers = $self->workers(1);

    kill 'KILL', $pid;
    reap($pid, 10);
    $self->{pid} = undef;

    return @workers;
}


# What must not grow: descriptors of the master, of the workers by kind (sockets
# apart, they come and go with clients), mappings of shared memory of the master
# and of the workers, workers.

sub level {
    my ($self) = @_;

    my $count = sub {
        my ($kind, @pids) = @_;
        my $n = 0;

        for my $pid (@pids) {
            for my $fd (glob "/proc/$pid/fd/*") {
                my $is = readlink($fd) // next;
                $n++ if ($is =~ /^socket:/ ? 'socket' : 'other') eq $kind;
            }
        }

        return $n;
    };

    my $shared = sub {
        return scalar map { grep { / rw-s / } split /\n/,
                            slurp("/proc/$_/maps") // '' } @_;
    };

    my @workers = $self->workers(1);
    my $master = $self->{pid};

    return {
        workers => scalar @workers,
        'descriptors of the master' => $count->('other', $master)
                                       + $count->('socket', $master),
        'sockets of the workers' => $count->('socket', @workers),
        'other descriptors of the workers' => $count->('other', @workers),
        'shared mappings of the master' => $shared->($master),
        'shared mappings of the workers' => $shared->(@workers),
    };
}


# Processes stand still: their sockets stay open, and nobody reads them.

sub freeze {
    my ($self) = @_;

    kill 'STOP', $self->{pid};
    kill 'STOP', children($self->{pid});
}


sub thaw {
    my ($self) = @_;

    kill 'CONT', children($self->{pid}), $self->{pid};
}


1;
