package Broadcast::Node;

# Copyright (C) The nginx-broadcast authors
#
# Runs a TAP program of t/node and takes over its lines as checks of the
# caller's.
#
#   program('signalr.mjs');     # its parameters are in %ENV
#   program('position.mjs', restart => sub { ... });
#                               # what it asks for: tap.mjs, act('restart');
#                               # what the sub returns is the answer

use strict;
use warnings;

use Cwd ();
use Exporter 'import';
use File::Basename ();
use IO::Handle ();
use IPC::Open2 ();
use Test::More ();

our @EXPORT_OK = qw(program);

my $node = Cwd::abs_path(File::Basename::dirname(__FILE__) . '/../../node');


sub program {
    my ($file, %acts) = @_;

    my $pid = IPC::Open2::open2(my $out, my $in, 'node', "$node/$file");

    my ($n, $planned) = (0, -1);

    while (my $line = <$out>) {
        if ($line =~ /^(not )?ok \d+(?: - (.*))?/) {
            Test::More::ok(!$1, $2);
            $n++;

        } elsif ($line =~ /^1\.\.(\d+)/) {
            $planned = $1;

        } elsif ($line =~ /^# act (\w+)/ && $acts{$1}) {
            my $answer = $acts{$1}->();
            print {$in} "$answer\n";
            $in->flush;

        } elsif ($line =~ /^(?:# |Bail out! )(.*)/) {
            Test::More::diag($1);
        }
    }

    close $in;
    close $out;
    waitpid $pid, 0;

    Test::More::is($n, $planned, "$file ran to its end");
}


1;
