#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# The relay's session, which cannot die silently: where it is, since when, when
# it was last heard, how it was lost and why, and when it is tried again, in
# the status, in the log and in the metrics.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use POSIX ();
use Test::More;
use Time::HiRes qw(time sleep);

use Broadcast::HTTP qw(http);
use Broadcast::Nginx qw(wait_for free_port);
use Broadcast::Postgres;
use Broadcast::SSE;

my $pg = Broadcast::Postgres->new(tcp => 1);
my @at = (db => 'app', user => 'app');

$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);

my ($nginx, $port);

sub node {
    my ($conninfo, %o) = @_;

    $nginx = Broadcast::Nginx->new(
        workers => 2,
        http    => "broadcast_zone hubs 8m; broadcast_database \"$conninfo\""
                 . ' timeout=3s;' . ($o{http} // ''),
        server  => <<'EOC')->start;
        location /events/  { broadcast_events anonymous; }
        location = /status { broadcast_status; }
EOC
    $port = $nginx->port;
}

sub database {
    return http($port, 'GET', '/status?format=json')->{json}{database};
}

sub metric {
    my ($name) = @_;
    my $text = http($port, 'GET', '/status?format=prometheus')->{body};

    return $text =~ /^nginx_broadcast_\Q$name\E ([0-9.]+)$/m ? $1 : undef;
}

sub said {
    my ($words) = @_;

    return scalar(() = $nginx->error_log =~ /$words/g);
}

sub state_is {
    my ($state, $name, $seconds) = @_;

    ok((wait_for { database()->{state} eq $state } $seconds // 10), $name)
        or diag(explain(database()));
}

sub session {
    return $pg->psql('select backend from broadcast.node
                       order by seen_at desc limit 1', @at);
}


# --- all is well ------------------------------------------------------------

node('host=127.0.0.1 dbname=app user=app port=' . $pg->port);

state_is('up', 'a session');
ok((wait_for { database()->{pooler} } 10), '... is told whether a pooler is '
                                           . 'between');
ok((wait_for { defined database()->{listening} } 10), '... and has listened');

my $d = database();

is($d->{server}, '127.0.0.1:' . $pg->port, 'the status says where it is');
ok($d->{connected_seconds} <= time - $^T + 1, '... since when');
ok((wait_for { database()->{heard_seconds} < 2 }), '... when it was heard');
ok($d->{listening}, '... that what it NOTIFYs itself comes');
is($d->{pooler}, 'none', '... and that no pooler is between');
is($d->{reason}, undef, '... nothing was lost yet');
is($d->{failures}, 0, '... no try failed');
is($d->{retry_seconds}, undef, '... none is due');

is(metric('relay_listening'), 1, 'the metrics say that it listens');
is(metric('database_pooler{mode="none"}'), 1, '... without a pooler');
is(metric('database_failures'), 0, '... without a failure');
ok((wait_for { metric('database_heard_seconds') < 2 }), '... and was heard');
ok(defined metric('database_connected_seconds'), '... and since when');


# --- ended by the server ----------------------------------------------------

ok((wait_for { database()->{relay} eq 'leader' } 10), 'it leads');

my $ended = time;
$pg->psql('select pg_terminate_backend(' . session() . ')');

ok((wait_for { $d = database(); $d->{lost}{closed} == 1 } 10),
   'a session that the server ended is counted');
like($d->{reason}, qr/terminat|closed/, '... with the server\'s words');
is(metric('database_lost_total{reason="closed"}'), 1, '... in the metrics');
is(said('the database is away: .*terminat'), 1, '... and one line of the log');

ok((wait_for { $d = database(); $d->{state} eq 'up' && $d->{server} } 10),
   'there is another one');
is($d->{reconnects}, 1, '... which is counted');
cmp_ok($d->{connected_seconds}, '<=', time - $ended + 1, '... and is new');


# --- half open: nobody answers, nothing ends --------------------------------

ok((wait_for { database()->{relay} eq 'leader' } 10), 'it leads');

my $sse = Broadcast::SSE->connect($port, '/events/chat');
my $backend = session();

kill 'STOP', $backend;

my $began = time;

my ($heard, $metric) = (0, 0);

wait_for {
    $heard = ($d = database())->{heard_seconds} // 0 if $heard <= 2;
    $metric = metric('database_heard_seconds') // 0 if $metric <= 2;
    $heard > 2 && $metric > 2;
};

cmp_ok($heard, '>', 2,
   'a session that does not answer: the status says for how long')
    or diag(explain($d));
cmp_ok($metric, '>', 2, '... the metrics, too');

# Meanwhile, at another server, connections are taken and ended at once.

my $door = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 100,
                                 ReuseAddr => 1) or die $!;

my $knocks = Broadcast::Nginx->new(
    http => 'broadcast_zone hubs 8m; broadcast_database "host=127.0.0.1 '
          . 'dbname=app user=app sslmode=disable port=' . $door->sockport
          . '" pool=1;')->start;

my @tries;
my $from = time;

# 7 s, and as many as there are in these on a machine that keeps time

while (time < $from + 7 || @tries < 7 && time < $from + 60) {
    my $bits = '';
    vec($bits, fileno $door, 1) = 1;
    select $bits, undef, undef, 0.2 or next;
    my $c = $door->accept;
    sysread $c, my $hello, 1000;
    push @tries, time;
    close $c;
}

my @pauses = map { $tries[$_] - $tries[$_ - 1] } 1 .. $#tries;

cmp_ok(scalar @tries, '>=', 5, 'a server that ends each connection is tried on');
cmp_ok(scalar(grep { $_ < $from + 7 } @tries), '<=', 30, '... not in a storm');

my %kinds = map { int($_ * 50) => 1 } @pauses;
cmp_ok(scalar keys %kinds, '>=', 3, '... at odd times')
    or diag("@pauses");
cmp_ok($pauses[-1] + $pauses[-2] + $pauses[-3], '>',
       2 * ($pauses[0] + $pauses[1] + $pauses[2]), '... ever more seldom');

$knocks->stop_ok(signal => 'TERM');

ok((wait_for { ($d = database())->{lost}{silent} == 1 } 20),
   '... it is given up');
cmp_ok(time - $began, '<', 30, '... in time');
is($d->{reason}, 'no answer in time', '... for this reason');
is(metric('database_lost_total{reason="silent"}'), 1, '... which is counted');
is(said('the database is away: no answer in time'), 1, '... and logged');

state_is('up', '... and there is another one');

$pg->psql(q{select broadcast.send_all('chat', 'waits', '[1]')}, @at);
kill 'CONT', $backend;

is($sse->event->{event}, 'waits', 'what was sent meanwhile comes');
$sse->close;


# --- nobody there -----------------------------------------------------------

$pg->stop;
state_is('down', 'the server is stopped');

ok((wait_for { ($d = database())->{failures} >= 4 } 20), 'failures are counted');
is($d->{server}, undef, '... there is no server');
is($d->{heard_seconds}, undef, '... nothing is heard');
cmp_ok($d->{retry_seconds} // -1, '>=', 0, '... the next try is due');
cmp_ok($d->{retry_seconds}, '<=', 5, '... soon');
like($d->{reason}, qr/refused/, '... the reason is the present one');
cmp_ok($d->{lost}{connect}, '>=', 1, '... what was not made is counted');
is(metric('database_connected_seconds'), undef, '... no metric says since when');
cmp_ok(said('the database is away'), '<=', 5, '... the log has few lines');

$pg->start;
state_is('up', 'it is back');
is(database()->{failures}, 0, '... no failure stands');

$nginx->stop_ok(signal => 'TERM');


done_testing();
