#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# Any role may write to the WAL, hundreds of megabytes in one message.  A turn
# of the worker that reads them takes a slice, whatever there is in the socket,
# and what is not for it is kept nowhere.  libpq would have read on in one call
# for as long as the server is quick enough, into a buffer of that size.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Temp ();
use POSIX ();
use Test::More;

use Broadcast::HTTP qw(http);
use Broadcast::Nginx qw(wait_for);
use Broadcast::Postgres;
use Broadcast::SSE;
use Broadcast::Wait qw(slurp);

use constant SLICE => 262144;       # NGX_BROADCAST_WAL_SLICE
use constant LARGE => 64 << 20;

my $dir = File::Temp->newdir;
my $pg = Broadcast::Postgres->new(tcp => 1,
    conf => { wal_level => 'logical', ssl => 'on',
              ssl_cert_file => "$dir/crt", ssl_key_file => "$dir/key" },
    stopped => 1);

system("openssl req -x509 -newkey rsa:2048 -nodes -days 2 -batch"
       . " -subj /CN=localhost -keyout $dir/key -out $dir/crt"
       . " >$dir/log 2>&1") == 0 or die "openssl\n";
chmod 0755, "$dir";

if ($> == 0) {
    my ($uid, $gid) = (getpwnam 'postgres')[2, 3];
    chown $uid, $gid, "$dir/key";
}

$pg->start;
$pg->createdb('app', 'app');
$pg->psql('alter role app replication; create role other login');

my @at = (db => 'app', user => 'app');
my @other = (db => 'app', user => 'other');

$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);
$pg->psql(q{update broadcast.setting set value = '15728640'
             where name = 'message_size'}, @at);

my %by = (
    'a socket' => $pg->conninfo('app', 'app'),
    'TLS' => 'host=127.0.0.1 port=' . $pg->port
             . ' dbname=app user=app sslmode=require',
);

for my $way (sort keys %by) {
    subtest $way => sub { by($by{$way}) };
}

done_testing();


sub by {
    my ($conninfo) = @_;

    my $nginx = Broadcast::Nginx->new(
        workers => 1,
        http    => "broadcast_zone hubs 128m; broadcast_database \"$conninfo\""
                 . ' timeout=30s; broadcast_source wal;',
        server  => <<'EOC')->start;
        location /events/  { broadcast_events anonymous; broadcast_queue 32m; }
        location = /status { broadcast_status; }
EOC

    my ($worker) = $nginx->workers;
    my $port = $nginx->port;

    my $status = sub {
        http($port, 'GET', '/status?format=json', timeout => 60)
            ->{json}{database}
    };
    my $peak = sub { (slurp("/proc/$worker/status") =~ /VmHWM:\s+(\d+)/)[0] };

    ok(wait_for(sub {
        my $db = $status->();
        $db->{source} eq 'wal' && $db->{relay} eq 'leader'
    }), 'the relay reads the WAL') or diag($nginx->tail);

    my $sse = Broadcast::SSE->connect($port, '/events/chat', timeout => 60);

    # ours, of several slices

    $pg->psql(q{select broadcast.send_all('chat', 'ours',
                    jsonb_build_array(repeat('ü', 3 << 20)))}, @at);
    is(length $sse->event(60)->{data}, (6 << 20) + 4,
       'a message of some megabytes comes');

    my $before = $status->()->{wal_left_out};

    # what cannot be ours, which shows at its end only, or in the middle

    $pg->psql(q{
        select pg_logical_emit_message(true, 'broadcast',
            convert_to(repeat('x', 1 << 20), 'UTF8') || '\xc3'::bytea);
        select pg_logical_emit_message(true, 'broadcast',
            convert_to(repeat('x', 1 << 19), 'UTF8') || '\x00'::bytea
            || convert_to(repeat('x', 1 << 19), 'UTF8'));
        select pg_logical_emit_message(true, repeat('p', 100),
            repeat('x', 1 << 20));
        select pg_logical_emit_message(true, 'broadcasts',
            repeat('x', 1 << 20));
        select pg_logical_emit_message(false, 'broadcast',
            repeat('x', 1 << 20));
        select pg_logical_emit_message(true, 'broadcast',
            repeat('x', (16 << 20) + 1))}, @other);
    $pg->psql(q{select broadcast.send_all('chat', 'next', '[]')}, @at);

    is($sse->event(60)->{event}, 'next', 'large ones of others are passed over');
    is($status->()->{wal_left_out} - $before, 3,
       '... those are counted that have our prefix');

    my $kept = $peak->();
    my $trace = traced($worker, sub {
        $pg->psql("select pg_logical_emit_message(true, 'broadcast',
                                                  repeat('x', ${\LARGE}))",
                  @other);
        $pg->psql(q{select broadcast.send_all('chat', 'behind', '[]')}, @at);

        is($sse->event(120)->{event}, 'behind',
           'what comes behind much of others comes');
    });

    is($status->()->{wal_left_out} - $before, 4, '... which are left out');
    cmp_ok($peak->() - $kept, '<', LARGE / 1024 / 4, '... and kept nowhere');

    SKIP: {
        skip 'nobody may trace', 2 unless defined $trace;

        my ($all, $most) = turns($trace);

        cmp_ok($all, '>=', LARGE, '... all of them were read');
        cmp_ok($most, '<', 1.5 * SLICE, '... in turns of a slice each');
    }

    $nginx->stop_ok(signal => 'TERM');
}


# What the process read and when it waited for events, or undef.

sub traced {
    my ($pid, $what) = @_;

    my $out = File::Temp->new;
    my $strace = Broadcast::Wait::spawn(
        command => [ 'strace', '-qq', '-s', '0', '-o', "$out",
                     '-e', 'trace=recvfrom,read,epoll_wait', '-p', $pid ]);

    my $traced = wait_for {
        waitpid($strace, POSIX::WNOHANG()) == 0 or return -1;
        (slurp("/proc/$pid/status") // '') =~ /^TracerPid:\s+$strace$/m;
    } 10;

    $what->();

    return undef if !$traced || $traced < 0;

    kill 'INT', $strace;
    Broadcast::Wait::reap($strace, 10);

    return slurp("$out");
}


# All bytes, and the most of a turn.

sub turns {
    my ($trace) = @_;
    my ($all, $most, $turn) = (0, 0, 0);

    for (split /\n/, $trace) {
        if (/^epoll_wait\(/) {
            $turn = 0;

        } elsif (/^(?:recvfrom|read)\(.* = (\d+)$/) {
            $all += $1;
            $turn += $1;
            $most = $turn if $turn > $most;
        }
    }

    return ($all, $most);
}
