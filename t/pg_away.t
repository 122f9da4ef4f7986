#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# The database away, in all its ways: it never answers, it is stopped, it
# stands still, it has no schema, nginx dies with a message in it.  No worker
# ever waits, publishers learn the truth, and nothing that was kept is lost.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Select;
use IO::Socket::INET;
use Test::More;
use Time::HiRes qw(time sleep);

use Broadcast::HTTP qw(http);
use Broadcast::Nginx qw(wait_for free_port);
use Broadcast::Postgres;
use Broadcast::SSE;
use Broadcast::Wait qw(at_best);

my $pg = Broadcast::Postgres->new;
my $schema = "$FindBin::Bin/../sql/broadcast.sql";
my @at = (db => 'app', user => 'app');

$pg->createdb('app', 'app');

sub node {
    my ($conninfo, %o) = @_;

    return Broadcast::Nginx->new(
        workers => $o{workers} // 1,
        http    => "broadcast_zone hubs 8m; broadcast_ephemeral quick;"
                 . "broadcast_database \"$conninfo\" timeout="
                 . ($o{timeout} // '4s') . ';',
        server  => <<'EOC')->start;
        location /events/  { broadcast_events anonymous; }
        location /publish/ { broadcast_publish; }
        location /api/     { broadcast_api open; }
        location = /status { broadcast_status; }
EOC
}

my ($nginx, $port);

sub database {
    return http($port, 'GET', '/status?format=json')->{json}{database};
}

sub state_is {
    my ($state, $name, $seconds) = @_;

    ok((wait_for { database()->{state} eq $state } $seconds // 10), $name)
        or diag(database()->{state});
}

sub publish {
    my ($words, $hub) = @_;

    return http($port, 'POST', '/publish/' . ($hub // 'chat'),
                body => $words,
                headers => [ 'Content-Type' => 'text/plain' ]);
}

# What is surely kept and heard by everybody: its id.  A worker that has not
# looked since the database came back, or a number that is late, is no fault.

sub sent {
    my ($words) = @_;
    my $r;

    wait_for { $r = publish($words); $r->{status} == 200 }
        or die "$words: $r->{status} $r->{body}\n";

    return $r->{json}{id};
}

# What does not wait for the database takes less than the time-out.

my $at_once = 3;

sub took {
    my $began = time;
    my $value = $_[0]->();
    return (time - $began, $value);
}

sub refused {
    my ($words) = @_;
    my $r;

    my $time = at_best { $r = publish($words) } $at_once;
    return ($time, $r);
}


# --- an address that swallows packets ---------------------------------------

# Connections are taken by the kernel; nobody reads them, nobody answers.

my $silent = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 100)
    or die $!;

$nginx = node('host=127.0.0.1 dbname=app user=app port='
              . $silent->sockport);
$port = $nginx->port;

# the one worker has a publish waiting for the database ...

my $waiting = Broadcast::HTTP->connect($port);
$waiting->request('POST', '/publish/chat', body => 'x',
                  headers => [ 'Content-Type' => 'text/plain' ]);

# ... and does everything else meanwhile

my $good = 0;

for (1 .. 50) {
    $good++ if publish("n$_", 'quick')->{status} == 200
               && !IO::Select->new($waiting->{socket})->can_read(0);
}

cmp_ok($good, '>=', 3, 'a silent database: ephemeral hubs go on');

my $head = $waiting->head;
$waiting->body($head, 'POST');
is($head->{status}, 503, 'the publish that waited was surely not kept');
ok($head->{headers}{'retry-after'}, '... and may be repeated');

state_is('down', 'the node knows');

my ($time, $r) = refused('again');
is($r->{status}, 503, 'from now on publishers are told');
cmp_ok($time, '<', $at_once, '... at once');

$nginx->stop_ok(signal => 'TERM');

$nginx = node('host=127.0.0.1,' . $pg->host . ' dbname=app user=app port='
              . $silent->sockport . ',' . $pg->port);
$port = $nginx->port;

state_is('schema', 'the first of two addresses is silent: the second is taken');

$nginx->stop_ok(signal => 'TERM');
close $silent;


# --- no schema --------------------------------------------------------------

$nginx = node($pg->conninfo('app', 'app') . ' password=geheim', workers => 2);
$port = $nginx->port;

state_is('schema', 'a database without the schema');

is(publish('x')->{status}, 503, '... does not keep messages');
is(publish('x', 'quick')->{status}, 200, '... ephemeral hubs go on');
sleep 1.5;

my @lines = grep { /\[error\].*no usable schema/ }
            split /\n/, $nginx->error_log;
is(scalar @lines, 1, '... which is said once');
like($lines[0], qr/psql -d app -f \S*broadcast\.sql/,
     '... with the command that helps');

$pg->file($schema, @at);

state_is('up', 'the schema is installed: no reload is needed', 5);
ok(sent('first'), '... and messages are kept');


# --- stopped ----------------------------------------------------------------

my $sse = Broadcast::SSE->connect($port, '/events/chat');
my $last = sent('last');
my $event = $sse->event;
$event = $sse->event while $event->{id} ne $last;
is($event->{data}, '["last"]', 'a subscriber');

$pg->stop;
state_is('down', 'the database is stopped');

($time, $r) = refused('lost');
is($r->{status}, 503, 'a publish is refused');
ok($r->{headers}{'retry-after'}, '... with Retry-After');
cmp_ok($time, '<', $at_once, '... at once');

my $new = Broadcast::SSE->connect($port, '/events/chat');
is($new->{head}{status}, 200, 'a new subscriber is taken');

$pg->start;
$pg->psql(q{select broadcast.send_all('chat', 'sql', '["back"]')}, @at);

is($sse->event->{data}, '["back"]',
   'when it is back the live client gets what was committed meanwhile');
is($new->event->{data}, '["back"]', '... the new one, too');
ok(sent('here'),
   '... and publishers are taken again, without a reload');
is($sse->event->{data}, '["here"]', '... and heard');

cmp_ok(database()->{reconnects}, '>=', 1, '... the reconnect is counted');


# --- read only --------------------------------------------------------------

sub said {
    my ($words) = @_;

    return scalar(() = $nginx->error_log =~ /$words/g);
}

my ($up, $away) = (said('the database is up'), said('the database is away'));
my ($began, $attempts) = (time, database()->{errors});

$pg->psql(q{alter role app set default_transaction_read_only = on;
            select pg_terminate_backend(pid) from pg_stat_activity
             where usename = 'app'});

state_is('down', 'a database that takes nothing is as good as none');

# that a session has ended may be seen by what is sent on it

my @told;
wait_for { push @told, publish('lost')->{status}; $told[-1] == 503 };
like("@told", qr/^(?:500 )*503$/, '... and publishers are told');
sleep 3;
is(said('the database is up'), $up, '... it is not up between the tries');
my $lines = said('the database is away') - $away;
ok($lines >= 1 && $lines <= 1 + (time - $began) / 5, '... one line says so')
    or diag($lines);
cmp_ok(database()->{errors} - $attempts, '<', 12 + (time - $began) / 2,
       '... the tries are few');

$pg->psql('alter role app reset default_transaction_read_only');
state_is('up', 'it takes again', 15);
ok(sent('written'), '... messages too');

for my $stream ($sse, $new) {
    my $event = $stream->event;
    $event = $stream->event while $event && $event->{data} eq '["here"]';
    is($event->{data}, '["written"]', '... and streams go on');
}


# --- standing still ---------------------------------------------------------

$pg->freeze;

($time, $r) = took(sub { publish('stuck') });

# Nobody knows what became of what was sent; what had no connection to leave by
# was surely not kept.

my $stuck = $r->{status};
like($stuck, qr/^50[03]$/, 'a database that stands still in the middle');
like($r->{body}, $stuck == 500 ? qr/Unknown/ : qr/nothing was kept/,
     '... the answer says what is known');
cmp_ok($time, '<', 20, '... when the time is over');

is(publish('x', 'quick')->{status}, 200, '... ephemeral hubs go on');

# publishers that do not wait for the end: their requests are gone when it comes

for my $words ('left 1', 'left 2') {
    my $c = Broadcast::HTTP->connect($port);
    $c->request('POST', '/publish/chat', body => $words,
                headers => [ 'Content-Type' => 'text/plain' ]);
    sleep 0.1;
    $c->close;
}

$pg->thaw;

my $moving = sent('moving');
ok($moving, 'all goes on');

# What nobody knows of may have been kept, in the order in which the server
# came to it, and once.

my %seen;

while (my $event = $sse->event) {
    $seen{ $event->{data} }++;
    last if $event->{id} eq $moving;
}

ok($seen{'["moving"]'}, '... and is heard');
is($seen{'["stuck"]'} // 0, 0, '... without what was surely not kept')
    if $stuck == 503;
is_deeply([ grep { ($seen{$_} // 0) > 1 } '["stuck"]', '["left 1"]', '["left 2"]' ],
          [], '... and nothing came twice');


# --- nginx dies between the answer and the delivery -------------------------

$last = sent('seen');

# As if another node led, and were slow: this one's relay follows, and what
# is staged is not numbered.

$nginx->stop_ok(signal => 'TERM', name => 'nginx ends while clients are there');

my $leader = $pg->session(@at);
ok((wait_for { $leader->run(
        "select pg_try_advisory_lock(hashtext('broadcast.relay'))") eq 't' }
    10), 'somebody else leads');

$nginx = node($pg->conninfo('app', 'app'), workers => 2);
$port = $nginx->port;

ok((wait_for { database()->{relay} eq 'follower' } 10), 'this node follows');

$r = http($port, 'POST', '/api/v1/hubs/chat',
          headers => [ 'Content-Type' => 'application/json' ],
          body => '{"target":"kept","arguments":["rest"]}');
is($r->{status}, 202, 'REST: taken');

($time, $r) = took(sub { publish('kept') });
is($r->{status}, 202, 'publish: taken, its number is late');
cmp_ok($time, '>', $at_once, '... it was waited for');
ok(!$r->{json}{id}, '... and there is none');

$nginx->crash;
$leader->run("select pg_advisory_unlock(hashtext('broadcast.relay'))");
$nginx->start;

ok((wait_for { database()->{relay} eq 'leader' } 10), 'nginx starts again');

$sse = Broadcast::SSE->connect($port, '/events/chat',
                               headers => [ 'Last-Event-ID' => $last ]);

is($sse->event->{event}, 'kept', 'the subscriber that resumes gets the first');
is($sse->event->{data}, '["kept"]', '... and the second');

unlike($nginx->words, qr/geheim/, 'no password in any log');

$nginx->stop_ok(signal => 'TERM');

done_testing();
