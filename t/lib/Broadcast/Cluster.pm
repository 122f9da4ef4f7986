package Broadcast::Cluster;

# Copyright (C) The nginx-broadcast authors
#
# Several instances of nginx on one PostgreSQL, and what is asked of them.
#
#   my $cluster = Broadcast::Cluster->new(
#       nodes   => 3, workers => 2,      # as many, each with so many workers
#       lease   => '3 s',                # of a node; what the setting says
#       timeout => '3s',                 # of broadcast_database
#       zone    => '8m', build => '', daemon => 1, # as Broadcast::Nginx takes it
#       http    => '', server => '',     # more of nginx.conf
#       sql     => '',                   # what the application installs
#       wire    => 1,                    # each node talks by a Broadcast::Wire
#   );
#
#   my ($one, $two) = $cluster->nodes;   # Broadcast::Nginx, all take part
#   $cluster->leader; $cluster->followers;
#   $cluster->database($node);           # of its status
#   $cluster->sql('select ...');         # as the role of nginx
#   $cluster->super('...');              # as postgres, in the same database
#   $cluster->rest($node, 'HEAD', 'users/ann');
#   $cluster->seen('kind = ...');        # rows of what note() has noted
#   my $p = $cluster->publisher(@nodes); # a process that publishes "w1", ...
#   my @kept = $p->stop;                 # those that were said to be kept
#
# status, database and publish die where nobody answers.
#
# note(event), a function of the database, is bound as connected and
# disconnected of the hub chat and notes each event in the table `seen`.

use strict;
use warnings;

use Cwd ();
use File::Basename ();
use File::Temp ();
use IO::Handle ();
use POSIX ();

use Broadcast::HTTP qw(http);
use Broadcast::Hub ();
use Broadcast::Nginx qw(wait_for);
use Broadcast::Plain ();
use Broadcast::Postgres ();
use Broadcast::SSE ();
use Broadcast::Token qw(client_token);
use Broadcast::Wait ();
use Broadcast::Wire ();

my $top = Cwd::abs_path(File::Basename::dirname(__FILE__) . '/../../..');
my $key = '0123456789abcdef0123456789abcdef';

my $server = <<'EOS';
        location /client   { broadcast_hub; }
        location /free     { broadcast_hub nofunctions; }
        location /events/  { broadcast_events; }
        location /publish/ { broadcast_publish; }
        location /api/     { broadcast_api open; }
        location = /status { broadcast_status json; }
        location = /pid    { return 200 $pid; }
EOS

my $note = <<'EOS';
create table seen (n serial, kind text, id text, "user" text, error text,
                   at timestamptz default clock_timestamp());
create function note(event jsonb) returns jsonb language plpgsql as $$
begin
    insert into seen (kind, id, "user", error)
    values (event->>'kind', event->>'connectionId', event->>'userId',
            event->>'error');
    return null;
end $$;
select broadcast.bind('connected', 'note', 'chat');
select broadcast.bind('disconnected', 'note', 'chat');
EOS


sub new {
    my ($class, %o) = @_;

    my $self = bless { nodes => 3, workers => 2, timeout => '3s', http => '',
                       zone => '8m',
                       server => '', sql => '', key => $key, %o }, $class;

    my $pg = $self->{pg} = Broadcast::Postgres->new(tcp => $o{wire},
                                                    conf => $o{conf} // {});

    $pg->createdb('app', 'app');
    $pg->file("$top/sql/broadcast.sql", db => 'app', user => 'app');
    $self->sql($note);
    $self->sql("update broadcast.setting set value = '$o{lease}'"
               . " where name = 'node_lease'") if defined $o{lease};
    $self->sql($self->{sql}) if $self->{sql} ne '';

    my $n = $self->{nodes};
    $self->{nodes} = [];
    $self->add for 1 .. $n;
    $self->ready($_) for $self->nodes;

    return $self;
}


# One more; it may not be ready yet.

sub add {
    my ($self) = @_;

    my $pg = $self->{pg};
    my $conninfo = $pg->conninfo('app', 'app');
    my $wire;

    if ($self->{wire}) {
        $wire = Broadcast::Wire->new($pg->port);
        $conninfo = 'host=127.0.0.1 port=' . $wire->port
                  . ' dbname=app user=app';
    }

    my $node = Broadcast::Nginx->new(
        workers => $self->{workers},
        daemon  => $self->{daemon} ? 1 : 0,
        (defined $self->{build} ? (build => $self->{build}) : ()),
        http    => "broadcast_zone hubs $self->{zone}; broadcast_key $key;"
                 . "broadcast_database \"$conninfo\""
                 . " timeout=$self->{timeout}; broadcast_client_timeout 5m;"
                 . $self->{http},
        server  => $server . $self->{server});

    $node->{wire} = $wire;
    push @{ $self->{nodes} }, $node->start;

    return $node;
}


sub ready {
    my ($self, $node) = @_;

    wait_for { $self->database($node)->{relay} =~ /leader|follower/ } 30
        or die "a node takes no part:\n" . $node->tail;
}


sub pg    { $_[0]{pg} }
sub nodes { @{ $_[0]{nodes} } }


# A node that is lost: it is not asked any more.

sub forget {
    my ($self, $node) = @_;

    $self->{nodes} = [ grep { $_ != $node } $self->nodes ];
}


sub status { http($_[1]->port, 'GET', '/status')->{json} }
sub database { $_[0]->status($_[1])->{database} }


# The node that leads; those that do not.

sub leader {
    my ($self, $seconds) = @_;

    return wait_for {
        (grep { $self->database($_)->{relay} eq 'leader' } $self->nodes)[0]
    } $seconds // 20;
}


sub followers {
    my ($self) = @_;
    my $leader = $self->leader;

    return grep { $_ != $leader } $self->nodes;
}


sub sql   { $_[0]{pg}->psql($_[1], db => 'app', user => 'app') }
sub super { $_[0]{pg}->psql($_[1], db => 'app') }


sub seen {
    my ($self, $where) = @_;
    return $self->sql("select count(*) from seen where $where");
}


# What was noted of each connection, "connected 1, disconnected 1" if all is
# well; its different values, with how many have it.

sub tally {
    my ($self, $where) = @_;

    return $self->sql(q{
        select string_agg(words || ' x ' || n, '; ' order by words)
          from (select words, count(*) as n
                  from (select string_agg(kind || ' ' || n, ', '
                                          order by kind) as words
                          from (select id, kind, count(*) as n from seen
                                 where } . ($where // 'true') . q{
                                 group by 1, 2) x
                         group by id) y
                 group by 1) z});
}


sub rest {
    my ($self, $node, $method, $path, %o) = @_;
    my $hub = $o{hub} // 'chat';
    my $sep = $path =~ /\?/ ? '&' : '?';

    return http($node->port, $method,
                "/api/hubs/$hub/$path${sep}api-version=2024-12-01", %o,
                headers => [ 'Content-Type' => 'application/json' ]);
}


# Clients, all as a user of the hub chat.

sub token {
    my ($self, $user, %claims) = @_;
    return client_token($key, 'chat', sub => $user, %claims);
}

sub hub {
    my ($self, $node, $user, %o) = @_;

    my $client = Broadcast::Hub->connect($node->port,
        ($o{path} // '/client') . '?hub=chat', timeout => 20, %o,
        token => $self->token($user, %{ $o{claims} // {} }));

    die "$client->{error}\n" if $client->{error};

    return $client;
}

sub plain {
    my ($self, $node, $user, %o) = @_;

    return Broadcast::Plain->connect($node->port,
        '/events/chat' . ($o{query} // ''), %o,
        token => $self->token($user, role => [ 'broadcast.join' ]));
}

sub sse {
    my ($self, $node, $user, %o) = @_;

    return Broadcast::SSE->connect($node->port,
        '/events/chat' . ($o{query} // ''), %o,
        headers => [ Authorization => 'Bearer '
                     . $self->token($user, role => [ 'broadcast.join' ]),
                     defined $o{last} ? ('Last-Event-ID' => $o{last}) : () ]);
}


sub publish {
    my ($self, $node, $words, %o) = @_;

    return http($node->port, 'POST', '/publish/chat?target=m' . ($o{to} // ''),
                body => $words, timeout => $o{timeout} // 10,
                headers => [ 'Content-Type' => 'text/plain' ]);
}


# Messages one after the other, by HTTP at these nodes in turn and by SQL.  What
# is asked again has other words: none of them is ever sent twice.

sub publisher {
    my ($self, @nodes) = @_;

    my $file = File::Temp->new;
    my $pid = fork() // die "fork: $!\n";

    return bless { pid => $pid, file => $file }, 'Broadcast::Cluster::Publisher'
        if $pid;

    my $end = 0;
    $SIG{TERM} = sub { $end = 1 };
    Broadcast::Wait::alone();

    open my $out, '>>', "$file" or POSIX::_exit(1);
    $out->autoflush(1);

    for (my $i = 1; !$end; $i++) {
        my $node = $nodes[$i % @nodes];
        my $kept = $i % 5 == 0
            ? eval { ($self->{pg}->try(
                  "select broadcast.send_all('chat', 'm', '[\"w$i\"]')",
                  db => 'app', user => 'app'))[0] }
            : eval { $self->publish($node, "w$i")->{status} =~ /^20[02]$/ };

        print $out "w$i\n" if $kept;
    }

    POSIX::_exit(0);
}


package Broadcast::Cluster::Publisher;

use strict;
use warnings;


sub so_far {
    return split /\n/, Broadcast::Wait::slurp("$_[0]{file}");
}


sub stop {
    my ($self) = @_;

    if (my $pid = delete $self->{pid}) {
        kill 'TERM', $pid;
        Broadcast::Wait::reap($pid, 30) or kill 'KILL', $pid;
    }

    return $self->so_far;
}


sub DESTROY {
    my ($self) = @_;

    local ($?, $!, $@);
    $self->stop;
}


1;
