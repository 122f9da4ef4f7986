#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# broadcast_database … role_claim=name[:default]: what it takes; anything else
# fails the start, for functions would run with other rights than were meant.

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::Nginx::Socket 'no_plan';

our $long = 'r' x 64;

sub with { "broadcast_zone hubs 1m; broadcast_database host=/nowhere $_[0];" }

run_tests();

__DATA__

=== TEST 1: a claim
--- http_config eval: main::with('role_claim=role')
--- config
location /x { return 200 up; }
--- request
GET /x
--- response_body chomp
up

=== TEST 2: a claim and a default, of all letters that each may have
--- http_config eval: main::with('"role_claim=a-B_0.9/c:the default: \'role\'" pool=2')
--- config
location /x { return 200 up; }
--- request
GET /x
--- response_body chomp
up

=== TEST 3: twice
--- http_config eval: main::with('role_claim=a role_claim=b')
--- config
--- must_die
--- error_log
"broadcast_database": bad value "role_claim=b": it is no parameter, or given twice

=== TEST 4: of nothing
--- http_config eval: main::with('role_claim=')
--- config
--- must_die
--- error_log
"broadcast_database": bad value "role_claim=": it

=== TEST 5: a default without a claim
--- http_config eval: main::with('role_claim=:anon')
--- config
--- must_die
--- error_log
"broadcast_database": bad value "role_claim=:anon": it must be the name of a claim, and may have ":" and a role behind it

=== TEST 6: a name with a space
--- http_config eval: main::with('"role_claim=a b"')
--- config
--- must_die
--- error_log
"broadcast_database": bad value "role_claim=a b": it must

=== TEST 7: the word for no role
--- http_config eval: main::with('role_claim=role:none')
--- config
--- must_die
--- error_log
"broadcast_database": bad value "role_claim=role:none": it must

=== TEST 8: a role that is longer than a name
--- http_config eval: main::with("role_claim=role:$main::long")
--- config
--- must_die
--- error_log
it must be the name of a claim

=== TEST 9: a claim that is longer than one
--- http_config eval: main::with("role_claim=$main::long")
--- config
--- must_die
--- error_log
it must be the name of a claim
