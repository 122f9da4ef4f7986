#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# The programs that start nginx, once more with the module built with the
# address and undefined behaviour sanitizers: a report in nginx's log fails
# them.
#
#     prove t/sanitize.t                   all
#     prove t/sanitize.t :: client auth    those whose name holds one of these

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Temp qw(tempdir);
use TAP::Harness;
use Test::More;

use Broadcast::Wait qw(slurp);

plan skip_all => 'the whole run has a build of its own'
    if $ENV{BROADCAST_BUILD};

my $top = "$FindBin::Bin/..";

# Not those that build or type commands; what they start is another's.  Two
# take the sanitized module in any case, one starts 130 workers, and two count
# what the plain build does.

my @files = grep { slurp($_) =~ /^use (?:Broadcast::Nginx|Test::Nginx)\b/m }
            grep { !m{/(?:tools|page|bench)_} }
            grep { !m{/(?:transport_mutation|conn_stream_random)\.t} }
            grep { !m{/(?:worker_slots|conn_cost|pg_cost)\.t} }
            sort glob "$FindBin::Bin/*.t";

if (@ARGV) {
    my $any = join '|', map { quotemeta } @ARGV;
    @files = grep { /$any/ } @files;
}

plan skip_all => 'no program of that name' unless @files;

ok(-f "$top/build/sanitize/ngx_http_broadcast_module.so",
   'the sanitized module is built')
    or BAIL_OUT('run util/build --sanitize first');

local $ENV{BROADCAST_BUILD} = 'sanitize';
local $ENV{TEST_NGINX_LOAD_MODULES} =
    "$top/build/sanitize/ngx_http_broadcast_module.so"
    if defined $ENV{TEST_NGINX_LOAD_MODULES};

# Two at once: most of their time they wait.  What they say, to both outputs, is
# shown of those that fail.

my $said = tempdir(CLEANUP => 1);

my $harness = TAP::Harness->new({ jobs => 2, verbosity => -3, exec => sub {
    my (undef, $file) = @_;

    return [ 'bash', '-c', '"$0" "$1" 2>&1 | tee "$2"; exit ${PIPESTATUS[0]}',
             $^X, $file, "$said/" . name($file) ];
} });
my $run = $harness->runtests(@files);

for my $file (@files) {
    my ($parser) = $run->parsers($file);

    ok(!$parser->has_problems, name($file) . ', sanitized')
        or diag "failed: @{[ $parser->failed ]}\n" . told("$said/" . name($file));
}

done_testing();


sub name { $_[0] =~ m{([^/]+)$}; $1 }


# Each failed check of a program with what is said behind it, and its last 40
# lines.

sub told {
    my ($log) = @_;
    my @lines = split /\n/, slurp($log) // '';
    my (@failed, $in);

    for (@lines) {
        $in = 1 if /^not ok/;
        $in = 0 if /^ok/;
        push @failed, $_ if $in && @failed < 100;
    }

    my $from = @lines > 40 ? @lines - 40 : 0;

    return join "\n", @failed, '...', @lines[$from .. $#lines];
}
