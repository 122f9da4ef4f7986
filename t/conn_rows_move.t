#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# A stream of rows stays with the worker that runs it, while its long-polling
# client goes from worker to worker: nothing is lost, doubled or reordered, and
# whoever dies, the others are told.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::HTTP qw(http worker_at);
use Broadcast::Hub;
use Broadcast::LongPoll;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Postgres;

my $pg = Broadcast::Postgres->new;
my @at = (db => 'app', user => 'app');

$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);

$pg->psql(<<'EOS', @at);
create schema chat;

create function chat.large(n int) returns table (n int, text text)
language sql as
$$ select i, repeat('x', 300) from generate_series(1, $1) i $$;

create function chat.ticks(mark text) returns setof int language sql as
$$ select case when pg_sleep(0.01) is not null then i end
     from set_config('application_name', mark, true) s,
          generate_series(1, 100000) i $$;

create function chat.add(a int, b int) returns int language sql as
$$ select a + b $$;

select broadcast.expose('chat', 'chat');
EOS

my $nginx = Broadcast::Nginx->new(
    workers => 3,
    http    => 'broadcast_zone hubs 4m; broadcast_database "'
             . $pg->conninfo('app', 'app') . '" timeout=9s;',
    server  => <<'EOC')->start;
        location /client   { broadcast_hub anonymous; }
        location = /pid    { return 200 $pid; }
        location = /status { broadcast_status json; }
EOC

my $port = $nginx->port;

sub status { http($port, 'GET', '/status')->{json} }

ok wait_for(sub { status()->{database}{state} eq 'up' }, 15),
   'the database is up';


my @pids;
my %at;

# Connections that stay with one worker each; with the pids of those there are.

sub workers {
    @pids = map { $_->{pid} } @{ status()->{workers} };
    %at = map { $_ => worker_at($port, '/pid', $_) } @pids;
}

# What the backends of the mark do.

sub state {
    my ($mark) = @_;
    my $state = $pg->psql("select coalesce(max(state), 'none')"
        . " from pg_stat_activity where application_name = '$mark'");

    chomp $state;
    return $state;
}

sub stream {
    my ($client, $id, $target, @arguments) = @_;

    $client->post({ type => 4, invocationId => $id, target => $target,
                    arguments => \@arguments });
}

# Polls at those workers in turn until the stream ends, or n items came.

sub items {
    my ($client, $id, $n, @workers) = @_;
    my (@items, $end, $i);

    for (1 .. 2000) {
        my $r = $client->poll(at => $at{ $workers[$i++ % @workers] });
        die "poll: $r->{status}\n" unless $r->{status} == 200;

        for my $record (@{ $r->{records} // [] }) {
            next unless ($record->{invocationId} // '') eq $id;
            push @items, $record->{item} if $record->{type} == 2;
            $end = $record if $record->{type} == 3;
        }

        last if $end || @items >= $n;
    }

    return ($end, @items);
}

sub client {
    my ($worker) = @_;
    return Broadcast::LongPoll->connect($port, '/client?hub=chat',
                                        at => $at{$worker});
}

sub ordered {
    my $n = 0;
    return !grep { $_ != ++$n } @_;
}


workers();

my ($one, $two, $three) = @pids;
my $client = client($one);

stream($client, 's', 'Large', 10000);

my ($end, @items) = items($client, 's', 1e9, $one, $two, $three);

is @items, 10000, 'polled at each worker in turn, all rows come';
ok ordered(map { $_->{n} } @items), '... in their order';
is_deeply $end, { type => 3, invocationId => 's' }, '... and their end';
is status()->{database}{streams}, 0, '... and no stream is left';

stream($client, 't', 'Ticks', 'cancelled');
($end, @items) = items($client, 't', 3, $two, $three);
is $end, undef, 'a stream runs';
$client->post({ type => 5, invocationId => 't' });
($end) = items($client, 't', 1e9, $three);
is_deeply $end, { type => 3, invocationId => 't' },
          'cancelled at another worker it has an end without an error';
ok wait_for(sub { state('cancelled') eq 'none' }, 10),
   '... and its query is stopped';

stream($client, 't', 'Ticks', 'again');
($end, @items) = items($client, 't', 3, $one, $two);
ok ordered(@items), 'its id may be used again';
$client->post({ type => 1, invocationId => 'a', target => 'Add',
                arguments => [1, 2] });
my $sum;
for (1 .. 500) {
    my $r = $client->poll(at => $at{$two});
    ($sum) = grep { ($_->{invocationId} // '') eq 'a' } @{ $r->{records} };
    last if $sum;
}
is $sum->{result}, 3, 'other invocations are not held up';

$client->delete;
ok wait_for(sub { state('again') eq 'none' }, 10),
   'a client that ends at another worker stops the query';

$client = client($one);
stream($client, 's', 'Large', 10000);
items($client, 's', 1, $one);
ok wait_for(sub {
    $pg->psql("select pid from pg_stat_activity"
              . " where state = 'idle in transaction'")
}, 10), 'without a poll the function waits';
($end, @items) = items($client, 's', 1e9, $three, $two);
ok $end && !$end->{error}, '... and goes on with the next one';
$client->delete;


# A stateful client takes its sockets from worker to worker.

my $hub = Broadcast::Hub->connect($port, '/client?hub=chat', stateful => 1,
                                  on => worker_at($port, '/pid', $one));

$hub->send({ type => 4, invocationId => 's', target => 'Large',
             arguments => [3000] });

my ($got, $number, $sockets) = (0, 0, 0);
(@items, $end) = ();

while (my $record = $hub->next) {
    $number = $record->{sequenceId} - 1 if $record->{type} == 9;
    next if $record->{type} < 1 || $record->{type} > 5;

    next if ++$number <= $got;      # a repeated one
    $got = $number;

    push @items, $record->{item}{n} if $record->{type} == 2;
    $end = $record if $record->{type} == 3;
    last if $end;

    $hub->send({ type => 8, sequenceId => $got }) if $got % 50 == 0;

    if ($got % 500 == 0) {
        $hub->drop;
        $hub->again(on => worker_at($port, '/pid', $pids[++$sockets % 3]));
        $hub->send({ type => 9, sequenceId => 2 });

        # acknowledgements may have been lost with the socket

        $hub->send({ type => 8, sequenceId => $got });
    }
}

is @items, 3000, 'a stateful client on one socket after another gets all rows';
ok ordered(@items), '... in their order';
is_deeply $end, { type => 3, invocationId => 's' }, '... and their end';
ok $sockets > 3, "... over $sockets sockets more";
$hub->close;


# Deaths

$client = client($one);
stream($client, 's', 'Ticks', 'killed');
($end, @items) = items($client, 's', 3, $one);

items($client, 's', 3, $two);

$nginx->kill_worker($one);
($end) = items($client, 's', 1e9, $two);
is $end->{error}, 'An error occurred on the server while streaming results.',
   'the worker that ran a stream dies: its client is told by another';
ok wait_for(sub { state('killed') eq 'none' }, 15),
   '... and no query is left';
$client->delete;

ok wait_for(sub { @{ status()->{workers} } == 3 }, 10),
   'there is a new worker';
workers();
($one, $two, $three) = @pids;

$client = client($one);
stream($client, 's', 'Ticks', 'owner');
items($client, 's', 3, $one);
items($client, 's', 3, $two);
$nginx->kill_worker($two);
ok wait_for(sub { state('owner') eq 'none' }, 15),
   'the worker that had the client dies: the query is stopped';
ok wait_for(sub { status()->{database}{streams} == 0 }, 10),
   '... and no stream is left';

$nginx->stop_ok;

done_testing();
