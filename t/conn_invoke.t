#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# Client results, signalr.md 4.8: a connection at one worker is asked by a
# request at another, and the answer finds its way back.  The wire; what the
# official client makes of it is in client_invoke.t.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Select;
use JSON::PP;
use POSIX ();
use Test::More;
use Time::HiRes qw(time);

use Broadcast::HTTP qw(http worker_at);
use Broadcast::Hub;
use Broadcast::Nginx qw(wait_for);

my $json = JSON::PP->new->canonical->allow_nonref;

my $nginx = Broadcast::Nginx->new(
    workers => 4,
    http    => 'broadcast_zone hubs 2m; broadcast_drain off;',
    server  => <<'EOC')->start;
        location /client   { broadcast_hub anonymous; }
        location /api/     { broadcast_api open; }
        location /hasty/api/ {
            broadcast_api open;
            broadcast_client_timeout 1s;
        }
        location /publish/ { broadcast_publish; }
        location = /pid    { return 200 $pid; }
        location = /status { broadcast_status; }
EOC

my $port = $nginx->port;
my $new = 'api-version=2024-12-01';


sub status { http($port, 'GET', '/status?format=json')->{json} }


sub refused {
    my $text = http($port, 'GET', '/status?format=prometheus')->{body};
    return ($text =~ /refused_total\{reason="invocation"\} (\d+)/)[0];
}


# the worker that has the connections of a hub that has no others

sub owners { map { $_->{pid} } grep { $_->{connections} } @{ status()->{workers} } }


# a connection that stays with one worker, of those that the caller wants

sub at {
    my $c = worker_at($port, '/pid', $_[0]);

    return ($c, $c->{worker});
}


sub ask {
    my ($c, $id, $message, $api) = @_;

    $api //= '/api';
    $c->request('POST', "$api/hubs/chat/connections/$id/:invoke?$new",
                keepalive => 1, body => $json->encode($message),
                headers => [ 'Content-Type' => 'application/json' ]);
}


sub answer {
    my ($c) = @_;

    my $r = $c->head;
    $c->body($r);

    return $r;
}


sub asked {
    my ($hub) = @_;
    my $record;

    1 while ($record = $hub->next) && $record->{type} == 6;

    return $record;
}


sub result { $_[0]->send({ type => 3, invocationId => $_[1]{invocationId},
                           result => $_[2] }) }

my $hub = Broadcast::Hub->connect($port, '/client?hub=chat');
is $hub->{error}, undef, 'a client is connected';

my ($owner) = owners();
my ($c, $asker) = at(sub { $_[0] != $owner });
isnt $asker, $owner, 'another worker than its own takes the request';

# --- values -------------------------------------------------------------------

ask($c, $hub->{id}, { target => 'Add', arguments => [ 1, { a => undef } ] });
my $q = asked($hub);
my $id = $q->{invocationId};
like $id, qr/^[0-9a-f]{16}\.[0-9a-f]{16}\.[0-9a-f]+$/,
    'the client is asked with an id of ours';
is_deeply $q, { type => 1, invocationId => $id, target => 'Add',
                arguments => [ 1, { a => undef } ] },
    'and with target and arguments of the body';
result($hub, $q, 3);
my $r = answer($c);
is "$r->{status} $r->{body}", '200 {"result":3}', 'its answer is the caller\'s';
$c->close;

my ($d) = at(sub { $_[0] == $asker });
ask($d, $hub->{id}, { target => 'Big' });
$hub->{ws}->text('{"type":3,"invocationId":"' . asked($hub)->{invocationId}
    . '","result":{"z":123456789012345678901234567890,"a":"\u0000"}}' . "\x1e");
$r = answer($d);
is "$r->{status} $r->{body}",
    '200 {"result":{"z":123456789012345678901234567890,"a":"\u0000"}}',
    'the result comes back byte for byte';
is $r->{headers}{'content-type'}, 'application/json', 'as JSON';

for ([ '"result":null', '{"result":null}', 'null' ],
     [ '"x":1', '{"result":null}', 'nothing' ],
     [ '"result":false', '{"result":false}', 'false' ],
     [ '"result":""', '{"result":""}', 'an empty string' ])
{
    ask($d, $hub->{id}, { target => 'T' });
    $hub->{ws}->text('{"type":3,"invocationId":"'
                     . asked($hub)->{invocationId} . "\",$_->[0]}\x1e");
    $r = answer($d);
    is "$r->{status} $r->{body}", "200 $_->[1]", "a client may return $_->[2]";
}

ask($d, $hub->{id}, { target => 'T' });
$hub->send({ type => 3, invocationId => asked($hub)->{invocationId},
             error => "Error: \"boom\"\n\x{1f600}\0" });
$r = answer($d);
is $r->{status}, 400, 'what a client throws is 400';
is $r->{headers}{'x-ms-error-code'}, 'InvocationError', 'with a code';
is_deeply $r->{json}, { code => 'InvocationError', target => undef,
                        message => "Error: \"boom\"\n\x{1f600}\0" },
    'and its text as the message';
$d->close;

# --- ids ----------------------------------------------------------------------

my @c = map { (at(sub { 1 }))[0] } 1 .. 5;
ask($c[$_], $hub->{id}, { target => 'N', arguments => [ $_ ] }) for 0 .. 4;
my @q = map { asked($hub) } 0 .. 4;
is scalar(keys %{ { map { $_->{invocationId} => 1 } @q } }), 5,
    'five questions of several workers have five ids';
$hub->{ws}->text(join '', map {
    $json->encode({ type => 3, invocationId => $_->{invocationId},
                    result => $_->{arguments}[0] }) . "\x1e" } reverse @q);
is_deeply [ map { answer($_)->{json}{result} } @c ], [ 0 .. 4 ],
    'answers in one frame and another order find their callers';

my $stranger = Broadcast::Hub->connect($port, '/client?hub=chat');
ask($c[0], $hub->{id}, { target => 'Mine' });
$q = asked($hub);
result($stranger, $q, 'stolen');
$hub->send({ type => 3, invocationId => "$q->{invocationId}0", result => 'no' });
$stranger->send({ type => 1, target => 'X', arguments => [], invocationId => 's' });
is asked($stranger)->{invocationId}, 's', 'a stranger has answered';
result($hub, $q, 'mine');
result($hub, $q, 'twice');
is answer($c[0])->{json}{result}, 'mine',
    'an answer counts from the connection that was asked, and once';
ask($c[0], $hub->{id}, { target => 'More' });
result($hub, asked($hub), 'more');
is answer($c[0])->{json}{result}, 'more', 'and the connection lives on';

# --- order --------------------------------------------------------------------

my ($e) = at(sub { 1 });
my ($f, $worker) = at(sub { 1 });
($e) = at(sub { $_[0] == $worker });

for my $n (1 .. 20) {
    $e->request('POST', "/api/hubs/chat/connections/$hub->{id}/:send?$new",
                keepalive => 1, body => '{"target":"before"}');
    is answer($e)->{status}, 202, 'a message is sent' if $n == 1;
    answer($e) if $n > 1;
    ask($f, $hub->{id}, { target => 'asked' });
    my @seen = map { asked($hub) } 1 .. 2;
    result($hub, $seen[1], $n);
    my $got = join ' ', map { $_->{target} } @seen;
    $got eq 'before asked' && answer($f)->{json}{result} == $n
        or fail "round $n: $got";
}

pass 'a question keeps its place among the messages of its worker';

# --- who cannot be asked ------------------------------------------------------

for ([ "chat/connections/none" ], [ "other/connections/$hub->{id}" ],
     [ "never/connections/$hub->{id}" ])
{
    $r = http($port, 'POST', "/api/hubs/$_->[0]/:invoke?$new",
              body => '{"target":"T"}');
    is "$r->{status} $r->{headers}{'x-ms-error-code'}",
        '404 Warning.Connection.NotExisted', "$_->[0] does not exist";
}

my $raw = Broadcast::Hub->connect($port, '/client?hub=chat', nohandshake => 1);
ask($c[0], $raw->{id}, { target => 'T' });
$r = answer($c[0]);
is "$r->{status} $r->{headers}{'x-ms-error-code'}",
    '404 Warning.Connection.NotExisted',
    'one that has not sent its handshake is no connection yet';
like $r->{body}, qr/handshake/, '... and it is said why';

$raw->send({ protocol => 'json', version => 1 });
$raw->next;
ask($c[0], $raw->{id}, { target => 'T' });
result($raw, asked($raw), 'here');
is answer($c[0])->{json}{result}, 'here', '... and is one with it';
$raw->drop;

# --- nobody answers -----------------------------------------------------------

my $start = time;
ask($c[0], $hub->{id}, { target => 'T' }, '/hasty/api');
$q = asked($hub);
$r = answer($c[0]);
is "$r->{status} $r->{json}{code}", '504 Timeout',
    'a client that does not answer is 504';
cmp_ok time - $start, '>=', 0.9, 'after the time of the location';
result($hub, $q, 'late');
ask($c[0], $hub->{id}, { target => 'T' });
result($hub, asked($hub), 'next');
is answer($c[0])->{json}{result}, 'next', 'its late answer is nobody\'s';

$start = time;
ask($c[0], $stranger->{id}, { target => 'T' });
asked($stranger);
$stranger->drop;
$r = answer($c[0]);
is "$r->{status} $r->{json}{code}", '410 Gone',
    'a client that leaves while it is asked is 410';
cmp_ok time - $start, '<', 15, 'at once, not after the 30 s of a question';

my $brief = Broadcast::Hub->connect($port, '/client?hub=chat');
my %with = map { $_ => 1 } owners();
my ($dozes, $dozer) = at(sub { !$with{ $_[0] } });
ask($dozes, $brief->{id}, { target => 'T' });
$q = asked($brief);
kill 'STOP', $dozer;
result($brief, $q, 'last word');
$brief->close;
ok wait_for(sub {

    # the kernel may give the request to the worker that is stopped

    my $s = eval { http($port, 'GET', '/status?format=json', timeout => 0.3) };
    $s && $s->{json}{hubs}{chat}{connections}{websocket} == 1
}), 'a client has answered, and left';
kill 'CONT', $dozer;
$r = answer($dozes);
is "$r->{status} $r->{body}", '200 {"result":"last word"}',
    'an answer counts though its client is gone when it is read';

my $large = 'x' x 700000;
ask($c[0], $hub->{id}, { target => 'T' });
result($hub, asked($hub), $large);
$r = answer($c[0]);
is "$r->{status} $r->{json}{code}", '507 InsufficientStorage',
    'a result that the log cannot carry is 507';

# --- bounds -------------------------------------------------------------------

my $busy = Broadcast::Hub->connect($port, '/client?hub=chat');
my %owns = map { $_ => 1 } owners();
my ($first, $doomed) = at(sub { !$owns{ $_[0] } });
my @many = ($first, map { (at(sub { $_[0] == $doomed }))[0] } 2 .. 64);
ask($_, $busy->{id}, { target => 'T' }) for @many;
my @pending = map { asked($busy) } @many;
is scalar(@pending), 64, '64 may be pending at a connection';

ask($c[1], $busy->{id}, { target => 'T' });
$r = answer($c[1]);
is "$r->{status} $r->{json}{code}", '429 TooManyRequests', 'one more is 429';
is refused(), 1, 'and counted';

(shift @many)->close;
$q = wait_for { asks($c[1], $busy) };
ok $q, 'a caller that leaves makes room for another';


# A question that goes through: what the client was asked.  Undef where it was
# refused: then the answer comes, and no question.

sub asks {
    my ($c, $hub) = @_;
    my $select = IO::Select->new($c->{socket}, $hub->{ws}{socket});

    ask($c, $hub->{id}, { target => 'T' });

    while (my @ready = $select->can_read(30)) {
        if (grep { $_ == $c->{socket} } @ready) {
            answer($c);
            return undef;
        }

        my $record = $hub->next;
        return $record if $record->{type} == 1;
    }

    return undef;
}


result($busy, $q, 'room');
is answer($c[1])->{json}{result}, 'room', 'which is answered';

# --- a worker that asks is killed ---------------------------------------------

my @safe = map { (at(sub { $_[0] != $doomed }))[0] } 1 .. 2;

$nginx->kill_worker($doomed);
$_->close for @many;

ask($safe[0], $busy->{id}, { target => 'T' });
my $held = asked($busy);
$q = wait_for { asks($safe[1], $busy) };
ok $q, 'what a dead worker asked makes room, too';
result($busy, $q, 'alive');
is answer($safe[1])->{json}{result}, 'alive', 'and the connection lives on';
result($busy, $pending[5], 'nobody');
result($busy, $held, 'held');
is answer($safe[0])->{json}{result}, 'held',
    'answers to the dead worker harm nobody';

# --- a worker that asks sleeps too long ---------------------------------------

%owns = map { $_ => 1 } owners();
my ($sleeps, $sleeper) = at(sub { !$owns{ $_[0] } });
my ($floods) = at(sub { $_[0] != $sleeper });
ask($sleeps, $hub->{id}, { target => 'T' });
$q = asked($hub);
kill 'STOP', $sleeper;
result($hub, $q, 'unheard');

# the others keep up: each of them has its clients told before it goes on

for (1 .. 12) {
    $floods->request('POST', "/publish/$_->[0]", keepalive => 1,
                     body => $_->[1])
        and answer($floods)->{status} == 200 or die "publish failed\n"
        for [ flood => 'x' x 100000 ], [ chat => 'tick' ];
    asked($_) for $hub, $busy;
}

kill 'CONT', $sleeper;
$r = answer($sleeps);
is "$r->{status} $r->{json}{code}", '500 Unknown',
    'an answer that the log has lost is 500';

# --- a reload -----------------------------------------------------------------

ask($sleeps, $hub->{id}, { target => 'T' });
$q = asked($hub);
ok $nginx->reload, 'new workers run';
result($hub, $q, 'old');
is answer($sleeps)->{json}{result}, 'old',
    'a question of a worker that exits is answered';
my ($newer) = at(sub { 1 });
ask($newer, $hub->{id}, { target => 'T' });
result($hub, asked($hub), 'new');
is answer($newer)->{json}{result}, 'new',
    'and a new one asks those that the old ones have kept';

# --- the owner is killed ------------------------------------------------------

%owns = map { $_ => 1 } owners();
my @askers = map { [ (at(sub { !$owns{ $_[0] } }))[0], $_ ] } $hub, $busy;
ask($_->[0], $_->[1]{id}, { target => 'T' }) for @askers;
asked($_) for $hub, $busy;

$start = time;
$nginx->kill_worker($_) for keys %owns;

for (@askers) {
    $r = answer($_->[0]);
    is "$r->{status} $r->{json}{code}", '410 Gone',
        'a connection whose worker is killed is 410';
}

cmp_ok time - $start, '<', 15, 'at once, not after the time';

$nginx->stop_ok;

# --- more than a worker lets wait ---------------------------------------------

my $one = Broadcast::Nginx->new(
    main    => 'worker_rlimit_nofile 8192;',
    http    => 'broadcast_zone hubs 4m;',
    server  => <<'EOC')->start;
        location /client   { broadcast_hub anonymous; }
        location /api/     { broadcast_api open; }
        location = /status { broadcast_status prometheus; }
EOC

$port = $one->port;

my @asked = map { Broadcast::Hub->connect($port, '/client?hub=chat') } 1 .. 16;

# processes that ask, so that none has too many open files

my @processes = map { asking(@asked[4 * $_ .. 4 * $_ + 3]) } 0 .. 3;

for my $asked (@asked) {
    asked($asked) for 1 .. 64;
}

pass '1024 requests may wait in a worker';

my $last = Broadcast::Hub->connect($port, '/client?hub=chat');

$r = http($port, 'POST', "/api/hubs/chat/connections/$last->{id}/:invoke?$new",
          body => '{"target":"T"}');
is "$r->{status} $r->{json}{code}", '503 ServiceUnavailable', 'one more is 503';
ok $r->{headers}{'retry-after'}, 'for later';

my $metrics = http($port, 'GET', '/status')->{body};

like $metrics, qr/refused_total\{reason="invocation"\} 1\n/, 'counted once';
like $metrics, qr/refused_total\{reason="database"\} 0\n/,
    'not as if a database were away';

# they end, and their requests with them; each later one has the earlier pipes

close $_ for reverse @processes;

ok +(wait_for { asks(Broadcast::HTTP->connect($port), $last) }),
    'callers that leave make room';

$one->stop_ok;


# asks each of the connections 64 times, until its standard input ends

sub asking {
    my @hubs = @_;

    my $pid = open(my $pipe, '|-') // die "cannot fork: $!\n";
    return $pipe if $pid;

    my @c = map { my $hub = $_;
                  map { my $c = Broadcast::HTTP->connect($port);
                        ask($c, $hub->{id}, { target => 'T' });
                        $c } 1 .. 64 } @hubs;

    readline STDIN;
    POSIX::_exit(0);
}

done_testing;
