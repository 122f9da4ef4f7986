#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# The database is reached by TLS of somebody between, whose records are as
# large as they may be: libpq takes one in two parts, and the second is there
# without any event.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Temp ();
use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;
use Test::More;
use Time::HiRes qw(time);

use Broadcast::HTTP qw(http);
use Broadcast::Nginx qw(wait_for);
use Broadcast::Postgres;
use Broadcast::SSE;

plan skip_all => 'no IO::Socket::SSL' unless eval { require IO::Socket::SSL };

my $pg = Broadcast::Postgres->new;
$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", db => 'app', user => 'app');

my $dir = File::Temp->newdir;
system("openssl req -x509 -newkey rsa:2048 -nodes -days 2 -batch"
       . " -subj /CN=localhost -keyout $dir/key -out $dir/crt"
       . " >$dir/log 2>&1") == 0 or die "openssl\n";

my $door = IO::Socket::INET->new(Listen => 64, LocalAddr => '127.0.0.1')
    or die "listen: $!\n";

my $owner = $$;
my $between = fork // die "fork: $!\n";

if ($between == 0) {
    setpgrp;
    $SIG{TERM} = 'DEFAULT';
    $SIG{CHLD} = 'IGNORE';

    while (1) {
        my $c = $door->accept or next;
        my $pid = fork;
        if (defined $pid && $pid == 0) {
            eval { between($c) };
            POSIX::_exit(0);
        }
    }
}

END { kill 'TERM', -$between if $between && $$ == $owner }

# What the server says within some milliseconds is said in few records.

sub between {
    my ($c) = @_;

    sysread $c, my $asks, 8;
    syswrite $c, 'S';

    my $tls = IO::Socket::SSL->start_SSL($c, SSL_server => 1,
        SSL_cert_file => "$dir/crt", SSL_key_file => "$dir/key") or return;
    my $server = IO::Socket::UNIX->new($pg->dir . '/.s.PGSQL.' . $pg->port)
        or return;
    my $both = IO::Select->new($tls, $server);
    my $only = IO::Select->new($server);

    while (1) {
        my @ready = $tls->pending ? ($tls) : $both->can_read;

        for (@ready) {
            my $from = $_ == $server ? $server : $tls;
            sysread $from, my $bytes, 16384 or return;

            if ($from == $tls) {
                syswrite $server, $bytes;
                next;
            }

            while ($only->can_read(0.01)) {
                sysread $server, $bytes, 16384, length $bytes or last;
            }

            while (length $bytes) {
                my $n = syswrite $tls, $bytes, 16384;
                substr($bytes, 0, $n) = '';
            }
        }
    }
}

my $nginx = Broadcast::Nginx->new(
    http    => 'broadcast_zone hubs 64m; broadcast_database "host=127.0.0.1'
             . ' port=' . $door->sockport . ' dbname=app user=app'
             . ' gssencmode=disable sslmode=require" timeout=3s;',
    server  => <<'EOC')->start;
        location /events/  { broadcast_events anonymous; }
        location = /status { broadcast_status; }
EOC

my $port = $nginx->port;

ok((wait_for {
        http($port, 'GET', '/status?format=json')->{json}{database}{relay}
            eq 'leader' } 15), 'the relay leads, by TLS');

my $sse = Broadcast::SSE->connect($port, '/events/chat');

# five rows are two records, and libpq has room for a part of the second one

sub late {
    my $late = 0;

    for my $n (1 .. 12) {
        my $len = 5500 + $n * 50;

        $pg->psql("select count(broadcast.send_all('chat', 'm',
                       jsonb_build_array(repeat('x', $len))))
                     from generate_series(1, 5)", db => 'app', user => 'app');

        my $sent = time;
        $sse->event for 1 .. 5;
        $late++ if time - $sent > 0.7;
    }

    return $late;
}

# a machine may make answers late as well, though not each time

my @late;

do { push @late, late() } until $late[-1] <= 6 || @late == 5;

cmp_ok($late[-1], '<=', 6, 'no answer waits for the next one, a second later')
    or diag("@late of 12 did");

$nginx->stop_ok(signal => 'TERM');

done_testing();
