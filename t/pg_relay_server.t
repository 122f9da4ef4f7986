#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# Which server the relay's session goes to: a standby is passed over and its
# name is not, a name is looked up for each connection, a pooler is seen.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::DNS;
use Broadcast::HTTP qw(http);
use Broadcast::Nginx qw(wait_for free_port);
use Broadcast::Pooler;
use Broadcast::Postgres;

my @at = (db => 'app', user => 'app');

# Both listen on the same port, at two addresses, as two machines do.

my $port_of_both = free_port();
my %tcp = (port => $port_of_both, conf => { hot_standby => 'on' });

my $pg = Broadcast::Postgres->new(%tcp,
    conf => { listen_addresses => '127.0.0.1', wal_level => 'replica' });

$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);
$pg->append('pg_hba.conf', 'host all all 127.0.0.0/8 trust');

my $standby = Broadcast::Postgres->new(stopped => 1, %tcp);

File::Path::remove_tree($standby->dir . '/data');
$standby->command('pg_basebackup', '-h', $pg->dir, '-p', $port_of_both,
                  '-U', 'postgres', '-R', '-c', 'fast', '-D',
                  $standby->dir . '/data') or die $standby->log;
$standby->append('postgresql.conf', "listen_addresses = '127.0.0.2'",
                 "unix_socket_directories = '" . $standby->dir . "'");
$standby->start;

my ($nginx, $port);

sub node {
    my ($conninfo, %o) = @_;

    $nginx = Broadcast::Nginx->new(
        workers => 2,
        http    => "broadcast_zone hubs 8m; broadcast_database \"$conninfo"
                 . ' dbname=app user=app" timeout=3s pool=1;'
                 . ($o{http} // ''),
        server  => <<'EOC')->start;
        location /publish/ { broadcast_publish; }
        location = /status { broadcast_status; }
EOC
    $port = $nginx->port;
}

sub database {
    return http($port, 'GET', '/status?format=json')->{json}{database};
}

sub publishes {
    my ($name, $seconds) = @_;

    ok((wait_for { http($port, 'POST', '/publish/chat', body => 'x', headers =>
            [ 'Content-Type' => 'text/plain' ])->{status} == 200 }
        $seconds // 15), $name) or diag(explain(database()));
}

my $d;


# --- a standby --------------------------------------------------------------

node("host=127.0.0.2 port=$port_of_both");

ok((wait_for { ($d = database())->{lost}{standby} >= 1 } 10),
   'a standby is passed over, which is counted');
is($d->{state}, 'down', '... the database is down');
is($d->{reason}, 'the server is a standby', '... for this reason');
is(database()->{server}, undef, '... no session stays there');
like($nginx->error_log, qr/database is away: the server is a standby/,
     '... the log says so');
like(http($port, 'GET', '/status?format=prometheus')->{body},
     qr/^nginx_broadcast_database_lost_total\{reason="standby"\} [1-9]/m,
     '... and a metric');
$nginx->stop_ok(signal => 'TERM');

node("host=127.0.0.2,127.0.0.1 port=$port_of_both");

publishes('of two hosts the one that is no standby is taken');
is(database()->{server}, "127.0.0.1:$port_of_both", '... which is told');
cmp_ok(database()->{lost}{standby}, '>=', 1, '... and that the other is one');
$nginx->stop_ok(signal => 'TERM');

node("host=127.0.0.2,127.0.0.1 port=$port_of_both"
     . ' target_session_attrs=read-write');

publishes('target_session_attrs does the same');
is(database()->{lost}{standby}, 0, '... libpq passes the standby over');
$nginx->stop_ok(signal => 'TERM');


# --- a pooler ---------------------------------------------------------------

SKIP: {
    skip 'pgbouncer is not installed', 10 if !Broadcast::Pooler->program;

    for my $case ([ session => qr/\[warn\].*a pooler is between/ ],
                  [ transaction => qr/\[error\].*a pooler gives this session/ ])
    {
        my ($mode, $line) = @$case;
        my $pooler = Broadcast::Pooler->new($pg, mode => $mode,
            conf => { min_pool_size => 5, server_round_robin => 1 });
        my $at = $pooler->port;

        node("host=127.0.0.1 port=$at");

        ok((wait_for { (($d = database())->{pooler} // '') eq $mode } 20),
           "a pooler in $mode mode is seen")
            or diag(explain(database()));
        like($nginx->error_log, $line, '... the log says so');

        # whenever there is a session

        ok((wait_for { http($port, 'GET', '/status?format=prometheus')->{body}
                =~ /^nginx_broadcast_database_pooler\{mode="$mode"\} 1$/m }),
           '... and a metric');

        if ($mode eq 'session') {
            ok((wait_for { database()->{listening} } 10),
               '... it keeps the session, so it listens');
        }

        $nginx->stop_ok(signal => 'TERM');

        $pooler->stop;
    }
}


# --- a name that moves ------------------------------------------------------

my $dns = Broadcast::DNS->new(name => 'db.test');

node("host=db.test port=$port_of_both",
     http => 'resolver 127.0.0.1:' . $dns->port . ' valid=1s;');

ok((wait_for { ($d = database())->{failures} >= 2 } 10),
   'a name that is not known at start');
like($d->{reason}, qr/"db\.test" could not be looked up/,
     '... is no address, which is said');

$dns->answer('127.0.0.2', '127.0.0.1');

publishes('it is known: no reload is needed, and the standby is passed over');
is(database()->{server}, "127.0.0.1:$port_of_both", '... which is told');

$pg->stop('immediate');
$standby->psql('select pg_promote()');
$dns->answer('127.0.0.2');

publishes('the standby was promoted, and the name names it', 20);
is(database()->{server}, "127.0.0.2:$port_of_both", '... which is told');

my $asked = $dns->queries;
sleep 2;
$standby->psql(q{select pg_terminate_backend(pid) from pg_stat_activity
                  where usename = 'app'});
publishes('sessions are made anew');
cmp_ok($dns->queries, '>', $asked, '... each looks the name up again');

$nginx->stop_ok(signal => 'TERM');

done_testing();
