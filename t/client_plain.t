#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# Plain EventSource and plain WebSocket clients over HTTP/1.1, TLS and HTTP/2,
# against four workers.

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
    http    => "broadcast_zone hubs 16m; broadcast_key $key;",
    server  => <<'EOC',
        location /events/  { broadcast_events anonymous; }
        location /publish/ { broadcast_publish; }
        location = /status { broadcast_status; }
EOC
)->start;

for my $case ([ 'http', 1 ], [ 'https', 1 ], [ 'https', 2 ]) {
    my ($scheme, $version) = @$case;
    my $port = $nginx->port($scheme eq 'https' ? 'tls' : undef);

    local $ENV{BASE} = "$scheme://127.0.0.1:$port";
    local $ENV{KEY} = $key;
    local $ENV{VERSION} = $version;
    local $ENV{NODE_EXTRA_CA_CERTS} = $nginx->dir . '/tls.crt';

    subtest "$scheme, streams over HTTP/$version" => sub {
        program('plain.mjs');
    };
}

$nginx->stop_ok;

done_testing();
