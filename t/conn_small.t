#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# What an idle client occupies: the pages of the worker and of the zone, told
# by the kernel, at a fifth of the clients and at all of them.  A request, a
# pool or a buffer that is kept for each would be seen.  And what is still
# known of a client whose request and pool have gone: its address in the log,
# its place in nginx's count of connections.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use Test::More;

use Broadcast::HTTP qw(http);
use Broadcast::Nginx qw(wait_for);
use Broadcast::Plain;
use Broadcast::Wait qw(slurp);

use constant ALL => 2000;

my $nginx;

# what another kind of clients has given back would be used again

sub fresh {
    $nginx->stop_ok if $nginx;

    $nginx = Broadcast::Nginx->new(
        http => <<'END',
    broadcast_zone test 64m;
    server {
        listen 127.0.0.1:%%PORT real%%;
        set_real_ip_from 127.0.0.1;
        location /events/ { broadcast_events anonymous; }
    }
END
        server => <<'END');
        location /events/ { broadcast_events anonymous; }
        location /status { broadcast_status json; }
        location /active { stub_status; }
END

    $nginx->start or BAIL_OUT('nginx does not start: ' . $nginx->error_log);
}


sub occupied {
    my ($worker) = $nginx->workers(1);
    my $text = slurp("/proc/$worker/smaps_rollup") // return;
    my $kb = 0;

    $kb += $_ for $text =~ /^Pss_(?:Anon|Shmem):\s+(\d+) kB$/mg;

    return 1024 * $kb;
}

sub active {
    my $body = http($nginx->port, GET => '/active')->{body} // '';
    return $body =~ /: (\d+)/ ? $1 : -1;
}

sub settled { my $n = shift; return wait_for { active() == 1 + $n } 10 }


# Each is connected when its answer's first bytes were read.

sub clients {
    my ($n, $upgrade) = @_;
    my @clients;

    for (1 .. $n) {
        my $client = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
            PeerPort => $nginx->port) or die "connect: $!\n";

        print $client "GET /events/chat HTTP/1.1\r\nHost: a\r\n$upgrade\r\n";
        sysread $client, my $answer, 4096;
        $answer =~ m{^HTTP/1\.1 (?:101|200) } or die $answer;

        push @clients, $client;
    }

    return @clients;
}


my %kinds = (
    WebSocket => [ 1536, "Connection: Upgrade\r\nUpgrade: websocket\r\n"
        . "Sec-WebSocket-Version: 13\r\n"
        . "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" ],
    'event stream' => [ 2560, "Accept: text/event-stream\r\n" ],
);

for my $kind (sort keys %kinds) {
    my ($limit, $upgrade) = @{ $kinds{$kind} };

    fresh();

    my @clients = clients(ALL / 5, $upgrade);
    ok(settled(ALL / 5), "$kind: a fifth of all is connected");

    my $before = occupied();

    push @clients, clients(ALL - ALL / 5, $upgrade);
    ok(settled(ALL), '... and the rest');

    # sanitizers keep more of everything

    if ($nginx->{build} !~ /sanitize/) {
        my $each = (occupied() - $before) / (ALL - ALL / 5);

        note "$each bytes";
        cmp_ok($each, '<', $limit,
               "... of which each occupies less than $limit bytes");
        cmp_ok($each, '>', 300, '... though not nothing');
    }

    close $_ for @clients;
    ok(settled(0), '... and nginx counts none when they have gone');
}


# --- the log -----------------------------------------------------------------

my $plain = Broadcast::Plain->connect($nginx->port, '/events/chat');
my $port = $nginx->port('real');
my $line = qr/invalid frame: .* while serving broadcast client, /;

$plain->write("\xff\xff\xff\xff");

ok($nginx->wait_log(qr/${line}client: 127\.0\.0\.1, server: 127\.0\.0\.1:/),
   'a line about a client that was taken over names it and its server')
    or diag $nginx->error_log;


# realip gives the address back with the request, a longer one for a shorter

my $real = Broadcast::Plain->connect($port, '/events/chat',
    headers => [ 'X-Real-IP' => '1.1.1.1' ]);

$real->write("\xff\xff\xff\xff");

ok($nginx->wait_log(qr/broadcast client closed: .*client: 1\.1\.1\.1\b/),
   'the end of a client tells the address that a proxy gave')
    or diag $nginx->error_log;
ok($nginx->wait_log(qr/${line}client: 127\.0\.0\.1, server: .*:$port/),
   'a line about its socket the one that it has')
    or diag $nginx->error_log;

$nginx->stop_ok;

done_testing();
