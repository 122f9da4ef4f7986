#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# url=, weight= and health= of broadcast_negotiate: each misuse fails the start
# with directive, value and reason.

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::Nginx::Socket 'no_plan';

add_block_preprocessor(sub {
    my ($block) = @_;

    $block->set_value('http_config', 'broadcast_zone hubs 1m;
                                      broadcast_key 0123456789abcdef;');
    $block->set_value('config', 'location /client { broadcast_hub; }
        location /x { broadcast_negotiate hub=chat ' . $block->args . '; }');
});

run_tests();

__DATA__

=== TEST 1: a weight of nothing
--- args: url=http://a/ weight=0
--- must_die
--- error_log
"broadcast_negotiate": bad value "weight=0": it must be a number from 1 to 65535

=== TEST 2: a weight that is no number
--- args: url=http://a/ weight=-1
--- must_die
--- error_log
"broadcast_negotiate": bad value "weight=-1": it must be a number from 1 to 65535

=== TEST 3: a weight that is too large
--- args: url=http://a/ weight=65536
--- must_die
--- error_log
"broadcast_negotiate": bad value "weight=65536": it must be a number from 1 to 65535

=== TEST 4: a weight without an URL
--- args: weight=2
--- must_die
--- error_log
"broadcast_negotiate": bad value "weight=2": there is no "url=" before it

=== TEST 5: a weight before its URL
--- args: weight=2 url=http://a/
--- must_die
--- error_log
"broadcast_negotiate": bad value "weight=2": there is no "url=" before it

=== TEST 6: two weights for one URL
--- args: url=http://a/ weight=2 weight=3
--- must_die
--- error_log
"broadcast_negotiate": bad value "weight=3": it is duplicate

=== TEST 7: an empty URL
--- args: url=http://a/ url=
--- must_die
--- error_log
"broadcast_negotiate": bad value "url=": it is empty

=== TEST 8: health without an URL
--- args: health=5s
--- must_die
--- error_log
"broadcast_negotiate": bad value "health=5000ms": there is no "url=" to ask

=== TEST 9: health that is no time
--- args: url=http://127.0.0.1/ health=often
--- must_die
--- error_log
"broadcast_negotiate": bad value "health=often": it must be a time of 100ms or more

=== TEST 10: health too often
--- args: url=http://127.0.0.1/ health=99ms
--- must_die
--- error_log
"broadcast_negotiate": bad value "health=99ms": it must be a time of 100ms or more

=== TEST 11: health twice
--- args: url=http://127.0.0.1/ health=5s health=6s
--- must_die
--- error_log
"broadcast_negotiate": bad value "health=6s": it is duplicate

=== TEST 12: health of an URL with variables
--- args: health=5s url=http://127.0.0.1/ url=http://$host/client
--- must_die
--- error_log
"broadcast_negotiate": bad value "url=http://$host/client": "health=" cannot ask an URL with variables

=== TEST 13: health of an URL without a host
--- args: url=/client health=5s
--- must_die
--- error_log
"broadcast_negotiate": bad value "url=/client": "health=" needs one with http:// or https:// and a host

=== TEST 14: health of an URL with another scheme
--- args: url=wss://127.0.0.1/client health=5s
--- must_die
--- error_log
"broadcast_negotiate": bad value "url=wss://127.0.0.1/client": "health=" needs one with http:// or https:// and a host

=== TEST 15: health of a host that there is not
--- args: url=http://nowhere.invalid/client health=5s
--- must_die
--- error_log
"broadcast_negotiate": bad value "url=http://nowhere.invalid/client": host not found

=== TEST 16: health of a port that is none
--- args: url=http://127.0.0.1:70000/client health=5s
--- must_die
--- error_log
"broadcast_negotiate": bad value "url=http://127.0.0.1:70000/client": invalid port

=== TEST 17: health of an URL with a user
--- args: url=http://me@127.0.0.1/client health=5s
--- must_die
--- error_log
"broadcast_negotiate": bad value "url=http://me@127.0.0.1/client": it has no good host

=== TEST 18: several URLs without health may have variables
--- args: url=http://$host/client weight=2 url=$arg_url weight=65535
--- request
GET /x
--- response_body_like: "url":"http
