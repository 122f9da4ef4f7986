#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# A row trigger of a table tells a hub, or the group that a column names, of
# each change: of a change of that column both groups, and who is in both once.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::HTTP qw(http);
use Broadcast::Nginx qw(wait_for);
use Broadcast::Plain;
use Broadcast::Postgres;

my $pg = Broadcast::Postgres->new;
my @at = (db => 'app', user => 'app');

$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);

$pg->psql(<<'EOS', @at);
create table item (id int primary key, room text);
create trigger told after insert or update or delete on item
    for each row execute function broadcast.on_change('chat', 'item');
create table task (id int primary key, room text);
create trigger told after insert or update or delete on task
    for each row execute function broadcast.on_change('chat', 'task', 'room');
EOS

my $nginx = Broadcast::Nginx->new(
    workers => 2,
    http    => 'broadcast_zone hubs 8m; broadcast_drain off;'
             . 'broadcast_database "' . $pg->conninfo('app', 'app') . '";',
    server  => <<'EOS')->start;
    location /client   { broadcast_hub anonymous; }
    location /events/  { broadcast_events anonymous; }
    location = /status { broadcast_status json; }
EOS

ok((wait_for {
    http($nginx->port, 'GET', '/status')->{json}{database}{state} eq 'up'
} 15), 'the database is up');

sub member {
    my $plain = Broadcast::Plain->connect($nginx->port,
        '/events/chat?' . join '&', map { "group=$_" } @_);
    $plain->{error} and fail("@_ connects"), diag $plain->{error};
    return $plain;
}

# what it gets until all are told that the round is over

my $round = 0;

sub got {
    my ($plain) = @_;
    my @words;

    while (my $frame = $plain->next) {
        return join ' ', @words
            if $frame->{target} eq 'end' && $frame->{arguments}[0] == $round;
        next if $frame->{target} eq 'end';

        my $change = $frame->{arguments}[0];
        push @words, "$change->{table}:$change->{op}:"
            . join '>', map { $_ ? $_->{room} // '-' : () }
                        $change->{old}, $change->{new};
    }

    return join ' ', @words, 'closed';
}

sub sql {
    $round++;
    $pg->psql("begin; $_[0]; select broadcast.send_all('chat', 'end', '[$round]');"
              . 'commit', @at);
}

my ($a, $b, $both, $none) =
    (member('a'), member('b'), member('a', 'b'), member());
my @all = ($a, $b, $both, $none);

sql(q(insert into item values (1, 'x'); update item set room = null;
      delete from item));
is got($_), 'item:INSERT:x item:UPDATE:x>- item:DELETE:-', 'everybody'
    for @all;

sql(q(insert into task values (1, 'a'), (2, null)));
is got($a), 'task:INSERT:a', 'the members of the group';
is got($b), '', '... and no others';
is got($both), 'task:INSERT:a', '... whatever else they are in';
is got($none), '', '... least of all who is in none';

sql(q(update task set room = 'b' where id = 1));
is got($a), 'task:UPDATE:a>b', 'of a change of the group the old one';
is got($b), 'task:UPDATE:a>b', '... and the new one';
is got($both), 'task:UPDATE:a>b', '... and who is in both has it once';
is got($none), '', '... and others do not';

sql(q(update task set room = null where id = 1));
is got($a), '', 'out of all groups: no other one';
is got($b), 'task:UPDATE:b>-', '... but the old one';
is got($both), 'task:UPDATE:b>-', '... and it once';
got($none);

# the same from the log, and, at a node that starts anew, from the database

my $position = $pg->psql("select broadcast.position('chat')", @at);
chomp $position;
sql(q(update task set room = 'a' where id = 2;
      update task set room = 'b' where id = 2));
got($_) for @all;

sub resumed {
    my ($groups) = @_;
    my $plain = Broadcast::Plain->connect($nginx->port,
        "/events/chat?last_event_id=$position$groups");
    return got($plain);
}

for my $where ('the log', 'the database') {
    is resumed('&group=a'), 'task:UPDATE:->a task:UPDATE:a>b',
       "a resume from $where: the old group";
    is resumed('&group=b'), 'task:UPDATE:a>b', '... the new one';
    is resumed('&group=a&group=b'), 'task:UPDATE:->a task:UPDATE:a>b',
       '... both, once';
    is resumed(''), '', '... none';

    next if $where eq 'the database';

    $nginx->stop_ok(signal => 'TERM');
    $nginx->start;
    wait_for {
        http($nginx->port, 'GET', '/status')->{json}{database}{relay}
            eq 'leader'
    } 15;
}

$nginx->stop_ok(signal => 'TERM');

done_testing();
