package Broadcast::Clock;

# Copyright (C) The nginx-broadcast authors
#
# A wall clock of their own for some processes, which can be stepped: what asks
# the system for the time of day is told another one, what asks for the time
# since some moment is not (libfaketime).
#
#   my $clock = Broadcast::Clock->new;      # undef: no libfaketime
#   $clock->env                             # for spawn(): the variables
#   $clock->step(3600);                     # seconds, from the true time
#
#   Broadcast::Clock::fast(10)              # for spawn() or Broadcast::Nginx:
#                                           # so many seconds a second, timers
#                                           # too; undef: no libfaketime

use strict;
use warnings;

use File::Temp ();


sub library { (glob '/usr/lib/*/faketime/libfaketime.so.1')[0] }


sub new {
    my ($class) = @_;
    my $library = library();

    return undef unless defined $library;

    my $dir = File::Temp::tempdir('broadcast-clock-XXXXXX', TMPDIR => 1,
                                  CLEANUP => 1);
    chmod 0755, $dir;

    my $self = bless { file => "$dir/clock", library => $library }, $class;
    $self->step(0);

    return $self;
}


sub env {
    my ($self) = @_;

    return { LD_PRELOAD => $self->{library}, FAKETIME_NO_CACHE => 1,
             FAKETIME_TIMESTAMP_FILE => $self->{file},
             FAKETIME_DONT_FAKE_MONOTONIC => 1 };
}


sub fast {
    my ($times) = @_;
    my $library = library() // return undef;

    return { LD_PRELOAD => $library, FAKETIME => "+0 x$times" };
}


sub step {
    my ($self, $seconds) = @_;

    open my $f, '>', "$self->{file}.new" or die "$self->{file}: $!\n";
    printf $f "%+d\n", $seconds;
    close $f;
    rename "$self->{file}.new", $self->{file};
}


1;
