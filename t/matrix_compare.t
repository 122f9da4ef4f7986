#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# The comparer of the kill matrix finds what it shall find: each fault is put
# into logs that are well, and is named; what is announced is no fault.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::Matrix::Compare;

# Six words of two publishers, 'x' is a number that nobody is shown.

my @order = qw(a:1 b:1 a:2 x b:2 a:3 b:3);

sub truth {
    my ($epoch, @words) = @_;
    my $n = 0;

    return map { [ $epoch, ++$n, $_ eq 'x' ? undef : $_ ] } @words;
}

sub kept { return [ map { [ $_, 'kept' ] } @_ ] }

sub got {
    my ($epoch, @words) = @_;

    return map { [ 'message', $_->[0] . '-' . $_->[1], $_->[2] ] }
           grep { defined $_->[2] } truth($epoch, @words);
}

sub well {
    return (truth => [ truth('e1', @order) ],
            publishers => { a => kept(qw(a:1 a:2 a:3)),
                            b => kept(qw(b:1 b:2 b:3)) },
            clients => { c => [ [ 'open' ], got('e1', @order) ] });
}

sub faults { return Broadcast::Matrix::Compare->new(@_)->faults }

sub fault_is {
    my ($o, $words, $name) = @_;
    my @faults = faults(%$o);

    is_deeply(\@faults, [ ref $words ? @$words : $words ], $name);
}

sub client {
    my (@events) = @_;
    my %o = well();

    $o{clients}{c} = \@events;
    return %o;
}

is_deeply([ faults(well()) ], [], 'logs that agree have no fault');


# --- clients -------------------------------------------------------------------

my @all = got('e1', @order);
my @open = ([ 'open' ]);

fault_is({ client(@open, @all[0, 1, 3, 4, 5]) },
    'c got b:2 and was not told that 1 before it were missing, the first is'
    . ' a:2', 'a loss in the middle');
fault_is({ client(@open, @all[1 .. 5]) },
    'c got b:1 and was not told that 1 before it were missing, the first is'
    . ' a:1', 'a loss at the beginning');
fault_is({ client(@open, @all[0 .. 4]) },
    'c never got b:3, the last one', 'a loss at the end');
fault_is({ client(@open) }, 'c never got b:3, the last one',
    'a client that got nothing');
fault_is({ client(@open, @all[0, 1, 1 .. 5]) }, 'c got b:1 twice',
    'a duplicate');
fault_is({ client(@open, @all, $all[2]) },
    'c got a:2 again, or too late', 'an old one behind the last one');

like(join("\n", faults(client(@open, @all[0, 2, 1, 3 .. 5]))),
    qr/^c got b:1 again, or too late$/m, 'two that changed places');

fault_is({ client(@open, @all[0 .. 4], [ 'message', 'e1-8', 'b:3' ]) },
    'c got b:3 as e1-8, it is e1-7', 'another number than the history has');
fault_is({ client(@open, @all[0 .. 2], [ 'message', 'e1-4', 'z:1' ],
                  @all[3 .. 5]) },
    'c got z:1, which is not in the history', 'a word that nobody knows');


# --- resumes -------------------------------------------------------------------

my @end = ([ 'end', 'cut' ]);

fault_is({ client(@open, @all[0 .. 2], @end, [ 'open', 'e1-3' ],
                  @all[3 .. 5]) }, [],
    'a client that goes on behind its last id');
fault_is({ client(@open, @all[0 .. 2], @end, [ 'open', 'e1-3' ],
                  @all[4, 5]) },
    'c got a:3 and was not told that 1 before it were missing, the first is'
    . ' b:2', 'a loss behind a resume');
fault_is({ client(@open, @all[0 .. 2], @end, [ 'open', 'e1-3' ],
                  @all[2 .. 5]) }, 'c got a:2 twice',
    'a duplicate behind a resume');
fault_is({ client(@open, @all[0 .. 2], @end, [ 'open', 'e1-2' ],
                  @all[2 .. 5]) }, [], 'what is asked for again comes again');
fault_is({ client(@open, @all[0 .. 2], @end, [ 'open', 'e1-2' ],
                  @all[3 .. 5]) },
    'c got b:2 and was not told that 1 before it were missing, the first is'
    . ' a:2', '... and must come');
fault_is({ client(@open, @all[0 .. 2], @end, [ 'open' ], @all[4, 5]) }, [],
    'who opens again and asks for nothing may miss something');
fault_is({ client(@open, @all[0 .. 2], @end, [ 'open' ], @all[2, 3 .. 5]) },
    'c got a:2 twice', '... and gets nothing twice');


# --- gaps ----------------------------------------------------------------------

fault_is({ client(@open, @all[0, 1], [ 'gap', 'e1-5' ], @all[4, 5]) }, [],
    'a gap that is announced');
fault_is({ client(@open, @all[0, 1], [ 'gap', 'e1-3' ], @all[4, 5]) },
    'c got a:3 and was not told that 1 before it were missing, the first is'
    . ' b:2', 'a gap that is larger than announced');


# --- publishers ----------------------------------------------------------------

my %o = well();
push @{ $o{publishers}{a} }, [ 'a:4', 'kept' ];
fault_is(\%o, 'a:4 was committed and is lost', 'a commit that is lost');

%o = well();
$o{publishers}{a}[2][1] = 'refused';
fault_is(\%o, 'a:3 was refused and is in the history',
    'a refusal that was none');

%o = well();
$o{publishers}{a}[2][1] = 'unknown';
fault_is(\%o, [], 'an unknown end that was a commit');
push @{ $o{publishers}{a} }, [ 'a:4', 'unknown' ];
fault_is(\%o, [], '... or was none');

%o = well();
$o{publishers}{a}[2][2] = 'e1-7';
fault_is(\%o, 'a:3 was answered with e1-7 and has e1-6',
    'an answer with a wrong number');

%o = well();
$o{publishers}{a} = kept(qw(a:1 a:3 a:2));
fault_is(\%o, 'a:2 stands before what its publisher sent before',
    'a history in another order than a publisher had its answers');

%o = well();
pop @{ $o{publishers}{b} };
fault_is(\%o, 'b:3 is in the history and nobody has sent it',
    'a word from nowhere');

%o = well();
push @{ $o{truth} }, [ 'e1', 8, 'b:3' ];
fault_is(\%o, 'b:3 is in the history twice', 'a message that is kept twice');

%o = well();
$o{truth}[-1][1] = 8;
$o{clients}{c}[-1][1] = 'e1-8';
fault_is(\%o, 'e1-8 follows e1-6 in the history', 'a hole in the numbers');

%o = well();
$o{truth}[3][1] = 3;
fault_is(\%o, [ 'e1-3 is in the history twice',
                'e1-3 follows e1-3 in the history',
                'e1-5 follows e1-3 in the history' ],
    'a number that was given twice');


# --- commits that PostgreSQL lost ----------------------------------------------

# a:3 was committed and delivered; the history goes on without it.

sub lossy {
    my (@events) = @_;

    return (loses => 1,
            truth => [ truth('e1', qw(a:1 b:1)), [ 'e2', 3, undef ],
                       [ 'e2', 4, 'b:2' ] ],
            publishers => { a => kept(qw(a:1 a:3)), b => kept(qw(b:1 b:2)) },
            clients => { c => [ [ 'open' ], got('e1', qw(a:1 b:1)),
                                @events ] });
}

my $gone = [ 'message', 'e1-3', 'a:3' ];
my $next = [ 'message', 'e2-4', 'b:2' ];

fault_is({ lossy($gone, [ 'gap', 'e2-3' ], $next) }, [],
    'a loss of the server that is told');
fault_is({ lossy($gone, [ 'end', 'reconnect' ], [ 'open' ], $next) }, [],
    '... by an end that says come back');
fault_is({ lossy([ 'gap', 'e2-3' ], $next) }, [],
    '... also to who had not got it');
fault_is({ lossy($gone, $next) },
    [ 'c got b:2 and was not told that what it got before was lost',
      'c was not told that commits were lost' ], 'one that is not told');
fault_is({ lossy($next) }, 'c was not told that commits were lost',
    '... to who had not got it');
fault_is({ lossy([ 'message', 'e1-4', 'a:3' ], [ 'gap', 'e2-3' ], $next) },
    'c got a:3 as e1-4 behind e1-2', 'a hole before what was lost');


# The number of b:2 is lost, and b:2 is not.

my $first = [ 'message', 'e1-3', 'b:2' ];

fault_is({ lossy($first, [ 'gap', 'e2-3' ], $next) }, [],
    'a number that is lost: its word comes again');
fault_is({ lossy($first, $next) },
    [ 'c got b:2 and was not told that what it got before was lost',
      'c was not told that commits were lost' ], '... and is told');

%o = lossy($first, [ 'gap', 'e2-3' ], $next);
$o{publishers}{b}[1][2] = 'e1-3';
fault_is(\%o, [], '... its publisher had that number for an answer');
$o{loses} = 0;
cmp_ok(scalar(faults(%o)), '>', 2, '... a fault where nothing may be lost');

# A client without ids does not know which number was lost.

sub blind { map { [ @$_[0], $_->[0] eq 'message' ? undef : @$_[1], @$_[2] ] }
            @_ }

%o = lossy($first, $gone, [ 'gap' ], $next);
$o{clients}{c} = [ blind(@{ $o{clients}{c} }) ];
fault_is(\%o, [], '... so does a client without ids');
%o = lossy($first, $gone, $first, [ 'gap' ], $next);
$o{clients}{c} = [ blind(@{ $o{clients}{c} }) ];
fault_is(\%o, 'c got b:2 behind b:2', '... but not before it is told');
%o = lossy($first, $gone, $next);
$o{clients}{c} = [ blind(@{ $o{clients}{c} }) ];
cmp_ok(scalar(faults(%o)), '>', 1, '... and it must be told');

%o = lossy($gone, [ 'gap', 'e2-3' ], $next);
is_deeply([ Broadcast::Matrix::Compare->new(%o)->lost ], [ 'a:3' ],
    'what was lost is named');
$o{loses} = 0;
is(scalar(faults(%o)), 2, '... and a fault where nothing may be lost');

my $c = Broadcast::Matrix::Compare->new(
    lossy($gone, [ 'gap', 'e2-3' ], $next));
is($c->count('gap'), 1, 'gaps are counted');
is($c->count('end', 'c'), 0, '... and ends, of each client');

done_testing();
