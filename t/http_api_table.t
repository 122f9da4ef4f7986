#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# Every row of the reference's table (signalr.md 8.2 and 8.5) in both path
# families, of what is there and of what is not: status, x-ms-error-code and
# body; then groups of users, signalr.md 8.3.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(time);

use Broadcast::HTTP;
use Broadcast::Hub;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Token qw(client_token rest_token);

my $key = '0123456789abcdef';

my $nginx = Broadcast::Nginx->new(
    workers => 2,
    http    => "broadcast_zone hubs 8m;\nbroadcast_key $key;\n",
    server  => <<'EOC',
        location /client { broadcast_hub; }
        location /api/   { broadcast_api; }
EOC
)->start;

my $port = $nginx->port;
my $v = 'api-version=2022-11-01';

sub rest {
    my ($method, $url, $body) = @_;
    my ($path) = $url =~ /^([^?]*)/;

    return Broadcast::HTTP::http($port, $method, $url,
        (defined $body ? (body => $body) : ()),
        headers => [ Authorization => 'Bearer '
                     . rest_token($key, "http://localhost$path"),
                     (defined $body
                      ? ('Content-Type' => 'application/json') : ()) ]);
}

# of the newer family, of the older one

sub both {
    my ($method, $path, $body) = @_;
    my $and = $path =~ /\?/ ? '&' : '?';

    return (rest($method, "/api/hubs/chat$path$and$v", $body),
            rest($method, "/api/v1/hubs/chat$path", $body));
}

sub client {
    my ($user, %claims) = @_;

    my $hub = Broadcast::Hub->connect($port, '/client?hub=chat',
        token => client_token($key, 'chat', sub => $user, %claims));
    die $hub->{error} if $hub->{error};
    return $hub;
}

my $message = '{"target":"t","arguments":[1]}';

my $ann = client('ann', groups => [ 'here' ]);
my $c = $ann->{id};


# --- the table ---------------------------------------------------------------

# method, path, body; status of both families, x-ms-error-code, which is the
# code of the body, too

my @rows = (
    [ POST => '/:send', $message, 202 ],
    [ POST => '', $message, 202 ],
    [ POST => '/:closeConnections?excluded=' . $c, undef, 204 ],
    [ POST => '/:generateToken', undef, 403, 403, 'EntraOnly' ],

    [ POST => "/connections/$c/:send", $message, 202 ],
    [ POST => "/connections/$c", $message, 202 ],
    [ POST => '/connections/none/:send', $message, 202 ],
    [ HEAD => "/connections/$c", undef, 200 ],
    [ GET => "/connections/$c", undef, 200 ],
    [ HEAD => '/connections/none', undef, 404, 404,
      'Warning.Connection.NotExisted' ],
    [ GET => '/connections/none', undef, 404, 404,
      'Warning.Connection.NotExisted' ],
    [ DELETE => '/connections/none', undef, 404, 404,
      'Warning.Connection.NotExisted' ],
    [ DELETE => '/connections/none/groups', undef, 200 ],

    [ HEAD => '/groups/here', undef, 200 ],
    [ GET => '/groups/here', undef, 200 ],
    [ HEAD => '/groups/none', undef, 404, 404, 'Warning.Group.NotExisted' ],
    [ GET => '/groups/Here', undef, 404, 404, 'Warning.Group.NotExisted' ],
    [ POST => '/groups/here/:send', $message, 202 ],
    [ POST => '/groups/none', $message, 202 ],
    [ POST => '/groups/none/:closeConnections', undef, 204 ],
    [ GET => '/groups/none/connections', undef, 200 ],
    [ GET => '/groups', undef, 200 ],
    [ GET => '/connections', undef, 200 ],

    [ PUT => "/groups/more/connections/$c", undef, 200 ],
    [ PUT => "/connections/$c/groups/more", undef, 200 ],
    [ PUT => '/groups/more/connections/none', undef, 404, 404,
      'Error.Connection.NotExisted' ],
    [ PUT => '/connections/none/groups/more', undef, 404, 404,
      'Error.Connection.NotExisted' ],
    [ DELETE => "/groups/more/connections/$c", undef, 200 ],
    [ DELETE => "/connections/$c/groups/more", undef, 200 ],
    [ DELETE => '/groups/more/connections/none', undef, 200 ],

    [ HEAD => '/users/ann', undef, 200 ],
    [ GET => '/users/ann', undef, 200 ],
    [ HEAD => '/users/Ann', undef, 404, 404, 'Warning.User.NotExisted' ],
    [ GET => '/users/none', undef, 404, 404, 'Warning.User.NotExisted' ],
    [ POST => '/users/ann/:send', $message, 202 ],
    [ POST => '/users/none', $message, 202 ],
    [ POST => '/users/none/:closeConnections', undef, 204 ],
    [ GET => '/users/ann/connections', undef, 200 ],

    [ HEAD => '/users/ann/groups/none', undef, 404, 404,
      'Info.User.NotInGroup' ],
    [ GET => '/groups/none/users/ann', undef, 404, 404,
      'Info.User.NotInGroup' ],
    [ GET => '/users/none/groups/here', undef, 404, 404,
      'Info.User.NotInGroup' ],
    [ HEAD => '/users/ann/groups/here', undef, 200 ],
    [ GET => '/groups/here/users/ann', undef, 200 ],
    [ PUT => '/users/new/groups/g', undef, 200, 202 ],
    [ PUT => '/groups/g/users/new?ttl=60', undef, 200, 202 ],
    [ GET => '/users/new/groups/g', undef, 200 ],
    [ DELETE => '/users/new/groups/g', undef, 204, 202 ],
    [ DELETE => '/groups/g/users/none', undef, 204, 202 ],
    [ DELETE => '/users/new/groups', undef, 204, 202 ],
    [ DELETE => '/users/none/groups', undef, 204, 202 ],

    [ PUT => '/users/ann/groups/g?ttl=-1', undef, 400, 400, 'BadRequest' ],
    [ PUT => '/users/ann/groups/g?TTL=x', undef, 400, 400, 'BadRequest' ],
    [ PUT => '/users/ann/groups/g?ttl=', undef, 400, 400, 'BadRequest' ],
    [ PUT => '/users/ann/groups/g?ttl=4294967295', undef, 400, 400,
      'BadRequest' ],
    [ PUT => '/users/ann/groups/%20', undef, 400, 400, 'BadRequest' ],
    [ PUT => '/users/%01/groups/g', undef, 400, 400, 'BadRequest' ],
    [ DELETE => '/users/ann/groups/' . 'g' x 1025, undef, 400, 400,
      'BadRequest' ],
    [ POST => '/users/ann/groups/g', $message, 405, 405, 'MethodNotAllowed' ],
    [ GET => '/users/ann/groups', undef, 405, 405, 'MethodNotAllowed' ],
    [ POST => '/users/ann/groups/g/:send', $message, 404, 404, 'NotFound' ],
    [ GET => '/users', undef, 404, 404, 'NotFound' ],
);

for my $row (@rows) {
    my ($method, $path, $body, $new, $old, $code) = @$row;
    my @want = ($new, $old // $new);
    my @name = ('', 'v1 ');

    for my $r (both($method, $path, $body)) {
        my $want = shift @want;
        my $name = shift(@name) . substr("$method $path", 0, 60);

        is("$r->{status} " . ($r->{headers}{'x-ms-error-code'} // ''),
           "$want " . ($code // ''), $name);

        if (defined $code && $method ne 'HEAD') {
            is($r->{json}{code}, $code, '... and says so in its body');
        }
    }
}

for my $method (qw(GET HEAD)) {
    is(Broadcast::HTTP::http($port, $method, $_)->{status}, 200,
       "$method $_ needs no token")
        for qw(/api/health /api/v1/health);
}

for my $bye ([ '', $v, 200 ], [ 'v1/', '', 202 ]) {
    my $one = client('bye');
    is(rest('DELETE', "/api/$bye->[0]hubs/chat/connections/$one->{id}"
                      . "?$bye->[1]&reason=now")->{status}, $bye->[2],
       "a connection is closed ($bye->[0])");
    my $last;
    while (my $m = $one->next) { $last = $m }
    is_deeply($last, { type => 7, error => 'now',
                       allowReconnect => JSON::PP::true() },
              'its last word has the reason, and allows to reconnect');
}


# --- a body that nobody reads ------------------------------------------------

# It is not the next request of its connection: what of it stood there as one
# would be carried out, with whatever a proxy in front had not seen.

for my $case ([ 401, 'POST', "/api/hubs/chat/:send?$v", 'none' ],
              [ 404, 'POST', "/api/hubs/chat/:shout?$v" ],
              [ 405, 'PUT', "/api/hubs/chat/:send?$v" ],
              [ 415, 'POST', "/api/hubs/chat/:send?$v" ],
              [ 400, 'POST', '/api/hubs/chat/:send' ],
              [ 400, 'POST', "/api/hubs/chat/:execute?$v&filter=x" ],
              [ 400, 'PUT', "/api/hubs/chat/users/u/groups/g?$v&ttl=x" ],
              [ 400, 'GET', "/api/hubs/chat/connections?$v&top=x" ],
              [ 404, 'PUT', "/api/hubs/chat/groups/g/connections/c?$v" ],
              [ 403, 'POST', "/api/hubs/chat/:generateToken?$v" ],
              [ 200, 'GET', '/api/health' ])
{
    my ($status, $method, $url, $token) = @$case;
    my ($path) = $url =~ /^([^?]*)/;
    my $hidden = "DELETE /api/health HTTP/1.1\r\nHost: a\r\n\r\n";

    $token //= rest_token($key, "http://localhost$path");

    for my $body ('Content-Length: ' . length($hidden) . "\r\n\r\n$hidden",
                  "Transfer-Encoding: chunked\r\n\r\n"
                  . sprintf("%x\r\n%s\r\n0\r\n\r\n", length $hidden, $hidden))
    {
        my $c = Broadcast::HTTP->connect($port);

        $c->write("$method $url HTTP/1.1\r\nHost: a\r\n"
                  . "Authorization: Bearer $token\r\n"
                  . "Content-Type: text/plain\r\n$body"
                  . "GET /api/v1/health HTTP/1.1\r\nHost: a\r\n\r\n");

        my @r = map { my $r = $c->head; $c->body($r); $r->{status} } 1, 2;

        is("@r", "$status 200", "$method $url, its body, and the next request");
    }
}


# --- closing several ---------------------------------------------------------

{
    my %client = map { $_ => client($_, groups => [ 'closing' ]) }
                 qw(bob eve joe);
    my $two = client('bob');

    is(rest('POST', "/api/hubs/chat/groups/closing/:closeConnections?$v"
                    . "&reason=g&excluded=$client{joe}{id}&Excluded=$c")
       ->{status}, 204, 'a group is closed, but for the excluded');

    for my $name (qw(bob eve)) {
        my $last;
        while (my $m = $client{$name}->next) { $last = $m }
        is($last->{error}, 'g', "$name is told why");
    }

    is(rest('POST', "/api/hubs/chat/users/bob/:closeConnections?$v")->{status},
       204, 'a user is closed');
    my $last;
    while (my $m = $two->next) { $last = $m }
    is($last->{type}, 7, '... all connections');
    ok(wait_for { rest('GET', "/api/v1/hubs/chat/users/bob")->{status} == 404 },
       '... and is gone');

    is(rest('POST', '/api/v1/hubs/chat', '{"target":"still"}')->{status}, 202,
       'a message to those who are left');
    ok($_->invocation('still'), 'the excluded hears it') for $client{joe}, $ann;

    $client{joe}->close;
}


# --- groups of users ---------------------------------------------------------

sub hears {
    my ($client, $group) = @_;

    rest('POST', "/api/v1/hubs/chat/groups/$group", '{"target":"to group"}');
    rest('POST', "/api/v1/hubs/chat/connections/$client->{id}",
         '{"target":"end"}');

    my $heard = 0;
    while (my $m = $client->next) {
        $heard = 1 if $m->{type} == 1 && $m->{target} eq 'to group';
        return $heard if $m->{type} == 1 && $m->{target} eq 'end';
    }
}

my $old = client('una');

is(rest('PUT', "/api/hubs/chat/users/una/groups/now?$v&ttl=0")->{status}, 200,
   'with ttl=0 who is there joins');
ok(hears($old, 'now'), '... and hears the group');
my $late = client('una');
ok(!hears($late, 'now'), 'who comes later does not');
is(rest('GET', '/api/v1/hubs/chat/groups/now/users/una')->{status}, 200,
   'the user is in the group by a connection');

is(rest('PUT', "/api/hubs/chat/users/una/groups/ever?$v")->{status}, 200,
   'without ttl it lasts');
ok(hears($old, 'ever') && hears($late, 'ever'), 'who is there hears it');
my $later = client('una');
ok(hears($later, 'ever'), 'who comes later, too');

my $before = time;
is(rest('PUT', "/api/hubs/chat/users/una/groups/short?$v&ttl=2")->{status}, 200,
   'for two seconds');
my $soon = client('una');

SKIP: {
    skip 'the machine was too slow', 1 if time - $before > 2;
    ok(hears($soon, 'short'), 'who comes within them joins');
}

# every connection of a user who has come since tells it

ok(wait_for {
    my $one = client('una');
    my $heard = hears($one, 'short');
    $one->close;
    !$heard;
}, 'who comes after them does not');
cmp_ok(time - $before, '>=', 1, '... and not before');
ok(hears($old, 'short'), 'who had joined stays');

is(rest('PUT', '/api/v1/hubs/chat/groups/ever/users/una?ttl=0')->{status}, 202,
   'a new ttl replaces the old one');
my $replaced = client('una');
ok(!hears($replaced, 'ever'), '... for who comes later');

rest('PUT', "/api/hubs/chat/users/una/groups/gone?$v");
ok(hears($old, 'gone'), 'a rule and a member');
is(rest('DELETE', "/api/hubs/chat/users/una/groups/gone?$v")->{status}, 204,
   'both are removed');
ok(!hears($old, 'gone'), 'the member');
ok(!hears(my $next = client('una'), 'gone'), 'the rule');
is(rest('HEAD', "/api/hubs/chat/users/una/groups/gone?$v")->{status}, 404,
   'the user is not in it any more');

is(rest('PUT', "/api/hubs/chat/groups/own/connections/$old->{id}?$v")
   ->{status}, 200, 'a group that a connection joined on its own');
rest('PUT', "/api/hubs/chat/users/una/groups/a?$v");
is(rest('DELETE', "/api/hubs/chat/users/una/groups?$v")->{status}, 204,
   'all groups of a user');
ok(!hears($old, $_), "... $_ among them") for qw(a own ever);
ok(!hears(my $after = client('una'), 'a'), '... for good');

is(rest('PUT', "/api/hubs/chat/users/future/groups/f?$v")->{status}, 200,
   'a user without a connection');
ok(hears(my $future = client('future'), 'f'), 'is remembered');

# only the hundred that were updated last are kept, 8.3

for my $n (1 .. 101) {
    my $r = rest('PUT', "/api/hubs/chat/users/many/groups/m$n?$v");
    $r->{status} == 200 or fail("PUT of group m$n: $r->{status}");
}

my $many = client('many');
my @in = map { rest('GET', "/api/v1/hubs/chat/groups/m$_/users/many")
               ->{status} } 1, 2, 101;
is("@in", '404 200 200', 'of 101 groups without ttl the oldest is forgotten');
ok(!hears($many, 'm1') && hears($many, 'm2') && hears($many, 'm101'),
   '... by a connection, too');

$_->close for $ann, $old, $late, $later, $soon, $replaced, $next, $after,
              $future, $many;
$nginx->stop_ok;

done_testing();
