#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# Stateful reconnect with the official client, through a proxy that loses its
# connections; with one worker, and with four, where a socket that comes again
# mostly lands at another one, for JSON and for MessagePack.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP;
use Test::More;

use Broadcast::Nginx;
use Broadcast::Node qw(program);
use Broadcast::Postgres;

my $pg = Broadcast::Postgres->new;

my $schema = <<'EOS';
create table seen (n serial, name text, value jsonb);

create function note(event jsonb) returns jsonb language plpgsql as $$
begin
    insert into seen (name, value)
    values (event->'arguments'->>0, event->'arguments'->1);
    return jsonb_build_object('result', event->'arguments'->1);
end $$;

create function slow(event jsonb) returns jsonb language plpgsql as $$
begin
    perform pg_sleep(1);
    return jsonb_build_object('result', event->'arguments'->0);
end $$;

create function seen(event jsonb) returns jsonb language sql as $$
    select jsonb_build_object('body', coalesce(jsonb_agg(value order by n),
                                               '[]'))
    from seen where name = event->'query'->>'name'
$$;

create function shut(event jsonb) returns jsonb language plpgsql as $$
begin
    perform broadcast.close_connection('ends', event->'query'->>'id');
    return '{}';
end $$;

select broadcast.bind('message', 'note', hub, 'Note')
    from unnest('{flow,gap,small,sse}'::text[]) hub;
select broadcast.bind('message', 'slow', 'gap', 'Slow');
select broadcast.bind('http', 'seen');
select broadcast.bind('http', 'shut');
EOS

my (@nginx, @servers);

for ([ 1, 'json' ], [ 4, 'json' ], [ 4, 'messagepack' ]) {
    my ($workers, $protocol) = @$_;
    my $db = "app$workers$protocol";

    $pg->createdb($db, 'app');
    $pg->file("$FindBin::Bin/../sql/broadcast.sql", db => $db, user => 'app');
    $pg->psql($schema, db => $db, user => 'app');

    push @nginx, my $nginx = Broadcast::Nginx->new(
        workers => $workers,
        http    => 'broadcast_zone hubs 8m; broadcast_key 0123456789abcdef;'
                 . 'broadcast_database "' . $pg->conninfo($db, 'app') . '";',

        # the kernel's hash of a connection chooses the worker

        server  => <<'EOC')->start;
            listen 127.0.0.1:%%PORT spread%% reuseport;

            location /hub        { broadcast_hub anonymous; }
            location /publish/   { broadcast_publish; }
            location /functions/ { broadcast_function; }
            location = /status   { broadcast_status json; }
EOC

    push @servers, {
        base     => 'http://127.0.0.1:' . $nginx->port('spread'),
        name     => $workers == 1 ? "$protocol, one worker"
                                  : "$protocol, $workers workers",
        workers  => $workers,
        protocol => $protocol,
    };
}

# all at once: most of the time they wait

local $ENV{SERVERS} = encode_json(\@servers);

program('stateful.mjs');

$_->stop_ok for @nginx;

done_testing();
