#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# Directives that give a location its handler: each misuse fails the start with
# directive, value and reason.

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::Nginx::Socket 'no_plan';

run_tests();

__DATA__

=== TEST 1: a hub without a zone
--- config
    location /x { broadcast_hub; }
--- must_die
--- error_log
"broadcast_hub" requires "broadcast_zone" in the http block

=== TEST 2: a status without a zone
--- config
    location /x { broadcast_status; }
--- must_die
--- error_log
"broadcast_status" requires "broadcast_zone" in the http block

=== TEST 3: a hub in a server
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef;
--- config
    broadcast_hub;
--- must_die
--- error_log
"broadcast_hub" directive is not allowed here

=== TEST 4: a hub twice
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef;
--- config
    location /x { broadcast_hub; broadcast_hub; }
--- must_die
--- error_log
"broadcast_hub" directive is duplicate

=== TEST 5: a hub beside events
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef;
--- config
    location /x { broadcast_hub; broadcast_events; }
--- must_die
--- error_log
"broadcast_events" directive cannot stand beside another handler in one location

=== TEST 6: a hub behind another module's handler
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef;
--- config
    location /x { stub_status; broadcast_hub; }
--- must_die
--- error_log
"broadcast_hub" directive cannot stand beside another handler in one location

=== TEST 7: a hub before another module's handler
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef;
--- config
    location /x { broadcast_hub; stub_status; }
--- must_die
--- error_log
"broadcast_hub" in location "/x": another directive gave the location another handler

=== TEST 8: a hub's parameter that there is not
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef;
--- config
    location /x { broadcast_hub open; }
--- must_die
--- error_log
"broadcast_hub": bad value "open": it is no parameter

=== TEST 9: a hub's parameter twice
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef;
--- config
    location /x { broadcast_hub anonymous anonymous; }
--- must_die
--- error_log
"broadcast_hub": bad value "anonymous": it is duplicate

=== TEST 10: a hub that is no name
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef;
--- config
    location /x { broadcast_hub hub=9; }
--- must_die
--- error_log
"broadcast_hub": bad value "hub=9": it is no name of a hub

=== TEST 11: a hub of 129 characters
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef;
--- config
    location /x { broadcast_hub hub=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; }
--- must_die
--- error_log
it is no name of a hub

=== TEST 12: a hub of 128 characters
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef;
--- config
    location /x { broadcast_hub hub=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; }
--- request
GET /index.html
--- error_code: 404

=== TEST 13: a hub named twice
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef;
--- config
    location /x { broadcast_hub hub=a hub=b; }
--- must_die
--- error_log
"broadcast_hub": bad value "hub=b": "hub=" is duplicate

=== TEST 14: events with a parameter that there is not
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef;
--- config
    location /x { broadcast_events nofunctions; }
--- must_die
--- error_log
"broadcast_events": bad value "nofunctions": it is no parameter

=== TEST 15: events by expression without a hub
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef;
--- config
    location ~ ^/x { broadcast_events; }
--- must_die
--- error_log
"broadcast_events" in location "^/x": it needs a location given by a prefix, or "hub="

=== TEST 16: events by expression with a hub
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef;
--- config
    location ~ ^/x { broadcast_events hub=chat; }
--- request
GET /index.html
--- error_code: 404

=== TEST 17: publish with an empty target
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef;
--- config
    location /x { broadcast_publish target=; }
--- must_die
--- error_log
"broadcast_publish": bad value "target=": it is no target

=== TEST 18: publish with two targets
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef;
--- config
    location /x { broadcast_publish target=a target=b; }
--- must_die
--- error_log
"broadcast_publish": bad value "target=b": "target=" is duplicate

=== TEST 19: publish with a parameter that there is not
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef;
--- config
    location /x { broadcast_publish group=a; }
--- must_die
--- error_log
"broadcast_publish": bad value "group=a": it is no parameter

=== TEST 20: an API with a parameter that there is not
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef;
--- config
    location /x { broadcast_api shut; }
--- must_die
--- error_log
"broadcast_api": bad value "shut": it is no parameter

=== TEST 21: an API by expression
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef;
--- config
    location ~ ^/api/ { broadcast_api; }
--- must_die
--- error_log
"broadcast_api" in location "^/api/": it needs a location given by a prefix

=== TEST 22: functions with a parameter
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef;
--- config
    location /x { broadcast_function hello; }
--- must_die
--- error_log
invalid number of arguments in "broadcast_function" directive

=== TEST 23: a status with a form that there is not
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef;
--- config
    location /x { broadcast_status xml; }
--- must_die
--- error_log
"broadcast_status": bad value "xml": it must be html, json or prometheus

=== TEST 24: a negotiate without a hub
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef;
--- config
    location /x { broadcast_negotiate user=a; }
--- must_die
--- error_log
"broadcast_negotiate" needs "hub="

=== TEST 25: a negotiate without parameters
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef;
--- config
    location /x { broadcast_negotiate; }
--- must_die
--- error_log
invalid number of arguments in "broadcast_negotiate" directive

=== TEST 26: a negotiate without a key
--- http_config
    broadcast_zone hubs 1m;
--- config
    location /x { broadcast_negotiate hub=chat; }
--- must_die
--- error_log
"broadcast_negotiate" in location "/x": the first "broadcast_key" must be a secret, it signs

=== TEST 27: a negotiate with a public key first
--- http_config
    broadcast_zone hubs 1m;
--- config
    broadcast_key file=html/key.pem;
    broadcast_key 0123456789abcdef;
    location /x { broadcast_negotiate hub=chat; }
--- user_files
>>> key.pem
-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
--- must_die
--- error_log
"broadcast_negotiate" in location "/x": the first "broadcast_key" must be a secret, it signs

=== TEST 28: a negotiate for a hub that is no name
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef;
--- config
    location /x { broadcast_negotiate hub=4; }
--- must_die
--- error_log
"broadcast_negotiate": bad value "hub=4": it is no name of a hub

=== TEST 29: a negotiate with two users
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef;
--- config
    location /x { broadcast_negotiate hub=chat user=a user=b; }
--- must_die
--- error_log
"broadcast_negotiate": bad value "user=b": it is duplicate

=== TEST 30: a negotiate with an empty user
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef;
--- config
    location /x { broadcast_negotiate hub=chat user=; }
--- must_die
--- error_log
"broadcast_negotiate": bad value "user=": it is empty

=== TEST 31: a negotiate with a variable that there is not
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef;
--- config
    location /x { broadcast_negotiate hub=chat user=$nobody; }
--- must_die
--- error_log
unknown "nobody" variable

=== TEST 32: a negotiate with a ttl of nothing
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef;
--- config
    location /x { broadcast_negotiate hub=chat ttl=0; }
--- must_die
--- error_log
"broadcast_negotiate": bad value "ttl=0": it must be a time of 1s or more

=== TEST 33: a negotiate with a ttl that is no time
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef;
--- config
    location /x { broadcast_negotiate hub=chat ttl=long; }
--- must_die
--- error_log
"broadcast_negotiate": bad value "ttl=long"

=== TEST 34: a negotiate with two ttls
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef;
--- config
    location /x { broadcast_negotiate hub=chat ttl=1h ttl=2h; }
--- must_die
--- error_log
"broadcast_negotiate": bad value "ttl=2h": it is duplicate

=== TEST 35: a claim without a value
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef;
--- config
    location /x { broadcast_negotiate hub=chat claim=role; }
--- must_die
--- error_log
"broadcast_negotiate": bad value "claim=role": it must be name:value

=== TEST 36: a parameter of negotiate that there is not
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef;
--- config
    location /x { broadcast_negotiate hub=chat role=a; }
--- must_die
--- error_log
"broadcast_negotiate": bad value "role=a": it is no parameter

=== TEST 37: a negotiate without a hub to point to
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef;
--- config
    location /x { broadcast_negotiate hub=chat; }
--- request
GET /index.html
--- error_code: 404
--- error_log
the server has no "broadcast_hub" location to point to

=== TEST 38: a negotiate with its own URL
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef;
--- config
    location /x { broadcast_negotiate hub=chat url=http://x/client; }
--- request
GET /index.html
--- error_code: 404
--- no_error_log
to point to
