#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# Groups by connection and by user.  A connection's membership ends with it; a
# user's is a rule for connections that are there and for those to come, until
# it expires.  A change of groups has its place among the messages.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP;
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep);

use Broadcast::HTTP qw(http);
use Broadcast::Hub;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Plain;
use Broadcast::SSE;
use Broadcast::Token qw(client_token);

my $key = '0123456789abcdef0123456789abcdef';
my $server = <<'EOS';
        location /client   { broadcast_hub; }
        location /events/  { broadcast_events; }
        location /publish/ { broadcast_publish; }
        location /api/     { broadcast_api open; }
        location = /status { broadcast_status json; }
        location = /metric { broadcast_status prometheus; }
EOS

my $nginx = Broadcast::Nginx->new(
    workers => 4,
    http => "broadcast_zone hubs 8m; broadcast_key $key;",
    server => $server)->start;

my $port = $nginx->port;


sub rest {
    my ($method, $path, %o) = @_;

    $path .= ($path =~ /\?/ ? '&' : '?') . 'api-version=2024-12-01';

    return http($port, $method, "/api/hubs/chat/$path", %o);
}


sub rest_is {
    my ($method, $path, $status, $name) = @_;
    my $r = rest($method, $path);

    is $r->{status}, $status, $name or diag $r->{raw};
}


sub publish {
    my ($query, $word) = @_;

    my $r = http($port, 'POST', "/publish/chat?$query", body => $word // '',
                 headers => [ 'Content-Type' => 'text/plain' ]);
    $r->{status} == 200 or fail("published: $query"), diag $r->{raw};

    return $r->{json}{id};
}


sub hub {
    my ($user) = @_;

    my $hub = Broadcast::Hub->connect($port, '/client?hub=chat',
        token => client_token($key, 'chat', sub => $user));
    $hub->{error} and fail("$user connects"), diag $hub->{error};

    return $hub;
}


# What it gets until the message that everybody gets now, in order.

my $round = 0;

sub got {
    my ($hub) = @_;
    my (@words, $record);

    $round++;
    publish("target=end$round");

    while ($record = $hub->next) {
        last if $record->{type} == 7;
        next if $record->{type} != 1;
        return join ' ', @words if $record->{target} eq "end$round";
        push @words, $record->{arguments}[0]
            unless $record->{target} =~ /^end/;
    }

    return join ' ', @words, 'closed';
}


sub groups { http($port, 'GET', '/status')->{json}{hubs}{chat}{groups} }


# --- by connection ------------------------------------------------------------

my @ann = map { hub('ann') } 1 .. 6;
my $bob = hub('bob');

ok((wait_for {
    grep({ $_->{connections} } @{ http($port, 'GET', '/status')
                                  ->{json}{workers} }) > 1
}), 'clients sit in several workers');

rest_is('PUT', "groups/one/connections/$ann[0]{id}", 200,
        'a connection joins a group');
publish('group=one', 'a');
is got($ann[0]), 'a', 'it gets what is sent to it';
is got($ann[1]), '', 'another connection of the user does not';
rest_is('HEAD', 'groups/one', 200, 'the group exists');
rest_is('HEAD', 'users/ann/groups/one', 200, '... and its user is in it');
rest_is('HEAD', 'users/bob/groups/one', 404, '... and another is not');

rest_is('DELETE', "groups/one/connections/$ann[0]{id}", 200, 'it leaves');
publish('group=one', 'b');
is got($ann[0]), '', '... and gets nothing more';

rest('PUT', "groups/one/connections/$ann[0]{id}");
$ann[0]->close;
ok((wait_for { rest('HEAD', 'groups/one')->{status} == 404 }),
   'membership ends with the connection');
$ann[0] = hub('ann');
publish('group=one', 'c');
is got($ann[0]), '', '... and the next one has none of it';


# --- by user ------------------------------------------------------------------

rest_is('PUT', 'users/ann/groups/two', 200, 'a user joins a group');
publish('group=two', 'd');
is got($_), 'd', 'a connection of it gets what is sent to it' for @ann;
is got($bob), '', 'one of another user does not';
is groups(), 1, 'status counts the group';

my $late = hub('ann');
publish('group=two', 'e');
is got($late), 'e', 'a connection that comes later is in it';
$late->close;

rest_is('PUT', 'users/carl/groups/two', 200,
        'a user without a connection joins, too');
rest_is('HEAD', 'users/carl/groups/two', 200, '... and is in it');
rest_is('HEAD', 'users/carl', 404, '... though it is not there');

my $carl = hub('carl');
publish('group=two', 'f');
is got($carl), 'f', '... until it comes';

rest('PUT', 'users/dan/groups/three');
rest_is('HEAD', 'groups/three', 404, 'a group of rules alone is not there');

got($ann[1]);
rest_is('DELETE', 'users/ann/groups/two', 204, 'a user leaves a group');
publish('group=two', 'g');
is got($ann[1]), '', '... with its connections';
$late = hub('ann');
publish('group=two', 'h');
is got($late), '', '... and with those to come';
is got($carl), 'g h', '... and nobody else';
ok((wait_for { rest('HEAD', 'users/ann/groups/two')->{status} == 404 }),
   '... and is not in it any more');

rest('PUT', "users/ann/groups/$_") for 'four', 'five';
rest('PUT', "groups/own/connections/$late->{id}");
rest_is('DELETE', 'users/ann/groups', 204, 'a user leaves all groups');
publish("group=$_", $_) for 'four', 'five', 'own';
is got($late), '', '... also what a connection joined on its own';
$late->close;
$late = hub('ann');
publish("group=$_", $_) for 'four', 'five', 'own';
is got($late), '', '... also what later ones would join';


# --- ttl ----------------------------------------------------------------------

rest_is('PUT', 'users/ann/groups/now?ttl=0', 200, 'a ttl of 0');
publish('group=now', 'i');
is got($late), 'i', '... adds connections that are there';
$late->close;
$late = hub('ann');
publish('group=now', 'j');
is got($late), '', '... and none that come later';

my $eve = hub('eve');
rest('PUT', 'users/eve/groups/longer?ttl=1');
rest('PUT', 'users/eve/groups/longer?ttl=600');
rest('PUT', 'users/eve/groups/none?ttl=600');
rest('PUT', 'users/eve/groups/none?ttl=0');
rest('PUT', "users/$_/groups/short?ttl=4") for 'fay', 'eve';
rest_is('HEAD', 'users/fay/groups/short', 200, 'a ttl of some seconds');
my $second = hub('eve');
publish('group=short', 'k');
is got($second), 'k', '... holds for a connection that comes in time';

ok((wait_for { rest('HEAD', 'users/fay/groups/short')->{status} == 404 } 10),
   '... and then expires');
my $third = hub('eve');
publish("group=$_", $_) for 'short', 'longer', 'none';
is got($third), 'longer', 'later connections are in what was renewed';
is got($second), 'short longer', 'who has joined stays';
is got($eve), 'k short longer none', '... though the ttl is 0 by now';

rest_is('PUT', 'users/ann/groups/bad?ttl=x', 400, 'a ttl that is none is 400');


# --- the newest hundred -------------------------------------------------------

rest('PUT', 'users/gus/groups/timed?ttl=600');
rest('PUT', "users/gus/groups/h$_") for 1 .. 100;
rest('PUT', 'users/gus/groups/h1');
rest('PUT', 'users/gus/groups/h101');
rest_is('HEAD', 'users/gus/groups/h2', 404,
        'the 101st group makes the oldest go');

my $gus = hub('gus');
publish("group=h$_", $_) for 1 .. 101;
publish('group=timed', 'timed');
is got($gus), join(' ', 1, 3 .. 101, 'timed'),
   'a connection joins the newest hundred, and what has a ttl';
$gus->close;


# --- order --------------------------------------------------------------------

my $want = '';

for (1 .. 30) {
    rest('PUT', 'users/bob/groups/order');
    publish('group=order', "in$_");
    rest('DELETE', 'users/bob/groups/order');
    publish('group=order', "out$_");
    $want .= ($want ? ' ' : '') . "in$_";
}

is got($bob), $want, 'messages and changes of groups have one order';

# joins and connects at the same time: by the rule or by the record

my $child = fork() // die "fork: $!";

if ($child == 0) {
    rest('PUT', "users/r$_/groups/race") for 1 .. 60;
    POSIX::_exit(0);
}

my @racers = map { hub("r$_") } 1 .. 60;
waitpid $child, 0;
publish('group=race', 'run');
is join(' ', map { got($_) } @racers), join(' ', ('run') x 60),
   'no connect falls between the rule and its record';
$_->close for @racers;


# --- plain subscribers --------------------------------------------------------

my $before = publish('target=before');
rest('PUT', 'users/ida/groups/plain');
publish('group=plain', 'missed');
my $sse = Broadcast::SSE->connect($port,
    "/events/chat?last_event_id=$before", headers => [ Authorization =>
        'Bearer ' . client_token($key, 'chat', sub => 'ida') ]);
is $sse->event->{data}, '["missed"]',
   'what an event stream missed is replayed in the groups of its user';
publish('group=plain', 'live');
is $sse->event->{data}, '["live"]', '... and it goes on with them';

my $plain = Broadcast::Plain->connect($port, '/events/chat?group=more',
    token => client_token($key, 'chat', sub => 'ida', groups => ['more']));
publish("group=$_", $_) for 'plain', 'more';
is join(' ', map { $plain->next->{arguments}[0] } 1 .. 2), 'plain more',
   'a plain WebSocket has them beside those it asks for';
$_->close for $sse, $plain;


# --- a worker dies, nginx is reloaded -----------------------------------------

rest('PUT', 'users/ann/groups/kept');
ok((wait_for { rest('HEAD', 'groups/kept')->{status} == 200 }),
   'a group of several workers');

my %old = map { $_ => 1 } $nginx->workers;
$nginx->kill_worker($_) for (sort keys %old)[0, 1];
ok((wait_for { 2 == grep { !$old{$_} } $nginx->workers } 10),
   'two workers were killed and replaced');

my @again = map { hub('ann') } 1 .. 8;
publish('group=kept', 'l');
is got($_), 'l', 'a connection made after that is in the group' for @again;

$_->drop for @ann, @again, $late;
ok((wait_for { rest('HEAD', 'groups/kept')->{status} == 404 } 10),
   'nothing of the dead is left in the group');
rest_is('HEAD', 'users/ann/groups/kept', 200, '... but the rule');

ok($nginx->reload, 'nginx is reloaded');
my $new = hub('ann');
publish('group=kept', 'm');
is got($new), 'm', 'a new worker knows the rule';

$_->drop for $new, $bob, $carl, $eve, $second, $third;
$nginx->stop_ok;


# --- a zone that is full ------------------------------------------------------

$nginx = Broadcast::Nginx->new(
    http => "broadcast_zone hubs 1m; broadcast_key $key;",
    server => $server)->start;
$port = $nginx->port;

my ($n, $r) = (0);

do { $r = rest('PUT', "users/u$n/groups/g?ttl=3600") }
    while $r->{status} == 200 && $n++ < 2000;

is $r->{status}, 507, "a zone of 1m has no room for rule $n: 507";
cmp_ok $n, '>', 500, '... after some hundreds';
like $nginx->error_log, qr/\[error\].*has no room for the groups of a user/,
     '... and the log says so';
is http($port, 'GET', '/status')->{json}{zone}{rules}, $n,
   '... and the status how many there are';
like http($port, 'GET', '/metric')->{body},
     qr/^nginx_broadcast_user_groups\{state="used"\}\ $n\n
        nginx_broadcast_user_groups\{state="free"\}\ 0\n/mx,
     '... which are all';
rest_is('HEAD', 'users/u0/groups/g', 200, 'those that are there stay');
rest_is('HEAD', "users/u$n/groups/g", 404, 'the one too many is not');
rest_is('PUT', "users/u$n/groups/g?ttl=0", 200,
        'connections that are there can still join');

my $u0 = hub('u0');
rest_is('DELETE', 'users/u1/groups/g', 204, 'one goes');
rest_is('PUT', "users/u$n/groups/g", 200, '... and makes room');
publish('group=g', 'n');
is got($u0), 'n', 'clients go on';

$u0->drop;
$nginx->stop_ok;

done_testing();
