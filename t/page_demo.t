#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# The quickstart page in Chromium, on what util/demo starts: two pages, each
# source, and each of the six steps cut and mended.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::Node qw(program);
use Broadcast::Wait qw(free_port slurp);

my $top = "$FindBin::Bin/..";

plan skip_all => 'a demo runs in this checkout'
    if -e "$top/build/demo.state";

my $port = free_port();
my $words = `$top/util/demo --port $port --detach 2>&1`;

END { local $?; system("$top/util/demo --stop >/dev/null") }

is($?, 0, 'util/demo --detach starts') or BAIL_OUT($words);

my $state = slurp("$top/build/demo.state");
chomp $state;

$ENV{BASE} = "http://127.0.0.1:$port";
$ENV{STATE} = $state;
$ENV{TOP} = $top;

program('page.mjs');

my @wrong = grep { /\[(?:alert|emerg)\]/ }
            split /\n/, slurp("$state/error.log");
is_deeply(\@wrong, [], 'nginx has logged no alert');

done_testing();
