#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# What a function raises is told to who wrote it: of every kind a line of the
# log with function, SQLSTATE, message and hint, a counter, and a row in
# broadcast.function_error with detail and context too.  Line and row are
# bounded, and what was left out is counted.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(sleep time);

use Broadcast::HTTP;
use Broadcast::Hub;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Postgres;
use Broadcast::SSE;

my $pg = Broadcast::Postgres->new;
$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", db => 'app', user => 'app');

my @at = (db => 'app', user => 'app');

$pg->psql(<<'EOS', @at);
create function boom(event jsonb) returns jsonb language plpgsql as $$
begin
    raise exception 'boom in %', event->>'kind'
        using hint = 'mend it', detail = 'sent: secret-payload', errcode = 'BO001';
end $$;

create function divide(event jsonb) returns jsonb language sql as
$$ select to_jsonb(1 / (length(event->>'kind') - 4)) $$;

create function inner_boom(event jsonb) returns jsonb language plpgsql as $$
begin
    execute 'select public.boom($1)' using event;
    return null;
end $$;

create function "Odd ""name"(event jsonb) returns jsonb language plpgsql as $$
begin
    raise exception e'two\nlines';
end $$;

create function bad_action(event jsonb) returns jsonb language sql as
$$ select '{"actions":{"action":"jump","hub":"chat"}}'::jsonb $$;

create function slow(event jsonb) returns jsonb language plpgsql as $$
begin
    perform pg_sleep(30);
    return null;
end $$;

create function gone(event jsonb) returns jsonb language sql as $$ select null::jsonb $$;
create function many(event jsonb) returns jsonb language plpgsql as $$
begin
    raise exception 'many';
end $$;

select broadcast.bind(k, 'boom', 'bad')
  from unnest(array['connected', 'disconnected', 'message']) k;
select broadcast.bind('connect', 'boom', 'door');
select broadcast.bind('http', f::regproc)
  from unnest(array['boom', 'divide', 'inner_boom', 'bad_action', 'slow', 'gone', 'many']) f;
select broadcast.bind('http', '"Odd ""name"', event => 'odd');
select broadcast.bind('after', 'boom', 'chat', 'stored');
drop function gone;

create schema api;
create function api.fails(n int) returns int language plpgsql as $$
begin
    return n / 0;
end $$;
create function api.says(n int) returns int language plpgsql as $$
begin
    raise exception 'says %', n;
end $$;
create function api.rows(n int) returns setof int language plpgsql as $$
begin
    return query select n / 0;
end $$;
select broadcast.expose('bad', 'api');
EOS

my $nginx = Broadcast::Nginx->new(
    http   => 'broadcast_zone hubs 4m; broadcast_key 0123456789abcdef;'
            . 'broadcast_database "' . $pg->conninfo('app', 'app') . '" timeout=4s;',
    server => <<'EOC')->start;
        location /client     { broadcast_hub anonymous; }
        location /events/    { broadcast_events anonymous; }
        location /functions/ { broadcast_function; }
        location /status     { broadcast_status; }
        location = /n        { broadcast_negotiate hub=chat user=ann function=public.boom; }
        location = /stored   { broadcast_after stored; return 200; }
EOC

sub http { Broadcast::HTTP::http($nginx->port, @_) }
sub call { http('GET', "/functions/$_[0]")->{status} }
sub metric { http('GET', '/status?format=prometheus')->{body}
                 =~ /^nginx_broadcast_\Q$_[0]\E (\d+)$/m ? $1 : undef }

sub errors {
    my ($kind, $outcome) = @_;
    return metric(qq(function_calls_total{kind="$kind",outcome=") . ($outcome // 'error') . '"}');
}

# the newest row of a kind, or of a function

sub row {
    my ($where) = @_;

    my ($row) = $pg->rows("select kind, function, hub, connection_id, sqlstate, message, detail,
        hint, context, count from broadcast.function_error where $where
        order by id desc limit 1", @at);
    return {} unless $row;

    my %row;
    @row{qw(kind function hub connection sqlstate message detail hint context count)} = @$row;
    return \%row;
}

sub told {
    my ($what, $kind, $function, $before, %o) = @_;
    my $level = $o{level} // 'error';
    my $row;

    ok((wait_for { $row = row("kind = '$kind'"); $row->{kind} } 10), "$what: a row is kept");
    is_deeply([ @$row{qw(function sqlstate message detail hint)} ],
              [ $function, 'BO001', "boom in $kind", 'sent: secret-payload', 'mend it' ],
              '... with all that was said');
    like($row->{context}, qr/function (?:public\.)?boom\(jsonb\) line 3 at RAISE/,
         '... and the line of the function');
    is($row->{hub}, $o{hub} // '', '... and the hub');
    ok($nginx->wait_log(qr/\[$level\].*"$kind" function \Q$function\E failed: boom in $kind \(BO001\), hint: mend it/),
       '... a line of the log tells function, SQLSTATE, message and hint');
    cmp_ok(errors($kind), '==', $before + 1, '... it is counted');
}

ok((wait_for { call('nothing') == 404 } 15), 'the bindings are known');


# --- each kind ---------------------------------------------------------------

my $n = errors('http');
is(call('boom'), 500, 'an http function that raises is 500');
told('http', 'http', 'public.boom', $n);

$n = errors('connect');
is(Broadcast::SSE->connect($nginx->port, '/events/door')->{head}{status}, 500,
   'a connect function that raises refuses');
told('connect', 'connect', 'public.boom', $n, hub => 'door');

$pg->psql('truncate broadcast.function_error', @at);
is(http('GET', '/n')->{status}, 500, 'a function of negotiate');
sleep 1;
is(http('GET', '/n')->{status}, 500, '... again, in another second');
told('negotiate', 'connect', 'public.boom', $n + 2, hub => 'chat');

my ($connected, $message) = map { errors($_) } qw(connected message);
my $hub = Broadcast::Hub->connect($nginx->port, '/client?hub=bad');
told('connected', 'connected', 'public.boom', $connected, hub => 'bad');

$hub->send({ type => 1, invocationId => '1', target => 'Any', arguments => [ 'x' ] });
my $answer = $hub->next;
is($answer->{error}, 'boom in message', 'what a message function raises is the answer');
told('message', 'message', 'public.boom', $message, hub => 'bad', level => 'info');
is(row(q{kind = 'message'})->{connection}, $hub->{id}, '... with the connection');

# methods and streams

sub invoke {
    my ($type, $target) = @_;

    $hub->send({ type => $type, invocationId => 'm', target => $target, arguments => [ 7 ] });
    return $hub->next->{error};
}

sub method {
    my ($what, $function, $message, $level) = @_;
    my $row;

    ok((wait_for { $row = row("function = '$function'"); $row->{kind} } 10), "$what: a row is kept");
    is_deeply([ @$row{qw(kind hub connection message)} ],
              [ 'message', 'bad', $hub->{id}, $message ], '... of this connection');
    like($row->{context}, qr/^(?:SQL statement .*\n)?PL\/pgSQL function api\.\w+\(integer\) line 3/,
         '... with the line');
    ok($nginx->wait_log(qr/\[$level\].*"message" function \Q$function\E failed: $message/),
       '... and one of the log');
}

like(invoke(1, 'Fails'), qr/^An unexpected error occurred invoking 'Fails' on the server\.$/,
     'a method that fails tells its caller nothing');
method('method', 'api.fails(integer)', 'division by zero', 'error');
like(invoke(1, 'Says'), qr/HubException: says 7$/, 'what it raises, it tells');
method('a method that raises', 'api.says(integer)', 'says 7', 'info');
like(invoke(4, 'Rows'), qr/^An error occurred on the server while streaming results\.$/,
     'a stream that fails tells its caller nothing');
method('stream', 'api.rows(integer)', 'division by zero', 'error');

$n = errors('disconnected');
$hub->close;
told('disconnected', 'disconnected', 'public.boom', $n, hub => 'bad');

$n = errors('after');
is(http('GET', '/stored')->{status}, 200, 'a request whose after function raises is answered');
told('after', 'after', 'public.boom', $n);

$pg->psql(q{select broadcast.bind('timer', 'boom', 'chat', 'tick', '1 hour')}, @at);
$n = errors('timer');
$pg->psql(q{update broadcast.timer_state set next_due = clock_timestamp()}, @at);
told('timer', 'timer', 'public.boom', $n, hub => 'chat');

unlike($nginx->error_log, qr/secret-payload/, 'no line of the log has the detail');


# --- which function, and what ------------------------------------------------

sleep 1.1;      # rows of another second

is(call('divide'), 500, 'an error in a function of SQL');
ok((wait_for { row(q{sqlstate = '22012'})->{function} } 10), '... is known by its name');
is(row(q{sqlstate = '22012'})->{function}, 'public.divide', '... in the row');
ok($nginx->wait_log(qr/"http" function public\.divide failed: division by zero \(22012\)/),
   '... and in the log');

is(call('inner_boom'), 500, 'an error in a function that a function calls');
ok((wait_for { row(q{function = 'public.inner_boom'})->{kind} } 10),
   '... is told of the one that is bound');
like(row(q{function = 'public.inner_boom'})->{context}, qr/boom\(jsonb\).*inner_boom\(jsonb\)/s,
     '... and the way from it');

is(call('odd'), 500, 'a function with a name of its own');
ok((wait_for { row(q{message = e'two\nlines'})->{function} } 10), '... says two lines');
is(row(q{message like 'two%'})->{function}, 'public."Odd ""name"', '... and is known');
ok($nginx->wait_log(qr/function public\."Odd ""name" failed: two lines \(P0001\)/),
   '... which are one in the log');

is(call('bad_action'), 500, 'an error in what a function gave back');
ok((wait_for { row(q{message = 'unknown action: jump'})->{function} } 10),
   '... is one of the function');
is(row(q{message = 'unknown action: jump'})->{function}, 'public.bad_action', '... by its name');

is(call('gone'), 500, 'a function that was dropped');
ok((wait_for { row(q{function = 'public.gone'})->{hint} } 10), '... and what to do then');

$n = errors('http', 'timeout');
is(call('slow'), 504, 'one that takes too long');
ok((wait_for { row(q{function = 'public.slow'})->{sqlstate} } 10), '... is known, too');
is(row(q{function = 'public.slow'})->{sqlstate}, '57014', '... by the SQLSTATE');
is(errors('http', 'timeout'), $n + 1, '... and counted as such');


# --- more than is told -------------------------------------------------------

my $calls = 150;
$n = errors('http');
my $dropped = metric('function_errors_dropped_total');

my $began = time;
my @c = map { my $c = Broadcast::HTTP->connect($nginx->port); $c->request('GET', '/functions/many'); $c } 1 .. $calls;
is(scalar(grep { $_->head->{status} == 500 } @c), $calls, 'many errors at once');
is(errors('http'), $n + $calls, '... are all counted');

my $rows = sub { $pg->psql(q{select count(*) from broadcast.function_error where message = 'many'}, @at) };
my $lines = () = $nginx->error_log =~ /public\.many failed/g;
my $seconds = time - $began;
cmp_ok($lines, '<=', 2 + $seconds, '... the log has a line a second');
ok((wait_for { $rows->() + metric('function_errors_dropped_total') - $dropped == $calls } 10),
   '... and a row, or is counted as dropped');
cmp_ok($rows->(), '<=', 10 * (2 + $seconds), '... of which there are ten a second');
is(http('GET', '/status?format=json')->{json}{database}{errors_dropped},
   metric('function_errors_dropped_total'), '... also in the status page');

sleep 1.1;
is(call('many'), 500, 'one more, in another second');
ok((wait_for { $pg->psql(q{select sum(count) from broadcast.function_error
                            where message = 'many'}, @at) == $calls + 1 } 10),
   '... has a row that counts those that had none');
ok($nginx->wait_log(qr/public\.many failed: many \(P0001\), and \d+ more since the last line/),
   '... and a line that does');

is($pg->psql(q{select count(*) from (select broadcast.error_add('http', 'f', null, null, null, null,
                   'n ' || i, null, null, null, 1) from generate_series(1, 1100) i) x}, @at), 1100,
   'eleven hundred errors');
is($pg->psql(q{select count(*) || ' ' || max(message) filter (where id = (
                   select max(id) from broadcast.function_error)) from broadcast.function_error}, @at),
   '1000 n 1100', '... of which the newest thousand are kept');

$nginx->stop_ok;

done_testing();
