package Broadcast::Node;

# Copyright (C) The nginx-broadcast authors
#
# Runs a TAP program of t/node and takes over its lines as checks of the
# caller's.
#
#   program('signalr.mjs');     # its parameters are in %ENV

use strict;
use warnings;

use Cwd ();
use Exporter 'import';
use File::Basename ();
use Test::More ();

our @EXPORT_OK = qw(program);

my $node = Cwd::abs_path(File::Basename::dirname(__FILE__) . '/../../node');


sub program {
    my ($file) = @_;

    open my $out, '-|', 'node', "$node/$file" or die "node: $!\n";

    my ($n, $planned) = (0, -1);

    while (my $line = <$out>) {
        if ($line =~ /^(not )?ok \d+(?: - (.*))?/) {
            Test::More::ok(!$1, $2);
            $n++;

        } elsif ($line =~ /^1\.\.(\d+)/) {
            $planned = $1;

        } elsif ($line =~ /^(?:# |Bail out! )(.*)/) {
            Test::More::diag($1);
        }
    }

    close $out;
    Test::More::is($n, $planned, "$file ran to its end");
}


1;
