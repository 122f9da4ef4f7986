#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# The SQL side alone, in PostgreSQL 13, the oldest that the schema may be
# installed in: the same programs as t/sql.t.  The server is an npm package of
# t/node (for x86-64 alone), since a distribution has one version only.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Copy qw(copy);
use File::Temp qw(tempdir);
use JSON::PP;
use POSIX ();
use Test::More;

use Broadcast::PgTAP;
use Broadcast::Postgres;
use Broadcast::Wait qw(slurp);

my $package = "$FindBin::Bin/node/node_modules/postgres13/native";

plan skip_all => 'PostgreSQL 13 comes for Linux on x86-64 alone'
    if (POSIX::uname())[0] ne 'Linux' || (POSIX::uname())[4] ne 'x86_64';

plan skip_all => 'npm did not install postgres13 into t/node'
    unless -x "$package/bin/postgres";

my $share = share();
my $folder = server();

my $pg = eval { Broadcast::Postgres->new(bindir => "$folder/bin") };

plan skip_all => "PostgreSQL 13 does not run here: $@" if !$pg;

like($pg->psql('SHOW server_version'), qr/^13\./, 'the server is version 13');

Broadcast::PgTAP::programs($pg);

done_testing();


# Where Debian's pgTAP is; its script for the newest version runs in any.

sub share {
    my ($script) = glob '/usr/share/postgresql/*/extension/pgtap.control';

    plan skip_all => 'pgTAP is not installed' if !$script;

    return $script =~ s{/[^/]+$}{}r;
}


# A copy that the cluster's user may read, with the links that npm leaves to
# an install script, and with pgTAP.

sub server {
    my $to = tempdir('broadcast-pg13-XXXXXX', TMPDIR => 1, CLEANUP => 1);

    chmod 0755, $to;
    system('cp', '-R', "$package/.", $to) == 0 or die "cp: $?\n";

    for my $link (@{ decode_json(slurp("$package/pg-symlinks.json")) }) {
        my ($file) = $link->{source} =~ m{([^/]+)$};
        my ($path) = $link->{target} =~ m{^native/(.+)$};

        symlink $file, "$to/$path" unless -e "$to/$path";
    }

    my $extension = "$to/share/postgresql/extension";

    for my $file (glob "$share/pgtap.control $share/pgtap--[0-9]*.sql") {
        copy($file, $extension) or die "$file: $!\n" if $file !~ /--.*--/;
    }

    return $to;
}
