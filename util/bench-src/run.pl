#!/usr/bin/perl
# Copyright (C) The nginx-broadcast authors
#
# Called by util/bench, which built what is needed: starts the servers one
# after the other, lets the load generator measure each, prints the table.

use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use Getopt::Long;
use JSON::PP;
use POSIX ();
use Time::HiRes;

use BenchCalls;
use BenchCommits;
use BenchPlans;
use BenchServer;
use BenchTable;

STDOUT->autoflush(1);

my %opt = (workers => 2, only => '');

GetOptions(\%opt, 'quick', 'smoke', 'check', 'json=s', 'rounds=i', 'workers=i',
           'only=s', 'clients=i')
    && ($opt{rounds} // 1) > 0 && $opt{workers} > 0
    or fail('a number is wrong', 'see util/bench --help');

$opt{quick} = 1 if $opt{smoke};

my ($columns, $sections) = eval { BenchPlans::chosen(%opt) };
fail($@ =~ s/\s+\z//r) if $@;

my %all = (%opt, columns => $columns, sections => $sections);
my @plans = BenchPlans::plans(%all);
my %rounds = map { $_->{kind} => $_->{rounds} } @plans;
my $calls = $sections->{calls};
my $commits = $sections->{commits};


sub say { print STDERR "util/bench: @_\n" }

sub fail {
    print STDERR "util/bench: error: $_[0]\n";
    print STDERR "    $_\n" for @_[1 .. $#_];
    exit 1;
}


my ($server, $load);

$SIG{INT} = $SIG{TERM} = sub { exit 130 };

END {
    local $?;
    kill 'TERM', $load if $load;
    $server->stop if $server;
}


my %column = reverse %BenchPlans::beside;
my $started = time;
my $machine = BenchServer::machine();
my @failed;

for my $plan (@plans) {
    if ($plan->{skip}) {
        say("skipped: $plan->{skip}");
        next;
    }

    my $begun = Time::HiRes::time;

    for my $round (1 .. $plan->{rounds}) {
        for (@{$plan->{columns}}) {
            my $peer = $_;

            say("round $round of $plan->{rounds}, $plan->{title}: $peer");

            my ($run, $error) = measure($peer, $plan);

            if ($error) {
                say("this run failed: $error");
                push @failed, "$peer, $plan->{title}: $error";
                next;
            }

            # beside the column's own

            if ($column{$peer}) {
                ($peer, $run) = ($column{$peer}, { $peer => $run });
            }

            push @{$plan->{runs}{$peer}}, $run;
        }
    }

    $plan->{seconds} = Time::HiRes::time - $begun;
}


if ($calls) {
    my %calls = BenchPlans::calls(%all);

    $rounds{calls} = $calls{rounds};
    $calls = eval { BenchCalls->new(%calls) } or fail("calls: $@");

    for my $round (1 .. $rounds{calls}) {
        say("round $round of $rounds{calls}: calls");

        for my $error ($calls->round) {
            say("this run failed: $error");
            push @failed, "calls: $error";
        }
    }

    $calls->finish;
}


if ($commits) {
    my %commits = BenchPlans::commits(%all);

    $rounds{commits} = $commits{rounds};
    $commits = eval { BenchCommits->new(%commits) } or fail("commits: $@");

    for my $round (1 .. $rounds{commits}) {
        say("round $round of $rounds{commits}: commits");

        for my $error ($commits->round) {
            say("this run failed: $error");
            push @failed, "commits: $error";
        }
    }

    $commits->finish;
}


sub measure {
    my ($peer, $plan) = @_;

    $server = eval {
        BenchServer->start($peer, $plan, $plan->{workers} || $opt{workers});
    };
    return (undef, $@ =~ s/\s+\z//r) if !$server;

    my @cmd = ("$ENV{BENCH_OUT}/load", $server->load_options,
               '--pids', join(',', $server->pids),
               '--clients', $plan->{clients},
               @{$plan->{load_of}{$peer} || $plan->{load}});

    $load = open my $pipe, '-|', @cmd or fail("cannot run $cmd[0]: $!");
    my $text = do { local $/; <$pipe> };
    close $pipe;
    undef $load;

    my $run = eval { decode_json($text) };
    my $error = $run ? $run->{error} : "the load generator said: $text";

    $error ||= $server->complaints;
    $server->stop;
    undef $server;

    return ($run, $error);
}


my $table = BenchTable->new($columns, \@plans);

print "\n", $table->text if @{$table->rows};
print "\n", $calls->text if $calls;
print "\n", $commits->text if $commits;
print "\n", notes() if $calls || $commits || @{$table->rows};

if ($opt{json}) {
    open my $f, '>', $opt{json} or fail("cannot write $opt{json}: $!");
    print $f JSON::PP->new->canonical->pretty->encode({
        machine => $machine,
        options => \%opt,
        others  => others(),
        failed  => \@failed,
        table   => $table->rows,
        plans   => \@plans,
        calls   => $calls
                   ? { table  => $calls->rows,
                       rounds => $calls->rounds } : undef,
        commits => $commits
                   ? { tables   => $commits->tables,
                       rounds   => $commits->rounds,
                       flush_us => $commits->flush_us } : undef,
    });
    close $f or fail("cannot write $opt{json}: $!");
}

if (@failed) {
    fail('a run failed, its figures are missing above', @failed);
}

exit($opt{check} && ($table->missed || $calls && $calls->missed
                     || $commits && $commits->missed) ? 1 : 0);


# What the rest of the machine did meanwhile, in percent of all its cores.  The
# databases are no children of this process.

sub others {
    my $mine = (POSIX::times())[3] + (POSIX::times())[4];

    $mine += $_->spent for grep { $_ } $calls, $commits;

    my ($busy, $all) = BenchServer::busy();

    $busy -= $machine->{busy};
    $all  -= $machine->{all};

    my $share = $all ? 100 * ($busy - $mine) / $all : 0;

    return sprintf '%.0f', $share < 0 ? 0 : $share;
}


sub notes {
    my $text = 'Medians of alternating rounds: '
        . join(', ', map { "$_ $rounds{$_}" } sort keys %rounds) . "; "
        . "$opt{workers} workers in each nginx, 100-byte messages, "
        . sprintf("%.1f minutes;\n", (time - $started) / 60)
        . "$machine->{cpu}, $machine->{cores} cores, "
        . "Linux $machine->{kernel}, nginx $machine->{nginx}, "
        . "Nchan $machine->{nchan}, NATS $machine->{nats}.\n";

    $text .= $calls->notes if $calls;
    $text .= $commits->notes if $commits;

    $text .= "Skipped: $_->{skip}.\n" for grep { $_->{skip} } @plans;

    my $others = others();

    if ($others >= 5) {
        $text .= "Other programs used $others % of the machine meanwhile: "
               . "trust ratios, not figures.\n";
    }

    $text .= "~ marks figures whose rounds differ by more than a quarter.\n";

    return $text;
}
