package BenchPlans;

# Copyright (C) The nginx-broadcast authors
#
# What is run, with how many clients, how long, and how often: a plan is one
# server configuration, one command of the load generator, and the columns that
# have it; "load_of" is another command for one of them.  All times that a run
# takes are here, in milliseconds: all of it is under 20 minutes, or under 2 with
# --quick.

use strict;
use warnings;


my @columns = qw(floor nchan nats events hub);
my @sections = qw(fanout groups bystander many calls commits);

# messages to groups that a request has, where it may have several: as many
# groups as messages, nearly, and each of 1,000 groups several times

my @batches = (100, 5000);

sub batches { return @batches }

# A second run of a column: the floor in several processes, the hub with one
# worker.  Its figures stand beside the column's own.

our %beside = (floor => 'floors', hub => 'lone');

# more clients than this are not for the rows of the fan-out
my $many = 20000;


# The columns and sections that "only" names: sections alone have all columns,
# columns alone are those of the fan-out; "many" is too long for what is to be
# quick, and so many clients are none for the other sections.  Dies with a
# sentence.

sub chosen {
    my (%o) = @_;

    my (@column, @section);

    for my $word (split /,/, $o{only} // '') {
        if    (grep { $_ eq $word } @columns)  { push @column, $word }
        elsif (grep { $_ eq $word } @sections) { push @section, $word }
        else  { die "--only: there is no \"$word\"\n" }
    }

    if (!@section) {
        @section = ($o{clients} || 0) > $many ? ('many')
            : @column ? ('fanout')
            : grep { !$o{quick} || $_ ne 'many' } @sections;
    }

    @column = @columns if !@column;

    return (\@column, { map { $_ => 1 } @section });
}


# What of it needs a package, or is to be built.

sub needs {
    my ($only, $clients) = @_;

    my ($columns, $sections) = eval {
        chosen(only => $only, clients => $clients);
    };

    if ($@) {
        print STDERR "util/bench: error: $@";
        exit 1;
    }

    my @spread = grep { $sections->{$_} } qw(fanout groups bystander many);

    return join ',', '', @spread ? @$columns : (), sort(keys %$sections), '';
}


# %o: quick, smoke, rounds, clients, and columns and sections as above

sub plans {
    my (%o) = @_;
    my @plans;
    my %has = %{$o{sections}};

    push @plans, fanouts(%o) if $has{fanout};
    push @plans, groups(%o) if $has{groups};
    push @plans, bystander(%o) if $has{bystander};
    push @plans, many(%o) if $has{many};

    for my $plan (@plans) {
        my %has = map { $_ => 1 } @{$plan->{columns} || \@columns};
        my @columns = grep { $has{$_} } @{$o{columns}};

        $plan->{columns} = [ map { ($_, grep { $plan->{load_of}{$_} }
                                        $beside{$_} // ()) } @columns ];
        $plan->{rounds} ||= rounds($plan->{kind}, %o);
        $plan->{runs} ||= {};
    }

    return grep { @{$_->{columns}} } @plans;
}


# Three, but where much is to be run.

sub rounds {
    my ($kind, %o) = @_;

    return 1 if $o{smoke};
    return $o{rounds} if $o{rounds};

    my $alone = keys %{$o{sections}} == 1;

    return $kind eq 'fanout' || $alone ? 3 : $o{quick} ? 1 : 2;
}


# what BenchCalls and BenchCommits are told

sub calls {
    my (%o) = @_;

    return (workers => $o{workers}, clients => $o{clients} || 64,
            rounds => rounds('calls', %o),
            $o{smoke} ? (calls => 300, open => 300)
            : $o{quick} ? (calls => 1500, open => 1500)
                        : (calls => 6000, open => 10000));
}


sub commits {
    my (%o) = @_;

    return (workers => $o{workers}, clients => $o{clients} || 1000,
            rounds => rounds('commits', %o),
            $o{smoke} ? (open => 300, closed => 300)
            : $o{quick} ? (open => 1000, closed => 600)
                        : (open => 8000, closed => 4000));
}


# Rates are messages a second; at 10,000 clients three of them are as many
# deliveries as thirty at 1,000.

sub fanouts {
    my (%o) = @_;

    my @times = $o{smoke} ? (300, 200, 1)
              : $o{quick} ? (1000, 500, 1) : (6000, 4000, 2);
    my $n = $o{clients} || 1000;

    my @plans = fanout($o{workers}, $n, $n > 3000 ? 3 : 20, @times);

    push @plans, fanout($o{workers}, 10000, 3, 12000, 0, 1)
        if !$o{quick} && !$o{clients};

    return map { ($_, streams($_, %o)) } @plans;
}


# "floors" is the floor in as many processes as the others have workers: what
# sending from several costs by itself.  "lone" is the hub with one worker, as
# the floor is one process.

sub fanout {
    my ($workers, $clients, $rate, $paced, $saturated, $storms) = @_;

    my @paced = ('--rate', $rate, '--paced', $paced);

    return {
        kind    => 'fanout',
        title   => "$clients clients, paced at $rate/s",
        clients => $clients,
        rate    => $rate,
        load    => [ @paced, '--saturated', $saturated,
                     '--batched', $saturated, '--storms', $storms ],
        load_of => { $workers > 1 ? map { $_ => \@paced } values %beside
                                  : () },
    };
}


# Another server, since the memory of clients that went would be there for
# these: rows of the same table.  Memory does not need to be told thrice.

sub streams {
    my ($fanout, %o) = @_;

    return {
        kind    => 'streams',
        title   => "$fanout->{clients} idle event streams",
        clients => $fanout->{clients},
        columns => [qw(nchan events)],
        rounds  => 1,
        runs    => $fanout->{runs} ||= {},
        load    => [ '--sse' ],
    };
}


sub groups {
    my (%o) = @_;

    my $members = 10;
    my $ms = $o{smoke} ? 150 : $o{quick} ? 500 : 2000;
    my $clients = $o{clients} || 10000;

    # a tenth of the groups is run, too

    $clients = 10 * $members * int(($clients - 1) / (10 * $members) + 1);

    my @load = ('--groups', $ms, '--members', $members, '--to', '?group=');
    my @lines = ('--lines', join ',', @batches);

    return {
        kind    => 'groups',
        title   => $clients / $members . " groups of $members",
        clients => $clients,
        members => $members,
        zone    => '256m',
        columns => [qw(floor nchan events hub)],
        load    => \@load,
        load_of => { map { $_ => [ @load, @lines ] } qw(events hub) },
    };
}


# Two clients of the hub where the publishers are, ten of another hub in the
# last worker.

sub bystander {
    my (%o) = @_;

    my $rate = 100000;
    my $ms = $o{smoke} ? 300 : $o{quick} ? 1500 : 5000;

    return {
        kind    => 'bystander',
        title   => "a worker without clients, $rate/s",
        clients => 12,
        shared  => 1,
        workers => $o{workers} < 2 ? 2 : $o{workers},
        columns => [qw(events)],
        load    => [ '--bystander', $ms, '--rate', $rate,
                     '--other', '/events/other', '--strangers', 10 ],
    };
}


# A process may have so many descriptors, whoever runs it: more workers than
# elsewhere have the clients, and several processes of the load generator.

sub many {
    my (%o) = @_;

    my $clients = $o{clients} || ($o{smoke} ? 400 : 100000);
    my $limit = descriptors();

    # connections are not spread evenly

    my $room = $limit < 2048 ? 1 : int($limit * 0.9) - 512;
    my $workers = int(($clients - 1) / $room + 1);

    $workers = $o{workers} if $workers < $o{workers};

    return {
        kind        => 'many',
        title       => "$clients idle clients, $workers workers",
        clients     => $clients,
        workers     => $workers,
        connections => int($clients / $workers * 1.1) + 1024,
        zone        => ($clients > 150000 ? int($clients / 1000) : 128) . 'm',
        columns     => [qw(nchan events hub)],
        rounds      => 1,
        skip        => not_here($clients, $workers, $limit),
        load        => [ '--many', $o{smoke} ? 2 : 5,
                         '--idle', $o{smoke} ? 100 : 15000 ],
    };
}


# that a process may have, at most

sub descriptors { return `sh -c 'ulimit -Hn'` =~ /(\d+)/ ? $1 : 1048576 }


# why so many cannot be run on this machine, or nothing

sub not_here {
    my ($clients, $workers, $limit) = @_;

    if ($workers > 16) {
        return "$clients clients need $workers workers with the hard limit of "
            . "$limit descriptors: raise ulimit -Hn";
    }

    # sockets of both ends, buffers of Nchan's, and the load generator

    my $need = int($clients * 32 / 1024) + 256;

    open my $f, '<', '/proc/meminfo' or return;
    my ($free) = join('', <$f>) =~ /^MemAvailable:\s+(\d+) kB/m or return;

    $free = int($free / 1024);

    return $free < $need
        ? "$clients clients need $need MB, there are $free MB" : undef;
}


1;
