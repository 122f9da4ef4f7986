#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# The kill matrix: what is no accident.  Reload and binary upgrade, while all
# flows: clients are served until they are closed, to come back.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::Matrix;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Wait qw(gone);

my $m = Broadcast::Matrix->new(http => 'broadcast_drain 500ms;',
                               options => { daemon => 1 });
my $nginx = $m->nginx;

$m->row('reload', sub {
    my ($run) = @_;
    my @old = $nginx->workers;

    $run->fault;
    $nginx->reload;
    $run->flows;
    ok((wait_for { !grep { kill 0, $_ } @old } 60), 'the old workers end');
    $run->flows;

}, then => sub {
    my ($run) = @_;

    $run->ends_are([ 'closed-1012', 'ended' ],
                   'clients are closed, to come back, not cut off',
                   $run->plain);
    $run->pauses_at_most(1.5, 'nobody pauses longer than 1.5 s');
    is($run->outcomes($_)->{unknown}, 0, "publishers by $_ see nothing")
        for 'sql', 'http';
});

$m->row('binary upgrade', sub {
    my ($run) = @_;

    $run->fault;
    my $old = $nginx->upgrade;
    $run->flows;
    is_deeply([ grep { $run->ends($_) } @{ $run->{clients} } ], [],
              'with two masters, clients of the first go on');

    kill 'QUIT', $old;
    $run->flows;
    ok(gone($old, 20), 'the first one ends');
    $run->flows;

}, then => sub {
    my ($run) = @_;

    $run->ends_are([ 'closed-1012', 'ended' ],
                   'its clients are closed, to come back, not cut off',
                   $run->plain);
    $run->pauses_at_most(1.5, 'nobody pauses longer than 1.5 s');
    is($run->outcomes($_)->{unknown}, 0, "publishers by $_ see nothing")
        for 'sql', 'http';
});

$m->stop_ok;

done_testing();
