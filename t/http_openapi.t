#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# html/openapi.json is right, and true: every operation in it is carried out
# against a server with the locations of the quickstart.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::Nginx;
use Broadcast::Node qw(program);
use Broadcast::Wait qw(slurp);

my $key = 'a-secret-of-more-than-sixteen-bytes';

my $nginx = Broadcast::Nginx->new(
    workers => 2,
    http    => "broadcast_zone hubs 16m; broadcast_key $key;",
    server  => <<'EOC',
        location = /openapi.json  { default_type application/json; }
        location = /api/negotiate { broadcast_negotiate hub=chat user=$arg_user; }
        location /client          { broadcast_hub; }
        location /api/            { broadcast_api; }
        location /publish/        { broadcast_publish; }
EOC
);

$nginx->write('html/openapi.json',
              slurp(Broadcast::Nginx::top() . '/html/openapi.json'));
$nginx->start;

$ENV{BASE} = 'http://127.0.0.1:' . $nginx->port;
$ENV{KEY} = $key;

program('openapi.mjs');

$nginx->stop_ok;

done_testing();
