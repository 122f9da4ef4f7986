#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# A connection of the official client while it lives and when it ends: pings
# both ways, messages that come together, every kind of Close, a worker that
# dies.  signalr.md appendix B, lines 7, 11 and 12.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::Nginx;
use Broadcast::Node qw(program);

my $nginx = Broadcast::Nginx->new(
    workers => 2,
    http    => <<'EOC',
        broadcast_zone hubs 8m;
        broadcast_key 0123456789abcdef;
EOC
    server  => <<'EOC',
        location /client   { broadcast_hub hub=chat anonymous; }
        location /quick    {
            broadcast_hub hub=quick anonymous;
            broadcast_keepalive 1s;
            broadcast_client_timeout 3s;
        }
        location /rate     {
            broadcast_hub hub=rate anonymous;
            broadcast_rate 5/s;
        }
        location /api/     { broadcast_api open; }
        location /publish/ { broadcast_publish; }
        location = /status { broadcast_status json; }
EOC
)->start;

# the program kills one

$nginx->allow(qr/exited on signal 9/);

$ENV{BASE} = 'http://127.0.0.1:' . $nginx->port;

my %transports = (1 => 'WebSocket', 2 => 'SSE', 4 => 'long polling');

for my $number (sort keys %transports) {
    local $ENV{TRANSPORT} = $number;

    subtest $transports{$number} => sub { program('life.mjs') };
}

$nginx->stop_ok;

done_testing();
