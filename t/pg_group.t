#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# Groups of users with a database: broadcast.membership has them, every node
# has the same, and a node that starts anew has them before its first client,
# or, where a location does not wait, tells its clients when it has them.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use POSIX ();
use Test::More;

use Broadcast::HTTP qw(http);
use Broadcast::Hub;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Postgres;
use Broadcast::Token qw(client_token);

my $key = '0123456789abcdef0123456789abcdef';
my $pg = Broadcast::Postgres->new;
my @at = (db => 'app', user => 'app');

$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);

sub node {
    return Broadcast::Nginx->new(
        workers => 2,
        http    => "broadcast_zone hubs 8m; broadcast_key $key;"
                 . 'broadcast_drain off; broadcast_ephemeral quick;'
                 . 'broadcast_database "' . $pg->conninfo('app', 'app')
                 . '" timeout=10s;',
        server  => <<'EOS')->start;
        location /client   { broadcast_hub; }
        location /free     { broadcast_hub nofunctions; }
        location /publish/ { broadcast_publish; }
        location /api/     { broadcast_api open; }
        location = /status { broadcast_status json; }
EOS
}


sub database { http($_[0]->port, 'GET', '/status')->{json}{database} }

sub up {
    my ($nginx, $name) = @_;

    ok((wait_for { database($nginx)->{state} eq 'up' } 15), $name);
}


sub rest {
    my ($nginx, $method, $path, $hub) = @_;

    $hub //= 'chat';
    $path .= ($path =~ /\?/ ? '&' : '?') . 'api-version=2024-12-01';

    return http($nginx->port, $method, "/api/hubs/$hub/$path")->{status};
}


sub hub {
    my ($nginx, $user, %o) = @_;
    my $hub = $o{hub} // 'chat';

    $hub = Broadcast::Hub->connect($nginx->port,
        ($o{path} // '/client') . "?hub=$hub",
        token => client_token($key, $hub, sub => $user));
    $hub->{error} and fail("$user connects"), diag $hub->{error};

    return $hub;
}


sub sql {
    my ($words) = @_;
    return $pg->psql($words, @at);
}


# What it gets until the message that everybody gets now, in order.

my $round = 0;

sub got {
    my ($hub, $of) = @_;
    my (@words, $record);

    $of //= 'chat';
    $round++;
    sql("select broadcast.send_all('$of', 'end$round', '[]')");

    while ($record = $hub->next) {
        last if $record->{type} == 7;
        next if $record->{type} != 1;
        return join ' ', @words if $record->{target} eq "end$round";
        push @words, $record->{arguments}[0]
            unless $record->{target} =~ /^end/;
    }

    return join ' ', @words, 'closed';
}

sub say_to {
    my ($group, $hub) = @_;
    $hub //= 'chat';
    sql("select broadcast.send_group('$hub', '$group', 't', '[\"$group\"]')");
}


# Those of the groups that a new connection of the user at this node is in; it
# is the zone that says so, whoever answers questions.

sub groups_at {
    my ($nginx, $user, @groups) = @_;
    my $hub = hub($nginx, $user);

    say_to($_) for @groups;
    my $got = got($hub);
    $hub->drop;

    return $got;
}

my $one = node();
my $two = node();

up($_, 'a node has the database') for $one, $two;

# --- from REST and from SQL, on both nodes ------------------------------------

my $early = hub($two, 'ann');

is rest($one, 'PUT', 'users/ann/groups/rest'), 200,
   'a user joins a group by REST';
ok((wait_for {
    sql('select hub, user_id, grp, lasting from broadcast.membership')
        eq 'chat|ann|rest|t'
}), '... which the database keeps');

say_to('rest');
is got($early), 'rest', 'a connection at another node is in the group';
is got(hub($one, 'ann')), '', '... and one that comes after a message has '
                              . 'none of it';

sql(q{begin;
    select broadcast.add_to_group('chat', 'sql', "user" => 'ann',
                                  ttl => '10 min');
    select broadcast.send_group('chat', 'sql', 't', '["first"]');
    select broadcast.add_to_group('chat', 'now', "user" => 'ann',
                                  ttl => '0 s');
    select broadcast.remove_from_group('chat', 'sql', "user" => 'bob');
    select broadcast.send_group('chat', 'now', 't', '["second"]');
    select broadcast.remove_from_group('chat', 'now', "user" => 'ann');
    select broadcast.send_group('chat', 'now', 't', '["third"]');
    commit});
is got($early), 'first second',
   'groups and messages of one transaction keep their order';

for my $nginx ($one, $two) {
    my $late = hub($nginx, 'ann');
    say_to($_) for 'rest', 'sql', 'now';
    is got($late), 'rest sql', 'who connects later is in the groups that last';
    $late->drop;
}

got($early);
rest($one, 'PUT', 'users/ann/groups/left');
rest($one, 'DELETE', 'users/ann/groups/left');
rest($one, 'PUT', 'users/bob/groups/gone');
rest($two, 'DELETE', 'users/bob/groups');
rest($one, 'PUT', 'users/eve/groups/short?ttl=1');
sql(q{select broadcast.add_to_group('chat', 'own', "user" => 'carl')});
rest($one, 'PUT', 'users/ann/groups/zone', 'quick');
say_to('left');
is got($early), '', 'a user who left is out at every node';

my $quick = hub($one, 'ann', hub => 'quick');
say_to('zone', 'quick');
is got($quick, 'quick'), 'zone',
   'a hub that is ephemeral has the groups of its own node';
$quick->drop;


# --- any changes, anywhere: all have the same ---------------------------------

# A third node starts in the middle of them.

srand 7;

my (@all, $third) = ($one, $two);
my @users = map { "x$_" } 1 .. 3;
my @groups = map { "y$_" } 1 .. 6;

for my $step (1 .. 240) {
    my $user = $users[rand @users];
    my $group = $groups[rand @groups];
    my $node = $all[rand @all];
    my $what = int rand 12;

    $third = node(), push @all, $third if $step == 120;

    if ($what < 5) {
        my $ttl = ('', '?ttl=0', '?ttl=600')[rand 3];
        rest($node, 'PUT', "users/$user/groups/$group$ttl");

    } elsif ($what < 7) {
        sql("select broadcast.add_to_group('chat', '$group',"
            . " \"user\" => '$user')");

    } elsif ($what < 9) {
        sql("select broadcast.remove_from_group('chat', '$group',"
            . " \"user\" => '$user')");

    } elsif ($what < 11) {
        rest($node, 'DELETE', "users/$user/groups/$group");

    } else {
        rest($node, 'DELETE', "users/$user/groups");
    }
}

# a message behind them is everywhere, so they are

for my $node (@all) {
    got(hub($node, 'x0'));

    is groups_at($node, $_, @groups),
       sql("select string_agg(grp, ' ' order by grp)
              from broadcast.membership where user_id = '$_'"),
       "240 random changes left $_ in the groups of broadcast.membership"
        for @users;
}

$third->stop_ok;


# --- a node that starts anew --------------------------------------------------

# while the relay that numbers is killed, too

my ($leader) = grep { database($_)->{relay} eq 'leader' } $one, $two;
my $other = $leader == $one ? $two : $one;

$early->drop if $other == $one;
$leader->kill_worker($_) for $leader->workers;
$leader->stop_ok;
$early->drop;

ok((wait_for { database($other)->{relay} eq 'leader' } 15),
   'the other node leads');

ok((wait_for {
    sql(q{select count(*) from broadcast.rules() where grp = 'short'}) == 0
} 10), 'a rule of a second is over');

my $anew = node();
my $ann = hub($anew, 'ann');
my $bob = hub($anew, 'bob');
my $carl = hub($anew, 'carl');

is groups_at($anew, 'eve', 'short'), '', '... and does not come back';
say_to($_) for 'rest', 'sql', 'now', 'left', 'gone', 'own';
is got($ann), 'rest sql', 'the first client of a new zone is in its groups';
is got($bob), '', '... and not in those that were taken back';
is got($carl), 'own', '... and another in its own';

ok($anew->reload, 'it is reloaded');
my $after = hub($anew, 'ann');
say_to($_) for 'rest', 'sql';
is got($after), 'rest sql', '... and has them still';

$_->drop for $ann, $bob, $carl, $after;
$_->stop_ok for $anew, $other;


# --- more than a page of them -------------------------------------------------

sql(q{insert into broadcast.membership
      select 'chat', 'u' || i, 'many', clock_timestamp() + interval '1 h',
             false, i from generate_series(1, 2500) i});

$one = node();
up($one, 'a node with 2500 rules in the database');
is join(' ', map { groups_at($one, "u$_", 'many') } 1, 1000, 1001, 2000, 2001,
                                                    2500),
   'many many many many many many', 'has all of them';


# --- a node that was away for too long ----------------------------------------

my @super = (db => 'app', user => 'postgres');

$pg->psql(q{alter role app nologin;
    select pg_terminate_backend(pid) from pg_stat_activity
     where usename = 'app'}, @super);
ok((wait_for { database($one)->{state} eq 'down' } 15),
   'a node has lost the database');

$pg->psql(q{select broadcast.add_to_group('chat', 'aged', "user" => 'u3');
    select broadcast.remove_from_group('chat', 'many', "user" => 'u4');
    select broadcast.sequence(500);
    delete from broadcast.message;
    alter role app login}, @super);
up($one, '... and has it again, but not all that was numbered meanwhile');
is groups_at($one, 'u3', 'aged', 'many'), 'aged many',
   'the rules are those of the database';
is groups_at($one, 'u4', 'aged', 'many'), '', '... all of them';


# --- an older state of the database is put back -------------------------------

$ann = hub($one, 'ann');
sql(q{begin;
      do $$ declare h bigint := broadcast.head() - 3;
      begin
          delete from broadcast.message;
          update broadcast.state set head = 0;
          update broadcast.upkept set head = h;
      end $$;
      update broadcast.membership set user_id = 'dan'
       where user_id = 'u7';
      delete from broadcast.membership where user_id = 'u8';
      commit});

ok((wait_for { $one->error_log =~ /its hubs begin anew/ } 15),
   'the hubs begin anew');
up($one, '... and the database is up again');
ok((wait_for { groups_at($one, 'dan', 'many') eq 'many' } 15),
   'the rules are those of then');
is groups_at($one, 'u8', 'many'), '', '... without those that came later';
is rest($one, 'PUT', 'users/dan/groups/next'), 200, 'they can be changed';
ok((wait_for { groups_at($one, 'dan', 'many', 'next') eq 'many next' }),
   '... in this zone, too');
$ann->drop;
$one->stop_ok;


# --- the database is away when a node starts ----------------------------------

$pg->stop;
$one = node();

my $free = hub($one, 'ann', path => '/free');
is $free->{error}, undef,
   'a location without functions does not wait for the database';

my $child = open(my $waits, '-|') // die "fork: $!";

if ($child == 0) {
    my $hub = hub($one, 'ann');
    my $record;

    $| = 1;
    print 'connected ', $hub->{error} // 'well', "\n";

    while ($record = $hub->next) {
        next if $record->{type} != 1;
        print "$record->{arguments}[0]\n";
        last if $record->{arguments}[0] eq 'sql';
    }

    POSIX::_exit(0);
}

$pg->start;
up($one, 'the database comes');
is scalar(<$waits>), "connected well\n", 'the other has waited for it';

say_to($_) for 'rest', 'sql';
is join('', <$waits>), "rest\nsql\n", '... and is in its groups';
is got($free), 'rest sql', 'and so is the one that did not wait';

$free->drop;
$one->stop_ok;

done_testing();
