package Broadcast::Pooler;

# Copyright (C) The nginx-broadcast authors
#
# A pgbouncer before a Broadcast::Postgres, on a port of 127.0.0.1.
#
#   Broadcast::Pooler->program or skip ...;     # it may not be installed
#   my $pooler = Broadcast::Pooler->new($pg, mode => 'transaction',
#       conf => { min_pool_size => 5 });        # more lines of its settings
#   $pooler->port; $pooler->log; $pooler->stop;
#
# The database is app, everybody is its user app.

use strict;
use warnings;

use IO::Socket::INET ();

use Broadcast::Wait qw(wait_for free_port spawn reap slurp);

my $owner = $$;


sub program {
    my ($program) = grep { -x } map { "$_/pgbouncer" }
                    split(/:/, $ENV{PATH}), '/usr/sbin';

    return $program;
}


sub new {
    my ($class, $pg, %o) = @_;
    my $self = bless { port => free_port(), pg => $pg }, $class;
    my $file = $pg->dir . '/pgbouncer.ini';

    my %conf = (
        listen_addr => '127.0.0.1',
        listen_port => $self->{port},
        unix_socket_dir => '',
        auth_type => 'any',
        pool_mode => $o{mode} // 'session',
        ignore_startup_parameters => 'extra_float_digits',
        %{ $o{conf} // {} },
    );

    open my $f, '>', $file or die "$file: $!\n";
    print $f "[databases]\n",
             'app = host=', $pg->dir, ' port=', $pg->port, " user=app\n",
             "[pgbouncer]\n", map { "$_ = $conf{$_}\n" } sort keys %conf;
    close $f;
    chmod 0644, $file;

    $self->{pid} = spawn(command => [ program(), $file ],
                         user => $> == 0 ? 'postgres' : undef,
                         log => $pg->dir . '/pgbouncer.log');

    wait_for { IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                     PeerPort => $self->{port}) } 20
        or die $self->log;

    return $self;
}


sub port { $_[0]{port} }
sub log  { slurp($_[0]{pg}->dir . '/pgbouncer.log') // '' }


sub stop {
    my ($self) = @_;
    my $pid = delete $self->{pid} or return;

    kill 'TERM', $pid;
    reap($pid, 10);
}


sub DESTROY {
    my ($self) = @_;

    return if $$ != $owner;

    local ($?, $!, $@);
    $self->stop;
}


1;
