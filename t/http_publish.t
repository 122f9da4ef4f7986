#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# broadcast_publish in hubs without a database: what is taken, what is refused.

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::Nginx::Socket 'no_plan';

our $config = <<'EOC';
    location /publish/ { broadcast_publish; }
    location /small/ { broadcast_publish; broadcast_message_size 10; }
    location /tiny/ { broadcast_publish; client_max_body_size 10; }
    location = /fixed { broadcast_publish hub=Chat target=fixed; }
EOC

add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value('http_config', 'broadcast_zone hubs 1m;')
        unless $block->http_config;
    $block->set_value('config', $config);
});

run_tests();

__DATA__

=== TEST 1: text and JSON, ids go up by one
--- request eval
["POST /publish/chat\nhello", "POST /publish/chat?target=newMessage\n{\"a\":1}",
 "POST /publish/Chat\n", "POST /publish/chat/\nx", "POST /fixed\nx",
 "POST /publish/other\nx"]
--- more_headers eval
["", "Content-Type: application/json; charset=utf-8", "Content-Length: 0", "", "", ""]
--- response_headers eval
[("Content-Type: application/json") x 6]
--- response_body_like eval
[map { qr/^\{"id":"[0-9a-f]{1,16}-$_","count":1\}$/ } 1 .. 5, 1]



=== TEST 2: JSON that is none
--- request eval
[map { "POST /publish/chat\n$_" } '{"a":', '', '{"a":1} x', "'a'", '[01]', "\"a\tb\"",
 "\"\xff\"", '[' x 70 . ']' x 70]
--- more_headers eval
[("Content-Type: application/json") x 8]
--- error_code eval
[(400) x 8]
--- response_body_like eval
[(qr/^\{"code":"BadRequest","message":"[^"]+","target":null\}$/) x 8]



=== TEST 3: text that is no UTF-8
--- request eval
"POST /publish/chat\nab\xffc"
--- error_code: 400
--- response_body_like: UTF-8



=== TEST 4: other methods
--- request eval
["GET /publish/chat", "PUT /publish/chat\nx", "DELETE /publish/chat",
 "OPTIONS /publish/chat"]
--- error_code eval
[405, 405, 405, 204]
--- response_headers eval
[("Allow: POST, OPTIONS") x 4]



=== TEST 5: paths that name no hub
--- request eval
["POST /publish/\nx", "POST /publish/a/b\nx", "POST /publish/4\nx",
 "POST /publish/a%2Fb\nx", "POST /publish/a%20b\nx"]
--- error_code eval
[404, 404, 400, 400, 400]
--- response_body_like eval
[('"code":"\w+","message":".+"') x 5]



=== TEST 6: scopes and targets
--- request eval
[map { "POST /publish/chat?$_\nx" }
 'group=a%20b', 'user=ann', 'connection=abc', 'target=a%2Fb', 'target=',
 'group=', 'user=', 'connection=', 'group=a&user=b', 'group=a&group=b',
 'user=a%00', 'target=a%0Ab', 'target=%zz', 'group=%zz',
 'connection=' . 'a' x 49, 'target=' . 'a' x 1025, 'group=' . 'a' x 1025]
--- error_code eval
[200, 200, 200, 200, 200, (400) x 12]



=== TEST 7: bodies that are too long
--- request eval
["POST /small/chat\n1234567890", "POST /small/chat\n12345678901",
 "POST /small/chat\na\r\n1234567890\r\n". "1\r\n1\r\n0\r\n\r\n\n",
 "POST /tiny/chat\n12345678901"]
--- more_headers eval
["", "", "Transfer-Encoding: chunked", ""]
--- error_code eval
[200, 413, 413, 413]
--- response_headers eval
["Content-Type: application/json",
 ("x-ms-error-code: PayloadTooLarge") x 3]



=== TEST 8: a chunked body
--- request eval
"POST /publish/chat\n5\r\n{\"a\":\r\n2\r\n1}\r\n0\r\n\r\n\n"
--- more_headers
Transfer-Encoding: chunked
Content-Type: application/json
--- response_body_like: "count":1



=== TEST 9: a message a line
--- request eval
["POST /publish/chat\n1\n{\"target\":\"t\",\"arguments\":[1,2]}\r\n\n\"x\"\n",
 "POST /publish/chat\n{\"target\":\"t\"}"]
--- more_headers eval
[("Content-Type: application/x-ndjson") x 2]
--- response_body_like eval
['-3","count":3}', '-4","count":1}']



=== TEST 10: a bad line is named, and nothing is kept
--- request eval
[(map { "POST /publish/chat\n$_" } "1\n{\n3", "1\n\n{\"target\":\"\"}",
  "{\"target\":5}", "1\n{\"target\":\"t\",\"arguments\":{}}", "\n\n"),
 "POST /publish/chat\n1"]
--- more_headers eval
[("Content-Type: application/x-ndjson") x 6]
--- error_code eval
[400, 400, 400, 400, 400, 200]
--- response_body_like eval
['"target":"line 2"', '"target":"line 3"', '"target":"line 1"', '"target":"line 2"',
 'required', '-1","count":1']



=== TEST 11: more than the zone can ever hold
--- request eval
"POST /publish/chat\n" . ("x" x 900_000)
--- error_code: 507
--- error_log
"broadcast_zone" has no room for a message
--- response_body_like: "code":"InsufficientStorage"



=== TEST 12: a large body that comes in pieces
--- http_config
    broadcast_zone hubs 8m;
--- request eval
["POST /publish/chat\n" . ("x" x 900_000), "POST /publish/chat\nx"]
--- error_code eval
[200, 200]



=== TEST 13: too many lines, or more of them than ever fit: nothing is kept
--- request eval
["POST /publish/chat\n" . "1\n" x 10_001,
 "POST /publish/chat\n" . ('"' . 'x' x 1000 . "\"\n") x 900,
 "POST /publish/chat\n1", "POST /publish/chat\n" . "1\n" x 100]
--- more_headers eval
[("Content-Type: application/x-ndjson") x 4]
--- error_code eval
[413, 507, 200, 200]
--- response_body_like eval
['"code":"PayloadTooLarge","message":"Too many messages', '"code":"InsufficientStorage"',
 '-1","count":1\}$', '-101","count":100\}$']
