#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# The official client with @microsoft/signalr-protocol-msgpack, beside clients
# that speak JSON, over every transport that negotiate offers for Binary.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::HTTP qw(http);
use Broadcast::Nginx;
use Broadcast::Node qw(program);
use Broadcast::Postgres;

my $pg = Broadcast::Postgres->new;
my @at = (db => 'app', user => 'app');

$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);

$pg->psql(<<'EOS', @at);
create function echo(event jsonb) returns jsonb language sql as
$$ select jsonb_build_object('result', event->'arguments'->0) $$;

create function told(event jsonb) returns jsonb language sql as $$
    select jsonb_build_object('result', jsonb_typeof(event->'arguments'->0)
                              || ' ' || (event->'arguments'->>0))
$$;

create function fail(event jsonb) returns jsonb language plpgsql as $$
begin
    raise exception 'not today, "%"', event->'arguments'->>0;
end $$;

create function tell(event jsonb) returns jsonb language sql as $$
    select jsonb_build_object('actions', jsonb_build_object(
        'target', 'told', 'arguments', event->'arguments'))
$$;

select broadcast.bind('message', f::regproc, h, initcap(f))
  from unnest(array['echo', 'told', 'fail', 'tell']) f,
       unnest(array['kept', 'chat']) h;
EOS

my $nginx = Broadcast::Nginx->new(
    workers => 2,
    http    => 'broadcast_zone hubs 16m; broadcast_ephemeral chat;
                broadcast_database "'
             . $pg->conninfo('app', 'app') . '" timeout=9s;',
    server  => <<'EOC')->start;
        location /client   { broadcast_hub anonymous; }
        location /api/     { broadcast_api open; }
        location /events/  { broadcast_events anonymous; }
        location = /status { broadcast_status; }
EOC

my $port = $nginx->port;

ok $nginx->leads, 'the database is up, and a relay leads';

my $offered = http($port, 'POST',
    '/client/negotiate?hub=chat&negotiateVersion=1', body => '')
    ->{json}{availableTransports};

my %number = (WebSockets => 1, LongPolling => 4);

for my $transport (@$offered) {
    next unless grep { $_ eq 'Binary' } @{ $transport->{transferFormats} };

    for my $hub (qw(chat kept)) {
        local $ENV{BASE} = "http://127.0.0.1:$port";
        local $ENV{TRANSPORT} = $number{ $transport->{transport} };
        local $ENV{HUB} = $hub;

        subtest "$transport->{transport}, hub $hub" => sub {
            program('msgpack.mjs');
        };
    }
}

$nginx->stop_ok;

done_testing();
