package BenchCalls;

# Copyright (C) The nginx-broadcast authors
#
# Calls of SQL functions by clients, beside pgbench that calls the same
# function of the same server: rounds, figures, the table.

use strict;
use warnings;

use Cwd qw(abs_path);
use FindBin;
use JSON::PP;
use POSIX ();
use Time::HiRes qw(sleep);

use lib "$FindBin::Bin/../../t/lib";

use BenchServer;
use BenchTable;
use Broadcast::Postgres;
use Broadcast::Wait qw(children slurp);

my $top = abs_path("$FindBin::Bin/../..");

# connections of pgbench, and of each worker
my $pool = 4;

# columns: what is called by clients, and how its ratio to pgbench is headed

my %methods = (method => 'Echo', volatile => 'Echo_Volatile',
               message => 'EchoMessage');

my @columns = ([ pgbench => 'pgbench' ],
               [ method => 'exposed', 'exp/pgb' ],
               [ volatile => 'volatile', 'vol/pgb' ],
               [ message => 'message', 'mes/pgb' ]);


# A cluster with the schema, a schema of methods, and the same function bound.

sub new {
    my ($class, %o) = @_;

    my $self = bless { %o, rounds => {}, rows => [], missed => 0 }, $class;

    $self->{pg} = Broadcast::Postgres->new(conf => settings());

    my $pg = $self->{pg};

    $pg->createdb('app', 'app');
    $pg->file("$top/sql/broadcast.sql", db => 'app', user => 'app');

    $pg->psql(<<'SQL', db => 'app', user => 'app');
        CREATE SCHEMA bench;

        CREATE FUNCTION bench.echo(words text) RETURNS text
        LANGUAGE sql IMMUTABLE AS 'SELECT words';

        CREATE FUNCTION bench.echo_volatile(words text) RETURNS text
        LANGUAGE sql VOLATILE AS 'SELECT words';

        CREATE SCHEMA events;

        CREATE FUNCTION events.echo(event jsonb) RETURNS jsonb
        LANGUAGE sql IMMUTABLE AS $$
            SELECT jsonb_build_object('result', event -> 'arguments' -> 0) $$;

        SELECT broadcast.expose('bench', 'bench');
        SELECT broadcast.bind('message', 'events.echo', 'bench',
                              'EchoMessage');
SQL

    return $self;
}


# The cluster is alone on the machine with what measures it: nothing of it is
# to outlive a crash, and nothing is written between the rounds.

sub settings {
    return { fsync => 'off', synchronous_commit => 'off', autovacuum => 'off',
             checkpoint_timeout => '1h', max_wal_size => '1GB' };
}


# What went wrong, a sentence for each run that did.

sub round {
    my ($self) = @_;
    my @errors;

    for my $column (map { $_->[0] } @columns) {
        my ($figures, $error) = $column eq 'pgbench'
            ? $self->pgbench : $self->clients($column);

        push @{$self->{rounds}{$column}}, $figures if $figures;
        push @errors, "$column: $error" if $error;
    }

    return @errors;
}


# Closed loop, then at 1,000 a second: its log has the time of each
# transaction from the moment it was due.

sub pgbench {
    my ($self) = @_;

    my $folder = "$ENV{BENCH_OUT}/pgbench";

    mkdir $folder;
    unlink glob "$folder/log*";

    open my $f, '>', "$folder/script" or return (undef, "$folder: $!");
    print $f '\set n random(1, 99999999)', "\n",
             'SELECT bench.echo(:n::text);', "\n";
    close $f;

    my @command = ("$self->{pg}{bin}/pgbench", '-n', '-M', 'prepared',
                   '-c', $pool, '-j', 2, '-f', "$folder/script",
                   '-h', $self->{pg}->host, '-p', $self->{pg}->port,
                   '-U', 'app');

    my ($before, $own) = ($self->cpu, own_cpu());

    my $text = $self->said(@command, '-T', seconds($self->{calls}), 'app');

    my ($tps) = $text =~ /^tps = ([\d.]+)/m
        or return (undef, "pgbench said: $text");
    my ($n) = $text =~ /actually processed: (\d+)/;

    my %run = (
        per_second  => $tps + 0,
        database_us => ($self->cpu - $before) / $n,
        load_us     => (own_cpu() - $own) / $n,
    );

    $text = $self->said(@command, '-T', seconds($self->{open}), '-R', 1000,
                        '-l', '--log-prefix', "$folder/log", 'app');

    my @times;

    for my $log (glob "$folder/log*") {
        open my $l, '<', $log or return (undef, "$log: $!");
        push @times, map { (split ' ')[2] } <$l>;
    }

    @times or return (undef, "pgbench said: $text");
    @times = sort { $a <=> $b } @times;

    $run{p50_us} = $times[$#times / 2] + 0;
    $run{p99_us} = $times[$#times * 0.99] + 0;
    $run{max_us} = $times[-1] + 0;

    return (\%run, undef);
}


sub clients {
    my ($self, $column) = @_;

    my $pg = $self->{pg};
    my $plan = {
        clients  => $self->{clients},
        database => $pg->conninfo('app', 'app'),
        pool     => $pool,
        socket   => $pg->dir . '/nginx',
    };

    my $server = eval { BenchServer->start('calls', $plan, $self->{workers}) };
    return (undef, $@ =~ s/\s+\z//r) if !$server;

    my $text = $self->said("$ENV{BENCH_OUT}/load", $server->load_options,
        '--pids', join(',', $server->pids), '--clients', $self->{clients},
        '--target', $methods{$column}, '--database', $pg->pid,
        '--calls', $self->{calls}, '--open', $self->{open});

    my $run = eval { decode_json($text) };
    my $error = $run ? $run->{error} : "the load generator said: $text";

    $error ||= $server->complaints;
    $server->stop;

    return (undef, $error) if $error;

    return ({ %{ $run->{calls} }, %{ $run->{open} } }, undef);
}


sub seconds { return POSIX::ceil($_[0] / 1000) }


sub said {
    my ($self, @command) = @_;

    open my $pipe, '-|', @command or return "$command[0]: $!";
    local $/;

    return <$pipe> // '';
}


# Microseconds on a core of all processes of the cluster: of those that have
# ended their father knows, a moment later.

sub cpu {
    my ($self) = @_;
    my $ticks = 0;

    sleep 0.3;

    for my $pid ($self->{pg}->pid, children($self->{pg}->pid)) {
        my $stat = slurp("/proc/$pid/stat") // next;
        my @fields = split ' ', $stat =~ s/.*\)//sr;

        $ticks += $_ for @fields[11 .. 14];
    }

    return $ticks * 1e6 / POSIX::sysconf(POSIX::_SC_CLK_TCK());
}


sub own_cpu {
    my @times = POSIX::times();

    return ($times[3] + $times[4]) * 1e6
           / POSIX::sysconf(POSIX::_SC_CLK_TCK());
}


sub missed { return $_[0]{missed} }

sub rounds { return $_[0]{rounds} }

sub spent { return $_[0]{spent} || 0 }

sub rows { return $_[0]{rows} }


# name, the run's figure, digits, the bound of the ratio to pgbench (of the
# exposed function): at least, at most

my @rows = (
    [ 'calls per second', 'per_second', 0, 0.6, undef ],
    [ 'CPU per call, PostgreSQL, us', 'database_us', 2 ],
    [ 'CPU per call, nginx, us', 'server_us', 2 ],
    [ 'CPU per call, load generator, us', 'load_us', 2 ],
    [ 'at 1000/s, call to answer, p50, us', 'p50_us', 0, undef, 3 ],
    [ 'at 1000/s, call to answer, p99, us', 'p99_us', 0, undef, 3 ],
);


sub finish {
    my ($self) = @_;

    $self->{spent} = BenchServer::spent($self->{pg}->pid);
    undef $self->{pg};

    for my $row (@rows) {
        my ($name, $key, $digits, $least, $most) = @$row;
        my (%median, %wild, %ratio);

        for my $column (map { $_->[0] } @columns) {
            my @values = sort { $a <=> $b } grep { defined }
                         map { $_->{$key} } @{$self->{rounds}{$column} || []};
            next if !@values;

            $median{$column} = BenchTable::median(@values);
            $wild{$column} = 1
                if $values[-1] - $values[0] > $median{$column} / 4;
        }

        for my $column (grep { $median{$_} } keys %methods) {
            $ratio{$column} = $median{$column} / $median{pgbench}
                if $median{pgbench};
        }

        my $ratio = $ratio{method};
        my $late = defined $ratio && (defined $least && $ratio < $least
                                      || defined $most && $ratio > $most);

        $self->{missed} ||= $late;

        push @{$self->{rows}}, {
            name => $name, digits => $digits, median => \%median,
            wild => \%wild, ratio => \%ratio,
            aim => !defined $ratio || !defined($least // $most) ? ''
                   : (defined $least ? "at least $least" : "at most $most")
                     . ($late ? ': missed' : ': met'),
        };
    }

    return;
}


sub text {
    my ($self) = @_;

    my $text = sprintf '%-40s', "calls, $self->{clients} clients";

    $text .= sprintf ' %9s', $_->[1] for @columns;
    $text .= sprintf ' %9s', $_ for grep { defined } map { $_->[2] } @columns;
    $text .= "\n";

    for my $row (@{$self->{rows}}) {
        my $line = sprintf '%-40s', $row->{name};

        for my $column (map { $_->[0] } @columns) {
            my $value = $row->{median}{$column};

            $line .= sprintf ' %9s', defined $value
                ? ($row->{wild}{$column} ? '~' : '')
                  . sprintf "%.$row->{digits}f", $value
                : '-';
        }

        for my $column (map { $_->[0] } grep { $_->[2] } @columns) {
            $line .= sprintf ' %9s', defined $row->{ratio}{$column}
                ? sprintf('%.2f', $row->{ratio}{$column}) : '-';
        }

        $text .= $line . ($row->{aim} ? "  $row->{aim}" : '') . "\n";
    }

    return $text;
}


sub notes {
    return "Calls: $pool connections a worker, and of pgbench; PostgreSQL "
         . "with " . join(' ', map { "$_=" . settings()->{$_} }
                          sort keys %{ settings() }) . ".\n";
}


1;
