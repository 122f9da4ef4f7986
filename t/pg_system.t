#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# Another cluster under the same host, port and name of the database: only its
# system identifier tells a copy that has every row, the marks among them, and
# the same timeline.  Who reads on there without a word would give the numbers
# that the copy gives next, under the epoch of the cluster that went on
# elsewhere.  A new cluster has not even the hub.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::Hub;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Postgres;
use Broadcast::SSE;

my $schema = "$FindBin::Bin/../sql/broadcast.sql";
my @at = (db => 'app', user => 'app');

sub cluster {
    my $pg = Broadcast::Postgres->new;
    $pg->createdb('app', 'app');
    return $pg;
}

my $pg = cluster();
$pg->file($schema, @at);

my $nginx = Broadcast::Nginx->new(
    workers => 2,
    http    => "broadcast_zone hubs 1m; broadcast_database \""
             . $pg->conninfo('app', 'app') . '" timeout=2s;',
    server  => <<'EOC')->start;
        location /events/  { broadcast_events anonymous; }
        location /client   { broadcast_hub anonymous; }
        location = /status { broadcast_status; }
EOC

my $port = $nginx->port;

sub status { $nginx->status }

sub sends {
    $pg->psql("select broadcast.send_all('chat', '$_[0]', '[]')", @at);
}

sub system_of {
    $pg->psql('select system_identifier from pg_control_system()');
}

sub timeline_of { $pg->psql('select timeline from broadcast.server()', @at) }

sub epoch_of { $_[0]{id} =~ s/-.*//r }

# The data of another cluster, where this one's were: same folder of sockets.

sub replace_by {
    my ($other) = @_;

    $other->stop;
    $pg->stop;
    $pg->restore($other->dir . '/data');
    $pg->append('postgresql.conf',
                'unix_socket_directories = \'' . $pg->dir . '\'');
    $pg->start;
}

# The next event of a browser.  A cluster that does not know the node does not
# know its clients either: they are sent away, to come back, as soon as that is
# noticed.

sub heard {
    my ($sse) = @_;
    my $event;

    until ($event = $$sse->event) {
        my $id = $$sse->{last_id};

        $$sse = Broadcast::SSE->connect($port, '/events/chat',
                                        headers => [ 'Last-Event-ID' => $id ]);
        $$sse->{last_id} = $id;
    }

    return $event;
}

# A SignalR client is told by a close, to come back and ask anew.

sub is_closed {
    my ($hub, $name) = @_;

    is(($hub->closing // {})->{allowReconnect}, JSON::PP::true(), $name);
}

ok($nginx->leads, 'the relay leads');

my $sse = Broadcast::SSE->connect($port, '/events/chat');
my $hub = Broadcast::Hub->connect($port, '/client?hub=chat');

sends('first');
my $first = $sse->event;
is($first->{event}, 'first', 'a message');


# --- the same cluster --------------------------------------------------------

$pg->restart;
sends('restarted');
my $last = $sse->event;
is($last->{event}, 'restarted', 'after a restart nobody is told of a gap');
is(epoch_of($last), epoch_of($first), '... and the epoch is the same');


# --- a copy with all its rows ------------------------------------------------

my $read = status()->{hubs}{chat}{position};
my $system = system_of();
my $timeline = timeline_of();
my $rows = $pg->psql('select pos, seq, mark from broadcast.message'
                     . ' order by pos', @at);

my $copy = cluster();

{
    my ($ok, $dump) = $pg->pipe('', $pg->{bin} . '/pg_dump',
                                '-h', $pg->host, '-p', $pg->port,
                                '-U', 'postgres', 'app');
    $ok or die "pg_dump: $dump\n";
    $copy->psql($dump, db => 'app');
}

replace_by($copy);

isnt(system_of(), $system, 'another cluster stands where the first one was');
is(timeline_of(), $timeline, '... with its timeline');
like($pg->psql('select pos, seq, mark from broadcast.message order by pos',
               @at), qr/^\Q$rows\E/, '... and each of its rows');

my $gap = $sse->event;
is($gap->{event}, 'broadcast.gap', 'subscribers are told of a gap');
is_closed($hub, 'SignalR clients are closed, with reconnect allowed');

$hub = Broadcast::Hub->connect($port, '/client?hub=chat');

sends('copied');
my $copied = $sse->event;
is($copied->{event}, 'copied', 'what the copy sends then comes');
isnt(epoch_of($copied), epoch_of($first), '... under a new epoch');
is($copied->{id}, $pg->psql('select broadcast.position(\'chat\')', @at),
   '... which is the one of the database');
like($nginx->error_log, qr/\[error\].*is not the one that was read before/,
     'it is in the log');

my $late = Broadcast::SSE->connect($port, '/events/chat',
    headers => [ 'Last-Event-ID' => $read ]);
is($late->event->{event}, 'broadcast.gap',
   'a resume from what was read of the first one begins with a gap');

$pg->restart;
sends('known');
is($sse->event->{event}, 'known', 'the copy is no stranger a second time');


# --- a new one, which has nothing but the schema ------------------------------

$read = status()->{hubs}{chat}{position};

my $new = cluster();
$new->file($schema, @at);

replace_by($new);

ok((wait_for { status()->{database}{state} eq 'up' } 15),
   'a new cluster without a row is read');

sends('new');
is(heard(\$sse)->{event}, 'broadcast.gap', 'subscribers are told of a gap');
is_closed($hub, '... SignalR clients, too');

my $anew = heard(\$sse);
is($anew->{event}, 'new', '... before its first message');
isnt(epoch_of($anew), epoch_of($copied), '... which is of a new epoch');

$late = Broadcast::SSE->connect($port, '/events/chat',
    headers => [ 'Last-Event-ID' => $read ]);
is($late->event->{event}, 'broadcast.gap',
   'a resume from what was read of the copy begins with a gap');

sends('more');
is(heard(\$sse)->{event}, 'more', 'nobody is told twice');

$nginx->stop_ok(signal => 'TERM');

done_testing();
