#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# A zone with no room for one more connection: 503, counted, one line a
# second in the log; those who are in stay, and whoever leaves makes room.  And
# with none for one more hub.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::HTTP qw(http);
use Broadcast::Nginx qw(wait_for);
use Broadcast::SSE;

my $nginx = Broadcast::Nginx->new(
    http   => 'broadcast_zone hubs 1m;',
    server => <<'EOC',
        location /events/  { broadcast_events anonymous; }
        location /publish/ { broadcast_publish; }
        location = /status { broadcast_status json; }
EOC
)->start;

my $port = $nginx->port;
my @in;

sub status { http($port, 'GET', '/status')->{json} }

my $last;

for (1 .. 3500) {
    $last = Broadcast::SSE->connect($port, '/events/chat');
    last if $last->{head}{status} != 200;
    push @in, $last;
}

cmp_ok(scalar @in, '>', 1000, '1m holds more than a thousand connections');
is($last->{head}{status}, 503, 'one too many is refused');
ok($nginx->wait_log(qr/\[error\].*"broadcast_zone" has no room for a connection/),
   '... which the log says');

my $once = () = $nginx->error_log =~ /has no room/g;
is($once, 1, '... once');

http($port, 'POST', '/publish/chat', body => 'x');
is($in[0]->event->{data}, '["x"]', 'the first is served');
is($in[-1]->event->{data}, '["x"]', 'the last is, too');

(pop @in)->close for 1 .. 10;

ok(wait_for(sub {
    my $again = Broadcast::SSE->connect($port, '/events/chat');
    push @in, $again if $again->{head}{status} == 200;
    $again->{head}{status} == 200;
}, 30), 'whoever leaves makes room');

$_->close for @in;
ok(wait_for(sub { status()->{hubs}{chat}{connections}{sse} == 0 }, 30),
   'all leave');

# --- hubs ---------------------------------------------------------------------

sub publishes {
    my ($hub) = @_;
    return http($port, 'POST', "/publish/$hub", body => 'x')->{status};
}

my $made = 1;
$made++ while $made < 100 && publishes("hub$made") == 200;

my $refused = status()->{refused};
is($made, 64, '1m holds 64 hubs');
is(publishes('more'), 507, 'one too many is refused to who publishes to it');

# not in the second in which it has said that for a connection

my $tries = 1;

ok((wait_for {
    $tries++;
    publishes('more');
    $nginx->error_log =~ /\[error\].*"broadcast_zone" has no room for a hub/;
}), '... which the log says');

my $more = status()->{refused};
is($more->{full}, $refused->{full} + $tries, '... and the status');
is(Broadcast::SSE->connect($port, '/events/more')->{head}{status}, 503,
   '... and to who connects to it');
is(status()->{refused}{limit}, $more->{limit} + 1, '... which is counted');
is(publishes('chat'), 200, 'another hub goes on');

$nginx->stop_ok;

done_testing();
