package Broadcast::Servers;

# Copyright (C) The nginx-broadcast authors
#
# What the servers of a program have said, for one that fails.
#
#   Broadcast::Servers::add($server);    # it has a name and a tail
#   Broadcast::Servers::gone($server);   # before its folder is removed
#
# A program with a check that failed tells at its end, and one that dies does at
# once, the last lines of the logs of all servers that it still has; of those
# that it let go since the check, when they went.

use strict;
use warnings;

use Scalar::Util ();
use Test::More ();

my $owner = $$;
my ($n, $told, %servers) = (0, 0);


sub add {
    my ($server) = @_;

    $server->{number} = ++$n;
    Scalar::Util::weaken($servers{$n} = $server);
}


# At the very end, for a server in a global, all has been told, and Test::More is
# no more: it must not keep the server from being stopped.

sub gone {
    my ($server) = @_;

    return if ${^GLOBAL_PHASE} eq 'DESTRUCT';

    delete $servers{ delete $server->{number} // return };
    show($server) if failed();
}


sub failed { $$ == $owner && !$told && !Test::More->builder->is_passing }


sub show {
    Test::More::diag('--- ' . $_->name . ":\n" . $_->tail)
        for grep { defined } @_;
}


sub all {
    show(map { $servers{$_} } sort { $a <=> $b } keys %servers);
    $told = 1;
}


# in no eval, and while the servers are there: no variable is when END is run

$SIG{__DIE__} = sub { all() if $$ == $owner && defined $^S && !$^S };


END {
    local ($?, $!, $@);
    all() if failed();
}


1;
