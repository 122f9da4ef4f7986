#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# Thousands of well-formed messages in an order that no client has, about few
# ids, against a sanitized server with functions: invocations, streams, uploads,
# their items and ends, cancels, client results, and the same from REST.  None
# of them ends the connection, and each invocation is completed once.
#
#     BROADCAST_SEED=N prove t/conn_stream_random.t      the same again

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP;
use Test::More;
use Time::HiRes qw(time);

use Broadcast::HTTP qw(http);
use Broadcast::Hub;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Postgres;

my $seed = $ENV{BROADCAST_SEED} // int(time * 1000) % 2 ** 31;

srand $seed;
note "BROADCAST_SEED=$seed";

my $json = JSON::PP->new->canonical->allow_nonref;
my $pg = Broadcast::Postgres->new;
my @at = (db => 'app', user => 'app');

$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);

$pg->psql(<<'EOS', @at);
create function up(event jsonb) returns jsonb language plpgsql as $$
begin
    if random() < 0.2 then raise exception 'not now'; end if;
    return jsonb_build_object('result', event->'arguments');
end $$;

select broadcast.bind('message', 'up', 'chat', 'Up');
EOS

my $nginx = Broadcast::Nginx->new(
    build   => $ENV{BROADCAST_BUILD} || 'sanitize',
    workers => 2,
    http    => 'broadcast_zone hubs 4m; broadcast_database "'
             . $pg->conninfo('app', 'app') . '" timeout=5s;',
    server  => <<'EOC')->start;
        location /client   {
            broadcast_hub anonymous;
            broadcast_message_size 2k;
        }
        location /api/     { broadcast_api open; }
        location = /status { broadcast_status json; }
EOC

my $port = $nginx->port;
my @workers = $nginx->workers;

ok wait_for(sub {
    http($port, 'GET', '/status')->{json}{database}{state} eq 'up'
}, 15), 'the database is up';

my $hub = Broadcast::Hub->connect($port, '/client?hub=chat');
is $hub->{error}, undef, 'a client is connected';


sub id   { int rand 12 }
sub item { (undef, 1, 'x' x rand 300, [ {} ], "\x{263a}")[rand 5] }


# Ids of invocations are never used twice, so each has one Completion; but they
# may be those of streams, which are used again and again.

my ($n, %open) = (0);

sub begin {
    my ($type) = @_;
    my $id = 'i' . $n++;
    my @streams = rand() < 0.5 ? () : map { '' . id() } 1 .. 1 + rand 3;

    $open{$id} = 1 if $type == 1;

    return { type => $type, target => rand() < 0.1 ? 'No' : 'Up',
             arguments => [ map { item() } 1 .. rand 3 ], invocationId => $id,
             streamIds => \@streams };
}


sub any { rand() < 0.7 ? '' . id() : 'i' . int rand($n + 2) }

my @kinds = (
    [ 3, sub { begin(1) } ],
    [ 2, sub { begin(4) } ],
    [ 1, sub { my $m = begin(1); delete $open{ delete $m->{invocationId} };
               $m } ],
    [ 8, sub { { type => 2, invocationId => any(), item => item() } } ],
    [ 6, sub { { type => 3, invocationId => any() } } ],
    [ 1, sub { { type => 3, invocationId => any(), error => 'broken' } } ],
    [ 1, sub { { type => 3, invocationId => any(), result => item() } } ],
    [ 2, sub { { type => 5, invocationId => any() } } ],
);

my @choice = map { my ($weight, $make) = @$_; ($make) x $weight } @kinds;

# --- REST, which waits for nothing --------------------------------------------


sub rest {
    my $path = rand() < 0.3 ? ':invoke'
             : 'streams/' . any() . '/' . (':send', ':complete',
                                           ':send')[rand 3];
    my $q = rand() < 0.2 ? '&completed=true' : '';
    my $body = $path eq ':invoke' ? '{"target":"T"}' : $json->encode(item());
    utf8::encode($body) if utf8::is_utf8($body);

    my $c = Broadcast::HTTP->connect($port);
    $c->request('POST', "/api/hubs/chat/connections/$hub->{id}/$path"
                        . "?api-version=2024-12-01$q", body => $body);

    if ($path eq ':invoke') {
        push @{ $hub->{callers} }, $c;
        shift(@{ $hub->{callers} })->close if @{ $hub->{callers} } > 20;
        return;
    }

    my $r = $c->head;
    $r->{status} == 202 or die "REST: $r->{raw}";
    $c->close;
}


my (%completed, @twice, $asked);

sub take {
    my ($record) = @_;

    die "ended: " . $json->encode($record) if !$record || $record->{type} == 7;

    my $id = $record->{invocationId} // return;

    if ($record->{type} == 3 && $open{$id}) {
        push @twice, $id if $completed{$id}++;
        return;
    }

    if ($record->{type} == 1) {
        $asked++;
        $hub->send({ type => 3, invocationId => $id, result => item() })
            if rand() < 0.8;
    }
}


my $sent = 0;

for my $round (1 .. 60) {
    for (1 .. 50) {
        my $text = $json->encode($choice[rand @choice]->());
        utf8::encode($text) if utf8::is_utf8($text);
        $hub->{ws}->text("$text\x1e");
        $sent++;
    }

    rest() for 1 .. 5;

    # all of the round has been taken when this is answered

    $hub->send({ type => 1, target => 'No', arguments => [],
                 invocationId => "f$round" });

    for (;;) {
        my $record = $hub->next(20);
        last if ($record->{invocationId} // '') eq "f$round";
        take($record);
    }
}

pass "$sent messages have not ended the connection";
ok $asked, 'its client was asked, too';

# what still waits for uploads is ended by cancelling it

$hub->send({ type => 5, invocationId => $_ }) for sort keys %open;
$hub->send({ type => 1, target => 'No', arguments => [], invocationId => 'end' });

for (;;) {
    my $record = $hub->next(20);
    last if ($record->{invocationId} // '') eq 'end';
    take($record);
}

is_deeply [ grep { !$completed{$_} } sort keys %open ], [],
    'every invocation was completed';
is_deeply \@twice, [], 'and none twice';

$hub->drop;
ok wait_for(sub {
    !http($port, 'GET', '/status')->{json}{hubs}{chat}{connections}{websocket}
}), 'the connection leaves nothing behind';
is_deeply [ sort $nginx->workers ], [ sort @workers ], 'no worker has died';

$nginx->stop_ok;

done_testing;
