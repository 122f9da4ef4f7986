#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# Client results and streams both ways with the official @microsoft/signalr
# client, over every transport and protocol, against four workers; and with the
# REST API of another node.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::HTTP qw(http);
use Broadcast::Nginx qw(wait_for);
use Broadcast::Node qw(program);
use Broadcast::Postgres;

my $pg = Broadcast::Postgres->new;
my @at = (db => 'app', user => 'app');

$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);

$pg->psql(<<'EOS', @at);
create table kept (connection text, items jsonb);

create function counter(event jsonb) returns jsonb language sql as $$
    select jsonb_build_object('actions', jsonb_build_object(
        'target', 'opened', 'connectionId', event->'connectionId',
        'arguments', jsonb_build_array(event->'invocationId')))
$$;

create function refuse(event jsonb) returns jsonb language plpgsql as $$
begin
    raise exception 'no such counter';
end $$;

create function up(event jsonb) returns jsonb language sql as
$$ select jsonb_build_object('result', event->'arguments') $$;

create function keep(event jsonb) returns jsonb language plpgsql as $$
begin
    insert into kept values (event->>'connectionId', event->'arguments'->0);
    return null;
end $$;

create function kept(event jsonb) returns jsonb language sql as $$
    select jsonb_build_object('result', count(*)) from kept
     where connection = event->>'connectionId' and items = '["kept"]'
$$;

select broadcast.bind('message', 'counter', 'chat', 'Count');
select broadcast.bind('message', 'refuse', 'chat', 'Refuse');
select broadcast.bind('message', 'up', 'chat', 'Up');
select broadcast.bind('message', 'keep', 'chat', 'Keep');
select broadcast.bind('message', 'kept', 'chat', 'Kept');
EOS

# the first one leads: the other comes behind it

sub node { Broadcast::Nginx->new(
    workers => $_[0],
    http    => 'broadcast_zone hubs 16m; broadcast_database "'
             . $pg->conninfo('app', 'app') . '" timeout=9s;',
    server  => <<'EOC')->start;
        location /client   { broadcast_hub anonymous; keepalive_timeout 0; }
        location /api/     { broadcast_api open; }
        location = /status { broadcast_status json; }
EOC
}

my $nginx = node(4);
my $port = $nginx->port;

ok $nginx->leads, 'the database is up, and a relay leads';

my $other = node(1);
my $ours = http($port, 'POST', '/client/negotiate?hub=chat&negotiateVersion=1',
                body => '')->{json}{availableTransports};

my %number = (WebSockets => 1, ServerSentEvents => 2, LongPolling => 4);

for my $transport (@$ours) {
    my %text = map { $_ => 1 } @{ $transport->{transferFormats} };

    for my $protocol ('json', $text{Binary} ? 'messagepack' : ()) {
        local $ENV{BASE} = "http://127.0.0.1:$port";
        local $ENV{TRANSPORT} = $number{ $transport->{transport} };
        local $ENV{PROTOCOL} = $protocol;

        subtest "$transport->{transport}, $protocol" => sub {
            program('invoke.mjs');
        };
    }
}

ok wait_for(sub {
    my $db = http($other->port, 'GET', '/status')->{json}{database};
    $db->{state} eq 'up' && $db->{relay} eq 'follower'
}, 15), 'another node takes part';

for my $protocol (qw(json messagepack)) {
    local $ENV{BASE} = "http://127.0.0.1:$port";
    local $ENV{API} = 'http://127.0.0.1:' . $other->port;
    local $ENV{TRANSPORT} = $number{WebSockets};
    local $ENV{PROTOCOL} = $protocol;

    subtest "asked at another node, $protocol" => sub {
        program('invoke.mjs');
    };
}

$_->stop_ok for $nginx, $other;

done_testing();
