#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# What is under way moves with a long-polling client from worker to worker: its
# open streams, uploads that are half collected, and what it was asked.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP;
use Test::More;
use Time::HiRes qw(time);

use Broadcast::HTTP qw(http worker_at);
use Broadcast::Nginx qw(wait_for);
use Broadcast::Postgres;

my $json = JSON::PP->new->canonical->allow_nonref;
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

my $nginx = Broadcast::Nginx->new(
    workers => 3,
    http    => 'broadcast_zone hubs 4m; broadcast_database "'
             . $pg->conninfo('app', 'app') . '" timeout=5s;',
    server  => <<'EOC')->start;
        location /client   { broadcast_hub anonymous; }
        location /api/     { broadcast_api open; }
        location = /pid    { return 200 $pid; }
        location = /status { broadcast_status json; }
EOC

my $port = $nginx->port;

ok wait_for(sub {
    http($port, 'GET', '/status')->{json}{database}{state} eq 'up'
}, 15), 'the database is up';


# a connection that stays with one worker

sub at {
    my $c = worker_at($port, '/pid', $_[0]);

    return ($c, $c->{worker});
}

sub owners {
    map { $_->{pid} } grep { $_->{connections} }
        @{ http($port, 'GET', '/status')->{json}{workers} };
}


my ($one, $first) = at(sub { 1 });
my ($two, $second) = at(sub { $_[0] != $first });

my $n = http($port, 'POST', '/client/negotiate?hub=chat&negotiateVersion=1',
             body => '')->{json};
my $id = $n->{connectionId};
my $client = "/client?hub=chat&id=$n->{connectionToken}";


sub post {
    my $r = http($port, 'POST', $client,
                 body => join '', map { $json->encode($_) . "\x1e" } @_);
    $r->{status} == 200 or die "POST: $r->{raw}";
}


my @records;

# records at that worker, until the one that is wanted

sub poll {
    my ($c, $wanted) = @_;

    for (1 .. 20) {
        for my $i (0 .. $#records) {
            return splice @records, $i, 1 if $wanted->($records[$i]);
        }

        $c->request('GET', $client, keepalive => 1);
        my $r = $c->head;
        $r->{status} == 200 or return $r->{status};
        push @records, map { $json->decode($_) }
                       split /\x1e/, $c->body($r);
    }

    return 'nothing';
}


sub of {
    my ($id) = @_;
    return sub { ($_[0]{invocationId} // '') eq $id };
}


sub api {
    my ($path, $body) = @_;

    return http($port, 'POST', "/api/hubs/chat/connections/$id/$path"
                               . '?api-version=2024-12-01',
                body => $body)->{status};
}


my ($asker) = at(sub { $_[0] != $first && $_[0] != $second });

sub ask {
    $asker->request('POST', "/api/hubs/chat/connections/$id/:invoke"
                            . '?api-version=2024-12-01',
                    keepalive => 1, body => '{"target":"Ask"}');
}

$one->request('GET', $client, keepalive => 1);
my $r = $one->head;
is "$r->{status} " . $one->body($r), '200 ', 'the first poll is empty';
$r = http($port, 'POST', $client, body => '{"protocol":"json","version":1}' . "\x1e");
is_deeply poll($one, sub { !%{ $_[0] } }), {}, 'a client is connected';
is_deeply [ owners() ], [ $first ], 'at one worker';

# --- begun at one worker ------------------------------------------------------

post({ type => 4, target => 'Count', arguments => [], invocationId => 'c1' },
     { type => 4, target => 'Count', arguments => [], invocationId => 'c2' },
     { type => 1, target => 'Up', arguments => [ 5 ], invocationId => 'u1',
       streamIds => [ 's1', 's2', 's3' ] },
     { type => 2, invocationId => 's1', item => 'a' },
     { type => 2, invocationId => 's2', item => [ 1, 2 ] },
     { type => 3, invocationId => 's2' },
     { type => 1, target => 'Up', arguments => [], invocationId => 'f1' });
is poll($one, of('f1'))->{type}, 3, 'streams and an upload are under way';
ask();
my $q = poll($one, sub { $_[0]{type} == 1 });
is $q->{target}, 'Ask', 'and a question';

# --- and ended at another -----------------------------------------------------

post({ type => 1, target => 'Up', arguments => [], invocationId => 'f2' });
is poll($two, of('f2'))->{type}, 3, 'the client polls at another worker';
is_deeply [ owners() ], [ $second ], 'which has it now';

is api('streams/c1/:send', '"moved"'), 202, 'an item for its stream';
is_deeply poll($two, of('c1')), { type => 2, invocationId => 'c1',
                                  item => 'moved' }, 'arrives there';

post({ type => 3, invocationId => $q->{invocationId}, result => 'moved' });
$r = $asker->head;
$asker->body($r);
is $r->{json}{result}, 'moved', 'its answer is still awaited there';

post({ type => 2, invocationId => 's1', item => 'b' },
     { type => 2, invocationId => 's2', item => 'late' },
     { type => 3, invocationId => 's1' },
     { type => 2, invocationId => 's3', item => undef },
     { type => 3, invocationId => 's3' });
is_deeply poll($two, of('u1')), { type => 3, invocationId => 'u1',
    result => [ 5, [ 'a', 'b' ], [ [ 1, 2 ] ], [ undef ] ] },
    'and what was collected goes on there';

# --- between the two ----------------------------------------------------------

post({ type => 1, target => 'Up', arguments => [], invocationId => 'u2',
       streamIds => [ 't1' ] });
my @workers = ([ $one, $first ], [ $two, $second ]);

for my $i (1 .. 6) {
    my ($c, $pid) = @{ $workers[$i % 2] };

    api('streams/c1/:send', "$i");
    post({ type => 2, invocationId => 't1', item => $i });
    my $item = poll($c, of('c1'));
    ref $item && $item->{item} == $i or fail "item $i at $pid";
}

post({ type => 3, invocationId => 't1' });
is_deeply poll($one, of('u2'))->{result}, [ [ 1 .. 6 ] ],
    'an upload is collected by two workers in turn';
is api('streams/c1/:complete', ''), 202, 'a stream that was fed by both';
is_deeply poll($two, of('c1')), { type => 3, invocationId => 'c1' }, 'ends';

# --- asked while nobody polls, and gone ---------------------------------------

ask();
$q = poll($one, sub { $_[0]{type} == 1 });
is $q->{target}, 'Ask', 'a question finds a client that moves';
my $start = time;
is http($port, 'DELETE', $client)->{status}, 202, 'which leaves';
$r = $asker->head;
$asker->body($r);
is "$r->{status} $r->{json}{code}", '410 Gone', 'and is gone';
cmp_ok time - $start, '<', 15, 'at once, not after the 30 s of a question';

$nginx->stop_ok;

done_testing;
