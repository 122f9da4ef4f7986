package Broadcast::Matrix::Report;

# Copyright (C) The nginx-broadcast authors
#
# What there is to be known of a row of the kill matrix that does not run to its
# end, as text: a machine that is gone leaves nothing else behind.
#
#   Broadcast::Matrix::Report::report($run, $why)
#   Broadcast::Matrix::Report::events($run, 'ws1', 'sse2')   # of their journals
#
# Ages are in seconds before now.

use strict;
use warnings;

use JSON::PP ();
use POSIX ();
use Time::HiRes qw(time);

use Broadcast::Wait qw(slurp);

my $lines = 60;               # of a log
my $patience = '3s';          # for what the server is asked


# The reason comes first, and once more at the end, which is all that some see.

sub report {
    my ($run, $why) = @_;
    my $m = $run->{m};
    my ($first) = split /\n/, $why;
    my $n = 0;

    return join "\n", "the row \"$run->{name}\": $why", '',
        begun($run),
        'publishers:', (map { publisher($run, $_) } @{ $run->{publishers} }),
        'clients:', (map { client($run, $_) } @{ $run->{clients} }),
        (map { $n++; node($run, $_, $n) } @{ $m->{nginxes} }),
        (map { server($run, $_) } @{ $m->{pgs} }),
        '', "the row \"$run->{name}\": $first";
}


sub begun {
    my ($run) = @_;
    my @words = 'began ' . ago($run->{began});

    push @words, 'fault ' . ago($run->{fault}) if $run->{fault};
    push @words, 'over ' . ago($run->{over}) if $run->{over};
    push @words, sprintf 'this machine stood still for %.1f s',
                 $run->stood_still($run->{began});

    return join ', ', @words;
}


sub ago {
    my ($time) = @_;

    return sprintf '%.1f s ago (%s)', time - $time,
                   POSIX::strftime('%H:%M:%S', localtime $time);
}


sub alive {
    my ($run, $name) = @_;
    my $ended = $run->ended($name);

    return $ended if defined $ended;

    my $pid = $run->{pids}{$name} // return 'is not there any more';
    my ($state) = (slurp("/proc/$pid/stat") // '') =~ /\) (\S)/;

    return "pid $pid, " . ($state // 'gone');
}


sub publisher {
    my ($run, $name) = @_;
    my @lines = $run->lines($name);
    my %n;

    $n{ $_->[2] }++ for @lines;

    my $last = $lines[-1];

    return "  $name (" . alive($run, $name) . '): '
        . join(', ', map { "$n{$_} $_" } sort keys %n)
        . ($last ? "; last $last->[1] $last->[2], sent " . ago($last->[0]) : '');
}


# The newest word of each publisher, and what was no word.

sub client {
    my ($run, $name) = @_;
    my @lines = $run->lines($name);
    my %most;

    for (@lines) {
        next unless $_->[1] eq 'message' && $_->[3] =~ /^(\w+):(\d+)/;
        $most{$1} = $2 if $2 > ($most{$1} // 0);
    }

    my @text = "  $name (" . alive($run, $name) . '): '
        . join(' ', map { "$_:$most{$_}" } sort keys %most)
        . (@lines ? '; last ' . join(' ', @{ $lines[-1] }[1 .. $#{ $lines[-1] }])
                    . ', ' . ago($lines[-1][0]) : '');

    my @events = grep { $_->[1] !~ /^(?:message|position)$/ } @lines;
    splice @events, 0, @events - 8 if @events > 8;
    push @text, map { '    ' . ago(shift @$_) . " @$_" } map { [ @$_ ] } @events;

    my $log = slurp("$run->{dir}/$name.log") // '';
    push @text, map { "    $_" } tail($log, 10);

    return @text;
}


sub tail {
    my ($text, $most) = @_;
    my @lines = split /\n/, $text;

    return @lines if @lines <= $most;
    return '... ' . (@lines - $most) . ' lines before', @lines[-$most .. -1];
}


# What the status page says of the database, the workers, and the log from the
# row's begin on; what says nothing is left out.

sub node {
    my ($run, $nginx, $n) = @_;
    my $log = $nginx->error_log;
    my $mark = $run->{marks}[$n - 1] // 0;

    $log = substr $log, $mark if length $log >= $mark;
    $log = join "\n", grep {
        !/closed\ keepalive\ connection
         |while\ waiting\ for\ request|signal\ 29|max_slot_wal_keep_size/x
    } split /\n/, $log;

    my $database = eval { Broadcast::Matrix::database($nginx) } // {};

    return ("node $n: " . (defined $nginx->pid ? 'master ' . $nginx->pid
                                               : 'no master')
            . ', workers ' . join(' ', $nginx->workers(1))
            . ', relays: ' . ($run->{m}->relayer($n - 1) // 'nobody'),
            '  ' . JSON::PP->new->canonical->encode($database),
            map { "  $_" } tail($log, $lines));
}


sub server {
    my ($run, $pg) = @_;
    my @text = 'server ' . ($pg->pid // 'that does not run') . ':';

    if ($pg->pid) {
        my ($ok, $words) = $pg->try(<<"");
            set statement_timeout = '$patience';
            select pid, application_name, backend_type, state, wait_event_type,
                   wait_event, round(extract(epoch from
                       clock_timestamp() - state_change)::numeric, 1),
                   left(regexp_replace(query, '\\s+', ' ', 'g'), 90)
              from pg_stat_activity where datname = 'app'
             order by pid;
            select 'slot', slot_name, active_pid, restart_lsn,
                   confirmed_flush_lsn, wal_status, pg_current_wal_lsn()
              from pg_replication_slots
             where not pg_is_in_recovery();

        push @text, map { "  $_" } split /\n/, $words;

        ($ok, $words) = $pg->try(<<"", $run->{m}->at);
            set statement_timeout = '$patience';
            select 'hub', h.* from broadcast.hub h where name = '$run->{hub}';
            select 'numbered', count(*), max(pos)
              from broadcast.message where hub = '$run->{hub}';

        push @text, map { "  $_" } split /\n/, $words;
    }

    return @text, map { "  $_" } tail($pg->log, 15);
}


# The journals of some clients around the fault: all that was no word, and the
# words on both sides of it.

sub events {
    my ($run, @names) = @_;
    my @text;

    for my $name (@names) {
        my @lines = $run->lines($name);
        my %show;

        for my $i (grep { $lines[$_][1] !~ /^(?:message|position)$/ }
                   0 .. $#lines)
        {
            $show{$_} = 1 for grep { $_ >= 0 && $_ <= $#lines } $i - 1 .. $i + 1;
        }

        my @of = map { "  @{ $lines[$_] }" } sort { $a <=> $b } keys %show;
        splice @of, 20, @of - 40, '  ...' if @of > 41;
        push @text, "$name:", @of;
    }

    return join "\n", @text;
}


1;
