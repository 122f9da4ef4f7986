#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# Event streams on the wire: headers and first bytes, chunks of our own over
# HTTP/1.1, none over 1.0, nginx's filters over HTTP/2; who goes away is
# noticed.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP;
use Test::More;
use Time::HiRes qw(time);

use Broadcast::HTTP qw(http);
use Broadcast::Nginx qw(wait_for);
use Broadcast::SSE;

my $nginx = Broadcast::Nginx->new(
    tls => 1,
    http => 'broadcast_zone hubs 4m; broadcast_key 0123456789abcdef;
             gzip on; gzip_types *; gzip_min_length 1;
             limit_conn_zone $binary_remote_addr zone=conns:1m;',
    server => <<'EOS')->start;
        location /client   { broadcast_hub anonymous; }
        location /events/  { broadcast_events anonymous; }
        location /kept/    { broadcast_events anonymous; limit_conn conns 100; }
        location /bare/    { broadcast_events anonymous;
                             chunked_transfer_encoding off; }
        location /publish/ { broadcast_publish; }
        location /api/     { broadcast_api open; }
        location = /status { broadcast_status json; }
EOS

my $port = $nginx->port;


sub publish {
    my ($argument) = @_;

    return http($port, 'POST', '/publish/chat', body => encode_json($argument),
        headers => [ 'Content-Type' => 'application/json' ])->{json}{id};
}


sub streams {
    http($port, 'GET', '/status')->{json}{hubs}{chat}{connections}{sse} // 0
}


for my $tls (0, 1) {
    for my $where ('events', 'kept', 'bare') {
        for my $version ('1.1', '1.0') {
            my $name = join ' ', $tls ? 'TLS' : 'plain', $where, $version;

            my $sse = Broadcast::SSE->connect(
                $tls ? $nginx->port('tls') : $port, "/$where/chat",
                tls => $tls, version => $version,
                headers => [ 'Accept-Encoding' => 'gzip' ]);
            my $h = $sse->{head}{headers};

            is $sse->{head}{status}, 200, "$name: 200";
            is $h->{'content-type'}, 'text/event-stream', "$name: its type";
            like $h->{'cache-control'}, qr/no-cache.*no-store/,
                "$name: is not cached";
            is $h->{'x-accel-buffering'}, 'no', "$name: nor buffered";
            isnt $h->{'content-encoding'}, 'gzip', "$name: nor compressed";

            is !!$h->{'transfer-encoding'},
                !!($version eq '1.1' && $where ne 'bare'),
                "$name: chunks where there are any";

            $sse->more(time + 5);
            is $sse->{stream}, ":\r\n", "$name: a comment comes at once";

            my $id = publish('x');
            is $sse->event->{id}, $id, "$name: an event with its id";

            publish('x' x 200000);
            is length $sse->event->{data}, 200004, "$name: a large one, whole";

            $sse->close;
            ok wait_for { streams() == 0 }, "$name: who leaves is noticed";
        }
    }
}

# SignalR: hub messages as data, the client's messages by POST

{
    my $n = http($port, 'POST', '/client/negotiate?hub=chat&negotiateVersion=1',
                 body => '')->{json};
    my $url = "/client?hub=chat&id=$n->{connectionToken}";

    my $sse = Broadcast::SSE->connect($port, $url);
    is $sse->{head}{status}, 200, 'a hub client is accepted';

    my $r = http($port, 'POST', $url,
                 body => "{\"protocol\":\"json\",\"version\":1}\x1e");
    is $r->{status}, 200, 'its handshake by POST is taken';

    like $sse->block, qr/data: \{\}\x1e\z/, 'and answered in the stream';

    publish('hi');
    is $sse->block,
        "data: {\"type\":1,\"target\":\"message\",\"arguments\":[\"hi\"]}\x1e",
        'a message is one data line that ends with the separator';

    $r = http($port, 'POST', $url,
        body => '{"type":1,"target":"a","arguments":[],"invocationId":"1"}'
                . "\x1e" . '{"type":1,"target":"b","arguments":[],'
                . '"invocationId":"2"}' . "\x1e");
    like $sse->block, qr/"invocationId":"1"/, 'two invocations in one POST';
    like $sse->block, qr/"invocationId":"2"/, 'are both answered' ;

    $r = http($port, 'DELETE', "/api/v1/hubs/chat/connections/"
                               . $n->{connectionId} . '?reason=go');
    like $r->{status}, qr/^20/, 'it is closed by REST' or diag $r->{raw};
    my $block = $sse->block;
    like $block, qr/"type":7/, 'it hears a Close';
    like $block, qr/"error":"go"/, 'with the reason';
    like $block, qr/"allowReconnect":true/, 'and may come again';
    is $sse->block, undef, 'and the stream ends';
    $sse->close;

    $r = http($port, 'POST', $url, body => "{\"type\":6}\x1e");
    is $r->{status}, 404, 'then its POST finds nobody';
}

# HTTP/2, with curl

SKIP: {
    `curl --version 2>/dev/null` =~ /HTTP2/
        or skip 'curl without HTTP/2', 5;

    my $tls = $nginx->port('tls');
    my $pid = open my $curl, '-|', 'curl', '-sNk', '--http2', '-i', '--max-time', 60,
        "https://127.0.0.1:$tls/events/chat",
        '-H', 'Accept: text/event-stream', '-H', 'Accept-Encoding: gzip'
        or die "curl: $!";

    my $head = '';
    while (my $line = <$curl>) {
        last if $line =~ /^\r?$/;
        $head .= $line;
    }

    like $head, qr{^HTTP/2 200}, 'over HTTP/2';
    unlike $head, qr/gzip/i, 'not compressed';
    like scalar <$curl>, qr/^:/, 'the comment comes at once';

    ok wait_for { streams() == 1 }, 'the stream is counted';

    my $id = publish('h2');
    my $big = publish('y' x 300000);
    my ($ids, $data) = ('', 0);

    while (my $line = <$curl>) {
        $ids .= $1 if $line =~ /^id: (.*)/;
        $data = length $line if $line =~ /^data: \["y/;
        last if $data;
    }

    is $ids, "$id$big", 'events arrive in order';
    is $data, 300000 + length("data: [\"\"]\n"), 'a large one whole';

    kill 'TERM', $pid;
    close $curl;
    ok wait_for { streams() == 0 }, 'its end is noticed';
}

$nginx->stop_ok;

done_testing;
