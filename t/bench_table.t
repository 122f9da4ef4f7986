#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# What util/bench makes of figures: which aims a row has, who misses them, what
# is said where a column was not measured.  No server runs here.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use Test::More;

use lib abs_path(dirname(__FILE__)) . '/../util/bench-src';

use BenchPlans;
use BenchTable;


# figures of a run; each aim is met with 1, and missed with 10

sub run {
    my ($k) = @_;

    return {
        paced     => { cpu_us => 4 * $k, p50_ms => 6, p99_ms => 7 * $k },
        saturated => { cpu_us => 0.5 * $k, per_second => 4e6 / $k },
        batched   => { cpu_us => 0.3 * $k, per_second => 5e6 / $k },
        idle      => { anon => 1000 * $k, shmem => 400, zone => 500 },
        idle_sse  => { anon => 2000 * $k, shmem => 560, zone => 0 },
        storms    => [ { cpu_us => 20 * $k } ],
        kept      => [ { cpu_us => 19 * $k } ],
        direct    => [ { cpu_us => 18 * $k } ],
        groups_all => { cpu_us => 10 * $k, per_second => 1e5 / $k },
        groups_few => { cpu_us => 10, per_second => 1e5 },
        groups_part => { cpu_us => 10 * $k, per_second => 1e5 / $k },
        groups_100_lines => { cpu_us => 8 * $k, per_second => 1e5 / $k },
        groups_5000_lines => { cpu_us => 2 * $k, per_second => 5e5 / $k },
        bystander => { percent => 1 * $k, others_percent => 20,
                       per_second => 1e5 / $k },
    };
}


# the floor costs 4 for a paced delivery and 5 for one at full speed

sub floor {
    my $run = run(1);

    $run->{saturated} = { cpu_us => 5, per_second => 4e5 };
    delete $run->{batched};

    return $run;
}


sub nchan {
    my $run = run(1);

    $run->{paced}{cpu_us} = 5;
    $run->{saturated}{per_second} = 1e6;
    $run->{groups_all}{cpu_us} = 30;

    return $run;
}


sub nats {
    my $run = run(1);

    $run->{saturated}{per_second} = 4.9e6;
    delete $run->{batched};

    return $run;
}


sub table {
    my ($kind, $clients, %runs) = @_;

    my @columns = grep { $runs{$_} } BenchTable::columns_all();

    return BenchTable->new(\@columns, [
        { kind => $kind, title => 'a title', clients => $clients, rate => 1,
          runs => \%runs } ]);
}


sub aims {
    my ($table) = @_;
    my %aims;

    for my $row (@{$table->rows}) {
        $aims{"$row->{name}: $_->{aim}"} = join ' ', @{$_->{missed}}
            for @{$row->{aims}};
    }

    return \%aims;
}


# the issue's aims, word for word as figures

my @fanout = (
    'paced, server CPU per delivery, us: <= 1.1 floor',
    'paced, server CPU per delivery, us: < Nchan',
    'saturated, server CPU per delivery, us: <= 0.13 floor',
    'saturated, deliveries per second: >= 4 Nchan',
    'batched, server CPU per delivery, us: <= 0.1 floor',
    'batched, deliveries per second: > NATS',
    'idle client, user space, bytes: <= 1536',
    'idle event stream, user space, bytes: <= 2560',
    'connect, server CPU, us: <= 1.5 Nchan',
    '  negotiate kept alive, us: <= 1.5 Nchan',
    '  without negotiate, us: <= 1.5 Nchan',
);

my @p99 = 'paced, publish to last client, p99, ms: <= 1.2 floor';

my @groups = ('  times that: <= 1.1 floor',
              '  times the tenth alone: <= 1.1',
              'messages per CPU-second: >= 3 Nchan',
              '100 a request, messages per CPU-s: >= 3 Nchan',
              '5000 a request, messages per CPU-s: >= 3 Nchan');

my @bystander = ('its CPU, % of a core: < 5', 'messages per second: >= 99000');

my %peers = (floor => [ floor() ], nchan => [ nchan() ], nats => [ nats() ]);

for my $case ([ fanout => 1000, @fanout ], [ fanout => 10000, @fanout, @p99 ],
              [ groups => 10000, @groups ], [ bystander => 12, @bystander ]) {

    my ($kind, $clients, @aims) = @$case;
    my $name = "$kind, $clients clients";
    my $good = table($kind, $clients, %peers, events => [ run(1) ],
                     hub => [ run(1) ]);
    my $bad = table($kind, $clients, %peers, events => [ run(1) ],
                    hub => [ run(10) ]);

    is_deeply(aims($good), { map { $_ => '' } @aims }, "$name: all aims met")
        or diag(explain(aims($good)));
    ok(!$good->missed, "$name: none is missed");

    is_deeply(aims($bad), { map { $_ => 'hub' } @aims },
              "$name: the hub misses what it is aimed at")
        or diag(explain(aims($bad)));
    ok($bad->missed, "$name: that is known");
}


# columns that are not there

my $alone = table('fanout', 1000, events => [ run(1) ]);

is_deeply([ sort keys %{aims($alone)} ],
          [ 'idle client, user space, bytes: <= 1536',
            'idle event stream, user space, bytes: <= 2560' ],
          'without peers only figures are judged');


# a floor of several processes stands beside, and is no aim's

my ($pair) = grep { $_->{name} eq '  the floor in as many processes, us' }
    @{table('fanout', 1000, floor => [ floor(), { floors => run(2) } ],
            nchan => [ nchan() ], hub => [ run(3) ])->rows};

is_deeply([ @{$pair->{median}}{qw(floor nchan hub)} ], [ 8, undef, 12 ],
          'it has its figure in the column of the floor');
is_deeply([ $pair->{ratio}, $pair->{aims} ], [ { 'hub/floor' => 1.5 }, [] ],
          'and a ratio');

for my $without ([ 'its own', floor => [ floor() ] ], [ 'a floor' ]) {
    my ($name, @floor) = @$without;

    is(scalar(grep { $_->{name} =~ /as many processes/ }
              @{table('fanout', 1000, @floor, hub => [ run(1) ])->rows}),
       0, "without $name there is no such row");
}


# the hub with one worker is judged beside the hub with several

my $lone = table('fanout', 1000, floor => [ floor() ], nchan => [ nchan() ],
                 events => [ run(1) ], hub => [ run(2), { lone => run(1) } ]);
my ($single) = grep { $_->{name} eq '  with one worker, us' } @{$lone->rows};

is_deeply([ @{$single->{median}}{qw(floor nchan events hub)} ],
          [ 4, undef, undef, 4 ],
          'with one worker the hub has a figure of its own');
is_deeply([ map { [ $_->{aim}, @{$_->{missed}} ] } @{$single->{aims}} ],
          [ [ '<= 1.1 floor' ] ], 'which is judged by itself');


# what the hub alone can do without stands beside what others do anyway

my ($direct) = grep { $_->{name} eq '  without negotiate, us' }
    @{table('fanout', 1000, nchan => [ nchan() ], events => [ run(1) ],
            hub => [ run(1) ])->rows};

is_deeply($direct->{median}, { nchan => 20, hub => 18 },
          'a hub without negotiate beside plain connects of peers');

# who cannot batch has what a message alone costs there

my ($lines) = grep { $_->{name} eq '100 a request, CPU per message, us' }
    @{table('groups', 10000, %peers, events => [ run(1) ])->rows};

is_deeply([ @{$lines->{median}}{qw(floor nchan events)} ], [ 10, 30, 8 ],
          'messages of one request beside the peers\' requests of one');

# the text

my $text = table('fanout', 1000, %peers, events => [ run(1) ],
                 hub => [ run(10) ])->text;

like($text, qr/^a title +floor +Nchan +NATS +events +hub .* aims$/m,
     'the head names the columns, and the aims');
like($text, qr{^paced,\ server\ CPU\ per\ delivery,\ us \s+ 4\.00 \s+ 5\.00
               \s+ 4\.00 \s+ 4\.00 \s+ 40\.00 \s+ 1\.00 \s+ 0\.80 \s+ 10\.00
               \s+ 8\.00 \s+ <=\ 1\.1\ floor:\ missed:\ hub;
               \ <\ Nchan:\ missed:\ hub$}mx,
     'a row has figures, ratios, and who misses each aim');

my $wild = table('fanout', 1000, floor => [ map { run($_) } 1, 1.1, 2 ])->text;

like($wild, qr/^paced, server CPU per delivery, us +~4\.40$/m,
     'the median is told, and that its rounds differ');


# what is run, of what is named

for my $case ([ {}, 'bystander calls commits fanout groups many',
                'all, where nothing is named' ],
              [ { quick => 1 }, 'bystander calls commits fanout groups',
                'all but many clients, where it is to be quick' ],
              [ { quick => 1, only => 'many' }, 'many',
                'unless they are named' ],
              [ { clients => 100000 }, 'many',
                'so many clients are for one table' ],
              [ { only => 'floor,hub' }, 'fanout',
                'columns alone are those of the fan-out' ]) {

    my ($options, $sections, $name) = @$case;
    my ($columns, $has) = BenchPlans::chosen(%$options);

    is(join(' ', sort keys %$has), $sections, $name);
}

my ($columns) = BenchPlans::chosen(only => 'floor,hub,groups');

is("@$columns", 'floor hub', 'of a table, the columns that are named');

done_testing();
