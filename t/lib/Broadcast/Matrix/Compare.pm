package Broadcast::Matrix::Compare;

# Copyright (C) The nginx-broadcast authors
#
# Compares what publishers know as committed, what the history holds, and what
# clients were given.  Nothing is measured here and nothing runs: lists in,
# sentences out, so that a test of its own can prove that it finds what it
# shall (t/matrix_compare.t).
#
#   my $c = Broadcast::Matrix::Compare->new(
#       truth      => [ [ 'e1', 7, 'sql1:3' ], ... ],  # in order; without a
#                                             # word: a number nobody is shown
#       publishers => { sql1 => [ [ 'sql1:3', 'kept', 'e1-7' ], ... ] },
#       clients    => { sse1 => [ [ 'open' ], [ 'message', 'e1-7', 'sql1:3' ],
#                                 [ 'gap', 'e2-1' ], [ 'end', 'cut' ] ] },
#       loses      => 1,         # PostgreSQL itself has lost commits
#   );
#
#   $c->faults           # sentences; none: all is well
#   $c->lost             # words that were committed and are not in the history
#   $c->count('gap')     # events of that kind of all clients, or of one
#   $c->count('gap', 'sse1')
#
# What became of a word: kept (with an id or without), refused, unknown.  A
# client that opens with an id asks for what is behind it; one that opens again
# without an id asks for nothing, and may have missed something.
#
# Where commits are lost a word's number may be among them and the word itself
# not: then it gets another number and comes again, behind the announcement.

use strict;
use warnings;


sub new {
    my ($class, %o) = @_;
    my $self = bless { loses => 0, faults => [], lost => [], %o }, $class;

    $self->read_truth;
    $self->check_publishers;
    $self->check_client($_) for sort keys %{ $self->{clients} };

    return $self;
}


sub faults { @{ $_[0]{faults} } }
sub lost   { @{ $_[0]{lost} } }


sub count {
    my ($self, $kind, $client) = @_;
    my $n = 0;

    for my $name ($client // keys %{ $self->{clients} }) {
        $n += grep { $_->[0] eq $kind } @{ $self->{clients}{$name} };
    }

    return $n;
}


sub fault {
    my ($self, $format, @words) = @_;

    no warnings 'redundant';
    push @{ $self->{faults} }, sprintf $format, @words;
}


# The words in the order of the hub, and where each stands.

sub read_truth {
    my ($self) = @_;
    my (@words, %at, %numbers);

    for my $row (@{ $self->{truth} }) {
        my ($epoch, $seq, $word) = @$row;

        $self->fault('%s-%s is in the history twice', $epoch, $seq)
            if $numbers{"$epoch-$seq"}++;

        next unless defined $word;

        if (exists $at{$word}) {
            $self->fault('%s is in the history twice', $word);
            next;
        }

        $at{$word} = @words;
        push @words, { id => "$epoch-$seq", epoch => $epoch, seq => $seq,
                       word => $word };
    }

    my ($last);

    for my $row (@{ $self->{truth} }) {
        my ($epoch, $seq) = @$row;

        $self->fault('%s-%s follows %s-%s in the history', $epoch, $seq, @$last)
            if $last && $last->[0] eq $epoch && $seq != $last->[1] + 1;

        $last = $row;
    }

    $self->{words} = \@words;
    $self->{at} = \%at;
    $self->{numbers} = \%numbers;
}


sub check_publishers {
    my ($self) = @_;
    my $at = $self->{at};
    my %sent;

    for my $name (sort keys %{ $self->{publishers} }) {
        my $last = -1;

        for (@{ $self->{publishers}{$name} }) {
            my ($word, $outcome, $id) = @$_;
            my $place = $at->{$word};

            $sent{$word} = 1;

            if ($outcome eq 'refused') {
                $self->fault('%s was refused and is in the history', $word)
                    if defined $place;
                next;
            }

            next if $outcome eq 'unknown';

            if (!defined $place) {
                push @{ $self->{lost} }, $word;
                $self->fault('%s was committed and is lost', $word)
                    unless $self->{loses};
                next;
            }

            $self->fault('%s was answered with %s and has %s', $word, $id,
                         $self->{words}[$place]{id})
                if defined $id && $id ne $self->{words}[$place]{id}
                   && !$self->lost_number($id);

            $self->fault('%s stands before what its publisher sent before',
                         $word)
                if $place < $last;

            $last = $place if $place > $last;
        }
    }

    for (@{ $self->{words} }) {
        $self->fault('%s is in the history and nobody has sent it', $_->{word})
            unless $sent{ $_->{word} };
    }

    $self->{sent} = \%sent;
}


sub lost_number {
    my ($self, $id) = @_;

    return $self->{loses} && !$self->{numbers}{$id};
}


# The place of the first word behind an id; undef if the history has no such
# place: its epoch is of no word.

sub behind {
    my ($self, $id) = @_;
    my ($epoch, $seq) = $id =~ /^([0-9a-f]+)-(\d+)/ or return undef;
    my ($place, $words) = (undef, $self->{words});

    for my $i (0 .. $#$words) {
        next unless $words->[$i]{epoch} eq $epoch;
        return $i if $words->[$i]{seq} > $seq;
        $place = $i + 1;
    }

    return $place;
}


# `next` is the place of the word that must come; undef: any that was not seen.
# `told` is 0 from a word that was lost until a gap, or an end that says come
# back, tells of it.

sub check_client {
    my ($self, $name) = @_;
    my $c = { name => $name, next => 0, most => -1, told => 1, first => 1,
              gone => undef };

    for my $event (@{ $self->{clients}{$name} }) {
        my ($kind, @what) = @$event;

        if ($kind eq 'open') {
            $self->client_opens($c, @what);

        } elsif ($kind eq 'gap') {
            $c->{told} = $c->{announced} = 1;
            $c->{gone} = undef;
            $c->{most} = -1 if $self->{loses};
            $c->{next} = defined $what[0] ? $self->behind($what[0]) : undef;

        } elsif ($kind eq 'end') {
            next unless $what[0] eq 'reconnect';

            $c->{told} = $c->{announced} = 1;
            $c->{most} = -1 if $self->{loses};

        } elsif ($kind eq 'message') {
            $self->client_gets($c, @what);
        }
    }

    my $words = $self->{words};

    $self->fault('%s never got %s, the last one', $name, $words->[-1]{word})
        if @$words && $c->{most} != $#$words;

    $self->fault('%s got words that were lost, and was never told', $name)
        unless $c->{told};

    $self->fault('%s was not told that commits were lost', $name)
        if $self->{loses} && @{ $self->{lost} } && !$c->{announced};
}


sub client_opens {
    my ($self, $c, $id) = @_;

    if (defined $id) {

        # what it asks for again comes again

        my $next = $self->behind($id);
        $c->{next} = $next if defined $next;
        $c->{most} = $next - 1 if defined $next && $next - 1 < $c->{most};

    } elsif (!$c->{first}) {
        $c->{next} = undef;
        $c->{told} = 1;
        $c->{gone} = undef;
    }

    $c->{first} = 0;
}


sub client_gets {
    my ($self, $c, $id, $word) = @_;
    my $words = $self->{words};
    my $place = $self->{at}{$word};

    if ($self->{loses} && !defined $id && !$c->{announced}) {
        $self->client_gets_blindly($c, $word);
        return;
    }

    if (!defined $place || defined $id && $self->lost_number($id)) {
        $self->client_gets_lost($c, $id, $word);
        return;
    }

    $self->fault('%s got %s as %s, it is %s', $c->{name}, $word, $id,
                 $words->[$place]{id})
        if defined $id && $id ne $words->[$place]{id};

    if (!$c->{told}) {
        $self->fault('%s got %s and was not told that what it got before was'
                     . ' lost', $c->{name}, $word);
        $c->{told} = 1;
    }

    if (defined $c->{next} ? $place != $c->{next} : $place <= $c->{most}) {

        if ($place <= $c->{most}) {
            $self->fault($place == $c->{most} ? '%s got %s twice'
                         : '%s got %s again, or too late', $c->{name}, $word);

        } else {
            $self->fault('%s got %s and was not told that %d before it were'
                         . ' missing, the first is %s', $c->{name}, $word,
                         $place - $c->{next}, $words->[$c->{next}]{word});
        }
    }

    $c->{next} = $place + 1;
    $c->{most} = $place if $place > $c->{most};
}


# Without ids, before it is told that commits were lost: what will have been
# lost is not known.  Each word comes once, each publisher's in order.

sub client_gets_blindly {
    my ($self, $c, $word) = @_;
    my ($name, $n) = $word =~ /^(.*):(\d+)$/;

    $self->fault('%s got %s, which nobody has sent', $c->{name}, $word)
        unless $self->{sent}{$word};
    $self->fault('%s got %s behind %s:%d', $c->{name}, $word, $name,
                 $c->{blind}{$name})
        if $n <= ($c->{blind}{$name} // 0);

    $c->{blind}{$name} = $n;
    $c->{told} = 0 unless exists $self->{at}{$word};
}


# A word that is not in the history: sent, delivered, and lost by PostgreSQL.

sub client_gets_lost {
    my ($self, $c, $id, $word) = @_;

    unless ($self->{loses} && $self->{sent}{$word}) {
        $self->fault('%s got %s, which is not in the history', $c->{name},
                     $word);
        return;
    }

    $c->{told} = 0;

    return unless defined $id;

    my ($epoch, $seq) = $id =~ /^([0-9a-f]+)-(\d+)/;
    my $before = $c->{gone};

    unless ($before) {
        my $words = $self->{words};
        my $last = $c->{most} >= 0 ? $words->[$c->{most}] : undef;
        $before = [ $last->{epoch}, $last->{seq} ] if $last;
    }

    $self->fault('%s got %s as %s behind %s-%s', $c->{name}, $word, $id,
                 @$before)
        if $before && $before->[0] eq $epoch && $seq != $before->[1] + 1;

    $c->{gone} = [ $epoch, $seq ];
}


1;
