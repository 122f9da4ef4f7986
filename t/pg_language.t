#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# What a method's error means to its caller, by a server that speaks German:
# whether it came of the call itself or of what the function does is known by
# the error's context, which is in the language of the server.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Temp ();
use Test::More;

use Broadcast::Hub;
use Broadcast::Nginx;
use Broadcast::Postgres;

my $locale = 'de_DE.UTF-8';
my $locales = File::Temp::tempdir('broadcast-locale-XXXXXX', TMPDIR => 1,
                                  CLEANUP => 1);
chmod 0755, $locales;

system("localedef -i de_DE -f UTF-8 $locales/$locale >$locales/log 2>&1");

plan skip_all => 'no German locale can be made (package locales)'
    unless -e "$locales/$locale/LC_MESSAGES";

$ENV{LOCPATH} = $locales;

my $pg = Broadcast::Postgres->new(conf => { lc_messages => $locale });
my @at = (db => 'app', user => 'app');

my ($done, $words) = $pg->try('select 1 / 0');

plan skip_all => 'the server has no German messages'
    unless $words =~ /FEHLER/;

$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);

$pg->psql(<<'EOS', @at);
create schema hub;

create function hub.camel(x int) returns int language sql as 'select x * 2';

create function hub.fail() returns int
language plpgsql as $$ begin raise exception 'no more chairs'; end $$;

create function hub.denied() returns int
language plpgsql as $$ begin return (select count(*) from pg_authid); end $$;

create function hub.lost() returns int
language plpgsql as $$ begin return nowhere(1); end $$;

create function hub.several() returns int language plpgsql as $$
begin
    return (select count(*)
              from pg_authid
             where rolname = 'function hub.x');
end $$;

create function hub.table() returns setof int language plpgsql as $$
begin return query select 1 from nowhere; end $$;

create function hub.secret() returns setof int language plpgsql as $$
begin return query select 1 from pg_authid; end $$;

select broadcast.expose('chat', 'hub');
EOS

my $nginx = Broadcast::Nginx->new(
    workers => 1,
    http    => 'broadcast_zone hubs 16m; broadcast_database "'
             . $pg->conninfo('app', 'app') . '" timeout=9s;',
    server  => <<'EOC')->start;
        location /client   { broadcast_hub anonymous; }
        location = /status { broadcast_status json; }
EOC

my $port = $nginx->port;

ok $nginx->leads, 'the database is up, and a relay leads';

my $hub = Broadcast::Hub->connect($port, '/client?hub=chat');
my $last = 0;

sub error {
    my ($type, $target, @arguments) = @_;

    $last++;
    $hub->send({ type => $type, invocationId => "$last", target => $target,
                 arguments => \@arguments });

    for (;;) {
        my $m = eval { $hub->next } or return 'nothing';
        return $m->{error} // "result $m->{result}" if $m->{type} == 3;
    }
}

my $threw = 'An unexpected error occurred invoking \'%s\' on the server.';
my $streaming = 'An error occurred on the server while streaming results.';

is error(1, 'camel', 4), 'result 8', 'a method is called';

is error(1, 'camel', 'x'), 'Failed to invoke \'camel\' due to an error on the '
   . 'server. InvalidDataException: Error binding arguments. Make sure that '
   . 'the types of the provided values match the types of the hub method '
   . 'being invoked.', 'an argument that does not convert';

is error(1, 'fail'), sprintf($threw, 'fail') . ' HubException: no more chairs',
   'what it raises';

is error(1, 'denied'), sprintf($threw, 'denied'),
   'a right that the function lacks is not one that its caller lacks';
is error(1, 'several'), sprintf($threw, 'several'),
   'nor in a statement of several lines';
is error(1, 'lost'), sprintf($threw, 'lost'),
   'a function that it does not find is not the method';

is error(4, 'table'), $streaming, 'nor is a table that a stream does not find';
is error(4, 'secret'), $streaming, 'or must not read';

$nginx->stop_ok;

done_testing();
