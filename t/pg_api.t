#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# The REST API of two instances on one database: who is connected to either is
# known to both, and commands reach them; then the database goes away.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::HTTP;
use Broadcast::Hub;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Postgres;
use Broadcast::Token qw(client_token rest_token);

my $key = '0123456789abcdef';
my $v = 'api-version=2024-12-01';

my $pg = Broadcast::Postgres->new;
$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", db => 'app', user => 'app');

my $http = "broadcast_zone hubs 8m; broadcast_key $key;"
         . ' broadcast_ephemeral quick;'
         . ' broadcast_database "' . $pg->conninfo('app', 'app')
         . '" timeout=2s queue=64;';

my @nodes = map {
    Broadcast::Nginx->new(workers => 2, http => $http,
                          server => <<'EOC')->start
        location /client { broadcast_hub; }
        location /api/   { broadcast_api; }
        location = /status { broadcast_status json; }
        location = /metrics { broadcast_status prometheus; }
EOC
} 1 .. 2;

my ($one, $two) = map { $_->port } @nodes;

sub rest {
    my ($port, $method, $url, $body) = @_;
    $url =~ s{^\w+://[^/]+}{};
    my ($path) = $url =~ /^([^?]*)/;

    return Broadcast::HTTP::http($port, $method,
        $url =~ /\?/ ? $url : "$url?$v", (defined $body ? (body => $body) : ()),
        headers => [ Authorization => 'Bearer '
                     . rest_token($key, "http://localhost$path"),
                     (defined $body ? ('Content-Type' => 'application/json')
                                    : ()) ]);
}

sub client {
    my ($port, $user, $hub) = @_;

    $hub //= 'chat';
    my $client = Broadcast::Hub->connect($port, "/client?hub=$hub",
        token => client_token($key, $hub, sub => $user));
    die $client->{error} if $client->{error};
    return $client;
}

sub code { "$_[0]{status} " . ($_[0]{headers}{'x-ms-error-code'} // '') }

for my $port ($one, $two) {
    ok((wait_for { rest($port, 'HEAD', '/api/health')->{status} == 200 } 20),
       'an instance is healthy');
    ok((wait_for { Broadcast::HTTP::http($port, 'GET', '/status')
                  ->{json}{database}{relay} =~ /leader|follower/ } 20),
       '... and takes part');
}

my $ann = client($one, 'ann');
my $bob = client($two, 'bob');


# --- who is there ------------------------------------------------------------

for my $port ($one, $two) {
    my $at = $port == $one ? 'the one' : 'the other';

    ok(wait_for { rest($port, 'HEAD', "/api/hubs/chat/users/$_")->{status}
                  == 200 }, "$at knows $_") for qw(ann bob);
    is(rest($port, 'GET', "/api/v1/hubs/chat/connections/$_->{id}")->{status},
       200, "$at knows the connection") for $ann, $bob;
    is(code(rest($port, 'GET', "/api/hubs/chat/connections/$_")),
       '404 Warning.Connection.NotExisted', "... and which is none")
        for 'none', 'x' x 100, '%c3%a4';
    is(code(rest($port, 'GET', '/api/hubs/chat/users/eve')),
       '404 Warning.User.NotExisted', '... of users, too');
    is(code(rest($port, 'GET', '/api/hubs/chat/groups/none')),
       '404 Warning.Group.NotExisted', '... of groups');
    is(code(rest($port, 'GET', '/api/hubs/chat/users/ann/groups/none')),
       '404 Info.User.NotInGroup', '... and of users in groups');
    is(code(rest($port, 'GET', "/api/hubs/other/connections/$ann->{id}")),
       '404 Warning.Connection.NotExisted', '... in its hub alone');
}


# --- pages, each from another instance ---------------------------------------

my @more = map { client($_ % 2 ? $one : $two, 'many') } 1 .. 5;

sub ids { map { $_->{connectionId} } @{ $_[0] } }

ok(wait_for {
    @{ rest($one, 'GET', '/api/hubs/chat/connections')->{json}{value} } == 7
}, 'all of both instances are listed');

my (@seen, @sizes);
my $url = "/api/hubs/chat/connections?$v&maxpagesize=2";

for my $turn (0 .. 9) {
    my $page = rest($turn % 2 ? $one : $two, 'GET', $url)->{json};
    push @seen, ids($page->{value});
    push @sizes, scalar @{ $page->{value} };
    $url = $page->{nextLink} // last;
}

is("@sizes", '2 2 2 1', 'pages of two, by turns');
is_deeply([ sort @seen ], [ sort map { $_->{id} } $ann, $bob, @more ],
          'everybody once');

my $listed = rest($two, 'GET', '/api/hubs/chat/users/many/connections')->{json};
is(scalar @{ $listed->{value} }, 5, 'those of a user');
is_deeply([ sort keys %{ $listed->{value}[0] } ],
          [ qw(connectedAt connectionId transport userId) ],
          '... with what is told of each');
like($listed->{value}[0]{connectedAt}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/,
     '... since when');
is($listed->{value}[0]{transport}, 'websocket', '... and how');

my $top = rest($two, 'GET', "/api/hubs/chat/users/many/connections?$v&top=5");
is($top->{json}{nextLink}, undef, 'top is the last page');
$top = rest($two, 'GET', "/api/hubs/chat/connections?$v&top=3&maxpagesize=2");
is(scalar @{ rest($one, 'GET', $top->{json}{nextLink})->{json}{value} }, 1,
   'top counts over pages of both');

for my $token (qw(MS4x x MTo), '', 'MTox') {    # 1.1, 1:, 1:1
    is(rest($one, 'GET', "/api/hubs/chat/groups?$v"
                         . "&continuationToken=$token")->{status}, 400,
       "a token of no groups ($token)");
    next if $token eq 'MTox';
    is(rest($one, 'GET', "/api/hubs/chat/connections?$v"
                         . "&continuationToken=$token")->{status}, 400,
       "a token of none ($token)");
}


# --- commands ----------------------------------------------------------------

is(rest($one, 'PUT', "/api/hubs/chat/groups/g/connections/$bob->{id}")
   ->{status}, 200, 'a connection of the other is put into a group');
is(code(rest($one, 'PUT', '/api/hubs/chat/groups/g/connections/none')),
   '404 Error.Connection.NotExisted', 'one that there is not is none');
is(rest($one, 'POST', '/api/v1/hubs/chat/groups/g',
        '{"target":"t","arguments":["hi"]}')->{status}, 202, 'a message to it');
is_deeply($bob->invocation('t'), [ 'hi' ], '... is heard there');

sub execute {
    my ($port, $filter, $text) = @_;
    $filter =~ s/([^\w'])/sprintf '%%%02X', ord $1/ge;
    return rest($port, 'POST', "/api/hubs/chat/:execute?$v&filter=$filter",
        qq([{"type":"SendMessage","message":{"target":"x","arguments":["$text"]}},)
        . '{"type":"JoinGroup","group":"executed"}]');
}

is(execute($one, "startswith(userId,'b') or userId eq 'ann'", 'both')->{status},
   202, 'commands by a filter');
is_deeply($_->invocation('x'), [ 'both' ], '... reach a client') for $ann, $bob;
rest($two, 'POST', '/api/v1/hubs/chat/groups/executed',
     '{"target":"x","arguments":["joined"]}');
is_deeply($_->invocation('x'), [ 'joined' ], '... all of them') for $ann, $bob;

ok(wait_for {
    my @in = ids(rest($one, 'GET',
                      '/api/hubs/chat/groups/executed/connections')
                 ->{json}{value});
    @in == 2
}, 'both are in the group that they were put into');

is(execute($one, "'executed' in groups and userId ne 'none'", 'group')
   ->{status}, 202, 'commands by a filter of groups');
is_deeply($_->invocation('x'), [ 'group' ], '... reach a client')
    for $ann, $bob;
is(execute($two, "'executed' in groups and not ('g' in groups)", 'one')
   ->{status}, 202, '... of several groups');
is_deeply($ann->invocation('x'), [ 'one' ], '... that one');
is(execute($two, "'g' in groups", 'other')->{status}, 202, '... and');
is_deeply($bob->invocation('x'), [ 'other' ], '... the other one alone');

is(rest($one, 'DELETE', "/api/hubs/chat/connections/$bob->{id}?$v&reason=x")
   ->{status}, 200, 'it is closed');
my $last;
while (my $m = $bob->next) { $last = $m }
is($last->{error}, 'x', '... and told why');
ok(wait_for { rest($one, 'GET', '/api/hubs/chat/users/bob')->{status} == 404 },
   '... and gone, for both');

is(rest($two, 'POST', "/api/hubs/chat/users/many/:closeConnections?$v"
                      . "&excluded=$more[0]{id}")->{status}, 204,
   'a user of both is closed');
for (@more[1 .. 4]) { 1 while $_->next }
ok(wait_for {
    my @left = ids(rest($one, 'GET', '/api/hubs/chat/users/many/connections')
                   ->{json}{value});
    "@left" eq $more[0]{id};
}, '... but for the excluded');


is(rest($one, 'POST', "/api/hubs/chat/:execute?$v&filter=userId%20eq%20'ann'",
        '[{"type":"SendMessage","message":{"target":"e","arguments":[1]}},'
        . '{"type":"SendMessage","message":{"target":"e","arguments":[2]}}]')
   ->{status}, 202, 'commands by a filter are kept');
is_deeply([ map { @{ $ann->invocation('e') } } 1 .. 2 ], [ 1, 2 ],
          '... and done in order');


# --- a database that is silent -----------------------------------------------

$pg->freeze;

sub asking {
    my ($path) = @_;
    my $c = Broadcast::HTTP->connect($one);

    $c->write("GET $path?$v HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer "
              . rest_token($key, "http://a$path") . "\r\n\r\n");
    return $c;
}

my @asking = map { asking($_) }
    qw(/api/hubs/chat/users/eve /api/hubs/chat/connections/none
       /api/hubs/chat/connections /api/hubs/chat/users/many/connections);

# more than two workers send to the database and keep for it

my @many = map { asking('/api/hubs/chat/users/eve') } 1 .. 400;

$_->close for @asking[1, 2];
is($_->head->{status}, 503, 'a question without an answer is for later')
    for @asking[0, 3];

my %said;
for my $c (@many) {
    my $r = $c->head;
    $c->body($r);
    $said{"$r->{status} $r->{json}{message}"}++;
}

is(join(', ', sort keys %said), '503 The database did not answer., '
   . '503 Too many questions wait for the database.',
   '... and so are those that are too many, which is said');

$pg->thaw;

ok((wait_for { rest($one, 'GET', '/api/hubs/chat/users/eve')->{status} == 404 }
    20), 'it is answered again');


# --- without the database ----------------------------------------------------

my $quick = client($one, 'joe', 'quick');

$pg->stop;

ok((wait_for { rest($one, 'HEAD', '/api/health')->{status} == 503 } 20),
   'an instance without its database is not healthy');

sub refused_for_database {
    my $text = Broadcast::HTTP::http($one, 'GET', '/metrics')->{body};
    return ($text =~ /refused_total\{reason="database"\} (\d+)/)[0];
}

my $counted = refused_for_database();
my $sick = rest($one, 'GET', '/api/health');
ok($sick->{headers}{'retry-after'} && $sick->{json}{code}, '... and says so');
is(refused_for_database(), $counted, '... refusing nothing to who asks');

is(rest($one, 'HEAD', "/api/hubs/chat/connections/$ann->{id}")->{status}, 200,
   'who is here is known');

for my $case ([ GET => '/api/hubs/chat/connections/elsewhere' ],
              [ HEAD => '/api/hubs/chat/users/elsewhere' ],
              [ GET => '/api/hubs/chat/connections' ],
              [ GET => '/api/hubs/chat/users/many/connections' ],
              [ HEAD => '/api/hubs/chat/groups/elsewhere' ],
              [ GET => '/api/hubs/chat/groups' ],
              [ GET => '/api/hubs/chat/groups/executed/connections' ],
              [ HEAD => '/api/hubs/chat/users/none/groups/executed' ],
              [ PUT => "/api/hubs/chat/groups/g/connections/$ann->{id}" ],
              [ PUT => '/api/hubs/chat/users/ann/groups/g' ],
              [ DELETE => '/api/hubs/chat/users/ann/groups' ],
              [ POST => '/api/hubs/chat/:closeConnections' ],
              [ POST => '/api/hubs/chat/:send', '{"target":"t"}' ],
              [ POST => '/api/hubs/chat/:execute',
                '[{"type":"JoinGroup","group":"g"}]' ])
{
    my ($method, $path, $body) = @$case;
    my $r = rest($one, $method, $path, $body);

    is(code($r) . ' ' . ($r->{headers}{'retry-after'} // ''),
       '503 ServiceUnavailable 1', "$method $path is for later");
}

cmp_ok(refused_for_database(), '>=', $counted + 10, '... all counted');

is(rest($one, 'GET', '/api/hubs/quick/users/joe')->{status}, 200,
   'an ephemeral hub goes on');
is(code(rest($one, 'GET', '/api/hubs/quick/users/eve')),
   '404 Warning.User.NotExisted', '... and knows who is not there');
is(scalar @{ rest($one, 'GET', '/api/hubs/quick/connections')->{json}{value} },
   1, '... and who is');
is(rest($one, 'POST', '/api/v1/hubs/quick', '{"target":"t"}')->{status}, 202,
   '... and takes messages');

$pg->start;

ok((wait_for { rest($one, 'HEAD', '/api/health')->{status} == 200 } 20),
   'healthy again');
ok(wait_for { rest($one, 'GET', '/api/hubs/chat/users/eve')->{status} == 404 },
   'and asked again');

$_->close for $ann, $more[0], $quick;
$_->stop_ok for @nodes;

done_testing();
