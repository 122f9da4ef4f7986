#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# Three instances on one database, and the one that leads is killed, master and
# workers at once: another leads within a second or so, nothing that was kept is
# lost, and `disconnected` comes for its clients, once, when its lease is over
# and not before.  Its clients go on elsewhere from where they were.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(time);

use Broadcast::Cluster;
use Broadcast::LongPoll;
use Broadcast::Nginx qw(wait_for);

my $lease = 4;
my $cluster = Broadcast::Cluster->new(lease => "$lease s");
my @nodes = $cluster->nodes;
my $leader = $cluster->leader;
my @others = grep { $_ != $leader } @nodes;

sub sql { $cluster->sql($_[0]) }

sub soon {
    my ($code, $expected, $name, $seconds) = @_;
    my $got;

    wait_for { ($got = $code->()) eq $expected } $seconds // 15;
    is $got, $expected, $name;
}

# What comes to a plain subscriber until the message of these words; "id words".

sub until_words {
    my ($words, $next) = @_;
    my @got;

    while (my ($id, $said) = $next->()) {
        push @got, [ $id, $said ];
        last if $said eq $words;
    }

    return @got;
}

sub of_sse {
    my ($sse) = @_;

    return sub {
        my $event = $sse->event(20) // return ();
        return ($event->{id},
                $event->{event} eq 'm' ? $event->{data} =~ /^\["(.*)"\]$/
                                       : $event->{event});
    };
}

sub holes {
    my (@got) = @_;
    my @seq = map { ($_->[0] =~ /-(\d+)$/)[0] } @got;

    return scalar grep { $seq[$_] != $seq[$_ - 1] + 1 } 1 .. $#seq;
}

# Who is there, at each node in each way.

my %doomed = (hub => $cluster->hub($leader, 'd-hub'),
              plain => $cluster->plain($leader, 'd-plain'),
              sse => $cluster->sse($leader, 'd-sse'),
              poll => Broadcast::LongPoll->connect($leader->port,
                  '/client?hub=chat', token => $cluster->token('d-poll')));
my @live = map { $cluster->sse($_, 'live') } @others;

soon(sub { $cluster->seen(q{kind = 'connected'}) }, 6, 'six clients');
$cluster->rest($leader, 'PUT', 'users/d-hub/groups/kept');
soon(sub { sql('select count(*) from broadcast.membership') }, 1,
     'a user is in a group by a rule');


# --- the leader is killed while messages flow ---------------------------------

my $publisher = $cluster->publisher(@others);

ok((wait_for { $publisher->so_far >= 50 } 30), 'messages flow');

my $at_doomed = of_sse($doomed{sse});
my @early = map { [ $at_doomed->() ] } 1 .. 20;
my $node = sql("select node from broadcast.connections where user_id = 'd-sse'");

my $killed = time;
$leader->crash;
$cluster->forget($leader);
sql("create table heard as select seen_at from broadcast.node"
    . " where name = '$node'");

my $new = $cluster->leader;
my $took = time - $killed;

ok($new, 'the leader is killed, with all its processes: another one leads');
cmp_ok($took, '<', 10, '... a second or so after');
diag(sprintf 'another node led after %.2f s', $took);

my $n = $publisher->so_far;
ok((wait_for { $publisher->so_far >= $n + 50 } 30), 'messages go on');
my @kept = $publisher->stop;

sql(q{select broadcast.send_all('chat', 'm', '["end"]')});

my @all = map { [ until_words('end', of_sse($_)) ] } @live;
is(holes(@{ $all[0] }), 0, 'a client of another node got them without a hole');
is_deeply($all[1], $all[0], '... and one of the third the same');

my %seen;
$seen{ $_->[1] }++ for @{ $all[0] };
is_deeply([ grep { !$seen{$_} } @kept ], [], 'nothing that was kept is lost');
is_deeply([ grep { $seen{$_} > 1 } keys %seen ], [], '... nor came twice');


# --- its clients --------------------------------------------------------------

ok(eval { 1 while $doomed{sse}->event(5); 1 }, 'its clients are cut off');

my $again = $cluster->sse($others[0], 'd-sse', last => $early[-1][0]);
my @rest = until_words('end', of_sse($again));

is_deeply([ @early, @rest ], [ @{ $all[0] } ],
          'one that comes back elsewhere goes on behind what it had');
$again->close;

my $hub = $cluster->hub($new, 'd-hub');
sql(q{select broadcast.send_group('chat', 'kept', 'g', '["still"]')});
is(($hub->invocation('g', 15) // [ 'nothing' ])->[0], 'still',
   '... and is in the groups of its user');
$hub->drop;


# --- the lease ----------------------------------------------------------------

soon(sub { $cluster->seen(q{kind = 'disconnected' and "user" ~ '^d-'
                            and error = 'node lost'}) }, 4,
     '`disconnected` is called for its clients', 30);

# the new leader has been there for long, so it need not wait for itself

my $late = sql('select extract(epoch from max(at)'
               . ' - (select seen_at from heard)) from seen'
               . " where error = 'node lost'");
cmp_ok($late, '<', 3 * $lease, '... soon after its lease');
diag(sprintf 'after %.1f s, lease %d s', $late, $lease);

is(sql("select min(at) - (select seen_at from heard) >= '$lease s' from seen"
       . " where error = 'node lost'"), 't', '... and not before it was over');

soon(sub { sql("select count(*) from broadcast.node where name = '$node'") }, 0,
     '... and the node is forgotten');

$leader->start;
push @{ $cluster->{nodes} }, $leader;
$cluster->ready($leader);

is($cluster->database($leader)->{relay}, 'follower',
   'it is started again, and follows');
is($cluster->publish($leader, 'back')->{status}, 200, '... and publishes');

$_->close for @live;

soon(sub { $cluster->tally },
     'connected 1, disconnected 1 x 8', 'every client was connected and'
                                        . ' disconnected once', 20);
is(sql('select count(*) from broadcast.connections'), 0, 'no row is left');

$_->stop_ok for $cluster->nodes;

done_testing();
