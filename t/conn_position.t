#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# A SignalR client made with ?position= goes on where it was and is told where
# it is: over each transport, in both protocols, in an ephemeral hub by the log
# alone.  That the database's history serves it too is t/pg_position.t.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP;
use Test::More;
use Time::HiRes qw(time sleep);

use Broadcast::HTTP qw(http worker_at);
use Broadcast::Hub;
use Broadcast::LongPoll;
use Broadcast::Nginx qw(wait_for);
use Broadcast::SSE;
use Broadcast::Token qw(client_token);

my $key = '0123456789abcdef0123456789abcdef';

my $nginx = Broadcast::Nginx->new(
    workers => 2,
    http => <<"EOC",
        broadcast_zone hubs 8m;
        broadcast_key $key;

        server {
            listen 127.0.0.1:%%PORT spread%% reuseport;
            location /client   { broadcast_hub; }
            location /open     { broadcast_hub anonymous; }
            location /quick    { broadcast_hub anonymous;
                                 broadcast_keepalive 1s; }
            location /narrow   { broadcast_hub anonymous;
                                 broadcast_queue 64k; }
            location /publish/ { broadcast_publish; }
            location /api/     { broadcast_api open; }
            location = /api/negotiate { broadcast_negotiate hub=chat; }
            location = /to/negotiate  { broadcast_negotiate hub=chat
                                        url=https://there/client?x=1; }
            location = /status { broadcast_status json; }
            location = /pid    { return 200 \$pid; }
        }
EOC
)->start;

my $port = $nginx->port('spread');


sub publish {
    my ($hub, $argument, $query) = @_;

    my $r = http($port, 'POST', "/publish/$hub?target=m" . ($query // ''),
                 body => encode_json([ $argument ]),
                 headers => [ 'Content-Type' => 'application/json' ]);
    $r->{status} == 200 or die "publish: $r->{raw}";

    return $r->{json}{id};
}

sub hub {
    my ($hub, $position, %o) = @_;

    my $at = $o{at} // '/open';
    my $c = Broadcast::Hub->connect($port, "$at?hub=$hub"
        . (defined $position ? "&position=$position" : ''), %o);

    die "hub: $c->{error}\n" if $c->{error};

    return $c;
}

# what a record says: m5, @epoch-7 for a position, else its target or type

sub said {
    my ($r) = @_;

    return 'closed' unless $r;
    return "type$r->{type}" unless $r->{type} == 1;
    return '@' . $r->{arguments}[0] if $r->{target} eq 'broadcast.position';
    return "$r->{target}" . ($r->{target} eq 'm' ? $r->{arguments}[0][0] : '');
}

sub take {
    my ($c, $n) = @_;

    return join ' ', map { said($c->next) } 1 .. $n;
}


# --- behind the handshake, the replay, then what is live ---------------------

my @ids = map { publish('chat', $_) } 1 .. 5;
my ($epoch) = $ids[0] =~ /^(\w+)-/;

my $c = hub('chat', $ids[1]);
is take($c, 7), "m3 \@$ids[2] m4 \@$ids[3] m5 \@$ids[4] \@$ids[4]",
    'a position: what is missing comes behind the handshake, then the position';
$ids[5] = publish('chat', 6);
is take($c, 2), "m6 \@$ids[5]", 'a live message brings its position';

my $bare = hub('chat');
$ids[6] = publish('chat', 7);
is take($bare, 1), 'm7', 'who has asked for none is told none';
is take($c, 2), "m7 \@$ids[6]", 'others are';
$c->close;
$_ = publish('chat', 8);
is take($bare, 1), 'm8', 'nor with the next';
$bare->close;

$c = hub('chat', $_);
is take($c, 1), "\@$_", 'who has missed nothing is told where it is';
$c->close;

$c = hub('chat', '');
is take($c, 1), "\@$_", 'an empty position is from now on';
$_ = publish('chat', 9);
is take($c, 2), "m9 \@$_", 'and told what comes';
$c->close;

$c = hub('new', '0-0');
like take($c, 1), qr/^\@\w+-0$/, '0-0 of a hub where nothing was sent';
$c->close;
publish('new', $_) for 1 .. 3;
$c = hub('new', '0-0');
like take($c, 7), qr/^m1 \S+ m2 \S+ m3 \@\w+-3 \@\w+-3$/, '0-0 is its beginning';
$c->close;


# --- one frame ---------------------------------------------------------------

$c = hub('chat', '');
$c->next;
$_ = publish('chat', 10);
my $frame = $c->{ws}->message;
like $frame, qr/"target":"m".*\x1e\{.*"broadcast\.position".*\x1e\z/s,
    'a message and its position are one frame: a client has both or none';
$c->close;


# --- scopes ------------------------------------------------------------------

my $from = publish('chat', 'start');
publish('chat', 'ann', '&user=ann');
publish('chat', 'bob', '&user=bob');
publish('chat', 'a', '&group=a');
publish('chat', 'b', '&group=b');

my $was = hub('chat', undef, at => '/client',
    token => client_token($key, 'chat', sub => 'ann'));
publish('chat', 'its own', "&connection=$was->{id}");
is_deeply $was->invocation('m'), [ [ 'its own' ] ], 'a connection has its own';
my $last = publish('chat', 'end');
$was->close;

$c = hub('chat', $from, at => '/client',
    token => client_token($key, 'chat', sub => 'ann', groups => [ 'a' ]));
like take($c, 7), qr/^mann \S+ ma \S+ mend \@\Q$last\E \@\Q$last\E$/,
    'replayed is what is to all, to the user and to its groups, and no '
    . 'message to a connection';

my $own = publish('chat', 'mine', "&connection=$c->{id}");
is take($c, 2), "mmine \@$own", 'a live one to the connection brings a position';
$c->close;


# --- what cannot be served ---------------------------------------------------

for my $requested ('nonsense', '-', "$epoch-", 'abc-5', "$epoch-99999999",
                   "$epoch-1.", "$epoch-1..g", "$epoch-1..1f_2")
{
    $c = hub('chat', $requested);
    my $gap = $c->next;
    is $gap->{target}, 'broadcast.gap', "\"$requested\": first a gap";
    is $gap->{arguments}[0]{requested}, $requested, 'with what was asked for';
    like $gap->{arguments}[0]{oldest}, qr/^$epoch-\d+$/,
        'and the oldest that is there';

    my $seen;
    while (my $r = $c->next) {
        $seen = said($r);
        last if $seen eq "\@$own";
    }
    is $seen, "\@$own", 'then the position';
    $c->close;
}

my $first = publish('full', 0);
publish('full', 'x' x 10000) for 1 .. 230;
$last = publish('full', 'last');

$c = hub('full', $first);
my $gap = $c->next;
is $gap->{target}, 'broadcast.gap', 'what the log forgot is a gap';
my ($oldest) = $gap->{arguments}[0]{oldest} =~ /-(\d+)$/;
my ($end) = $last =~ /-(\d+)$/;
my @seqs;
while (my $r = $c->next) {
    next unless $r->{target} eq 'broadcast.position';
    push @seqs, $r->{arguments}[0] =~ /-(\d+)$/;
    last if $seqs[-1] == $end;
}
is_deeply \@seqs, [ $oldest .. $end ], 'then the oldest that is left, and all '
    . 'behind it';
$c->close;

# a queue that is smaller than the replay, and messages larger than the queue

publish('wide', 'x' x 30000) for 1 .. 20;
my $big = publish('wide', 'y' x 100000);
publish('wide', 'z' x 30000) for 1 .. 5;
my ($e) = $big =~ /^(\w+)-/;
$c = hub('wide', "$e-2", at => '/narrow');
is join(' ', map { length } map { ($_->{arguments}[0][0]) }
        grep { $_->{target} eq 'm' } map { $c->next } 1 .. 48),
    join(' ', (30000) x 18, 100000, (30000) x 5),
    'a replay is as fast as the client reads, and closes nobody as slow';
$c->close;


# --- keep-alives -------------------------------------------------------------

for my $tells (1, 0) {
    $c = hub('chat', $tells ? '' : undef, at => '/quick');
    $c->next if $tells;
    $own = publish('chat', 'other', '&user=nobody');
    is take($c, 1), 'type6', 'a ping';
    is take($c, 1), $tells ? "\@$own" : 'type6', $tells
        ? 'with it the position, which has moved' : 'and no position';
    is take($c, 1), 'type6', 'a position that did not move is not told again';
    $c->close;
}


# --- event stream, long polling, MessagePack ---------------------------------

$from = publish('chat', 'from');
@ids = map { publish('chat', $_) } 1 .. 3;

my $r = http($port, 'POST', '/open/negotiate?hub=chat&negotiateVersion=1',
             body => '');
my $url = "/open?hub=chat&position=$from&id=$r->{json}{connectionToken}";
my $sse = Broadcast::SSE->connect($port, $url);
http($port, 'POST', $url, body => "{\"protocol\":\"json\",\"version\":1}\x1e");
is $sse->event->{data}, "{}\x1e", 'an event stream: handshake';
is_deeply [ map { join ' ', map { said(decode_json($_)) }
                  split /\x1e/, $sse->event->{data} } 1 .. 4 ],
    [ (map { "m$_ \@$ids[$_ - 1]" } 1 .. 3), "\@$ids[2]" ],
    'its replay, each message with its position in one event';
push @ids, publish('chat', 4);
like $sse->event->{data}, qr/"m".*\x1e.*\Q$ids[3]\E"\]\}\x1e/,
    'and what is live';
$sse->close;

my $lp = Broadcast::LongPoll->connect($port, "/open?hub=chat&position=$from");
my @said;
while (@said < 9) {
    push @said, map { said($_) } @{ $lp->poll->{records} };
}
is "@said", join(' ', (map { "m$_ \@$ids[$_ - 1]" } 1 .. 4), "\@$ids[3]"),
    'long polling: the same';
push @ids, publish('chat', 5);
is join(' ', map { said($_) } @{ $lp->poll->{records} }), "m5 \@$ids[4]",
    'and what is live';
$lp->delete;

$lp = Broadcast::LongPoll->connect($port, '/quick?hub=chat&position=');
$lp->poll;
my $wait = $lp->start;
$own = publish('chat', 'other', '&user=nobody');
is join(' ', map { said($_) } @{ $lp->answer($wait)->{records} }), "\@$own",
    'a poll that has nothing else to say tells of a position that moved';
$lp->delete;

$c = hub('chat', $ids[2], nohandshake => 1);
$c->{ws}->text("{\"protocol\":\"messagepack\",\"version\":1}\x1e");
is $c->{ws}->message, "{}\x1e", 'MessagePack: handshake';
like $c->{ws}->message, qr/\xa1m\x91\x91\x04\x90.*\xb2broadcast\.position
                              \x91.\Q$ids[3]\E\x90\z/xs,
    'a message and its position in one binary frame';
$c->{ws}->message;
like $c->{ws}->message, qr/\xb2broadcast\.position\x91.\Q$own\E\x90\z/s,
    'the position behind the replay';
$c->close;


# --- the seam ----------------------------------------------------------------

publish('live', $_) for 1 .. 300;
my ($base) = publish('live', 301) =~ /^(.*)-/;
my @clients;

for my $n (302 .. 400) {
    publish('live', $n);
    push @clients, hub('live', "$base-1") if $n % 10 == 0;
}

for my $client (@clients) {
    my (@m, @p);

    while (@p == 0 || $p[-1] < 400 || @m < 399) {
        my $r = $client->next or last;
        push @m, $r->{arguments}[0][0] if $r->{target} eq 'm';
        push @p, $r->{arguments}[0] =~ /-(\d+)$/ if $r->{target} ne 'm';
    }

    is_deeply \@m, [ 2 .. 400 ], 'replay and live meet without a seam';
    is_deeply [ sort { $a <=> $b } @p ], \@p, 'positions only grow';
    $client->close;
}


# --- what was missed, by few polls --------------------------------------------

# Each answer takes the way to the client and back, so it carries what there is
# room for.

for ([ 3000, 1, 4, 'many small messages in some answers' ],
     [ 100, 10000, 9, 'large ones as well' ])
{
    my ($messages, $size, $most, $fact) = @$_;
    my $lines = '"' . 'x' x $size . '"' . "\n";
    my $pos = publish('few', 'first');

    http($port, 'POST', '/publish/few?target=m', body => $lines x $messages,
         headers => [ 'Content-Type' => 'application/x-ndjson' ]);

    my $client = Broadcast::LongPoll->connect($port,
                                              "/open?hub=few&position=$pos");
    my $got = () = map { $_->{target} eq 'm' ? 1 : () } @{ $client->{early} };
    my ($answers, $largest) = (0, 0);

    while ($got < $messages) {
        my $r = $client->poll;
        $got += () = $r->{body} =~ /"target":"m"/g;
        $largest = length $r->{body} if length $r->{body} > $largest;
        $answers++;
    }

    is $got, $messages, $fact;
    cmp_ok $answers, '<=', $most, "... which are $answers";
    cmp_ok $largest, '<', 300_000, '... and none is without a bound';
    $client->delete;
}


# --- a connection that changes its worker ------------------------------------

my @pids = $nginx->workers;
my @at = map { worker_at($port, '/pid', $_) } @pids;

publish('move', "$_ " . 'x' x 3000) for 1 .. 200;
($base) = publish('move', 'last') =~ /^(.*)-/;

$lp = Broadcast::LongPoll->connect($port, "/open?hub=move&position=$base-0",
                                   at => $at[0]);
@seqs = ();
my $polls = 0;

while (@seqs < 202) {
    my $r = $lp->poll(at => $at[++$polls % 2]);
    push @seqs, map { $_->{arguments}[0] =~ /-(\d+)$/ }
                grep { $_->{target} eq 'broadcast.position' }
                @{ $r->{records} };
    publish('move', 'x') if $polls == 2;
}

is_deeply [ grep { $seqs[$_] != $seqs[$_ - 1] } 1 .. $#seqs ],
    [ 1 .. 201 ], "a replay goes on from worker to worker, $polls polls";
publish('move', 'more');
$r = $lp->poll(at => $at[++$polls % 2]);
is join(' ', map { said($_) } @{ $r->{records} }), "mmore \@$base-203",
    'and is told what is live';
$lp->delete;


# --- stateful reconnect ------------------------------------------------------

$from = publish('state', 'x');
@ids = map { publish('state', $_) } 1 .. 3;
$c = hub('state', $from, stateful => 1);
is take($c, 7), join(' ', (map { "m$_ \@$ids[$_ - 1]" } 1 .. 3), "\@$ids[2]"),
    'a client that may reconnect: its replay';
my $old = $c->{ws};
is $c->again, 101, 'another socket takes it over';
is said($c->next), 'type9', 'Sequence';
is take($c, 7), join(' ', (map { "m$_ \@$ids[$_ - 1]" } 1 .. 3), "\@$ids[2]"),
    'what was not acknowledged comes again, and nothing else: its URL still '
    . 'has the old position';
$c->send({ type => 9, sequenceId => 1 });
$c->send({ type => 8, sequenceId => 3 });
publish('state', 4) =~ /(.*)/;
is take($c, 2), "m4 \@$1", 'and what is live';
$c->send({ type => 8, sequenceId => 8 });
$c->send({ type => 1, target => 'none', arguments => [], invocationId => '1' });
is take($c, 1), 'type3', 'an answer, so the acknowledgement was read';
$old = $c->{ws};
is $c->again, 101, 'once more, acknowledged up to between the last two';
is_deeply $c->next, { type => 9, sequenceId => 8 },
    'Sequence is that of the message';
is take($c, 2), "m4 \@$1", 'which comes with its position: the client passes '
    . 'over what it has';
$c->close;

# more than may be unacknowledged

publish('heavy', "$_ " . 'x' x 3000) for 1 .. 150;
($base) = publish('heavy', 'last') =~ /^(.*)-/;
$c = hub('heavy', "$base-0", stateful => 1);
my ($n, @got) = (0);
while (my $r = $c->next) {
    next if $r->{type} == 8;
    $n++;
    push @got, $r->{arguments}[0] =~ /-(\d+)$/
        if $r->{target} eq 'broadcast.position';
    $c->send({ type => 8, sequenceId => $n }) if $n % 10 == 0;
    last if $got[-1] && $got[-1] == 151;
}
is_deeply \@got, [ 1 .. 151 ],
    'acknowledgements pace a replay that is larger than what may be kept';
$c->close;


# --- negotiate ---------------------------------------------------------------

like http($port, 'POST', "/api/negotiate?position=$ids[0]", body => '')
         ->{json}{url}, qr{/client\?hub=chat&position=\Q$ids[0]\E\z},
    'the URL of broadcast_negotiate takes a position along';
is http($port, 'POST', '/to/negotiate?position=a%26b', body => '')
       ->{json}{url}, 'https://there/client?x=1&position=a%26b',
    'also one that was configured, and nothing but it';
like http($port, 'POST', '/api/negotiate?x=position', body => '')
         ->{json}{url}, qr{/client\?hub=chat\z}, 'and none where there is none';

$nginx->stop_ok;

done_testing;
