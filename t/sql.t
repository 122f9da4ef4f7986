#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# The SQL side alone, in the newest PostgreSQL that is installed.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::PgTAP;
use Broadcast::Postgres;

my $pg = Broadcast::Postgres->new;

my ($ok, $words) = $pg->try('BEGIN; CREATE EXTENSION pgtap; ROLLBACK');

$ok or plan skip_all => "pgTAP is not installed: $words";

Broadcast::PgTAP::programs($pg);

done_testing();
