package Broadcast::Hub;

# Copyright (C) The nginx-broadcast authors
#
# A SignalR client over a raw WebSocket, JSON protocol; for tests that look at
# the wire.  What the official client does is tested with the official client.
#
#   my $hub = Broadcast::Hub->connect($port, '/client?hub=chat',
#                                     token => $token);
#   $hub->{id}, $hub->{token}       # of negotiate
#   $hub->{error}                   # a refusal, and nothing else
#   Broadcast::Hub->connect(..., stateful => 1); # version 2, if it is granted
#   $hub->again                     # another socket with the same id; its status
#   on => $http                     # for both: a connection that was made
#   $hub->next                      # next record, parsed; undef: closed
#   $hub->invocation('newMessage')  # next invocation of it; pings passed over
#   $hub->closing                   # the record that closes it
#   $hub->send({ type => 1, target => 'Echo', arguments => [ 1 ] });
#   $hub->invoke('Echo', 1)         # its result, or error
#   $hub->stream('Count', 3)        # its items, joined by ', ', or error
#   $hub->close; $hub->drop;

use strict;
use warnings;

use JSON::PP ();
use Time::HiRes qw(time);

use Broadcast::HTTP ();
use Broadcast::WebSocket ();

my $json = JSON::PP->new->utf8->canonical->allow_nonref;
my $end = "\x1e";


sub connect {
    my ($class, $port, $uri, %o) = @_;

    my $self = bless { port => $port, records => [] }, $class;
    my @auth = defined $o{token} ? (Authorization => "Bearer $o{token}") : ();
    my @headers = (@auth, @{ $o{headers} // [] });
    my ($path, $query) = split /\?/, $uri, 2;

    my $negotiate = $path;
    $negotiate =~ s{/?$}{/negotiate};
    $negotiate .= '?' . join '&', grep { defined && length } $query,
                                       'negotiateVersion=1',
                                       $o{stateful}
                                       ? 'useStatefulReconnect=true' : undef;

    my $r = Broadcast::HTTP::http($port, 'POST', $negotiate, body => '',
                                  tls => $o{tls}, headers => \@headers);

    $self->{negotiate} = $r;

    if ($r->{status} != 200 || !$r->{json} || $r->{json}{error}) {
        $self->{error} = "negotiate: $r->{status} $r->{body}";
        return $self;
    }

    $self->{id} = $r->{json}{connectionId};
    $self->{token} = $r->{json}{connectionToken};

    $self->{url} = $path . '?' . join '&', grep { defined && length } $query,
                                           "id=$self->{token}";
    $self->{options} = { tls => $o{tls}, headers => \@headers,
                         offer => $o{offer} };

    my $ws = $self->{ws} = Broadcast::WebSocket->connect($port, $self->{url},
        %{ $self->{options} }, on => $o{on});

    if ($ws->{head}{status} != 101) {
        $self->{error} = "connect: $ws->{head}{status} $ws->{head}{body}";
        return $self;
    }

    return $self if $o{nohandshake};

    $self->send({ protocol => 'json',
                  version => $r->{json}{useStatefulReconnect} ? 2 : 1 });

    my $answer = $self->next($o{timeout});
    $self->{error} = 'handshake: ' . ($answer ? $json->encode($answer)
                                              : 'closed')
        unless $answer && !%$answer;

    return $self;
}


# The old socket stays open where somebody holds it; what came by it and was not
# read is lost.

sub again {
    my ($self, %o) = @_;

    my $ws = Broadcast::WebSocket->connect($self->{port}, $self->{url},
        %{ $self->{options} }, %o);

    if ($ws->{head}{status} == 101) {
        $self->{ws} = $ws;
        $self->{records} = [];
    }

    return $ws->{head}{status};
}


sub send {
    my ($self, $record) = @_;

    return $self->{ws}->text($json->encode($record) . $end);
}


sub next {
    my ($self, $seconds) = @_;

    until (@{ $self->{records} }) {
        my $message = $self->{ws}->message($seconds) // return undef;

        $message =~ /\Q$end\E\z/ or die "a record without its end: $message\n";

        push @{ $self->{records} },
            map { $json->decode($_) } split /$end/, $message;
    }

    return shift @{ $self->{records} };
}


# Both pass over whatever else comes; undef if there is no end.

sub invoke {
    my ($self, $target, @arguments) = @_;
    my $end = $self->_called(1, $target, \@arguments) // return undef;

    return $end->{error} // $end->{result};
}


sub stream {
    my ($self, $target, @arguments) = @_;
    my @items;
    my $end = $self->_called(4, $target, \@arguments, \@items)
        // return undef;

    return $end->{error} // join ', ', @items;
}


sub _called {
    my ($self, $type, $target, $arguments, $items) = @_;
    my $id = 'call-' . ++$self->{calls};

    $self->send({ type => $type, invocationId => $id, target => $target,
                  arguments => $arguments });

    while (my $record = $self->next) {
        next unless ($record->{invocationId} // '') eq $id;
        return $record if $record->{type} == 3;
        push @$items, $record->{item} if $record->{type} == 2;
    }

    return undef;
}


sub invocation {
    my ($self, $target, $seconds) = @_;
    my $deadline = time + ($seconds // $self->{ws}{timeout});

    while (my $record = $self->next($deadline - time)) {
        return $record->{arguments}
            if $record->{type} == 1 && $record->{target} eq $target;
        return undef if $record->{type} == 7;
    }

    return undef;
}


# The record that closes the connection, whatever comes before it; undef if it
# ends without one.

sub closing {
    my ($self) = @_;

    while (my $record = $self->next) {
        return $record if $record->{type} == 7;
    }

    return undef;
}


sub close { $_[0]{ws} && $_[0]{ws}->close }
sub drop  { $_[0]{ws} && $_[0]{ws}->drop }


1;
