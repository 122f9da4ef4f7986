package Broadcast::Plain;

# Copyright (C) The nginx-broadcast authors
#
# A plain WebSocket subscriber: JSON frames in and out.
#
#   my $plain = Broadcast::Plain->connect($port, '/events/chat?group=a',
#                                         token => $token);
#   $plain->next                    # next frame, parsed; undef: closed
#   $plain->send({ join => 'b' });
#   $plain->quiet(0.3)              # true if nothing comes meanwhile

use strict;
use warnings;

use JSON::PP ();
use Time::HiRes qw(time);

use parent 'Broadcast::WebSocket';

my $json = JSON::PP->new->utf8->canonical->allow_nonref;


sub connect {
    my ($class, $port, $uri, %o) = @_;

    my @auth = defined $o{token} ? (Authorization => "Bearer $o{token}") : ();

    return $class->SUPER::connect($port, $uri, %o,
        headers => [ @auth, @{ $o{headers} // [] } ]);
}


sub next {
    my ($self, $seconds) = @_;
    my $message = $self->message($seconds) // return undef;

    return $json->decode($message);
}


sub send {
    my ($self, $frame) = @_;

    return $self->text($json->encode($frame));
}


sub quiet {
    my ($self, $seconds) = @_;
    my $deadline = time + $seconds;

    # pings are answered, and do not put the deadline off

    while (time < $deadline) {
        my $frame = eval { $self->next_frame($deadline - time) };

        return $@ =~ /timed out/ ? 1 : 0 unless $frame;
        return 0 unless $frame->{opcode} == 9;

        $self->frame(10, $frame->{payload});
    }

    return 1;
}


1;
