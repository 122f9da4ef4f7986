package BenchTable;

# Copyright (C) The nginx-broadcast authors
#
# Medians, ratios, aims, and the text of it all.

use strict;
use warnings;


# name, how a run's figure is found, digits, aim: at most this times Nchan

my @rows = (
    [ 'paced, server CPU per delivery, us',
      sub { $_[0]{paced}{cpu_us} }, 2, 1 ],
    [ 'paced, publish to last client, p50, ms',
      sub { $_[0]{paced}{p50_ms} }, 1 ],
    [ 'paced, publish to last client, p99, ms',
      sub { $_[0]{paced}{p99_ms} }, 1 ],
    [ 'saturated, server CPU per delivery, us',
      sub { $_[0]{saturated}{cpu_us} }, 2 ],
    [ 'saturated, deliveries per second',
      sub { $_[0]{saturated}{per_second} }, 0 ],
    [ 'idle client, user space, bytes',
      sub { $_[0]{idle} && $_[0]{idle}{anon} + shared($_[0]) }, 0, 1 ],
    [ '  of these in shared memory',
      sub { $_[0]{idle} && shared($_[0]) }, 0 ],
    [ 'connect, server CPU, us',
      sub { $_[0]{storms} && median(map { $_->{cpu_us} } @{$_[0]{storms}}) },
      1 ],
    [ 'connect in two requests, server CPU, us',
      sub { $_[0]{hops} && median(map { $_->{cpu_us} } @{$_[0]{hops}}) },
      1 ],
);

my %names = (floor => 'floor', nchan => 'Nchan', events => 'events',
             hub => 'hub');


# Pages that the zone was given at its creation do not grow, so what the status
# page calls used counts where it is the larger.

sub shared {
    my $idle = $_[0]{idle};

    return $idle->{zone} > $idle->{shmem} ? $idle->{zone} : $idle->{shmem};
}


sub new {
    my ($class, $peers, $plans) = @_;

    my $self = bless { peers => $peers, rows => [], missed => 0 }, $class;

    for my $plan (@$plans) {
        for my $row (@rows) {
            $self->add($plan, @$row);
        }
    }

    return $self;
}


sub rows { return $_[0]{rows} }

sub missed { return $_[0]{missed} }


sub add {
    my ($self, $plan, $name, $figure, $digits, $aim) = @_;

    my (%median, %wild, %ratio);

    for my $peer (@{$self->{peers}}) {
        my @values = grep { defined } map { $figure->($_) }
                     @{$plan->{runs}{$peer} || []};
        next if !@values;

        my @sorted = sort { $a <=> $b } @values;

        $median{$peer} = median(@values);
        $wild{$peer} = 1
            if $sorted[-1] - $sorted[0] > abs($median{$peer}) / 4;
    }

    return if !%median;

    for my $peer (grep { /events|hub/ } keys %median) {
        for my $base (grep { $median{$_} } qw(floor nchan)) {
            $ratio{"$peer/$base"} = $median{$peer} / $median{$base};
        }
    }

    my $verdict = '';

    if ($aim) {
        my @late = grep { $ratio{"$_/nchan"} > $aim }
                   grep { defined $ratio{"$_/nchan"} } qw(events hub);
        my $known = grep { defined $ratio{"$_/nchan"} } qw(events hub);

        $self->{missed} ||= @late > 0;
        $verdict = !$known ? '' : @late ? 'missed: ' . join ' ', @late : 'met';
    }

    push @{$self->{rows}}, {
        clients => $plan->{clients}, rate => $plan->{rate}, name => $name,
        digits  => $digits, median => \%median, wild => \%wild,
        ratio   => \%ratio, aim => $verdict,
    };

    return;
}


sub text {
    my ($self) = @_;

    my @peers = @{$self->{peers}};
    my @ratios = map { my $ours = $_;
                       map { "$ours/$_" }
                           grep { my $base = $_; grep { $_ eq $base } @peers }
                               qw(floor nchan) }
                 grep { /events|hub/ } @peers;

    my $text = '';
    my $clients = 0;

    for my $row (@{$self->{rows}}) {

        if ($row->{clients} != $clients) {
            $clients = $row->{clients};

            $text .= "\n" if $text;
            $text .= sprintf '%-40s', "$clients clients, paced at "
                                      . "$row->{rate}/s";
            $text .= sprintf ' %9s', $names{$_} for @peers;
            $text .= sprintf ' %9s', short($_) for @ratios;
            $text .= @ratios ? "  not above Nchan\n" : "\n";
        }

        $text .= sprintf '%-40s', $row->{name};

        for my $peer (@peers) {
            my $value = $row->{median}{$peer};

            $text .= sprintf ' %9s', defined $value
                ? ($row->{wild}{$peer} ? '~' : '')
                  . sprintf "%.$row->{digits}f", $value
                : '-';
        }

        for my $ratio (@ratios) {
            my $value = $row->{ratio}{$ratio};

            $text .= sprintf ' %9s', defined $value
                ? sprintf('%.2f', $value) : '-';
        }

        $text .= $row->{aim} ? "  $row->{aim}\n" : "\n";
    }

    return $text;
}


sub short {
    my ($ours, $base) = split '/', $_[0];

    return substr($ours, 0, 3) . '/' . $names{$base};
}


sub median {
    my @values = sort { $a <=> $b } @_;

    return if !@values;

    my $middle = int(@values / 2);

    return @values % 2 ? $values[$middle]
                       : ($values[$middle - 1] + $values[$middle]) / 2;
}


1;
