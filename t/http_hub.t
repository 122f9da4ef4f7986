#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# The SignalR endpoint as HTTP: negotiate, and what is answered to requests
# that do not fit, signalr.md 1.4 and 2.1.  Connections that live are in
# client_*.t.

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::Nginx::Socket 'no_plan';

use Broadcast::Token qw(token client_token rest_token);

our $key = '0123456789abcdef';
our $ann = client_token($key, 'chat', sub => 'ann');
our $sse = client_token($key, 'chat', 'asrs.s.htt' => 2);
our $other = client_token($key, 'other', sub => 'ann');
our $bare = token($key, { sub => 'bob', exp => time + 60 });
our $rest = rest_token($key, 'http://localhost/client');

our $http = <<"EOC";
    broadcast_zone hubs 1m;
    broadcast_key $key;
EOC

our $config = <<'EOC';
    location /client { broadcast_hub; }
    location /fixed  { broadcast_hub hub=Chat anonymous; }
    location /sse    { broadcast_hub anonymous; broadcast_transports sse; }
    location /none   { broadcast_hub anonymous; broadcast_transports longpoll; }
EOC

our $ws = "Connection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\n"
        . "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n";
our $stream = "Accept: text/event-stream";

add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value('http_config', $http);
    $block->set_value('config', $config);
});

run_tests();

__DATA__

=== TEST 1: negotiate
--- request eval
["POST /client/negotiate?hub=chat&negotiateVersion=1&access_token=$main::ann",
 "POST /client/negotiate?HUB=Chat&NegotiateVersion=7&access_token=$main::ann",
 "POST /client/negotiate?hub=chat&access_token=$main::ann",
 "POST /client/negotiate?hub=chat&negotiateVersion=x&access_token=$main::ann",
 "POST /client/negotiate?hub=chat&negotiateVersion=-1&access_token=$main::ann"]
--- response_headers eval
[("Content-Type: application/json\nCache-Control: no-store") x 5]
--- response_body_like eval
[(qr/^\{"negotiateVersion":1,"connectionId":"([\w-]{22})","connectionToken":"(?!\1")[\w-]{48}","availableTransports":\[\{"transport":"WebSockets","transferFormats":\["Text","Binary"\]\},\{"transport":"ServerSentEvents","transferFormats":\["Text"\]\},\{"transport":"LongPolling","transferFormats":\["Text","Binary"\]\}\]\}$/) x 2,
 qr/^\{"negotiateVersion":0,"connectionId":"[\w-]{48}","availableTransports":\[/,
 qr/^\{"error":"The client requested a non-integer protocol version."\}$/,
 qr/^\{"error":"The client requested version '-1', but the server does not support this version."\}$/]



=== TEST 2: transports are the location's, less what the token forbids
--- request eval
["POST /sse/negotiate?hub=chat", "POST /none/negotiate?hub=chat",
 "POST /client/negotiate?hub=chat&access_token=$main::sse",
 "POST /fixed/negotiate"]
--- response_body_like eval
['"availableTransports":\[\{"transport":"ServerSentEvents","transferFormats":\["Text"\]\}\]',
 '"availableTransports":\[\{"transport":"LongPolling","transferFormats":\["Text","Binary"\]\}\]',
 '"availableTransports":\[\{"transport":"ServerSentEvents","transferFormats":\["Text"\]\}\]',
 '"WebSockets"']



=== TEST 3: tokens of negotiate; the body stays empty for the client's words
--- request eval
[map { "POST /client/negotiate?hub=chat&negotiateVersion=1" . ($_ ? "&access_token=$_" : "") }
 "", "bad", $main::other, $main::bare, $main::rest, "a" x 4097]
--- error_code eval
[401, 401, 401, 401, 401, 413]
--- response_headers eval
[("WWW-Authenticate: Bearer\nContent-Length: 0") x 5, ""]



=== TEST 4: a bad token is refused also where none is needed
--- request eval
["POST /fixed/negotiate", "POST /fixed/negotiate?access_token=bad",
 "POST /fixed/negotiate?access_token=$main::ann",
 "POST /fixed/negotiate?access_token=$main::other"]
--- error_code eval
[200, 401, 200, 401]



=== TEST 5: hubs that are none
--- request eval
[map { "POST /client/negotiate?$_&access_token=$main::ann" }
 '', 'hub=', 'hub=4', 'hub=chat&hub=chat', 'hub=%zz', 'hub=' . 'a' x 129]
--- error_code eval
[(400) x 6]



=== TEST 6: methods
--- request eval
["GET /client/negotiate?hub=chat", "PUT /client?hub=chat\nx", "PATCH /client?hub=chat\nx",
 "HEAD /client?hub=chat", "OPTIONS /client?hub=chat"]
--- error_code eval
[405, 405, 405, 405, 204]
--- response_headers eval
["Allow: POST, OPTIONS\nContent-Type: text/plain",
 ("Allow: GET, POST, DELETE, OPTIONS\nContent-Type: text/plain") x 3,
 "Allow: GET, POST, DELETE, OPTIONS"]



=== TEST 7: both /client and /client/, and nothing below
--- request eval
["GET /client?hub=chat&access_token=$main::ann", "GET /client/?hub=chat&access_token=$main::ann",
 "GET /client/x?hub=chat&access_token=$main::ann", "GET /clients?hub=chat&access_token=$main::ann",
 "POST /client/x/negotiate/y?hub=chat&access_token=$main::ann"]
--- error_code eval
[400, 400, 404, 404, 404]



=== TEST 8: without an id
--- request eval
["GET /client?hub=chat&access_token=$main::ann", "GET /client?hub=chat&access_token=$main::ann",
 "POST /client?hub=chat&access_token=$main::ann\nx", "DELETE /client?hub=chat&access_token=$main::ann",
 "GET /client?hub=chat&id=&access_token=$main::ann"]
--- more_headers eval
["", $main::stream, "", "", ""]
--- error_code eval
[(400) x 5]
--- response_headers eval
[("Content-Type: text/plain") x 5]
--- response_body eval
[("Connection ID required") x 5]



=== TEST 9: with an id that nobody gave out
--- request eval
[map { my $id = $_; map { "$_ /client?hub=chat&id=$id&access_token=$main::ann" . (/POST/ ? "\nx" : "") }
       "GET", "POST", "DELETE" }
 "abc", "A" x 48, "%zz"]
--- error_code eval
[(404) x 9]
--- response_body eval
[("No Connection with that ID") x 9]



=== TEST 10: tokens of connections
--- request eval
["GET /client?hub=chat", "GET /client?hub=chat&access_token=$main::other",
 "GET /client?hub=chat", "GET /client?hub=other&access_token=$main::ann",
 "POST /client?hub=chat&id=abc\nx", "DELETE /client?hub=chat&id=abc"]
--- more_headers eval
[$main::ws, $main::ws, $main::stream, "", "", ""]
--- error_code eval
[(401) x 6]
--- response_headers eval
[("WWW-Authenticate: Bearer\nContent-Length: 0") x 6]



=== TEST 11: transports that are switched off
--- request eval
["GET /sse?hub=chat", "GET /client?hub=chat&access_token=$main::sse"]
--- more_headers eval
[$main::ws, $main::ws]
--- error_code eval
[404, 404]
--- response_body eval
[("WebSockets transport not supported by this end point type") x 2]



=== TEST 12: upgrades that are none
--- request eval
[("GET /fixed") x 4]
--- more_headers eval
["Connection: close\nUpgrade: websocket\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
 "Connection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 8\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
 "Connection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: short",
 "Connection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13"]
--- error_code eval
[400, 426, 400, 400]
--- response_headers eval
["", "Sec-WebSocket-Version: 13", "", ""]
