#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# What a plain WebSocket may say: join, leave, send, and what the token
# allows of it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP;
use Test::More;

use Broadcast::HTTP qw(http);
use Broadcast::Nginx qw(wait_for);
use Broadcast::Plain;
use Broadcast::Token qw(client_token);

my $key = '0123456789abcdef0123456789abcdef';

my $nginx = Broadcast::Nginx->new(
    http => "broadcast_zone hubs 4m; broadcast_key $key;",
    server => <<'EOS')->start;
        location /events/  { broadcast_events; }
        location /open/    { broadcast_events anonymous; }
        location /publish/ { broadcast_publish; }
        location = /status { broadcast_status json; }
EOS

my $port = $nginx->port;


sub client {
    my (%claims) = @_;

    my $ws = Broadcast::Plain->connect($port, '/events/chat',
        token => client_token($key, 'chat', %claims));
    is $ws->{head}{status}, 101, 'a client with '
        . encode_json(\%claims);

    return $ws;
}


sub publish {
    my ($query) = @_;

    return http($port, 'POST', "/publish/chat?$query", body => '"x"',
        headers => [ 'Content-Type' => 'application/json' ])->{json}{id};
}


sub groups { http($port, 'GET', '/status')->{json}{hubs}{chat}{groups} }


# What it says first is read first: the answer to a wrong frame shows that all
# before it was taken.

sub settled {
    my ($ws) = @_;

    $ws->text('{}');
    my $frame;
    1 while ($frame = $ws->next) && !$frame->{error};
}


my $member = client(sub => 'ann', groups => [ 'a', 'b' ]);

$member->send({ join => 'a' });
settled($member);
is groups(), 1, 'a group of the token may be joined';

publish('target=t&group=a');
is $member->next->{target}, 't', 'and its messages arrive';

$member->send({ join => 'z' });
like $member->next->{error}, qr/join/, 'another may not';
is groups(), 1, 'and is not';

$member->send({ leave => 'a' });
settled($member);
publish('target=no&group=a');
my $id = publish('target=yes');
is_deeply $member->next, { id => $id, target => 'yes', arguments => [ 'x' ] },
    'after leaving nothing comes any more, and the connection stays';
is groups(), 0, 'the group is gone';

# send

$member->send({ join => 'a' });
$member->send({ send => 'a', target => 'hi', arguments => [ 1, { a => 2 } ] });
my $frame = $member->next;
is $frame->{target}, 'hi', 'a member gets its own message';
is_deeply $frame->{arguments}, [ 1, { a => 2 } ], 'as it was sent';
like $frame->{id}, qr/-\d+$/, 'with a number';

$member->send({ send => 'z', target => 'hi', arguments => [] });
like $member->next->{error}, qr/send/, 'to a foreign group it may not send';
$member->send({ send => '*', target => 'hi', arguments => [] });
like $member->next->{error}, qr/send/, 'nor to all';

# arguments arrive byte for byte

my $raw = '[12345678901234567890123,"\u0000",1.50,{"b":1,"a":2}]';
$member->text("{\"send\":\"a\",\"target\":\"raw\",\"arguments\":$raw}");
like $member->message, qr/\Q$raw\E/,
    'big numbers, U+0000 and the order of keys survive';

$member->text("{\"send\":\"a\",\"target\":\"raw\",\"arguments\":[1,\n 2]}");
like $member->message, qr/\[1,2\]/, 'line breaks between tokens do not';

# roles

my $sender = client(sub => 'bob', role => 'broadcast.send');
$sender->send({ send => '*', target => 'all', arguments => [ 'by role' ] });
is $member->next->{target}, 'all', 'the role broadcast.send sends to all';
is $sender->next->{target}, 'all', 'the sender is among them';
$sender->send({ send => 'a', target => 'g', arguments => [] });
is $member->next->{target}, 'g', 'and to any group';
$sender->send({ join => 'a' });
like $sender->next->{error}, qr/join/, 'but it does not join';

my $one = client(sub => 'eve',
                 role => [ 'broadcast.join.a', 'broadcast.send.b', 'other' ]);
$one->send({ join => 'a' });
$one->send({ send => 'a', target => 'x', arguments => [] });
like $one->next->{error}, qr/send/, 'broadcast.join.a does not send to a';
$one->send({ join => 'b' });
like $one->next->{error}, qr/join/, 'broadcast.send.b does not join b';
publish('target=t&group=a');
is $one->next->{target}, 't', 'broadcast.join.a joins a';

# no token

my $open = Broadcast::Plain->connect($port, '/open/chat');
$open->send({ join => 'anything' });
$open->send({ send => 'anything', target => 't', arguments => [] });
like $open->next->{error}, qr/send/, 'without a token nobody sends';
publish('target=t&group=anything');
is $open->next->{target}, 't', 'but may join any group';

# a message goes to functions, of which there are none

$open->send({ target => 'Echo', arguments => [ 1 ] });
is $open->next->{error}, "Unknown hub method 'Echo'",
    'a message that no function is bound to is refused';

# nonsense

for my $text ('', 'x', '[]', '{"join":1}', '{"join":""}', '{"send":"a"}',
              '{"target":"x","arguments":{}}', '{"join":"a"} x',
              '{"join":"' . 'g' x 1025 . '"}', "{\"join\":\"a\x01\"}")
{
    my $name = length $text > 40 ? substr($text, 0, 20) . '...' : $text;

    $open->text($text);
    ok $open->next->{error}, "refused, and the connection stays: $name";
}

$_->close for $member, $sender, $one, $open;

ok wait_for { groups() == 0 }, 'all groups are gone';

$nginx->stop_ok;

done_testing;
