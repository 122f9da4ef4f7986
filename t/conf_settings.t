#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# Settings of any level: each misuse fails the start with directive, value and
# reason.

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::Nginx::Socket 'no_plan';

run_tests();

__DATA__

=== TEST 1: broadcast_keepalive twice
--- http_config
    broadcast_zone hubs 1m;
    broadcast_keepalive 15s;
    broadcast_keepalive 15s;
--- config
--- must_die
--- error_log
"broadcast_keepalive" directive is duplicate

=== TEST 2: broadcast_keepalive that is no time
--- http_config
    broadcast_zone hubs 1m;
    broadcast_keepalive soon;
--- config
--- must_die
--- error_log
"broadcast_keepalive": bad value "soon": it must be a time above 0

=== TEST 3: broadcast_keepalive of nothing
--- http_config
    broadcast_zone hubs 1m;
    broadcast_keepalive 0;
--- config
--- must_die
--- error_log
"broadcast_keepalive": bad value "0": it must be a time above 0

=== TEST 4: broadcast_keepalive without a zone
--- http_config
    broadcast_keepalive 15s;
--- config
--- must_die
--- error_log
"broadcast_keepalive" requires "broadcast_zone"

=== TEST 5: broadcast_client_timeout twice
--- http_config
    broadcast_zone hubs 1m;
    broadcast_client_timeout 30s;
    broadcast_client_timeout 30s;
--- config
--- must_die
--- error_log
"broadcast_client_timeout" directive is duplicate

=== TEST 6: broadcast_client_timeout that is no time
--- http_config
    broadcast_zone hubs 1m;
    broadcast_client_timeout soon;
--- config
--- must_die
--- error_log
"broadcast_client_timeout": bad value "soon": it must be a time above 0

=== TEST 7: broadcast_client_timeout of nothing
--- http_config
    broadcast_zone hubs 1m;
    broadcast_client_timeout 0;
--- config
--- must_die
--- error_log
"broadcast_client_timeout": bad value "0": it must be a time above 0

=== TEST 8: broadcast_client_timeout without a zone
--- http_config
    broadcast_client_timeout 30s;
--- config
--- must_die
--- error_log
"broadcast_client_timeout" requires "broadcast_zone"

=== TEST 9: broadcast_handshake_timeout twice
--- http_config
    broadcast_zone hubs 1m;
    broadcast_handshake_timeout 15s;
    broadcast_handshake_timeout 15s;
--- config
--- must_die
--- error_log
"broadcast_handshake_timeout" directive is duplicate

=== TEST 10: broadcast_handshake_timeout that is no time
--- http_config
    broadcast_zone hubs 1m;
    broadcast_handshake_timeout soon;
--- config
--- must_die
--- error_log
"broadcast_handshake_timeout": bad value "soon": it must be a time above 0

=== TEST 11: broadcast_handshake_timeout of nothing
--- http_config
    broadcast_zone hubs 1m;
    broadcast_handshake_timeout 0;
--- config
--- must_die
--- error_log
"broadcast_handshake_timeout": bad value "0": it must be a time above 0

=== TEST 12: broadcast_handshake_timeout without a zone
--- http_config
    broadcast_handshake_timeout 15s;
--- config
--- must_die
--- error_log
"broadcast_handshake_timeout" requires "broadcast_zone"

=== TEST 13: broadcast_message_size twice
--- http_config
    broadcast_zone hubs 1m;
    broadcast_message_size 1m;
    broadcast_message_size 2m;
--- config
--- must_die
--- error_log
"broadcast_message_size" directive is duplicate

=== TEST 14: broadcast_message_size that is no size
--- http_config
    broadcast_zone hubs 1m;
    broadcast_message_size big;
--- config
--- must_die
--- error_log
"broadcast_message_size": bad value "big": it must be a size

=== TEST 15: broadcast_message_size of nothing
--- http_config
    broadcast_zone hubs 1m;
    broadcast_message_size 0;
--- config
--- must_die
--- error_log
"broadcast_message_size": bad value "0": it must be a size

=== TEST 16: broadcast_message_size beyond what a frame holds
--- http_config
    broadcast_zone hubs 1m;
    broadcast_message_size 3g;
--- config
--- must_die
--- error_log
"broadcast_message_size": bad value "3g": it must be a size

=== TEST 17: broadcast_queue twice
--- http_config
    broadcast_zone hubs 1m;
    broadcast_queue 1m;
    broadcast_queue 2m;
--- config
--- must_die
--- error_log
"broadcast_queue" directive is duplicate

=== TEST 18: broadcast_queue that is no size
--- http_config
    broadcast_zone hubs 1m;
    broadcast_queue big;
--- config
--- must_die
--- error_log
"broadcast_queue": bad value "big": it must be a size

=== TEST 19: broadcast_queue of nothing
--- http_config
    broadcast_zone hubs 1m;
    broadcast_queue 0;
--- config
--- must_die
--- error_log
"broadcast_queue": bad value "0": it must be a size

=== TEST 20: broadcast_queue beyond what a frame holds
--- http_config
    broadcast_zone hubs 1m;
    broadcast_queue 3g;
--- config
--- must_die
--- error_log
"broadcast_queue": bad value "3g": it must be a size

=== TEST 21: a setting once a level is no duplicate
--- http_config
    broadcast_zone hubs 1m;
    broadcast_queue 1m;
--- config
    broadcast_queue 2m;
    location /x { broadcast_queue 3m; }
--- request
GET /index.html
--- error_code: 404

=== TEST 22: a rate that is none
--- http_config
    broadcast_zone hubs 1m;
    broadcast_rate 10;
--- config
--- must_die
--- error_log
"broadcast_rate": bad value "10": it must be N/s, as in 10/s

=== TEST 23: a rate of nothing
--- http_config
    broadcast_zone hubs 1m;
    broadcast_rate 0/s;
--- config
--- must_die
--- error_log
"broadcast_rate": bad value "0/s": it must be 1/s to 1000000/s

=== TEST 24: a rate with a parameter that there is not
--- http_config
    broadcast_zone hubs 1m;
    broadcast_rate 10/s nodelay;
--- config
--- must_die
--- error_log
"broadcast_rate": bad value "nodelay": it must be burst=N

=== TEST 25: a rate with a burst of nothing
--- http_config
    broadcast_zone hubs 1m;
    broadcast_rate 10/s burst=0;
--- config
--- must_die
--- error_log
"broadcast_rate": bad value "burst=0": burst must be 1 to 1000000

=== TEST 26: two rates
--- http_config
    broadcast_zone hubs 1m;
    broadcast_rate 10/s;
    broadcast_rate 20/s;
--- config
--- must_die
--- error_log
"broadcast_rate" directive is duplicate

=== TEST 27: a rate
--- http_config
    broadcast_zone hubs 1m;
    broadcast_rate 10/s burst=5;
--- config
--- request
GET /index.html
--- error_code: 404

=== TEST 28: a cap that is no number
--- http_config
    broadcast_zone hubs 1m;
    broadcast_connections many;
--- config
--- must_die
--- error_log
"broadcast_connections": bad value "many": it must be a number above 0

=== TEST 29: a cap of nothing
--- http_config
    broadcast_zone hubs 1m;
    broadcast_connections 0;
--- config
--- must_die
--- error_log
"broadcast_connections": bad value "0": it must be a number above 0

=== TEST 30: a cap with a parameter that there is not
--- http_config
    broadcast_zone hubs 1m;
    broadcast_connections 1 by=a;
--- config
--- must_die
--- error_log
"broadcast_connections": bad value "by=a": it must be key=$variable

=== TEST 31: the same cap twice
--- http_config
    broadcast_zone hubs 1m;
    broadcast_connections 1;
    broadcast_connections 2;
--- config
--- must_die
--- error_log
"broadcast_connections" directive is duplicate

=== TEST 32: the same key twice
--- http_config
    broadcast_zone hubs 1m;
    broadcast_connections 1 key=$remote_addr;
    broadcast_connections 2 key=$remote_addr;
--- config
--- must_die
--- error_log
"broadcast_connections" directive is duplicate

=== TEST 33: a cap for the hub and one for a key
--- http_config
    broadcast_zone hubs 1m;
    broadcast_connections 1;
    broadcast_connections 2 key=$remote_addr;
--- config
--- request
GET /index.html
--- error_code: 404

=== TEST 34: a transport that there is not
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef;
--- config
    location /x { broadcast_hub; broadcast_transports websocket udp; }
--- must_die
--- error_log
"broadcast_transports": bad value "udp": it must be websocket, sse or longpoll

=== TEST 35: a transport twice
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef;
--- config
    location /x { broadcast_hub; broadcast_transports sse sse; }
--- must_die
--- error_log
"broadcast_transports": bad value "sse": it is duplicate

=== TEST 36: transports twice
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef;
--- config
    location /x { broadcast_hub; broadcast_transports sse; broadcast_transports sse; }
--- must_die
--- error_log
"broadcast_transports" directive is duplicate

=== TEST 37: long polling is a word
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef;
--- config
    location /x { broadcast_hub; broadcast_transports longpoll; }
--- request
GET /index.html
--- error_code: 404

=== TEST 38: an auth that is none
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef;
--- config
    location /x { broadcast_auth yes; }
--- must_die
--- error_log
"broadcast_auth": bad value "yes": it must be on, optional or off

=== TEST 39: an auth twice
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef;
--- config
    location /x { broadcast_auth on; broadcast_auth off; }
--- must_die
--- error_log
"broadcast_auth" directive is duplicate

=== TEST 40: an auth with an empty role
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef;
--- config
    location /x { broadcast_auth on role=; }
--- must_die
--- error_log
"broadcast_auth": bad value "role=": it must be role=name

=== TEST 41: an auth that is off with a role
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef;
--- config
    location /x { broadcast_auth off role=a; }
--- must_die
--- error_log
"broadcast_auth": bad value "role=a": no role is asked for where it is off

=== TEST 42: an auth without a zone
--- config
    broadcast_auth on;
--- must_die
--- error_log
"broadcast_auth" requires "broadcast_zone"

=== TEST 43: an origin that is none
--- http_config
    broadcast_zone hubs 1m;
    broadcast_origin example.com;
--- config
--- must_die
--- error_log
"broadcast_origin": bad value "example.com": it must be *, null, scheme://host[:port] or ~expression

=== TEST 44: an origin with a path
--- http_config
    broadcast_zone hubs 1m;
    broadcast_origin https://example.com/;
--- config
--- must_die
--- error_log
"broadcast_origin": bad value "https://example.com/"

=== TEST 45: an origin twice
--- http_config
    broadcast_zone hubs 1m;
    broadcast_origin https://a https://A;
--- config
--- must_die
--- error_log
"broadcast_origin": bad value "https://A": it is duplicate

=== TEST 46: an origin whose expression is broken
--- http_config
    broadcast_zone hubs 1m;
    broadcast_origin "~(";
--- config
--- must_die
--- error_log
"broadcast_origin": bad value "~("

=== TEST 47: an origin whose expression is empty
--- http_config
    broadcast_zone hubs 1m;
    broadcast_origin ~;
--- config
--- must_die
--- error_log
"broadcast_origin": bad value "~": the expression is empty

=== TEST 48: a block with none of it
--- config
--- request
GET /index.html
--- error_code: 404

=== TEST 49: a cap with a key that is the same for everybody
--- http_config
    broadcast_zone hubs 1m;
    broadcast_connections 1 key=remote_addr;
--- config
--- must_die
--- error_log
"broadcast_connections": bad value "key=remote_addr": it must be key=$variable

=== TEST 50: deflate that is neither on nor off
--- http_config
    broadcast_zone hubs 1m;
    broadcast_deflate yes;
--- config
--- must_die
--- error_log
"broadcast_deflate": bad value "yes": it must be on or off

=== TEST 51: a window that zlib has not
--- http_config
    broadcast_zone hubs 1m;
    broadcast_deflate on window=8;
--- config
--- must_die
--- error_log
"broadcast_deflate": bad value "window=8": it must be 9 to 15: zlib cannot keep to less

=== TEST 52: a window that there is not
--- http_config
    broadcast_zone hubs 1m;
    broadcast_deflate on window=16;
--- config
--- must_die
--- error_log
"broadcast_deflate": bad value "window=16": it must be 9 to 15

=== TEST 53: a window twice
--- http_config
    broadcast_zone hubs 1m;
    broadcast_deflate on window=9 window=9;
--- config
--- must_die
--- error_log
"broadcast_deflate": bad value "window=9": it is no parameter, or given twice

=== TEST 54: a least length that is no size
--- http_config
    broadcast_zone hubs 1m;
    broadcast_deflate on min_length=x;
--- config
--- must_die
--- error_log
"broadcast_deflate": bad value "min_length=x": it must be a size

=== TEST 55: a parameter of deflate that there is not
--- http_config
    broadcast_zone hubs 1m;
    broadcast_deflate on level=9;
--- config
--- must_die
--- error_log
"broadcast_deflate": bad value "level=9": it is no parameter, or given twice

=== TEST 56: a window where deflate is off
--- http_config
    broadcast_zone hubs 1m;
    broadcast_deflate off window=9;
--- config
--- must_die
--- error_log
"broadcast_deflate": bad value "window=9": it is off

=== TEST 57: deflate twice
--- http_config
    broadcast_zone hubs 1m;
    broadcast_deflate on; broadcast_deflate off;
--- config
--- must_die
--- error_log
"broadcast_deflate" directive is duplicate
