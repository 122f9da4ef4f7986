#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# The schema is installed again and again while two nodes number, publish, tick
# and keep their connections.  What they hold and want in the order of their
# statements, an installation takes in the order of its file: without its first
# step some of the rounds end with "deadlock detected", there or in a relay,
# whose clients are told that the database is away.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::Cluster;
use Broadcast::HTTP qw(http);
use Broadcast::Nginx qw(wait_for);
use Broadcast::Wait qw(slurp);

use constant ROUNDS => 12;

my $schema = slurp("$FindBin::Bin/../sql/broadcast.sql");

# the server looks for a deadlock early: whoever does, is the one that fails

my $cluster = Broadcast::Cluster->new(
    nodes => 2, workers => 1, timeout => '20s',
    conf  => { deadlock_timeout => '100ms' },
    http  => 'broadcast_queue 8m;',
    sql   => q{
        create table ticks (n serial);
        create function tick(event jsonb) returns jsonb language plpgsql as $$
        begin
            insert into ticks default values;
            perform broadcast.send_all('chat', 'tick', '[]');
            return null;
        end $$;
        select broadcast.bind('timer', 'tick', every => '1 second')});

my ($one, $two) = $cluster->nodes;
my $pg = $cluster->pg;
my @at = (db => 'app', user => 'app');

sub words {
    my ($client, $n) = @_;
    my @words;

    while (@words < $n) {
        my $message = eval { $client->next(30) } or last;
        next unless ($message->{target} // '') eq 'm';
        push @words, @{ $message->{arguments} };
    }

    return "@words";
}


# --- beside relays that work --------------------------------------------------

my @clients = map { $cluster->plain($_, 'ann') } $one, $two;
my $publisher = $cluster->publisher($one, $two);
my ($failed, @coming) = (0);

for my $n (1 .. ROUNDS) {
    my ($ok, $words) = $pg->try($schema, @at);

    $failed++ unless $ok;
    diag($words) unless $ok;

    # connections come and go meanwhile

    push @coming, $cluster->plain($n % 2 ? $one : $two, "user$n");
    shift @coming if @coming > 3;
}

ok(wait_for(sub { $publisher->so_far >= ROUNDS }), 'messages are published');

my @kept = $publisher->stop;

is($failed, 0, 'each of ' . ROUNDS . ' installations goes through');
unlike($pg->log, qr/deadlock detected/, '... nobody ends in a deadlock');
is("@kept", join(' ', map { "w$_" } 1 .. @kept), '... no publish fails');

for my $i (0, 1) {
    is(words($clients[$i], scalar @kept), "@kept",
       '... a client of node ' . ($i + 1) . ' has all of them, in their order');
}

@coming = @clients = ();


# --- behind a transaction that stays open -------------------------------------

sub waits {
    return $pg->psql(q{select count(*) from pg_stat_activity
                        where usename = 'app' and datname = 'app'
                          and query like '%LOCK TABLE%'
                          and pid <> pg_backend_pid()}) > 0;
}

# An installation that has begun; its process, and a file of what it says.

sub begun {
    my $out = File::Temp->new;
    my $pid = fork() // die "fork: $!\n";

    if ($pid == 0) {
        Broadcast::Wait::alone(fileno $out);
        my ($ok, $words) = $pg->try($schema, @at);
        print $out $ok ? 'through' : "failed: $words";
        $out->flush;
        POSIX::_exit(0);
    }

    return [ $pid, $out ];
}

sub ended {
    my ($pid, $out) = @{ $_[0] };

    Broadcast::Wait::reap($pid, 60) or do { kill 'KILL', $pid; waitpid $pid, 0 };
    return slurp("$out");
}

my $open = $pg->session(@at);
$open->run(q{begin; select broadcast.send_all('chat', 'open', '[]')});

my $installing = begun();
ok(wait_for(\&waits), 'an installation waits for a transaction that has sent');

is(join(' ', map { $cluster->publish($_, 'x', timeout => 20)->{status} }
                 ($one, $two) x 3),
   '200 200 200 200 200 200', '... no publish does');
ok(waits(), '... while it waits still');

# what it has used is not all that it will use

is($open->run(q{select count(*) > 0 from broadcast.setting;
                select from broadcast.hub for update;
                select broadcast.add_to_group('chat', 'g', "user" => 'ann');
                select count(*) >= 0 from broadcast.connections;
                select count(*) >= 0 from broadcast.message;
                commit; select 'committed'}) =~ /committed\z/ ? 1 : 0, 1,
   'what it wants besides, it gets');
is(ended($installing), 'through', '... and the installation goes through');
unlike($pg->log, qr/deadlock detected/, '... neither ends in a deadlock');


# --- an older version that is installed ---------------------------------------

# The tables are those that are there, not those that this file knows: so are
# the ones that a relay of another version holds.

$cluster->sql('create table broadcast.older (n int)');
$open->run('begin; insert into broadcast.older values (1)');

$installing = begun();
ok(wait_for(\&waits), 'one waits for a table of another version, too');

$open->run('rollback');
is(ended($installing), 'through', '... and goes through');
$open->close;

is(join(' ', map { $cluster->publish($_, 'y')->{status} } $one, $two),
   '200 200', 'both nodes go on');
$cluster->sql('drop table broadcast.older');

$_->stop_ok(signal => 'TERM') for $one, $two;

done_testing();
