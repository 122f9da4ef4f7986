#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# broadcast_events: who may subscribe to what.

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::Nginx::Socket 'no_plan';

use Broadcast::Token qw(token client_token rest_token);

our $key = '0123456789abcdef';
our $ann = client_token($key, 'chat', sub => 'ann', groups => ['a', 'b c']);
our $role = client_token($key, 'chat', role => 'broadcast.join');
our $one = client_token($key, 'chat', role => ['x', 'broadcast.join.a']);
our $other = client_token($key, 'other');
our $ws = client_token($key, 'chat', 'asrs.s.htt' => 1);

our $http = <<"EOC";
    broadcast_zone hubs 1m;
    broadcast_key $key;
EOC

our $config = <<'EOC';
    location /events/ { broadcast_events; }
    location /anon/   { broadcast_events anonymous; }
    location = /fixed { broadcast_events hub=Chat anonymous; }
    location /ws/     { broadcast_events anonymous; broadcast_transports websocket; }
    location /client  { broadcast_hub anonymous hub=chat; }
    location /page    { ssi on; root html; }
    location /asks    { auth_request /anon/chat; }
EOC

our $upgrade = "Connection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\n"
             . "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n";

# A stream does not end: HTTP/1.0 clients go away after the head, so statuses
# of streams that open are looked at in http_route.t.

add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value('http_config', $http);
    $block->set_value('config', $config);
});

run_tests();

__DATA__

=== TEST 1: tokens
--- request eval
["GET /events/chat", "GET /events/chat?access_token=bad", "GET /events/chat?access_token=$main::other",
 "GET /anon/chat?access_token=bad", "GET /anon/chat?access_token=$main::other", "GET /events/chat"]
--- more_headers eval
[("") x 5, $main::upgrade]
--- error_code eval
[(401) x 6]
--- response_headers eval
[("WWW-Authenticate: Bearer\nContent-Length: 0") x 6]



=== TEST 2: groups that the token does not allow
--- request eval
["GET /events/chat?group=x&access_token=$main::ann", "GET /events/chat?group=a&group=x&access_token=$main::ann",
 "GET /anon/chat?group=x&access_token=$main::ann", "GET /events/chat?group=b&access_token=$main::one",
 "GET /events/chat?group=x&access_token=$main::ann"]
--- more_headers eval
[("") x 4, $main::upgrade]
--- error_code eval
[(403) x 5]



=== TEST 3: groups that are no names
--- request eval
[map { "GET /anon/chat?group=$_" } "", "%20", "%zz", "a" x 1025]
--- error_code eval
[(400) x 4]



=== TEST 4: paths
--- request eval
["GET /anon/", "GET /anon/a/b", "GET /anon/4", "GET /anon/a%2Fb", "GET /fixed/other"]
--- error_code eval
[404, 404, 400, 400, 404]



=== TEST 5: methods
--- request eval
["POST /anon/chat\nx", "HEAD /anon/chat", "PUT /anon/chat\nx", "OPTIONS /anon/chat"]
--- error_code eval
[405, 405, 405, 204]
--- response_headers eval
[("Allow: GET, OPTIONS") x 4]



=== TEST 6: what is asked for is an event stream
--- request eval
[("GET /anon/chat") x 2]
--- more_headers eval
["Accept: text/html", "Accept: application/json"]
--- error_code eval
[406, 406]



=== TEST 7: transports that are switched off
--- request eval
["GET /ws/chat", "GET /events/chat?access_token=$main::ws"]
--- error_code eval
[404, 404]
--- response_body eval
[("ServerSentEvents transport not supported by this end point type") x 2]



=== TEST 8: a part of another request is no client, in a page
--- user_files
>>> page.html
<!--# include virtual="/anon/chat" --><!--# include virtual="/client" -->end
--- request eval
[("GET /page.html") x 2]
--- more_headers eval
["", "Accept: text/event-stream"]
--- error_code eval
[200, 200]
--- response_body_like eval
[(qr/400 Bad Request.*400 Bad Request.*end\n\z/s) x 2]



=== TEST 9: nor where it is asked whether a request may pass
--- request
GET /asks
--- error_code: 500
--- error_log
auth request unexpected status: 400
