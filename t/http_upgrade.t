#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# Upgrades that are refused, RFC 6455 section 4.2.1: by hub and events
# locations alike, whatever the extension setting.  Those that succeed are in
# transport_*.t.

use FindBin;
use lib "$FindBin::Bin/lib";
use Test::Nginx::Socket 'no_plan';

our $connection = 'Connection: Upgrade';
our $upgrade = 'Upgrade: websocket';
our $version = 'Sec-WebSocket-Version: 13';
our $key = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==';
our $good = join "\n", $connection, $upgrade, $version, $key;

# a good upgrade with other lines instead of one

sub but {
    my ($line, @others) = @_;

    return join "\n", @others, grep { $_ ne $line }
                               $connection, $upgrade, $version, $key;
}

add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value('http_config', 'broadcast_zone hubs 1m;
                                      broadcast_key 0123456789abcdef;');
    $block->set_value('config', <<'EOC');
        location /client  { broadcast_hub anonymous hub=chat; }
        location /events/ { broadcast_events anonymous; broadcast_deflate on; }
        location /off     { broadcast_hub anonymous hub=chat;
                            broadcast_transports sse; }
EOC
});

run_tests();

__DATA__

=== TEST 1: Connection
--- request eval
["GET /client", "GET /events/chat", "GET /client", "GET /client"]
--- more_headers eval
[(main::but($main::connection, "Connection: close")) x 2,
 main::but($main::connection, "Connection: keep-alive"),
 main::but($main::connection, "Connection: Upgrade2")]
--- error_code eval
[(400) x 4]

=== TEST 2: the version, and the one that is ours
--- request eval
["GET /client", "GET /events/chat", ("GET /client") x 5]
--- more_headers eval
[(main::but($main::version)) x 2,
 map { main::but($main::version, $_) } "Sec-WebSocket-Version: 8",
 "Sec-WebSocket-Version: 013", "Sec-WebSocket-Version: 13, 8",
 "Sec-WebSocket-Version: 13\nSec-WebSocket-Version: 13",
 "Sec-WebSocket-Version: x"]
--- error_code eval
[(426) x 7]
--- response_headers eval
[("Sec-WebSocket-Version: 13") x 7]

=== TEST 3: the key
--- request eval
["GET /client", "GET /events/chat", ("GET /client") x 7]
--- more_headers eval
[(main::but($main::key)) x 2,
 map { main::but($main::key, $_) } "Sec-WebSocket-Key: short",
 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j",
 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ",
 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZWU=",
 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j!!==",
 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ== x",
 "$main::key\n$main::key"]
--- error_code eval
[(400) x 9]

=== TEST 4: extensions against the grammar, offered where they are off or on
--- request eval
["GET /client", "GET /events/chat", ("GET /events/chat") x 4]
--- more_headers eval
[map { "$main::good\nSec-WebSocket-Extensions: $_" } "a;", "a;", "a b",
 "permessage-deflate; server_max_window_bits=\"10",
 "permessage-deflate; =10",
 "permessage-deflate\nSec-WebSocket-Extensions: ;"]
--- error_code eval
[(400) x 6]

=== TEST 5: another method, another version of HTTP, a body
--- raw_request eval
[map { $_->[0] . "\r\nHost: localhost\r\n"
       . ($main::good =~ s/\n/\r\n/gr) . "\r\n$_->[1]\r\n$_->[2]" }
 [ "POST /events/chat HTTP/1.1", "Content-Length: 0\r\n", "" ],
 [ "HEAD /events/chat HTTP/1.1", "", "" ],
 [ "GET /events/chat HTTP/1.0", "", "" ],
 [ "GET /client HTTP/1.1", "Content-Length: 1\r\n", "x" ],
 [ "GET /client HTTP/1.1", "Transfer-Encoding: chunked\r\n", "0\r\n\r\n" ]]
--- error_code eval
[405, 405, 400, 400, 400]

=== TEST 6: a transport that is switched off
--- request
GET /off
--- more_headers eval
$main::good
--- error_code: 404
--- response_body: WebSockets transport not supported by this end point type
