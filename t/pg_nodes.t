#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# Three instances on one database, all of them well: a message has one number
# everywhere, whichever node it came by, a client that changes its node goes on
# where it was, a token opens one connection in the cluster, commands reach
# who they are about, and every node knows who is there.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::Cluster;
use Broadcast::LongPoll;
use Broadcast::Nginx qw(wait_for);
use Broadcast::WebSocket;

my $cluster = Broadcast::Cluster->new(sql => q{
    create table said (n serial, words text)});
my ($one, $two, $three) = my @nodes = $cluster->nodes;

sub sql { $cluster->sql($_[0]) }
sub rest { $cluster->rest(@_) }

sub soon {
    my ($code, $expected, $name) = @_;
    my $got;

    wait_for { ($got = $code->()) eq $expected } 15;
    is $got, $expected, $name;
}

sub everywhere {
    my ($method, $path, $status, $name) = @_;

    soon(sub { join ' ', map { rest($_, $method, $path)->{status} } @nodes },
         "$status $status $status", $name);
}

is(scalar(grep { $cluster->database($_)->{relay} eq 'leader' } @nodes), 1,
   'one of three nodes numbers for all');


# --- one order, one number ----------------------------------------------------

# Messages from each node and from SQL, several at once; a client at each node
# writes down what it gets.

my %plain = map { $_->port => $cluster->plain($_, 'ann') } @nodes;
my $before = $cluster->publish($one, 'first')->{json}{id};

for my $client (values %plain) {
    is($client->next(15)->{id}, $before,
       'a message has the number that its publisher was told');
}

for my $i (1 .. 20) {
    $cluster->publish($nodes[$i % 3], "http $i");
    sql("begin; select broadcast.send_all('chat', 'm', '[\"sql $i\"]');"
        . "select broadcast.send_user('chat', 'ann', 'm', '[\"ann $i\"]');"
        . 'commit');
    rest($nodes[($i + 1) % 3], 'POST', ':send',
         body => qq({"target":"m","arguments":["rest $i"]}));
}

my $last = $cluster->publish($two, 'last')->{json}{id};
my %got;

for my $port (keys %plain) {
    while (my $record = $plain{$port}->next(15)) {
        push @{ $got{$port} }, "$record->{id} $record->{arguments}[0]";
        last if $record->{id} eq $last;
    }
}

my ($some, @others) = values %got;

is(scalar(@$some), 81, 'all of 81 messages came');
is_deeply($_, $some, '... with the same numbers in the same order elsewhere')
    for @others;

my $number = (split /-/, $before)[1];
is(scalar(grep { (/^[^-]+-(\d+) /)[0] != ++$number } @$some), 0,
   '... without a hole');
is_deeply([ map { (split / /, $_, 2)[1] } @$some ],
          [ map { $_->[0] } $cluster->pg->rows(
                "select arguments->>0 from broadcast.message"
                . " where target = 'm' order by seq offset 1",
                db => 'app', user => 'app') ],
          '... as broadcast.message has them');
is(join(' ', map { $cluster->status($_)->{hubs}{chat}{position} } @nodes),
   "$last $last $last", 'every node says the same position');

$_->drop for values %plain;


# --- a client that comes back at another node ---------------------------------

my $from = (split / /, $some->[40])[0];
my @missed = map { (split / /)[0] } @$some[41 .. $#$some];

for my $node (@nodes) {
    my $sse = $cluster->sse($node, 'ann', last => $from);
    my $plain = $cluster->plain($node, 'ann', query => "?last_event_id=$from");

    is_deeply([ map { $sse->event(15)->{id} } @missed ], \@missed,
              'a stream goes on at another node behind its last number');
    is_deeply([ map { $plain->next(15)->{id} } @missed ], \@missed,
              '... so does a plain WebSocket');
    $sse->close;
    $plain->drop;
}

my $new = $cluster->add;
$cluster->ready($new);
my $late = $cluster->sse($new, 'ann', last => $from);
is_deeply([ map { $late->event(15)->{id} } @missed ], \@missed,
          'a node that came later has all of it, too');
my $live = $cluster->publish($one, 'live')->{json}{id};
is($late->event(15)->{id}, $live, '... and goes on with what is new');
$late->close;
$cluster->forget($new);
$new->stop_ok;


# --- one token, one connection ------------------------------------------------

# A token lives 15 s.  If this machine lets them go by before the second node is
# asked, as the clock says, there is another one.

my ($early, $ws);

for (1 .. 5) {
    wait_for { sql('select count(*) from broadcast.connections') eq '0' };

    my $began = time;

    $early = $cluster->hub($one, 'bob');
    wait_for { sql('select count(*) from broadcast.connections') eq '1' };

    $ws = Broadcast::WebSocket->connect($two->port,
        "/client?hub=chat&id=$early->{token}",
        headers => [ Authorization => 'Bearer ' . $cluster->token('bob') ]);

    last if $ws->{head}{status} == 101 || time - $began < 14;

    $early->drop;
}

is(sql('select count(*) from broadcast.connections'), 1,
   'a client has its row');
is($ws->{head}{status}, 101, 'a token is used at a second node');
$ws->text("{\"protocol\":\"json\",\"version\":1}\x1e");

my ($message, $words) = (undef, '');
$words .= $message while defined($message = $ws->message);

like($words, qr/"type":7.*"allowReconnect":true/,
     '... which knows by its row: the later client is closed');
unlike($words, qr/"type":1,/, '... and got no message');
$ws->drop;

$cluster->publish($two, 'still');
is($early->invocation('m', 15)->[0], 'still', '... the earlier one goes on');
is(sql('select count(*) from broadcast.connections'), 1, '... with its row');
is($cluster->seen("kind = 'disconnected' and id = '$early->{id}'"), 0,
   '... and is not said to have ended');
$early->drop;
soon(sub { $cluster->tally("id = '$early->{id}'") },
     'connected 1, disconnected 1 x 1', '... until it has, once');


# --- commands reach who they are about ----------------------------------------

# Each transport at each node; each is told by the next node.

my %client;

for my $i (0 .. 2) {
    $client{"hub$i"} = $cluster->hub($nodes[$i], "hub$i");
    $client{"poll$i"} = Broadcast::LongPoll->connect($nodes[$i]->port,
        '/client?hub=chat', token => $cluster->token("poll$i"));
}

my @users = sort keys %client;
my %at = map { $_ => $nodes[(/(\d)/)[0]] } @users;
my %next = map { $_ => $nodes[((/(\d)/)[0] + 1) % 3] } @users;

sub target {
    my ($user) = @_;
    my $client = $client{$user};

    return $client->invocation('t', 15)->[0] if $user =~ /hub/;
    return (grep { ($_->{target} // '') eq 't' } $client->records(1))[0]
           ->{arguments}[0];
}

everywhere('HEAD', "users/$_", 200, "every node knows $_") for @users;
everywhere('HEAD', "connections/$client{$_}{id}", 200, '... by its id')
    for @users;
everywhere('HEAD', 'users/nobody', 404, 'and who is not there');

for my $user (@users) {
    rest($next{$user}, 'PUT', "groups/g/connections/$client{$user}{id}");
    rest($next{$user}, 'POST', 'groups/g/:send',
         body => qq({"target":"t","arguments":["$user"]}));
    is(target($user), $user, "$user is in a group and gets its message, both"
                             . ' said at another node');
    rest($next{$user}, 'DELETE', "groups/g/connections/$client{$user}{id}");
    rest($next{$user}, 'POST', 'groups/g/:send',
         body => qq({"target":"t","arguments":["not"]}));
    rest($next{$user}, 'POST', "connections/$client{$user}{id}/:send",
         body => qq({"target":"t","arguments":["id"]}));
    is(target($user), 'id', '... it left, and gets what is for its id');
    rest($next{$user}, 'PUT', "users/$user/groups/of-user");
    sql("select broadcast.send_group('chat', 'of-user', 't', '[\"user\"]')");
    is(target($user), 'user', '... is in a group as a user');
    rest($next{$user}, 'DELETE', "users/$user/groups");
}

everywhere('HEAD', 'groups/g', 404, 'nobody is in that group any more');
everywhere('HEAD', 'groups/of-user', 404, '... nor in the other');


# --- listings -----------------------------------------------------------------

for my $node (@nodes) {
    my @all = map { $_->{userId} }
              @{ rest($node, 'GET', 'connections')->{json}{value} };

    is_deeply([ sort @all ], \@users, 'a node lists the clients of all');
    is(rest($node, 'GET', 'users/poll1/connections')->{json}{value}[0]
           {connectionId}, $client{poll1}{id}, '... those of a user');
}


# --- they are closed ----------------------------------------------------------

for my $user (@users) {
    my $r = rest($next{$user}, 'DELETE',
                 "connections/$client{$user}{id}?reason=enough");
    like($r->{status}, qr/^20[024]$/, 'another node is told to close a client');

    if ($user =~ /hub/) {
        my $record = $client{$user}->next(15);
        $record = $client{$user}->next(15)
            while $record && $record->{type} != 7;
        ok($record->{allowReconnect}, "... $user is, with reconnect allowed");
        like($record->{error}, qr/enough/, '... and the reason');
        $client{$user}->drop;
        next;
    }

    ok((wait_for { $client{$user}->poll->{status} =~ /^(?:204|404)$/ } 15),
       "... $user is");
}

soon(sub { $cluster->tally(q{"user" ~ '^(hub|poll)'}) },
     'connected 1, disconnected 1 x 6', 'each was connected and disconnected,'
                                        . ' once');
is(sql('select count(*) from broadcast.connections'), 0, 'no row is left');

$_->stop_ok for @nodes;

done_testing();
