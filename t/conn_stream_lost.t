#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# Streams of rows whose server dies, is stopped, or loses the one session: each
# ends once, with an error, the client stays, others go on, and nothing of a
# stream that is over is left in the server.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(sleep);

use Broadcast::HTTP qw(http);
use Broadcast::Hub;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Postgres;

my $pg = Broadcast::Postgres->new;
my @at = (db => 'app', user => 'app');

$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);

# Rows come as they are made; the pace is no condition of any check.

$pg->psql(<<'EOS', @at);
create schema hub;

create function hub.tick(x int) returns int language plpgsql volatile as $$
begin
    perform pg_sleep(0.05);
    return x;
end $$;

create function hub.ticks(n int) returns setof int language sql as
$$ select hub.tick(i) from generate_series(1, n) i $$;

create function hub.few(n int) returns setof int language sql as
$$ select i from generate_series(1, n) i $$;

select broadcast.expose('chat', 'hub');
EOS

my $nginx = Broadcast::Nginx->new(
    http   => 'broadcast_zone hubs 4m; broadcast_database "'
            . $pg->conninfo('app', 'app') . '" timeout=3s streams=2;',
    server => <<'EOC')->start;
        location /client   { broadcast_hub anonymous; }
        location = /status { broadcast_status json; }
EOC

my $port = $nginx->port;

sub database { http($port, 'GET', '/status')->{json}{database} }

sub up {
    my ($name) = @_;

    ok((wait_for { my $d = database();
                   $d->{state} eq 'up' && $d->{relay} eq 'leader' } 30), $name);
}

my $hub;
my $id = 0;

sub open_stream {
    my ($target, $n) = @_;

    $hub->send({ type => 4, invocationId => '' . ++$id, target => $target,
                 arguments => [ $n ] });
    return $id;
}

# the next of it that is no ping: an item, or its end

sub next_of {
    my ($stream, $seconds) = @_;

    while (my $record = eval { $hub->next($seconds // 30) }) {
        return $record if ($record->{invocationId} // '') eq $stream;
    }

    return undef;
}

sub end_of {
    my ($stream) = @_;
    my $record;

    1 while ($record = next_of($stream)) && $record->{type} == 2;

    return $record;
}

# one that has begun: an item has come

sub begun {
    my ($name) = @_;
    my $stream = open_stream('ticks', 100000);

    is(next_of($stream)->{item}, 1, "$name: its items come");

    return $stream;
}

my $failed = qr/^An error occurred on the server while streaming results\./;

# a stream of now, and the connection still the same

sub works {
    my ($name) = @_;
    my $r;

    ok((wait_for {
        my $stream = open_stream('few', 2);
        my @items;

        while ($r = next_of($stream)) {
            last if $r->{type} == 3;
            push @items, $r->{item};
        }

        !$r->{error} && "@items" eq '1 2';
    } 30), $name) or diag explain $r;
}

sub left {
    return $pg->psql(q{select count(*) from pg_stat_activity
                        where datname = 'app' and state <> 'idle'
                          and query ~ 'broadcast_rows|hub\.tick'
                          and pid <> pg_backend_pid()});
}


up('the database is there');
$hub = Broadcast::Hub->connect($port, '/client?hub=chat');
works('a stream');


# the one session is ended

my $stream = begun('a session that is ended');

$pg->psql(q{select pg_terminate_backend(pid) from pg_stat_activity
             where query like 'FETCH%' and datname = 'app'});

my $end = end_of($stream);
like($end->{error}, $failed, '... the stream ends with an error');
works('... the next one runs');
is(next_of($stream, 0.3), undef, '... and nothing more comes of the first');


# the server dies at once

$stream = begun('a server that dies');
$pg->crash;
$pg->start;

like(end_of($stream)->{error}, $failed, '... the stream ends with an error');
up('... it is back');
works('... the next one runs');
is(next_of($stream, 0.3), undef, '... and nothing more comes of the first');


# The server stands still: the stream has the time of a call, and is over then,
# whatever the server thinks when it goes on.

$stream = begun('a server that is stopped');
$pg->freeze;

like(end_of($stream)->{error}, $failed, '... the stream ends with an error');
is((database()->{streams}), 0, '... it is not counted any more');

$pg->thaw;

up('... it goes on');
works('... the next one runs');
is(next_of($stream, 0.3), undef, '... and nothing more comes of the first');
ok((wait_for { left() == 0 } 15), '... whose query is not left');


# one that is cancelled while the server is stopped

$stream = begun('a stream of a server that is stopped, cancelled');
$pg->freeze;
$hub->send({ type => 5, invocationId => "$stream" });

my $none = open_stream('few', 1);
sleep 1;
$pg->thaw;

up('... it goes on');
works('... the next one runs');
ok((wait_for { left() == 0 } 15), '... the query of the first is not left');

$hub->close;
$nginx->stop_ok;

done_testing;
