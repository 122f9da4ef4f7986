#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# How the official client finds its way: negotiate versions, redirects,
# refusals in its words, tokens, skipped negotiation, fallback to another
# transport.  signalr.md appendix B, lines 1, 4, 5 and 15.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::Nginx;
use Broadcast::Node qw(program);
use Broadcast::Token qw(token client_token rest_token);

my ($key, $second) = ('the-first-key-of-two', 'the-second-key-of-two');

my $nginx = Broadcast::Nginx->new(
    workers => 2,
    http    => <<"EOC",
        broadcast_zone hubs 8m;
        broadcast_key $key;
        broadcast_key $second;
EOC
    server  => <<'EOC',
        set $base http://127.0.0.1:%%PORT%%;

        location /once  { broadcast_negotiate hub=chat user=ann; }
        location /twice { broadcast_negotiate hub=chat user=ann url=$base/once; }
        location /loop  { broadcast_negotiate hub=chat user=ann url=$base/loop; }

        location /client { broadcast_hub; }

        location /noupgrade {
            if ($http_upgrade) { return 403; }
            broadcast_hub hub=chat anonymous;
        }

        location /nostream {
            if ($http_upgrade) { return 403; }
            if ($http_accept ~ event-stream) { return 404; }
            broadcast_hub hub=chat anonymous;
        }

        location /nothing {
            if ($request_method = GET) { return 404; }
            broadcast_hub hub=chat anonymous;
        }

        location /onlypoll {
            broadcast_hub hub=chat anonymous;
            broadcast_transports longpoll;
        }

        location /onlysse {
            broadcast_hub hub=chat anonymous;
            broadcast_transports sse;
        }

        location /onlyws {
            broadcast_hub hub=chat anonymous;
            broadcast_transports websocket;
        }

        location /api/     { broadcast_api; }
        location /all/api/ { broadcast_api open; }
        location /publish/ { broadcast_publish; }
        location = /status { broadcast_status json; }
EOC
)->start;

my $base = $ENV{BASE} = 'http://127.0.0.1:' . $nginx->port;

my %tokens = (
    good    => client_token($key, 'chat', sub => 'ann'),
    second  => client_token($second, 'chat', sub => 'ann'),
    wrong   => client_token('some-key-of-nobody-here', 'chat', sub => 'ann'),
    expired => client_token($key, 'chat', exp => time - 120),
    other   => client_token($key, 'other'),
    rest    => rest_token($key, "$base/client"),
    nohub   => token($key, { aud => "$base/client/", exp => time + 60 }),
    unsigned => client_token($key, 'chat') =~ s/[^.]*\z//r,
    long    => client_token($key, 'chat', x => 'x' x 4000),
);

$tokens{long} = substr($tokens{long}, 0, 4097);
$tokens{limit} = limit();

$ENV{uc "token_$_"} = $tokens{$_} for keys %tokens;

# A token of 4,096 characters, or one or two less: base64url has no length of
# every size.

sub limit {
    my $n = 2800;

    while (1) {
        my $next = client_token($key, 'chat', x => 'x' x ($n + 1));
        last if length $next > 4096;
        $n++;
    }

    return client_token($key, 'chat', x => 'x' x $n);
}

# A token that is over but for the leeway, and longer good with each attempt.

my $good = 2.5;

program('negotiate.mjs', late => sub {
    $good *= 2;
    return client_token($key, 'chat', exp => int(time) - 60 + int $good);
});

$nginx->stop_ok;

done_testing();
