#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# role_claim and functions that return a set: rows are made under the role of
# who asks for them, to the last; what they sent is staged by the module's own.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::HTTP qw(http);
use Broadcast::Hub;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Postgres;
use Broadcast::Token qw(client_token);

my $key = '0123456789abcdef';
my $pg = Broadcast::Postgres->new;

$pg->psql('create role module login noinherit; create role web_user nologin;
           create role web_staff nologin; grant web_user, web_staff to module');
$pg->createdb('app', 'owner');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", db => 'app', user => 'owner');

$pg->psql(<<'EOS', db => 'app', user => 'owner');
grant usage on schema broadcast to module;
grant execute on all functions in schema broadcast to module;

create table note (who text, body text);
alter table note enable row level security;
grant select on note to web_user, web_staff;
create policy mine on note to web_user using
    (who = current_setting('request.jwt.claims', true)::json->>'sub');
create policy every on note to web_staff using (true);
insert into note select w, w || i from generate_series(1, 100) i,
                                       (values ('ann'), ('bob')) v(w);

create schema api;
grant usage on schema api to web_user, web_staff;

create function api.notes() returns setof text language sql as
$$ select body from public.note order by who, substr(body, 4)::int $$;

create function api.cursor() returns refcursor language plpgsql as $$
declare
    c refcursor;
begin
    open c for select current_user || ' ' || body from public.note
                order by substr(body, 4)::int;
    return c;
end $$;

create function api.doubles(n int) returns setof int language sql as
$$ select i * 2 from generate_series(1, n) i $$;

create function api.staff() returns setof int language sql as $$ select 1 $$;
revoke execute on function api.staff() from public;
grant execute on function api.staff() to web_staff;

create function bound(event jsonb) returns setof jsonb language sql as
$$ select to_jsonb(current_user || ' ' || body) from public.note
    order by body limit 2 $$;

select broadcast.expose('chat', 'api');
select broadcast.bind('message', 'bound', 'chat', 'Bound');
EOS

my $nginx = Broadcast::Nginx->new(
    http   => 'broadcast_zone hubs 2m; broadcast_database "'
            . $pg->conninfo('app', 'module') . '" timeout=5s role_claim=role;',
    server => <<"EOC")->start;
        broadcast_key $key;
        location /client   { broadcast_hub; }
        location = /status { broadcast_status json; }
EOC

ok wait_for(sub {
    http($nginx->port, 'GET', '/status')->{json}{database}{state} eq 'up'
}, 15), 'the database is up';

sub hub {
    my ($who, $role) = @_;

    return Broadcast::Hub->connect($nginx->port, '/client?hub=chat',
        token => client_token($key, 'chat', sub => $who, role => $role));
}

# The items, and the error at the end.

my $id = 0;

sub rows {
    my ($hub, $target, @arguments) = @_;
    my @items;

    $hub->send({ type => 4, invocationId => '' . ++$id, target => $target,
                 arguments => \@arguments });

    while (my $record = $hub->next) {
        next unless ($record->{invocationId} // '') eq $id;

        push @items, $record->{item} if $record->{type} == 2;
        return (\@items, $record->{error}) if $record->{type} == 3;
    }

    return (\@items, 'nothing');
}

my ($ann, $bob, $sue) = (hub('ann', 'web_user'), hub('bob', 'web_user'),
                         hub('sue', 'web_staff'));

is_deeply [ rows($ann, 'Notes') ], [ [ map { "ann$_" } 1 .. 100 ], undef ],
          'a user gets his rows';
is_deeply [ rows($bob, 'Notes') ], [ [ map { "bob$_" } 1 .. 100 ], undef ],
          '... another one others, on the same connection';
my ($items) = rows($sue, 'Notes');
is @$items, 200, '... another role what its policy says';

is_deeply [ rows($bob, 'Cursor') ],
          [ [ map { "web_user bob$_" } 1 .. 100 ], undef ],
          'the rows of a cursor are made under the role, to the last';
is_deeply [ rows($ann, 'Bound') ],
          [ [ 'web_user ann1', 'web_user ann10' ], undef ],
          'a bound function runs under the role';
is_deeply [ rows($ann, 'Doubles', 3) ], [ [ 2, 4, 6 ], undef ],
          'arguments are converted';
like((rows($ann, 'Doubles', 'x'))[1], qr/Error binding arguments\./,
     '... or refused');
is_deeply [ rows($ann, 'Staff') ],
          [ [], "Failed to invoke 'Staff' because user is unauthorized" ],
          'what one may not call';
is_deeply [ rows($sue, 'Staff') ], [ [ 1 ], undef ], '... another may';

$_->close for $ann, $bob, $sue;

$nginx->stop_ok;

done_testing();
