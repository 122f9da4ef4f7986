package Broadcast::Network;

# Copyright (C) The nginx-broadcast authors
#
# A network namespace with one cable to it, which can be cut: packets vanish in
# both directions, and nobody is told.
#
#   my $net = Broadcast::Network->new;      # undef: no right to make one
#   $net->address                           # of the other end
#   $net->prefix                            # words that run a program there
#   $net->cut; $net->heal;
#
# The cable is a veth pair.  A cut gives each end a neighbour that is not there
# (its frames are passed over by the other end); this needs nothing of the
# kernel but what a namespace needs, and no connection is reset.

use strict;
use warnings;

my $owner = $$;
my $count = 0;


sub new {
    my ($class) = @_;

    return undef if $> != 0;

    my $n = ++$count;
    my $self = bless { name => "broadcast-$$-$n", here => "bc$$-$n",
                       there => "bt$$-$n",
                       net => '10.251.' . ($$ % 250) . '.' . ($n * 4) }, $class;
    my ($base, $last) = $self->{net} =~ /^(.*\.)(\d+)$/;

    $self->{near} = $base . ($last + 1);
    $self->{far} = $base . ($last + 2);

    my @there = ('-n', $self->{name});

    return undef unless ip('netns', 'add', $self->{name});
    $self->{made} = 1;

    ip('link', 'add', $self->{here}, 'type', 'veth', 'peer', 'name',
       $self->{there}, 'netns', $self->{name}) or return undef;
    ip('addr', 'add', "$self->{near}/30", 'dev', $self->{here});
    ip('link', 'set', $self->{here}, 'up');
    ip(@there, 'addr', 'add', "$self->{far}/30", 'dev', $self->{there});
    ip(@there, 'link', 'set', 'lo', 'up');
    ip(@there, 'link', 'set', $self->{there}, 'up') or return undef;

    return $self;
}


sub ip {
    return system("ip @_ >/dev/null 2>&1") == 0;
}


sub address { $_[0]{far} }
sub network { "$_[0]{net}/30" }
sub prefix  { return ('ip', 'netns', 'exec', $_[0]{name}) }


sub cut {
    my ($self) = @_;
    my @nowhere = ('lladdr', '02:00:00:00:00:01', 'nud', 'permanent');

    ip('neigh', 'replace', $self->{far}, @nowhere, 'dev', $self->{here})
        && ip('-n', $self->{name}, 'neigh', 'replace', $self->{near}, @nowhere,
              'dev', $self->{there})
        or die "the cable cannot be cut\n";
}


sub heal {
    my ($self) = @_;

    ip('neigh', 'del', $self->{far}, 'dev', $self->{here});
    ip('-n', $self->{name}, 'neigh', 'del', $self->{near}, 'dev',
       $self->{there});
}


sub DESTROY {
    my ($self) = @_;

    return if $$ != $owner || !$self->{made};

    local ($?, $!, $@);
    ip('link', 'del', $self->{here});
    ip('netns', 'del', $self->{name});
}


1;
