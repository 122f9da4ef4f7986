#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# Never silence: where a client cannot get what it missed it is told, and the
# relay is never stuck: a message larger than the log, a hub whose history
# begins anew, a database that was put back to an older state.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(sleep);

use Broadcast::HTTP qw(http);
use Broadcast::Hub;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Postgres;
use Broadcast::SSE;

my $pg = Broadcast::Postgres->new;
$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", db => 'app', user => 'app');
my @at = (db => 'app', user => 'app');

my $nginx = Broadcast::Nginx->new(
    workers => 2,
    http    => "broadcast_zone hubs 1m; broadcast_database \""
             . $pg->conninfo('app', 'app') . '" timeout=2s;',
    server  => <<'EOC')->start;
        location /events/  { broadcast_events anonymous; }
        location /client   { broadcast_hub anonymous; }
        location /publish/ { broadcast_publish; }
        location = /status { broadcast_status; }
EOC

my $port = $nginx->port;

sub status { $nginx->status }

sub sends {
    my ($target, $words) = @_;
    $words //= '"x"';
    $pg->psql("select broadcast.send_all('chat', '$target', '[$words]')", @at);
}

# A SignalR client that is told of a gap in the only way it knows: closed, to
# come back and ask anew.

sub is_missed {
    my ($hub, $name) = @_;

    is(($hub->closing // {})->{allowReconnect}, JSON::PP::true(), $name);
}

sub seq { ($_[0] // '') =~ /-(\d+)$/ ? $1 : undef }

ok($nginx->leads, 'the relay leads');


# --- a message larger than the log ------------------------------------------

my $sse = Broadcast::SSE->connect($port, '/events/chat');

my $hub = Broadcast::Hub->connect($port, '/client?hub=chat');

sends('first');
my $first = $sse->event;
is($first->{event}, 'first', 'a message');

my $fits = status()->{log}{bytes};
my $r = http($port, 'POST', '/publish/chat', body => 'x' x $fits,
             headers => [ 'Content-Type' => 'text/plain' ]);
is($r->{status}, 507, "a publish that cannot fit into $fits bytes is 507");
is($pg->psql('select count(*) from broadcast.message', @at), 1,
   '... and not kept');

sends('large', '"' . 'x' x $fits . '"');
my $gap = $sse->event;
is($gap->{event}, 'broadcast.gap', 'one from SQL: subscribers have a gap');

is_missed($hub, '... and SignalR clients are closed, with reconnect allowed');
$hub = Broadcast::Hub->connect($port, '/client?hub=chat');

sends('second');
my $second = $sse->event;
is($second->{event}, 'second', '... and the next message');
is(seq($second->{id}), seq($first->{id}) + 2, '... its number counts the one '
                                             . 'between');
is($pg->psql(q{select count(*) from broadcast.message where target = 'large'},
             @at), 1, 'it is in the history');
like($nginx->error_log, qr/\[error\].*does not fit into the zone's log/,
     '... and in the log, without its words');


# --- a hub whose history begins anew ----------------------------------------

$pg->psql(q{update broadcast.hub set epoch = 12345, seq = 0
             where name = 'chat'}, @at);
sends('anew');

$gap = $sse->event;
is($gap->{event}, 'broadcast.gap', 'a new epoch: subscribers are told');
is_missed($hub, '... SignalR clients, too');
my $anew = $sse->event;
is($anew->{event}, 'anew', '... before its first message');
is($anew->{id}, '3039-1', '... which has its first number');

my $old = Broadcast::SSE->connect($port, '/events/chat',
    headers => [ 'Last-Event-ID' => $second->{id} ]);
is($old->event->{event}, 'broadcast.gap',
   'a resume from the old epoch begins with a gap');

is($old->event->{event}, 'anew', '... then comes what there is of the new one');

sends('next');
is($old->event->{event}, 'next', '... and goes on');
is($sse->event->{id}, '3039-2', 'numbers go on in the new epoch');


# --- an older state was put back --------------------------------------------

# What was lost with it had numbers and was seen: they must not be given to
# other messages under the same epoch.

my $lost = status()->{hubs}{chat}{position};
is($lost, '3039-2', 'before an older state is put back');

$pg->psql(q{
    begin;
    delete from broadcast.message;
    update broadcast.state set head = 1;
    update broadcast.upkept set head = 1;
    update broadcast.hub set seq = 1, pos = 1;
    commit;}, @at);

$gap = $sse->event;
is($gap->{event}, 'broadcast.gap',
   'a database that is behind what was read: all are told');
is($old->event->{event}, 'broadcast.gap', '... each of them');

sends('restored');

my $restored = $sse->event;
is($restored->{event}, 'restored', '... and its messages are read');
unlike($restored->{id}, qr/^3039-/, '... under a new epoch');
is($old->event->{id}, $restored->{id}, '... by everybody');
is(status()->{hubs}{chat}{position}, $restored->{id},
   "the hub's position is the new one");
is($pg->psql('select broadcast.position(\'chat\')', @at), $restored->{id},
   "and the database's");

my $late = Broadcast::SSE->connect($port, '/events/chat',
    headers => [ 'Last-Event-ID' => $lost ]);
is($late->event->{event}, 'broadcast.gap',
   'a resume from a number that was lost begins with a gap');

sends('more');
is($sse->event->{event}, 'more', 'nobody is told twice');

my $again = Broadcast::SSE->connect($port, '/events/chat',
    headers => [ 'Last-Event-ID' => $restored->{id} ]);
is($again->event->{event}, 'more', 'a resume in the new epoch has no gap');


# --- a server took over that had lost what was numbered last -----------------

# ... and has given these numbers to others: it is as far as the one before

my $before = status()->{hubs}{chat}{position};
my $head = $pg->psql('select broadcast.head()', @at);

$pg->psql(qq{alter role app nologin;
    select pg_terminate_backend(pid) from pg_stat_activity
     where usename = 'app'}, db => 'app');
$pg->psql(qq{update broadcast.message set mark = mark + 1, target = 'other'
              where pos = $head;
    select broadcast.send_all('chat', 'unseen', '[]');
    select broadcast.sequence(10);
    alter role app login}, db => 'app');

$gap = $sse->event;
is($gap->{event}, 'broadcast.gap',
   'a database that has other rows where it was read: all are told');

sends('divergent');
my $divergent = $sse->event;
is($divergent->{event}, 'divergent', '... and what is sent then comes');
isnt($divergent->{id} =~ s/-.*//r, $before =~ s/-.*//r,
     '... under a new epoch');
like($nginx->error_log, qr/\[error\].*is not the one that was read before/,
     '... which is in the log');

$pg->psql(q{select pg_terminate_backend(pid) from pg_stat_activity
             where usename = 'app'}, db => 'app');
sends('same');
is($sse->event->{event}, 'same',
   'the same database, connected to anew, is no other one');


# --- another timeline ---------------------------------------------------------

# a fail-over as the clients' node sees it; true if the server is up again

sub fails_over {
    $pg->stop;
    open my $signal, '>', $pg->dir . '/data/standby.signal' or die "$!\n";
    close $signal;
    $pg->start;
    return $pg->promote eq 't';
}

ok(fails_over(), 'a server takes over that has all that was numbered');
sends('promoted');
is($sse->event->{event}, 'promoted', '... and no client is told of a gap');

$pg->psql('delete from broadcast.message', @at);
ok(fails_over(), 'one takes over of which nobody can tell that, since all that '
                 . 'was read is aged out');
is($sse->event->{event}, 'broadcast.gap', '... and clients are told');

sends('aged');
is($sse->event->{event}, 'aged', '... before what is sent then');

$pg->psql('delete from broadcast.message', @at);
$pg->restart;
sends('restarted');
is($sse->event->{event}, 'restarted',
   'the same server is the same without a row of its history, too');

ok((wait_for { status()->{database}{state} eq 'up' } 10), 'it is up');

$nginx->stop_ok(signal => 'TERM');

done_testing();
