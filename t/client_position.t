#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# The official client, EventSource and WebSocket load a state with its position
# and go on from there, while others commit and workers are killed, nginx starts
# with an empty zone, and the database restarts: every message exactly once.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use POSIX ();
use Test::More;
use Time::HiRes qw(sleep);

use Broadcast::HTTP qw(http);
use Broadcast::Nginx qw(wait_for);
use Broadcast::Node qw(program);
use Broadcast::Postgres;
use Broadcast::Wait qw(slurp);

my $pg = Broadcast::Postgres->new;
my @at = (db => 'app', user => 'app');

$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);

# A sender writes into a table what it sends; a page loads that table and the
# position in one statement, as README.md says, and is made as that says.

my $readme = slurp("$FindBin::Bin/../README.md");
my ($sql) = $readme =~ /```sql\n((?:(?!```).)*load_notes.*?)```/s;
my ($js) = $readme =~ /```js\n((?:(?!```).)*onreconnecting.*?)```/s;

$pg->psql(<<'EOS' . "$sql; select write_note() from generate_series(1, 20)", @at);
create table note (id bigint generated always as identity);

create function write_note() returns void language sql as $$
    with n as (insert into note default values returning *)
    select broadcast.send_all('notes', 'note', jsonb_build_array(to_jsonb(n)))
      from n
$$;
EOS

my $nginx = Broadcast::Nginx->new(
    workers => 2,
    http    => 'broadcast_zone hubs 4m; broadcast_key 0123456789abcdef;'
             . 'broadcast_database "' . $pg->conninfo('app', 'app') . '";',
    server  => <<'EOC')->start;
        location /client     { broadcast_hub anonymous; }
        location = /api/negotiate { broadcast_negotiate hub=notes
                                    url=$scheme://$http_host/client?hub=notes; }
        location /events/    { broadcast_events anonymous; }
        location /functions/ { broadcast_function; }
        location = /status   { broadcast_status json; }
EOC

my $port = $nginx->port;

sub up {
    wait_for { my $s = eval { http($port, 'GET', '/status')->{json} };
               $s && $s->{database}{relay} eq 'leader' } 20;
}

up() or BAIL_OUT('no leader');

# two that commit, each some 50 times a second, whatever happens

my $over = $nginx->dir . '/over';
my @writers;

for (1, 2) {
    my $pid = fork // die "fork: $!\n";
    push @writers, $pid and next if $pid;

    until (-e $over) {
        $pg->try('select write_note()', @at);
        sleep 0.01;
    }

    POSIX::_exit(0);
}

my %acts = (
    worker => sub {
        $nginx->kill_worker(($nginx->workers)[rand 2]);
        up();
        return 'a worker was killed';
    },
    zone => sub {
        $nginx->crash;
        $nginx->start;
        up();
        return 'nginx was killed, and started with a new zone';
    },
    database => sub {
        $pg->restart;
        up();
        return 'the database restarted';
    },
    both => sub {
        $nginx->crash;
        $pg->crash;
        $nginx->start;
        sleep 0.5;
        $pg->start;
        up();
        return 'both crashed';
    },
    reload => sub {
        $nginx->reload;
        up();
        return 'nginx was reloaded';
    },
    end => sub {
        open my $f, '>', $over;
        close $f;
        waitpid $_, 0 for @writers;

        wait_for { $pg->psql(q{select (select count(*) from note)
            = (select count(*) from broadcast.message where hub = 'notes')},
            @at) eq 't' } 10;

        return order();
    },
    prune => sub {

        # nobody numbers while nginx is away: so the history can be gone before
        # a client comes back

        $nginx->crash;
        $pg->psql(q{select write_note() from generate_series(1, 30);
                    select broadcast.sequence(500);
                    delete from broadcast.message where seq <
                        (select max(seq) - 10 from broadcast.message
                          where hub = 'notes')}, @at);
        $nginx->start;
        up();
        return $pg->psql('select count(*) from note', @at);
    },
);

sub order {
    return $pg->psql(q{select json_agg(m.arguments->0->'id' order by m.seq)::text
        from broadcast.message m where m.hub = 'notes'}, @at);
}

local $ENV{PAGE} = $js;
local $ENV{BASE} = "http://127.0.0.1:$port";

program('position.mjs', %acts);

$nginx->stop_ok(signal => 'TERM');

done_testing();
