#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# What a command of the REST API was answered is so for the next request,
# whichever worker takes that, in an ephemeral hub and in a durable one: a
# program that puts a connection into a group and looks who is in it asks once.
# The workers that have the connections carry commands out in their own time,
# and tell the database later still: without a wait some of fifty such
# questions are answered by what was before.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(time);

use Broadcast::HTTP;
use Broadcast::Hub;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Postgres;
use Broadcast::Token qw(client_token rest_token);

my $key = '0123456789abcdef';
my $rounds = 12;

my $pg = Broadcast::Postgres->new;
$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", db => 'app', user => 'app');
$pg->psql(<<'EOS', db => 'app', user => 'app');
create function welcome(event jsonb) returns jsonb language plpgsql as $$
begin
    perform pg_sleep(0.3);
    return null;
end $$;
select broadcast.bind('connected', 'welcome', 'greeted');
EOS

my $nginx = Broadcast::Nginx->new(workers => 4, spread => 1,
    http => "broadcast_zone hubs 8m; broadcast_key $key;"
            . ' broadcast_ephemeral quick nobody; broadcast_database "'
            . $pg->conninfo('app', 'app') . '";',
    server => <<'EOC')->start;
        location /client   { broadcast_hub; }
        location /api/     { broadcast_api; }
        location = /status { broadcast_status json; }
        location = /pid    { return 200 $pid; }
EOC

my $port = $nginx->port;

# one request a connection: the kernel deals them out among the workers

sub rest {
    my ($hub, $method, $rest, $body) = @_;
    my $path = "/api/v1/hubs/$hub/$rest";

    return Broadcast::HTTP::http($port, $method, $path,
        (defined $body ? (body => $body) : ()),
        headers => [ Authorization => 'Bearer '
                     . rest_token($key, 'http://localhost'
                                        . $path =~ s/\?.*//r) ]);
}

sub client {
    my ($hub, $user) = @_;

    my $client = Broadcast::Hub->connect($port, "/client?hub=$hub",
        token => client_token($key, $hub, sub => $user));
    die $client->{error} if $client->{error};
    return $client;
}

sub names {
    my ($hub, $rest, $name) = @_;
    return join ' ', sort map { $_->{$name} }
                     @{ rest($hub, 'GET', $rest)->{json}{value} };
}

ok((wait_for { Broadcast::HTTP::http($port, 'GET', '/status')
               ->{json}{database}{relay} eq 'leader' } 30),
   'the instance numbers');

for my $hub (qw(quick slow)) {
    my $kind = $hub eq 'quick' ? 'ephemeral' : 'durable';
    my %wrong;

    my $look = sub {
        my ($name, $got, $expected) = @_;
        push @{ $wrong{$name} }, "$got for $expected" if $got ne $expected;
    };

    my $ann = client($hub, 'ann');
    my $id = $ann->{id};

    for my $i (1 .. $rounds) {
        my $user = client($hub, "user$i");

        $look->('who has connected is in the list',
                scalar(names($hub, 'connections', 'connectionId')
                       =~ /\Q$user->{id}/), 1);

        # a connection

        $look->('a PUT is 200', rest($hub, 'PUT',
                "groups/g$i/connections/$id")->{status}, 200);
        $look->('its group is there behind it',
                rest($hub, 'HEAD', "groups/g$i")->{status}, 200);
        $look->('... and its user in it',
                rest($hub, 'HEAD', "groups/g$i/users/ann")->{status}, 200);
        $look->('... and it is in the list',
                names($hub, "groups/g$i/connections", 'connectionId'), $id);
        $look->('... and the group is',
                scalar grep({ $_ eq "g$i" }
                            split / /, names($hub, 'groups', 'name')), 1);

        $look->('a DELETE is 200', rest($hub, 'DELETE',
                "groups/g$i/connections/$id")->{status}, 200);
        $look->('its group is gone behind it',
                rest($hub, 'HEAD', "groups/g$i")->{status}, 404);
        $look->('... and from the list',
                scalar grep({ $_ eq "g$i" }
                            split / /, names($hub, 'groups', 'name')), 0);

        # a user

        $look->('a PUT of a user is 202', rest($hub, 'PUT',
                "groups/g$i/users/user$i")->{status}, 202);
        $look->('the user is in the group behind it',
                rest($hub, 'HEAD', "groups/g$i/users/user$i")->{status}, 200);
        $look->('... and the connection is', names($hub,
                "groups/g$i/connections", 'connectionId'), $user->{id});

        $look->('a DELETE of a user is 202', rest($hub, 'DELETE',
                "groups/g$i/users/user$i")->{status}, 202);
        $look->('the user is not in it behind that',
                rest($hub, 'HEAD', "groups/g$i/users/user$i")->{status}, 404);

        # commands together

        $look->('commands are 202', rest($hub, 'POST',
                ":execute?filter=userId%20eq%20'user$i'",
                '[{"type":"JoinGroup","group":"e"}]')->{status}, 202);
        $look->('a group that they name is there behind them',
                rest($hub, 'HEAD', 'groups/e')->{status}, 200);

        $user->drop;
        $user = undef;
    }

    for my $name ('who has connected is in the list', 'a PUT is 200',
        'its group is there behind it', '... and its user in it',
        '... and it is in the list', '... and the group is', 'a DELETE is 200',
        'its group is gone behind it', '... and from the list',
        'a PUT of a user is 202', 'the user is in the group behind it',
        '... and the connection is', 'a DELETE of a user is 202',
        'the user is not in it behind that', 'commands are 202',
        'a group that they name is there behind them')
    {
        is_deeply($wrong{$name} // [], [], "$kind: $name");
    }
}


# --- while the function `connected` runs --------------------------------------

my $new = client('greeted', 'new');

is(rest('greeted', 'PUT', "groups/early/connections/$new->{id}")->{status},
   200, 'a PUT of a connection whose function still runs');
is(names('greeted', 'groups/early/connections', 'connectionId'), $new->{id},
   '... and it is in the list');


# --- a worker that stands still holds nobody up for ever ---------------------

my $ann = client('quick', 'ann');

# those that were here before may not be gone yet

my $other;

wait_for {
    ($other) = map { $_->{pid} } grep { $_->{connections} == 0 }
               @{ Broadcast::HTTP::http($port, 'GET', '/status')
                  ->{json}{workers} };
} or die "no worker without connections\n";

# connections to others, before that one gets any

my ($c, $gone) = map {
    Broadcast::HTTP::worker_at($port, '/pid', sub { $_[0] != $other })
} 1 .. 2;

my $path = "/api/v1/hubs/quick/groups/still/connections/$ann->{id}";
my @auth = (headers =>
    [ Authorization => 'Bearer ' . rest_token($key, "http://h$path") ]);

kill STOP => $other;

$c->request('PUT', $path, @auth);
is($c->head->{status}, 200, 'a PUT is answered while a worker stands still');

# its client is gone before that: the look at the others ends with the request

$gone->request('DELETE', $path, @auth);
$gone->close;

kill CONT => $other;

ok((wait_for { rest('quick', 'HEAD', 'groups/still')->{status} == 404 }),
   'a DELETE is carried out though nobody waits for its answer');


# --- what stands behind a command in the log ----------------------------------

# Workers that have no client of its hub are not woken for a message, and some
# stand behind the command here when its own worker, which was stopped, comes to
# look how far the others are.

my $slow = client('slow', 'ann');
my ($leader) = $nginx->error_log =~ /(\d+)#\d+: broadcast: this node's relay l/;

$_->drop for $new, $ann;

my $idle = wait_for {
    my ($worker) = grep { $_->{connections} == 0 && $_->{pid} != $leader }
                   @{ $nginx->status->{workers} };
    $worker && $worker->{pid};
};

my $its = Broadcast::HTTP::worker_at($port, '/pid', $idle);
my $ops = Broadcast::HTTP::worker_at($port, '/pid', $leader);
my $holder = $pg->session(db => 'app', user => 'app');
my @took;

sub starts {
    my ($at, $method, $path, @o) = @_;
    $at->request($method, $path, keepalive => 1, @o, headers =>
        [ 'Content-Type' => 'application/json', Authorization => 'Bearer '
          . rest_token($key, "http://h$path") ]);
}

sub ends {
    my ($at, $method) = @_;
    my $r = $at->head;
    $at->body($r, $method);
    return $r->{status};
}

for my $i (1 .. 5) {
    $holder->run('begin; select from broadcast.state for update');

    starts($its, 'PUT',
           "/api/v1/hubs/slow/groups/behind$i/connections/$slow->{id}");
    wait_for { $pg->psql('select count(*) from broadcast.staging',
                         db => 'app', user => 'app') > 0 };
    kill STOP => $idle;
    $holder->run('rollback');

    wait_for {
        starts($ops, 'HEAD', "/api/v1/hubs/slow/groups/behind$i");
        ends($ops, 'HEAD') == 200;
    };
    starts($ops, 'POST', '/api/v1/hubs/nobody/:send',
           body => '{"target":"t","arguments":[]}');
    ends($ops, 'POST');

    my $began = time;
    kill CONT => $idle;
    ends($its, 'PUT') == 200 or die "PUT\n";
    push @took, time - $began;
}

cmp_ok((sort { $a <=> $b } @took)[2], '<', 0.25,
       'messages behind a command do not hold its answer up');

$holder->close;
$nginx->stop_ok;
done_testing();
