#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# Client results and streams of two instances on one database: who is asked has
# its socket at the other one.  What goes wrong on that way, and that nothing
# of it is to be seen elsewhere; the values are in client_invoke.t.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP;
use Test::More;

use Broadcast::HTTP qw(http);
use Broadcast::Hub;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Plain;
use Broadcast::Postgres;
use Broadcast::SSE;
use Broadcast::Wait qw(at_best);

my $json = JSON::PP->new->canonical->allow_nonref;
my $v = 'api-version=2024-12-01';

my $pg = Broadcast::Postgres->new;
my @at = (db => 'app', user => 'app');

$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);
$pg->psql(<<'EOS', @at);
create function counter(event jsonb) returns jsonb language sql as
$$ select null::jsonb $$;
create function up(event jsonb) returns jsonb language sql as
$$ select jsonb_build_object('result', event->'arguments') $$;
select broadcast.bind('message', 'counter', 'chat', 'Count');
select broadcast.bind('message', 'up', 'chat', 'Up');
EOS

my @nodes = map {
    Broadcast::Nginx->new(
        workers => 2,
        http    => 'broadcast_zone hubs 8m; broadcast_ephemeral quick;'
                 . ' broadcast_database "' . $pg->conninfo('app', 'app')
                 . '" timeout=5s;',
        server  => <<'EOC')->start
        location /client   { broadcast_hub anonymous; }
        location /events/  { broadcast_events anonymous; }
        location /publish/ { broadcast_publish; }
        location /api/     { broadcast_api open; }
        location /hasty/api/ {
            broadcast_api open;
            broadcast_client_timeout 2s;
        }
        location = /status { broadcast_status; }
EOC
} 1 .. 2;

my ($one, $two) = map { $_->port } @nodes;


sub database { http($_[0], 'GET', '/status?format=json')->{json}{database} }

sub metric {
    my ($port, $pattern) = @_;

    return join ' ', map { /($pattern.*)/ ? $1 : () }
        split /\n/, http($port, 'GET', '/status?format=prometheus')->{body};
}

# a client whose row is in the database

sub client {
    my ($port, $hub) = @_;

    my $client = Broadcast::Hub->connect($port, '/client?hub='
                                                . ($hub // 'chat'));
    die $client->{error} if $client->{error};

    wait_for { $pg->psql(qq{select count(*) from broadcast.connections
                            where connection_id = '$client->{id}'}, @at) } 10
        or die "a client that nobody knows\n";

    return $client;
}

sub post {
    my ($port, $client, $path, $body, $api) = @_;

    my $id = ref $client ? $client->{id} : $client;
    my $c = Broadcast::HTTP->connect($port);

    $path .= ($path =~ /\?/ ? '&' : '?') . $v;
    $c->request('POST', ($api // '') . "/api/hubs/chat/connections/$id/$path",
                body => $body,
                headers => [ 'Content-Type' => 'application/json' ]);
    return $c;
}

sub ask { post($_[0], $_[1], ':invoke', '{"target":"Ask","arguments":[7]}',
               $_[2]) }

sub answer {
    my ($c) = @_;

    my $r = $c->head;
    $c->body($r);

    return $r;
}

sub told { my $r = answer($_[0]); "$r->{status} $r->{body}" }
sub code { my $r = answer($_[0]); "$r->{status} $r->{json}{code}" }

sub said {
    my ($client) = @_;
    my $record;

    1 while ($record = $client->next) && $record->{type} == 6;

    return $record;
}

sub complete {
    my ($client, $question, %o) = @_;
    $client->send({ type => 3, invocationId => $question->{invocationId},
                    %o });
}

# a question at the one and its whole way

sub round {
    my ($client, $name) = @_;

    my $c = ask($one, $client);
    complete($client, said($client), result => 'ok');
    is told($c), '200 {"result":"ok"}', $name;
}


for my $port ($one, $two) {
    ok((wait_for { my $db = database($port);
                   $db->{state} eq 'up'
                   && $db->{relay} =~ /leader|follower/ } 20),
       'an instance takes part');
}

my $bob = client($two);


# --- answers -----------------------------------------------------------------

my $c = ask($one, $bob);
my $q = said($bob);
like $q->{invocationId}, qr/^[0-9a-f]{16}~[0-9a-f]{16}\.[0-9a-f]+$/,
    'a client of the other instance is asked, with an id of ours';
is_deeply [ @$q{qw(type target arguments)} ], [ 1, 'Ask', [ 7 ] ],
    '... with target and arguments';
$bob->{ws}->text(qq({"type":3,"invocationId":"$q->{invocationId}","result":)
    . '{"z":123456789012345678901234567890,"a":"\u0000 \" ä"}}' . "\x1e");
is told($c),
    '200 {"result":{"z":123456789012345678901234567890,"a":"\u0000 \" ä"}}',
    'the result comes back byte for byte';

$c = ask($one, $bob);
complete($bob, said($bob));
is told($c), '200 {"result":null}', 'no result is null';

$c = ask($one, $bob);
complete($bob, said($bob), error => "no \"luck\" {\\}\n");
my $r = answer($c);
is "$r->{status} $r->{json}{message}", "400 no \"luck\" {\\}\n", 'an error';

$c = ask($one, $bob);
complete($bob, said($bob), error => "cut\0here");
is answer($c)->{json}{message}, 'cut', '... up to its U+0000';

my @many = map { ask($one, $bob) } 1 .. 20;
my @asked = map { said($bob) } @many;
my %ids = map { $_->{invocationId} => 1 } @asked;
is scalar(keys %ids), 20, 'twenty at once have an id each';
complete($bob, $_, result => 1) for reverse @asked;
is_deeply [ map { told($_) } @many ], [ ('200 {"result":1}') x 20 ],
    '... and an answer each';

is code(ask($one, 'nobody')), '404 Warning.Connection.NotExisted',
    'a connection that nobody has';

my $plain = Broadcast::Plain->connect($two, '/events/chat');
my $id;
ok((wait_for { $id = $pg->psql(qq{select connection_id
    from broadcast.connections where connection_id <> '$bob->{id}'}, @at) }),
   'a plain subscriber of the other has a row');
$r = answer(ask($one, $id));
is "$r->{status} $r->{json}{message}",
    '400 The connection speaks no hub protocol.', '... and is not asked';

my $quick = client($two, 'quick');
$c = Broadcast::HTTP->connect($one);
$c->request('POST', "/api/hubs/quick/connections/$quick->{id}/:invoke?$v",
            body => '{"target":"t"}');
is code($c), '404 Warning.Connection.NotExisted',
    'an ephemeral hub stays within its node';

# what only looks like an answer

$c = ask($one, $bob);
$q = said($bob);
complete($bob, { invocationId => $q->{invocationId} =~ tr/0-9a-f~/1-9a-f0~/r },
         result => 'guessed');
my $eve = client($two);
complete($eve, $q, result => 'stolen');
$eve->send({ type => 1, target => 'Up', arguments => [], invocationId => 'x' });
is said($eve)->{invocationId}, 'x', 'another client has said it, too';
complete($bob, $q, result => 'mine');
is told($c), '200 {"result":"mine"}',
    'an answer counts from the client that was asked alone';
$eve->drop;


# --- nothing of it elsewhere -------------------------------------------------

sub publish {
    my ($port, $text) = @_;
    return http($port, 'POST', '/publish/chat', body => $text,
                headers => [ 'Content-Type' => 'text/plain' ])->{json}{id};
}

my @sse = map { Broadcast::SSE->connect($_, '/events/chat') } $one, $two;
my $first = publish($one, 'first');
is $_->event->{id}, $first, 'a subscriber at either' for @sse;
said($bob);

my $counted = sub { join ' ', map { metric($_, 'published_total.*chat') }
                                  $one, $two };
my $before = $counted->();
like $before, qr/chat/, 'messages are counted';

round($bob, 'a question between two messages');
$bob->send({ type => 4, target => 'Count', arguments => [],
             invocationId => 's' });
$bob->send({ type => 1, target => 'Up', arguments => [], invocationId => 'f' });
is said($bob)->{invocationId}, 'f', '... and a stream';

# by turns, each when the one before was taken

my @codes = map {
    answer(post($_ % 2 ? $one : $two, $bob,
                'streams/s/:send' . ($_ == 40 ? '?completed=true' : ''),
                "{\"n\":$_}"))->{status};
} 1 .. 40;
is_deeply \@codes, [ (202) x 40 ], 'its items are taken by both';
my @items = map { said($bob) } 1 .. 41;
is_deeply [ map { $_->{item}{n} } @items[0 .. 39] ], [ 1 .. 40 ],
    '... and come in order';
is_deeply $items[40], { type => 3, invocationId => 's' }, '... with its end';

$bob->send({ type => 4, target => 'Count', arguments => [],
             invocationId => 'u' });
$bob->send({ type => 1, target => 'Up', arguments => [], invocationId => 'g' });
said($bob);
is answer(post($one, $bob, 'streams/u/:complete?error=so%20it%20is'))->{status},
    202, 'the end of a stream with an error';
is_deeply said($bob), { type => 3, invocationId => 'u', error => 'so it is' },
    '... is heard';
is answer(post($one, $bob, 'streams/u/:complete?error=%00'))->{status}, 400,
    '... which has no U+0000';

is $counted->(), $before, 'none of them is counted as a message';

my $second = publish($two, 'second');
my ($epoch, $n) = $first =~ /^(.*-)(\d+)$/;
is $second, $epoch . ($n + 1), 'the next message has the next number';
is_deeply [ @{ $_->event }{qw(id data)} ], [ $second, '["second"]' ],
    '... and is what subscribers see next' for @sse;
said($bob);

for my $port ($one, $two) {
    my $again = Broadcast::SSE->connect($port, '/events/chat',
        headers => [ 'Last-Event-ID' => $first ]);
    is_deeply [ @{ $again->event }{qw(event data)} ], [ 'message', '["second"]' ],
        'who resumes sees no trace of it';
    $again->close;
}


# --- bounds ------------------------------------------------------------------

my @full = map { ask($one, $bob) } 1 .. 64;
said($bob) for @full;
is code(ask($one, $bob)), '429 TooManyRequests', '64 questions may wait';
like metric($two, 'refused_total.*invocation'), qr/ 1$/,
    '... which its own instance counts';
$_->close for @full;

ok((wait_for {
    my $c = ask($one, $bob, '/hasty');
    my $q = eval { $bob->next(1) };
    $q = $bob->next while $q && $q->{type} == 6;
    complete($bob, $q, result => 1) if $q;
    told($c) =~ /^200/;
} 20), 'a caller that goes away takes its question back there, too');

$c = ask($one, $bob, '/hasty');
$q = said($bob);
is code($c), '504 Timeout', 'a client that is silent';
complete($bob, $q, result => 'late');
round($bob, '... and what it says later is no answer to the next one');


# --- ends --------------------------------------------------------------------

# its row is held, so the other instance finds it in the database to the end

my $joe = client($two);
$c = ask($one, $joe);
said($joe);
my $hold = $pg->session(@at);
$hold->run(qq{begin; select from broadcast.connections
               where connection_id = '$joe->{id}' for update});
$joe->drop;
is code($c), '410 Gone',
    'a client that leaves is known to have left by its own instance';
is $pg->psql(qq{select count(*) from broadcast.connections
                where connection_id = '$joe->{id}'}, @at), 1,
    '... while its row is there';
$hold->run('rollback');

$c = ask($one, $bob);
$q = said($bob);
$nodes[0]->kill_worker($_) for $nodes[0]->workers;
ok $c->at_end, 'who has asked is killed';
complete($bob, $q, result => 'nobody');
ok((wait_for { (database($one)->{relay} // '') =~ /leader|follower/ } 20),
   '... its successors take part');
round($bob, '... and nobody is confused by the answer');

$c = ask($one, $bob);
said($bob);
my $node = $pg->psql(qq{select node from broadcast.connections
                        where connection_id = '$bob->{id}'}, @at);
$nodes[1]->crash;
$pg->psql(qq{update broadcast.node set seen_at = seen_at - interval '1 minute'
             where name = '$node'; select broadcast.sweep()}, @at);
is code($c), '410 Gone',
    'an instance that is killed, and was given up, is known by its rows';

$nodes[1]->start;
ok((wait_for { (database($two)->{relay} // '') =~ /leader|follower/ } 20),
   'it comes again');
my $again = Broadcast::SSE->connect($two, '/events/chat',
    headers => [ 'Last-Event-ID' => $first ]);
is_deeply [ @{ $again->event }{qw(event data)} ], [ 'message', '["second"]' ],
    '... and what the database replays has no trace either';
$again->close;


# --- without the database ----------------------------------------------------

$bob = client($two);
my $ann = client($one);

$c = ask($one, $bob, '/hasty');
$q = said($bob);
$pg->stop;
complete($bob, $q, result => 'lost');
is code($c), '504 Timeout', 'an answer that the database does not take is lost';
ok((wait_for { database($one)->{state} eq 'down' } 10),
   'the database is away');

my $took = at_best { $r = answer(ask($one, $bob)) } 4;
is "$r->{status} $r->{json}{code}", '503 ServiceUnavailable',
    'nobody of another instance can be asked';
ok $r->{headers}{'retry-after'}, '... for now';
cmp_ok $took, '<', 4, '... which is said at once';
$took = at_best { $r = code(post($one, $bob, 'streams/s/:send', '1')) } 4;
is $r, '503 ServiceUnavailable', '... nor get an item';
cmp_ok $took, '<', 4, '... which is said at once, too';

round($ann, 'who is here is asked all the same');

$pg->start;
ok((wait_for { database($_)->{state} eq 'up' } 20), 'it is back')
    for $one, $two;
ok((wait_for { answer(post($one, $bob, 'streams/s/:send', '1'))->{status}
               == 202 } 10), '... for items');
round($bob, '... and for questions');

$_->close for $bob, $ann, $quick;
$_->close for @sse;
$_->stop_ok for @nodes;

done_testing();
