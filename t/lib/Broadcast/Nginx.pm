package Broadcast::Nginx;

# Copyright (C) The nginx-broadcast authors
#
# An nginx of its own in a folder of its own, with this checkout's module.
#
#   my $nginx = Broadcast::Nginx->new(
#       workers => 4,                    # 1
#       http    => 'broadcast_zone ...;',# inside http {}
#       server  => 'location ...',       # inside server {}, listens on port
#       main    => '',                   # before events {}
#       events  => '',                   # inside events {}
#       conf    => '...',                # or the whole file instead
#       tls     => 1,                    # a second listen, port('tls')
#       spread  => 1,                    # the kernel deals out connections
#       build   => 'debug',              # build/debug/...so; or sanitize
#       module  => '/path.so',           # or this file; '' loads none
#       log     => 'info',               # level of the error log
#       user    => 'www-data',           # of the workers, if we are root
#       daemon  => 1,                    # no child of ours; upgrade needs it
#       env     => { },
#       dir     => '/folder',            # instead of a temporary one
#   );
#
#   $nginx->start;                       # dies with the log if it does not
#   $nginx->reload; $nginx->upgrade; $nginx->crash; $nginx->behead;
#   $nginx->leads                        # database and relay are there
#   $nginx->port, $nginx->port('name')   # free ports, %%PORT%%, %%PORT name%%
#   $nginx->stop_ok;                     # a check: ends, with a clean log
#
# In all texts %%DIR%% is the folder.  BROADCAST_BUILD chooses the build for a
# whole test run, BROADCAST_KEEP=1 keeps the folder.

use strict;
use warnings;

use Cwd ();
use Exporter 'import';
use File::Basename ();
use File::Path ();
use File::Temp ();
use IO::Socket::INET ();
use POSIX ();
use Test::More ();

use Broadcast::HTTP ();
use Broadcast::Servers ();
use Broadcast::Wait qw(wait_for free_port spawn reap gone slurp);

use parent qw(Broadcast::Nginx::Conf Broadcast::Nginx::Process);

our @EXPORT_OK = qw(wait_for free_port);

my $top = Cwd::abs_path(File::Basename::dirname(__FILE__) . '/../../..');
my $owner = $$;


sub top { $top }


sub new {
    my ($class, %o) = @_;

    my $self = bless {
        workers => 1, log => 'info', main => '', events => '', http => '',
        server => '', ports => {}, allowed => [], env => {}, pids => [],
        binary => $ENV{TEST_NGINX_BINARY} || 'nginx',
        build => $ENV{BROADCAST_BUILD} // '',
        %o,
    }, $class;

    $self->{module} //= join '/', $top, 'build',
        ($self->{build} eq '' ? () : $self->{build}),
        'ngx_http_broadcast_module.so';

    if (defined $self->{dir}) {
        $self->{keep} = 1;
        File::Path::make_path($self->{dir});
    } else {
        $self->{dir} = File::Temp::tempdir('broadcast-nginx-XXXXXX',
                                           TMPDIR => 1);
    }

    chmod 0755, $self->{dir};
    mkdir "$self->{dir}/html";

    if ($self->{build} =~ /sanitize/) {
        for (split /\n/, slurp("$top/build/sanitize.env") // '') {
            my ($name, $value) = split /=/, $_, 2;
            $self->{env}{$name} //= $value;
        }
    }

    $self->make_certificate if $self->{tls};
    $self->configure;

    Broadcast::Servers::add($self);

    return $self;
}


sub dir { $_[0]{dir} }
sub name { join ' ', 'nginx, port', sort values %{ $_[0]{ports} } }
sub pid { $_[0]{pid} }


sub port {
    my ($self, $name) = @_;

    return $self->{ports}{ $name // '' } //= free_port();
}


# Writes nginx.conf, from new texts if given; takes effect by start or reload.

sub configure {
    my ($self, %o) = @_;

    $self->{$_} = $o{$_} for keys %o;

    my $conf = $self->{conf} // $self->standard_conf;

    $conf =~ s/%%PORT(?: (\w+))?%%/$self->port($1)/ge;
    $conf =~ s/%%DIR%%/$self->{dir}/g;

    $self->write('nginx.conf', $conf);
}


sub write {
    my ($self, $name, $text) = @_;

    File::Path::make_path(File::Basename::dirname("$self->{dir}/$name"));
    open my $f, '>:raw', "$self->{dir}/$name" or die "$name: $!\n";
    print $f $text;
    close $f;
}


# nginx -t: (ok, words)

sub test {
    my ($self) = @_;

    my $log = "$self->{dir}/test.log";
    unlink $log;

    my $pid = spawn(command => [ $self->command, '-t' ], log => $log,
                    env => $self->{env});
    reap($pid, 60) or kill 'KILL', $pid;

    return ($? == 0, slurp($log));
}


sub command {
    my ($self) = @_;

    # a master that is to start another one needs a path

    my ($binary) = grep { -x } $self->{binary} =~ m{/} ? $self->{binary}
                   : map { "$_/$self->{binary}" } split(/:/, $ENV{PATH}),
                                                  '/usr/sbin';

    return ($binary // $self->{binary}, '-p', "$self->{dir}/", '-c',
            "$self->{dir}/nginx.conf", '-e', "$self->{dir}/error.log");
}


# Starts, and waits until all workers run.

sub start {
    my ($self) = @_;

    die "already started\n" if $self->{pid};

    $self->{pid} = spawn(command => [ $self->command ],
                         log => "$self->{dir}/stderr.log",
                         env => $self->{env});

    $self->daemonized if $self->{daemon};

    wait_for {
        if (!$self->{daemon}
            && waitpid($self->{pid}, POSIX::WNOHANG()) != 0)
        {
            $self->{pid} = undef;
            die "nginx did not start:\n" . $self->words;
        }
        $self->workers == $self->{workers} && $self->listens;
    } 60
        or die "nginx is not ready after 60 s:\n" . $self->words;

    push @{ $self->{pids} }, $self->{pid};

    return $self;
}


# What was started ends when the master is there, which is no child of ours.

sub daemonized {
    my ($self) = @_;

    my $pid = delete $self->{pid};
    reap($pid, 60);

    die "nginx did not start:\n" . $self->words if $? != 0;

    $self->{pid} = wait_for {
        (slurp("$self->{dir}/nginx.pid") // '') =~ /^(\d+)$/m && $1;
    } 10
        or die "nginx has no pid:\n" . $self->words;
}


# True if each of our ports takes a connection.  A port that the configuration
# does not mention is not ours.

sub listens {
    my ($self) = @_;
    my $conf = slurp("$self->{dir}/nginx.conf");

    for my $port (values %{ $self->{ports} }) {
        next unless $conf =~ /listen\s+(?:127\.0\.0\.1:)?$port\b(?!.*quic)/;
        IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port)
            or return 0;
    }

    return 1;
}


# Reloads; returns when the new workers run.  The old ones may go on.

sub reload {
    my ($self, %o) = @_;

    $self->configure(%o);

    my %old = map { $_ => 1 } $self->workers(1);
    my $mark = length $self->error_log;

    kill 'HUP', $self->{pid};

    return wait_for {
        die "reload failed:\n" . substr($self->error_log, $mark)
            if substr($self->error_log, $mark) =~ /\[emerg\]/;
        my @new = $self->workers;
        @new == $self->{workers} && !grep { $old{$_} } @new;
    } $o{seconds} // 30;
}


# Starts a second master from the binary (USR2), and returns when the workers
# of both run; the old one's pid, which is the caller's to end.  From now on the
# second one is ours.

sub upgrade {
    my ($self) = @_;

    my $old = $self->{pid};
    kill 'USR2', $old;

    my $new = wait_for {
        my $pid = slurp("$self->{dir}/nginx.pid") // '';
        $pid =~ /^(\d+)$/m && $1 != $old && $1;
    } 30
        or die "no second master:\n" . $self->tail;

    $self->{pid} = $new;

    wait_for { $self->workers == $self->{workers} } 30
        or die "the second master is not ready:\n" . $self->tail;

    return $old;
}


# The same, with both: an object of its own for the second master, with the same
# ports and folder.

sub second {
    my ($self) = @_;

    my $next = bless { %$self, keep => 1 }, ref $self;
    Broadcast::Servers::add($next);
    $next->upgrade;

    return $next;
}


# A line that the log may hold at stop though it is an alert.

sub allow {
    my ($self, @patterns) = @_;

    push @{ $self->{allowed} }, @patterns;
}


# The status page at /status, and what it says of the database.

sub status {
    my ($self) = @_;

    return Broadcast::HTTP::http($self->port, 'GET',
                                 '/status?format=json')->{json};
}


sub database { $_[0]->status->{database} }


# Waits until the database is up, and this node's relay numbers for all.

sub leads {
    my ($self, $seconds) = @_;

    return wait_for {
        my $db = $self->database;
        $db->{state} eq 'up' && $db->{relay} eq 'leader';
    } $seconds // 15;
}


sub error_log  { slurp("$_[0]{dir}/error.log") // '' }
sub access_log { slurp("$_[0]{dir}/access.log") // '' }


sub words {
    my ($self) = @_;

    return join '', map { slurp("$self->{dir}/$_") // '' }
                    'stderr.log', 'error.log';
}


# Waits for a line of the error log; its match.

sub wait_log {
    my ($self, $pattern, $seconds) = @_;

    return wait_for { $self->error_log =~ $pattern ? $& : undef } $seconds;
}


# Lines of the logs that no test may leave behind.

sub complaints {
    my ($self) = @_;

    my @lines = grep {
        /\[(?:alert|emerg)\]|AddressSanitizer|LeakSanitizer|runtime error:
         |open\ socket/x
    } split /\n/, $self->words;

    for my $pattern (@{ $self->{allowed} }) {
        @lines = grep { !/$pattern/ } @lines;
    }

    return @lines;
}


# Ends nginx gracefully, or by TERM after the given seconds; a list of what was
# wrong.  stop(signal => 'TERM') for tests that leave clients connected.

sub stop {
    my ($self, %o) = @_;

    my $pid = $self->{pid} or return $self->complaints;
    my @wrong;

    kill $o{signal} // 'QUIT', $pid;

    unless (gone($pid, $o{seconds} // 60)) {
        push @wrong, 'nginx did not end in time';
        my @all = ($self->workers(1), $pid);
        kill 'TERM', $pid;
        unless (gone($pid, 10)) {
            kill 'KILL', @all;
            gone($pid, 10);
        }
    }

    # -1: a master that an upgrade has made is no child of ours

    push @wrong, 'nginx ended with status ' . ($? >> 8 || "signal $?")
        if $? != 0 && $? != -1 && !$o{crash};

    $self->{pid} = undef;

    return (@wrong, $self->complaints);
}


sub stop_ok {
    my ($self, %o) = @_;

    my @wrong = $self->stop(%o);

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $ok = Test::More::is_deeply(\@wrong, [],
        $o{name} // 'nginx ends, its log without alerts');

    Test::More::diag($self->tail) unless $ok;

    return $ok;
}


# The last lines of the log, for a diagnosis.

sub tail {
    my ($self, $lines) = @_;
    my @all = split /\n/, $self->words;

    $lines //= 40;
    splice @all, 0, @all - $lines if @all > $lines;

    return join "\n", @all;
}


sub DESTROY {
    my ($self) = @_;

    return if $$ != $owner;

    local ($?, $!, $@);
    Broadcast::Servers::gone($self);
    $self->stop(signal => 'TERM', seconds => 5) if $self->{pid};
    File::Path::remove_tree($self->{dir})
        unless $self->{keep} || $ENV{BROADCAST_KEEP};
}


1;
