#!/usr/bin/perl
# Copyright (C) The nginx-broadcast authors
#
# Called by util/bench --chart: the SVG of a run's JSON.

use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use BenchChart;

my $svg = eval {
    open my $f, '<:raw', $ARGV[0] or die "$ARGV[0]: $!\n";
    local $/;

    BenchChart::svg(scalar <$f>);
};

if (!defined $svg) {
    print STDERR "util/bench: error: --chart $ARGV[0]: $@",
                 "    give it what --json has written\n";
    exit 1;
}

print $svg;
