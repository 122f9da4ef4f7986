package Broadcast::Matrix::Run;

# Copyright (C) The nginx-broadcast authors
#
# A row of the kill matrix (Broadcast::Matrix): its publishers and its clients,
# what is waited for while it runs, and the checks that hold in every row.

use strict;
use warnings;

use Cwd ();
use File::Basename ();
use POSIX ();
use Test::More ();
use Time::HiRes qw(time sleep);

use Broadcast::Matrix::Client ();
use Broadcast::Matrix::Compare ();
use Broadcast::Matrix::Publisher ();
use Broadcast::Matrix::Report ();
use Broadcast::Wait qw(wait_for reap slurp spawn);

my $here = Cwd::abs_path(File::Basename::dirname(__FILE__));
my $owner = $$;

our $pace = 0.02;             # s, between the words of a publisher

my $limit = 90;               # s, for what takes one: some machines stand still
my $long = 20;                # s: then it is shown what is waited for


sub new {
    my ($class, $m, $name, %o) = @_;
    my $n = ++$m->{rows};
    my $self = bless { m => $m, name => $name, hub => "row$n", gaps => 0, %o,
                       dir => "$m->{dir}/$n", pids => {}, publishers => [],
                       clients => [] }, $class;

    $self->{began} = time;
    $self->{marks} = [ map { length $_->error_log } @{ $m->{nginxes} } ];

    mkdir $self->{dir};
    $self->{stop} = "$self->{dir}/stop";

    return $self;
}


sub hub { $_[0]{hub} }


sub journal { return "$_[0]{dir}/$_[1]" }


sub spawned {
    my ($self, $name, $code) = @_;
    my $pid = fork // die "fork: $!\n";

    return $self->{pids}{$name} = $pid if $pid;

    # what the parent owns is not ended here

    $SIG{$_} = 'DEFAULT' for qw(TERM INT);
    eval { $code->(); 1 } or print STDERR "$name: $@";
    POSIX::_exit(0);
}


# How a process of ours ended that should not have: in words; undef: it goes on,
# or is done.

sub ended {
    my ($self, $name) = @_;
    my $pid = $self->{pids}{$name};

    if (defined $pid && waitpid($pid, POSIX::WNOHANG()) == $pid) {
        delete $self->{pids}{$name};
        $self->{ended}{$name} = 'has ended, ' . ($? & 127
            ? 'signal ' . ($? & 127) : 'status ' . ($? >> 8));
    }

    return $self->{ended}{$name};
}


# Clients first, so that the first word is everybody's.

sub begin {
    my ($self) = @_;
    my $m = $self->{m};
    my $nodes = @{ $m->{nginxes} };

    $self->spawned('clock', sub { clock($self->journal('clock')) });

    for my $n (0 .. $nodes - 1) {
        my $of = $nodes > 1 ? '@' . ($n + 1) : '';
        $self->client("ws$_$of", $n), $self->client("sse$_$of", $n) for 1, 2;
        $self->client("signalr1$of", $n);
    }

    $self->client('signalr2', 0) if $nodes == 1;

    $self->opened;

    unless ($self->{crowd}) {
        $self->spread($_) for 0 .. $nodes - 1;
    }

    $self->publisher("sql$_") for 1, 2;
    $self->publisher("http$_", $nodes > 1 ? $_ - 1 : 0) for 1, 2;

    $self->flows;
}


sub client {
    my ($self, $name, $node) = @_;
    my $port = $self->{m}->nginx($node)->port('even');
    my ($kind, $n) = $name =~ /^([a-z]+)(\d+)/;
    my %o = (kind => $kind, port => $port, hub => $self->{hub},
             journal => $self->journal($name));

    push @{ $self->{clients} }, $name;
    $self->{node_of}{$name} = $node;

    if ($kind eq 'signalr') {
        my $position = $self->{m}->pg->psql(
            "select broadcast.position('$self->{hub}')", $self->{m}->at);

        $self->{pids}{$name} = spawn(
            command => [ 'node', "$here/../../../node/matrix.mjs" ],
            log => "$self->{dir}/$name.log",
            env => { BASE => "http://127.0.0.1:$port", HUB => $self->{hub},
                     POSITION => $position, TRANSPORT => $n % 2 ? 1 : 2,
                     JOURNAL => $o{journal} });
        return;
    }

    $self->spawned($name, sub { Broadcast::Matrix::Client::run(%o) });
}


sub publisher {
    my ($self, $name, $node) = @_;
    my $m = $self->{m};
    my ($kind) = $name =~ /^([a-z]+)/;
    my %o = (kind => $kind, name => $name, hub => $self->{hub},
             journal => $self->journal($name), stop => $self->{stop},
             pause => $pace, port => $m->port($node),
             conninfo => $m->{publish_to} // $m->pg->conninfo('app', 'app')
                         . ' connect_timeout=2');

    push @{ $self->{publishers} }, $name;
    $self->spawned($name, sub { Broadcast::Matrix::Publisher::run(%o) });
}


# Each worker of a node has a plain client at least.  They come by a port whose
# connections the kernel spreads over the workers.

sub spread {
    my ($self, $node) = @_;
    my $nginx = $self->{m}->nginx($node);

    for my $n (3 .. 30) {
        last unless grep { !$self->clients_of($_) } $nginx->workers;
        $self->client("sse$n" . ($node ? '@' . ($node + 1) : ''), $node);
        $self->opened;
    }
}


sub opened {
    my ($self) = @_;

    wait_for {
        !grep { !grep { $_->[1] eq 'open' } $self->lines($_) }
             @{ $self->{clients} }
    } $limit
        or die "clients do not connect\n";
}


# Plain clients whose connection a worker holds.

sub clients_of {
    my ($self, $worker) = @_;
    my (%remote, %held, @clients);

    # a SignalR client may hold one more that its negotiation has left

    for (split /\n/, slurp('/proc/net/tcp') // '') {
        my ($local, $remote, $inode) = /^\s*\d+:\s\w+:(\w+)\s\w+:(\w+)\s01
            (?:\s+\S+){5}\s+(\d+)/x or next;
        $remote{$inode} = [ $local, $remote ];
    }

    my $sockets = sub {
        return map { (readlink($_) // '') =~ /^socket:\[(\d+)\]$/
                     ? $remote{$1} // () : () } glob "/proc/$_[0]/fd/*";
    };

    $held{"$_->[1] $_->[0]"} = 1 for $sockets->($worker);

    for my $name ($self->plain) {
        my $pid = $self->{pids}{$name} or next;
        push @clients, $name
            if grep { $held{"$_->[0] $_->[1]"} } $sockets->($pid);
    }

    return @clients;
}


# Journals, whole lines only.

sub lines {
    my ($self, $name) = @_;
    my $text = slurp($self->journal($name)) // '';

    return map { [ split / / ] } split /\n/, $text =~ /\A(.*\n)/s ? $1 : '';
}


sub events {
    my ($self, $name) = @_;

    return map { my ($time, @event) = @$_;
                 [ map { $_ eq '-' ? undef : $_ } @event ] }
           $self->lines($name);
}


# When what breaks breaks, and when it is whole again.

sub fault { $_[0]{fault} = time }
sub over  { $_[0]{over} = time }


# Waits until each client has words of each publisher that were sent after now.

sub flows {
    my ($self, %o) = @_;
    my @publishers = @{ $o{of} // $self->{publishers} };
    my @clients = @{ $o{to} // $self->{clients} };
    my (%sent, $behind, $told);
    my $began = time;

    for my $name (@publishers) {
        $sent{$name} = scalar $self->lines($name);
    }

    wait_for {
        if (time - $began > $long && !$told++) {
            Test::More::diag(Broadcast::Matrix::Report::report($self,
                             "not yet, after $long s: $behind\n"));
        }

        $behind = undef;

        for my $name (@publishers, @clients) {
            my $ended = $self->ended($name) // next;
            die "$name $ended\n";
        }

        for my $client (@clients) {
            my %most;

            for ($self->lines($client)) {
                next unless $_->[1] eq 'message';
                my ($name, $n) = $_->[3] =~ /^(\w+):(\d+)/;
                $most{$name} = $n if $n > ($most{$name} // 0);
            }

            for (@publishers) {
                next if ($most{$_} // 0) > $sent{$_} + 1;
                $behind = "$client has nothing new of $_";
                return 0;
            }
        }

        1;
    } $o{seconds} // $limit
        or die "$behind\n";
}


# Publishers end, a last word is sent, clients wait for it.

sub finish {
    my ($self) = @_;
    my $m = $self->{m};
    my $last = 'end:1';

    open my $stop, '>', $self->{stop};
    close $stop;

    for my $name (@{ $self->{publishers} }) {
        reap($self->{pids}{$name}, $limit) or die "$name does not end\n";
        delete $self->{pids}{$name};
    }

    $self->{pg} //= $m->pg;
    $self->{pg}->psql("select broadcast.send_all('$self->{hub}', 'm',"
                      . " '[\"$last\"]')", $m->at);

    $self->have($last);

    # what nobody knows of may be committed behind it, and what would come twice
    # comes

    my @truth;

    do {
        @truth = $self->truth;
        $self->have((grep { defined } map { $_->[2] } @truth)[-1]);
        sleep 0.2;
    } while $self->truth != @truth;

    $self->kill_all;
    $self->{truth} = \@truth;
}


# Waits until all clients have a word.

sub have {
    my ($self, $word) = @_;

    for my $name (@{ $self->{clients} }) {
        wait_for {
            my $ended = $self->ended($name);
            die "$name $ended\n" if defined $ended;
            grep { $_->[1] eq 'message' && $_->[3] eq $word }
                $self->lines($name);
        } $limit
            or die "$name does not get the last word\n";
    }
}


sub truth {
    my ($self) = @_;

    return map { [ $_->[0], $_->[1], $_->[2] eq '' ? undef : $_->[2] ] }
        $self->{pg}->rows("select to_hex(epoch), seq, case when type = 1
            then arguments::jsonb->>0 end from broadcast.message
            where hub = '$self->{hub}' and epoch <> 0 order by pos",
            $self->{m}->at);
}


sub kill_all {
    my ($self) = @_;

    for my $name (keys %{ $self->{pids} }) {
        my $pid = delete $self->{pids}{$name};
        kill 'KILL', $pid;
        waitpid $pid, 0;
    }
}


sub DESTROY { local ($?, $!, $@); $_[0]->kill_all if $$ == $owner }


# The checks that hold in every row.

sub judge {
    my ($self) = @_;

    my %publishers = (end => [ [ 'end:1', 'kept' ] ],
        map { $_ => [ map { my ($time, @what) = @$_; [ @what ] }
                      $self->lines($_) ] } @{ $self->{publishers} });

    my $c = $self->{compared} = Broadcast::Matrix::Compare->new(
        truth      => $self->{truth},
        publishers => \%publishers,
        clients    => { map { $_ => [ $self->events($_) ] }
                        @{ $self->{clients} } },
        loses      => $self->{loses} // 0);

    my @faults = $c->faults;

    $self->none(\@faults, $self->{loses}
        ? 'no loss but PostgreSQL\'s own, which is told; no duplicate, one order'
        : 'no loss, no duplicate, one order, for SQL and for HTTP');

    my @odd = grep { $_->[1] =~ /^(?:odd|refused)/ || ($_->[2] // '') eq 'over' }
              map { $self->lines($_) } @{ $self->{clients} };
    push @odd, grep { $_->[1] !~ /^(?:kept|refused|unknown)$/ }
               map { @$_ } values %publishers;

    $self->none([ map { "@$_" } @odd ], 'nobody is told anything odd');

    # who comes back without a position would be allowed to miss something

    my @without = grep {
        my @opens = grep { $_->[0] eq 'open' } $self->events($_);
        grep { !defined $_->[1] } @opens[1 .. $#opens];
    } @{ $self->{clients} };

    $self->none(\@without, 'who comes back says from where it goes on');

    if (defined $self->{gaps}) {
        my %gaps = map { $_ => $c->count('gap', $_) } @{ $self->{clients} };
        $self->none([ map { "$_: $gaps{$_}" }
                      grep { $gaps{$_} != $self->{gaps} } sort keys %gaps ],
            $self->{gaps} ? "each client is told $self->{gaps} gap"
                          : 'no client has a gap');
    }
}


# A check: there are no such sentences.  Else they are shown, and the journals
# of the first clients that they name.

sub none {
    my ($self, $found, $name) = @_;

    return if Test::More::ok(!@$found, $name);

    my @named = grep { my $client = $_; grep { /^\Q$client\E\b/ } @$found }
                @{ $self->{clients} };

    Test::More::diag(join "\n", @$found[0 .. ($#$found < 19 ? $#$found : 19)],
        Broadcast::Matrix::Report::events($self,
            @named[0 .. ($#named < 2 ? $#named : 2)]));
}


sub plain { return grep { !/^signalr/ } @{ $_[0]{clients} } }


# How a client's connections ended after the fault.

sub ends {
    my ($self, $name) = @_;

    return map { $_->[2] } grep { $_->[0] >= $self->{fault} - 0.001
                                  && $_->[1] eq 'end' } $self->lines($name);
}


# Each of these clients' connections ended in one of these ways, and each had an
# end; no way: none.

sub ends_are {
    my ($self, $ways, $name, @clients) = @_;
    my %ways = map { $_ => 1 } @$ways;

    my @wrong = map {
        my @ends = $self->ends($_);
        my @odd = grep { !$ways{$_} } @ends;
        @odd || @$ways && !@ends ? "$_: @ends" : ();
    } sort @clients;

    $self->none(\@wrong, $name);
}


# The longest time without a message from the fault on, of some clients; or, if
# it was whole again later, from then on to the first message.

sub pause {
    my ($self, @clients) = @_;
    my $longest = 0;

    for my $name (@clients) {
        my $last = $self->{fault};

        for ($self->lines($name)) {
            my ($time, $kind) = @$_;
            next if $kind ne 'message' || $time < $last;
            $longest = $time - $last if $time - $last > $longest;
            $last = $time;
        }
    }

    return $longest;
}


sub pause_after {
    my ($self, @clients) = @_;
    my $longest = 0;

    for my $name (@clients) {
        my ($first) = grep { $_->[1] eq 'message' && $_->[0] > $self->{over} }
                      $self->lines($name);
        my $pause = $first ? $first->[0] - $self->{over} : 9999;
        $longest = $pause if $pause > $longest;
    }

    return $longest;
}


# This machine's own pauses are not nginx's: a process that does nothing but
# look at the clock says how long the longest was.

sub clock {
    my ($journal) = @_;
    my $last = time;

    open my $f, '>>', $journal or die "$journal: $!\n";
    $f->autoflush(1);

    while (1) {
        sleep 0.02;
        my $now = time;
        printf $f "%.3f late %.3f\n", $now, $now - $last if $now - $last > 0.06;
        $last = $now;
    }
}


sub stood_still {
    my ($self, $since) = @_;
    my $sum = 0;

    for ($self->lines('clock')) {
        $sum += $_->[2] if $_->[0] >= ($since // $self->{fault});
    }

    return $sum;
}


sub pauses_at_most {
    my ($self, $seconds, $name, @clients) = @_;

    @clients = @{ $self->{clients} } unless @clients;
    Test::More::cmp_ok($self->pause(@clients), '<=',
                       $seconds + $self->stood_still, $name);
}


sub goes_on_within {
    my ($self, $seconds, $name, @clients) = @_;

    @clients = @{ $self->{clients} } unless @clients;
    Test::More::cmp_ok($self->pause_after(@clients), '<=',
                       $seconds + $self->stood_still, $name);
}


# What publishers of a kind were told.

sub outcomes {
    my ($self, $kind) = @_;
    my %n = (kept => 0, refused => 0, unknown => 0);

    for my $name (grep { /^$kind/ } @{ $self->{publishers} }) {
        $n{ $_->[2] }++ for $self->lines($name);
    }

    return \%n;
}


# Figures for README.md.

sub show {
    my ($self) = @_;
    my @all = @{ $self->{clients} };

    Test::More::diag(sprintf "%s: pause %.2f, after %s, machine %.2f, lost %d",
        $self->{name}, $self->pause(@all),
        $self->{over} ? sprintf '%.2f', $self->pause_after(@all) : '-',
        $self->stood_still, scalar $self->{compared}->lost);

    for my $kind ('sql', 'http') {
        my $n = $self->outcomes($kind);
        Test::More::diag("  $kind: kept $n->{kept}, refused $n->{refused},"
                         . " unknown $n->{unknown}");
    }

    for my $name (@all) {
        Test::More::diag(sprintf '  %s: %d words, %d gaps, ends: %s', $name,
            $self->{compared}->count('message', $name),
            $self->{compared}->count('gap', $name),
            join ', ', $self->ends($name));
    }
}


1;
