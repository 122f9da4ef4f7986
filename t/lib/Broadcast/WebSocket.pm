package Broadcast::WebSocket;

# Copyright (C) The nginx-broadcast authors
#
# A raw WebSocket client (RFC 6455) for exact frames.
#
#   my $ws = Broadcast::WebSocket->connect($port, '/client?hub=chat',
#                headers => [ Authorization => "Bearer $token" ], tls => 1);
#   $ws->{head}                     # the 101, or the refusal (then no frames)
#   $ws->text('...'); $ws->binary("...");
#   $ws->frame(opcode, payload, fin => 0, mask => 0, rsv => 4);
#   $ws->message                    # next text or binary message; undef: closed
#   $ws->next_frame                 # { opcode, fin, rsv, payload }
#   $ws->closed                     # (code, reason) after undef from message
#   $ws->close(1000, 'bye');        # sends a close frame, waits for the answer
#   $ws->drop;                      # cuts the connection
#
#   on => $http                     # for connect: a connection that was made
#   offer => 'permessage-deflate'   # for connect; $ws->{window} is what was
#                                   # agreed for the server, undef: nothing
#   $ws->deflated('...', opcode)    # sends a message compressed (1)
#   deflate($bytes, $bits)          # its payload; inflate($payload, $bits)
#
# message() answers pings by itself, passes pongs over, and inflates;
# {compressed} tells whether the last one was.

use strict;
use warnings;

use Compress::Raw::Zlib ();
use Digest::SHA ();
use Exporter ();
use MIME::Base64 ();

use parent 'Broadcast::HTTP';

our @EXPORT_OK = qw(deflate inflate);

*import = \&Exporter::import;

my $guid = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';


sub connect {
    my ($class, $port, $uri, %o) = @_;

    my $self = $o{on} // Broadcast::HTTP->connect($port, %o);
    bless $self, $class;

    my $key = MIME::Base64::encode_base64(
        pack('N4', map { int rand 2 ** 32 } 1 .. 4), '');

    my @headers = ref $o{headers} eq 'HASH' ? %{ $o{headers} }
                                            : @{ $o{headers} // [] };

    push @headers, 'Sec-WebSocket-Extensions' => $o{offer}
        if defined $o{offer};

    $self->request('GET', $uri, headers => [
        Upgrade => 'websocket', Connection => 'Upgrade',
        'Sec-WebSocket-Key' => $key, 'Sec-WebSocket-Version' => 13,
        @headers ]);

    # what shall come in one segment with the request
    $self->write($o{early}) if defined $o{early};

    $self->{head} = $self->head;

    if ($self->{head}{status} != 101) {
        $self->body($self->{head});
        return $self;
    }

    my $accept = MIME::Base64::encode_base64(
        Digest::SHA::sha1($key . $guid), '');

    ($self->{head}{headers}{'sec-websocket-accept'} // '') eq $accept
        or die "wrong Sec-WebSocket-Accept\n";

    my $agreed = $self->{head}{headers}{'sec-websocket-extensions'};

    if (defined $agreed) {
        $agreed =~ /^permessage-deflate;[ ]server_no_context_takeover
                    ;[ ]client_no_context_takeover/x
            or die "wrong Sec-WebSocket-Extensions: $agreed\n";
        $self->{window} = $agreed =~ /server_max_window_bits=(\d+)/ ? $1 : 15;
    }

    return $self;
}


# A message without context takeover, RFC 7692 section 7.2.

sub deflate {
    my ($bytes, $bits) = @_;

    my $z = Compress::Raw::Zlib::Deflate->new(-WindowBits => -($bits // 15),
                                              -AppendOutput => 1);
    my $out = '';

    $z->deflate($bytes, $out);
    $z->flush($out, Compress::Raw::Zlib::Z_SYNC_FLUSH());

    $out =~ s/\0\0\xff\xff\z// or die "no flush at the end\n";

    return $out;
}


sub inflate {
    my ($payload, $bits) = @_;

    my $z = Compress::Raw::Zlib::Inflate->new(-WindowBits => -($bits // 15));
    my $in = "$payload\0\0\xff\xff";
    my $status = $z->inflate($in, my $out);

    $status == Compress::Raw::Zlib::Z_OK() && $in eq ''
        or die "no deflate data: $status\n";

    return $out // '';
}


sub deflated {
    my ($self, $bytes, $opcode) = @_;

    return $self->frame($opcode // 1, deflate($bytes), rsv => 4);
}


# The bytes of one frame.

sub encode {
    my ($class, $opcode, $payload, %o) = @_;

    my $first = (($o{fin} // 1) ? 0x80 : 0) | (($o{rsv} // 0) << 4) | $opcode;
    my $masked = $o{mask} // 1;
    my $n = length $payload;

    my $frame = chr $first;
    my $bit = $masked ? 0x80 : 0;

    $frame .= $n < 126   ? chr($bit | $n)
            : $n < 65536 ? chr($bit | 126) . pack('n', $n)
            :              chr($bit | 127) . pack('Q>', $n);

    if ($masked) {
        my $mask = pack 'N', int rand 2 ** 32;
        $payload = "$payload" ^ substr $mask x ($n / 4 + 1), 0, $n if $n;
        $frame .= $mask;
    }

    return $frame . $payload;
}


sub frame {
    my ($self, $opcode, $payload, %o) = @_;

    return $self->write($self->encode($opcode, $payload // '', %o));
}


sub text   { $_[0]->frame(1, $_[1]) }
sub binary { $_[0]->frame(2, $_[1]) }
sub ping   { $_[0]->frame(9, $_[1] // '') }


sub next_frame {
    my ($self, $seconds) = @_;

    my $head = $self->bytes(2, $seconds) // return undef;
    my ($first, $second) = unpack 'CC', $head;

    die "a masked frame from the server\n" if $second & 0x80;

    my $n = $second & 0x7f;

    if ($n == 126) {
        $n = unpack 'n', $self->bytes(2, $seconds) // return undef;
    } elsif ($n == 127) {
        $n = unpack 'Q>', $self->bytes(8, $seconds) // return undef;
    }

    my $payload = $self->bytes($n, $seconds) // return undef;

    return { fin => $first >> 7, rsv => $first >> 4 & 7,
             opcode => $first & 15, payload => $payload };
}


sub message {
    my ($self, $seconds) = @_;
    my $message;

    $self->{compressed} = 0;

    while (my $f = $self->next_frame($seconds)) {

        if ($f->{opcode} == 8) {
            my ($code, $reason) = unpack 'na*', $f->{payload};
            $self->{closed} = [ $code, $reason ];
            return undef;
        }

        if ($f->{opcode} == 9) {
            $self->frame(10, $f->{payload});
            next;
        }

        next if $f->{opcode} == 10;

        $message .= $f->{payload};

        if ($f->{opcode}) {
            $self->{opcode} = $f->{opcode};
            $self->{compressed} = $f->{rsv} == 4 && defined $self->{window};
            $f->{rsv} = 0 if $self->{compressed};
        }

        die "reserved bits $f->{rsv}\n" if $f->{rsv};

        return $self->{compressed} ? inflate($message, $self->{window})
                                   : $message
            if $f->{fin};
    }

    $self->{closed} //= [ 1006, '' ];

    return undef;
}


sub closed { @{ $_[0]{closed} // [] } }


sub close {
    my ($self, $code, $reason) = @_;

    return unless $self->{socket};

    $self->frame(8, defined $code ? pack 'na*', $code, $reason // '' : '');

    unless ($self->{closed}) {
        eval { 1 while defined $self->message(5) };
    }

    $self->drop;
}


sub drop {
    my ($self) = @_;

    $self->SUPER::close;
}


1;
