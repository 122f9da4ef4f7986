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

# Two at once: most of their time they wait.

my $harness = TAP::Harness->new({ jobs => 2, verbosity => -3 });
my $run = $harness->runtests(@files);

for my $file (@files) {
    my ($name) = $file =~ m{([^/]+)$};
    my ($parser) = $run->parsers($file);

    ok(!$parser->has_problems, "$name, sanitized")
        or diag 'failed: ' . join ' ', $parser->failed;
}

done_testing();
