#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# Who gets what: every way to publish, every scope, exclusions, group and close
# commands over REST; with four workers, clients of both protocols.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::HTTP;
use Broadcast::Hub;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Plain;
use Broadcast::SSE;
use Broadcast::Token qw(client_token rest_token);

my $key = '0123456789abcdef';

my $nginx = Broadcast::Nginx->new(
    workers => 4,
    http    => "broadcast_zone hubs 8m;\nbroadcast_key $key;\n",
    server  => <<'EOC',
        location /client   { broadcast_hub; }
        location /events/  { broadcast_events; }
        location /anon/    { broadcast_events anonymous; }
        location /publish/ { broadcast_publish; }
        location /api/     { broadcast_api; }
        location = /status { broadcast_status json; }
EOC
)->start;

my $port = $nginx->port;
my $v = 'api-version=2022-06-01';

sub rest {
    my ($method, $path, $body) = @_;

    return Broadcast::HTTP::http($port, $method, $path,
        defined $body ? (body => $body) : (),
        headers => [ Authorization => 'Bearer '
                     . rest_token($key, "http://localhost$path"),
                     'Content-Type' => 'application/json' ])->{status};
}

sub publish {
    my ($query, $text) = @_;

    return Broadcast::HTTP::http($port, 'POST', "/publish/chat?target=t&$query",
                                 body => $text)->{json}{id};
}

sub message { qq({"target":"t","arguments":["$_[0]"]}) }

my %token = map {
    $_ => client_token($key, 'chat', sub => $_, groups => [ "of-$_", 'both' ])
} qw(ann bob);

my %hub = map {
    $_ => Broadcast::Hub->connect($port, '/client?hub=chat',
                                  token => $token{$_})
} qw(ann bob);

ok(!$hub{$_}{error}, "$_ is connected") for qw(ann bob);

my $sse = Broadcast::SSE->connect($port,
    "/events/chat?group=of-ann&access_token=$token{ann}");
my $plain = Broadcast::Plain->connect($port, '/anon/chat?group=of-bob');

is($sse->{head}{status}, 200, 'an event stream with a group of its token');

# Each round ends with a message to all, so what was not for a client is seen.

my $round = 0;

sub heard {
    my ($client) = @_;
    my @texts;

    while (1) {
        my $got = ref $client eq 'Broadcast::SSE'
            ? JSON::PP::decode_json($client->event->{data})
            : ref $client eq 'Broadcast::Plain' ? $client->next->{arguments}
            : $client->invocation("t");
        return join ' ', @texts if $got->[0] eq "end$round";
        push @texts, $got->[0];
    }
}

sub round_is {
    my ($want, $name) = @_;

    publish('', 'end' . ++$round);
    my %got = (ann => heard($hub{ann}), bob => heard($hub{bob}),
               sse => heard($sse), plain => heard($plain));
    is_deeply(\%got, { ann => '', bob => '', sse => '', plain => '', %$want },
              $name);
}

my %id = map { $_ => $hub{$_}{id} } keys %hub;

publish('', 1);
rest('POST', '/api/v1/hubs/chat', message(2));
rest('POST', "/api/hubs/chat/:send?$v", message(3));
round_is({ map { $_ => '1 2 3' } qw(ann bob sse plain) }, 'to all');

publish('group=of-ann', 1);
rest('POST', '/api/v1/hubs/chat/groups/of-ann', message(2));
rest('POST', "/api/hubs/chat/groups/of%2Dann/:send?$v", message(3));
rest('POST', '/api/v1/hubs/chat/groups/of-bob', message(4));
rest('POST', '/api/v1/hubs/chat/groups/nobody', message(5));
round_is({ ann => '1 2 3', sse => '1 2 3', bob => 4, plain => 4 }, 'to a group');

publish('user=ann', 1);
rest('POST', '/api/v1/hubs/chat/users/ann', message(2));
rest('POST', "/api/hubs/chat/users/ann/:send?$v", message(3));
rest('POST', "/api/hubs/chat/users/Ann/:send?$v", message(4));
round_is({ ann => '1 2 3', sse => '1 2 3' }, 'to a user');

publish("connection=$id{bob}", 1);
rest('POST', "/api/v1/hubs/chat/connections/$id{bob}", message(2));
rest('POST', "/api/hubs/chat/connections/$id{bob}/:send?$v", message(3));
rest('POST', '/api/v1/hubs/other', message(4));
round_is({ bob => '1 2 3' }, 'to a connection');

rest('POST', "/api/hubs/chat/:send?$v&excluded=$id{ann}&excluded=x", message(1));
rest('POST', "/api/v1/hubs/chat/groups/both?excluded=$id{bob}", message(2));
round_is({ ann => 2, bob => 1, sse => 1, plain => 1 }, 'without the excluded');

my $lines = Broadcast::HTTP::http($port, 'POST', '/publish/chat?group=both',
    headers => [ 'Content-Type' => 'application/x-ndjson' ],
    body => qq({"target":"t","arguments":["1"]}\n{"target":"t","arguments":["2"]}\n));
is($lines->{json}{count}, 2, 'two lines are two messages');
round_is({ ann => '1 2', bob => '1 2' }, 'a message a line, in order');


# --- groups ------------------------------------------------------------------

is(rest('HEAD', "/api/hubs/chat/groups/new?$v"), 404, 'a group is not there');
is(rest('PUT', "/api/hubs/chat/groups/new/connections/$id{ann}?$v"), 200,
   'a connection is put into it');
is(rest('PUT', "/api/v1/hubs/chat/connections/$id{bob}/groups/new"), 200,
   'another by the alias');
ok(wait_for { rest('HEAD', "/api/hubs/chat/groups/new?$v") == 200 },
   'then it is');
publish('group=new', 1);
is(rest('DELETE', "/api/hubs/chat/groups/new/connections/$id{ann}?$v"), 200,
   'one is taken out');
is(rest('DELETE', "/api/hubs/chat/groups/new/connections/$id{ann}?$v"), 200,
   '... which may be repeated');
publish('group=new', 2);
round_is({ ann => 1, bob => '1 2' }, 'commands keep their place among messages');

is(rest('DELETE', "/api/hubs/chat/connections/$id{bob}/groups?$v"), 200,
   'a connection leaves all groups');
publish('group=new', 1);
publish('group=both', 2);
round_is({ ann => 2 }, '... and hears none of them');
ok(wait_for { rest('HEAD', "/api/hubs/chat/groups/new?$v") == 404 },
   'a group without connections is gone');


# --- presence and closing ----------------------------------------------------

is(rest('HEAD', "/api/hubs/chat/users/bob?$v"), 200, 'a user is there');
is(rest('GET', "/api/hubs/chat/connections/$id{bob}?$v"), 200,
   'a connection is there');
is(rest('GET', "/api/hubs/other/connections/$id{bob}?$v"), 404,
   '... in its hub alone');
is(rest('DELETE', "/api/hubs/chat/connections/$id{bob}?$v&reason=go%20away"), 200,
   'it is closed');

my $last;
while (my $m = $hub{bob}->next) { $last = $m }
is_deeply($last, { type => 7, error => 'go away', allowReconnect => JSON::PP::true() },
          'its last word is a Close with the reason');
ok(wait_for { rest('HEAD', "/api/hubs/chat/users/bob?$v") == 404 },
   'then the user is gone');

is(rest('POST', "/api/hubs/chat/:closeConnections?$v&excluded=$id{ann}&reason=x"),
   204, 'all but one are closed');
1 while $sse->event;
pass('the stream ends');
is($plain->next, undef, 'the plain socket too');
publish('', 'still');
is($hub{ann}->invocation("t")->[0], 'still', 'the excluded stays');

my $status = Broadcast::HTTP::http($port, 'GET', '/status')->{json};
is($status->{hubs}{chat}{connections}{websocket}, 1, 'the status page agrees');

# who waits for "100 Continue" with too long a body shall not send it

my $c = Broadcast::HTTP->connect($port);
$c->write("POST /publish/chat HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
          . "Content-Length: 2000000\r\n\r\n");
is($c->head->{status}, 413, 'too long a body is not asked for');

$hub{ann}->close;
$nginx->stop_ok;

done_testing();
