package Broadcast::Crowd;

# Copyright (C) The nginx-broadcast authors
#
# Clients of every transport and publishers of one hub, each a process, who come
# again whenever they are closed, until they are told to go.
#
#   my $crowd = Broadcast::Crowd->new($port, events => '/events/chat',
#       client => '/client?hub=chat', publish => '/publish/chat?target=m',
#       token => sub { ... },          # of a client
#       sse => 2, plain => 2, hub => 2, poll => 2, publishers => 1);
#
#   $crowd->messages;                  # how many were kept so far
#   $crowd->connects('sse');           # how often they have connected
#   $crowd->everybody($n);             # everybody got n messages more
#   my $r = $crowd->stop;
#   $r->{kept}                         # words whose publisher was told so
#   $r->{holes}, $r->{gaps}            # of sse and plain, which resume
#   $r->{refused}                      # what was not answered as it should be
#   $r->{broken}                       # connections that broke without a word
#
# What they note is a line each in a file: a killed one has told all it knew.

use strict;
use warnings;

use File::Temp ();
use IO::Handle ();
use POSIX ();
use Time::HiRes qw(sleep);

use Broadcast::HTTP qw(http);
use Broadcast::Hub ();
use Broadcast::LongPoll ();
use Broadcast::Plain ();
use Broadcast::SSE ();
use Broadcast::Wait qw(alone reap slurp wait_for);

my $owner = $$;


sub new {
    my ($class, $port, %o) = @_;

    my $self = bless { port => $port, pids => [], file => File::Temp->new,
                       publishers => [],
                       token => sub { undef }, %o, begun => {} }, $class;

    for my $kind (qw(sse plain hub poll)) {
        for my $i (1 .. $o{$kind} // 0) {
            push @{ $self->{pids} }, $self->begin($kind, $i);
        }
    }

    wait_for { !grep { $self->connects($_) < ($o{$_} // 0) }
               qw(sse plain hub poll) } 30
        or die "the crowd does not come in:\n" . slurp("$self->{file}");

    my $n = $o{publishers} // 1;
    $self->{publishers} = [ map { $self->begin('publisher', $_) } 1 .. $n ];

    return $self;
}


sub begin {
    my ($self, $kind, $i) = @_;

    my $pid = fork() // die "fork: $!\n";
    return $pid if $pid;

    open my $out, '>>', "$self->{file}" or POSIX::_exit(1);
    $out->autoflush(1);
    alone(fileno $out);

    my $end = 0;
    local $SIG{TERM} = sub { $end = 1; die "end\n" };

    my $me = { name => "$kind$i", out => $out };

    until ($end) {
        eval { $self->$kind($me); 1 } and next;

        my $why = $@;
        chomp $why;
        last if $end;

        # a status is an answer that was not expected, the rest is a socket's

        eval {
            print $out $why =~ /^status/ ? "refused $me->{name} $why\n"
                                         : "broken $me->{name} $why\n";
            sleep 0.05;
        };
    }

    POSIX::_exit(0);
}


sub note {
    my ($self, $me, $word) = @_;

    syswrite $me->{out}, "$word $me->{name}\n";
}


# The next number, of who resumes: one more than the last.

sub follow {
    my ($self, $me, $id) = @_;
    my ($epoch, $seq) = $id =~ /^(.*)-(\d+)$/ or die "status: id $id\n";

    $self->note($me, 'hole') if defined $me->{last}
        && $seq != ($me->{last} =~ /-(\d+)$/)[0] + 1;
    $me->{last} = $id;
    $self->note($me, 'got');
}


sub sse {
    my ($self, $me) = @_;
    my $token = $self->{token}->();

    my $sse = Broadcast::SSE->connect($self->{port}, $self->{events},
        headers => [
            (defined $token ? (Authorization => "Bearer $token") : ()),
            (defined $me->{last} ? ('Last-Event-ID' => $me->{last}) : ()) ]);

    die "status $sse->{head}{status}\n" if $sse->{head}{status} != 200;
    $self->note($me, 'connect');

    while (my $event = $sse->event(60)) {
        if ($event->{event} eq 'broadcast.gap') {
            $self->note($me, 'gap');
            $me->{last} = $event->{id};
            next;
        }

        $self->follow($me, $event->{id});
    }

    $sse->close;
}


sub plain {
    my ($self, $me) = @_;
    my $sep = $self->{events} =~ /\?/ ? '&' : '?';

    my $plain = Broadcast::Plain->connect($self->{port}, $self->{events}
        . (defined $me->{last} ? "${sep}last_event_id=$me->{last}" : ''),
        token => $self->{token}->());

    die "status $plain->{head}{status}\n" if $plain->{head}{status} != 101;
    $self->note($me, 'connect');

    while (my $record = $plain->next(60)) {
        if (($record->{target} // '') eq 'broadcast.gap') {
            $self->note($me, 'gap');
            $me->{last} = $record->{id};
            next;
        }

        $self->follow($me, $record->{id}) if defined $record->{target};
    }

    my ($code) = $plain->closed;
    $plain->drop;
    die "closed by $code\n" if $code == 1006;
}


sub hub {
    my ($self, $me) = @_;

    my $hub = Broadcast::Hub->connect($self->{port}, $self->{client},
                                      token => $self->{token}->());

    die "status $hub->{error}\n"
        if $hub->{error} && $hub->{error} =~ /: [1-5]\d\d /;
    die "$hub->{error}\n" if $hub->{error};
    $self->note($me, 'connect');

    while (my $record = $hub->next(60)) {
        $self->note($me, 'got') if $record->{type} == 1;
        last if $record->{type} == 7;
        $hub->send({ type => 6 }) if $record->{type} == 6;
    }

    my ($code) = $hub->{ws}->closed;
    $hub->drop;
    die "closed by $code\n" if ($code // 0) == 1006;
}


sub poll {
    my ($self, $me) = @_;

    my $poll = eval {
        Broadcast::LongPoll->connect($self->{port}, $self->{client},
                                     token => $self->{token}->())
    };

    # a handshake that was cut short by the end of its worker is no refusal

    die $@ =~ /^negotiate: (?!404)/ ? "status $@" : $@ if !$poll;
    $self->note($me, 'connect');

    while (1) {
        my $r = $poll->poll(timeout => 60);
        last if $r->{status} =~ /^(?:204|404)$/;
        die "status $r->{status}\n" if $r->{status} != 200;

        for my $record (@{ $r->{records} // [] }) {
            $self->note($me, 'got') if $record->{type} == 1;
        }
    }
}


sub publisher {
    my ($self, $me) = @_;
    my $words = "$me->{name}." . ++$me->{n};

    my $r = http($self->{port}, 'POST', $self->{publish}, body => $words,
                 headers => [ 'Content-Type' => 'text/plain' ]);

    # the relay may have been killed: kept all the same

    die "status $r->{status}\n" unless $r->{status} =~ /^20[02]$/;
    syswrite $me->{out}, "kept $words\n";
    sleep 0.005;
}


sub lines {
    my ($self, $pattern) = @_;

    return grep { /^$pattern/ } split /\n/, slurp("$self->{file}") // '';
}


sub messages { scalar $_[0]->lines('kept ') }
sub connects { scalar $_[0]->lines("connect $_[1]") }


# True when each client has got n messages more than it has now.

sub everybody {
    my ($self, $n, $seconds) = @_;

    my $count = sub {
        my %got = map { my $kind = $_; map { ("$kind$_" => 0) }
                        1 .. $self->{$kind} // 0 } qw(sse plain hub poll);
        $got{$_}++ for map { (split / /)[1] } $self->lines('got ');
        return \%got;
    };
    my $before = $count->();

    return wait_for {
        my $now = $count->();
        !grep { $now->{$_} < $before->{$_} + $n } keys %$before;
    } $seconds // 60;
}


sub stop {
    my ($self) = @_;

    for my $pid (splice(@{ $self->{publishers} }), splice @{ $self->{pids} }) {
        kill 'TERM', $pid;
        reap($pid, 5) or do { kill 'KILL', $pid; reap($pid, 5) };
    }

    my %r = map { $_ => [ $self->lines("$_ ") ] }
            qw(hole gap refused broken connect got kept);

    $_ = scalar @$_ for @r{qw(hole gap connect got)};
    @r{qw(holes gaps)} = delete @r{qw(hole gap)};
    $r{kept} = [ map { (split / /)[1] } @{ $r{kept} } ];

    return \%r;
}


sub DESTROY {
    my ($self) = @_;

    return if $$ != $owner;

    local ($?, $!, $@);
    $self->stop;
}


1;
