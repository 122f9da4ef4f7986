#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# The REST API as HTTP, signalr.md 8: tokens, paths, names, bodies and their
# answers.  Who gets what is in http_route.t.

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::Nginx::Socket 'no_plan';

use Broadcast::Token qw(token client_token rest_token);

our $key = '0123456789abcdef';

our $http = <<"EOC";
    broadcast_zone hubs 1m;
    broadcast_key $key;
    broadcast_key fedcba9876543210;
EOC

our $config = <<'EOC';
    location /api/      { broadcast_api; }
    location /open/api/ { broadcast_api open; }
    location /small/api/ { broadcast_api open; client_max_body_size 40; }
    location /short/api/ { broadcast_api open; broadcast_message_size 40; }
    location = /api/negotiate { broadcast_negotiate hub=chat; }
    location /client    { broadcast_hub; }
EOC

our $json = 'Content-Type: application/json; charset=utf-8';

# "METHOD path" with a token for that path, and what follows as the body

sub signed {
    my ($request, $aud) = @_;
    my ($method, $url, $body) = $request =~ /^(\S+) (\S+)(?:\n(.*))?\z/s;
    (my $path = $aud // "http://localhost$url") =~ s/\?.*//;

    return "$method $url" . ($url =~ /\?/ ? '&' : '?') . 'access_token='
        . rest_token($key, $path) . (defined $body ? "\n$body" : '');
}

our $message = '{"target":"t","arguments":[1,"a"]}';
our $new = 'api-version=2022-06-01';

add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value('http_config', $http);
    $block->set_value('config', $config);
});

run_tests();

__DATA__

=== TEST 1: sends of both path families
--- request eval
[map { main::signed("POST $_\n$main::message") }
 "/api/v1/hubs/chat", "/api/v1/hubs/chat/groups/g", "/api/v1/hubs/chat/users/u",
 "/api/v1/hubs/chat/connections/c", "/api/v1/hubs/chat/",
 "/api/hubs/chat/:send?$main::new", "/api/hubs/chat/groups/g/:send?$main::new",
 "/api/hubs/chat/users/u/:send?$main::new",
 "/api/hubs/chat/connections/c/:send?$main::new",
 "/api/hubs/Chat/%3Asend?$main::new", "/api/hubs/chat/:SEND?$main::new",
 "/api/hubs/chat/groups/a%2Fb%20c/:send?$main::new",
 "/api/hubs/chat/:send?$main::new&excluded=a&excluded=b",
 "/api/hubs/chat/:send?$main::new&application=App"]
--- more_headers eval
[($main::json) x 14]
--- error_code eval
[(202) x 14]
--- response_body eval
[("") x 14]



=== TEST 2: tokens
--- request eval
["POST /api/v1/hubs/chat\n$main::message",
 "POST /api/v1/hubs/chat?access_token=bad\n$main::message",
 "POST /api/v1/hubs/chat?access_token="
   . Broadcast::Token::client_token($main::key, 'chat') . "\n$main::message",
 main::signed("POST /api/v1/hubs/chat\n$main::message", "http://localhost/api/v1/hubs/other"),
 main::signed("POST /api/v1/hubs/chat\n$main::message", "http://localhost/client/?hub=chat"),
 "POST /api/v1/hubs/chat?access_token="
   . Broadcast::Token::token($main::key, { exp => time + 60 }) . "\n$main::message",
 "POST /api/v1/hubs/chat?access_token=" . ("a" x 4097) . "\n$main::message",
 "POST /api/nothing\nx"]
--- error_code eval
[(401) x 6, 413, 401]
--- response_headers eval
[("WWW-Authenticate: Bearer\nContent-Type: application/json") x 6, "Content-Type: application/json", ""]
--- response_body_like eval
[(qr/^\{"code":"Unauthorized","message":".+","target":null\}$/) x 6, '"code":"TokenTooLong"', ""]



=== TEST 3: the audience: host, port, query, case and a slash do not matter
--- request eval
[map { main::signed("POST /api/v1/hubs/chat\n$main::message", $_) }
 "https://other.example:444/api/v1/hubs/chat", "http://localhost/api/v1/hubs/chat/",
 "http://localhost/API/v1/hubs/Chat", "http://localhost/api/v1/hubs/chat?api-version=1"]
--- error_code eval
[202, 202, 202, 202]



=== TEST 3a: a token of the second key, and of none
--- request eval
[map { "POST /api/v1/hubs/chat?access_token="
       . rest_token($_, "http://localhost/api/v1/hubs/chat") . "\n$main::message" }
 "fedcba9876543210", "fedcba9876543211"]
--- error_code eval
[202, 401]



=== TEST 4: an array of audiences, percent-encoding, what the SDKs sign
--- request eval
[(map { "POST /api/v1/hubs/chat?access_token="
        . Broadcast::Token::token($main::key, { aud => $_, exp => time + 60 }) . "\n$main::message" }
  [ "x", "http://localhost/api/v1/hubs/chat" ], [ "x", "http://localhost/api/v1/hubs/other" ], [], 1,
  [ "http://localhost/client/?hub=chat", "http://localhost/api/v1/hubs/chat" ],
  "http://localhost/api/v1/hubs/%63hat", "http://localhost/api/v1/hubs", "http://localhost"),
 (map { main::signed("POST $_->[0]\n$main::message", $_->[1]) }
  [ "/api/hubs/chat/groups/a%2Fb/:send?$main::new", "http://localhost/api/hubs/chat/groups/a%2fb/%3Asend" ],
  [ "/api/hubs/chat/groups/a%2Fb/:send?$main::new", "http://localhost/api/hubs/chat/groups/a/b/:send" ],
  [ "/api/hubs/chat/%3Asend?$main::new", "http://localhost:8080/api/hubs/chat/:send?$main::new" ],
  [ "/api/hubs/chat/:send?$main::new", "/api/hubs/chat/:send" ])]
--- error_code eval
[202, 401, 401, 401, 202, 202, 401, 401, 202, 401, 202, 202]



=== TEST 5: a REST token is none for clients, and the reverse
--- request eval
["POST /client/negotiate?hub=chat&access_token="
   . Broadcast::Token::rest_token($main::key, "http://localhost/client/negotiate"),
 "POST /client/negotiate?hub=chat&access_token=" . Broadcast::Token::client_token($main::key, "chat"),
 "POST /api/v1/hubs/chat?access_token=" . Broadcast::Token::client_token($main::key, "chat") . "\n$main::message",
 "POST /api/v1/hubs/chat?access_token="
   . Broadcast::Token::token($main::key, { aud => "http://localhost/api/v1/hubs/chat?hub=chat",
                                           exp => time + 60 }) . "\n$main::message",
 "GET /api/health?access_token=" . Broadcast::Token::client_token($main::key, "chat")]
--- error_code eval
[401, 200, 401, 401, 200]



=== TEST 6: what the location allows is too long beyond it
--- request eval
[map { ("POST /$_/api/v1/hubs/chat\n{\"target\":\"" . ("t" x 27) . "\"}",
        "POST /$_/api/v1/hubs/chat\n{\"target\":\"" . ("t" x 28) . "\"}") } "small", "short"]
--- error_code eval
[202, 413, 202, 413]
--- response_headers eval
["", "x-ms-error-code: PayloadTooLarge", "", "x-ms-error-code: PayloadTooLarge"]



=== TEST 7: OPTIONS tells the methods
--- request eval
["OPTIONS /open/api/hubs/chat/groups/g/connections/c?$main::new",
 "OPTIONS /open/api/v1/hubs/chat/users/u", "OPTIONS /open/api/hubs/chat/:execute?$main::new",
 "OPTIONS /open/api/hubs/chat/:shout?$main::new"]
--- error_code eval
[204, 204, 204, 404]
--- response_headers eval
["Allow: PUT, DELETE, OPTIONS", "Allow: GET, HEAD, POST, OPTIONS", "Allow: POST, OPTIONS", ""]



=== TEST 8: a token in the header
--- request
POST /api/v1/hubs/chat
{"target":"t"}
--- more_headers eval
"Authorization: Bearer " . Broadcast::Token::rest_token($main::key, "http://localhost/api/v1/hubs/chat")
--- error_code: 202



=== TEST 9: the names in Pascal case, and a chunked body without a type
--- request eval
"POST /open/api/v1/hubs/chat\n10\r\n{\"Target\":\"t\",\"A\r\n" . "e\r\nrguments\":[1]}\r\n0\r\n\r\n\n"
--- more_headers
Transfer-Encoding: chunked
--- error_code: 202



=== TEST 10: bodies that are no message
--- request eval
[map { "POST /open/api/v1/hubs/chat\n$_" }
 "", "x", "[]", "{}", '{"target":""}', '{"target":1}', '{"target":"t","arguments":{}}',
 '{"target":"t","arguments":[1}', '{"target":"t"} x', '"t"',
 '{"target":"a\nb"}', '{"target":"t","arguments":["' . "\xff" . '"]}']
--- more_headers eval
[($main::json) x 12]
--- error_code eval
[(400) x 12]
--- response_headers eval
[("Content-Type: application/json\nx-ms-error-code: BadRequest") x 12]
--- response_body_like eval
['"message":"Message in request body is required."', ('"code":"BadRequest","message":".+"') x 11]



=== TEST 11: bodies of types that are not taken
--- request eval
["POST /open/api/v1/hubs/chat\nx", "POST /open/api/hubs/chat/:send?$main::new\nx"]
--- more_headers eval
["Content-Type: text/plain", "Content-Type: application/jsonp"]
--- error_code eval
[415, 415]
--- response_body_like eval
['^\{"code":"UnsupportedMediaType","message":".+","target":"text/plain"\}$', 'be application/json, application/x-ndjson, application/x-msgpack or application/octet-stream\.","target":"application/jsonp"']



=== TEST 12: a body that is too long
--- request eval
"POST /open/api/v1/hubs/chat\n" . ("x" x 1_048_577)
--- error_code: 413
--- response_body_like: ^\{"code":"PayloadTooLarge",



=== TEST 13: a message a line, answered once; a bad line is named
--- request eval
["POST /open/api/v1/hubs/chat\n{\"target\":\"a\"}\n{\"target\":\"b\"}\n",
 "POST /open/api/v1/hubs/chat\n{\"target\":\"a\"}\nx\n",
 (map { "POST /open/api/hubs/chat/$_/:send?$main::new\n{\"target\":\"a\"}\n" }
  'users/u', 'groups/g', 'connections/c')]
--- more_headers eval
[("Content-Type: application/x-ndjson") x 5]
--- error_code eval
[202, 400, 202, 202, 202]
--- response_body_like eval
['^\{"id":"[0-9a-f]+-2","count":2\}$', '"target":"line 2"',
 map { "-$_\",\"count\":1\\}\$" } 3 .. 5]



=== TEST 14: api-version
--- request eval
[map { "POST /open/api/hubs/chat/:send$_\n$main::message" } "", "?api-version=", "?API-Version=2022-06-01"]
--- error_code eval
[400, 400, 202]
--- response_body_like eval
["api-version is required", "api-version is required", ""]



=== TEST 15: names that are none
--- request eval
[map { "POST /open/api/hubs/$_\n$main::message" }
 "4/:send?$main::new", "a%2Fb/:send?$main::new", "chat/groups/%20/:send?$main::new",
 "chat/groups/" . ("a" x 1025) . "/:send?$main::new", "chat/users/%07/:send?$main::new",
 "chat/connections//:send?$main::new", "chat/groups//:send?$main::new",
 "chat/users//:send?$main::new", "chat/:send?$main::new&application=4",
 "chat/:send?$main::new&application=" . ("a" x 125), "chat/:send?$main::new&reason=%ff",
 "chat/:send?$main::new&excluded=%zz"]
--- error_code eval
[(400) x 12]
--- response_body_like eval
["Invalid hub name. Valid hub name should be in between 1 and 128 characters long.",
 "Invalid hub name", "Invalid group name. Valid group name should be in between 1 and 1024 characters long.",
 "Invalid group name", "Invalid user id", "Invalid connection id", "Invalid group name", "Invalid user id",
 "Invalid value of 'application'. Valid application name should be", "'application'", "'reason'",
 "encoded"]



=== TEST 16: paths that there are not
--- request eval
[map { "$_\nx" } "POST /open/api/", "POST /open/api/hubs", "POST /open/api/hubs/chat/x?$main::new",
 "POST /open/api/hubs/chat/x/y?$main::new", "POST /open/api/hubs/chat/:shout?$main::new",
 "POST /open/api/hubs/chat/connections/c/:closeConnections?$main::new",
 "POST /open/api/hubs/chat/streams/s?$main::new",
 "POST /open/api/hubs/chat/groups/g/users/u/x?$main::new", "POST /open/api/v2/hubs/chat",
 "POST /open/api/1/2/3/4/5/6/7/8/9"]
--- error_code eval
[(404) x 10]
--- response_body_like eval
[('^\{"code":"NotFound","message":".+","target":null\}$') x 10]



=== TEST 17: methods
--- request eval
["GET /open/api/hubs/chat/:send?$main::new", "PUT /open/api/v1/hubs/chat\nx", "GET /open/api/v1/hubs/chat",
 "GET /open/api/hubs/chat/:closeConnections?$main::new", "PUT /open/api/v1/hubs/chat/groups/g\nx",
 "PATCH /open/api/v1/hubs/chat/connections/c\nx", "POST /open/api/v1/hubs/chat/groups/g/connections/c\nx",
 "GET /open/api/hubs/chat/connections/c/groups?$main::new", "POST /open/api/health\nx"]
--- error_code eval
[(405) x 9]
--- response_headers eval
[("Allow: POST, OPTIONS\nx-ms-error-code: MethodNotAllowed") x 4, "Allow: GET, HEAD, POST, OPTIONS",
 "Allow: GET, HEAD, POST, DELETE, OPTIONS", "Allow: PUT, DELETE, OPTIONS", "Allow: DELETE, OPTIONS",
 "Allow: GET, HEAD, OPTIONS"]



=== TEST 18: health needs no token
--- request eval
["GET /api/health", "HEAD /api/health", "GET /api/v1/health", "HEAD /api/v1/health"]
--- error_code eval
[200, 200, 200, 200]



=== TEST 19: what does not exist says so in a header
--- request eval
["HEAD /open/api/hubs/chat/connections/c?$main::new", "GET /open/api/v1/hubs/chat/connections/c",
 "HEAD /open/api/hubs/chat/groups/g?$main::new", "HEAD /open/api/hubs/chat/users/u?$main::new",
 "DELETE /open/api/hubs/chat/connections/c?$main::new",
 "PUT /open/api/hubs/chat/groups/g/connections/c?$main::new"]
--- error_code eval
[(404) x 6]
--- response_headers eval
["x-ms-error-code: Warning.Connection.NotExisted", "x-ms-error-code: Warning.Connection.NotExisted",
 "x-ms-error-code: Warning.Group.NotExisted", "x-ms-error-code: Warning.User.NotExisted",
 "x-ms-error-code: Warning.Connection.NotExisted", "x-ms-error-code: Error.Connection.NotExisted"]



=== TEST 20: closes and removals of what does not exist
--- request eval
["POST /open/api/hubs/chat/:closeConnections?$main::new&reason=bye",
 "POST /open/api/hubs/chat/groups/g/:closeConnections?$main::new",
 "POST /open/api/hubs/chat/users/u/:closeConnections?$main::new",
 "DELETE /open/api/hubs/chat/groups/g/connections/c?$main::new",
 "DELETE /open/api/hubs/chat/connections/c/groups?$main::new"]
--- error_code eval
[204, 204, 204, 200, 200]



=== TEST 21: what is for tokens of Microsoft Entra is forbidden, and says so
--- request eval
["GET /open/api/auth/accessKey?$main::new", "POST /open/api/hubs/chat/:generateToken?$main::new\nx",
 "GET /api/auth/accessKey?$main::new", "POST /open/api/auth/accessKey?$main::new\nx"]
--- error_code eval
[403, 403, 401, 405]
--- response_headers eval
[("x-ms-error-code: EntraOnly") x 2, "WWW-Authenticate: Bearer", "Allow: GET, OPTIONS"]



=== TEST 22: the negotiate beside it is its own
--- request
GET /api/negotiate
--- response_body_like: "accessToken"
