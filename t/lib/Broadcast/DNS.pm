package Broadcast::DNS;

# Copyright (C) The nginx-broadcast authors
#
# A name server of its own, for one name.
#
#   my $dns = Broadcast::DNS->new(name => 'db.test');
#   $dns->port;                          # resolver 127.0.0.1:port valid=1s;
#   $dns->answer('127.0.0.1');           # from now on; none: no such name
#   $dns->queries;                       # so many were asked for it
#
# It answers for IPv4; the name has no IPv6 address.

use strict;
use warnings;

use File::Temp ();
use IO::Socket::INET;
use Socket qw(inet_aton);

use Broadcast::Wait qw(reap slurp);

my $owner = $$;


sub new {
    my ($class, %o) = @_;

    my $socket = IO::Socket::INET->new(Proto => 'udp',
                                       LocalAddr => '127.0.0.1')
        or die "dns: $!\n";

    my $self = bless {
        %o, port => $socket->sockport,
        file => File::Temp->new, asked => File::Temp->new,
    }, $class;

    $self->{pid} = fork // die "fork: $!\n";

    if ($self->{pid} == 0) {
        $SIG{TERM} = 'DEFAULT';
        $self->serve($socket);
    }

    return $self;
}


sub port { $_[0]{port} }
sub queries { -s $_[0]{asked} }


sub answer {
    my ($self, @addresses) = @_;

    # in one step: the server reads it at any moment

    open my $f, '>', "$self->{file}.new" or die "dns: $!\n";
    print $f join ' ', @addresses;
    close $f;
    rename "$self->{file}.new", "$self->{file}" or die "dns: $!\n";
}


sub serve {
    my ($self, $socket) = @_;

    while (1) {
        my $peer = recv $socket, my $query, 4096, 0;
        next unless defined $peer && length $query > 16;

        my ($name, $at) = ('', 12);

        while (my $len = ord substr $query, $at, 1) {
            $name .= ($name eq '' ? '' : '.') . substr $query, $at + 1, $len;
            $at += $len + 1;
        }

        my $question = substr $query, 12, $at + 5 - 12;
        my $type = unpack 'n', substr $query, $at + 1, 2;
        my @addresses = lc $name eq $self->{name}
                        ? split ' ', slurp("$self->{file}") // '' : ();
        my $known = @addresses ? 0 : 3;

        open my $f, '>>', "$self->{asked}";
        print $f '.';
        close $f;

        @addresses = () if $type != 1;

        send $socket, substr($query, 0, 2)
            . pack('n5', 0x8580 | $known, 1, scalar @addresses, 0, 0)
            . $question
            . join('', map { pack('n3Nn', 0xc00c, 1, 1, 1, 4) . inet_aton($_) }
                       @addresses),
            0, $peer;
    }
}


sub DESTROY {
    my ($self) = @_;

    return if $$ != $owner || !$self->{pid};

    local ($?, $!, $@);
    kill 'KILL', $self->{pid};
    reap($self->{pid}, 10);
}


1;
