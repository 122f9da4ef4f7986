#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# NATS as a peer of the measuring command, and publishers that batch: both have
# figures, and a stream of NATS's that misses a message, or has one twice,
# fails the run instead of being measured.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Temp qw(tempdir);
use IO::Select;
use IO::Socket::INET;
use JSON::PP;
use POSIX ();
use Test::More;

use Broadcast::Wait qw(free_port slurp wait_for);

my ($websocket, $publishers, $proxied) = map { free_port() } 1 .. 3;

my $top = "$FindBin::Bin/..";
my $tmp = tempdir(CLEANUP => 1);
my %pids;

$ENV{PATH} .= ':/usr/sbin:/sbin';

my $version = `nats-server --version 2>&1`
    or plan skip_all => 'no nats-server: Debian has it in nats-server';

END { local $?; kill 'TERM', keys %pids if %pids }


my $text = `$top/util/bench --only floor,nats,events --smoke --clients 20 \\
            --json $tmp/bench.json 2>$tmp/bench.log`;

is($?, 0, 'a run succeeds') or diag(slurp("$tmp/bench.log"));

like($text, qr/^20 clients, paced at 20\/s +floor +NATS +events /m,
     'NATS has a column');
like($text, qr/^paced, server CPU per delivery, us +(?:~?\d+\.\d+ +){3}/m,
     'its paced delivery has a figure');
like($text, qr/^idle client, user space, bytes +~?\d+ +~?\d+ +~?\d+/m,
     'its idle client has one');
like($text, qr/^batched, deliveries per second +(?:~?\d+ +){3}/m,
     'batched publishing has one');

my ($words) = $version =~ /v(\d\S*)/;
like($text, qr/NATS \Q$words\E/, 'the notes tell of its version');

my $runs = decode_json(slurp("$tmp/bench.json") // '{}')->{plans}[0]{runs};

is($runs->{events}[0]{batched}{messages} % 100, 0,
   'batches have a hundred messages');
cmp_ok($runs->{events}[0]{batched}{messages}, '>', 0, 'some were published');
cmp_ok($runs->{nats}[0]{saturated}{messages}, '>', 1000,
       'the one publisher of NATS waits for nothing');


# the load generator's own alarm

nats();

for my $case ([ none  => undef ],
              [ lose  => qr/^lost: 1 of \d+ deliveries/ ],
              [ twice => qr/^client \d+ (?:got \d+ of|saw another|got message) /
              ]) {

    my ($fault, $sentence) = @$case;

    my $proxy = proxy($fault);

    my $out = `$top/build/bench/load --port $proxied --path / \\
               --nats $publishers --pids $$ --clients 10 --rate 100 \\
               --paced 500 --patience @{[ $fault eq 'lose' ? 2 : 30 ]}`;

    my $status = $? >> 8;
    my $error = decode_json($out)->{error};

    if ($sentence) {
        is($status, 1, "$fault: the load generator fails");
        like($error, $sentence, "$fault: it says so");

    } else {
        is($status, 0, 'behind a proxy that changes nothing it does not')
            or diag($out);
    }

    kill 'TERM', $proxy;
    waitpid $proxy, 0;
    delete $pids{$proxy};
}

done_testing();


sub nats {
    open my $f, '>', "$tmp/nats.conf" or die "$tmp/nats.conf: $!";
    print $f "listen: \"127.0.0.1:$publishers\"\n",
             "websocket { listen: \"127.0.0.1:$websocket\", no_tls: true }\n";
    close $f or die "$tmp/nats.conf: $!";

    my $pid = fork // die "fork: $!";

    if ($pid == 0) {
        open STDERR, '>', "$tmp/nats.log";
        exec 'nats-server', '-c', "$tmp/nats.conf" or POSIX::_exit(127);
    }

    $pids{$pid} = 1;

    listens($websocket) && listens($publishers)
        or BAIL_OUT('NATS does not listen: ' . slurp("$tmp/nats.log"));

    return;
}


# Between the subscribers and NATS.  Of its frames the first one behind 100
# messages that brings a single message is not passed on, or passed on twice; one
# may bring more where the machine is slow.

sub proxy {
    my ($fault) = @_;

    my $listen = IO::Socket::INET->new(Listen => 64, ReuseAddr => 1,
                                       LocalAddr => '127.0.0.1',
                                       LocalPort => $proxied)
        or die "port $proxied: $!";

    my $pid = fork // die "fork: $!";

    if ($pid) {
        $pids{$pid} = 1;
        return $pid;
    }

    $SIG{TERM} = sub { POSIX::_exit(0) };

    my $set = IO::Select->new($listen);
    my (%other, %server);
    my ($messages, $done, %frames) = (0);

    while (1) {
        for my $from ($set->can_read) {

            if ($from == $listen) {
                my $client = $listen->accept;
                my $server = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                                   PeerPort => $websocket);

                $server{$server} = 1;
                $other{$client} = $server;
                $other{$server} = $client;
                $set->add($client, $server);
                next;
            }

            my $to = $other{$from};

            if (!sysread $from, my $bytes, 65536) {
                $set->remove($from, $to);
                close $_ for $from, $to;
                next;

            } else {
                if (!$server{$from}) {
                    syswrite $to, $bytes;
                    next;
                }

                $frames{$from} .= $bytes;

                for (whole($frames{$from})) {
                    my $n = () = /MSG /g;
                    my $times = 1;

                    if (($messages += $n) > 100 && $n == 1 && !$done) {
                        $done = 1;
                        $times = $fault eq 'lose' ? 0
                                 : $fault eq 'twice' ? 2 : 1;
                    }

                    syswrite $to, $_ x $times;
                }
            }
        }
    }
}


# Takes the whole frames off what a server has sent, and its answer to the
# upgrade as if that were one.

sub whole {
    my @frames;

    push @frames, $1 while $_[0] =~ s/\A(HTTP.*?\r\n\r\n)//s;

    while (length $_[0] >= 2 && $_[0] !~ /\AHTTP/) {
        my $n = ord(substr $_[0], 1) & 127;
        my $head = $n == 127 ? 10 : $n == 126 ? 4 : 2;
        last if length $_[0] < $head;

        $n = unpack $n == 127 ? 'Q>' : 'n', substr $_[0], 2 if $n > 125;
        last if length $_[0] < $head + $n;

        push @frames, substr $_[0], 0, $head + $n, '';
    }

    return @frames;
}


sub listens {
    my ($port) = @_;

    return wait_for {
        IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port)
    };
}
