#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# Idempotency-Key: a repeat within an hour stores nothing and is told what the
# first was, at another worker, another node, after a restart, while the first
# is under way, and when the first broke off and nobody knew.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use Test::More;
use Time::HiRes qw(time sleep);

use Broadcast::HTTP qw(http);
use Broadcast::Nginx qw(wait_for);
use Broadcast::Postgres;
use Broadcast::SSE;

my $pg = Broadcast::Postgres->new;
my @at = (db => 'app', user => 'app');

$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);

sub node {
    return Broadcast::Nginx->new(
        workers => 2,
        http    => 'broadcast_zone hubs 16m; broadcast_ephemeral quick;'
                 . 'broadcast_database "' . $pg->conninfo('app', 'app')
                 . '" timeout=6s;',
        server  => <<'EOC')->start;
        broadcast_origin *;
        location /events/  { broadcast_events anonymous; }
        location /publish/ { broadcast_publish; add_header X-Worker $pid; }
        location /api/     { broadcast_api open; }
        location = /status { broadcast_status; }
EOC
}

my $nginx = node();
my $port = $nginx->port;

sub relay { http($_[0], 'GET', '/status?format=json')->{json}{database}{relay} }

ok((wait_for { relay($port) eq 'leader' } 10), 'a relay leads');

sub request {
    my ($key, $body, %o) = @_;
    my @keys = ref $key ? @$key : $key;

    return ('POST', $o{path} // '/publish/chat', body => $body,
            headers => [ 'Content-Type' => $o{type} // 'text/plain',
                         map { ('Idempotency-Key' => $_) } @keys ]);
}

sub publish {
    my ($key, $body, %o) = @_;

    return http($o{port} // $port, request($key, $body, %o));
}

# how often it is in the history

sub kept {
    return $pg->psql("select count(*) from broadcast.message
                       where arguments::text like '%$_[0]%'", @at);
}

# the parts of an answer that a repeat has, too

sub answer {
    my ($r) = @_;

    return join ' ', $r->{status}, $r->{json}{id} // '-',
                     $r->{json}{count} // '-';
}


# --- a repeat ---------------------------------------------------------------

my $sse = Broadcast::SSE->connect($port, '/events/chat');
my $first = publish('"k 1"', 'one');

is($first->{status}, 200, 'a publish with a key');

my $again = publish('"k 1"', 'one');

is(answer($again), answer($first), 'a repeat has the same answer');
is(answer(publish('k 1', 'one')), answer($first), '... without quotes, too');
is(kept('"one"'), 1, '... it is kept once');

my $other = publish('"k 2"', 'one');
isnt($other->{json}{id}, $first->{json}{id}, 'another key is another message');
is($sse->event->{id}, $first->{json}{id}, 'subscribers get the first');
is($sse->event->{id}, $other->{json}{id}, '... and that one, nothing else');

my $r = publish('"k 1"', 'two');
is($r->{status}, 422, 'the same key with another body');
is($r->{json}{code}, 'IdempotencyKeyReused', '... is told');
is(publish('"k 1"', 'one', path => '/publish/chat?target=t')->{status}, 422,
   '... with another target, too');
is(publish('"k 1"', 'one', path => '/publish/chat?group=g')->{status}, 422,
   '... or another scope');
is(kept('"two"'), 0, '... nothing is kept');

$r = publish('"k 1"', 'one', path => '/publish/else');
is($r->{status}, 200, 'the key is the hub\'s own');
isnt($r->{json}{id}, $first->{json}{id}, '... another hub has another message');

my @lines = ('"lines"', qq({"n":1}\n{"n":2}\n{"n":"lines"}\n),
             type => 'application/x-ndjson');
$r = publish(@lines);
is($r->{json}{count}, 3, 'many in one body');
is(answer(publish(@lines)), answer($r), '... a repeat has the same answer');
is(kept('lines'), 1, '... and they are kept once');

my @rest = ('"rest"', '{"target":"t","arguments":["by rest"]}',
            path => '/api/v1/hubs/chat', type => 'application/json');
is(publish(@rest)->{status}, 202, 'a REST send');
is(publish(@rest)->{status}, 202, '... and a repeat');
ok((wait_for { kept('by rest') == 1 } 5), '... are one message');

is(publish('"e"', 'x', path => '/publish/quick')->{status}, 200,
   'a hub that is not durable');
isnt(publish('"e"', 'x', path => '/publish/quick')->{json}{id},
     publish('"e"', 'x', path => '/publish/quick')->{json}{id},
     '... keeps no keys');


# --- what is no key ---------------------------------------------------------

for my $case ([ '""' => 'empty' ], [ '"' => 'half a string' ],
              [ '"a"b"' => 'a quote inside' ], [ '"a\\b"' => 'a bad escape' ],
              [ 'x' x 256 => 'too long' ], [ "\xc3\xa4" => 'not ASCII' ],
              [ [ 'a', 'b' ] => 'two' ])
{
    is(publish($case->[0], 'bad')->{status}, 400, "a key: $case->[1]");
}

# what was answered with 400 has once been sent, too, without its body

$sse = Broadcast::SSE->connect($port, '/events/refused');
my $refused = sub { publish([ 'a', 'b' ], @_)->{status} };

is($refused->('bad', path => '/publish/refused'), 400,
   'a publish with two keys');
is($refused->('{"target":"t"}', type => 'application/json',
              path => '/api/v1/hubs/refused'), 400, '... a send by REST');
is($refused->('bad', path => '/publish/quick'), 400,
   '... one to an ephemeral hub');
publish('k', 'good', path => '/publish/refused');
is($sse->event->{data}, '["good"]', '... is not sent');

is(publish('x' x 255, 'long')->{status}, 200, 'the longest');
is(kept('"bad"'), 0, '... nothing of the others is kept');

$r = http($port, 'OPTIONS', '/publish/chat', headers =>
          [ Origin => 'http://a.test', 'Access-Control-Request-Method' => 'POST',
            'Access-Control-Request-Headers' => 'content-type,idempotency-key' ]);
like($r->{headers}{'access-control-allow-headers'} // '', qr/idempotency-key/,
     'a page may send it');


# --- many at once -----------------------------------------------------------

{
    my ($storm, %answers, %workers);

    # one worker may have taken all of them

    for my $try (1 .. 20) {
        $storm = "storm $try";
        %answers = %workers = ();

        my @open = map { my $c = Broadcast::HTTP->connect($port);
                         $c->request(request(qq{"at once $try"}, $storm));
                         $c } 1 .. 40;

        for my $c (@open) {
            my $head = $c->head;
            $c->body($head, 'POST');
            $answers{ answer($head) }++;
            $workers{ $head->{headers}{'x-worker'} }++;
        }

        last if keys %answers != 1 || keys %workers == 2;
    }

    is_deeply([ values %answers ], [ 40 ], '40 at once have one answer')
        or diag(explain(\%answers));
    like((keys %answers)[0], qr/^200 /, '... a good one');
    is(scalar keys %workers, 2, '... from both workers');
    is(kept($storm), 1, '... and are one message');
}


# --- another node, and later ------------------------------------------------

my $far = node();

is(answer(publish('"k 1"', 'one', port => $far->port)), answer($first),
   'at another node a repeat has the same answer');

# the first waits for a lock in the database

my $lock = $pg->session(@at);
$lock->run('begin; lock table broadcast.staging in exclusive mode');

sub begun {
    my $c = Broadcast::HTTP->connect($_[0]);
    $c->request(@_[1 .. $#_]);
    return $c;
}

sub ended {
    my $head = $_[0]->head;
    $_[0]->body($head, 'POST');
    return $head;
}

sub waiting {
    return wait_for { $pg->psql(q{select count(*) from pg_stat_activity
        where wait_event_type = 'Lock' and query ~ 'stage_once'}) } 10;
}

my $one = begun($port, request('"way"', 'under way'));
ok(waiting(), 'the first is under way');
my $two = begun($far->port, request('"way"', 'under way'));
sleep 0.5;
$lock->run('rollback');

$r = ended($one);
is($r->{status}, 200, '... it ends');
is(answer(ended($two)), answer($r),
   '... a repeat of that time, at another node, has the same answer');
is(kept('under way'), 1, '... and it is one message');


# --- the first is not known of ----------------------------------------------

# Its server process stands still, with the statement in it.

$lock->run('begin; lock table broadcast.staging in exclusive mode');

$one = begun($port, request('"late"', 'too late'));
ok(waiting(), 'the first waits');

my $backend = $pg->psql(q{select pid from pg_stat_activity
    where wait_event_type = 'Lock' and query ~ 'stage_once'});
kill 'STOP', $backend;
$two = begun($far->port, request('"late"', 'too late'));

$r = ended($one);
is($r->{status}, 500, 'the database does not answer in time');
is($r->{json}{code}, 'Unknown', '... nobody knows');

$r = ended($two);
is($r->{status}, 409, 'a repeat that long: the first is under way');
ok($r->{headers}{'retry-after'}, '... it may come again');

$lock->run('rollback');
kill 'CONT', $backend;

ok((wait_for { $r = publish('"late"', 'too late'); $r->{status} == 200 } 15),
   'the next repeat is told how it ended');
is(answer(publish('"late"', 'too late', port => $far->port)), answer($r),
   '... everywhere');
is(kept('too late'), 1, '... it is one message');

# Inside of COMMIT, which waits for a standby that is not there: it is written,
# and the connection breaks.

$pg->psql(q{alter system set synchronous_standby_names = 'nobody'});
$pg->psql('select pg_reload_conf()');

ok((wait_for { $pg->psql(q{select count(*) from pg_stat_activity
        where wait_event = 'SyncRep'}) } 15), 'commits wait for a standby');

$one = begun($port, request('"commit"', 'in commit'));
ok((wait_for { $pg->psql(q{select count(*) from pg_stat_activity
        where wait_event = 'SyncRep' and query ~ 'stage_once'}) } 10),
   '... that of a request, too');
$pg->psql(q{select pg_terminate_backend(pid) from pg_stat_activity
             where wait_event = 'SyncRep' and query ~ 'stage_once'});

$r = ended($one);
is($r->{status}, 500, 'its connection breaks inside of COMMIT');
is($r->{json}{code}, 'Unknown', '... nobody knows');
ok(!$r->{headers}{'retry-after'}, '... it is not told to come again');

$pg->psql(q{alter system reset synchronous_standby_names});
$pg->psql('select pg_reload_conf()');

ok((wait_for { $r = publish('"commit"', 'in commit'); $r->{status} == 200 } 15),
   'a repeat is told that it was kept');
is(kept('in commit'), 1, '... once');

# rolled back: the repeat is the first

$lock->run('begin; lock table broadcast.staging in exclusive mode');
$one = begun($port, request('"back"', 'rolled back'));
ok(waiting(), 'a request waits');
$pg->psql(q{select pg_terminate_backend(pid) from pg_stat_activity
             where wait_event_type = 'Lock' and query ~ 'stage_once'});
$r = ended($one);
is($r->{status}, 503, '... and is ended by the server: surely not kept');
ok($r->{headers}{'retry-after'}, '... it may come again');
$lock->run('rollback');

ok((wait_for { $r = publish('"back"', 'rolled back'); $r->{status} == 200 } 15),
   'then the repeat is the first');
is(kept('rolled back'), 1, '... and kept');


# --- later ------------------------------------------------------------------

ok((wait_for { $pg->psql(q{select count(*) from broadcast.idempotency
                            where seq is null}, @at) == 0 } 15),
   'numbers are kept with the keys');

$pg->psql(q{delete from broadcast.message where hub = 'chat'}, @at);
is(answer(publish('"k 1"', 'one')), answer($first),
   '... a repeat has them when the history has not');

$nginx->crash;
$nginx->start;
ok((wait_for { relay($port) } 10), 'nginx starts again');
ok((wait_for { $r = publish('"k 1"', 'one'); $r->{status} == 200 } 10)
   && answer($r) eq answer($first), '... a repeat has the same answer')
    or diag(answer($r));

$pg->psql(q{update broadcast.idempotency
               set created_at = created_at - interval '1 hour'
             where key = 'k 1'}, @at);
isnt(answer(publish('"k 1"', 'one')), answer($first),
     'after an hour it is another message');

$pg->psql(q{update broadcast.idempotency
               set created_at = created_at - interval '1 hour'
             where key = 'k 2'}, @at);
ok((wait_for { $pg->psql(q{select count(*) from broadcast.idempotency
                            where key = 'k 2'}, @at) == 0 } 15),
   '... and the key is forgotten');

$_->stop_ok(signal => 'TERM') for $far, $nginx;

done_testing();
