#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# What runs under the search_path of nginx's role means PostgreSQL's operators,
# whatever is in that path: everybody may create in `public` before PostgreSQL
# 15.  A schema has an operator of each name for each two types that have none
# in pg_catalog; it raises where it is called, or does not fit where it stands.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use JSON::PP ();

use Broadcast::Postgres;

my $pg = Broadcast::Postgres->new;

$pg->psql('create role nginx login noinherit; create role caller;
           grant caller to nginx');
$pg->createdb('app', 'owner');

my @owner = (db => 'app', user => 'owner');

$pg->file("$FindBin::Bin/../sql/broadcast.sql", @owner);
$pg->psql(<<'EOS', @owner);
grant usage on schema broadcast to nginx;
grant execute on all functions in schema broadcast to nginx;

create schema m;
grant usage on schema m to nginx, caller;
create type m.pair as (a int, b bytea);
create function m.event(jsonb) returns jsonb language sql as $$ select '{"target":"x"}'::jsonb $$;
create function m.events(jsonb) returns setof jsonb language sql as $$ select '{"x":1}'::jsonb $$;
create function m.number(int) returns int language sql as 'select $1';
create function m.bytes(bytea) returns bytea language sql as 'select $1';
create function m.pair(m.pair) returns m.pair language sql as 'select $1';
create function m.pairs(m.pair[]) returns m.pair[] language sql as 'select $1';
create function m.numbers(int[]) returns int[] language sql as 'select $1';
create function m.json(json) returns json language sql as 'select $1';
create function m.rows(int) returns setof int language sql as 'select $1';
create function m.rest(variadic int[]) returns int[] language sql as 'select $1';
create function m.out(a int, out b bytea, out c int) language sql as $$ select '\x01'::bytea, a $$;

select broadcast.expose('h', 'm');
select broadcast.bind(k, 'm.event', 'h') from unnest('{connect,connected,disconnected,http,after}'::text[]) k;
select broadcast.bind('message', 'm.event', 'h', 'one');
select broadcast.bind('message', 'm.events', 'h', 'many');
select broadcast.bind('timer', 'm.event', 'h', every => '100 ms');
EOS

$pg->psql(<<'EOS', @owner);
create schema trap;
grant usage on schema trap to public;
do $$
declare
    l regtype; r regtype; op text;
    types regtype[] := '{jsonb,json,text,name,oid,regtype,regrole,int2,int4,int8,bool,timestamptz,interval,text[],"char",float8,bytea}';
begin
    foreach l in array types loop foreach r in array types loop
        execute format('create function trap.trap(%s, %s) returns bool language plpgsql as %L', l, r,
                       format('begin raise exception ''trap: %s %s''; end', l, r));
        foreach op in array '{->,->>,?,-,||,=,<>,@>,<,>,<=,>=,#>>,+,~,!~,~~,&}'::text[] loop
            if not exists (select from pg_operator o
                            where (o.oprname, o.oprleft, o.oprright, o.oprnamespace)
                                  = (op, l, r, 'pg_catalog'::regnamespace)) then
                execute format('create operator trap.%s (function = trap.trap, leftarg = %s, rightarg = %s)', op, l, r);
            end if;
        end loop;
    end loop; end loop;
end $$;
EOS

# as nginx, in one transaction that is taken back

sub as_nginx {
    my ($sql) = @_;

    return $pg->try("set search_path = trap, public; begin; $sql; rollback",
                    db => 'app', user => 'nginx');
}

like((as_nginx(q{select '{}'::jsonb->'x'}))[1], qr/trap|invalid input/, 'a trap is one');

my @events = (
    '"kind":"connect","hub":"h"', '"kind":"connect","function":"m.event"',
    '"kind":"connected","hub":"h","connectionId":"a","groups":["g"]',
    '"kind":"disconnected","hub":"h","connectionId":"a","owed":true',
    '"kind":"disconnected","hub":"h","connectionId":"b","owed":true,"failed":"x"',
    '"kind":"http","name":"event","path":"x"', '"kind":"after","name":"event"',
);

my $claims = '"claims":{"role":"caller"}';
my %given = (number => [ 5 ], bytes => [ 'AQI=' ], pair => [ '{"a":1,"b":"AQI="}' ],
             pairs => [ '[{"a":1,"b":"AQI="}]' ], numbers => [ '[1]' ], json => [ '{}' ],
             rows => [ 3 ], rest => [ '[1]' ], out => [ 1 ], event => [ '{}' ], events => [ '{}' ],
             one => [ '{"arguments":[]}' ], many => [ '{"arguments":[]}' ]);

for my $role ('null', "'role'") {
    my $as = $role eq 'null' ? '' : ', under a role';

    for (@events) {
        my ($ok, $words) = as_nginx("select broadcast.dispatch('{$_,$claims}', $role, null)");

        ok($ok && $words !~ /errors/, "$_$as") or diag $words;
    }

    my ($ok, $words) = as_nginx("select broadcast.sweep(10, $role, null)");
    ok($ok, "a sweep$as") or diag $words;

    ($ok, $words) = as_nginx("select m from (select row_to_json(r) from broadcast.methods($role) r) m(m)");
    my @methods = map { JSON::PP::decode_json($_) } grep { /^\{/ } split /\n/, $words;
    is(scalar @methods, scalar keys %given, "the methods$as");

    for my $m (@methods) {
        my $context = qq('{"hub":"h","connectionId":"a",$claims}');
        my $enter = $m->{stream} ? "select broadcast.enter($context, $role, null);" : '';
        my @values = map { "'$_'" } @{ $given{ $m->{name} } };
        my $types = join ', ', ('text') x (1 + @values);

        ($ok, $words) = as_nginx("prepare s($types) as $m->{statement}; $enter execute s("
                                 . join(', ', $context, @values) . ')');
        ok($ok, "$m->{form} $m->{name}$as") or diag $words;
    }

    ($ok, $words) = as_nginx(qq(select broadcast.enter('{"hub":"h",$claims}', $role, null);
        declare q no scroll cursor for select '\\x01'::bytea, 1;
        set local role none; select broadcast.fetch('q', 3)));
    ok($ok && $words =~ /AQ==/, "rows of a cursor$as") or diag $words;
}

my ($ok, $words) = as_nginx(q{select pg_sleep(0.2);
    select broadcast.dispatch('{"kind":"timer","id":1}')});
ok($ok && $words !~ /busy|errors/, 'a timer') or diag $words;

done_testing();
