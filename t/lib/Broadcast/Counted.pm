package Broadcast::Counted;

# Copyright (C) The nginx-broadcast authors
#
# An nginx of one process whose work is counted: figures that are the same on
# every machine, for tests that guard what a thing costs.
#
#   Broadcast::Counted::missing()        # why nothing can be counted, or undef
#   my $nginx = Broadcast::Counted->new(callgrind => 1, ...)->start;
#   $nginx->allocations(sub { ... })     # calls of malloc() and its like
#   $nginx->instructions(sub { ... })    # under callgrind
#   $nginx->inside('function', sub { ... })      # of one and all it calls
#   Broadcast::Counted::calls($pid, sub { ... }) # system calls by name, of any
#                                        # process; undef: nobody may trace
#
# The process has come to rest when its answer to a request was read: a count
# begins and ends behind one, which is a part of it.  So what a thing costs is
# the difference of two counts.

use strict;
use warnings;

use File::Temp ();
use Time::HiRes qw(sleep);

use Broadcast::HTTP qw(http);
use Broadcast::Wait qw(wait_for slurp reap);

use parent 'Broadcast::Nginx';

my $top = Broadcast::Nginx::top();
my $words = 'L!3';


sub missing {
    for my $program (qw(valgrind strace gcc)) {
        return "there is no $program"
            unless grep { -x "$_/$program" } split /:/, $ENV{PATH};
    }

    return undef;
}


sub new {
    my ($class, %o) = @_;

    my $self = $class->SUPER::new(%o, workers => 1,
        main   => 'master_process off; ' . ($o{main} // ''),
        server => "location = /rest { return 204; } $o{server}");

    my $library = "$self->{dir}/count.so";

    system('gcc', '-O2', '-shared', '-fPIC', '-o', $library,
           ($o{callgrind} ? '-DWITH_CALLGRIND' : ()), "$top/t/lib/count.c",
           '-ldl') == 0
        or die "t/lib/count.c cannot be compiled\n";

    $self->write('page', pack $words, 0, 0, 0);

    $self->{env}{LD_PRELOAD} = $library;
    $self->{env}{COUNT_PAGE} = "$self->{dir}/page";

    return $self;
}


sub workers { grep { $_ } $_[0]{pid} }


sub command {
    my ($self) = @_;
    my @command = $self->SUPER::command;

    return @command unless $self->{callgrind};

    return ('valgrind', '--tool=callgrind', '--quiet',
            "--callgrind-out-file=$self->{dir}/out", @command);
}


# a request whose answer is the last thing that the process does

sub rest {
    my ($self) = @_;

    my $c = $self->{rest} //= Broadcast::HTTP->connect($self->port,
                                                       timeout => 60);

    $c->request('GET', '/rest', keepalive => 1);
    $c->body($c->head(60), 'GET');
}


sub page {
    my ($self, $n, $value) = @_;

    open my $file, '+<', "$self->{dir}/page" or die "page: $!\n";
    binmode $file;
    sysseek $file, 8 * $n, 0;

    if (defined $value) {
        syswrite $file, pack('L!', $value);
        return $value;
    }

    sysread $file, my $word, 8;

    return unpack 'L!', $word;
}


sub allocations {
    my ($self, $what) = @_;

    $self->rest;
    my $before = $self->page(0);

    $what->();
    $self->rest;

    return $self->page(0) - $before;
}


# Has callgrind write what it has counted since it wrote last.  What a request
# costs is counted with what comes next.

sub dump {
    my ($self) = @_;
    my $n = $self->page(1) + 1;

    $self->rest;
    $self->page(1, $n);
    $self->rest;

    wait_for { $self->page(2) == $n } 30 or die "callgrind writes nothing\n";

    return "$self->{dir}/out.$n";
}


sub instructions {
    my ($self, $what) = @_;

    return summary($self->counted($what));
}


sub counted {
    my ($self, $what) = @_;

    $self->dump;
    $what->();

    return $self->dump;
}


sub summary {
    my ($file) = @_;

    return slurp($file) =~ /^(?:summary|totals): (\d+)/m ? $1
           : die "callgrind wrote no count\n";
}


# Counts of a function: the lines below its "fn=", and those of what it calls.

sub inside {
    my ($self, $name, $what) = @_;
    my ($sum, $in, $id) = (0, 0);

    for (split /\n/, slurp($self->counted($what))) {

        if (/^fn=\((\d+)\)(?: (.*))?/) {
            $id = $1 if ($2 // '') eq $name;
            $in = defined $id && $1 == $id;

        } elsif (/^c?fn=\((\d+)\) (.*)/ && $2 eq $name) {
            $id = $1;

        } elsif ($in && /^(?:[-+*]|\d|0x)\S* (\d+)$/) {
            $sum += $1;
        }
    }

    return $sum;
}


sub calls {
    my ($pid, $what) = @_;

    my $out = File::Temp->new;
    my $strace = Broadcast::Wait::spawn(
        command => [ 'strace', '-qq', '-o', "$out", '-p', $pid ]);

    my $traced = wait_for {
        waitpid($strace, POSIX::WNOHANG()) == 0 or return -1;
        (slurp("/proc/$pid/status") // '') =~ /^TracerPid:\s+$strace$/m;
    } 10;

    return undef if !$traced || $traced < 0;

    $what->();

    kill 'INT', $strace;
    reap($strace, 10);

    my %n;
    $n{$_}++ for slurp("$out") =~ /^(\w+)\(/mg;

    return \%n;
}


1;
