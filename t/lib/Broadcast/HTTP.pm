package Broadcast::HTTP;

# Copyright (C) The nginx-broadcast authors
#
# A raw HTTP/1.x client for exact bytes.
#
#   my $r = http($port, 'POST', '/api/x?y', body => '{}',
#                headers => [ 'Content-Type' => 'application/json' ],
#                tls => 1, version => '1.0', timeout => 3);
#   $r->{status}, $r->{reason}, $r->{body}, $r->{raw}
#   $r->{headers}{'content-type'}        # several of one name: joined by ', '
#   $r->{lines}                          # header lines as they came
#   $r->{json}                           # the body parsed, if it is JSON
#
#   my $c = Broadcast::HTTP->connect($port, tls => 1);
#   $c->write("GET / HTTP/1.1\r\n..."); $c->head; $c->body($head);
#   $c->bytes(4); $c->until("\r\n"); $c->some; $c->at_end; $c->close;
#
#   my $c = worker_at($port, '/pid', $pid);   # to this worker, kept alive
#   my $c = worker_at($port, '/pid', sub { $_[0] != $other }); $c->{worker}
#
# All reads have a deadline, a minute or the timeout given, and die at it with
# what was asked.  A limit that is not reached costs nothing: give one only
# where nothing shall come.

use strict;
use warnings;

use Exporter 'import';
use IO::Socket::INET;
use JSON::PP ();
use Time::HiRes qw(time);

our @EXPORT_OK = qw(http worker_at);

my $patience = 60;

$SIG{PIPE} = 'IGNORE' unless ref $SIG{PIPE};

my $json = JSON::PP->new->utf8->allow_nonref;


sub http {
    my ($port, $method, $uri, %o) = @_;

    my $c = Broadcast::HTTP->connect($port, %o);

    $c->request($method, $uri, %o);

    my $r = $c->head;
    $r = $c->head while $r->{status} == 100;

    $c->body($r, $method);
    $c->close;

    return $r;
}


# A connection to the worker of that pid, or to one that the sub wants; the
# location answers "$pid".

sub worker_at {
    my ($port, $uri, $wanted) = @_;

    for (1 .. 400) {
        my $c = Broadcast::HTTP->connect($port);

        $c->request('GET', $uri, keepalive => 1);

        my $pid = $c->{worker} = $c->body($c->head);

        return $c if ref $wanted ? $wanted->($pid) : $pid == $wanted;

        $c->close;
    }

    die 'no connection came to ' . (ref $wanted ? 'a worker of the kind'
                                                : "worker $wanted") . "\n";
}


sub connect {
    my ($class, $port, %o) = @_;

    my $socket = IO::Socket::INET->new(
        PeerAddr => '127.0.0.1', PeerPort => $port, Proto => 'tcp',
        Timeout => $o{timeout} // $patience)
        or die "cannot connect to port $port: $!\n";

    if ($o{tls}) {
        require IO::Socket::SSL;
        $socket = IO::Socket::SSL->start_SSL($socket,
            SSL_verify_mode => 0, SSL_hostname => 'localhost',
            ($o{alpn} ? (SSL_alpn_protocols => $o{alpn}) : ()))
            or die "TLS to port $port: $IO::Socket::SSL::SSL_ERROR\n";
    }

    return bless { socket => $socket, port => $port, buffer => '', end => 0,
                   timeout => $o{timeout} // $patience }, $class;
}


# headers is a list of pairs or a hash; Host, Connection and Content-Length are
# added where they are not in it.

sub request {
    my ($self, $method, $uri, %o) = @_;

    my @pairs = ref $o{headers} eq 'HASH'
              ? map { ($_, $o{headers}{$_}) } sort keys %{ $o{headers} }
              : @{ $o{headers} // [] };
    my ($text, %seen) = ('');

    while (my ($name, $value) = splice @pairs, 0, 2) {
        defined $value or die "$method $uri: the header $name has no value\n";
        $text .= "$name: $value\r\n";
        $seen{lc $name} = 1;
    }

    $text = "Host: 127.0.0.1:$self->{port}\r\n$text" unless $seen{host};
    $text .= "Connection: close\r\n" unless $seen{connection} || $o{keepalive};
    $text .= 'Content-Length: ' . length($o{body}) . "\r\n"
        if defined $o{body} && !$seen{'content-length'}
           && !$seen{'transfer-encoding'};

    $self->{asked} = "$method $uri";
    $self->write("$method $uri HTTP/" . ($o{version} // '1.1') . "\r\n"
                 . "$text\r\n" . ($o{body} // ''));
}


sub write {
    my ($self, $bytes) = @_;

    while (length $bytes) {
        my $n = syswrite $self->{socket}, $bytes;
        defined $n or return 0;
        substr $bytes, 0, $n, '';
    }

    return 1;
}


# Reads what there is, waiting for at least a byte; false at the end of the
# stream, dies at the deadline.

sub some {
    my ($self, $deadline) = @_;

    return 0 if $self->{end};

    my $socket = $self->{socket};
    my $left = ($deadline // time + $self->{timeout}) - time;

    unless ($socket->can('pending') && $socket->pending) {
        my $bits = '';
        vec($bits, fileno $socket, 1) = 1;
        $left = 0 if $left < 0;
        select $bits, undef, undef, $left
            or die $self->late;
    }

    my $n = sysread $socket, $self->{buffer}, 65536, length $self->{buffer};

    if (!$n) {
        return 1 if !defined $n && $socket->can('pending')
                    && $!{EAGAIN};
        $self->{end} = 1;
        return 0;
    }

    return 1;
}


# The words of a read that came to its deadline.

sub late {
    my ($self) = @_;
    my ($i, $at) = (0, '');

    while (my ($package, $file, $line) = caller $i++) {
        $at = " at $file line $line" and last if $file =~ /\.t$/;
    }

    return "timed out reading$at, asked port $self->{port}: "
           . ($self->{asked} // 'nothing') . ', had: '
           . substr($self->{buffer}, 0, 500) . "\n";
}


# Exactly n bytes, or undef if the stream ends before.

sub bytes {
    my ($self, $n, $seconds) = @_;
    my $deadline = time + ($seconds // $self->{timeout});

    while (length $self->{buffer} < $n) {
        $self->some($deadline) or return undef;
    }

    return substr $self->{buffer}, 0, $n, '';
}


# Up to and with a delimiter, or undef if the stream ends before.

sub until {
    my ($self, $delimiter, $seconds) = @_;
    my $deadline = time + ($seconds // $self->{timeout});

    my $at;
    while (($at = index $self->{buffer}, $delimiter) < 0) {
        $self->some($deadline) or return undef;
    }

    return substr $self->{buffer}, 0, $at + length $delimiter, '';
}


# True if the peer closes within the time; what came before is in {buffer}.

sub at_end {
    my ($self, $seconds) = @_;
    my $deadline = time + ($seconds // $self->{timeout});

    return eval { 1 while $self->some($deadline); 1 };
}


sub head {
    my ($self, $seconds) = @_;

    my $raw = $self->until("\r\n\r\n", $seconds)
        // die "no answer, but: $self->{buffer}\n";
    my ($first, @lines) = split /\r\n/, $raw;
    my %headers;

    for (@lines) {
        my ($name, $value) = /^([^:]+):\s*(.*)$/ or next;
        $name = lc $name;
        $headers{$name} = defined $headers{$name}
                        ? "$headers{$name}, $value" : $value;
    }

    my ($version, $status, $reason) = $first =~ m{^HTTP/(\S+) (\d+) ?(.*)$}
        or die "not a status line: $first\n";

    return { version => $version, status => $status, reason => $reason,
             headers => \%headers, lines => \@lines, raw => $raw };
}


sub body {
    my ($self, $r, $method, $seconds) = @_;
    my $h = $r->{headers};
    my $body = '';

    if (($method // '') eq 'HEAD' || $r->{status} =~ /^(?:1..|204|304)$/) {
        # has none

    } elsif (($h->{'transfer-encoding'} // '') =~ /chunked/) {
        while (defined(my $chunk = $self->chunk($seconds))) {
            $body .= $chunk;
        }

    } elsif (defined $h->{'content-length'}) {
        $body = $self->bytes($h->{'content-length'}, $seconds)
            // die "the body ends early\n";

    } else {
        $self->at_end($seconds) or die "the body does not end\n";
        $body = $self->{buffer};
        $self->{buffer} = '';
    }

    $r->{body} = $body;
    $r->{raw} .= $body;
    $r->{json} = eval { $json->decode($body) };

    return $body;
}


# One chunk of a chunked body; undef at its end.

sub chunk {
    my ($self, $seconds) = @_;

    my $line = $self->until("\r\n", $seconds) // return undef;
    my $size = hex(($line =~ /^([0-9a-fA-F]+)/)[0] // die "no chunk: $line\n");

    if ($size == 0) {
        $self->until("\r\n", $seconds);
        return undef;
    }

    my $data = $self->bytes($size + 2, $seconds) // return undef;

    return substr $data, 0, $size;
}


sub close {
    my ($self) = @_;

    my $socket = delete $self->{socket} or return;
    close $socket;
}


1;
