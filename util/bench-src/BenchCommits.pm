package BenchCommits;

# Copyright (C) The nginx-broadcast authors
#
# What commits cost until they are with the clients, beside a session that
# LISTENs and reads the row, and how many a second there can be, beside plain
# INSERTs: rounds, figures, the tables.

use strict;
use warnings;

use Cwd qw(abs_path);
use FindBin;
use JSON::PP;

use lib "$FindBin::Bin/../../t/lib";

use BenchServer;
use BenchTable;
use Broadcast::Postgres;
use Broadcast::Wait qw(wait_for);

my $top = abs_path("$FindBin::Bin/../..");

my $writers = 8;
my $publishers = 32;

# clients while the question is how many commits there can be
my $few = 10;

my @rates = (100, 1000);

my @receivers = ([ listen => 'LISTEN' ], [ events => 'events' ],
                 [ hub => 'hub' ], [ memory => 'memory' ]);

my @modes = ([ plain => 'INSERT' ], [ notify => 'NOTIFY' ],
             [ commit => 'commit' ],
             [ adaptive => 'adaptive' ], [ off => 'off' ],
             [ wal => 'wal' ], [ http => 'HTTP' ]);

my %paths = (events => [ '--path', '/events/bench' ],
             hub    => [ '--path', '/client?hub=bench', '--signalr' ]);

my $insert = "INSERT INTO bench.plain (hub, type, scope, source, target, "
    . "arguments) VALUES ('bench', 1, 0, 0, 'message', \$1::json)";

my $send = "SELECT broadcast.send_all('bench', 'message', \$1::jsonb)";


# A cluster with the schema, and a table of the shape of broadcast.staging.

sub new {
    my ($class, %o) = @_;

    my $self = bless { %o, times => $o{rounds}, rounds => {}, tables => [],
                       missed => 0 }, $class;

    $self->{pg} = Broadcast::Postgres->new(fsync => 1, conf => settings());

    my $pg = $self->{pg};

    $pg->createdb('app', 'app');
    $pg->psql('ALTER ROLE app REPLICATION');
    $pg->file("$top/sql/broadcast.sql", db => 'app', user => 'app');

    $pg->psql(<<'SQL', db => 'app', user => 'app');
        CREATE SCHEMA bench;
        CREATE TABLE bench.plain (LIKE broadcast.staging INCLUDING ALL);
SQL

    my $flush = decode_json($self->said('--flush', $pg->dir));

    $self->{flush_us} = $flush->{flush_us};

    return $self;
}


# What else PostgreSQL is set to is its default: fsync is on.

sub settings {
    return { shared_buffers => '128MB', max_wal_size => '1GB',
             wal_level => 'logical' };
}


# What went wrong, a sentence for each run that did.

sub round {
    my ($self) = @_;
    my @errors;

    for my $column (map { $_->[0] } @receivers) {
        my @measure = ('--rates', join(',', @rates), '--open', $self->{open});

        push @errors, $column eq 'listen'
            ? $self->listen('listen', @measure)
            : $column eq 'memory'
            ? $self->clients($column, 'events', $self->{clients}, '--post',
                             '--publish', '/publish/bench', @measure)
            : $self->clients($column, $column, $self->{clients},
                             '--sql', $send, @measure);
    }

    for my $column (map { $_->[0] } @modes) {
        my @measure = ('--closed', $self->{closed});

        push @errors, $column eq 'plain'
            ? $self->plain(@measure)
            : $column eq 'notify'
            ? $self->listen('notify', @measure)
            : $column eq 'http'
            ? $self->clients($column, 'events', $few, '--sql', $send,
                             '--publish', '/publish/bench', '--publishers',
                             $publishers, '--posts', $self->{closed})
            : $column eq 'wal'
            ? $self->clients($column, 'events', $few, '--sql', $send, @measure)
            : $self->clients($column, 'events', $few, '--sql', $send,
                             '--set', "SET broadcast.doorbell = '$column'",
                             @measure);
    }

    return @errors;
}


sub listen {
    my ($self, $column, @measure) = @_;

    $self->empty;

    return $self->keep($column,
        '--sql', "WITH sent AS ($insert) SELECT pg_notify('bench', '')",
        '--channel', 'bench',
        '--select', 'SELECT id, arguments FROM bench.plain WHERE id > $1 '
                    . 'ORDER BY id', @measure);
}


sub plain {
    my ($self, @measure) = @_;

    $self->empty;

    return $self->keep('plain', '--sql', $insert, '--nobody', @measure);
}


sub empty {
    my ($self) = @_;

    $self->{pg}->psql('TRUNCATE bench.plain RESTART IDENTITY',
                      db => 'app', user => 'app');

    return;
}


# Through an nginx of its own, whose relay leads, and reads what is sent in its
# way, before anything is committed; or one without a database.

sub clients {
    my ($self, $column, $kind, $clients, @measure) = @_;

    my $pg = $self->{pg};
    my $plan = {
        clients  => $clients,
        $column eq 'memory' ? () : (database => $pg->conninfo('app', 'app')),
        pool     => 4,
        socket   => $pg->dir . '/nginx',
        source   => $column eq 'wal' ? 'wal' : 'outbox',
    };

    my $server = eval { BenchServer->start('commits', $plan,
                                           $self->{workers}) };
    return "$column: " . $@ =~ s/\s+\z//r if !$server;

    my $leads = $column eq 'memory' || wait_for {
        my $status = $server->status;

        $status =~ /"relay": ?"leader"/
            && $status =~ /"source": ?"$plan->{source}"/;
    } 20;

    my @errors = !$leads
        ? "$column: the relay does not lead: " . $server->log_tail
        : $self->keep($column, $server->load_options, @{$paths{$kind}},
                      '--pids', join(',', $server->pids),
                      '--clients', $clients, @measure);

    push @errors, map { "$column: $_" } $server->complaints;
    $server->stop;

    return @errors;
}


# the sentence, if the run failed

sub keep {
    my ($self, $column, @options) = @_;

    my $text = $self->said('--conninfo', $self->{pg}->conninfo('app', 'app'),
                           '--database', $self->{pg}->pid,
                           '--writers', $writers, @options);

    my $run = eval { decode_json($text) };
    my $error = $run ? $run->{error} : "the load generator said: $text";

    return "$column: $error" if $error;

    push @{$self->{rounds}{$column}}, $run;

    return;
}


sub said {
    my ($self, @options) = @_;

    open my $pipe, '-|', "$ENV{BENCH_OUT}/commit", @options
        or return "$ENV{BENCH_OUT}/commit: $!";
    local $/;

    return <$pipe> // '';
}


sub missed { return $_[0]{missed} }

sub rounds { return $_[0]{rounds} }

sub spent { return $_[0]{spent} || 0 }

sub tables { return $_[0]{tables} }

sub flush_us { return $_[0]{flush_us} }


sub finish {
    my ($self) = @_;

    $self->{spent} = BenchServer::spent($self->{pg}->pid);
    undef $self->{pg};

    my @late;

    for my $rate (@rates) {
        for my $who ([ first => 'first client' ], [ half => 'median client' ],
                     [ last => 'last client' ])
        {
            for my $p (qw(p50 p99)) {
                my ($key, $name) = @$who;

                push @late, [ "at $rate/s, $name, $p, ms",
                              sub { $_[0]{"at_$rate"}{$key}{"${p}_ms"} }, 2,
                              $key eq 'half' && $p eq 'p50' ? 3 : undef,
                              qw(events hub) ];
            }
        }
    }

    $self->table("commit to client, $self->{clients} clients", 'listen',
                 \@receivers, [qw(events hub memory)], 'above LISTEN',
                 sub { $_[0] - $_[1] }, sub { $_[0] <= $_[1] },
                 'at most %s more', @late);

    $self->table("publishing commits, $writers writers", 'plain', \@modes,
        [ grep { !/^(?:plain|notify|http)$/ } map { $_->[0] } @modes ],
        'of INSERT',
        sub { $_[0] / $_[1] }, sub { $_[0] >= $_[1] }, 'at least %s',
        [ 'commits per second', sub { run($_[0])->{per_second} }, 0, 0.5,
          'adaptive' ],
        [ 'commit answered, p50, ms',
          sub { run($_[0])->{commit_p50_ms} }, 2 ],
        [ 'commit to client, p50, ms',
          sub { run($_[0])->{half} && run($_[0])->{half}{p50_ms} }, 2 ],
        [ 'commit to client, p99, ms',
          sub { run($_[0])->{half} && run($_[0])->{half}{p99_ms} }, 2 ],
        [ 'behind the last commit, ms',
          sub { run($_[0])->{half} && run($_[0])->{behind_ms} }, 1 ],
        [ 'CPU per commit, PostgreSQL, us',
          sub { run($_[0])->{database_us} }, 1 ],
        [ 'CPU per commit, nginx, us',
          sub { run($_[0])->{server_us} || undef }, 1 ]);

    return;
}


sub run { return $_[0]{closed} || $_[0]{posts} }


# A row: name, figure of a run, digits, aim of what stands beside the base, and
# for which columns, if not for all.

sub table {
    my ($self, $title, $base, $columns, $ours, $beside, $relation, $good,
        $words, @rows) = @_;

    my $table = { title => $title, columns => $columns, ours => $ours,
                  beside => $beside, rows => [] };

    for my $row (@rows) {
        my ($name, $figure, $digits, $aim, @aimed) = @$row;
        my (%median, %wild, %relation);

        for my $column (map { $_->[0] } @$columns) {
            my @values = sort { $a <=> $b } grep { defined }
                         map { $figure->($_) } @{$self->{rounds}{$column}
                                                 || []};
            next if !@values;

            $median{$column} = BenchTable::median(@values);
            $wild{$column} = 1
                if $values[-1] - $values[0] > abs($median{$column}) / 4;
        }

        for my $column (grep { defined $median{$_} } @$ours) {
            $relation{$column} = $relation->($median{$column}, $median{$base})
                if $median{$base};
        }

        my @late = !defined $aim ? ()
            : grep { defined $relation{$_} && !$good->($relation{$_}, $aim) }
                   @aimed ? @aimed : @$ours;

        $self->{missed} ||= @late > 0;

        push @{$table->{rows}}, {
            name => $name, digits => $digits, median => \%median,
            wild => \%wild, relation => \%relation,
            aim => !defined $aim || !%relation ? ''
                   : sprintf($words, $aim)
                     . (@late ? ": missed: @late" : ': met'),
        };
    }

    push @{$self->{tables}}, $table;

    return;
}


sub text {
    my ($self) = @_;

    return join "\n", map { table_text($_) } @{$self->{tables}};
}


sub table_text {
    my ($table) = @_;

    my %names = map { @$_ } @{$table->{columns}};
    my $text = sprintf '%-40s', $table->{title};

    $text .= sprintf ' %9s', $_->[1] for @{$table->{columns}};
    $text .= sprintf ' %9s', $names{$_} for @{$table->{ours}};
    $text .= "  $table->{beside}\n";

    for my $row (@{$table->{rows}}) {
        $text .= sprintf '%-40s', $row->{name};

        for my $column (map { $_->[0] } @{$table->{columns}}) {
            my $value = $row->{median}{$column};

            $text .= sprintf ' %9s', defined $value
                ? ($row->{wild}{$column} ? '~' : '')
                  . sprintf "%.$row->{digits}f", $value
                : '-';
        }

        for my $column (@{$table->{ours}}) {
            $text .= sprintf ' %9s', defined $row->{relation}{$column}
                ? sprintf('%.2f', $row->{relation}{$column}) : '-';
        }

        $text .= ($row->{aim} ? "  $row->{aim}" : '') . "\n";
    }

    return $text;
}


sub notes {
    my ($self) = @_;

    return "Commits: PostgreSQL with fsync=on "
         . join(' ', map { "$_=" . settings()->{$_} }
                     sort keys %{ settings() })
         . sprintf("; a page is on its disk after %.0f us;\n",
                   $self->{flush_us})
         . "HTTP: $publishers publishers, in the place of writers; "
         . ($self->{times} > 1 ? "medians of $self->{times} rounds.\n"
                               : "of one round.\n");
}


1;
