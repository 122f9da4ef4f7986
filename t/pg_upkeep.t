#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# The leading node keeps the history up: parts are made ahead and dropped, and
# while that is not possible messages flow on.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::HTTP qw(http);
use Broadcast::Nginx qw(wait_for);
use Broadcast::Postgres;
use Broadcast::SSE;

my $pg = Broadcast::Postgres->new;
my @at = (db => 'app', user => 'app');

$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);

my $nginx = Broadcast::Nginx->new(
    workers => 2,
    http    => "broadcast_zone hubs 4m; broadcast_database \""
             . $pg->conninfo('app', 'app') . '" timeout=3s;',
    server  => <<'EOC')->start;
        location /events/  { broadcast_events anonymous; }
        location = /status { broadcast_status json; }
EOC

my $port = $nginx->port;

ok((wait_for { http($port, 'GET', '/status')->{json}{database}{relay}
               eq 'leader' } 15), 'the relay leads');

my $sse = Broadcast::SSE->connect($port, '/events/chat');

sub send_ {
    $pg->psql("select broadcast.send_all('chat', '$_[0]', '[]')", @at);
    return $sse->event->{event};
}

sub parts {
    return $pg->psql(q{select count(*) from pg_inherits
        where inhparent = 'broadcast.message'::regclass}, @at);
}

is(send_('one'), 'one', 'a message');

# the head moves to the end of the second part: a third is made

$pg->psql(q{update broadcast.state set head = 131071}, @at);
is(send_('two'), 'two', 'the last part is in use');
ok((wait_for { $pg->psql(q{select max(first) > broadcast.head()
                             from broadcast.history}, @at) eq 't' } 15),
   '... and soon there is another one');

# the first part is over, and read by somebody

my $reader = $pg->session(@at);

$reader->run('begin; select count(*) from broadcast.message');
$pg->psql(q{update broadcast.message set created_at = clock_timestamp()
             - interval '2 days' where target = 'one'}, @at);
ok((wait_for { $pg->psql('select failure is not null from broadcast.upkept',
                         @at) eq 't' } 15), 'a part that cannot be dropped');
is(send_($_), $_, "... holds up no message ($_)") for 1 .. 5;

my $before = parts();

$reader->run('commit');
ok((wait_for { parts() < $before } 15), '... and goes when it can');
ok((wait_for { $pg->psql('select failure is null from broadcast.upkept',
                         @at) eq 't' } 15), '... which is noted');
is(send_('end'), 'end', 'messages flow on');

$nginx->stop_ok(signal => 'TERM');

done_testing();
