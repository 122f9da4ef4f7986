#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# What the leader numbers comes back by the same call, and is read again where
# it does not follow what is known: the answer did not come, somebody else has
# numbered, it was more than a page, or the schema has no such call.  Two nodes,
# one of which follows: whatever happens, both get everything, once and in order.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::Nginx qw(wait_for);
use Broadcast::Postgres;
use Broadcast::SSE;

my $pg = Broadcast::Postgres->new;
my @at = (db => 'app', user => 'app');

$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);

my @nodes = map { Broadcast::Nginx->new(
    workers => 1,
    http    => 'broadcast_zone hubs 64m; broadcast_queue 16m;'
               . ' broadcast_database "'
               . $pg->conninfo('app', 'app') . '" timeout=60s;',
    server  => <<'EOC')->start } 1, 2;
        location /events/  { broadcast_events anonymous; }
        location = /status { broadcast_status; }
EOC

# A session that goes shows in the log, as it should.

$_->allow(qr/database is away/) for @nodes;

ok((wait_for { my $n = grep { $_->database->{relay} eq 'leader' } @nodes;
               my $up = grep { $_->database->{state} eq 'up' } @nodes;
               $n == 1 && $up == 2 }), 'one of two nodes leads');

my @clients = map { Broadcast::SSE->connect($_->port, '/events/chat') } @nodes;
my $sent = 0;

# The next one: its number alone, or with so many bytes behind it.

sub words { return 'm' . ++$sent }

sub send_sql {
    my ($words, $bytes) = @_;

    return "select broadcast.send_all('chat', 'm', json_build_array('$words'"
         . ($bytes ? ", repeat('x', $bytes)" : '') . ')::jsonb);';
}

sub say_it { $pg->psql(send_sql(words()), @at) }

# All that was sent since the last time, at both nodes, and nothing else.

my $had = 0;
my @last = (0, 0);

sub all_have {
    my ($name) = @_;
    my @wrong;

    for my $i (0, 1) {
        for my $n ($had + 1 .. $sent) {
            my $event = $clients[$i]->event(60);

            if (!$event) {
                push @wrong, "node $i: m$n did not come";
                last;
            }

            my ($words) = $event->{data} =~ /^\["(\w+)"/;
            my ($seq) = $event->{id} =~ /-(\d+)$/;

            push @wrong, "node $i: $event->{event} $words for m$n"
                if ($words // '') ne "m$n";
            push @wrong, "node $i: number $seq behind $last[$i]"
                if $last[$i] && $seq != $last[$i] + 1;

            $last[$i] = $seq;
        }
    }

    $had = $sent;
    is(join('; ', @wrong), '', $name);
}

sub leader {
    return $pg->psql(q{select l.pid from pg_locks l
                        where l.locktype = 'advisory' and l.granted
                          and l.objid = hashtext('broadcast.relay')::oid
                          and l.database = (select oid from pg_database
                                             where datname = 'app')});
}

sub definition {
    return $pg->psql("select pg_get_functiondef('broadcast.$_[0]'"
                     . '::regprocedure)', @at);
}


# --- the call that numbers gives back ---------------------------------------

for (1 .. 4) {
    say_it();
    all_have("message $_ alone");
}

# The follower needs read(), and gets nothing until it is back.

my $read = definition('read(bigint, int)');
my $nothing = $read =~ s/LIMIT \$2/LIMIT 0/r;

$pg->psql($nothing, @at);

my $first = $nodes[0]->database->{relay} eq 'leader' ? 0 : 1;

for (1 .. 3) {
    my $words = words();
    $pg->psql(send_sql($words), @at);
    my $event = $clients[$first]->event(60);
    like($event && $event->{data}, qr/^\["$words"\]/,
         'the leader reads what it has numbered by no other call');
    ($last[$first]) = $event->{id} =~ /-(\d+)$/ if $event;
}

$pg->psql($read, @at);

for ($had + 1 .. $sent) {
    my $event = $clients[1 - $first]->event(60);
    like($event && $event->{data}, qr/^\["m$_"\]/, '... and who follows reads');
    ($last[1 - $first]) = $event->{id} =~ /-(\d+)$/ if $event;
}

$had = $sent;


# --- numbered by somebody else ----------------------------------------------

# What another session numbers is committed while the relay waits for the lock
# with the next one: so its answer does not follow what it has.

my $other = $pg->session(@at);

for (1 .. 2) {
    $other->run('begin');
    $other->run(send_sql(words()));
    is($other->run('select broadcast.sequence(500)'), 1,
       'another session numbers');

    say_it();

    ok((wait_for { $pg->psql(q{select count(*) from pg_stat_activity
                                where wait_event_type = 'Lock'
                                  and query ~ 'sequence_read'}) }),
       '... the relay waits for it');
    $other->run('commit');
    all_have('... and has both, in order');
}


# --- more than a batch, more than a page ------------------------------------

$pg->psql(join('', 'begin;', (map { send_sql(words()) } 1 .. 1200), 'commit;'),
          @at);
all_have('1200 in one transaction, of 500 in one call');

$pg->psql(join('', 'begin;', (map { send_sql(words(), 500_000) } 1 .. 9),
               'commit;'), @at);
all_have('4.5 MB of large ones, of 4 MB in one call');

$pg->psql(join('', 'begin;', (map { send_sql(words(), 9000) } 1 .. 499),
               'commit;'), @at);
all_have('as much of those that are just too large for the short way');

say_it();
all_have('... and a small one');


# --- the answer does not come -----------------------------------------------

# A commit that waits for a standby, which there is not, is durable and seen by
# nobody.  Whose session is ended then was committed, and is not told so.

sub standby {
    my ($name) = @_;

    $pg->psql("alter system set synchronous_standby_names = '$name'");
    $pg->psql('select pg_reload_conf()');
}

sub stands { $pg->psql("select count(*) from pg_stat_activity
                         where wait_event = 'SyncRep' and query ~ '$_[0]'") }

for my $round (1, 2) {
    my $leads = leader();

    standby('nobody');

    # servers take the setting over when they come to it

    ok((wait_for {
            stands('sequence_read')
                || do { $pg->psql('set synchronous_commit = local;'
                                  . send_sql(words()), @at); 0 }
        }), 'a batch is numbered, and its commit is not confirmed');

    # those before it were

    my @quiet;

    for my $i (0, 1) {
        while (my $event = eval { $clients[$i]->event(0.5) }) {
            push @{$quiet[$i]}, $event;
        }
    }

    ok(scalar(@{$quiet[$_] // []}) < $sent - $had,
       '... nobody has it') for 0, 1;

    # what has come is put back

    for my $i (0, 1) {
        my $text = join '', map { "id: $_->{id}\nevent: $_->{event}\n"
                                  . "data: $_->{data}\n\n" }
                                @{$quiet[$i] // []};
        $clients[$i]{stream} = $text . $clients[$i]{stream};
    }

    is($pg->psql("select pg_terminate_backend($leads)"), 't',
       '... its session is ended');
    ok((wait_for { !$pg->psql('select count(*) from pg_stat_activity'
                              . " where pid = $leads") }), '... and has gone');

    standby('');

    all_have('... and what it had numbered comes, once');
    ok((wait_for { leader() }), '... there is a leader again');

    say_it();
    all_have('... and the next one behind it');
}


# --- a schema without the call ----------------------------------------------

# The session that finds it missing is lost; the next one goes the old way.

$pg->psql('alter function broadcast.sequence(int) rename to sequence_old;'
          . 'alter function broadcast.sequence_read(int) rename to away', @at);
$pg->psql((definition('sequence_old(int)')
           =~ s/sequence_old/sequence/r =~ s/sequence_read/away/r), @at);

for (1 .. 3) {
    say_it();
    all_have('without that call the others are made');
}

ok(scalar(grep { $_->error_log =~ /the schema has no sequence_read\(\)/ }
               @nodes), '... and the log says so');

# at once: a relay that calls it in between has no session, and leads no more

$pg->psql('begin; drop function broadcast.sequence_old(int);'
          . 'alter function broadcast.away(int) rename to sequence_read;'
          . (definition('sequence(int)') =~ s/away/sequence_read/r)
          . '; commit', @at);

my $leads;

ok((wait_for { $leads = leader() }), 'it is there again, and a relay leads');
$pg->psql("select pg_terminate_backend($leads)");

for (1 .. 3) {
    say_it();
    all_have('a session that finds it again');
}


$_->stop_ok(signal => 'TERM') for @nodes;

done_testing();
