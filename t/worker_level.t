#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# Twenty reloads under load, with a database: clients of every transport miss
# nothing and are refused nothing, and behind them all is at the level of
# before: descriptors, shared memory, rows and bytes of the zone, slots,
# connections to the database.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::Cluster;
use Broadcast::Crowd;
use Broadcast::Nginx qw(wait_for);

my $cluster = Broadcast::Cluster->new(nodes => 1, zone => '2m',
    build => $ENV{BROADCAST_BUILD} || 'debug',
    http => 'broadcast_drain 300ms;');
my ($nginx) = $cluster->nodes;

sub crowd {
    return Broadcast::Crowd->new($nginx->port, publishers => 2,
        events => '/events/chat', client => '/client?hub=chat',
        publish => '/publish/chat?target=m',
        token => sub { $cluster->token('ann') },
        sse => 2, plain => 2, hub => 2, poll => 2, @_);
}

sub backends {
    return $cluster->super(q{select count(*) from pg_stat_activity
                              where application_name = 'nginx-broadcast'});
}

# All that is counted, when nobody is there.

sub level {
    my $status = $cluster->status($nginx);
    my %level = %{ $nginx->level };

    # a worker connects to the database when it has to, up to its pool

    $level{'sockets of the workers'} -= backends();

    return {
        %level,
        'rows that are alive or unsettled' =>
            $cluster->sql('select count(*) from broadcast.connections')
            + $status->{database}{unsettled},
        'workers in the zone' => scalar @{ $status->{workers} },
        'connections in the zone' =>
            eval { my $n = 0; $n += $_ for
                   values %{ $status->{hubs}{chat}{connections} }; $n },
        check => $status->{check} // 'none',
    };
}

sub words { join "\n", map { "$_: $_[0]{$_}" } sort keys %{ $_[0] } }


# As many reloads; returns the level that is reached when all have gone.

sub reloads {
    my ($n, $name) = @_;
    my $crowd = crowd();

    ok($crowd->everybody(3), "$name: everybody gets messages");

    for (1 .. $n) {
        $nginx->reload or BAIL_OUT('no reload');
        my $kept = $crowd->messages;
        wait_for { $crowd->messages > $kept + 5 } 20;
    }

    ok((wait_for { $nginx->workers(1) == 2 } 30), '... the old workers end');
    ok($crowd->everybody(3), "... also behind $n reloads");

    my $r = $crowd->stop;

    is($r->{holes}, 0, '... who resumes has no hole, nor gets one twice');
    is($r->{gaps}, 0, '... nor is told of a gap');
    is_deeply($r->{refused}, [], '... nobody was refused anything');
    is_deeply($r->{broken}, [], '... nor cut off without a word');
    cmp_ok($r->{connect}, '>', 8, '... though they had to come again');

    my %seen = map { $_ => 1 } split /\n/, $cluster->sql(
        q{select arguments->>0 from broadcast.message where target = 'm'});
    is_deeply([ grep { !$seen{$_} } @{ $r->{kept} } ], [],
              '... and all is kept that was said to be');
}

# The log is a part of what is used: it is filled, so it is always as large.

my $large = 'x' x 8000;

sub used {
    $cluster->publish($nginx, $large) for 1 .. 100;
    return $cluster->status($nginx)->{zone}{used};
}

my $used = used();

reloads(1, 'one reload');

# what is settled does not change any more

my ($level, $before);

ok((wait_for {
    my $now = level();
    my $same = defined $before && words($now) eq $before
               && $now->{workers} == 2 && !$now->{'connections in the zone'}
               && !$now->{'rows that are alive or unsettled'};
    $before = words($now);
    $level = $now if $same;
    $same;
} 30), 'all have gone') or diag $before;

reloads(20, 'twenty reloads');

my $got;
wait_for { $got = level(); words($got) eq words($level) } 40;
is($got->{$_}, $level->{$_}, "behind twenty reloads: $_") for sort keys %$level;

cmp_ok(backends(), '<=', 2 * (4 + 4) + 1,
       'connections to the database: those that workers may have');

# tombstones last as long as their tickets do, 15 s; a message is 8 kB

used();
ok((wait_for {
    $cluster->status($nginx)->{zone}{used} <= $used + length $large } 40),
   'bytes of the zone: no more than before the first client')
    or diag $cluster->status($nginx)->{zone}{used}, " > $used";

$nginx->stop_ok;

done_testing();
