#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# :execute: commands for the connections that match a filter.  What a filter
# may be is in the unit program of its parser; here it meets connections of
# four workers.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use Test::More;

use Broadcast::HTTP;
use Broadcast::Hub;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Plain;
use Broadcast::Token qw(client_token rest_token);

my $key = '0123456789abcdef';
my $json = JSON::PP->new->utf8->canonical;

my $nginx = Broadcast::Nginx->new(
    workers => 4,
    http    => "broadcast_zone hubs 16m;\nbroadcast_key $key;\n",
    server  => <<'EOC',
        location /client  { broadcast_hub; }
        location /anon/   { broadcast_events anonymous; }
        location /api/    { broadcast_api; }
        location /status  { broadcast_status prometheus; }
EOC
)->start;

my $port = $nginx->port;
my $v = 'api-version=2023-07-01';

sub request {
    my ($method, $path, $query, $body, @headers) = @_;

    return Broadcast::HTTP::http($port, $method, "$path?$v$query",
        (defined $body ? (body => $body) : ()),
        headers => [ Authorization => 'Bearer '
                     . rest_token($key, "http://localhost$path"),
                     (@headers ? @headers
                      : ('Content-Type' => 'application/json')) ]);
}

sub encoded { $_[0] =~ s/([^\w'])/sprintf '%%%02X', ord $1/ger }

sub execute {
    my ($filter, @commands) = @_;

    return request('POST', '/api/hubs/chat/:execute',
                   defined $filter ? '&filter=' . encoded($filter) : '',
                   $json->encode(\@commands));
}

sub message { { type => 'SendMessage',
                message => { target => 't', arguments => [ $_[0] ] } } }

my %hub;

sub client {
    my ($name, $user, @groups) = @_;

    $hub{$name} = Broadcast::Hub->connect($port, '/client?hub=chat',
        token => client_token($key, 'chat', (length $user ? (sub => $user) : ()),
                              groups => \@groups));
    die $hub{$name}{error} if $hub{$name}{error};
}

client('ann1', 'ann', 'red');
client('ann2', 'ann', 'blue');
client('bob', 'bob', 'red', 'blue');
client('annie', 'annie');
client('none', '', 'red');

# who has heard what since the last round: a message to all ends it

my $round = 0;

sub heard_is {
    my ($want, $name) = @_;
    my %got;

    $round++;
    request('POST', '/api/hubs/chat/:send', '',
            qq({"target":"t","arguments":["end$round"]}));

    for my $client (sort keys %hub) {
        my @texts;
        while (my $arguments = $hub{$client}->invocation('t')) {
            last if $arguments->[0] eq "end$round";
            push @texts, $arguments->[0];
        }
        $got{$client} = "@texts" if @texts;
    }

    is_deeply(\%got, $want, $name);
}

heard_is({}, 'all are connected');


# --- who matches -------------------------------------------------------------

my @filters = (
    [ "userId eq 'ann'", 'ann1 ann2' ],
    [ "userId eq 'Ann'", '' ],
    [ "userId ne 'ann'", 'annie bob none' ],
    [ "startswith(userId,'ann')", 'ann1 ann2 annie' ],
    [ "'red' in groups", 'ann1 bob none' ],
    [ "'red' in groups and 'blue' in groups", 'bob' ],
    [ "('red' in groups or 'blue' in groups) and not startswith(userId,'b')",
      'ann1 ann2 none' ],
    [ 'userId eq null', 'none' ],
    [ "connectionId eq '$hub{bob}{id}'", 'bob' ],
    [ "'unknown' in groups", '' ],
    [ undef, 'ann1 ann2 annie bob none' ],
);

for my $case (@filters) {
    my ($filter, $want) = @$case;

    is(execute($filter, message('x'))->{status}, 202,
       'taken: ' . ($filter // 'no filter at all'));
    heard_is({ map { $_ => 'x' } split / /, $want }, "... for: $want");
}

is(request('POST', '/api/v1/hubs/chat/:execute',
           '&Filter=userId+eq+%27bob%27', $json->encode([ message('v1') ]))
   ->{status}, 202, 'the older path, a key in another case, a plus');
heard_is({ bob => 'v1' }, '... reaches him');

is(request('POST', '/api/hubs/elsewhere/:execute', '',
           $json->encode([ message('x') ]))->{status}, 202,
   'a hub that nobody has used');


# --- what is done ------------------------------------------------------------

is(execute("startswith(userId,'ann')",
           message('first'), { type => 'JoinGroup', group => 'new' },
           message('second'))->{status}, 202, 'three commands');
heard_is({ map { $_ => 'first second' } qw(ann1 ann2 annie) }, 'in order');

request('POST', '/api/hubs/chat/groups/new/:send', '',
        '{"target":"t","arguments":["to group"]}');
heard_is({ map { $_ => 'to group' } qw(ann1 ann2 annie) }, 'they have joined');

is(execute("'new' in groups and userId eq 'ann'",
           { Type => 'leavegroup', Group => 'new', other => [ {} ] })->{status},
   202, 'names in any case, others are passed over');
request('POST', '/api/hubs/chat/groups/new/:send', '',
        '{"target":"t","arguments":["to group"]}');
heard_is({ annie => 'to group' }, 'two have left');

is(execute("'blue' in groups", message('bye'),
           { type => 'CloseConnection', reason => 'enough' })->{status}, 202,
   'a close');

for my $name (qw(ann2 bob)) {
    my @all;
    while (my $m = $hub{$name}->next) { push @all, $m }
    is_deeply([ map { $_->{error} // $_->{arguments}[0] }
                grep { $_->{type} != 6 } @all ], [ 'bye', 'enough' ],
              "$name hears the message, then the reason");
    delete $hub{$name};
}

heard_is({}, 'the others are left alone');


# --- all or nothing, and bad input -------------------------------------------

my $ok = $json->encode(message('never'));

my @bad = (
    [ '', '', 'Commands in request body are required' ],
    [ 'x', '', 'array' ],
    [ '{}', '', 'array' ],
    [ '[]', '', 'a command at least' ],
    [ "[$ok", '', 'too early' ],
    [ "[$ok] x", '', 'follows' ],
    [ "[$ok,1]", 'command 2', 'object' ],
    [ "[$ok,{}]", 'command 2', 'type' ],
    [ qq([$ok,{"type":"Shout"}]), 'command 2', 'SendMessage' ],
    [ qq([$ok,{"type":1}]), 'command 2', 'strings' ],
    [ qq([$ok,{"type":"SendMessage"}]), 'command 2', 'message' ],
    [ qq([$ok,{"type":"SendMessage","message":1}]), 'command 2',
      'a "message", an object' ],
    [ qq([$ok,{"type":"SendMessage","message":{}}]), 'command 2', 'target' ],
    [ qq([$ok,{"type":"SendMessage","message":{"target":"t","arguments":1}}]),
      'command 2', 'array' ],
    [ qq([$ok,{"type":"JoinGroup"}]), 'command 2', 'group name' ],
    [ qq([$ok,{"type":"LeaveGroup","group":" "}]), 'command 2', 'group name' ],
    [ qq([$ok,{"type":"LeaveGroup","group":null}]), 'command 2', 'group name' ],
    [ qq([$ok,{"type":"CloseConnection","reason":"\\u0000"}]), 'command 2',
      'reason' ],
    [ '[' . join(',', ($ok) x 101) . ']', 'command 101', '100' ],
);

for my $case (@bad) {
    my ($body, $target, $words) = @$case;
    my $r = request('POST', '/api/hubs/chat/:execute', '', $body);

    ok($r->{status} == 400 && ($r->{json}{target} // '') eq $target
       && $r->{json}{message} =~ /\Q$words/,
       'refused: ' . substr $body, -60)
        or diag "$r->{status} $r->{body}";
}

for my $case ([ 'userId%20eq', 'At character 10: ' ], [ '', 'At character 1: ' ],
              [ '%zz', 'encoded' ])
{
    my $r = request('POST', '/api/hubs/chat/:execute', "&filter=$case->[0]",
                    "[$ok]");
    is("$r->{status} $r->{json}{target}", '400 filter', 'a filter that is none');
    like($r->{json}{message}, qr/\Q$case->[1]/, '... says where');
}

is(request('POST', '/api/hubs/chat/:execute', '', "[$ok]",
           'Content-Type' => 'text/plain')->{status}, 415, 'another type');
is(request('GET', '/api/hubs/chat/:execute', '')->{status}, 405,
   'another method');
is(request('POST', '/api/hubs/chat/groups/g/:execute', '', "[$ok]")->{status},
   404, 'another place');

heard_is({}, 'nothing of all that was done');


# --- many --------------------------------------------------------------------

my @many = map { Broadcast::Plain->connect($port, '/anon/chat?group=many') }
           1 .. 101;

ok(wait_for {
    request('GET', '/api/hubs/chat/groups', '')->{body}
        =~ /"name":"many","connections":101\}/
}, 'a hundred and one more');

is(execute("'many' in groups", (message('x')) x 99)->{status}, 202,
   '9999 commands are sent');
is($many[100]->next->{arguments}[0], 'x', '... and come');

my $before = Broadcast::HTTP::http($port, 'GET', '/status')->{body}
             =~ /refused_total\{reason="size"\} (\d+)/ ? $1 : -1;

my $r = execute("'many' in groups", (message('y')) x 100);
is("$r->{status} $r->{json}{code}", '413 TooManyConnections',
   '10100 are too many, and that is said');

like(Broadcast::HTTP::http($port, 'GET', '/status')->{body},
     qr/refused_total\{reason="size"\} @{[ $before + 1 ]}\b/, '... and counted');

heard_is({}, 'nothing of it was done');

# the same bound, for messages a line each

is(request('POST', '/api/hubs/chat/:send', '', "1\n" x 10001,
           'Content-Type' => 'application/x-ndjson')->{status}, 413,
   '10001 messages in one body are too many');

like(Broadcast::HTTP::http($port, 'GET', '/status')->{body},
     qr/refused_total\{reason="size"\} @{[ $before + 2 ]}\b/, '... and counted');

heard_is({}, 'none of them was sent');

$_->close for values %hub, @many;
$nginx->stop_ok;

done_testing();
