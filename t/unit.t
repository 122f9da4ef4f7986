#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# Builds and runs t/unit/*/*_test.c, each as a plain program of its own under
# the address and undefined behaviour sanitizers; its TAP is a subtest here.
#
# A program names what it links in a comment near its head, over several
# lines if it likes:
#
#     /* links: src/base/ngx_broadcast_id.c nginx:core/ngx_slab.c -lcrypto */
#
# src/... and t/... are this tree's, nginx:... stands below nginx's src/, -l
# and -D go to the compiler.  Always there: t/unit/ngx_stub.c, and nginx's
# string, palloc, array and alloc.
#
#     prove t/unit.t                    all
#     prove -v t/unit.t :: base/ token  those whose name holds one of these
#
# CC chooses the compiler, JOBS how many at once (2).

use strict;
use warnings;

use Cwd qw(abs_path);
use Digest::MD5 qw(md5_hex);
use File::Basename qw(dirname basename);
use File::Path qw(make_path);
use POSIX qw(:sys_wait_h);
use Test::More;

my $top = abs_path(dirname(__FILE__) . '/..');
my $cc = $ENV{CC} || 'gcc';
my $jobs = $ENV{JOBS} || 2;
my $limit = 300;                  # seconds for one program

my @always = qw(t/unit/ngx_stub.c nginx:core/ngx_string.c
    nginx:core/ngx_palloc.c nginx:core/ngx_array.c nginx:os/unix/ngx_alloc.c);

chdir $top or die "chdir $top: $!";

my @tests = sort glob 't/unit/*/*_test.c';

if (@ARGV) {
my $any = join '|', map { quotemeta } @ARGV;
    @tests = grep { /$any/ } @tests;
}

plan skip_all => 'no unit program of that name' unless @tests;

my $nginx = `$top/util/nginx-source`;
die "util/nginx-source failed\n" if $?;
chomp $nginx;

my $work = "$top/build/unit/" . basename($cc);
make_path("$work/obj", "$work/bin", "$work/out");

my @incs = ((map { "-isystem$nginx/src/$_" }
             qw(core event event/modules os/unix http http/modules)),
            "-isystem$top/build/nginx-objs", "-I$top/src", "-I$top/t/unit");

chomp(my $libpq = `pg_config --includedir 2>/dev/null`);
push @incs, "-isystem$libpq" if $libpq ne '';

my @common = qw(-g -O1 -fno-omit-frame-pointer -pthread -DNGX_DEBUG_PALLOC=1);

# nginx's own code adds to null pointers and the like; it is not on trial.

my @theirs = ('-w', '-fsanitize=address');
my @ours = (qw(-Wall -Wextra -Wno-unused-parameter -Werror),
            "-fsanitize=address,undefined", "-fno-sanitize-recover=all");


# --- what each program is made of --------------------------------------------

my (%object, @programs);

for my $test (@tests) {
    my %p = (test => $test, name => $test =~ s{^t/unit/(.*)_test\.c$}{$1}r);

    open my $fh, '<', $test or die "$test: $!";
    read $fh, my $head, 4096;

    my @links;

    if ($head =~ m{/\*[\s*]*links:(.*?)\*/}s) {
        @links = grep { $_ ne '*' } split ' ', $1;

    } else {
        $p{error} = 'no "/* links: ... */" near its head';
    }

    my @defines = grep { /^-D/ } @links;
    my %seen;

    $p{libs} = [ grep { /^-[^D]/ } @links ];
    $p{objects} = [ map { object($_, @defines) } grep { !$seen{$_}++ }
                    $test, @always, grep { !/^-/ } @links ];

    push @programs, \%p;
}


sub object {
    my ($source, @defines) = @_;

    my ($path, @flags);

    if ($source =~ s/^nginx://) {
        ($path, @flags) = ("$nginx/src/$source", @common, @theirs);

    } else {
        ($path, @flags) = ("$top/$source", @common, @ours, @defines);
    }

    my $key = md5_hex(join "\0", $path, @flags, @incs);
    my $file = "$work/obj/" . basename($path, '.c') . "-$key.o";

    $object{$file} = [ $path, @flags ];

    return $file;
}


# --- compile, two at once ----------------------------------------------------

sub fresh {
    my ($file) = @_;

    my $made = (stat $file)[9];
    return 0 if !defined $made;

    open my $fh, '<', "$file.d" or return 0;
    local $/;
    my $deps = <$fh>;
    $deps =~ s/^.*?:\s//s;
    $deps =~ s/\\\n//g;

    for my $dep (split ' ', $deps) {
        my $changed = (stat $dep)[9];
        return 0 if !defined $changed || $changed >= $made;
    }

    return 1;
}


# parallel sub { ... }, @items: each item in a child of its own

sub parallel {
    my ($job, @items) = @_;

    my %running;

    while (@items || %running) {
        if (@items && keys %running < $jobs) {
            my $item = shift @items;
            my $pid = fork();
            die "fork: $!" unless defined $pid;

            if ($pid == 0) {
                $job->($item);
                POSIX::_exit(0);
            }

            $running{$pid} = 1;
            next;
        }

        my $pid = waitpid -1, 0;
        last if $pid < 0;
        delete $running{$pid};
    }
}


# command $out, @argv: both streams into a file; the exit status

sub command {
    my ($out, @argv) = @_;

    my $pid = fork();
    die "fork: $!" unless defined $pid;

    if ($pid == 0) {
        open STDOUT, '>', $out or POSIX::_exit(126);
        open STDERR, '>&', \*STDOUT or POSIX::_exit(126);
        exec @argv or POSIX::_exit(127);
    }

    waitpid $pid, 0;
    return $?;
}


sub compile {
    my ($file) = @_;

    my ($path, @flags) = @{$object{$file}};
    my $tmp = "$file.$$.tmp";

    unlink "$file.err";

    if (command("$tmp.err", $cc, @flags, @incs, '-MD', '-MF', "$tmp.d",
                '-c', '-o', $tmp, $path) == 0)
    {
        unlink "$tmp.err";
        rename "$tmp.d", "$file.d";
        rename $tmp, $file;

    } else {
        unlink $tmp, "$tmp.d", $file;
        rename "$tmp.err", "$file.err";
    }
}

parallel(\&compile, grep { !fresh($_) } sort keys %object);


# --- link and run, two at once -----------------------------------------------

sub run {
    my ($p) = @_;

    my $base = "$p->{name}" =~ tr{/}{-}r;
    my $bin = "$work/bin/$base.$$";
    my $out = $p->{out};

    if (command("$out.link", $cc, @common, '-fsanitize=address,undefined',
                '-o', $bin, @{$p->{objects}}, @{$p->{libs}}))
    {
        return;
    }

    unlink "$out.link";

    my $pid = fork();
    die "fork: $!" unless defined $pid;

    if ($pid == 0) {
        setpgrp;
        $ENV{UBSAN_OPTIONS} ||= 'print_stacktrace=1';
        open STDIN, '<', '/dev/null';
        open STDOUT, '>', $out or POSIX::_exit(126);
        open STDERR, '>', "$out.err" or POSIX::_exit(126);
        exec $bin or POSIX::_exit(127);
    }

    my $late = 0;

    local $SIG{ALRM} = sub { $late = 1; kill 'KILL', -$pid };
    alarm $limit;
    1 while waitpid($pid, 0) < 0 && $!{EINTR};
    my $status = $?;
    alarm 0;

    open my $fh, '>', "$out.status";
    print $fh $late ? "stopped after $limit s"
            : $status & 127 ? 'signal ' . ($status & 127)
            : 'exit ' . ($status >> 8);
    close $fh;

    unlink $bin;
}

for my $p (@programs) {
    $p->{out} = "$work/out/" . ($p->{name} =~ tr{/}{-}r) . ".$$";
    $p->{error} ||= join '', map { slurp("$_.err") }
                    grep { ! -e $_ } @{$p->{objects}};
}

parallel(\&run, grep { !$_->{error} } @programs);


# --- tell --------------------------------------------------------------------

sub slurp {
    my ($file) = @_;

    open my $fh, '<', $file or return '';
    local $/;
    return scalar(<$fh>) // '';
}

plan tests => scalar @programs;

for my $p (@programs) {
    my ($name, $out) = @$p{qw(name out)};

    if ($p->{error}) {
        fail("$name compiles");
        diag($p->{error});
        next;
    }

    if (-e "$out.link") {
        fail("$name links");
        diag(slurp("$out.link"));
        unlink "$out.link";
        next;
    }

    my ($tap, $err, $status) = map { slurp($_) } $out, "$out.err",
                               "$out.status";
    unlink $out, "$out.err", "$out.status";

    my @checks = $tap =~ /^((?:not )?ok\b.*)$/mg;
    my @failed = grep { /^not / } @checks;
    my ($plan) = $tap =~ /^1\.\.(\d+)/m;
    my $skipped = $tap =~ /^1\.\.0 # SKIP ?(.*)/m ? $1 : undef;

    my $right = $status eq 'exit 0' && !@failed && defined $plan
                && $plan == @checks;

    # A subtest of Test::More cannot take over foreign TAP, so it is printed.

    print map { "    $_\n" } split /\n/, $tap;

    if ($right && defined $skipped) {
        SKIP: { skip $skipped, 1 }
        next;
    }

    ok($right, $name) or do {
        diag("$name: $status, " . @checks . ' checks, '
             . @failed . ' failed, plan '
             . ($plan // 'none'));
        diag($_) for @failed;
        diag($err) if length $err;
    };
}
