#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# MessagePack is written 64 levels deep, so no door lets in what is nested
# deeper: it would end every client that speaks it.  What stands in the tables
# since before there was a limit ends them with a line in the log.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::HTTP qw(http);
use Broadcast::Hub;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Plain;
use Broadcast::Postgres;
use Broadcast::Token qw(client_token);

my $key = '0123456789abcdef0123456789abcdef';
my $pg = Broadcast::Postgres->new;
my @at = (db => 'app', user => 'app');

$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);

$pg->psql(<<'EOS', @at);
create function deep(n int) returns jsonb language sql
    as $$ select (repeat('[', n) || repeat(']', n))::jsonb $$;

create schema hub;

create function hub.tell(arguments jsonb) returns void language sql
    as $$ select broadcast.send_all('chat', 'tell', arguments) $$;
create function hub.wrap(argument jsonb) returns void language sql as $$
    select broadcast.send_all('chat', 'wrap',
                              jsonb_build_array(jsonb_build_array(argument)))
$$;
create function hub.tells(n int) returns void language sql
    as $$ select broadcast.send_all('chat', 'tells', public.deep(n)) $$;

create function acts(event jsonb) returns jsonb language sql
    as $$ select jsonb_build_object('body', 'acted', 'actions',
                 jsonb_build_object('target', 'acts', 'arguments',
                     public.deep((event->'query'->>'n')::int))) $$;

create table row(n int, data jsonb);
create trigger told after insert on row for each row
    execute function broadcast.on_change('chat', 'row');

select broadcast.expose('chat', 'hub'), broadcast.bind('http', 'acts', 'chat');
EOS

my $nginx = Broadcast::Nginx->new(
    http => "broadcast_zone hubs 4m; broadcast_key $key; "
          . 'broadcast_ephemeral fast; broadcast_database "'
          . $pg->conninfo('app', 'app') . '";',
    server => <<'EOC')->start;
        location /client     { broadcast_hub anonymous; }
        location /events/    { broadcast_events; }
        location /publish/   { broadcast_publish; }
        location /functions/ { broadcast_function; }
        location /api/       { broadcast_api open; }
        location = /status   { broadcast_status; }
EOC

my $port = $nginx->port;

sub status { http($port, 'GET', '/status?format=json')->{json} }

ok((wait_for { status()->{database}{relay} eq 'leader' } 10),
   'the relay is there');


# a client of MessagePack

sub packed {
    my ($name) = @_;

    my $hub = Broadcast::Hub->connect($port, "/client?hub=$name",
                                      nohandshake => 1);
    die $hub->{error} if $hub->{error};

    $hub->{ws}->text(qq({"protocol":"messagepack","version":1}\x1e));
    $hub->{ws}->message eq "{}\x1e" or die 'no handshake';

    return $hub;
}

sub arrays { my ($n) = @_; return '[' x $n . ']' x $n }

sub objects { my ($n) = @_; return '{"a":' x $n . '1' . '}' x $n }

my %packed = map { $_ => packed($_) } 'chat', 'fast';

# the next message to the clients of MessagePack is an invocation of it

sub told {
    my ($hub, $target, $name) = @_;

    my $message = $packed{$hub}{ws}->message;

    like $message, qr/^.{1,2}\x96\x01\x80\xc0.\Q$target\E/s, $name
        or diag status()->{closed}{error}, ' closed';
}


# HTTP

my $json = [ 'Content-Type' => 'application/json' ];
my $lines = [ 'Content-Type' => 'application/x-ndjson' ];

for my $hub ('chat', 'fast') {

    my %door = (
        publish => sub {
            my ($arguments, $target) = @_;

            return http($port, 'POST', "/publish/$hub", headers => $lines,
                body => qq({"target":"$target","arguments":$arguments}\n));
        },

        # its body is one argument

        bare => sub {
            my ($arguments, $target) = @_;

            return http($port, 'POST', "/publish/$hub?target=$target",
                        headers => $json,
                        body => substr $arguments, 1, -1);
        },

        REST => sub {
            my ($arguments, $target) = @_;

            return http($port, 'POST', "/api/v1/hubs/$hub", headers => $json,
                body => qq({"target":"$target","arguments":$arguments}));
        },
    );

    for my $door (sort keys %door) {
        my $r = $door{$door}->(arrays(65), 'no');

        is $r->{status}, 400, "$hub, $door: 65 levels are refused";
        like $r->{body}, qr/nested deeper than 6[34] levels/, '... with why';

        is $door{$door}->('[' . objects(64) . ']', 'no')->{status}, 400,
            '... of objects, too';

        like $door{$door}->(arrays(64), $door)->{status}, qr/^20[02]$/,
            '... 64 are taken';
        told($hub, $door, '... and a client of MessagePack has them');
    }
}


# SQL

my ($ok, $words) = $pg->try(
    "select broadcast.send_all('chat', 'no', deep(65))", @at);

ok !$ok, 'a send of 65 levels is an error';
like $words, qr/arguments are nested deeper than 64 levels/, '... with why';

($ok, $words) = $pg->try('insert into row values (1, deep(62))', @at);
ok !$ok, 'so is a change of a table with a document of 62 in three';
like $words, qr/arguments are nested deeper/, '... with why';

$pg->psql("select broadcast.send_all('chat', 'sent', deep(64));
           insert into row values (2, deep(61))", @at);
told('chat', 'sent', 'a send of 64 levels comes');
told('chat', 'row', '... and a change of 61');

is http($port, 'GET', '/functions/acts?n=65')->{status}, 500,
    'an action of 65 levels fails its function';
is http($port, 'GET', '/functions/acts?n=64')->{body}, 'acted',
    'one of 64 does not';
told('chat', 'acts', '... and comes');


# clients

my $hub = Broadcast::Hub->connect($port, '/client?hub=chat');
my $record;

for my $call ([ 'tells', 65 ], [ 'wrap', arrays(63) ]) {
    my ($target, $argument) = @$call;

    $hub->{ws}->text(sprintf '{"type":1,"invocationId":"1","target":"%s",'
                             . "\"arguments\":[%s]}\x1e", $target, $argument);

    1 while ($record = $hub->next) && $record->{type} != 3;

    is $record->{error},
        "An unexpected error occurred invoking '$target' on the server.",
        "$target: a method that sends 65 levels is told";
}

$hub->{ws}->text('{"type":1,"target":"tell","arguments":[' . arrays(63)
                 . "]}\x1e");
told('chat', 'tell', 'one that sends what came to it with 63 has sent it');

# Whoever waits for an answer has one: it is one invocation that is wrong, not
# what the connection sends next.

my $binding = "Failed to invoke 'tell' due to an error on the server. "
    . 'InvalidDataException: Error binding arguments. Make sure that the types '
    . 'of the provided values match the types of the hub method being invoked.';

for my $type (1, 4) {
    $hub->{ws}->text('{"arguments":[' . arrays(64) . '],"invocationId":"deep",'
        . qq("target":"tell","type":$type}\x1e));

    1 while ($record = $hub->next) && $record->{type} != 3;

    is_deeply $record, { type => 3, invocationId => 'deep', error => $binding },
        "type $type: arguments of 65 levels are an error of the invocation";
}

like $hub->invoke('none'), qr/^Unknown hub method/, '... the next is read';

my $packed = $packed{fast}{ws};

$packed->binary("\x4c\x95\x01\x80\xa1d\xa4tell" . "\x91" x 65 . "\x90");
like $packed->message,
    qr/^..\x95\x03\x80\xa1d\x01\xd9.\Q$binding\E\z/s,
    'it is so in MessagePack';
$packed->binary("\x0b\x95\x01\x80\xa1e\xa4none\x90");
like $packed->message, qr/Unknown hub method/, '... the next is read';

is status()->{closed}{protocol}, 0, '... and nobody was closed';

my $silent = Broadcast::Hub->connect($port, '/client?hub=chat');
$silent->{ws}->text('{"type":1,"target":"tell","arguments":[' . arrays(64)
                    . "]}\x1e");
1 while ($record = $silent->next) && $record->{type} != 7;
is $record && $record->{error}, 'Connection closed with an error.',
    'who has asked for no answer is closed, as for any other broken record';

my $plain = Broadcast::Plain->connect($port, '/events/chat',
    token => client_token($key, 'chat', role => [ 'broadcast.send' ]));

$plain->text('{"send":"*","target":"no","arguments":' . arrays(65) . '}');
is $plain->next->{error}, 'JSON text is nested deeper than 64 levels',
    'a plain WebSocket that sends 65 is told';

$plain->text('{"send":"*","target":"plain","arguments":' . arrays(64) . '}');
told('chat', 'plain', '64 come');


# what an older version has let in

is status()->{closed}{error}, 0, 'nobody was closed until now';

$pg->psql("insert into broadcast.staging (hub, type, scope, source, target,
                                          arguments)
           values ('chat', 1, 0, 0, 'old', '" . arrays(65) . "');
           select broadcast.send_all('chat', 'next', '[]')", @at);

my $message = $packed{chat}{ws}->message;
like $message, qr/Connection closed with an error\.\xc3$/,
    'what is too deep already ends a client of MessagePack, who may come again';
is status()->{closed}{error}, 1, '... which is counted';
ok((wait_for { $nginx->error_log =~ /broadcast message [0-9a-f]+-\d+ of hub "chat" cannot be said in MessagePack, it is nested deeper than 64 levels/ } 5),
   '... and logged');

1 while ($record = $hub->next) && ($record->{target} // '') ne 'old';
is_deeply $record->{arguments}, JSON::PP::decode_json(arrays(65)),
    'one that speaks JSON has it';

$nginx->stop_ok;

done_testing;
