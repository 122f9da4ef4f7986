#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# The value of access_token is in no log line, whatever the format, the phase
# that ended the request, or the way in which the token was written; and what
# the request passes on has it still.

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::Nginx::Socket 'no_plan';

our $http = <<'EOC';
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef;
    log_format all '[$request] [$request_uri] [$args] [$query_string] '
                   '[$arg_access_token] [$http_referer] [$copy] [$mapped] '
                   '[$sent_http_location] [$broadcast_user]';
    map $args $mapped { default "m:$args"; }
EOC

our $log = <<'EOC';
    access_log $TEST_NGINX_SERVROOT/error.log all;
    set $copy "";
EOC

add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value('http_config', $http) unless $block->http_config;
    $block->set_value('config', $log . $block->config);
    $block->set_value('error_log', 'HTTP/1') unless $block->error_log;
    $block->set_value('no_error_log', 'geheimnis');
});

run_tests();

__DATA__

=== TEST 1: the request line, the URI and the arguments
--- config
    location / { return 200; }
--- request
GET /a?x=1&access_token=geheimnis&y=2
--- error_log
[GET /a?x=1&access_token=***&y=2 HTTP/1.1] [/a?x=1&access_token=***&y=2] [x=1&access_token=***&y=2] [x=1&access_token=***&y=2] [***] [-] [] [m:x=1&access_token=***&y=2]



=== TEST 2: any case of the name, and one that is percent-encoded
--- config
    location / { return 200; }
--- request eval
["GET /a?ACCESS_Token=geheimnis", "GET /a?acc%65ss%5Ftoken=geheimnis",
 "GET /a?access_token=geheimnis&access_token=geheimnis2"]
--- error_log
ACCESS_Token=***
acc%65ss%5Ftoken=***
access_token=***&access_token=***



=== TEST 3: a name that only ends like it is another's
--- config
    location / { return 200; }
--- request
GET /a?my_access_token=open&access_tokens=open
--- error_log
my_access_token=open&access_tokens=open



=== TEST 4: a referer
--- config
    location / { return 200; }
--- request
GET /a
--- more_headers
Referer: http://x/?access_token=geheimnis#there
--- error_log
[http://x/?access_token=***]



=== TEST 5: a variable that took it before, whole, inside a text and decoded
--- config
    location /whole  { set $copy $arg_access_token; return 200; }
    location /inside { set $copy "/t/$arg_access_token/t"; return 200; }
--- request eval
["GET /whole?access_token=geheimnis", "GET /inside?access_token=geheimnis"]
--- error_log
[***] [m:
[/t/***/t] [m:



=== TEST 6: where it is sent on in a header of the answer
--- config
    location / { return 301 /b?$args; }
--- request
GET /a?access_token=geheimnis
--- error_code: 301
--- response_headers_like
Location: .*access_token=geheimnis
--- error_log
/b?access_token=***



=== TEST 7: requests refused while their head is read
--- config
    location / { return 200; }
--- raw_request eval
["GET /a?access_token=geheimnis HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
 "GET /a?access_token=geheimnis HTTP/1.1\r\n\r\n",
 "GET /a?access_token=geheimnis HTTP/9.1\r\nHost: a\r\n\r\n",
 "GET /a?access_token=geheimnis HTTP/1.1\r\nHost: a/b\r\n\r\n",
 "GET /a?access_token=geheimnis" . ("x" x 20000) . " HTTP/1.1\r\nHost: a\r\n\r\n"]
--- error_code eval
[400, 400, 505, 400, 414]
--- log_level: error
--- error_log
access_token=***



=== TEST 8: the error log, as the request's line and the referer
--- config
    location / { root html/nowhere; }
--- request
GET /a?access_token=geheimnis&b=1
--- more_headers
Referer: http://x/?access_token=geheimnis
--- error_code: 404
--- error_log
request: "GET /a?access_token=***&b=1 HTTP/1.1"
referrer: "http://x/?access_token=***"



=== TEST 9: the error log, in the words of the rewrite module
--- config
    rewrite_log on;
    location / { rewrite ^/a /b break; }
--- log_level: notice
--- request
GET /a?access_token=geheimnis
--- error_code: 404
--- error_log
args: "access_token=***"



=== TEST 10: the error log, as the address of an upstream
--- config
    location / { proxy_pass http://127.0.0.1:1; }
--- request
GET /a?access_token=geheimnis
--- error_code: 502
--- error_log
upstream: "http://127.0.0.1:1/a?access_token=***"



=== TEST 11: what is proxied has it, also where a subrequest was logged first
--- config
    log_subrequest on;
    location / { auth_request /may; proxy_pass http://127.0.0.1:$server_port/back?$args; }
    location /may { return 204; }
    location /back {
        access_log off;
        return 200 "$arg_access_token $http_referer";
    }
--- request
GET /a?access_token=geheimnis
--- more_headers
Referer: http://x/?access_token=geheimnis
--- response_body: geheimnis http://x/?access_token=geheimnis
--- error_log
[GET /a?access_token=*** HTTP/1.1]



=== TEST 12: our own refusals do not repeat it
--- config
    location /client { broadcast_hub; }
    location /private { broadcast_auth on; }
--- request eval
["GET /client?hub=chat&access_token=geheimnis.geheimnis.geheimnis",
 "GET /private?access_token=geheimnis.geheimnis.geheimnis"]
--- error_code eval
[401, 401]
--- error_log
token refused:



=== TEST 13: without a zone nothing is touched
--- http_config
    log_format all '[$request] [$copy]';
--- config
    location / { return 200; }
--- request
GET /a?access_token=open
--- error_log
[GET /a?access_token=open HTTP/1.1]



=== TEST 14: arguments that are not the request line's
--- config
    location / {
        set $args "access_token=anderes-geheimnis&z=1";
        set $copy "<anderes-geheimnis>";
        return 200;
    }
--- request
GET /a?x=1&access_token=erstes-geheimnis
--- error_log
[GET /a?x=1&access_token=*** HTTP/1.1] [/a?x=1&access_token=***] [access_token=***&z=1] [access_token=***&z=1] [***] [-] [<***>]



=== TEST 15: the arguments end within the value, or begin within it
--- config
    location / { return 200; }
--- request eval
["GET /a?x=1&access_token=geheimnis#b", "GET /a&access_token=geheimnis?x=1",
 "GET /a?access_token=geheimnis"]
--- error_log
[GET /a?x=1&access_token=*** HTTP/1.1] [/a?x=1&access_token=***] [x=1&access_token=***] [x=1&access_token=***] [***]
[GET /a&access_token=*** HTTP/1.1] [/a&access_token=***] [x=1] [x=1] [-]
[GET /a?access_token=*** HTTP/1.1] [/a?access_token=***] [access_token=***] [access_token=***] [***]
