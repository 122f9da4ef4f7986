#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# broadcast_origin and CORS, signalr.md 1.9: on answers, on errors and before
# access control.

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::Nginx::Socket 'no_plan';

our $http = <<'EOC';
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef;
EOC

our $config = <<'EOC';
    location /publish/ { broadcast_publish; }
    location /some/    {
        broadcast_publish;
        broadcast_origin https://a.example "~^https://[a-z]+\.b\.example$" null;
    }
    location /any/     { broadcast_publish; broadcast_origin *; }
    location /client   { broadcast_hub; broadcast_origin *; }
    location /guarded/ { broadcast_publish; broadcast_origin *; deny all; }
    location /authed/  { broadcast_publish; broadcast_origin *; broadcast_auth on; }
    location /api/     { broadcast_api; broadcast_origin *; }
    location /static/  { broadcast_origin https://a.example; }
EOC

our $cors = "Access-Control-Allow-Credentials: true\nVary: Origin\n"
          . "Access-Control-Allow-Origin: ";
our $none = "! Access-Control-Allow-Origin\n! Access-Control-Allow-Credentials";

add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value('http_config', $http);
    $block->set_value('config', $config);
    $block->set_value('user_files', ">>> static/f\nx\n");
});

run_tests();

__DATA__

=== TEST 1: no Origin, and the request's own
--- request eval
[("POST /publish/chat\nx") x 7]
--- more_headers eval
["", "Origin: http://localhost", "Origin: https://localhost", "Origin: http://LOCALHOST:80",
 "Host: a.example:8080\nOrigin: http://a.example:8080", "Host: a.example:443\nOrigin: https://a.example",
 "Host: [::1]:81\nOrigin: http://[::1]:81"]
--- response_headers eval
["$main::none", map { "$main::cors$_" } "http://localhost", "https://localhost", "http://LOCALHOST:80",
 "http://a.example:8080", "https://a.example", "http://[::1]:81"]



=== TEST 2: any other is refused, without CORS headers
--- request eval
[("POST /publish/chat\nx") x 8]
--- more_headers eval
[map { "Host: localhost:81\nOrigin: $_" } "http://localhost", "http://localhost:82", "http://evil.localhost:81",
 "http://localhost:81.evil", "null", "localhost:81", "ftp://localhost:81", "http://"]
--- error_code eval
[(403) x 8]
--- response_headers eval
[($main::none) x 8]



=== TEST 3: values and expressions
--- request eval
[("POST /some/chat\nx") x 6]
--- more_headers eval
[map { "Origin: $_" } "https://a.example", "https://x.b.example", "null", "http://a.example",
 "https://a.example.evil", "https://x.b.example.evil"]
--- error_code eval
[200, 200, 200, 403, 403, 403]
--- response_headers eval
["$main::cors" . "https://a.example", "$main::cors" . "https://x.b.example", "$main::cors" . "null", ($main::none) x 3]



=== TEST 4: a preflight, whatever guards the location
--- request eval
[map { "OPTIONS $_" } "/any/chat", "/guarded/chat", "/authed/chat", "/client?hub=chat", "/api/hubs/chat/:send"]
--- more_headers eval
[("Origin: https://x\nAccess-Control-Request-Method: POST\nAccess-Control-Request-Headers: authorization,x-requested-with") x 5]
--- error_code eval
[(204) x 5]
--- response_headers eval
["$main::cors" . "https://x\nAccess-Control-Allow-Headers: authorization,x-requested-with\nAccess-Control-Max-Age: 600\nAccess-Control-Allow-Methods: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
 ("$main::cors" . "https://x") x 4]



=== TEST 5: a preflight of an origin that is not allowed
--- request
OPTIONS /publish/chat
--- more_headers
Origin: https://x
Access-Control-Request-Method: POST
--- error_code: 403
--- response_headers eval
$main::none



=== TEST 6: errors have the headers too
--- request eval
["POST /any/chat\n{", "POST /any/\nx", "GET /any/chat", "POST /client/negotiate?hub=chat",
 "POST /api/v1/hubs/chat\nx", "POST /guarded/chat\nx", "POST /authed/chat\nx"]
--- more_headers eval
["Content-Type: application/json\nOrigin: https://x", ("Origin: https://x") x 6]
--- error_code eval
[400, 404, 405, 401, 401, 403, 401]
--- response_headers eval
[("$main::cors" . "https://x") x 7]



=== TEST 7: locations of others are left alone
--- request
GET /static/f
--- more_headers
Origin: https://evil
--- response_headers eval
$main::none
