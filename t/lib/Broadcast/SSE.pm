package Broadcast::SSE;

# Copyright (C) The nginx-broadcast authors
#
# An EventSource that shows everything.
#
#   my $sse = Broadcast::SSE->connect($port, '/events/chat', headers => [...]);
#   $sse->{head}{status}
#   $sse->event               # { id, event, data }; undef at the end
#   $sse->block               # next block as text: comments and bare ids too
#   $sse->{last_id}           # the last id seen, as the browser keeps it
#
#   on => $http               # for connect: a connection that was made

use strict;
use warnings;

use Time::HiRes qw(time);

use parent 'Broadcast::HTTP';


sub connect {
    my ($class, $port, $uri, %o) = @_;

    my $self = $o{on} // Broadcast::HTTP->connect($port, %o);
    bless $self, $class;

    my @headers = ref $o{headers} eq 'HASH' ? %{ $o{headers} }
                                            : @{ $o{headers} // [] };

    $self->request('GET', $uri, version => $o{version},
        keepalive => 1,
        headers => [ Accept => 'text/event-stream', @headers ]);

    $self->{head} = $self->head;
    $self->{stream} = '';

    if ($self->{head}{status} != 200) {
        $self->body($self->{head});
        return $self;
    }

    $self->{chunked} =
        ($self->{head}{headers}{'transfer-encoding'} // '') =~ /chunked/;

    return $self;
}


# More of the stream, chunk framing taken off; false at its end.

sub more {
    my ($self, $deadline) = @_;

    if ($self->{chunked}) {
        my $left = $deadline - time;
        my $chunk = $self->chunk($left > 0 ? $left : 0) // return 0;
        $self->{stream} .= $chunk;
        return 1;
    }

    $self->some($deadline) or return 0 if $self->{buffer} eq '';

    $self->{stream} .= $self->{buffer};
    $self->{buffer} = '';

    return 1;
}


sub block {
    my ($self, $seconds) = @_;
    my $deadline = time + ($seconds // $self->{timeout});

    while ($self->{stream} !~ /\r?\n\r?\n/) {
        $self->more($deadline) or return undef;
    }

    $self->{stream} =~ s/\A(.*?)\r?\n\r?\n//s;

    return $1;
}


sub event {
    my ($self, $seconds) = @_;
    my $deadline = time + ($seconds // $self->{timeout});

    while (defined(my $block = $self->block($deadline - time))) {
        my ($event, @data);

        for (split /\r?\n/, $block) {
            my ($field, $value) = /^([^:]*)(?:: ?(.*))?$/s;
            $value //= '';
            $self->{last_id} = $value if $field eq 'id';
            $event = $value           if $field eq 'event';
            push @data, $value        if $field eq 'data';
        }

        return { id => $self->{last_id}, event => $event // 'message',
                 data => join "\n", @data } if @data;
    }

    return undef;
}


1;
