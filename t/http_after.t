#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# broadcast_after: what nginx has done for a client fires a function, once, and
# only where it was done.  Calls go over one connection of the pool, so they
# run in the order in which they were made: where no call was to be made, the
# next one to be seen is that of a later request.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use Test::More;

use Broadcast::HTTP ();
use Broadcast::Nginx qw(wait_for);
use Broadcast::Postgres;
use Broadcast::SSE;
use Broadcast::Token qw(client_token rest_token);

my $key = '0123456789abcdef';
my $pg = Broadcast::Postgres->new;
my @at = (db => 'app', user => 'app');

$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);

$pg->psql(<<'EOS', @at);
create function stored(event jsonb) returns jsonb language sql as $$
    select jsonb_build_object('target', 'stored', 'arguments', jsonb_build_array(event)) $$;
create function other(event jsonb) returns jsonb language sql as $$
    select jsonb_build_object('actions', jsonb_build_array(jsonb_build_object(
        'hub', 'files', 'target', 'other', 'arguments', jsonb_build_array(event->'status')))) $$;
create function raises(event jsonb) returns jsonb language plpgsql as
    $$ begin raise exception 'no room'; end $$;
create function naps(event jsonb) returns jsonb language plpgsql as
    $$ begin perform pg_advisory_xact_lock_shared(1), pg_sleep(0.7); return '{"hub":"files","target":"late","arguments":[]}'; end $$;
create function idle(event jsonb) returns jsonb language plpgsql as
    $$ begin perform pg_sleep(30); return null; end $$;
select broadcast.bind('after', 'stored', hub => 'files', event => 'upload');
select broadcast.bind('after', f::regproc) from unnest('{other,raises,naps,idle}'::text[]) f;
select broadcast.bind('message', 'other', event => 'unbound');
select broadcast.bind('http', 'other', event => 'plain');
EOS

my $nginx = Broadcast::Nginx->new(
    tls    => 1,
    http   => "broadcast_zone hubs 8m;\nbroadcast_key $key;\nbroadcast_key rest-0123456789abcdef kid=rest;\n"
            . 'broadcast_database "' . $pg->conninfo('app', 'app') . '" pool=2 queue=4 timeout=5s;'
            . "\n" . 'log_format after "$request_uri $status"; access_log %%DIR%%/after.log after;',
    server => <<'EOC',
        dav_methods PUT DELETE MKCOL COPY MOVE;
        create_full_put_path on;
        client_max_body_size 1k;

        location /private/ {
            broadcast_auth on role=uploader;
            broadcast_after upload;

            location /private/quiet/ { broadcast_after off; }
            location /private/other/ { broadcast_after other; }
            location /private/inner/ { }
        }

        location /public/ {
            limit_except GET { broadcast_after upload; }
        }

        location /optional/ {
            broadcast_auth  optional;
            broadcast_after upload;
        }

        location /bare/    { broadcast_after upload; }
        location /unbound/ { broadcast_after unbound; }
        location /raises/  { broadcast_after raises; }
        location /naps/    { broadcast_after naps; }
        location /idle/    { broadcast_after idle; }

        # redirected to where no function is, and to where one is

        location /from/    { broadcast_after other; error_page 404 =200 /bare/moved?x; try_files /nothing =404; }
        location /to/      { broadcast_after upload; error_page 404 =200 @quiet; try_files /nothing =404; }
        location @quiet    { return 200 moved; }
        location /error/   { broadcast_after upload; error_page 404 =201 /page.html; try_files /nothing =404; }
        location = /page.html { broadcast_after other; try_files /bare/file =404; }
        location /rewrite/ { broadcast_after other; rewrite ^/rewrite/(.*) /bare/$1 last; }

        location /sub/     { broadcast_after upload; add_before_body /bare/file; add_after_body /bare/file; addition_types *; }
        location /checked/ { broadcast_after upload; auth_request /bare/file; }

        location /says/    { broadcast_after upload; return 200 "yes"; }
        location /teapot/  { broadcast_after upload; return 418 "no"; }
        location /proxied/ { broadcast_after upload; proxy_pass http://127.0.0.1:%%PORT%%/plain/; }
        location /plain/   { }
        location /functions/ { broadcast_function; }

        location /events/  { broadcast_events anonymous; }
        location = /status { broadcast_status; }
EOC
);

$nginx->write('html/bare/file', "file\n");
$nginx->write("html/$_/file", "old\n") for qw(private public optional plain unbound
                                              raises naps idle sub checked private/quiet);
chmod 0777, $nginx->dir . "/html/$_"
    for '', qw(private private/quiet public bare optional plain unbound raises naps idle);
$nginx->start;

my $port = $nginx->port;
my $ann = client_token($key, 'files', sub => 'ann', role => 'uploader');
my $bob = client_token($key, 'files', sub => 'bob');
my @ann = (headers => [ Authorization => "Bearer $ann" ]);
my @bob = (headers => [ Authorization => "Bearer $bob" ]);

sub ask { Broadcast::HTTP::http($port, @_) }

sub calls {
    my ($kind, $outcome) = @_;

    return (ask('GET', '/status?format=prometheus')->{body}
            =~ /function_calls_total\{kind="$kind",outcome="$outcome"\} (\d+)/)[0] // 0;
}

ok((wait_for { ask('GET', '/status?format=json')->{json}{database}{state} eq 'up' } 15),
   'the database is up');

my $sse = Broadcast::SSE->connect($port, '/events/files');

# The event of the next call of `stored`; of others target and argument.

sub told {
    my $e = $sse->event;
    my $arguments = JSON::PP::decode_json($e->{data});

    return $e->{event} eq 'stored' ? $arguments->[0] : [ $e->{event}, @$arguments ];
}


# --- an upload ---------------------------------------------------------------

is(ask('PUT', '/private/a%20b.txt?x=1', @ann, body => 'twelve bytes')->{status}, 201,
   'an upload');

my $e = told();

is_deeply([ @$e{qw(kind name method uri size status userId remoteAddress)} ],
          [ 'after', 'upload', 'PUT', '/private/a b.txt', 12, 201, 'ann', '127.0.0.1' ],
          'its function is told kind, name, method, path, size, status, user and address');
is_deeply([ @{ $e->{claims} }{qw(sub role)} ], [ 'ann', 'uploader' ], '... and claims');
is_deeply([ sort keys %$e ],
          [ sort qw(kind name method uri size status userId remoteAddress claims) ],
          '... and nothing else');

is(ask('PUT', '/private/a%20b.txt', @ann, body => 'x')->{status}, 204, 'a second one');
is_deeply([ @{ told() }{qw(size status)} ], [ 1, 204 ], '... is told, too');

is(ask('PUT', "/private/q?access_token=$ann", body => 'x')->{status}, 201,
   'one with the token in the query');
is(told()->{claims}{sub}, 'ann', '... is told with its claims');
like($nginx->error_log . `cat @{[ $nginx->dir ]}/after.log`, qr{/private/q\?access_token=\*\*\* 201},
     '... while the log masks it');

is(ask('PUT', '/private/c', body => "3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n",
       headers => [ @{ $ann[1] }, 'Transfer-Encoding' => 'chunked' ])->{status}, 201,
   'a chunked one');
is(told()->{size}, 7, '... is told with what came');


# --- other methods; what is no upload ----------------------------------------

for my $case ([ MKCOL => '/private/dir/', 201 ],
              [ COPY => '/private/c', 204, Destination => '/private/d' ],
              [ MOVE => '/private/d', 204, Destination => '/private/e' ],
              [ DELETE => '/private/e', 204 ], [ GET => '/private/c', 200 ],
              [ HEAD => '/private/c', 200 ])
{
    my ($method, $uri, $status, @headers) = @$case;

    ask($method, $uri, headers => [ @{ $ann[1] }, @headers ]);
    is_deeply([ @{ told() }{qw(method uri size status)} ], [ $method, $uri, 0, $status ],
              "$method that succeeds is told");
}

my $etag = ask('GET', '/private/c', @ann)->{headers}{etag};
is(told()->{status}, 200, 'a read');


# --- what fails is not told --------------------------------------------------

for my $case ([ 403, 'PUT', '/private/no', @bob, body => 'x' ],
              [ 401, 'PUT', '/private/no', body => 'x' ],
              [ 413, 'PUT', '/private/no', @ann, body => 'x' x 1025 ],
              [ 409, 'PUT', '/private/dir', @ann, body => 'x' ],
              [ 409, 'PUT', '/private/dir/', @ann, body => 'x' ],
              [ 409, 'MKCOL', '/private/none/none/', @ann ],
              [ 404, 'GET', '/private/none', @ann ],
              [ 404, 'DELETE', '/private/none', @ann ],
              [ 304, 'GET', '/private/c', headers => [ @{ $ann[1] }, 'If-None-Match' => $etag ] ],
              [ 416, 'GET', '/private/c', headers => [ @{ $ann[1] }, Range => 'bytes=99-' ] ],
              [ 301, 'GET', '/private/dir', @ann ],
              [ 418, 'GET', '/teapot/', ])
{
    my ($status, $method, $uri, @o) = @$case;
    my $r = ask($method, $uri, @o);

    is($r->{status}, $status, "$method $uri is $status");
}

ask('GET', '/private/c', headers => [ @{ $ann[1] }, Range => 'bytes=1-2' ]);
is_deeply([ @{ told() }{qw(uri status)} ], [ '/private/c', 206 ],
          'none of them was told, a part is');


# --- where the directive stands ----------------------------------------------

ask('PUT', '/private/quiet/x', @ann, body => 'x');
ask('PUT', '/private/other/x', @ann, body => 'x');
is_deeply(told(), [ 'other', 201 ], 'off in an inner location, another function in another');

ask('PUT', '/private/inner/x', @ann, body => 'x');
is(told()->{uri}, '/private/inner/x', '... inherited by a third');

ask('GET', '/public/file');
ask('PUT', '/public/x', body => 'xy');
is_deeply([ @{ told() }{qw(uri claims userId)} ], [ '/public/x', undef, undef ],
          'in limit_except GET reads are not told; without a token claims are null');

ask('PUT', '/optional/x', @bob, body => 'x');
is(told()->{claims}{sub}, 'bob', 'a token that is not needed is told');
ask('PUT', '/bare/x', @bob, body => 'x');
is(told()->{userId}, 'bob', '... also where none is looked at');
ask('PUT', '/bare/x', body => 'x', headers => [ Authorization => 'Bearer bad' ]);
is(told()->{claims}, undef, '... but not a bad one');
ask('PUT', '/bare/x', body => 'x',
    headers => [ Authorization => 'Bearer ' . rest_token($key, 'http://x/') ]);
is(told()->{claims}, undef, '... and none that is no client\'s');

is(ask('PUT', '/unbound/x', body => 'x')->{status}, 201,
   'where nothing is bound (but another kind under that name)');
ask('POST', '/says/', body => 'x' x 5);
is_deeply([ @{ told() }{qw(uri size status)} ], [ '/says/', 0, 200 ],
          '... nothing is told; a body that nobody takes has no size');
ask('PUT', '/proxied/x', body => 'xyz');
is_deeply([ @{ told() }{qw(uri size status)} ], [ '/proxied/x', 3, 201 ],
          'what an upstream has taken is told');


# --- the main request, and the location that it ends in -----------------------

is(ask('GET', '/from/x')->{status}, 404, 'an internal redirect to what is not there');
is(ask('GET', '/to/x')->{status}, 200, '... to a location without a function');
is(ask('GET', '/error/x')->{status}, 201, '... to one with another');
is_deeply(told(), [ 'other', 201 ], '... which alone is told');
is(ask('GET', '/rewrite/file')->{status}, 200, 'a rewrite');
is(told()->{uri}, '/bare/file', '... is told where it ends');

is(ask('GET', '/sub/file')->{body}, "file\nold\nfile\n", 'subrequests');
is(told()->{uri}, '/sub/file', '... are not told, their main request is');
is(ask('GET', '/checked/file')->{body}, "old\n", 'that of auth_request, too');
is(told()->{uri}, '/checked/file', '... as once');


# --- keep-alive, pipelining, a client that leaves, HTTP/2 ---------------------

my $c = Broadcast::HTTP->connect($port);
$c->write(join '', map {
    "PUT /bare/p$_ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n$_"
} 1 .. 3);

# calls that are under way together may run beside each other

is_deeply([ sort map { told()->{uri} } 1 .. 3 ],
          [ map { "/bare/p$_" } 1 .. 3 ],
          'pipelined uploads, each once, while the connection stays');
is_deeply([ map { my $r = $c->head; $c->body($r, 'PUT'); $r->{status} } 1 .. 3 ],
          [ 201, 201, 201 ], '... with their answers');
$c->close;

$c = Broadcast::HTTP->connect($port);
$c->write("PUT /bare/gone HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\ngone");
$c->close;
is_deeply([ @{ told() }{qw(uri status)} ], [ '/bare/gone', 201 ],
          'a client that leaves behind its upload: it is stored and told');

$c = Broadcast::HTTP->connect($port);
$c->write("PUT /bare/cut HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\ngo");
$c->close;

SKIP: {
    `curl --version 2>/dev/null` =~ /HTTP2/ or skip 'curl without HTTP/2', 5;

    my $h2 = 'curl -sk --http2 -o /dev/null -w "%{http_version} %{http_code} " --max-time 10'
           . " -H 'Authorization: Bearer $ann' -X PUT https://127.0.0.1:" . $nginx->port('tls');

    is(`$h2/private/h2 -d hello`, '2 201 ', 'an upload over HTTP/2');
    is_deeply([ @{ told() }{qw(uri size)} ], [ '/private/h2', 5 ],
              '... is told, and one that was cut off is not');
    is(`printf 123456 | $h2/private/h2 -H 'Content-Length:' -T -`, '2 204 ',
       '... without its length');
    is_deeply([ @{ told() }{qw(method size)} ], [ 'PUT', 6 ], '... is told with it');
    is(`$h2/private/no -d \@/bin/sh`, '2 413 ', '... too long');
}


# --- it is not forged --------------------------------------------------------

is(ask('GET', '/functions/upload')->{status}, 404,
   '/functions/ does not reach an after function');
is(ask('GET', '/functions/other')->{status}, 404, '... by either name');
is(ask('GET', '/functions/plain')->{status}, 204, '... but one that is bound for it');
is_deeply(told(), [ 'other', undef ], '... which acts');


# --- the answer does not wait, nor depend on it -------------------------------

my $lock = $pg->session(@at);

$lock->run('select pg_advisory_lock(1)');
$c = Broadcast::HTTP->connect($port);
$c->request('PUT', '/naps/x', body => 'x');
is($c->head->{status}, 201, 'the answer is there');
$c->close;
ok((wait_for { $pg->psql("select count(*) from pg_locks where locktype = 'advisory'
                          and classid = 0 and objid = 1 and not granted", @at) }),
   '... while the function runs');
$lock->run('select pg_advisory_unlock(1)');
is_deeply(told(), [ 'late' ], '... whose action comes later');

my $errors = calls('after', 'error');
is(ask('PUT', '/raises/x', body => 'x')->{status}, 201,
   'an exception is not the client\'s');
ok($nginx->wait_log(qr/"after" function public.raises failed: no room \(P0001\)/), '... it is logged');
is(calls('after', 'error'), $errors + 1, '... and counted');
ok((wait_for { $pg->psql("select kind, function, message from broadcast.function_error", @at)
               eq 'after|public.raises|no room' } 10), '... and kept');

# some run, four wait, and the rest is refused; a second has one line

my $n = 0;
my $others = calls('after', 'ok') + calls('after', 'error');
my $began = time;

ok((wait_for { ask('PUT', '/idle/x', body => 'x')->{status} =~ /^20[14]$/ or die;
               $n++; calls('after', 'refused') >= 20 } 15),
   'uploads go on while functions hang, beyond the queue none is called');
my @lines = $nginx->error_log =~ /"after" function for idle was not called: too many calls wait/g;
ok(@lines >= 1 && @lines <= 2 + time - $began, '... with a line a second');
ok((wait_for { calls('after', 'timeout') + calls('after', 'refused') == $n } 15),
   '... those that ran or waited timed out');
is(calls('after', 'ok') + calls('after', 'error'), $others, '... and none was anything else');


# --- bound and unbound while it runs -----------------------------------------

$pg->psql(q{select broadcast.unbind('after', 'stored');
            select broadcast.bind('after', 'other', event => 'unbound')}, @at);
my $ok = calls('after', 'ok');
ok((wait_for { ask('PUT', '/unbound/x', body => 'x'); calls('after', 'ok') > $ok } 10),
   'a binding works without a reload');
ask('PUT', '/bare/x', body => 'x');
is(ask('PUT', '/unbound/last', body => 'x')->{status}, 201, 'one more');
my @told;
do { push @told, told() } until ref $told[-1] eq 'HASH' || $told[-1][1] == 201;
is(ref $told[-1], 'ARRAY', '... and what was unbound is told no more');


# --- under the role of who has uploaded ---------------------------------------

$pg->psql('create role uploader; grant uploader to app', db => 'app');
$pg->psql(<<'EOS', @at);
create table seen (who text, sub text);
grant insert on seen to uploader;
create function who(event jsonb) returns jsonb language plpgsql as $$ begin
    insert into seen values (current_user, current_setting('request.jwt.claims')::jsonb->>'sub');
    return '{"target":"seen","arguments":[]}'; end $$;
select broadcast.bind('after', 'who', hub => 'files');
EOS
$pg->psql('alter role app noinherit', db => 'app');

my $roles = Broadcast::Nginx->new(
    http   => "broadcast_zone hubs 8m;\nbroadcast_key $key;\nbroadcast_database \""
            . $pg->conninfo('app', 'app') . '" role_claim=role;',
    server => 'location / { broadcast_after who; return 200 x; } location = /status { broadcast_status; }')->start;

ok((wait_for { Broadcast::HTTP::http($roles->port, 'GET', '/status?format=json')
               ->{json}{database}{state} eq 'up' } 15), 'with role_claim');
Broadcast::HTTP::http($roles->port, 'GET', '/', @$_) for [], \@bob, \@ann;
ok((wait_for { $pg->psql('select * from seen', @at) eq 'uploader|ann' } 10),
   'it runs under the role of the token, and not without one');
$roles->stop_ok;


# --- a reload, an exit, the database away -------------------------------------

$ok = calls('after', 'ok');
is(ask('PUT', '/naps/x', body => 'x')->{status}, 204, 'an upload');
$nginx->reload;
ok((wait_for { calls('after', 'ok') > $ok } 10), 'a worker that exits ends its calls');

$pg->stop;
ok((wait_for { ask('GET', '/status?format=json')->{json}{database}{state} eq 'down' } 15),
   'the database is away');
my $refused = calls('after', 'refused');
is(ask('PUT', '/naps/y', body => 'x')->{status}, 201, '... an upload is not concerned');
is(calls('after', 'refused'), $refused + 1, '... its call is counted');
cmp_ok(ask('GET', '/status?format=json')->{json}{database}{calls_refused},
       '>', $refused, '... in the JSON, too');
ok($nginx->wait_log(qr/"after" function for naps was not called: the database is away/),
   '... and logged');

$nginx->stop_ok(signal => 'TERM');

done_testing();
