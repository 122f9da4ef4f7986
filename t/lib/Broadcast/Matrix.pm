package Broadcast::Matrix;

# Copyright (C) The nginx-broadcast authors
#
# The kill matrix: publishers by SQL and by HTTP and clients of all kinds, each
# a process with a journal, work at a steady pace while something breaks.  Then
# the journals are compared with the history (Broadcast::Matrix::Compare).
#
#   my $m = Broadcast::Matrix->new(       # or pg => [...], nginx => [...]
#       workers => 2, timeout => '2s', conf => { }, http => '');
#   $m->pg, $m->nginx, $m->port           # the first ones
#
#   $m->row('a worker is killed', sub {   # a subtest
#       my ($run) = @_;
#       ...                               # all flows already
#       $run->fault;                      # now
#       $run->over;                       # it is whole again, if it broke
#       $run->flows;                      # waits: everybody gets from everybody
#                                         # seconds => 90, of => [publishers],
#                                         # to => [clients]
#   }, then => sub {                      # after the end, logs compared
#       my ($run) = @_;
#       $run->pauses_at_most(1.5, @clients);
#   }, loses => 1, gaps => 0);
#
# `loses`: PostgreSQL loses commits; `gaps`: how many gap events each client
# has, undef does not count them.  With MATRIX_SHOW=1 figures are shown.

use strict;
use warnings;

use Cwd ();
use File::Basename ();
use File::Path ();
use File::Temp ();
use Test::More ();
use Time::Local ();

use Broadcast::HTTP qw(http);
use Broadcast::Matrix::Report ();
use Broadcast::Matrix::Run ();
use Broadcast::Nginx ();
use Broadcast::Postgres ();
use Broadcast::Wait qw(wait_for);

my $here = Cwd::abs_path(File::Basename::dirname(__FILE__));
my $owner = $$;


sub new {
    my ($class, %o) = @_;
    my $self = bless { workers => 2, timeout => '2s', http => '', main => '',
                       rows => 0, %o }, $class;

    $self->{pgs} = [ $o{pg} ? @{ $o{pg} }
                            : Broadcast::Postgres->new(conf => $o{conf} // {},
                                                       %{ $o{postgres} // {} }) ];

    $self->install unless $o{installed};

    $self->{nginxes} = $o{nginx} ? $o{nginx} : [ $self->node ];

    $self->{dir} = File::Temp::tempdir('broadcast-matrix-XXXXXX', TMPDIR => 1);
    chmod 0755, $self->{dir};

    return $self;
}


sub pg    { $_[0]{pgs}[0] }
sub nginx { $_[0]{nginxes}[ $_[1] // 0 ] }
sub port  { $_[0]->nginx($_[1])->port }
sub at    { return (db => 'app', user => 'app') }


sub install {
    my ($self) = @_;

    # a tablespace: a folder for all that the database keeps

    if (defined $self->{tablespace}) {
        $self->pg->psql("create tablespace small location"
                        . " '$self->{tablespace}'");
        $self->pg->psql('create database app tablespace small');
        $self->pg->psql('create role app login');
        $self->pg->psql('alter database app owner to app');

    } else {
        $self->pg->createdb('app', 'app');
    }

    $self->pg->file("$here/../../../sql/broadcast.sql", $self->at);
}


# A node, which leads or follows when this returns.

sub node {
    my ($self, %o) = @_;
    my $conninfo = $o{conninfo} // $self->{conninfo}
                   // $self->pg->conninfo('app', 'app');
    my ($workers, $timeout) = map { $o{$_} // $self->{$_} }
                              qw(workers timeout);

    my $nginx = Broadcast::Nginx->new(
        workers => $workers,
        main    => $self->{main},
        env     => $o{env} // $self->{env} // {},
        %{ $o{options} // $self->{options} // {} },
        http    => "broadcast_zone hubs 8m;"
                 . "broadcast_database \"$conninfo\" timeout=$timeout;"
                 . ($o{http} // $self->{http}),
        server  => <<'EOC')->start;
        listen 127.0.0.1:%%PORT even%% reuseport;
        location /events/  { broadcast_events anonymous; }
        location /client   { broadcast_hub anonymous; }
        location /publish/ { broadcast_publish; }
        location = /status { broadcast_status; }
EOC

    wait_for { relay($nginx) =~ /^(?:leader|follower)$/ } 60
        or die "the relay of a node does not run:\n" . $nginx->tail;

    return $nginx;
}


sub database {
    my ($nginx) = @_;
    my $r = eval {
        http($nginx->port, 'GET', '/status?format=json', timeout => 5);
    } or return {};

    return $r->{json}{database} // {};
}


sub relay { return database($_[0])->{relay} // 'none' }


# The worker whose relay runs, by the last line that says so; the server
# process of its session.

sub relayer {
    my ($self, $node) = @_;
    my ($pid) = $self->nginx($node)->error_log
                =~ /.*\] (\d+)#\S+ broadcast: this worker relays/s;

    return $pid;
}


sub relay_backend {
    my ($self, $pg) = @_;

    return ($pg // $self->pg)->psql(q{
        select pid from pg_locks where locktype = 'advisory' and granted
           and objid = (hashtext('broadcast.relay')::bigint
                        & 4294967295)::oid});
}


# Seconds of a Date header.

sub date {
    my ($text) = @_;
    my %month = map { $_->[0] => $_->[1] } do {
        my $n = 0;
        map { [ $_ => $n++ ] } qw(Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov
                                  Dec);
    };
    my ($day, $month, $year, $h, $m, $s)
        = $text =~ /(\d+) (\w+) (\d+) (\d+):(\d+):(\d+)/ or die "$text\n";

    return Time::Local::timegm($s, $m, $h, $day, $month{$month}, $year);
}


# A hub, publishers and clients of its own for each row.

sub row {
    my ($self, $name, $body, %o) = @_;

    Test::More::subtest($name => sub {
        my $run = Broadcast::Matrix::Run->new($self, $name, %o);

        if (!eval { $run->begin; $body->($run); $run->finish; 1 }) {
            my $why = $@;
            Test::More::fail('the row runs to its end');
            Test::More::diag(Broadcast::Matrix::Report::report($run, $why));
            $run->kill_all;
            return;
        }

        $run->judge;
        $o{then}->($run) if $o{then};
        $run->show if $ENV{MATRIX_SHOW};

        Test::More::diag(Broadcast::Matrix::Report::report($run,
                         "a check failed\n"))
            unless Test::More->builder->is_passing;
    });
}


# Nodes end with clean logs.

sub stop_ok {
    my ($self) = @_;

    $_->stop_ok(signal => 'TERM') for @{ $self->{nginxes} };
}


sub DESTROY {
    my ($self) = @_;

    return if $$ != $owner;
    File::Path::remove_tree($self->{dir}) unless $ENV{BROADCAST_KEEP};
}


1;
