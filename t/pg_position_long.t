#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# A long replay of a client that reads slowly meets what is live at any pace,
# and outlives what happens to the log, the history and the database meanwhile.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP;
use Test::More;
use Time::HiRes qw(time sleep);

use Broadcast::HTTP qw(http);
use Broadcast::Hub;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Position;
use Broadcast::Postgres;

my $pg = Broadcast::Postgres->new;
my @at = (db => 'app', user => 'app');

$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);

# What a socket takes without a reader is little: so a client that does not
# read has its replay where it was.

my $nginx = Broadcast::Nginx->new(
    workers => 2,
    http    => "broadcast_zone hubs 1m;"
             . 'broadcast_database "' . $pg->conninfo('app', 'app')
             . '" timeout=3s;',
    server  => <<'EOC')->start;
        listen 127.0.0.1:%%PORT narrow%% sndbuf=8k;

        location /open     { broadcast_hub anonymous; }
        location /narrow   { broadcast_hub anonymous; broadcast_queue 64k; }
        location = /status { broadcast_status json; }
EOC

my $port = $nginx->port;

from_node($nginx, $pg, @at);

ok(leads(), 'the relay leads');


# --- a long replay, a client that does not read ------------------------------

my @slow = (port => $nginx->port('narrow'));

sub long {
    my ($hub, %o) = @_;
    sends($hub, 1, 500, 1000);
    my ($e) = numbered($hub) =~ /^(\w+)-/;
    forgotten() if $o{forget};
    my $slow = hub("$e-0", hub => $hub, @slow, at => $o{at});
    is(take($slow, 2), "m1 \@$e-1", "$hub: a long replay has begun");
    return ($slow, $e);
}

my ($slow, $e) = long('restart', forget => 1);
$pg->restart;
my ($got, $end, @more) = until_last($slow, 500);
is_deeply($got, [ 2 .. 500 ], 'the database restarts meanwhile: all of it '
                               . 'comes, once and in order');
is_deeply(\@more, [], '... and no gap');
is($end, "$e-500", '... to its end');
$slow->close;

($slow, $e) = long('away', forget => 1);
$pg->stop;
my @read;
my $gap;
while (my $r = $slow->next) {
    push @read, $r->{arguments}[0] if $r->{target} eq 'm';
    $gap = $r if $r->{target} eq 'broadcast.gap';
    last if $gap;
}
is($gap->{arguments}[0]{requested}, "$e-0", 'it is away for longer than a call '
                                            . 'may take: a gap');
is_deeply(\@read, [ 2 .. @read + 1 ], '... behind what had been read');
is(said($slow->next), "\@$e-500", '... and the position from which it goes on');
$pg->start;
sends('away', 501, 501);
is(take($slow, 2), "m501 \@$e-501", '... and what is live comes when it is '
                                      . 'back');
$slow->close;

($slow, $e) = long('pruned', forget => 1);
$pg->psql(q{delete from broadcast.message
             where hub = 'pruned' and seq < 400}, @at);
($got, $end, @more) = until_last($slow, 500);
my ($n) = grep { $got->[$_] != $_ + 2 } 0 .. $#$got;
is($more[0]{target}, 'broadcast.gap', 'pruned meanwhile: a gap');
is($more[0]{arguments}[0]{oldest}, "$e-400", '... up to what is left');
is_deeply([ @$got[$n .. $#$got] ], [ 400 .. 500 ], '... which comes');
$slow->close;

# more is live meanwhile than may wait, and more than the log holds

for my $forget (1, 0) {
    my $hub = $forget ? 'flood' : 'ring';
    ($slow, $e) = long($hub, forget => $forget, at => '/narrow');
    sends($hub, 501, 1300, 1000);
    numbered($hub);
    ($got, $end, @more) = until_last($slow, 1300);
    is_deeply($got, [ 2 .. 1300 ], 'more than its queue holds is live: all of '
                                   . 'it comes, once and in order');
    is_deeply(\@more, [], '... no gap, and nobody is closed as slow');
    $slow->close;
}

is(status()->{closed}{slow}, 0, 'none was');

# what is live in a group that was joined meanwhile is not replayed

($slow, $e) = long('joined', forget => 1, at => '/narrow');
$pg->psql("select broadcast.send_group('joined', 'g', 'before', '[]');
           select broadcast.add_to_group('joined', 'g', '$slow->{id}');
           select broadcast.send_group('joined', 'g', 'behind', '[]');", @at);
numbered('joined');
($got, $end, @more) = until_last($slow, 500);
my @tail = map { said($slow->next) } 1 .. 3;
is($tail[0], 'behind', 'a group that was joined during a replay: from the join '
                       . 'on');
$slow->close;

$nginx->stop_ok;

done_testing;
