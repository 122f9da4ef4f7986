package Broadcast::Wire;

# Copyright (C) The nginx-broadcast authors
#
# A way to a port of 127.0.0.1 that can be cut: a process that forwards bytes.
#
#   my $wire = Broadcast::Wire->new($port);
#   $wire->port                     # what is to be connected to
#   $wire->cut; $wire->mend;        # connections end, new ones are refused
#
# Cut it refuses at once, as a host without a server does.

use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;
use POSIX ();

use Broadcast::Wait qw(alone free_port reap);

my $owner = $$;


sub new {
    my ($class, $to) = @_;

    my $self = bless { to => $to, port => free_port() }, $class;

    $self->mend;

    return $self;
}


sub port { $_[0]{port} }


sub mend {
    my ($self) = @_;

    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
        LocalPort => $self->{port}, Listen => 200, ReuseAddr => 1)
        or die "listen on $self->{port}: $!\n";

    my $pid = fork() // die "fork: $!\n";

    if ($pid == 0) {
        $SIG{$_} = 'DEFAULT' for qw(TERM INT);
        $SIG{PIPE} = 'IGNORE';

        alone(fileno $listen);
        eval { forward($listen, $self->{to}) };
        POSIX::_exit(0);
    }

    close $listen;
    $self->{pid} = $pid;
}


# All its connections end with the process.

sub cut {
    my ($self) = @_;

    my $pid = delete $self->{pid} or return;

    kill 'KILL', $pid;
    reap($pid, 10);
}


# Blocking writes: both ends are PostgreSQL and libpq, which always read.

sub forward {
    my ($listen, $to) = @_;

    my $select = IO::Select->new($listen);
    my %other;

    while (1) {
        for my $from ($select->can_read) {

            if ($from == $listen) {
                my $client = $listen->accept or next;
                my $server = IO::Socket::INET->new(
                    PeerAddr => '127.0.0.1', PeerPort => $to) or next;

                $_->sockopt(Socket::SO_KEEPALIVE(), 1) for $client, $server;
                $other{$client} = $server;
                $other{$server} = $client;
                $select->add($client, $server);
                next;
            }

            my $end = $other{$from} or next;
            my $bytes;

            if (sysread $from, $bytes, 65536) {
                while (length $bytes) {
                    my $n = syswrite $end, $bytes;
                    last unless defined $n;
                    substr $bytes, 0, $n, '';
                }
                next;
            }

            $select->remove($from, $end);
            delete @other{ $from, $end };
            close $_ for $from, $end;
        }
    }
}


sub DESTROY {
    my ($self) = @_;

    return if $$ != $owner;

    local ($?, $!, $@);
    $self->cut;
}


1;
