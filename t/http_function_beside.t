#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# HTTP-triggered functions beside the rest of nginx: what comes before them
# (limits, access, rewrites), what is made of their answers (gzip, conditions,
# SSI, caches), and where they are asked by nginx itself (auth_request, other
# subrequests, error pages).

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::Nginx::Socket 'no_plan';

use Broadcast::Postgres;
use Broadcast::Token qw(client_token);

our $key = '0123456789abcdef';
our $ann = client_token($key, 'chat', sub => 'ann');
our $pg = Broadcast::Postgres->new;

my @at = (db => 'app', user => 'app');

$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);
$pg->psql(<<'EOS', @at);
create sequence n;
create function tells(event jsonb) returns jsonb language sql as $$
    select jsonb_build_object('body', format('%s %s q=%s b=%s', event->>'method', event->>'path',
                                             event->'query'->>'q', event->>'body')) $$;
create function long(event jsonb) returns jsonb language sql as $$
    select jsonb_build_object('headers', '{"Content-Type":"text/plain","ETag":"\"v1\""}'::jsonb,
                              'body', repeat('long ', 1000)) $$;
create function packed(event jsonb) returns jsonb language sql as $$
    select jsonb_build_object('headers', '{"Content-Type":"text/plain","Content-Encoding":"x"}'::jsonb,
                              'body', repeat('long ', 1000)) $$;
create function door(event jsonb) returns jsonb language sql as $$
    select case event->'headers'->>'x-who' when 'ann' then '{"status":204,"headers":{"X-User":"ann!"}}'::jsonb
                when 'eve' then '{"status":403,"body":"no eves"}'
                else '{"status":401,"headers":{"WWW-Authenticate":"Odd realm=\"x\""}}' end $$;
create function page(event jsonb) returns jsonb language sql as $$
    select '{"headers":{"Content-Type":"text/html"},
             "body":"<p><!--#include virtual=\"/functions/tells/a?q=1\" -->|<!--#include virtual=\"/file\" --></p>"}'::jsonb $$;
create function counts(event jsonb) returns jsonb language sql as $$
    select jsonb_build_object('body', nextval('n')::text, 'headers',
                              jsonb_build_object('Cache-Control', event->'query'->>'cache')) $$;
create function fails(event jsonb) returns jsonb language sql as $$
    select '{"status":500,"body":"mine"}'::jsonb $$;
select broadcast.bind('http', f::regproc)
  from unnest('{tells,long,packed,door,page,counts,fails}'::text[]) f;
EOS

our $http = "broadcast_zone hubs 1m;\nbroadcast_key $key;\nbroadcast_database \""
          . $pg->conninfo('app', 'app') . "\";\n"
          . "proxy_cache_path cache.$$ keys_zone=cache:1m;\n" . <<'EOC';
    limit_req_zone $server_name zone=one:1m rate=1r/m;
    gzip_types text/plain;
EOC

our $config = <<'EOC';
    location /functions/ {
        broadcast_function;

        location /functions/tells/inner/   { add_header X-Inner 1; broadcast_function; }
        location /functions/tells/private/ { broadcast_auth on; broadcast_function; }
        location /functions/tells/static/  { return 200 "static"; }
    }

    location /gzip/     { broadcast_function; gzip on; }
    location /limited/  { broadcast_function; limit_req zone=one; }
    location /denied/   { broadcast_function; deny all; }
    location /basic/    { broadcast_function; auth_basic x; auth_basic_user_file html/users; }
    location /any/      { broadcast_function; satisfy any; deny all; broadcast_auth on; }
    location /if/       { broadcast_function; if ($arg_teapot) { return 418; } if ($arg_x) { set $y 1; } }
    location /except/   { broadcast_function; limit_except GET { deny all; } }

    location /asked/    { auth_request /functions/door;
                          client_max_body_size 4m; }
    location /taken/    { auth_request /functions/door; client_max_body_size 4m;
                          proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/sink; }
    location /sink      { client_max_body_size 4m; return 201; }
    location /checked/  { broadcast_function; auth_request /functions/door; }

    location /ssi/      { broadcast_function; ssi on; }
    location /around    { add_before_body /functions/tells/before; add_after_body /functions/tells/after;
                          addition_types *; return 200 " between "; }
    location /file      { }

    location /missing/  { error_page 404 /functions/tells/missing?q=2; try_files /nothing =404; }
    location /tried/    { try_files /nothing /functions/tells$uri?q=3; }
    location /old/      { rewrite ^/old/(.*) /functions/tells/new/$1 last; }
    location = /fixed   { rewrite ^ /functions/tells/fixed last; }
    location /page/     { broadcast_function; error_page 404 = @page; error_page 500 = @page; }
    location @page      { return 200 "page"; }

    location /cached/   { proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/functions/; proxy_cache cache; }
    location /proxied/  { proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/functions/;
                          proxy_intercept_errors on; error_page 404 = @page; }
    location /mirrored/ { mirror /functions/counts; mirror_request_body on; proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/functions/; }
EOC

add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value('http_config', $http);
    $block->set_value('config', $config);
    $block->set_value('user_files', ">>> file\nfile\n>>> asked/file\nfile\n>>> users\nbob:{PLAIN}secret\n");
});

no_long_string();
run_tests();

__DATA__

=== TEST 1: locations within; auth of one; a file of another
--- request eval
["GET /functions/tells/x", "GET /functions/tells/inner/tells/x", "GET /functions/tells/private/tells",
 "GET /functions/tells/private/tells?access_token=$main::ann", "GET /functions/tells/static/"]
--- error_code eval
[200, 200, 401, 200, 200]
--- response_body eval
["GET x q= b=", "GET x q= b=", "",
 "GET  q= b=", "static"]



=== TEST 2: gzip, its ETag weak; what the function has encoded is left alone
--- request eval
["GET /gzip/long", "GET /gzip/long", "GET /gzip/packed", "GET /gzip/long"]
--- more_headers eval
[("Accept-Encoding: gzip") x 3, "Accept-Encoding: gzip\nIf-None-Match: \"v1\""]
--- error_code eval
[200, 200, 200, 304]
--- response_headers eval
[("Content-Encoding: gzip\n!Content-Length\nETag: W/\"v1\"") x 2, "Content-Encoding: x\nContent-Length: 5000", ""]



=== TEST 3: limit_req
--- request eval
["GET /limited/tells", "GET /limited/tells", "GET /functions/tells"]
--- error_code eval
[200, 503, 200]



=== TEST 4: access modules
--- request eval
["GET /denied/tells", "GET /basic/tells", "GET /basic/tells", "GET /any/tells", "GET /any/tells?access_token=$main::ann",
 "GET /except/tells", "POST /except/tells\n"]
--- more_headers eval
["", "", "Authorization: Basic Ym9iOnNlY3JldA==", "", "", "", ""]
--- error_code eval
[403, 401, 200, 401, 200, 200, 403]



=== TEST 5: if
--- request eval
["GET /if/tells/a?teapot=1", "GET /if/tells/a?x=1", "GET /if/tells/a?x=1&q=4"]
--- error_code eval
[418, 200, 200]
--- response_body_like eval
["", "^GET a q= b=\$", "^GET a q=4 b=\$"]



=== TEST 6: a function that auth_request asks
--- request eval
["GET /asked/file", "GET /asked/file", "GET /asked/file", "GET /checked/tells/x", "GET /checked/tells/x",
 "POST /checked/tells\nbody"]
--- more_headers eval
["X-Who: ann", "X-Who: eve", "", "X-Who: ann", "X-Who: eve", "X-Who: ann"]
--- error_code eval
[200, 403, 401, 200, 403, 200]
--- response_headers eval
["", "", "WWW-Authenticate: Odd realm=\"x\"", "", "", ""]
--- response_body_like eval
["^file\n\$", "403 Forbidden", "401 Authorization", "^GET x q= b=\$", "403 Forbidden", "^POST  q= b=body\$"]



=== TEST 7: ... also about a body that a function would not take
--- request eval
"PUT /taken/big\n" . "x" x 2000000
--- more_headers
X-Who: ann
--- error_code: 201



=== TEST 8: SSI: a function's page, functions and files in it
--- request eval
["GET /ssi/page", "POST /ssi/page\nnot theirs"]
--- response_body_like eval
["^<p>GET a q=1 b=\\|file\n</p>\$", "^<p>GET a q=1 b=(?:not theirs)?\\|file\n</p>\$"]



=== TEST 9: around another answer
--- request
GET /around
--- response_body chomp
GET before q= b= between GET after q= b=



=== TEST 10: internal redirects
--- request eval
["GET /missing/x", "POST /missing/x\nbody", "GET /tried/x", "GET /old/a?q=5", "POST /old/a%2Fb\nbody", "GET /fixed?q=6"]
--- error_code eval
[404, 404, 200, 200, 200, 200]
--- response_body eval
["GET missing q=2 b=", "GET missing q=2 b=body", "GET tried/x q=3 b=", "GET new/a q=5 b=", "POST new/a/b q= b=body",
 "GET fixed q=6 b="]



=== TEST 11: what a function answers is not replaced by error_page
--- request eval
["GET /page/fails", "GET /page/none"]
--- error_code eval
[500, 404]
--- response_body_like eval
["^mine\$", '"code":"NotFound"']



=== TEST 12: ... unless a proxy is told to
--- request
GET /proxied/none
--- response_body chomp
page



=== TEST 13: a cache before them, by what they say
--- request eval
["GET /cached/counts?cache=max-age%3D60", "GET /cached/counts?cache=max-age%3D60",
 "GET /cached/counts?cache=no-store", "GET /cached/counts?cache=no-store"]
--- response_body eval
["1", "1", "2", "3"]



=== TEST 14: a mirror, which reads the body before
--- request
POST /mirrored/tells/x
body
--- response_body chomp
POST x q= b=body
