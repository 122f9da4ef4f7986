#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# Several messages at once for a durable hub, one a line, from whoever may
# send them: one transaction, one answer.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP;
use Test::More;

use Broadcast::HTTP qw(http);
use Broadcast::Nginx qw(wait_for);
use Broadcast::Plain;
use Broadcast::Postgres;
use Broadcast::Token qw(client_token);

my $key = '0123456789abcdef0123456789abcdef';

my $pg = Broadcast::Postgres->new;
$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", db => 'app', user => 'app');

my @at = (db => 'app', user => 'app');

my $nginx = Broadcast::Nginx->new(
    workers => 2,
    http    => "broadcast_zone hubs 8m; broadcast_key $key;"
             . 'broadcast_database "' . $pg->conninfo('app', 'app')
             . '" timeout=3s;',
    server  => <<'EOS')->start;
        location /events/  { broadcast_events; }
        location /publish/ { broadcast_publish; }
        location /api/     { broadcast_api open; }
        location = /status { broadcast_status json; }
EOS

my $port = $nginx->port;


sub database { http($port, 'GET', '/status')->{json}{database} }

sub kept { $pg->psql('select count(*) from broadcast.message', @at) }

# transactions that have inserted anything

$pg->psql(q{
    create table seen (id bigint primary key);
    create function see() returns trigger language plpgsql as $$ begin
        insert into public.seen values (txid_current()) on conflict do nothing;
        return null;
    end $$;
    create trigger see after insert on broadcast.staging
        for each statement execute function see();
}, @at);

sub transactions { $pg->psql('select count(*) from seen', @at) }

sub lines {
    return join '', map { encode_json({ send => '*', target => $_,
                                        arguments => [] }) . "\n" } @_;
}


ok((wait_for { database()->{relay} eq 'leader' } 10), 'the relay leads');

my $ws = Broadcast::Plain->connect($port, '/events/chat',
    token => client_token($key, 'chat', sub => 'ann',
                          role => 'broadcast.send'));

# its own messages and the answer come as they like, the messages in order

sub exchange {
    my ($text, $messages) = @_;
    my ($answer, @got);

    $ws->text($text);

    while (!$answer || @got < $messages) {
        my $frame = $ws->next // last;

        $frame->{target} ? push(@got, $frame) : ($answer = $frame);
    }

    return ($answer, @got);
}


my ($answer, @got) = exchange(lines(map { "t$_" } 1 .. 300), 300);

is $answer->{count}, 300, 'lines of a plain WebSocket are counted';
is join(' ', map { $_->{target} } @got), join(' ', map { "t$_" } 1 .. 300),
    'and come in order';
is $answer->{id}, $got[-1]{id}, 'the answer has the last one\'s id';
is kept(), 300, 'all are in the history';
is transactions(), 1, 'by one transaction';

($answer) = exchange(lines('no') . '{"send":"*"}', 0);
like $answer->{error}, qr/^line 2: /, 'a line that is wrong is named';

($answer, @got) = exchange(lines('next'), 1);
is $answer->{count}, 1, 'one line with its end';
is $got[0]{target}, 'next', 'is what comes next';
is kept(), 301, 'nothing of the wrong ones was kept';

# the REST API

my $rest = sub {
    my ($path, $body) = @_;

    return http($port, 'POST', "/api/hubs/chat$path?api-version=2022-06-01",
                body => $body,
                headers => [ 'Content-Type' => 'application/x-ndjson' ]);
};

my $r = $rest->('/:send', join '', map { "{\"target\":\"r$_\"}\n" } 1 .. 3);
my @rest = map { $ws->next } 1 .. 3;

is $r->{status}, 202, 'lines for the REST API are taken';
is $r->{json}{count}, 3, 'and counted';
is $r->{json}{id}, $rest[-1]{id}, 'with the id of the last';

$r = $rest->('/users/ann/:send', "{\"target\":\"u1\"}\nx\n");
is $r->{status}, 400, 'a line that is wrong is refused';
is $r->{json}{target}, 'line 2', 'and named';
is kept(), 304, 'and nothing was kept';

# the database is away

$pg->stop;

ok((wait_for { database()->{state} eq 'down' } 10), 'the database is away');

($answer) = exchange(lines('no', 'no'), 0);
is $answer->{error}, 'the messages were not kept: the database is away',
    'that is said once';

$pg->start;

ok((wait_for { database()->{state} eq 'up' && database()->{relay} eq 'leader' }
    15), 'it is back');

($answer, @got) = exchange(lines('back', 'again'), 2);
is $answer->{count}, 2, 'lines are taken again';
is join(' ', map { $_->{target} } @got), 'back again',
    'and only these come';

$ws->close;
$nginx->stop_ok;

done_testing;
