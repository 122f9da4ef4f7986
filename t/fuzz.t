#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# Builds and runs t/fuzz/*_fuzz.c, each for some seconds, with clang's fuzzer
# under the address and undefined behaviour sanitizers.  What a program links
# stands near its head, as in t/unit.t:
#
#     /* links: src/proto/ngx_broadcast_ws.c nginx:core/ngx_sha1.c -lz */
#
#     prove t/fuzz.t                    all, FUZZ_SECONDS each (5)
#     prove -v t/fuzz.t :: scan ws      those whose name holds one of these
#
# What was found interesting is kept in build/fuzz/corpus, an input that broke
# something in build/fuzz; "build/fuzz/<name>_fuzz <that file>" runs it again.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname basename);
use File::Path qw(make_path);
use POSIX ();
use Test::More;

my $top = abs_path(dirname(__FILE__) . '/..');
my $cc = $ENV{FUZZ_CC} || 'clang';
my $seconds = $ENV{FUZZ_SECONDS} || 5;

my @always = qw(t/unit/ngx_stub.c nginx:core/ngx_string.c
    nginx:core/ngx_palloc.c nginx:core/ngx_array.c nginx:os/unix/ngx_alloc.c);

chdir $top or die "chdir $top: $!";

my $work = "$top/build/fuzz";
make_path("$work/corpus", "$work/obj");

my @programs = sort glob 't/fuzz/*_fuzz.c';

if (@ARGV) {
    my $any = join '|', map { quotemeta } @ARGV;
    @programs = grep { /$any/ } @programs;
}

plan skip_all => 'no fuzz program of that name' unless @programs;


# --- is there a fuzzer at all ------------------------------------------------

open my $fh, '>', "$work/probe.c" or die "$work/probe.c: $!";
print $fh "int LLVMFuzzerTestOneInput(const char *p, unsigned long n);\n",
          "int LLVMFuzzerTestOneInput(const char *p, unsigned long n)\n",
          "{ (void) p; (void) n; return 0; }\n";
close $fh;

my @sanitize = ('-fsanitize=fuzzer,address,undefined',
                '-fno-sanitize-recover=all');

my ($status, $output) = run($cc, @sanitize, '-o', "$work/probe",
                            "$work/probe.c");

plan skip_all => "$cc has no fuzzer runtime (Debian: clang, libclang-rt-dev)"
    if $status;

my $nginx = `$top/util/nginx-source`;
die "util/nginx-source failed\n" if $?;
chomp $nginx;

my @incs = ((map { "-isystem$nginx/src/$_" }
             qw(core event event/modules os/unix http http/modules)),
            "-isystem$top/build/nginx-objs", "-I$top/src", "-I$top/t/unit");

my @common = qw(-g -O1 -fno-omit-frame-pointer -pthread -DNGX_DEBUG_PALLOC=1);

plan tests => 2 * @programs;

# One runs while the next is built.

my $running;

for my $program (@programs, undef) {
    my $name = defined $program ? basename($program, '.c') : '';
    my $binary = "$work/$name";
    my $error = defined $program ? build($program, $binary) : 'the end';

    found(@$running) if $running;
    undef $running;

    last if !defined $program;

  SKIP: {
        ok($error eq '', "$name builds") or do {
            diag($error);
            skip 'not built', 1;
        };

        make_path("$work/corpus/$name");

        $running = [ $name, begin(
            $binary, "-max_total_time=$seconds", '-max_len=2048',
            '-timeout=60', '-rss_limit_mb=1024', '-verbosity=0',
            '-print_final_stats=1', "-dict=$top/t/fuzz/words.dict",
            "-artifact_prefix=$work/$name-", "$work/corpus/$name") ];
    }
}


# What a program that runs has found, at its end.

sub found {
    my ($name, $out) = @_;

    my ($status, $output) = end($out);
    my ($runs) = $output =~ /number_of_executed_units: (\d+)/;
    $runs ||= 0;

    ok($status == 0 && $runs > 0, "$name found nothing")
        or diag($output);

    note("$name: $runs inputs");
}


# an empty string, or what the compiler said

sub build {
    my ($program, $binary) = @_;

    open my $fh, '<', $program or return "$program: $!";
    read $fh, my $head, 4096;
    close $fh;

    $head =~ m{/\*\s*links:(.*?)\*/}s
        or return "$program: no \"links:\" near its head";

    my @links = grep { $_ ne '*' } split ' ', $1;
    my (@objects, @ours);

    for my $link (@always, grep { !/^-/ } @links) {

        if ($link !~ /^nginx:(.*)/) {
            push @ours, $link;
            next;
        }

        my $source = $1;

        # nginx's own code is not on trial

        my $object = "$work/obj/" . basename($source, '.c') . '.o';
        push @objects, $object;

        next if -e $object && -M $object < -M "$nginx/src/$source";

        my ($status, $output) =
            run($cc, @common, '-w', '-fsanitize=address', @incs, '-c',
                '-o', $object, "$nginx/src/$source");

        return $output if $status;
    }

    my ($status, $output) =
        run($cc, @common, @sanitize, qw(-Wall -Wextra -Wno-unused-parameter),
            qw(-Wno-missing-prototypes -Werror), @incs, '-o', $binary,
            $program, @ours, @objects, grep { /^-/ } @links);

    return $status ? $output : '';
}


# status and both streams of a command

sub run { return end(begin(@_)) }


sub begin {
    my (@argv) = @_;

    my $pid = open my $out, '-|';
    die "fork: $!" unless defined $pid;

    if ($pid == 0) {
        open STDERR, '>&', \*STDOUT or POSIX::_exit(126);
        open STDIN, '<', '/dev/null';
        no warnings 'exec';
        exec @argv;
        syswrite STDOUT, "$argv[0]: $!\n";
        POSIX::_exit(127);
    }

    return $out;
}


sub end {
    my ($out) = @_;

    local $/;
    my $text = <$out>;
    close $out;

    return ($?, defined $text ? $text : '');
}
