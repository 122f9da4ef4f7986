package BenchTable;

# Copyright (C) The nginx-broadcast authors
#
# Medians, ratios, aims, and the text of it all.

use strict;
use warnings;

use List::Util qw(any);

use BenchPlans;


# An aim is for the columns events and hub, or those of "of": at most, at least,
# below or above so much, or so many times what "base" has.  A row that "needs"
# a column is not there without it.

my %rows = (
    fanout => [
        [ 'paced, server CPU per delivery, us', of('paced', 'cpu_us'), 2,
          { most => 1.10, base => 'floor' }, { below => 1, base => 'nchan' } ],
        [ '  with one worker, us', lone('cpu_us'), 2,
          { most => 1.10, base => 'floor' }, { needs => 'hub' } ],
        [ '  the floor in as many processes, us', floors('cpu_us'), 2,
          { needs => 'floor' } ],
        [ 'paced, publish to last client, p50, ms', of('paced', 'p50_ms'), 1 ],
        [ 'paced, publish to last client, p99, ms', of('paced', 'p99_ms'), 1,
          { most => 1.2, base => 'floor', clients => 10000 } ],
        [ '  the floor in as many processes, ms', floors('p99_ms'), 1,
          { needs => 'floor' } ],
        [ 'saturated, server CPU per delivery, us',
          of('saturated', 'cpu_us'), 2, { most => 0.13, base => 'floor' } ],
        [ 'saturated, deliveries per second',
          of('saturated', 'per_second'), 0, { least => 4, base => 'nchan' } ],
        [ 'batched, server CPU per delivery, us', batched('cpu_us'), 2,
          { most => 0.10, base => 'floor' } ],
        [ 'batched, deliveries per second', batched('per_second'), 0,
          { above => 1, base => 'nats' } ],
        [ 'idle client, user space, bytes', memory('idle'), 0,
          { most => 1536 } ],
        [ '  of these in shared memory', shared('idle'), 0 ],
        [ 'idle event stream, user space, bytes', memory('idle_sse'), 0,
          { most => 2560 } ],
        [ '  of these in shared memory', shared('idle_sse'), 0 ],
        [ 'connect, server CPU, us', storm('storms'), 1,
          { most => 1.5, base => 'nchan' } ],
        [ '  negotiate kept alive, us', of_hub('kept'), 1,
          { most => 1.5, base => 'nchan' }, { needs => 'hub' } ],
        [ '  without negotiate, us', of_hub('direct'), 1,
          { most => 1.5, base => 'nchan' }, { needs => 'hub' } ],
        [ 'connect in two requests, server CPU, us', storm('hops'), 1 ],
        [ '  the first kept alive, us', storm('kept'), 1 ],
    ],

    groups => [
        [ 'server CPU per message, us', of('groups_all', 'cpu_us'), 1 ],
        [ '  with a tenth of groups and clients, us',
          of('groups_few', 'cpu_us'), 1 ],
        [ '  times that', grown('groups_all'), 2,
          { most => 1.1, base => 'floor' } ],
        [ '  to that tenth, all connected, us',
          of('groups_part', 'cpu_us'), 1 ],
        [ '  times the tenth alone', grown('groups_part'), 2,
          { most => 1.1 } ],
        [ 'messages per CPU-second', per_cpu('groups_all'), 0,
          { least => 3, base => 'nchan' } ],
        [ 'messages per second', of('groups_all', 'per_second'), 0 ],
        map { lines($_) } BenchPlans::batches(),
    ],

    bystander => [
        [ 'its CPU, % of a core', of('bystander', 'percent'), 2,
          { below => 5 } ],
        [ 'CPU of all other workers, % of a core',
          of('bystander', 'others_percent'), 0 ],
        [ 'messages per second', of('bystander', 'per_second'), 0,
          { least => 99000 } ],
    ],

    many => [
        [ 'connect all, seconds', of('many_connect', 'seconds'), 1 ],
        [ 'connect, server CPU, us', of('many_connect', 'cpu_us'), 1 ],
        [ 'client, user space, bytes', memory('many_connect'), 0 ],
        [ 'client, kernel, both ends, bytes',
          of('many_connect', 'kernel'), 0 ],
        [ 'idle, server CPU, % of a core', of('many_idle', 'percent'), 2 ],
        [ 'broadcast, publish to last client, ms',
          of('many_broadcast', 'mean_ms'), 0 ],
        [ 'broadcast, server CPU per delivery, us',
          of('many_broadcast', 'cpu_us'), 2 ],
        [ 'disconnect all, seconds', of('many_disconnect', 'seconds'), 1 ],
        [ 'disconnect, server CPU, us', of('many_disconnect', 'cpu_us'), 1 ],
    ],
);

my %names = (floor => 'floor', nchan => 'Nchan', nats => 'NATS',
             events => 'events', hub => 'hub');

my @bases = qw(floor nchan nats);


sub name { return $names{$_[0]} }

sub columns_all { return qw(floor nchan nats events hub) }


# where a run has its figure

sub of {
    my ($part, $name) = @_;

    return sub { $_[0]{$part} ? $_[0]{$part}{$name} : undef };
}


# In the floor's column that of the floor of several processes, in others what
# they are compared with it by.

sub floors {
    my ($name) = @_;
    my $own = of('paced', $name);

    return sub {
        my ($run, $peer) = @_;

        return if $peer !~ /floor|events|hub/;
        return $own->($peer eq 'floor' ? $run->{floors} || {} : $run);
    };
}


# The hub with one worker, beside the floor of one process.

sub lone {
    my ($name) = @_;
    my $own = of('paced', $name);

    return sub {
        my ($run, $peer) = @_;

        return if $peer !~ /floor|hub/;
        return $own->($peer eq 'hub' ? $run->{lone} || {} : $run);
    };
}


# The floor has no batches, and to NATS a publisher never waits for anything:
# what others' are compared with is what these two did at full speed.

sub batched {
    my ($name) = @_;

    return sub {
        my ($run, $peer) = @_;
        my $part = $peer =~ /floor|nats/ ? 'saturated' : 'batched';

        return $run->{$part} ? $run->{$part}{$name} : undef;
    };
}


sub storm {
    my ($part) = @_;

    return sub {
        $_[0]{$part} ? median(map { $_->{cpu_us} } @{$_[0]{$part}}) : undef;
    };
}


# What the hub has of another kind beside the one that its peers have; events
# have no negotiate to do without.

sub of_hub {
    my ($part) = @_;
    my ($hub, $plain) = (storm($part), storm('storms'));

    return sub {
        my ($run, $peer) = @_;

        return if $peer eq 'events';
        return $peer eq 'hub' ? $hub->($run) : $plain->($run);
    };
}


sub memory {
    my ($part) = @_;
    my $shared = shared($part);

    return sub {
        $_[0]{$part} ? $_[0]{$part}{anon} + $shared->($_[0]) : undef;
    };
}


sub per_cpu {
    my ($part) = @_;

    return sub { $_[0]{$part} ? 1e6 / $_[0]{$part}{cpu_us} : undef };
}


# Rows of requests with so many messages each.  A publish of Nchan is one
# message, and the floor has no batches: their figures are those of one alone.

sub lines {
    my ($n) = @_;
    my $part = "groups_${n}_lines";
    my @of = map { per_cpu($_) } $part, 'groups_all';
    my @us = map { of($_, 'cpu_us') } $part, 'groups_all';

    return ([ "$n a request, CPU per message, us", ours(@us), 1 ],
            [ "$n a request, messages per CPU-s", ours(@of), 0,
              { least => 3, base => 'nchan' } ]);
}


sub ours {
    my ($own, $others) = @_;

    return sub {
        my ($run, $peer) = @_;

        return $peer =~ /events|hub/ ? $own->($run) : $others->($run);
    };
}


sub grown {
    my ($part) = @_;

    return sub {
        $_[0]{$part}
            ? $_[0]{$part}{cpu_us} / $_[0]{groups_few}{cpu_us} : undef;
    };
}


# Pages that the zone was given at its creation do not grow, so what the status
# page calls used counts where it is the larger.

sub shared {
    my ($part) = @_;

    return sub {
        my $idle = $_[0]{$part} or return;

        return $idle->{zone} > $idle->{shmem} ? $idle->{zone} : $idle->{shmem};
    };
}


sub new {
    my ($class, $peers, $plans) = @_;

    my $self = bless { peers => $peers, rows => [], missed => 0 }, $class;

    for my $plan (@$plans) {
        for my $row (@{$rows{$plan->{kind}} || []}) {
            $self->add($plan, @$row);
        }
    }

    return $self;
}


sub rows { return $_[0]{rows} }

sub missed { return $_[0]{missed} }


sub add {
    my ($self, $plan, $name, $figure, $digits, @aims) = @_;

    my (%median, %wild, %ratio);

    for my $peer (@{$self->{peers}}) {
        my @values = sort { $a <=> $b } grep { defined }
                     map { $figure->($_, $peer) }
                     @{$plan->{runs}{$peer} || []};
        next if !@values;

        $median{$peer} = median(@values);
        $wild{$peer} = 1
            if $values[-1] - $values[0] > abs($median{$peer}) / 4;
    }

    return if !%median
              || any { $_->{needs} && !defined $median{$_->{needs}} } @aims;

    for my $peer (grep { /events|hub/ } keys %median) {
        for my $base (grep { $median{$_} } @bases) {
            $ratio{"$peer/$base"} = $median{$peer} / $median{$base};
        }
    }

    @aims = map { judge($_, \%median, \%ratio) }
            grep { !$_->{needs} && (!$_->{clients}
                                    || $_->{clients} == $plan->{clients}) }
                 @aims;

    $self->{missed} ||= any { @{$_->{missed}} } @aims;

    push @{$self->{rows}}, {
        kind    => $plan->{kind}, title => $plan->{title},
        clients => $plan->{clients}, rate => $plan->{rate},
        name    => $name, digits => $digits,
        median  => \%median, wild => \%wild, ratio => \%ratio,
        aims    => \@aims,
    };

    return;
}


# Who has missed it, and which figure it is in this run.  One that cannot be
# judged, since a column is missing, is none.

sub judge {
    my ($aim, $median, $ratio) = @_;

    my ($relation) = grep { defined $aim->{$_} } qw(most least below above);
    my $bound = $aim->{$relation};
    my $base = $aim->{base};
    my @missed;
    my $known = 0;

    for my $column (@{$aim->{of} || [qw(events hub)]}) {
        my $value = $base ? $ratio->{"$column/$base"} : $median->{$column};
        next if !defined $value;

        $known++;
        push @missed, $column
            if !($relation eq 'most'  ? $value <= $bound
               : $relation eq 'least' ? $value >= $bound
               : $relation eq 'below' ? $value <  $bound
                                      : $value >  $bound);
    }

    return if !$known;

    my $sign = { most => '<=', least => '>=', below => '<',
                 above => '>' }->{$relation};
    my $times = !$base ? $bound
              : $bound == 1 ? $names{$base} : "$bound $names{$base}";

    return { aim   => "$sign $times", missed => \@missed,
             limit => $base ? $bound * $median->{$base} : $bound };
}


sub text {
    my ($self) = @_;

    my $text = '';
    my $title = '';
    my (@peers, @ratios);

    for my $row (@{$self->{rows}}) {

        if ($row->{title} ne $title) {
            $title = $row->{title};
            @peers = $self->columns($title);
            @ratios = ratios(@peers);

            $text .= "\n" if $text;
            $text .= sprintf '%-40s', $title;
            $text .= sprintf ' %9s', $names{$_} for @peers;
            $text .= sprintf ' %9s', short($_) for @ratios;
            $text .= (any { @{$_->{aims}} && $_->{title} eq $title }
                          @{$self->{rows}}) ? "  aims\n" : "\n";
        }

        $text .= sprintf '%-40s', $row->{name};
        $text .= sprintf ' %9s', figure($row, $_) for @peers;

        for my $value (map { $row->{ratio}{$_} } @ratios) {
            $text .= sprintf ' %9s', defined $value
                ? sprintf('%.2f', $value) : '-';
        }

        $text .= '  ' . join '; ', map { verdict($_) } @{$row->{aims}}
            if @{$row->{aims}};
        $text .= "\n";
    }

    return $text;
}


# those that have a figure in a table, in order

sub columns {
    my ($self, $title) = @_;

    my @rows = grep { $_->{title} eq $title } @{$self->{rows}};

    return grep { my $peer = $_; any { defined $_->{median}{$peer} } @rows }
           @{$self->{peers}};
}


# NATS's are for the aims and the JSON: a line has no room for them

sub ratios {
    my @peers = @_;
    my @ratios;

    for my $ours (grep { /events|hub/ } @peers) {
        for my $base (qw(floor nchan)) {
            push @ratios, "$ours/$base" if any { $_ eq $base } @peers;
        }
    }

    return @ratios;
}


sub figure {
    my ($row, $peer) = @_;

    my $value = $row->{median}{$peer};

    return !defined $value ? '-'
        : ($row->{wild}{$peer} ? '~' : '')
          . sprintf "%.$row->{digits}f", $value;
}


sub verdict {
    my ($aim) = @_;

    return "$aim->{aim}: "
        . (@{$aim->{missed}} ? "missed: @{$aim->{missed}}" : 'met');
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
