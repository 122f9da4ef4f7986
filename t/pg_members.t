#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# The groups of connections of three instances on one database: whoever joins
# or leaves, by whatever way, is a member for all of them, as in the registry
# of its own, and no more when it is gone.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::HTTP qw(http worker_at);
use Broadcast::Hub;
use Broadcast::LongPoll;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Plain;
use Broadcast::Postgres;
use Broadcast::SSE;
use Broadcast::Token qw(client_token);

my $key = '0123456789abcdef0123456789abcdef';
my $v = 'api-version=2024-12-01';
my $pg = Broadcast::Postgres->new;
my @at = (db => 'app', user => 'app');

$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);


# An older schema, with a connection of a node that goes on meanwhile.

$pg->psql(q{
    drop table broadcast.connection_group;
    drop function broadcast.group_key(text), broadcast.keep_groups(jsonb),
        broadcast.groups(text, text, int),
        broadcast.members(text, text, text, text, text[], boolean, int);
    create or replace function broadcast.schema_version() returns int
        language sql immutable as 'select 2';
    insert into broadcast.node (name) values ('old');
    insert into broadcast.connections (connection_id, hub, node)
    values ('before', 'chat', 'old')}, @at);
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);

is $pg->psql(q{select broadcast.schema_version(),
    (select count(*) from broadcast.connections),
    broadcast.keep_groups('{"before": ["g"]}') is null,
    broadcast.connection_remove('{"connectionId": "before"}')
        ->> 'connectionId'}, @at),
    '6|1|t|before', 'an older schema is made a newer one, with what it has';

$pg->psql(q{
    update broadcast.setting set value = '3 s' where name = 'node_lease';
    create function door(event jsonb) returns jsonb language sql as
        $$ select '{"groups": ["by function"]}'::jsonb $$;
    create function slow(event jsonb) returns jsonb language sql as
        $$ select null::jsonb from pg_sleep(0.5) $$;
    select broadcast.bind('connect', 'door', hub => 'guarded');
    select broadcast.bind('connected', 'slow', hub => 'slow')}, @at);

my @nodes = map {
    Broadcast::Nginx->new(
        workers => 2,
        http    => "broadcast_zone hubs 8m; broadcast_key $key;"
                 . 'broadcast_drain off; broadcast_ephemeral quick;'
                 . 'broadcast_client_timeout 5m;'
                 . 'broadcast_database "' . $pg->conninfo('app', 'app')
                 . '" timeout=3s;',
        server  => <<'EOS')->start;
        location /client   { broadcast_hub; }
        location /free     { broadcast_hub nofunctions; }
        location /events/  { broadcast_events; }
        location /api/     { broadcast_api open; }
        location = /status { broadcast_status json; }
        location = /pid    { return 200 $pid; }
EOS
} 1 .. 4;

my ($one, $two, $three) = @nodes;

for (@nodes) {
    my $port = $_->port;

    ok((wait_for {
        http($port, 'GET', '/status')->{json}{database}{relay}
            =~ /leader|follower/
    } 20), 'an instance takes part');
}


my $lost = pop @nodes;

sub sql { $pg->psql($_[0], @at) }

sub rest {
    my ($node, $method, $path, $hub) = @_;
    my $q = $path =~ /\?/ ? '&' : '?';

    $hub //= 'chat';

    return http($node->port, $method, "/api/hubs/$hub/$path$q$v");
}

sub hub {
    my ($node, $user, %o) = @_;
    my $hub = $o{hub} // 'chat';

    my $client = Broadcast::Hub->connect($node->port,
        ($o{path} // '/client') . "?hub=$hub",
        token => client_token($key, $hub, sub => $user, %{ $o{claims} // {} }));
    die $client->{error} if $client->{error};

    return $client;
}

sub plain {
    my ($node, $user, $groups, %o) = @_;

    return Broadcast::Plain->connect($node->port,
        '/events/chat' . ($groups ? "?group=$groups" : ''),
        token => client_token($key, 'chat', sub => $user,
                              role => [ 'broadcast.join' ]), %o);
}


# All pages of a listing, each from the next node.

sub pages {
    my ($path, $hub, $size) = @_;
    my ($turn, @all) = 0;
    my $url = '/api/hubs/' . ($hub // 'chat') . "/$path?$v&maxpagesize="
              . ($size // 2);

    while ($url) {
        my $r = http($nodes[$turn++ % 3]->port, 'GET', $url);
        return { userId => $r->{status}, name => 'status',
                 connections => $r->{status} } if $r->{status} != 200;
        push @all, @{ $r->{json}{value} };
        ($url = $r->{json}{nextLink} // '') =~ s{^\w+://[^/]+}{};
    }

    return @all;
}

sub users_in {
    return join ' ', sort map { $_->{userId} }
                     pages('groups/' . $_[0] . '/connections', $_[1]);
}

sub groups_of {
    return join ' ', map { "$_->{name}=$_->{connections}" }
                     sort { $a->{name} cmp $b->{name} } pages('groups', $_[0]);
}


# The same for all nodes, soon.

sub soon {
    my ($code, $expected, $name) = @_;
    my $got;

    wait_for { ($got = $code->()) eq $expected };
    is $got, $expected, $name;
}

sub everywhere {
    my ($method, $path, $status, $name, $hub) = @_;

    soon(sub { join ' ', map { rest($_, $method, $path, $hub)->{status} }
                         @nodes },
         "$status $status $status", $name);
}


# --- a node that will be gone -------------------------------------------------

my @gone = map { hub($lost, 'kim', hub => 'lost', claims => { groups => [ 'k' ] })
} 1 .. 2;
soon(sub { groups_of('lost') }, 'k=2', 'clients of a node');
$lost->crash;
is rest($one, 'HEAD', 'groups/k', 'lost')->{status}, 200,
   'a node that was killed is there for its lease';


# --- each way into a group and out --------------------------------------------

my $ann = hub($one, 'ann');
my $bob = hub($two, 'bob');

everywhere('HEAD', "connections/$_->{id}", 200, 'a client is known')
    for $ann, $bob;
everywhere('HEAD', 'groups/g', 404, 'a group is not there');

rest($two, 'PUT', "groups/g/connections/$ann->{id}");
everywhere('HEAD', 'groups/g', 200, 'a group that a connection was put into');
everywhere('HEAD', 'users/ann/groups/g', 200, '... with its user');
everywhere('HEAD', 'users/bob/groups/g', 404, '... and no other');
everywhere('HEAD', 'groups/g', 404, '... in its hub alone', 'other');
soon(sub { users_in('g') }, 'ann', '... is listed');

rest($three, 'PUT', 'users/bob/groups/g?ttl=1');
soon(sub { users_in('g') }, 'ann bob', 'a user joins, on another node');
everywhere('HEAD', 'users/bob/groups/g', 200, '... for all');
soon(sub { groups_of() }, 'g=2', '... and is counted');

my $late = hub($three, 'bob', claims => { groups => [ 'token', 'g' ] });
soon(sub { groups_of() }, 'g=3 token=1',
     'a connection comes with groups of a rule and of its token');
rest($one, 'DELETE', 'users/bob/groups/g');
soon(sub { groups_of() }, 'g=1 token=1', 'a user leaves, on two nodes');
rest($two, 'DELETE', 'users/bob/groups');
soon(sub { groups_of() }, 'g=1', '... all groups');

sql(q{select broadcast.add_to_group('chat', 'g', "user" => 'bob',
                                    ttl => '1 s')});
soon(sub { users_in('g') }, 'ann bob bob', 'a user joins in SQL, for a second');
ok((wait_for {
    sql('select count(*) from broadcast.rules()') == 0
} 10), '... which is over');
soon(sub { users_in('g') }, 'ann bob bob', '... and who has joined stays');

rest($three, 'DELETE', "groups/g/connections/$ann->{id}");
soon(sub { users_in('g') }, 'bob bob', 'a connection leaves');
rest($three, 'PUT', "groups/h/connections/$bob->{id}");
rest($three, 'DELETE', "connections/$bob->{id}/groups");
soon(sub { groups_of() }, 'g=1', '... all groups');
$late->drop;
everywhere('HEAD', 'groups/g', 404, 'a group goes with its last connection');


# --- plain subscribers --------------------------------------------------------

my $eve = plain($two, 'eve', 'a&group=b');
soon(sub { groups_of() }, 'a=1 b=1', 'a plain subscriber\'s own groups');
$eve->send({ join => 'c' });
everywhere('HEAD', 'groups/c', 200, '... that it joins by itself');
everywhere('HEAD', 'users/eve/groups/c', 200, '... with its user');
$eve->send({ leave => 'a' });
soon(sub { groups_of() }, 'b=1 c=1', '... and leaves');

my $sse = Broadcast::SSE->connect($three->port, '/events/chat?group=b',
    headers => [ Authorization => 'Bearer '
                 . client_token($key, 'chat', sub => 'fay',
                                groups => [ 'b' ]) ]);
soon(sub { users_in('b') }, 'eve fay', 'one with an event stream, too');

$eve->send({ join => "many$_" }) for 1 .. 300;
$eve->send({ leave => "many$_" }) for 2 .. 299;
soon(sub { groups_of() }, 'b=2 c=1 many1=1 many300=1',
     'what it does quickly is kept as it ends');
$eve->drop;
$sse->close;
soon(sub { groups_of() }, '', 'both are gone');


# --- when a connection begins -------------------------------------------------

my $door = hub($two, 'gus', hub => 'guarded', claims => { groups => [ 'x' ] });
soon(sub { groups_of('guarded') }, 'by function=1 x=1',
     'groups of a function that lets in');

# The function has no end while its connection's groups change.

my $slow = hub($two, 'hal', hub => 'slow', claims => { groups => [ 'before' ] });
rest($three, 'DELETE', "connections/$slow->{id}/groups", 'slow');
rest($one, 'PUT', 'users/hal/groups/after', 'slow');
soon(sub { groups_of('slow') }, 'after=1',
     'what comes while `connected` is being called is not lost');

my $free = hub($three, 'ida', path => '/free', claims => { groups => [ 'f' ] });
is rest($three, 'HEAD', 'groups/f')->{status}, 200,
   'without functions a group is known to its node';
is rest($one, 'HEAD', 'groups/f')->{status}, 404, '... alone';
is groups_of(), '', '... and not listed';

my $quick = hub($one, 'ann', hub => 'quick', claims => { groups => [ 'q' ] });
is rest($one, 'HEAD', 'groups/q', 'quick')->{status}, 200,
   'an ephemeral hub has the groups of a node';
is rest($two, 'HEAD', 'groups/q', 'quick')->{status}, 404, '... each its own';
ok((wait_for {
    sql(q{select count(*) from broadcast.connections where hub = 'quick'}) == 1
}), '... and its connections in the database');
is sql(q{select count(*) from broadcast.connection_group
          where hub = 'quick'}), 0, '... without groups';

$_->drop for $door, $slow, $free, $quick;


# --- a row that is locked -----------------------------------------------------

my $session = $pg->session(@at);
$session->run("begin; delete from broadcast.connections"
              . " where connection_id = '$bob->{id}'");
is sql(qq{select broadcast.keep_groups('{"$bob->{id}": ["l"],
                                         "$ann->{id}": ["l"]}')}),
   $bob->{id}, 'who is locked is to be said again, and waits for nobody';
rest($one, 'PUT', "groups/l/connections/$bob->{id}");
soon(sub { users_in('l') }, 'ann', '... as long as it is');
$session->run('rollback');
soon(sub { users_in('l') }, 'ann bob', '... until it is not');
rest($one, 'DELETE', "groups/l/connections/$_->{id}") for $ann, $bob;
rest($one, 'PUT', "groups/m/connections/$_->{id}") for $ann, $bob;
soon(sub { groups_of() }, 'm=2', 'the node says all groups, not one');
rest($one, 'DELETE', "groups/m/connections/$_->{id}") for $ann, $bob;
soon(sub { groups_of() }, '', 'and all leave');


# --- from worker to worker ----------------------------------------------------

my @at_worker = map { worker_at($two->port, '/pid', $_) } $two->workers;
my $poll = Broadcast::LongPoll->connect($two->port, '/client?hub=chat',
    token => client_token($key, 'chat', sub => 'jim'), at => $at_worker[0]);

for my $i (1 .. 6) {
    rest($one, 'PUT', "groups/way$i/connections/$poll->{id}");
    rest($one, 'DELETE', 'groups/way' . ($i - 1) . "/connections/$poll->{id}");
    sql("select broadcast.send_connection('chat', '$poll->{id}', 't', '[]')");
    $poll->records(1, at => $at_worker[$i % 2]);
}

soon(sub { groups_of() }, 'way6=1', 'a client that changes its worker');
is $poll->delete->{status}, 202, '... goes';
soon(sub { groups_of() }, '', '... and its groups with it');
$_->close for @at_worker;


# --- any changes, in any order ------------------------------------------------

srand 11;

my @clients = map { my $i = $_; map { hub($nodes[$_], "x$i") } 0 .. 2 } 1 .. 2;
my @plains = map { plain($nodes[$_], "y$_", 'own') } 0 .. 2;
my @groups = map { "z$_" } 1 .. 7;

for (1 .. 400) {
    my $node = $nodes[rand 3];
    my $group = $groups[rand @groups];
    my $client = $clients[rand @clients];
    my $plain = $plains[rand @plains];
    my $user = ('x1', 'x2', 'y1')[rand 3];
    my $what = int rand 24;

    if ($what < 6) {
        rest($node, 'PUT', "groups/$group/connections/$client->{id}");
    } elsif ($what < 9) {
        rest($node, 'DELETE', "groups/$group/connections/$client->{id}");
    } elsif ($what < 12) {
        rest($node, 'PUT', "users/$user/groups/$group");
    } elsif ($what < 14) {
        rest($node, 'DELETE', "users/$user/groups/$group");
    } elsif ($what < 18) {
        $plain->send({ join => $group });
    } elsif ($what < 21) {
        $plain->send({ leave => $group });
    } elsif ($what < 22) {
        rest($node, 'DELETE', "connections/$client->{id}/groups");
    } else {
        my $i = int rand @clients;
        $clients[$i]->drop;
        $clients[$i] = hub($nodes[$i % 3], 'x' . (1 + int $i / 3));
    }
}

# a message to each group tells who is in it, in the registries

sql("select broadcast.send_group('chat', '$_', '$_', '[]')") for @groups;
sql("select broadcast.send_all('chat', 'end', '[]')");

my %in;

for my $client (@clients, @plains) {
    my $who = ref $client eq 'Broadcast::Plain' ? 'plain' : 'hub';

    while (my $record = $client->next) {
        my $target = $record->{target} // next;
        last if $target eq 'end';
        $in{$target}{$who}++;
    }
}

my $told = join ' ', map {
    "$_=" . (($in{$_}{hub} // 0) + ($in{$_}{plain} // 0))
} grep { $in{$_} } @groups;

isnt $told, '', 'there are members behind 400 changes';
ok((grep { $_->{plain} } values %in) && (grep { $_->{hub} } values %in),
   '... of both kinds');
soon(sub { groups_of() }, "own=3 $told",
     'the database has the groups of the registries');
soon(sub {
    join ' ', map { "$_=" . scalar(() = users_in($_) =~ /\S+/g) }
              grep { $in{$_} } @groups
}, $told, '... and their members');

$_->drop for @clients, @plains;
soon(sub { groups_of() }, '', '... and nothing of those that are gone');
sql(q{select broadcast.remove_from_group('chat', null, "user" => u)
        from unnest('{x1,x2,y1}'::text[]) u});


# --- workers and a node that die ----------------------------------------------

my @doomed = map { hub($three, 'kim', claims => { groups => [ 'k' ] }) } 1 .. 3;
soon(sub { groups_of() }, 'k=3', 'clients of a node');
$three->kill_worker($_) for $three->workers;
soon(sub { groups_of() }, '', 'those of workers that are killed are gone');

# a leader waits for a lease of its own before it takes others for dead

ok((wait_for {
    !grep { rest($_, 'HEAD', 'groups/k', 'lost')->{status} != 404 } @nodes
} 30), 'those of a node that was killed are gone, too');
is groups_of('lost'), '', '... and not listed';


# --- a database that was away -------------------------------------------------

$eve = plain($two, 'eve', 'a');
soon(sub { groups_of() }, 'a=1', 'somebody is in a group');
$pg->stop;
$eve->send({ join => 'meanwhile' });
$eve->send({ leave => 'a' });
ok((wait_for { rest($two, 'HEAD', 'groups/meanwhile')->{status} == 200 }),
   'without the database a node knows of its own');
is rest($_, 'HEAD', 'groups/meanwhile')->{status}, 503,
   '... and the others do not know' for $one, $three;
is rest($two, 'GET', 'groups')->{status}, 503, '... nor does anybody know all';
is rest($two, 'GET', 'groups/meanwhile/connections')->{status}, 503,
   '... or where all members are';
$pg->start;
ok((wait_for { groups_of() eq 'meanwhile=1' } 20),
   'what happened meanwhile is known when it is there again');
$eve->drop;


$_->drop for $ann, $bob, @doomed, @gone;
$_->stop_ok for @nodes;

done_testing();
