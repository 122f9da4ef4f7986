package BenchServer;

# Copyright (C) The nginx-broadcast authors
#
# The servers under measurement: their configuration, start and end.

use strict;
use warnings;

use Digest::SHA qw(hmac_sha256);
use IO::Socket::INET;
use List::Util qw(min);
use MIME::Base64 qw(encode_base64url);
use POSIX qw(:sys_wait_h);
use Time::HiRes qw(sleep time);

use BenchPlans;


# messages a request, where a publisher can batch them

my @batch = ('--batch', 100, '--batchers', 8);

# the first of five

my $ports = $ENV{BENCH_PORT} || free_ports(5);

my %peers = (
    floor => {
        port => $ports,
        load => [ '--path', '/', '--publish', '/', '--hop', '/hop',
                  '--greet' ],
    },
    floors => {
        port => $ports,
        load => [ '--path', '/', '--publish', '/' ],
    },
    nchan => {
        port => $ports + 1,
        load => [ '--path', '/subscribe', '--publish', '/publish',
                  '--hop', '/hop' ],
    },
    nats => {
        port => $ports + 3,
        load => [ '--path', '/', '--nats', $ports + 4, '--publishers', 1 ],
    },
    events => {
        port => $ports + 2,
        load => [ '--path', '/events/bench', '--publish', '/publish/bench',
                  '--status', '/status', '--hop', '/hop', @batch ],
    },
    hub => {
        port => $ports + 2,
        load => [ '--path', '/client?hub=bench',
                  '--publish', '/publish/bench',
                  '--status', '/status', '--signalr', '--hop', '/hop',
                  @batch ],
    },
    calls => {
        port => $ports + 2,
        load => [ '--path', '/client?hub=bench', '--signalr' ],
    },
    commits => {
        port => $ports + 2,
        load => [],
    },
);

$peers{lone} = $peers{hub};


# So many in a row that nobody has, below those that the kernel gives to clients.

sub free_ports {
    my ($n) = @_;

    for (1 .. 200) {
        my $first = 20000 + int rand 12000;
        my @free = grep {
            IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $_,
                                  Listen => 1)
        } $first .. $first + $n - 1;

        return $first if @free == $n;
    }

    die "no $n free ports in a row on 127.0.0.1\n";
}


# An answer of the hub's size, for the first hop of those that have none.

my $negotiated = '{"negotiateVersion":1,"connectionId":"' . 'A' x 22
    . '","connectionToken":"' . 'A' x 48 . '","availableTransports":['
    . '{"transport":"WebSockets","transferFormats":["Text","Binary"]},'
    . '{"transport":"ServerSentEvents","transferFormats":["Text"]},'
    . '{"transport":"LongPolling","transferFormats":["Text","Binary"]}]}';


# Dies with a sentence.

sub start {
    my ($class, $peer, $plan, $workers) = @_;

    $workers = 1 if $peer eq 'lone';

    my $self = bless {
        peer    => $peer,
        port    => $peers{$peer}{port},
        load    => [ '--port', $peers{$peer}{port}, @{$peers{$peer}{load}} ],
        folder  => "$ENV{BENCH_OUT}/$peer",
        workers => $workers,
        forks   => $peer =~ /^(?:floor|nats)$/ ? 0
                 : $peer eq 'floors' ? $workers - 1 : $workers,
    }, $class;

    if ($plan->{members} && $peer ne 'hub') {
        push @{$self->{load}}, '--join', '?group=';
    }

    if ($plan->{socket}) {
        $self->{socket} = $plan->{socket};
        push @{$self->{load}}, '--unix', $self->{socket};
    }

    if (connected($self->{port})) {
        die "port $self->{port} is in use: what listens there?\n";
    }

    my @floor = ("$ENV{BENCH_OUT}/floor", $self->{port});

    my @cmd = $peer eq 'floor'  ? @floor
            : $peer eq 'floors' ? (@floor, "processes=$workers")
            : $peer eq 'nats'   ? $self->nats($plan)
            :                     $self->nginx($plan);

    $self->{pid} = fork // die "fork: $!\n";

    if ($self->{pid} == 0) {
        open STDOUT, '>&', \*STDERR;
        exec { $cmd[0] } @cmd or POSIX::_exit(127);
    }

    for (1 .. 1200) {
        return $self if connected($self->{port})
                        && $self->children == $self->{forks};

        if (waitpid($self->{pid}, WNOHANG) == $self->{pid}) {
            undef $self->{pid};
            die "$peer did not start: " . $self->log_tail . "\n";
        }

        sleep 0.05;
    }

    $self->stop;
    die "$peer does not listen on port $self->{port}\n";
}


sub load_options { return @{$_[0]{load}} }

sub pids { return ($_[0]{pid}, $_[0]->children) }


sub children {
    my ($self) = @_;

    open my $f, '<', "/proc/$self->{pid}/task/$self->{pid}/children"
        or return ();

    return split ' ', <$f> // '';
}


sub stop {
    my ($self) = @_;

    return if !$self->{pid};

    kill 'TERM', $self->{pid};

    for (1 .. 200) {
        if (waitpid($self->{pid}, WNOHANG) != 0) {
            undef $self->{pid};
            return;
        }

        sleep 0.05;
    }

    kill 'KILL', $self->children, $self->{pid};
    waitpid $self->{pid}, 0;
    undef $self->{pid};

    return;
}


# A server that has logged an alert is not one to measure.

sub complaints {
    my ($self) = @_;

    open my $f, '<', "$self->{folder}/error.log" or return;

    while (my $line = <$f>) {
        return "$self->{peer} logged: $line"
            if $line =~ /\[(?:alert|emerg|crit|ERR|FTL)\]/;
    }

    return;
}


# The words of the status page.

sub status {
    my ($self) = @_;

    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                       PeerPort => $self->{port}, Timeout => 1)
        or return '';

    print $socket "GET /status HTTP/1.0\r\n\r\n";
    local $/;

    return <$socket> // '';
}


sub log_tail {
    my ($self) = @_;

    open my $f, '<', "$self->{folder}/error.log" or return 'no error log';
    my @lines = <$f>;

    return @lines ? $lines[-1] =~ s/\s+\z//r : 'the error log is empty';
}


# As it comes, but for a listener of WebSockets without TLS and room for all
# clients; as many threads run at a time as nginx has workers.

sub nats {
    my ($self, $plan) = @_;

    my $folder = $self->{folder};
    my $room = $plan->{clients} + 2048;

    mkdir $folder;
    unlink "$folder/error.log";

    open my $f, '>', "$folder/nats.conf" or die "$folder/nats.conf: $!\n";

    print $f <<"END";
listen: "127.0.0.1:@{[ $ports + 4 ]}"
max_connections: $room
log_file: "$folder/error.log"

websocket {
    listen: "127.0.0.1:$self->{port}"
    no_tls: true
}
END

    close $f or die "$folder/nats.conf: $!\n";

    return ('env', "GOMAXPROCS=$self->{workers}", $ENV{BENCH_NATS},
            '-c', "$folder/nats.conf");
}


# The same for both peers but for what is under measurement.

sub nginx {
    my ($self, $plan) = @_;

    my $folder = $self->{folder};
    my $room = $plan->{connections} || $plan->{clients} + 2048;
    my $descriptors = min($room + 512, BenchPlans::descriptors());
    my $reuseport = $plan->{shared} ? '' : 'reuseport';

    mkdir $folder;
    mkdir "$folder/temp";
    unlink "$folder/error.log";

    # as other programs' to the database

    my $listen = $self->{socket}
        ? qq{        listen unix:$self->{socket} backlog=4096;} : '';

    my ($load, $http, $server) = $self->{peer} eq 'nchan'
        ? nchan($plan) : $self->broadcast($plan);

    open my $f, '>', "$folder/nginx.conf" or die "$folder/nginx.conf: $!\n";

    print $f <<"END";
load_module "$load";

daemon off;
pid "$folder/nginx.pid";
error_log "$folder/error.log" error;
worker_processes $self->{workers};
worker_rlimit_nofile $descriptors;

events {
    worker_connections $room;
}

http {
    access_log off;
    keepalive_timeout 1h;
    keepalive_requests 1000000000;

    client_body_temp_path "$folder/temp";
    proxy_temp_path "$folder/temp";
    fastcgi_temp_path "$folder/temp";
    uwsgi_temp_path "$folder/temp";
    scgi_temp_path "$folder/temp";

$http
    server {
        listen 127.0.0.1:$self->{port} $reuseport backlog=4096;
$listen

        location = /hop {
            default_type application/json;
            return 200 '$negotiated';
        }

$server
    }
}
END

    close $f or die "$folder/nginx.conf: $!\n";

    # before 1.19.5 the first error log is the built-in one

    my @log = `$ENV{BENCH_NGINX} -h 2>&1` =~ /^\s+-e /m
        ? ('-e', "$folder/error.log") : ();

    return ($ENV{BENCH_NGINX}, '-p', $folder, '-c', "$folder/nginx.conf",
            @log);
}


# A history as ours has one, long enough that no subscriber can miss a message
# while publishers are at their fastest; a new subscriber begins at the newest.

sub nchan {
    my ($plan) = @_;

    my $channel = $plan->{members} ? '$arg_group' : 'bench';
    my $length = $plan->{members} ? 1000 : 10000;
    my $zone = zone($plan);

    return ($ENV{BENCH_NCHAN}, <<"HTTP", <<"SERVER");
    nchan_shared_memory_size $zone;
    nchan_message_buffer_length $length;
    nchan_message_timeout 1h;
HTTP
        location = /subscribe {
            nchan_subscriber websocket eventsource;
            nchan_channel_id $channel;
            nchan_subscriber_first_message newest;
        }

        location = /publish {
            nchan_publisher http;
            nchan_channel_id $channel;
        }
SERVER
}


sub zone { return $_[0]{zone} || '128m' }


sub broadcast {
    my ($self, $plan) = @_;

    my $folder = $self->{folder};
    my $key = secret();
    my $zone = zone($plan);

    secret_file("$folder/key", "$key\n");

    my $database = $plan->{database}
        ? qq{    broadcast_database "$plan->{database}" pool=$plan->{pool};}
          . ($plan->{source} ? "\n    broadcast_source $plan->{source};" : '')
        : '';

    if ($self->{peer} ne 'events') {
        secret_file("$folder/tokens",
                    join '', map { token($key, $_, $plan->{members}) . "\n" }
                                 0 .. $plan->{clients} - 1);

        push @{$self->{load}}, '--tokens', "$folder/tokens";
    }

    return ($ENV{BENCH_MODULE}, <<"HTTP", <<'SERVER');
    broadcast_zone bench $zone;
    broadcast_key "file=$folder/key";
$database
HTTP
        location /client {
            broadcast_hub;
        }

        location /events/ {
            broadcast_events anonymous;
        }

        location /publish/ {
            broadcast_publish;
        }

        location = /status {
            broadcast_status json;
        }
SERVER
}


sub secret {
    open my $f, '<:raw', '/dev/urandom' or die "/dev/urandom: $!\n";
    read $f, my $bytes, 32;

    return unpack 'H*', $bytes;
}


sub secret_file {
    my ($path, $text) = @_;

    my $mask = umask 077;
    unlink $path;
    open my $f, '>', $path or die "$path: $!\n";
    print $f $text;
    close $f or die "$path: $!\n";
    umask $mask;

    return;
}


sub token {
    my ($key, $n, $members) = @_;

    my $groups = $members ? sprintf ',"groups":["%d"]', $n / $members : '';
    my $input = encode_base64url('{"alg":"HS256","typ":"JWT"}') . '.'
        . encode_base64url(sprintf '{"aud":"http://127.0.0.1/client/?hub=bench"'
                           . ',"nameid":"user%d"%s,"exp":%d}', $n + 1, $groups,
                           time + 3600);

    return $input . '.' . encode_base64url(hmac_sha256($input, $key));
}


sub connected {
    my ($port) = @_;

    my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                       PeerPort => $port, Timeout => 1);

    return defined $socket;
}


sub machine {
    my ($kernel) = (POSIX::uname())[2];
    my ($busy, $all) = busy();

    open my $f, '<', '/proc/cpuinfo' or die "/proc/cpuinfo: $!\n";
    my @models = map { /^model name\s*:\s*(.*)/ ? $1 : () } <$f>;

    my ($nginx) = $ENV{BENCH_NGINX}
        ? `$ENV{BENCH_NGINX} -v 2>&1` =~ m{nginx/(\S+)} : ();
    my $package = "dpkg-query -W -f '\${Version}' libnginx-mod-nchan";
    my ($nchan) = `$package 2>/dev/null` =~ /^(?:\d+:)?([^+-]+)/;

    my ($nats) = $ENV{BENCH_NATS}
        ? `$ENV{BENCH_NATS} --version 2>&1` =~ /v(\d\S*)/ : ();

    return { cpu => $models[0] // 'unknown', cores => scalar @models,
             kernel => $kernel, nginx => $nginx // 'unknown',
             nchan => $nchan // 'unknown', nats => $nats // 'unknown',
             busy => $busy, all => $all };
}


# Ticks of a process, of those that it has waited for, and of its children.

sub spent {
    my ($pid) = @_;

    open my $f, '<', "/proc/$pid/task/$pid/children" or return 0;
    my $ticks = 0;

    for ($pid, split ' ', <$f> // '') {
        open my $stat, '<', "/proc/$_/stat" or next;
        my @words = split ' ', <$stat> =~ s/^.*\) //r;
        $ticks += $_ for @words[11 .. 14];
    }

    return $ticks;
}


# ticks of all cores, spent and elapsed

sub busy {
    open my $f, '<', '/proc/stat' or return (0, 0);

    my (undef, @ticks) = split ' ', <$f>;
    my $all = 0;
    $all += $_ for @ticks[0 .. 7];

    return ($all - $ticks[3] - $ticks[4], $all);
}


1;
