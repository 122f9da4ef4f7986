#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# A client that does not read is closed when more waits for it than
# broadcast_queue allows: told so, counted, and nobody else notices.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP;
use Socket qw(SOL_SOCKET SO_RCVBUF);
use Test::More;

use Broadcast::HTTP qw(http);
use Broadcast::Hub;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Plain;
use Broadcast::SSE;

my $nginx = Broadcast::Nginx->new(
    tls => 1,
    http => 'broadcast_zone hubs 32m; broadcast_key 0123456789abcdef;
             broadcast_queue 256k; broadcast_client_timeout 10m;',
    server => <<'EOS')->start;
        location /client   { broadcast_hub anonymous; }
        location /events/  { broadcast_events anonymous; }
        location /publish/ { broadcast_publish; }
        location = /status { broadcast_status json; }
EOS

my $port = $nginx->port;


sub publish {
    my ($text) = @_;

    my $r = http($port, 'POST', '/publish/chat', body => encode_json($text),
                 headers => [ 'Content-Type' => 'application/json' ]);
    $r->{status} == 200 or die "publish: $r->{raw}";
}


sub status { http($port, 'GET', '/status')->{json} }


# until one more is counted as slow, or 64 MB went nowhere

sub flood {
    my ($before, $reader) = @_;

    for my $n (1 .. 400) {
        publish('x' x 160000);
        $reader->next if $reader;
        return $n if status()->{closed}{slow} > $before;
    }

    return 0;
}


my %clients = (
    'a hub client' => sub {
        Broadcast::Hub->connect($port, '/client?hub=chat') },
    'a plain WebSocket' => sub {
        Broadcast::Plain->connect($port, '/events/chat') },
    'an event stream' => sub {
        Broadcast::SSE->connect($port, '/events/chat') },
    'an event stream over TLS' => sub {
        Broadcast::SSE->connect($nginx->port('tls'), '/events/chat',
                                tls => 1) },
);

for my $name (sort keys %clients) {
    my $before = status()->{closed}{slow};

    my $reader = Broadcast::Plain->connect($port, '/events/chat');
    my $slow = $clients{$name}->();

    ok flood($before, $reader), "$name that does not read is closed";
    is status()->{closed}{slow}, $before + 1, "$name: counted once";

    publish('still here');
    my $last;
    do { $last = $reader->next } until $last->{arguments}[0] eq 'still here';
    pass "$name: a client that reads is not disturbed";

    # what was queued before is gone, what it is told is in order

    if ($slow->isa('Broadcast::Hub')) {
        my $record;
        1 while ($record = $slow->next) && $record->{type} != 7;
        is $record->{type}, 7, "$name: hears a Close";
        ok $record->{allowReconnect}, "$name: and may come again";
        $slow->{ws}->message;
        is +($slow->{ws}->closed)[0], 1013, "$name: with code 1013";

    } elsif ($slow->isa('Broadcast::WebSocket')) {
        1 while $slow->next;
        is +($slow->closed)[0], 1013, "$name: hears code 1013";

    } else {
        my $n = 0;
        $n++ while eval { $slow->event };
        ok $n, "$name: got whole events until its end";
    }

    $slow->isa('Broadcast::Hub') ? $slow->drop : $slow->close;
    $reader->close;
}

# a message that is larger than the queue reaches a client that reads

{
    my $plain = Broadcast::Plain->connect($port, '/events/chat');
    publish('y' x 900000);
    is length($plain->next->{arguments}[0]), 900000,
        'one message larger than the queue is delivered';
    $plain->close;
}

ok wait_for {
    my $c = status()->{hubs}{chat}{connections};
    $c->{websocket} + $c->{sse} == 0
}, 'nobody is left';

$nginx->stop_ok;

done_testing;
