#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# The official client over long polling, where each of its requests comes by a
# connection of its own and lands at whichever of four workers: messages under
# load, groups, calls, and the fallback to it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::Nginx;
use Broadcast::Node qw(program);

my $nginx = Broadcast::Nginx->new(
    workers => 4,
    http    => <<'EOC',
        broadcast_zone hubs 16m;

        # The connection count of a worker tells where a client's are; a
        # listening socket for each worker makes them go everywhere.

        server {
            listen 127.0.0.1:%%PORT spread%% reuseport;
            keepalive_timeout 0;

            location /client   { broadcast_hub anonymous; }
            location /only     {
                broadcast_hub hub=chat anonymous; broadcast_transports longpoll;
            }
            location /api/     { broadcast_api open; }
            location /publish/ { broadcast_publish; }
            location = /status { broadcast_status json; }
        }
EOC
)->start;

local $ENV{BASE} = 'http://127.0.0.1:' . $nginx->port('spread');

program('longpoll.mjs');

$nginx->stop_ok;

done_testing();
