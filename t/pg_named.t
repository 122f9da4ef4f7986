#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# A role that is named as the schema has it in its search_path, so the contexts
# of errors name the schema's functions bare.  What an argument or a right is to
# blame for is told as with any other role.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::Hub;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Postgres;
use Broadcast::Token qw(client_token);

my $key = '0123456789abcdef';
my $pg = Broadcast::Postgres->new;
my @at = (db => 'app', user => 'broadcast');

$pg->psql('create role web_user nologin');
$pg->createdb('app', 'broadcast');
$pg->psql('grant web_user to broadcast; alter role broadcast noinherit');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);

is $pg->psql("select 'argument_bytes'::regproc", @at), 'argument_bytes',
   'the role finds the schema by its own name';

$pg->psql(<<'EOS', @at);
create schema m;
grant usage on schema m to web_user;
create type m.pair as (a int, b int);
create function m.number(int) returns int language sql as 'select $1';
create function m.bytes(bytea) returns int language sql as 'select length($1)';
create function m.pair(m.pair) returns int language sql as 'select $1.a';
create function m.numbers(int[]) returns int language sql as 'select $1[1]';
create function m.staff() returns int language sql as 'select 1';
create function m.own(text) returns int language plpgsql as 'begin return $1; end';
revoke execute on function m.staff() from public;
select broadcast.expose('chat', 'm');
EOS

my $bind = qr/InvalidDataException: Error binding arguments\./;

for my $claim ('', ' role_claim=role') {
    my $nginx = Broadcast::Nginx->new(
        http   => "broadcast_zone hubs 4m; broadcast_key $key;"
                . 'broadcast_database "' . $pg->conninfo('app', 'broadcast')
                . "\"$claim;",
        server => 'location /client { broadcast_hub; }')->start;

    my $hub;

    ok wait_for(sub {
        $hub = Broadcast::Hub->connect($nginx->port, '/client?hub=chat',
            token => client_token($key, 'chat', role => 'web_user'));
        ($hub->invoke('number', 5) // '') eq '5'
    }, 15), 'a method is called' . ($claim && " with$claim");

    like $hub->invoke('number', 'x'), $bind, 'no number';
    like $hub->invoke('bytes', '!!'), $bind, 'no base64';
    like $hub->invoke('pair', 5), $bind, 'no row';
    like $hub->invoke('numbers', [ 'x' ]), $bind, 'an array of no numbers';
    unlike $hub->invoke('own', 'x'), $bind,
        '... but what a method converts is its own error';

    like $hub->invoke('staff'), qr/because user is unauthorized$/,
        'a method that the role may not execute is refused' if $claim;

    $nginx->stop_ok;
}

is $pg->psql("select distinct function from broadcast.function_error
             where function <> 'm.staff()'", @at),
   'm.own(text)', 'what callers sent is no error of a function';

done_testing;
