package Broadcast::LongPoll;

# Copyright (C) The nginx-broadcast authors
#
# A SignalR client that polls, JSON protocol; each request goes where the test
# wants it.
#
#   my $lp = Broadcast::LongPoll->connect($port, '/client?hub=chat',
#                                         token => $token);
#   $lp->{id}, $lp->{token}          # of negotiate
#   $lp->{first}                     # the answer to the first poll
#   $lp->{early}                     # records behind the handshake's answer
#   my $r = $lp->poll;               # an answer; $r->{records} parsed
#   my $wait = $lp->start;           # a poll that waits ...
#   my $r = $lp->answer($wait);      # ... and its answer
#   $lp->post({ type => 1, ... });   # or bytes
#   $lp->delete;
#   $lp->url                         # of all its requests
#
# at => $connection: on this one (Broadcast::HTTP), kept alive; else a fresh
# one a request.

use strict;
use warnings;

use JSON::PP ();
use Time::HiRes qw(time);

use Broadcast::HTTP ();

my $json = JSON::PP->new->utf8->canonical->allow_nonref;
my $end = "\x1e";


sub connect {
    my ($class, $port, $uri, %o) = @_;

    my ($path, $query) = split /\?/, $uri, 2;

    my $self = bless { port => $port, path => $path, query => $query,
                       auth => $o{auth} // $o{token}, tls => $o{tls} },
                     $class;

    my $r = $self->request('POST', at => $o{at}, body => '',
        uri => $path . '/negotiate?'
               . join('&', grep { defined && length } $query,
                      'negotiateVersion=1'));

    die "negotiate: $r->{status} $r->{body}\n" unless $r->{status} == 200;

    $self->{id} = $r->{json}{connectionId};
    $self->{token} = $r->{json}{connectionToken};

    return $self if $o{negotiate};

    $self->{first} = $self->poll(at => $o{at});

    return $self if $o{nohandshake};

    $self->post({ protocol => 'json', version => 1 }, at => $o{at});

    my $answer = $self->poll(at => $o{at});

    die "handshake: $answer->{status} $answer->{body}\n"
        unless $answer->{body} =~ /^\{\}$end/;

    # what came with it

    $self->{early} = $answer->{records};
    shift @{ $self->{early} };

    return $self;
}


sub url {
    my ($self) = @_;

    return "$self->{path}?"
           . join '&', grep { defined && length } $self->{query},
                       "id=$self->{token}";
}


# A request of this client: its connection, and whether it is its own.

sub send {
    my ($self, $method, %o) = @_;

    my $c = $o{at} // Broadcast::HTTP->connect($self->{port},
                                               tls => $self->{tls});
    my $auth = exists $o{auth} ? $o{auth} : $self->{auth};

    $c->request($method, $o{uri} // $self->url,
        keepalive => !!$o{at}, body => $o{body}, version => $o{version},
        headers => [ (defined $auth ? (Authorization => "Bearer $auth") : ()),
                     @{ $o{headers} // [] } ]);

    return { connection => $c, method => $method, keep => !!$o{at} };
}


sub answer {
    my ($self, $wait, $seconds) = @_;

    my $c = $wait->{connection};
    my $r = $c->head($seconds);

    $c->body($r, $wait->{method}, $seconds);
    $c->close unless $wait->{keep};

    $r->{records} = [ map { $json->decode($_) }
                      split /$end/, $r->{body} ]
        if $r->{status} == 200 && $r->{body} =~ /$end\z/;

    return $r;
}


sub request {
    my ($self, $method, %o) = @_;

    return $self->answer($self->send($method, %o), $o{timeout});
}


sub start  { my $self = shift; return $self->send('GET', @_) }
sub poll   { my $self = shift; return $self->request('GET', @_) }
sub delete { my $self = shift; return $self->request('DELETE', @_) }


sub post {
    my ($self, $what, %o) = @_;

    return $self->request('POST', %o,
        body => ref $what ? $json->encode($what) . $end : $what);
}


# Polls until n records came, or the time is over; them, pings never.

sub records {
    my ($self, $n, %o) = @_;

    my $deadline = time + ($o{timeout} // 60);
    my @got;

    while (@got < $n && time < $deadline) {
        my $r = $self->poll(%o);
        die "poll: $r->{status} $r->{body}\n" if $r->{status} != 200;
        push @got, @{ $r->{records} // [] };
    }

    return @got;
}


1;
