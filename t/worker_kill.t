#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# Workers are killed one after the other, whatever they are doing, while clients
# of every transport come and go and publishers publish, with a database.  Who
# resumes misses nothing, what was kept is there, and behind it all the zone's
# invariants hold, its bytes are back, everybody is there again, and each
# connection was disconnected once.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::Cluster;
use Broadcast::Crowd;
use Broadcast::Nginx qw(wait_for);

my $rounds = $ENV{BROADCAST_KILLS} || 12;
my $seed = $ENV{BROADCAST_SEED} || 11;

srand $seed;

my $cluster = Broadcast::Cluster->new(nodes => 1, workers => 4, zone => '4m',
    build => $ENV{BROADCAST_BUILD} || 'debug',
    http => 'broadcast_drain 300ms;');
my ($nginx) = $cluster->nodes;

my $large = 'x' x 8000;

# The log is a part of what is used: it is filled, so it is always as large.

sub used {
    $cluster->publish($nginx, $large) for 1 .. 200;
    return $cluster->status($nginx)->{zone}{used};
}

my $used = used();
my $begun = $cluster->sql('select max(seq) from broadcast.message');

my $crowd = Broadcast::Crowd->new($nginx->port, publishers => 2,
    events => '/events/chat', client => '/client?hub=chat',
    publish => '/publish/chat?target=m',
    token => sub { $cluster->token('ann') },
    sse => 3, plain => 3, hub => 3, poll => 3);

ok($crowd->everybody(3), 'everybody gets messages');

my $killed = 0;

for (1 .. $rounds) {
    my @workers = $nginx->workers;
    my $kept = $crowd->messages;

    $nginx->kill_worker($workers[rand @workers]);
    $killed++;

    # at any point of what is going on, the next one also while some come again

    my $more = int rand 40;
    wait_for { $crowd->messages >= $kept + $more } 30
        or last;
}

is($killed, $rounds, "$rounds workers are killed, and messages go on");
ok($crowd->everybody(3), '... everybody is there again, and gets them');

my $r = $crowd->stop;

is($r->{holes}, 0, '... who resumed has no hole, and nothing twice');
is($r->{gaps}, 0, '... nor a gap');
is_deeply([ grep { !/broken|status 50[03]/ } @{ $r->{refused} } ], [],
          '... nothing was refused that could be answered');
cmp_ok($r->{connect}, '>', 12, '... though they had to come again');
diag("$r->{got} messages, $r->{connect} connects, "
     . @{ $r->{kept} } . ' published');

my %seen = map { $_ => 1 } split /\n/, $cluster->sql(
    q{select arguments->>0 from broadcast.message where target = 'm'});
is_deeply([ grep { !$seen{$_} } @{ $r->{kept} } ], [],
          '... all is kept that was said to be');
is($cluster->sql(qq{select max(seq) - $begun - count(*)
                      from broadcast.message where seq > $begun}), 0,
   '... and no number was left out');

sub soon {
    my ($code, $expected, $name) = @_;
    my $got;

    wait_for { ($got = $code->()) eq $expected } 40;
    is $got, $expected, $name;
}

soon(sub { $cluster->sql('select count(*) from broadcast.connections') }, 0,
     'no row of a connection is left');
soon(sub { $cluster->status($nginx)->{database}{unsettled} }, 0,
     '... nothing to settle');
# of one that has just come `connected` may not have been called any more

like($cluster->tally, qr/^connected\ 1,\ disconnected\ 1\ x\ \d+
                          (?:;\ disconnected\ 1\ x\ \d+)?$/x,
     '... each was disconnected once, and connected at most once');

soon(sub { $cluster->status($nginx)->{check} }, 'ok',
     'the invariants of the zone hold');
soon(sub { scalar @{ $cluster->status($nginx)->{workers} } }, 4,
     '... it has no worker but those that run');

used();
ok((wait_for {
    $cluster->status($nginx)->{zone}{used} <= $used + length $large } 40),
   '... its bytes are back')
    or diag $cluster->status($nginx)->{zone}{used}, " > $used";

$nginx->stop_ok;

done_testing();
