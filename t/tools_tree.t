#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# What can be said of the tree without running it: the checks of util/, the
# compilers' warnings, and the numbers that stand in two places.

use strict;
use warnings;

use FindBin;
use Test::More;

my $top = "$FindBin::Bin/..";


sub passes {
    my ($name, $command) = @_;

    my $words = `$command 2>&1`;
    ok($? == 0, $name) or diag $words;
}

passes('the rooms keep their order', "$top/util/check-layers");
passes('the pure rooms are pure, nothing blocks', "$top/util/check-pure");
passes('style', "$top/util/check-style");
passes('clang -Wall -Wextra -Werror', "CC=clang $top/util/build");

for my $command (sort glob "$top/util/*") {
    next unless -f $command && -x _;

    my ($name) = $command =~ m{(util/[^/]+)$};
    my $words = `$command --help 2>&1`;

    ok($? == 0 && $words =~ /^usage: \Q$name\E/, "$name --help says its usage")
        or diag $words;
}

for my $lock ("$top/html/package-lock.json", "$top/t/node/package-lock.json") {
    open my $f, '<', $lock or die "$lock: $!";
    my @lines = grep { /"resolved"|registry\./ } <$f>;
    is_deeply(\@lines, [], "$lock names no registry");
}

done_testing();
