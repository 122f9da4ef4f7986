#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# util/test, on a tree of three small programs: what has failed runs once more,
# so that chance can be told from what fails each time, and the run has failed
# all the same.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Cwd qw(abs_path);
use File::Path qw(make_path);
use File::Temp qw(tempdir);
use Test::More;

my $top = abs_path("$FindBin::Bin/..");
my $tree = tempdir('broadcast-test-XXXXXX', TMPDIR => 1, CLEANUP => 1);

make_path("$tree/util", "$tree/t/node/node_modules");
system('cp', "$top/util/test", "$top/util/packages.sh", "$tree/util/") == 0
    or die;
put('util/build', "#!/bin/sh\n");
chmod 0755, "$tree/util/build";

# nothing is to be fetched

put('t/node/package-lock.json', '{}');
put('t/node/node_modules/.lock',
    scalar `sha256sum <$tree/t/node/package-lock.json`);

put('t/good.t', 'print "1..1\nok 1\n";');
put('t/bad.t', 'print "1..1\nnot ok 1\n"; exit 1;');
put('t/odd.t', <<'EOS');
my $first = !-e "$0.ran";
open my $f, '>', "$0.ran";
print "1..1\n", $first ? 'not ' : '', "ok 1\n";
exit $first;
EOS

my ($status, $said) = run('t/good.t');
is($status, 0, 'a run in which all is well succeeds') or diag($said);
unlike($said, qr/once more/, '... and nothing runs twice');

($status, $said) = run(qw(t/good.t t/odd.t t/bad.t));
my ($before, $behind) = split /once more[^\n]*\n/, $said;

is($status, 1, 'a run in which something fails fails') or diag($said);
like($before, qr{failed: \S+/t/odd\.t \S+/t/bad\.t$}m, '... says what');
like($behind, qr{t/bad\.t \.* (?!ok)}, '... has it once more: what fails each time');
like($behind, qr{t/odd\.t \.* ok }, '... and what fails by chance');
unlike($behind, qr/good/, '... nothing else');
like($behind, qr/this run has failed: [^\n]*odd\.t[^\n]*\n\z/,
     '... and says in the end that it has failed');

done_testing();


sub put {
    my ($name, $text) = @_;

    open my $f, '>', "$tree/$name" or die "$name: $!\n";
    print $f $text;
    close $f;
}


sub run {
    my $said = `cd $tree && env -u HARNESS_ACTIVE util/test @_ 2>&1`;

    return ($? >> 8, $said);
}
