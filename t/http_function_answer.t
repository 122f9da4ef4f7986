#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# What goes into an HTTP-triggered function, and what of its answer comes out.
# `says` answers what it is sent, `tells` with its event.

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::Nginx::Socket 'no_plan';

use Broadcast::Postgres;
use Broadcast::Token qw(client_token rest_token);

our $key = '0123456789abcdef';
our $ann = client_token($key, 'chat', sub => 'ann', role => [ 'a', 'b' ]);
our $other = client_token($key, 'chat', sub => 'bob', role => 'c');
our $rest = rest_token($key, 'http://localhost/functions/');
our $pg = Broadcast::Postgres->new;
our $json = "Content-Type: application/json";

my @at = (db => 'app', user => 'app');

$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);
$pg->psql(<<'EOS', @at);
create function says(event jsonb) returns jsonb language sql as $$ select event->'body' $$;
create function tells(event jsonb) returns jsonb language sql as
    $$ select jsonb_build_object('body', event - 'headers') $$;
create function header(event jsonb) returns jsonb language sql as
    $$ select jsonb_build_object('body', event->'headers') $$;
create function bytes(event jsonb) returns jsonb language sql as $$
    select jsonb_build_object('headers', '{"Content-Type":"image/x"}'::jsonb, 'bodyBase64',
        encode(decode(repeat('00ff0a41', 30), 'hex'), 'base64')) $$;
create function parrot(event jsonb) returns jsonb language sql as
    $$ select jsonb_build_object('bodyBase64', event->'bodyBase64') $$;
create function tagged(event jsonb) returns jsonb language sql as $$
    select jsonb_build_object('headers', jsonb_build_object('ETag', '"v1"',
        'Last-Modified', 'Mon, 28 Sep 2020 06:00:00 GMT'), 'body', 'tagged ' || (event->>'method')) $$;
select broadcast.bind('http', f::regproc)
  from unnest('{says,tells,header,bytes,parrot,tagged}'::text[]) f;
select broadcast.bind('http', 'says', event => 'guarded', role => 'b');
select broadcast.bind('http', 'tells', event => 'Mixed Case/ä');
EOS

our $http = "broadcast_zone hubs 1m;\nbroadcast_key $key;\nbroadcast_database \""
          . $pg->conninfo('app', 'app') . "\";\n";

our $config = <<'EOC';
    location /functions/ { broadcast_function; }
    location /message/   { broadcast_function; broadcast_message_size 16; }
    location /client/    { broadcast_function; client_max_body_size 16; }
    location /bare       { broadcast_function; }
EOC

add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value('http_config', $http);
    $block->set_value('config', $config);
});

no_long_string();
run_tests();

__DATA__

=== TEST 1: any method
--- request eval
["GET /functions/tells", "POST /functions/tells\n", "PUT /functions/tells\n", "PATCH /functions/tells\n",
 "DELETE /functions/tells", "OPTIONS /functions/tells", "PROPFIND /functions/tells",
 "REPORT /functions/tells", "X-MY_OWN /functions/tells"]
--- response_body_like eval
[map { qr/"method": "$_"/ } qw(GET POST PUT PATCH DELETE OPTIONS PROPFIND REPORT X-MY_OWN)]



=== TEST 2: HEAD has the headers of a body, and none
--- request
HEAD /functions/tagged
--- response_headers
Content-Length: 11
Content-Type: text/plain; charset=utf-8
ETag: "v1"
--- response_body



=== TEST 3: the path behind the name, decoded
--- request eval
["GET /functions/tells", "GET /functions/tells/", "GET /functions/tells/a/b%20c+d",
 "GET /functions/tells/a%2Fb/", "GET /functions/tells/x/../y//z", "GET /functions/tells/%C3%A4",
 "GET /functions/Mixed%20Case%2F%C3%A4/x"]
--- response_body_like eval
[map { qr/"path": "$_"/ } '', '', 'a/b c\+d', 'a/b/', 'y/z', "\xc3\xa4", 'x']



=== TEST 4: paths that are no text
--- request eval
["GET /functions/tells/%ff", "GET /functions/%ff"]
--- error_code eval
[400, 400]
--- response_body_like eval
[('"message":"The path is no text."') x 2]



=== TEST 5: the query: one value a string, several of a name an array, in their order
--- request eval
["GET /functions/tells?a=1&b=&c&a=2&A=3&d=x%20y+z&d=%26&e%5B%5D=1&%zz=1&f=%zz",
 "GET /functions/tells", "GET /functions/tells?"]
--- response_body_like eval
[qr/"query": \{"A": "3", "a": \["1", "2"\], "b": "", "c": "", "d": \["x y z", "&"\], "e\[\]": "1"\}/,
 (qr/"query": \{\}/) x 2]



=== TEST 6: headers, names in lower case
--- request
GET /functions/header
--- more_headers
X-One: 1
x-Two: b
X-two: c
Cookie: a=1
--- response_body_like
(?=.*"x-one": "1")(?=.*"x-two": "b, c")(?=.*"cookie": "a=1")(?=.*"host": "localhost")



=== TEST 7: JSON bodies by any type of JSON
--- request eval
[("POST /functions/tells\n{\"a\":[1,null]}") x 3, "POST /functions/tells\n7",
 ("POST /functions/tells\n{\"a\":1}") x 3]
--- more_headers eval
["Content-Type: application/json", "Content-Type: APPLICATION/JSON; charset=utf-8",
 "Content-Type: application/merge-patch+json", "Content-Type: application/json;x=y",
 "Content-Type: application/jsonp", "Content-Type: +json", "Content-Type: text/plain;a=b+json"]
--- response_body_like eval
[(qr/"body": \{"a": \[1, null\]\}/) x 3, qr/"body": 7/, (qr/"body": "\{\\"a\\":1\}"/) x 3]



=== TEST 8: broken JSON
--- request eval
[map { "POST /functions/tells\n$_" } '{', '1 2', '"' . chr(1) . '"', "\"\xff\"", '[' x 65 . ']' x 65, ' ']
--- more_headers eval
[($main::json) x 6]
--- error_code eval
[(400) x 6]



=== TEST 9: other bodies: text, none, what is not UTF-8
--- request eval
["POST /functions/tells\na=1&b=2", "POST /functions/tells\n", "POST /functions/tells\n\xc3\xa4",
 "POST /functions/tells\n\xff"]
--- more_headers eval
["Content-Type: application/x-www-form-urlencoded", $main::json, "X: y", "Content-Type: text/plain"]
--- response_body_like eval
[qr/"body": "a=1&b=2"/, qr/"body": null/, qr/"body": "\xc3\xa4"/, qr/"bodyBase64": "\/w=="/]



=== TEST 10: chunked bodies
--- raw_request eval
"POST /functions/tells HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r
3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n"
--- response_body_like
"body": "abcd"



=== TEST 11: sizes: the smaller of broadcast_message_size and client_max_body_size
--- request eval
["POST /message/tells\n" . "x" x 16, "POST /message/tells\n" . "x" x 17,
 "POST /client/tells\n" . "x" x 16, "POST /client/tells\n" . "x" x 17]
--- error_code eval
[200, 413, 200, 413]



=== TEST 12: the size of a chunked body
--- raw_request eval
"POST /message/tells HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r
10\r\n0123456789abcdef\r\n1\r\nx\r\n0\r\n\r\n"
--- error_code: 413
--- response_body_like: "code":"PayloadTooLarge"



=== TEST 13: claims with and without a token
--- request eval
["GET /functions/tells", "GET /functions/tells?access_token=$main::ann", "GET /functions/tells",
 "GET /functions/tells?access_token=bad", "GET /functions/tells?access_token=$main::rest"]
--- more_headers eval
["", "", "Authorization: Bearer $main::ann", "", ""]
--- error_code eval
[200, 200, 200, 401, 401]
--- response_body_like eval
[qr/(?=.*"claims": \{\})(?=.*"userId": null)/,
 (qr/(?=.*"claims": \{[^}]*"sub": "ann")(?=.*"userId": "ann")(?!.*access_token)/) x 2,
 ('"code":"Unauthorized"') x 2]



=== TEST 14: a role that the binding wants
--- request eval
["POST /functions/guarded\n", "POST /functions/guarded?access_token=$main::other\n",
 "POST /functions/guarded?access_token=$main::ann\n"]
--- error_code eval
[401, 403, 204]



=== TEST 15: no function, and none of a location that has nothing below
--- request eval
["GET /functions/", "GET /functions//", "GET /functions/none", "GET /bare", "GET /bare/tells",
 "GET /functions/Says"]
--- error_code eval
[404, 404, 404, 404, 200, 204]



=== TEST 16: an answer's status, headers and body
--- request
POST /functions/says
{"status":203,"headers":{"X-One":1,"x-two":true,"X-Three":"a\tb","X-None":null,"Content-Type":"text/x; charset=latin1"},"body":"as it is\n"}
--- more_headers
Content-Type: application/json
--- error_code: 203
--- response_headers
X-One: 1
x-two: true
X-Three: a	b
!X-None
Content-Type: text/x; charset=latin1
Content-Length: 9
--- response_body
as it is



=== TEST 17: types of bodies
--- request eval
[map { "POST /functions/says\n$_" } '{"body":"text"}', '{"body":{"a":1}}', '{"body":[]}', '{"body":false}',
 '{"body":null,"status":200}', '{"body":""}', '{"bodyBase64":"AP8="}', '{"status":201}', '[1,2]', '"bare"',
 '{"other":1}', 'null', '{"actions":[]}', '{"actions":[],"status":200}', '{"status":null,"headers":null,"body":7}']
--- more_headers eval
[($main::json) x 15]
--- error_code eval
[(200) x 7, 201, (200) x 3, 204, 204, 200, 200]
--- response_headers eval
["Content-Type: text/plain; charset=utf-8", ("Content-Type: application/json") x 3,
 "Content-Length: 0\n!Content-Type", "Content-Length: 0\nContent-Type: text/plain; charset=utf-8",
 "Content-Type: application/octet-stream\nContent-Length: 2", "Content-Length: 0\n!Content-Type",
 "Content-Type: application/json", "Content-Type: text/plain; charset=utf-8",
 "Content-Type: application/json", ("!Content-Type\n!Content-Length") x 2, "Content-Length: 0",
 "Content-Type: application/json"]
--- response_body eval
["text", '{"a": 1}', "[]", "false", "", "", "\0\xff", "", "[1, 2]", "bare", '{"other": 1}', "", "", "", "7"]



=== TEST 18: base64 as PostgreSQL writes it, in lines
--- request
GET /functions/bytes
--- response_headers
Content-Type: image/x
Content-Length: 120
--- response_body eval
"\0\xff\nA" x 30



=== TEST 19: binary in, binary out
--- request eval
"POST /functions/parrot\n" . join '', map { chr } 0 .. 255
--- response_body eval
join '', map { chr } 0 .. 255



=== TEST 20: several headers of a name
--- request
POST /functions/says
{"headers":{"Set-Cookie":["a=1; Path=/","b=2"],"Empty":[]},"body":"x"}
--- more_headers
Content-Type: application/json
--- raw_response_headers_like chomp
Set-Cookie: a=1; Path=/\r\nSet-Cookie: b=2



=== TEST 21: what is nginx's to say is passed over, a length that is right too
--- request
POST /functions/says
{"headers":{"Date":"never","Server":"me","Content-Length":1},"body":"x"}
--- more_headers
Content-Type: application/json
--- raw_response_headers_unlike
never|me



=== TEST 22: answers that are none are 500, say nothing, and nothing of them is sent
--- request eval
[map { "POST /functions/says\n$_" }
 map({ '{"headers":{"X-First":1},"status":' . $_ . '}' }
     '99', '100', '199', '600', '-200', '200.5', '"200"', '{}', '99999999999999999999'),
 map({ '{"headers":' . $_ . ',"body":"xyz"}' }
     '[]', '"x"', '{"X-First":1,"X":"a\\r\\nY: b"}', '{"X":"a\\nb"}', '{"X\\r\\nY":"b"}', '{"X: y":"b"}', '{"":"b"}',
     '{"\u00e4":"b"}', '{"X":["a","\\u0007"]}', '{"X":"\\u007f"}', '{"Content-Type":"a\\r\\nb"}'),
 map({ '{"headers":{"X-First":1,' . $_ . '},"body":"xyz"}' }
     '"Connection":"close"', '"transfer-encoding":"chunked"', '"KEEP-ALIVE":"x"', '"Upgrade":"h2c"', '"Trailer":"x"',
     '"TE":"x"', '"Proxy-Connection":"x"', '"Content-Length":4', '"Content-Length":"3, 3"', '"content-length":-3',
     '"Content-Length":""'),
 map({ '{"bodyBase64":' . $_ . '}' } '"A"', '"AP8"', '"A==="', '"=AAA"', '"AA=A"', '"A!AA"', '1', '{}')]
--- more_headers eval
[($main::json) x 39]
--- error_code eval
[(500) x 39]
--- response_headers eval
[("!X-First\nContent-Type: application/json\nx-ms-error-code: InternalServerError") x 39]
--- response_body eval
[('{"code":"InternalServerError","message":"The function failed.","target":null}') x 39]
--- error_log eval
[('"http" function for says gave a bad answer: "') x 39]



=== TEST 23: 204 and 304 have no body, whatever is said
--- request eval
[map { "POST /functions/says\n$_" } '{"status":204,"body":"x"}', '{"status":304,"headers":{"ETag":"\"x\""}}',
 '{"status":404,"body":"mine"}', '{"status":302,"headers":{"Location":"/there"}}', '{"status":599,"body":"x"}']
--- more_headers eval
[($main::json) x 5]
--- error_code eval
[204, 304, 404, 302, 599]
--- response_headers eval
["!Content-Length", "!Content-Length\nETag: \"x\"", "Content-Length: 4", "Location: /there", ""]
--- response_body eval
["", "", "mine", "", "x"]



=== TEST 24: conditions are nginx's to look at, where the request only reads
--- request eval
["GET /functions/tagged", "GET /functions/tagged", "GET /functions/tagged", "HEAD /functions/tagged",
 "POST /functions/tagged\n", "PUT /functions/tagged\n"]
--- more_headers eval
['If-None-Match: "v1"', 'If-None-Match: "v0"', 'If-Modified-Since: Mon, 28 Sep 2020 06:00:00 GMT',
 'If-None-Match: W/"v1"', 'If-None-Match: "v1"', 'If-Match: "v0"']
--- error_code eval
[304, 200, 304, 304, 200, 200]
--- response_body eval
["", "tagged GET", "", "", "tagged POST", "tagged PUT"]
