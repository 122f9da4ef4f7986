#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# broadcast_auth, and the variables that a token fills.

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::Nginx::Socket 'no_plan';

use Broadcast::Token qw(token client_token rest_token);

our $key = '0123456789abcdef';
our $ann = client_token($key, 'chat', sub => 'ann', role => ['a', 'b'],
                        level => 7, givenName => 'Ann');
our $bare = token($key, { sub => 'bob', exp => time + 60 });
our $rest = rest_token($key, 'http://localhost/on');
our $late = client_token($key, 'chat', sub => 'ann', exp => time - 120);
our $other = client_token('fedcba9876543210', 'chat');
our $none = token($key, { aud => 'http://x/client?hub=chat',
                          exp => time + 60 }, alg => 'none');

our $http = <<"EOC";
    broadcast_zone hubs 1m;
    broadcast_key $key;
EOC

our $second = <<'EOC';
    server {
        listen 127.0.0.1:$TEST_NGINX_SERVER_PORT;
        server_name other.example;

        broadcast_key fedcba9876543210;

        location /on/ { broadcast_auth on; }
    }
EOC


add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value('http_config',
                      $block->name =~ /another server/ ? $http . $second : $http);
    $block->set_value('user_files', ">>> on/f\nblob\n>>> opt/f\nblob\n"
                      . ">>> role/f\nblob\n>>> off/f\nblob\n"
                      . ">>> any/f\nblob\n>>> except/f\nblob\n");
});

run_tests();

__DATA__

=== TEST 1: a private file and its tokens
--- config
    location /on/ { broadcast_auth on; }
--- request eval
[map { "GET /on/f" . (defined $_ ? "?access_token=$_" : "") }
 undef, $main::ann, $main::bare, $main::rest, $main::late, $main::other,
 $main::none, "x", "", "%zz", "a.b.c", $main::ann . "x"]
--- error_code eval
[401, 200, 200, 401, 401, 401, 401, 401, 401, 401, 401, 401]
--- response_headers eval
["WWW-Authenticate: Bearer", "! WWW-Authenticate", "! WWW-Authenticate",
 ("WWW-Authenticate: Bearer") x 9]



=== TEST 2: the header, which comes first
--- config
    location /on/ { broadcast_auth on; }
--- request eval
["GET /on/f", "GET /on/f", "GET /on/f?access_token=$main::ann",
 "GET /on/f?access_token=bad", "GET /on/f?access_token=$main::ann"]
--- more_headers eval
["Authorization: Bearer $main::ann", "Authorization: bearer  $main::ann",
 "Authorization: Bearer bad", "Authorization: Bearer $main::ann",
 "Authorization: Basic YTpi"]
--- error_code eval
[200, 200, 401, 200, 200]



=== TEST 3: neither cookie nor subprotocol is looked at
--- config
    location /on/ { broadcast_auth on; }
--- request
GET /on/f
--- more_headers eval
"Cookie: access_token=$main::ann\nSec-WebSocket-Protocol: access_token, $main::ann"
--- error_code: 401



=== TEST 4: optional: none is good, a bad one is not
--- config
    location /opt/ { broadcast_auth optional; }
--- request eval
["GET /opt/f", "GET /opt/f?access_token=$main::ann", "GET /opt/f?access_token=x"]
--- error_code eval
[200, 200, 401]



=== TEST 5: a role
--- config
    location /role/ { broadcast_auth on role=b; }
--- request eval
["GET /role/f", "GET /role/f?access_token=$main::ann",
 "GET /role/f?access_token=$main::bare"]
--- error_code eval
[401, 200, 403]



=== TEST 6: a token that is too long
--- config
    location /on/ { broadcast_auth on; }
--- request eval
"GET /on/f?access_token=" . ("a" x 4097)
--- error_code: 413



=== TEST 7: levels
--- config
    broadcast_auth on;
    location /on/ { }
    location /off/ { broadcast_auth off; }
--- request eval
["GET /on/f", "GET /off/f"]
--- error_code eval
[401, 200]



=== TEST 8: satisfy any
--- config
    satisfy any;
    location /any/ { broadcast_auth on; allow 127.0.0.1; deny all; }
    location /on/ { broadcast_auth on; deny all; }
--- request eval
["GET /any/f", "GET /on/f", "GET /on/f?access_token=$main::ann"]
--- error_code eval
[200, 401, 200]
--- response_headers eval
["! WWW-Authenticate", "WWW-Authenticate: Bearer", "! WWW-Authenticate"]



=== TEST 9: satisfy all
--- config
    location /on/ { broadcast_auth on; deny all; }
--- request eval
"GET /on/f?access_token=$main::ann"
--- error_code: 403



=== TEST 10: limit_except
--- config
    location /except/ {
        limit_except GET { broadcast_auth on; }
    }
--- request eval
["GET /except/f", "PUT /except/g\nx", "PUT /except/g?access_token=$main::ann\nx"]
--- error_code eval
[200, 401, 405]



=== TEST 11: error_page answers for us
--- config
    location /on/ { broadcast_auth on; error_page 401 = @login; }
    location @login { return 302 /login; }
--- request
GET /on/f
--- error_code: 302



=== TEST 12: a refused program reads what its handler would say
--- config
    broadcast_auth on;
    location /client { broadcast_hub anonymous; }
    location /publish/ { broadcast_publish; }
--- request eval
["POST /client/negotiate?hub=chat", "POST /publish/chat\nx",
 "POST /publish/chat?access_token=$main::bare\nx"]
--- error_code eval
[401, 401, 200]
--- response_headers eval
["WWW-Authenticate: Bearer\nContent-Length: 0", "WWW-Authenticate: Bearer", ""]



=== TEST 13: variables of the token
--- config
    location /v {
        default_type text/plain;
        return 200 "$broadcast_user|$broadcast_claim_level|$broadcast_claim_role|$broadcast_claim_givenName|$broadcast_claim_none|$broadcast_hub|";
    }
--- request eval
["GET /v?access_token=$main::ann", "GET /v", "GET /v?access_token=x"]
--- response_body eval
['ann|7|["a","b"]|Ann|||', '||||||', '||||||']



=== TEST 14: the user goes to an upstream
--- config
    location /p {
        broadcast_auth on;
        proxy_set_header X-User $broadcast_user;
        proxy_pass http://127.0.0.1:$server_port/back;
    }
    location /back { return 200 $http_x_user; }
--- request eval
"GET /p?access_token=$main::ann"
--- response_body: ann



=== TEST 15: a token that was seen is not good for another server's key
--- config
    location /on/ { broadcast_auth on; }
--- request eval
["GET /on/f?access_token=$main::ann", "GET /on/f?access_token=$main::ann",
 "GET /on/f?access_token=$main::ann",
 "GET /on/f?access_token=$main::other",
 "GET /on/f?access_token=$main::other",
 "GET /on/f?access_token=" . substr($main::ann, 0, -1),
 "GET /on/f?access_token=$main::ann"]
--- more_headers eval
["", "", "Host: other.example", "Host: other.example", "", "", ""]
--- error_code eval
[200, 200, 401, 200, 401, 401, 200]
