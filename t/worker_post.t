#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# What a client POSTs to a connection whose worker is dead: it is told so at
# once, also where nobody has swept that worker's connections yet.  The official
# client takes the answer to its first ping for the sign that it is connected,
# and overlooks an end that it was told of meanwhile: with a 200 it would wait
# for ever.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP;
use Test::More;

use Broadcast::HTTP qw(http worker_at);
use Broadcast::Nginx qw(wait_for);
use Broadcast::SSE;

my $nginx = Broadcast::Nginx->new(
    workers => 2,
    http    => 'broadcast_zone hubs 4m;',
    server  => <<'EOS')->start;
        location = /pid   { return 200 $pid; }
        location /client  { broadcast_hub anonymous; }
EOS

my $port = $nginx->port;
my ($his, $other) = $nginx->workers;

my $token = http($port, 'POST', '/client/negotiate?hub=chat&negotiateVersion=1')
                ->{json}{connectionToken};
my $sse = Broadcast::SSE->connect($port, "/client?hub=chat&id=$token",
                                  on => worker_at($port, '/pid', $his));
my $post = worker_at($port, '/pid', $other);

sub posts {
    my ($record) = @_;

    $post->request('POST', "/client?hub=chat&id=$token", keepalive => 1,
                   headers => [ 'Content-Type' => 'text/plain' ],
                   body => encode_json($record) . "\x1e");

    my $r = $post->head;
    $post->body($r);
    return "$r->{status} $r->{body}";
}

is(posts({ protocol => 'json', version => 1 }), '200 ',
   'what comes to another worker is taken');
is($sse->event->{data}, "{}\x1e", '... and answered by the stream');
is(posts({ type => 6 }), '200 ', '... as is a ping');

# without a master there is no new worker, which would sweep

$nginx->behead;
kill 'KILL', $his;
is($sse->event, undef, 'the worker is killed, its stream ends');
is(posts({ type => 6 }), '404 No Connection with that ID',
   '... and a ping right behind that is refused');

kill 'QUIT', $other;
ok((wait_for { !kill 0, $other } 20), 'the other worker ends');
is_deeply([ $nginx->complaints ], [], 'the log is without alerts');

done_testing();
