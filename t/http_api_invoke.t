#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# Client results and streams of the REST API as HTTP, signalr.md 8.2 and 8.4:
# paths, bodies, tokens, and the answers where there is no such connection.
# What connections do is in conn_invoke.t and conn_stream.t.

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::Nginx::Socket 'no_plan';

use Broadcast::Token qw(rest_token);

our $key = '0123456789abcdef';

our $http = <<"EOC";
    broadcast_zone hubs 1m;
    broadcast_key $key;
EOC

our $config = <<'EOC';
    location /api/      { broadcast_api; }
    location /open/api/ { broadcast_api open; }
EOC

our $json = 'Content-Type: application/json; charset=utf-8';
our $new = 'api-version=2024-12-01';
our $c = '/open/api/hubs/chat/connections/c';
our $message = '{"target":"t","arguments":[1,"a"]}';

add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value('http_config', $http);
    $block->set_value('config', $config);
});

run_tests();

__DATA__

=== TEST 1: a connection that does not exist
--- request eval
["POST $main::c/:invoke?$main::new\n$main::message",
 "POST $main::c/%3Ainvoke?$main::new\n$main::message",
 "POST $main::c/:INVOKE?$main::new&application=App\n$main::message",
 "POST $main::c/:invoke?$main::new\n{\"Target\":\"t\"}"]
--- error_code eval
[(404) x 4]
--- response_headers eval
[("x-ms-error-code: Warning.Connection.NotExisted\nContent-Type: application/json") x 4]



=== TEST 2: bodies that are no question
--- request eval
[map { "POST $main::c/:invoke?$main::new\n$_" }
 "", "x", "[]", "{}", '{"target":""}', '{"target":1}', '{"target":"t","arguments":{}}']
--- more_headers eval
[($main::json) x 7]
--- error_code eval
[(400) x 7]
--- response_headers eval
[("x-ms-error-code: BadRequest") x 7]



=== TEST 3: methods, types, versions and names
--- request eval
["GET $main::c/:invoke?$main::new", "PUT $main::c/streams/s/:send?$main::new\n1",
 "GET $main::c/streams/s/:complete?$main::new",
 "POST $main::c/:invoke\n$main::message", "POST $main::c/streams/s/:send\n1",
 "POST /open/api/v1/hubs/chat/connections/c/:invoke\n$main::message",
 "POST /open/api/v1/hubs/chat/connections/c/streams/s/:send\n1",
 "POST $main::c/streams/s?$main::new\n1", "POST $main::c/streams/s/:invoke?$main::new\n1",
 "POST /open/api/hubs/chat/groups/g/:invoke?$main::new\n$main::message",
 "POST /open/api/hubs/chat/:invoke?$main::new\n$main::message",
 "POST $main::c/streams/" . "s" x 129 . "/:send?$main::new\n1",
 "POST $main::c/streams/%ff/:send?$main::new\n1",
 "POST $main::c/:complete?$main::new\n1"]
--- error_code eval
[405, 405, 405, 400, 400, (404) x 6, 400, 400, 404]



=== TEST 4: types that are not taken
--- request eval
["POST $main::c/:invoke?$main::new\nx", "POST $main::c/streams/s/:send?$main::new\nx"]
--- more_headers eval
[("Content-Type: text/plain") x 2]
--- error_code eval
[415, 415]
--- response_body_like eval
['must be application/json, application/x-msgpack or application/octet-stream\.', 'must be application/json\.']



=== TEST 5: items and ends for nobody
--- request eval
[(map { "POST $main::c/streams/s/:send?$main::new\n$_" }
  '1', 'null', '"x"', ' {"a":[1]} '),
 "POST $main::c/streams/s/:send?$main::new&completed=true\n1",
 "POST $main::c/streams/s/:send?$main::new&Completed=FALSE\n1",
 "POST $main::c/streams/s/:send?$main::new&completed=true",
 "POST $main::c/streams/a%2Fb/:complete?$main::new",
 "POST $main::c/streams/s/:complete?$main::new&reason=x",
 "POST $main::c/streams/s/:complete?$main::new&error=x%0Ay",
 "POST $main::c/streams/s/%3Acomplete?$main::new"]
--- more_headers eval
[(($main::json) x 6), ("") x 5]
--- error_code eval
[(202) x 11]
--- response_body eval
[("") x 11]



=== TEST 6: items and ends that are none
--- request eval
[(map { "POST $main::c/streams/s/:send?$main::new\n$_" } '', 'x', '1 2', '[1'),
 "POST $main::c/streams/s/:send?$main::new&completed=1\n1",
 "POST $main::c/streams/s/:send?$main::new&completed=\n1",
 "POST $main::c/streams/s/:complete?$main::new&error=%ff",
 "POST $main::c/streams/s/:complete?$main::new&reason=%ff"]
--- more_headers eval
[(($main::json) x 6), ("") x 2]
--- error_code eval
[(400) x 8]
--- response_headers eval
[("x-ms-error-code: BadRequest") x 8]



=== TEST 7: a token for the path, with its stream and its verb
--- request eval
[map { my ($path, $aud) = ("/api/hubs/chat/connections/c/$_->[0]", $_->[1]);
       $aud = "http://localhost" . ($aud ? "/api/hubs/chat/connections/c/$aud" : $path);
       "POST $path?$main::new&access_token=" . Broadcast::Token::rest_token($main::key, $aud)
       . "\n$_->[2]" }
 [':invoke', '', $main::message], ['streams/s/:send', '', 1], ['streams/s/:complete', '', ''],
 [':invoke', ':send', $main::message], ['streams/s/:send', 'streams/s/:complete', 1],
 ['streams/s/:complete', 'streams/t/:complete', '']]
--- more_headers eval
[($main::json) x 6]
--- error_code eval
[404, 202, 202, 401, 401, 401]
