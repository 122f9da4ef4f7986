#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# broadcast_after: where it may stand and what it takes.

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::Nginx::Socket 'no_plan';

our $zone = "broadcast_zone hubs 1m;\nbroadcast_key 0123456789abcdef;\n";
our $long = 'a' x 128;

add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value('http_config', $zone) unless defined $block->http_config;
});

run_tests();

__DATA__

=== TEST 1: everything that it takes; without a database nothing is called
--- config eval
"location /a { broadcast_after upload; location /a/b { broadcast_after off; }
              limit_except GET { broadcast_after 'a b/c.d'; } }
 location /c { broadcast_after $main::long; return 200 served; }
 location /d { broadcast_after \xc3\xa4; }"
--- request
GET /c
--- response_body chomp
served

=== TEST 2: in a server
--- config
    broadcast_after upload;
--- must_die
--- error_log
"broadcast_after" directive is not allowed here

=== TEST 3: twice
--- config
    location /x { broadcast_after upload; broadcast_after off; }
--- must_die
--- error_log
"broadcast_after" directive is duplicate

=== TEST 4: off and a name
--- config
    location /x { broadcast_after off; broadcast_after upload; }
--- must_die
--- error_log
"broadcast_after" directive is duplicate

=== TEST 5: without a name
--- config
    location /x { broadcast_after; }
--- must_die
--- error_log
invalid number of arguments in "broadcast_after" directive

=== TEST 6: with two
--- config
    location /x { broadcast_after a b; }
--- must_die
--- error_log
invalid number of arguments in "broadcast_after" directive

=== TEST 7: an empty name
--- config
    location /x { broadcast_after ""; }
--- must_die
--- error_log
"broadcast_after": bad value "": it must have 1 to 128 bytes

=== TEST 8: a name that is too long
--- config eval
"location /x { broadcast_after a$main::long; }"
--- must_die
--- error_log
: it must have 1 to 128 bytes

=== TEST 9: a name of two lines
--- config
    location /x { broadcast_after "a\nb"; }
--- must_die
--- error_log
it has a control character

=== TEST 10: a name that is no text
--- config eval
"location /x { broadcast_after a\xff; }"
--- must_die
--- error_log
it is no UTF-8

=== TEST 11: without a zone
--- http_config
--- config
    location /x { broadcast_after upload; }
--- must_die
--- error_log
"broadcast_after" requires "broadcast_zone" in the http block
