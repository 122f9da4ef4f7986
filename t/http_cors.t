#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# What a browser's page of another origin needs of the hub: a preflight for
# each request of the official client, and the two headers on every answer, on
# refusals and on event streams.  signalr.md 1.9 and appendix B, line 2.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::HTTP;
use Broadcast::Nginx;
use Broadcast::SSE;
use Broadcast::Token qw(client_token);

my $key = '0123456789abcdef';

my $nginx = Broadcast::Nginx->new(
    http   => "broadcast_zone hubs 2m;\nbroadcast_key $key;\n",
    server => <<'EOC',
        location /client { broadcast_hub; broadcast_origin https://app.example; }
        location /kept   {
            broadcast_hub hub=chat anonymous;
            broadcast_origin https://app.example;
            limit_rate 1m;
        }
        location /closed {
            broadcast_hub; broadcast_origin https://app.example; deny all;
        }
EOC
)->start;

my $port = $nginx->port;
my $origin = 'https://app.example';
my $token = client_token($key, 'chat', sub => 'ann');
my @bearer = (Authorization => "Bearer $token");

sub http {
    my ($method, $uri, %o) = @_;

    return Broadcast::HTTP::http($port, $method, $uri, %o,
        headers => [ Origin => $origin, @{ $o{headers} // [] } ]);
}

sub cors {
    my ($r, $name) = @_;
    my $h = $r->{headers};

    is(join(' | ', map { $_ // 'none' } @$h{
           map { "access-control-allow-$_" } qw(origin credentials) },
           $h->{vary}),
       "$origin | true | Origin", $name);
}


# --- preflights --------------------------------------------------------------

for ([ 'negotiate', 'POST', '/client/negotiate?hub=chat&negotiateVersion=1',
       'authorization,x-requested-with,x-signalr-user-agent' ],
     [ 'a text message', 'POST', '/client?hub=chat&id=x',
       'authorization,x-requested-with,x-signalr-user-agent' ],
     [ 'a binary message', 'POST', '/client?hub=chat&id=x',
       'authorization,content-type,x-requested-with,x-signalr-user-agent' ],
     [ 'a long poll', 'GET', '/client?hub=chat&id=x&_=1',
       'authorization,x-requested-with,x-signalr-user-agent' ],
     [ 'the end of long polling', 'DELETE', '/client?hub=chat&id=x',
       'authorization,x-requested-with,x-signalr-user-agent' ],
     [ 'headers of the app\'s own', 'POST', '/client/negotiate?hub=chat',
       'x-app,x-trace-id' ],
     [ 'a location that is closed', 'POST', '/closed/negotiate?hub=chat',
       'authorization' ])
{
    my ($name, $method, $uri, $headers) = @$_;

    my $r = http('OPTIONS', $uri, headers => [
        'Access-Control-Request-Method' => $method,
        'Access-Control-Request-Headers' => $headers ]);
    my $h = $r->{headers};

    is("$r->{status} $r->{body}", '204 ', "$name: the preflight is answered");
    cors($r, '... for the origin, with credentials');
    like($h->{'access-control-allow-methods'}, qr/\b$method\b/,
         "... $method is allowed");
    is($h->{'access-control-allow-headers'}, $headers,
       '... the headers are, as they were asked for');
    ok($h->{'access-control-max-age'} > 0, '... and it may be remembered');
}

my $foreign = Broadcast::HTTP::http($port, 'OPTIONS',
    '/client/negotiate?hub=chat', headers => [
        Origin => 'https://evil.example',
        'Access-Control-Request-Method' => 'POST' ]);
is($foreign->{status}, 403, 'a preflight of another origin is refused');
is($foreign->{headers}{'access-control-allow-origin'}, undef,
   '... without a header that would allow it');


# --- answers -----------------------------------------------------------------

for ([ 200, 'POST', '/client/negotiate?hub=chat', \@bearer ],
     [ 401, 'POST', '/client/negotiate?hub=chat', [] ],
     [ 401, 'POST', '/client/negotiate?hub=other', \@bearer ],
     [ 413, 'POST', '/client/negotiate?hub=chat',
       [ Authorization => 'Bearer ' . 'x' x 4097 ] ],
     [ 400, 'POST', '/client/negotiate?hub=4', \@bearer ],
     [ 404, 'POST', '/client/nowhere?hub=chat', \@bearer ],
     [ 405, 'PUT', '/client?hub=chat', \@bearer ],
     [ 400, 'GET', '/client?hub=chat', \@bearer ],
     [ 404, 'GET', '/client?hub=chat&id=x', \@bearer ],
     [ 404, 'POST', '/client?hub=chat&id=x', \@bearer ],
     [ 404, 'DELETE', '/client?hub=chat&id=x', \@bearer ],
     [ 403, 'POST', '/closed/negotiate?hub=chat', \@bearer ])
{
    my ($status, $method, $uri, $headers) = @$_;

    my $r = http($method, $uri, headers => $headers, body => '');

    is($r->{status}, $status, "$method $uri: $status");
    cors($r, '... which a page can read');
}

for my $where ('/client', '/kept') {
    my $id = http('POST', "$where/negotiate?hub=chat&negotiateVersion=1",
                  headers => \@bearer)->{json}{connectionToken};
    my $url = "$where?hub=chat&id=$id&access_token=$token";

    my $sse = Broadcast::SSE->connect($port, $url,
                                      headers => [ Origin => $origin ]);
    is($sse->{head}{status}, 200, "$where: an event stream is accepted");
    cors($sse->{head}, '... which a page can read');

    my $r = http('POST', $url, headers => [ 'Content-Type' =>
                                            'application/octet-stream' ],
                 body => qq({"protocol":"json","version":1}\x1e));
    is($r->{status}, 200, 'a binary message is taken');
    cors($r, '... and its answer can be read');
    like($sse->block, qr/\{\}\x1e/, '... it was the handshake');

    my $foreign = Broadcast::SSE->connect($port, $url,
        headers => [ Origin => 'https://evil.example' ]);
    is($foreign->{head}{status}, 403, 'a stream of another origin is refused');
    is($foreign->{head}{headers}{'access-control-allow-origin'}, undef,
       '... and cannot be read');
    $sse->close;
}

$nginx->stop_ok;

done_testing();
