#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# The official @microsoft/signalr client, unmodified, through both negotiate
# hops, over WebSocket and SSE, plain and TLS, against four workers.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::Nginx;
use Broadcast::Node qw(program);

my $key = 'a-secret-of-more-than-sixteen-bytes';

my $nginx = Broadcast::Nginx->new(
    workers => 4,
    tls     => 1,
    spread  => 1,
    http    => <<"EOC",
        broadcast_zone hubs 16m;
        broadcast_key $key;
        map \$arg_hub \$to { default chat; other other; }
EOC
    server  => <<'EOC',
        location = /api/negotiate {
            broadcast_negotiate hub=$to user=$arg_user groups=$arg_groups;
        }
        location /api/     { broadcast_api; }
        location /client   { broadcast_hub; }
        location /publish/ { broadcast_publish; }
        location = /status { broadcast_status; }
EOC
)->start;

for my $scheme ('http', 'https') {
    for my $transport ([ 1, 'WebSocket' ], [ 2, 'SSE' ],
                       [ 4, 'LongPolling' ])
    {
        my $port = $nginx->port($scheme eq 'https' ? 'tls' : undef);

        local $ENV{BASE} = "$scheme://127.0.0.1:$port";
        local $ENV{TRANSPORT} = $transport->[0];
        local $ENV{KEY} = $key;
        local $ENV{NODE_EXTRA_CA_CERTS} = $nginx->dir . '/tls.crt';

        subtest "$transport->[1] over $scheme" => sub {
            program('signalr.mjs');
        };
    }
}

$nginx->stop_ok;

done_testing();
