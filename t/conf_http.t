#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# Directives of the http and server levels: each misuse fails the start with
# directive, value and reason.

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::Nginx::Socket 'no_plan';

run_tests();

__DATA__

=== TEST 1: two zones
--- http_config
    broadcast_zone hubs 1m;
    broadcast_zone more 1m;
--- config
--- must_die
--- error_log
"broadcast_zone" directive is duplicate

=== TEST 2: a zone below the minimum
--- http_config
    broadcast_zone hubs 512k;
--- config
--- must_die
--- error_log
"broadcast_zone": bad value "512k": it is too small, the minimum is 1m

=== TEST 3: a zone without a size that is one
--- http_config
    broadcast_zone hubs many;
--- config
--- must_die
--- error_log
"broadcast_zone": bad value "many": it is no size

=== TEST 4: a zone without a name
--- http_config
    broadcast_zone "" 1m;
--- config
--- must_die
--- error_log
"broadcast_zone": bad value "": the name is empty

=== TEST 5: a zone in a server
--- config
    broadcast_zone hubs 1m;
--- must_die
--- error_log
"broadcast_zone" directive is not allowed here

=== TEST 6: a zone without parameters
--- http_config
    broadcast_zone hubs;
--- config
--- must_die
--- error_log
invalid number of arguments in "broadcast_zone" directive

=== TEST 7: a key without a zone
--- http_config
    broadcast_key 0123456789abcdef;
--- config
--- must_die
--- error_log
"broadcast_key" requires "broadcast_zone" in the http block

=== TEST 8: a key that is too short
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key shortsecret;
--- config
--- must_die
--- error_log
"broadcast_key" of 11 bytes:
--- no_error_log
shortsecret

=== TEST 9: a key of 16 bytes
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef;
--- config
--- request
GET /index.html
--- error_code: 404

=== TEST 10: a key file that is not there
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key file=nowhere.key;
--- config
--- must_die
--- error_log
nowhere.key" (2: No such file or directory)

=== TEST 11: a key file without a name
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key file=;
--- config
--- must_die
--- error_log
"broadcast_key": bad value "": no file is named

=== TEST 12: a key file that is a folder
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key file=html;
--- config
--- must_die
--- error_log
"broadcast_key": cannot read

=== TEST 13: a key file that is too short
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key file=html/short.key;
--- config
--- user_files
>>> short.key
short
--- must_die
--- error_log
"broadcast_key" "file=html/short.key":

=== TEST 14: a key file, its newline does not count
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key file=html/good.key;
--- config
--- user_files
>>> good.key
0123456789abcdef
--- request
GET /index.html
--- error_code: 404

=== TEST 15: a parameter of a key that there is not
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef use=sig;
--- config
--- must_die
--- error_log
"broadcast_key": bad value "use=sig": it is no parameter

=== TEST 16: kid twice
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef kid=a kid=b;
--- config
--- must_die
--- error_log
"broadcast_key": bad value "kid=b"

=== TEST 17: an algorithm that there is not
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef alg=none;
--- config
--- must_die
--- error_log
"broadcast_key" of 16 bytes:

=== TEST 18: a public algorithm for a secret
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef alg=RS256;
--- config
--- must_die
--- error_log
"broadcast_key" of 16 bytes:

=== TEST 19: a JWK set that is none
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key jwks=html/set.json;
--- config
--- user_files
>>> set.json
{}
--- must_die
--- error_log
"broadcast_key" "jwks=html/set.json":

=== TEST 20: several keys, for rotation
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef kid=a;
    broadcast_key fedcba9876543210 kid=b alg=HS256;
--- config
--- request
GET /index.html
--- error_code: 404

=== TEST 21: two databases
--- http_config
    broadcast_zone hubs 1m;
    broadcast_database host=/nowhere;
    broadcast_database host=/nowhere;
--- config
--- must_die
--- error_log
"broadcast_database" directive is duplicate

=== TEST 22: a conninfo that is none
--- http_config
    broadcast_zone hubs 1m;
    broadcast_database "nonsense here";
--- config
--- must_die
--- error_log
"broadcast_database": bad conninfo:

=== TEST 23: an empty conninfo
--- http_config
    broadcast_zone hubs 1m;
    broadcast_database "";
--- config
--- must_die
--- error_log
"broadcast_database": bad value "": the conninfo is empty

=== TEST 24: a password is in no message
--- http_config
    broadcast_zone hubs 1m;
    broadcast_database "hozt=x password=geheimnis";
--- config
--- must_die
--- error_log
"broadcast_database": bad conninfo:
--- no_error_log
geheimnis

=== TEST 25: a pool of nothing
--- http_config
    broadcast_zone hubs 1m;
    broadcast_database host=/nowhere pool=0;
--- config
--- must_die
--- error_log
"broadcast_database": bad value "pool=0": it must be 1 to 1000

=== TEST 26: a time-out that is no time
--- http_config
    broadcast_zone hubs 1m;
    broadcast_database host=/nowhere timeout=soon;
--- config
--- must_die
--- error_log
"broadcast_database": bad value "timeout=soon": it must be a time above 0

=== TEST 27: a queue that is no number
--- http_config
    broadcast_zone hubs 1m;
    broadcast_database host=/nowhere queue=-1;
--- config
--- must_die
--- error_log
"broadcast_database": bad value "queue=-1"

=== TEST 28: roles by claim, with a default that is none
--- http_config
    broadcast_zone hubs 1m;
    broadcast_database host=/nowhere role_claim=role:;
--- config
--- must_die
--- error_log
"broadcast_database": bad value "role_claim=role:": it must be the name of a claim

=== TEST 29: a parameter twice
--- http_config
    broadcast_zone hubs 1m;
    broadcast_database host=/nowhere pool=1 pool=2;
--- config
--- must_die
--- error_log
"broadcast_database": bad value "pool=2": it is no parameter, or given twice

=== TEST 30: a database without a zone
--- http_config
    broadcast_database host=/nowhere;
--- config
--- must_die
--- error_log
"broadcast_database" requires "broadcast_zone"

=== TEST 31: a channel without a database
--- http_config
    broadcast_zone hubs 1m;
    broadcast_listen ch hub=chat target=t;
--- config
--- must_die
--- error_log
"broadcast_listen" requires "broadcast_database"

=== TEST 32: a channel without a hub
--- http_config
    broadcast_zone hubs 1m;
    broadcast_listen ch target=t;
--- config
--- must_die
--- error_log
"broadcast_listen": bad value "ch": it needs "hub=" and "target="

=== TEST 33: a channel whose hub is no name
--- http_config
    broadcast_zone hubs 1m;
    broadcast_listen ch hub=1 target=t;
--- config
--- must_die
--- error_log
"broadcast_listen": bad value "1": it is no name of a hub

=== TEST 34: a channel whose target is empty
--- http_config
    broadcast_zone hubs 1m;
    broadcast_listen ch hub=chat target=;
--- config
--- must_die
--- error_log
"broadcast_listen": bad value "target=": it is no target

=== TEST 35: a channel whose group is empty
--- http_config
    broadcast_zone hubs 1m;
    broadcast_listen ch hub=chat target=t group=;
--- config
--- must_die
--- error_log
"broadcast_listen": bad value "group=": it is no name of a group

=== TEST 36: a channel with a long name
--- http_config
    broadcast_zone hubs 1m;
    broadcast_listen cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc hub=chat target=t;
--- config
--- must_die
--- error_log
a channel has 1 to 63 bytes

=== TEST 37: a channel twice
--- http_config
    broadcast_zone hubs 1m;
    broadcast_database host=/nowhere;
    broadcast_listen ch hub=chat target=t;
    broadcast_listen ch hub=other target=t;
--- config
--- must_die
--- error_log
"broadcast_listen": bad value "ch": the channel is duplicate

=== TEST 38: an ephemeral hub that is no name
--- http_config
    broadcast_zone hubs 1m;
    broadcast_ephemeral chat a/b;
--- config
--- must_die
--- error_log
"broadcast_ephemeral": bad value "a/b": it is no name of a hub

=== TEST 39: an ephemeral hub twice
--- http_config
    broadcast_zone hubs 1m;
    broadcast_ephemeral chat Chat;
--- config
--- must_die
--- error_log
"broadcast_ephemeral": bad value "Chat": the hub is duplicate

=== TEST 40: a source in a database that there is not
--- http_config
    broadcast_zone hubs 1m;
    broadcast_source wal;
--- config
--- must_die
--- error_log
"broadcast_source wal" requires "broadcast_database"

=== TEST 41: a source that there is not
--- http_config
    broadcast_zone hubs 1m;
    broadcast_source kafka;
--- config
--- must_die
--- error_log
"broadcast_source": bad value "kafka": it must be "outbox" or "wal"

=== TEST 42: two sources
--- http_config
    broadcast_zone hubs 1m;
    broadcast_source outbox;
    broadcast_source outbox;
--- config
--- must_die
--- error_log
"broadcast_source" directive is duplicate

=== TEST 43: a parameter of the outbox
--- http_config
    broadcast_zone hubs 1m;
    broadcast_source outbox slot=a;
--- config
--- must_die
--- error_log
"broadcast_source": bad value "slot=a": "outbox" has no parameters

=== TEST 44: two drains
--- http_config
    broadcast_zone hubs 1m;
    broadcast_drain 1s;
    broadcast_drain 2s;
--- config
--- must_die
--- error_log
"broadcast_drain" directive is duplicate

=== TEST 45: a drain that is no time
--- http_config
    broadcast_zone hubs 1m;
    broadcast_drain never;
--- config
--- must_die
--- error_log
"broadcast_drain": bad value "never": it must be a time above 0, or off

=== TEST 46: a drain that is longer than nginx waits
--- main_config
worker_shutdown_timeout 10s;
--- http_config
    broadcast_zone hubs 1m;
    broadcast_drain 20s;
--- config
--- request
GET /index.html
--- error_code: 404
--- error_log
"broadcast_drain" of 20000ms is longer than "worker_shutdown_timeout" less a second, 9000ms are taken

=== TEST 47: the default drain gives way in silence
--- main_config
worker_shutdown_timeout 10s;
--- http_config
    broadcast_zone hubs 1m;
--- config
--- request
GET /index.html
--- error_code: 404
--- no_error_log
broadcast_drain

=== TEST 48: streams beyond what may be
--- http_config
    broadcast_zone hubs 1m;
    broadcast_database host=/nowhere streams=101;
--- config
--- must_die
--- error_log
"broadcast_database": bad value "streams=101": it must be 0 to 100

=== TEST 49: a stream without a limit
--- http_config
    broadcast_zone hubs 1m;
    broadcast_database host=/nowhere stream_timeout=0;
--- config
--- must_die
--- error_log
"broadcast_database": bad value "stream_timeout=0": it must be a time of 1 day at most
=== TEST 50: the WAL with all that it takes
--- http_config
    broadcast_zone hubs 1m;
    broadcast_database "host=/nowhere";
    broadcast_source wal publication=p_1 slot=s_2;
--- config
--- request
GET /index.html
--- error_code: 404
--- no_error_log
[emerg]

=== TEST 51: a slot by a name that PostgreSQL takes for none
--- http_config
    broadcast_zone hubs 1m;
    broadcast_database "host=/nowhere";
    broadcast_source wal slot=Chat;
--- config
--- must_die
--- error_log
"broadcast_source": bad value "slot=Chat": it must be 1 to 63 lower case letters, digits and underscores

=== TEST 52: a publication without a name
--- http_config
    broadcast_zone hubs 1m;
    broadcast_database "host=/nowhere";
    broadcast_source wal publication=;
--- config
--- must_die
--- error_log
"broadcast_source": bad value "publication=": it must be 1 to 63 lower case letters, digits and underscores

=== TEST 53: two slots
--- http_config
    broadcast_zone hubs 1m;
    broadcast_database "host=/nowhere";
    broadcast_source wal slot=a slot=b;
--- config
--- must_die
--- error_log
"broadcast_source": bad value "slot=b": it is no parameter, or given twice

