#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# The set-up that README.md begins with, exactly as a user types it, in a clean
# copy of the tree: as root, as root in a copy that other users cannot enter,
# and as a user without sudo.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Cwd qw(abs_path);
use File::Path qw(remove_tree);
use File::Temp qw(tempdir);
use JSON::PP;
use Test::More;
use Time::HiRes qw(time);

use Broadcast::HTTP qw(http);
use Broadcast::SSE;
use Broadcast::Wait qw(wait_for free_port slurp become cmdline);

my $top = abs_path("$FindBin::Bin/..");
my $base = tempdir('broadcast-demo-XXXXXX', TMPDIR => 1);
my $clone = "$base/clone";
my $owner = $$;

chmod 0755, $base;

END {
    if ($$ == $owner) {
        local $?;
        system("$clone/util/demo --stop >/dev/null 2>&1") if -d $clone;
        remove_tree($base);
    }
}

# what a clone has: the files that git knows, as they stand here

mkdir $clone or die "$clone: $!";
system("cd $top && git ls-files -z --cached --others --exclude-standard"
       . " | tar -c --null --ignore-failed-read -T - 2>/dev/null"
       . " | tar -x -C $clone") == 0 or die "cannot copy the tree";

my @commands = readme();

is_deeply(\@commands, [ 'util/build', 'util/demo' ],
          'README.md begins with two commands') or BAIL_OUT('README.md');

my $began = time;

if ($> == 0) {
    subtest 'as root' => sub { demo(undef) };

    cmp_ok(time - $began, '<', 600, 'the first time takes under 10 minutes');

    chmod 0700, $clone;
    chmod 0700, $base;
    subtest 'as root, in a clone that others cannot enter'
        => sub { demo(undef) };
    chmod 0755, $base;

    system("chown -R nobody: $clone") == 0 or die;
    subtest 'as a user, in a clone of his own' => sub { demo('nobody') };

} else {
    subtest 'as a user' => sub { demo(undef) };
    cmp_ok(time - $began, '<', 600, 'the first time takes under 10 minutes');
}

done_testing();


# The commands of README.md's first block of code that names util/demo.

sub readme {
    my ($code, @block);

    for (split /\n/, slurp("$clone/README.md") // '') {
        if (!/^```/) {
            push @block, s/\s*(?:#.*)?$//r if $code;

        } elsif ($code = !$code) {
            @block = ();

        } elsif (grep { m{^util/demo\b} } @block) {
            return @block;
        }
    }

    return ();
}


# Runs a command of the shell in the clone as a user; (ok, words).

sub run {
    my ($user, $command) = @_;

    my $pid = open(my $out, '-|') // die "fork: $!";

    if ($pid == 0) {
        open STDERR, '>&', \*STDOUT;
        open STDIN, '<', '/dev/null';
        enter($user);
        exec 'bash', '-c', $command;
    }

    my $words = do { local $/; <$out> } // '';
    close $out;

    return ($? == 0, $words);
}


sub enter {
    my ($user) = @_;

    # a shell of the user's own, not of the one that runs the tests
    delete @ENV{grep { !/^(?:PATH|HOME|LANG|TMPDIR|npm_config_|NPM_)/i }
                keys %ENV};

    if (defined $user) {
        become($user);
        $ENV{HOME} = "$base/home";
    }

    chdir $clone or die "$clone: $!";
}


sub demo {
    my ($user) = @_;
    my $port = free_port();

    if (defined $user) {
        mkdir "$base/home";
        chown((getpwnam $user)[2, 3], "$base/home");
    }

    for my $command (@commands) {
        my $line = $command eq 'util/demo'
                 ? "$command --port $port --detach" : $command;
        my ($ok, $words) = run($user, $line);

        ok($ok, $line) or do { diag $words; return };

        look($user, $port, $words) if $command eq 'util/demo';
    }

    my ($ok, $words) = run($user, "timeout 60 util/demo --port $port");
    ok(!$ok && $words =~ /runs already.*util\/demo --stop/s,
       'a second demo is refused with the way out') or diag $words;

    my $state = slurp("$clone/build/demo.state");
    chomp $state;

    ($ok, $words) = run($user, 'util/demo --stop');
    ok($ok, 'util/demo --stop') or diag $words;
    ok(!-e $state, 'the state is gone');
    is_deeply([ left($state) ], [], 'no process is left');

    foreground($user);
}


# What the three printed lines lead to.

sub look {
    my ($user, $port, $words) = @_;

    my ($url) = $words =~ /^page +(\S+)$/m;
    my ($psql) = $words =~ /^psql +(.+)$/m;
    my ($curl) = $words =~ /^curl +(.+)$/m;

    is($url, "http://127.0.0.1:$port/", 'the page is printed');

    my $page = http($port, 'GET', '/');
    is($page->{status}, 200, 'the page is there');
    like($page->{body}, qr/<title>/, 'the page is a page');

    for my $file ($page->{body} =~ /(?:src|href)="([^":]+)"/g) {
        my $r = http($port, 'GET', "/$file");
        is($r->{status}, 200, "its $file is there");
        unlike($r->{headers}{'content-type'}, qr/octet-stream|plain/,
               "its $file has a type");
    }

    my $negotiated = http($port, 'POST', '/api/negotiate?user=ann',
                          body => '')->{json} // {};
    ok($negotiated->{accessToken}, 'negotiate hands out a token')
        or return;

    my $sse = Broadcast::SSE->connect($port,
        "/events/chat?access_token=$negotiated->{accessToken}");
    is($sse->{head}{status}, 200, 'a plain client listens') or return;

    for my $case ([ psql => $psql ], [ curl => $curl ]) {
        my ($name, $command) = @$case;
        my ($ok, $words) = run($user, $command);

        ok($ok, "the $name line works") or diag $words;

        is_deeply(message($sse), [ { sender => $name, text => 'hi' } ],
                  "what $name sends arrives");
    }

    # what is typed behind the psql line is the user's, not the module's

    (my $doctor = $psql) =~ s/ -c .*//;
    (my $sound, $doctor) = run($user, "$doctor -qAt -c 'create table mine ()' "
        . '-c "select check_name, detail from broadcast.doctor() '
        . q{d(check_name) where status = 'error'" }
        . q{-c "select 'mine is in', relnamespace::regnamespace from pg_class }
        . q{where relname = 'mine'"});
    is($doctor, "mine is in|public\n", 'the doctor finds no error, and what '
       . 'the user creates is not in the schema of the module')
        or diag $sound;

    my $said = http($port, 'POST', '/functions/say',
        body => '{"text":"from a function"}',
        headers => [ 'Content-Type' => 'application/json',
                     Authorization => "Bearer $negotiated->{accessToken}" ]);
    is($said->{status}, 202, 'the SQL function is called over HTTP');
    is_deeply(message($sse), [ { sender => 'ann', text => 'from a function' } ],
              'its insert arrives, under the name of the token');
}


# The arguments of the next message; that somebody came or left is passed over.

sub message {
    my ($sse) = @_;

    return eval {
        my $event;
        do { $event = $sse->event(15) } until $event->{event} eq 'newMessage';
        decode_json($event->{data});
    };
}


# In the foreground: Ctrl-C reaches every process of the terminal's group.

sub foreground {
    my ($user) = @_;
    my $port = free_port();
    my $log = "$base/foreground.log";

    unlink $log;

    my $pid = fork // die "fork: $!";

    if ($pid == 0) {
        POSIX::setpgid(0, 0);
        $SIG{INT} = 'DEFAULT';
        open STDIN, '<', '/dev/null';
        open STDOUT, '>', $log;
        open STDERR, '>&', \*STDOUT;
        enter($user);
        exec 'bash', '-c', "exec util/demo --port $port";
    }

    ok(wait_for(sub { (slurp($log) // '') =~ /Ctrl-C/ }, 60),
       'in the foreground it starts') or diag slurp($log);

    my $state = slurp("$clone/build/demo.state") // '';
    chomp $state;

    kill 'INT', -$pid;

    my $ended = Broadcast::Wait::reap($pid, 30);
    ok($ended, 'Ctrl-C ends it') or kill 'KILL', -$pid;
    is($?, 0, 'with status 0') or diag slurp($log);
    is_deeply([ left($state) ], [], 'both servers have ended');
    ok(!-e $state, 'the state is gone again');
}


# Command lines of processes that belong to a state folder.

sub left {
    my ($state) = @_;

    return grep { length $state && index($_, $state) >= 0 }
           map { cmdline(m{(\d+)}) } glob '/proc/[0-9]*';
}
