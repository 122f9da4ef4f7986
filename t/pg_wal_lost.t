#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# A slot that is lost while the relay has read more than was numbered: what is
# left of it was sent before all that is staged from then on, and must not come
# behind that.  Locks hold the relay's session where this can happen.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::Nginx qw(wait_for);
use Broadcast::Postgres;
use Broadcast::SSE;

my $pg = Broadcast::Postgres->new(conf => { wal_level => 'logical' });
$pg->createdb('app', 'app');
$pg->psql('alter role app replication');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", db => 'app', user => 'app');

my @at = (db => 'app', user => 'app');

sub sql { return $pg->psql($_[0], @at) }

sub send_ {
    return join '', map "select broadcast.send_all('chat', '$_', '[]');\n", @_;
}

my $nginx = Broadcast::Nginx->new(
    workers => 1,
    http    => 'broadcast_zone hubs 8m; broadcast_database "'
             . $pg->conninfo('app', 'app') . '" timeout=20s;'
             . 'broadcast_source wal;',
    server  => <<'EOC')->start;
        location /events/  { broadcast_events anonymous; }
        location = /status { broadcast_status; }
EOC

ok((wait_for { $nginx->database->{source} eq 'wal' }),
   'the relay reads the WAL')
    or diag($nginx->tail);

my $sse = Broadcast::SSE->connect($nginx->port, '/events/chat');

sql(send_('before'));
is($sse->event->{event}, 'before', '... and what is sent comes');

# The plan finds a cursor that the slot is beyond, as in a database that was put
# back, and waits for the first lock; a new history waits for the second.

my ($source, $state) = ($pg->session(@at), $pg->session(@at));

$source->run(q{begin; select from broadcast.setting where name = 'source'
                         for update});
$state->run('begin; select from broadcast.state for update');

ok((wait_for {
    sql(q{select count(*) from pg_stat_activity
           where wait_event_type = 'Lock' and pid <> pg_backend_pid()
             and query like '%broadcast.wal_plan(%'})
    or sql(q{delete from broadcast.wal_cursor;
             insert into broadcast.wal_cursor (lsn, n) values ('0/1', 0);
             select null})
}), 'the slot counts as lost, of which nobody knows yet')
    or diag($nginx->tail);

my $left = sql(send_(map "left$_", 1 .. 5) . 'select pg_current_wal_lsn()');
($left) = $left =~ /(\S+)\s*\z/;

ok((wait_for {
    $pg->psql("select count(*) from pg_stat_replication
                where write_lsn >= '$left'")
}), 'what was sent meanwhile was read')
    or diag($nginx->tail);

$source->run('commit');

ok((wait_for { sql(q{select value = 'outbox' from broadcast.setting
                      where name = 'source'}) eq 't' }),
   'sends go to the staging table');
sql(send_('since'));
$state->run('commit');
$_->close for $source, $state;

ok((wait_for { sql(q{select value = 'wal' from broadcast.setting
                      where name = 'source'}) eq 't' }),
   '... and through another slot at last')
    or diag($nginx->tail);

sql(send_('after'));

my @came = ('before');

while (my $event = $sse->event) {
    push @came, $event->{event};
    last if $event->{event} eq 'after';
}

is(join(' ', grep { $_ ne 'broadcast.gap' } @came), 'before since after',
   'what is left of the slot comes neither late nor behind what was sent since');
is(scalar(grep { $_ eq 'broadcast.gap' } @came), 1, '... a gap tells of it');
is(sql(q{select string_agg(target, ' ' order by pos) from broadcast.message
          where type = 1}), 'before since after', '... so does the history');

undef $sse;
$nginx->stop_ok;

done_testing();
