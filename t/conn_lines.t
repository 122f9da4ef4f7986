#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# Several messages in one text of a plain WebSocket, one a line: kept all or
# none, one behind another in the log, and answered once.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP;
use Test::More;

use Broadcast::HTTP qw(http);
use Broadcast::Nginx;
use Broadcast::Plain;
use Broadcast::Token qw(client_token);

my $key = '0123456789abcdef0123456789abcdef';

my $nginx = Broadcast::Nginx->new(
    http => "broadcast_zone hubs 2m; broadcast_key $key;",
    server => <<'EOS')->start;
        location /events/  { broadcast_events; }
        location /slow/    { broadcast_events; broadcast_rate 1/s burst=4; }
        location /small/   { broadcast_events; broadcast_message_size 300; }
        location /publish/ { broadcast_publish; }
        location = /status { broadcast_status json; }
EOS

my $port = $nginx->port;


sub client {
    my ($path, %claims) = @_;

    return Broadcast::Plain->connect($port, $path,
        token => client_token($key, 'chat', %claims));
}


sub line {
    my ($group, $target, @arguments) = @_;

    return encode_json({ send => $group, target => $target,
                         arguments => \@arguments }) . "\n";
}


sub targets { map { $_[0]->next->{target} } 1 .. $_[1] }


sub status { http($port, 'GET', '/status')->{json} }
sub published { status()->{hubs}{chat}{published} // 0 }


my $reader = client('/events/chat', sub => 'reader', groups => [ 'a' ]);
my $sender = client('/events/chat?group=none', sub => 'sender',
                    role => [ 'broadcast.send', 'broadcast.join' ]);

$reader->send({ join => 'a' });

# all of them, in order, one behind another

$sender->text(line('*', 'one', 1) . line('a', 'two') . line('*', 'three', {}));
my $answer = $sender->next;

like $answer->{id}, qr/^[0-9a-f]+-\d+$/, 'three lines are answered with an id';
is $answer->{count}, 3, 'and with their number';
is_deeply [ sort keys %$answer ], [ 'count', 'id' ], 'and with nothing else';

my @got = map { $reader->next } 1 .. 3;
is join(' ', map { $_->{target} } @got), 'one two three',
    'a subscriber gets them in order';
is $got[2]{id}, $answer->{id}, 'the id is that of the last';
is_deeply [ map { $_->{id} =~ /-(\d+)$/ } @got ],
          [ map { $got[0]{id} =~ /-(\d+)$/; $1 + $_ } 0 .. 2 ],
    'no number between them is missing';
is_deeply $got[2]{arguments}, [ {} ], 'arguments as they were sent';

is join(' ', targets($sender, 2)), 'one three',
    'the sender gets those that are for all, too';

# one line with its end, other line breaks, empty lines

$sender->text(line('a', 'alone'));
is $sender->next->{count}, 1, 'one line is lines if it has an end';
is $reader->next->{target}, 'alone', 'and comes';

(my $text = "\n" . line('a', 'x') . "\n" . line('a', 'y')) =~ s/\n/\r\n/g;
$text =~ s/\s+\z//;
$text =~ s/^\s+//;
$sender->text($text);
is $sender->next->{count}, 2, 'lines may end in CR LF, and be empty';
is join(' ', targets($reader, 2)), 'x y', 'and come';

# one message alone is not answered, as ever

$sender->text(substr(line('a', 'quiet'), 0, -1));
is $reader->next->{target}, 'quiet', 'a message that is no line';
$sender->text('{}');
like $sender->next->{error}, qr/a frame has/, 'is not answered';

# all or none: the wrong line is named

my $before = published();

my @wrong = (
    [ line('a', 'no') . '{"send":"a"', 2, qr/ends too early/,
      'that breaks off' ],
    [ "x\n" . line('a', 'no'), 1, qr/object/, 'that is no object' ],
    [ '{"send":"a","target":"t"' . "\n" . line('a', 'no'), 1, qr/JSON/,
      'the first, that breaks off' ],
    [ line('a', 'no') . "\n" . line('a', 'no') . line('a', ''), 4,
      qr/target/, 'without a target, empty lines counted' ],
    [ line('a', 'no') . "{\"join\":\"a\"}\n", 2, qr/"send"/, 'that joins' ],
    [ "{\"leave\":\"a\"}\n" . line('a', 'no'), 1, qr/"send"/,
      'that leaves' ],
    [ line('a', 'no') . "{\"target\":\"t\"}\n", 2, qr/"send"/,
      'that calls a function' ],
    [ line('a', 'no') . '{"send":"","target":"t"}', 2, qr/group/,
      'to a group that has no name' ],
    [ line('a', 'no') . line('a', 'no') . '[1]', 3, qr/object/,
      'that is an array' ],
);

for my $wrong (@wrong) {
    my ($text, $line, $error, $name) = @$wrong;

    $sender->text($text);
    my $frame = $sender->next;

    like $frame->{error}, qr/^line $line: .*$error/, "a line $name is named";
}

is published(), $before, 'of all these nothing was kept';

# rights

my $some = client('/events/chat', sub => 'some',
                  role => [ 'broadcast.send.a', 'broadcast.send.b' ]);

$some->text(line('a', 'A') . line('b', 'B'));
is $some->next->{count}, 2, 'each line may name another group';
is $reader->next->{target}, 'A', 'whose members get it';

$some->text(line('a', 'no') . line('c', 'no'));
like $some->next->{error}, qr/^line 2: the token/,
    'a group that is not the token\'s is refused';
$some->text(line('a', 'no') . line('a', 'no') . line('*', 'no'));
like $some->next->{error}, qr/^line 3: the token/, 'so is all';

$reader->text(line('*', 'no') . line('*', 'no'));
like $reader->next->{error}, qr/^line 1: the token/,
    'who may not send does not send lines';

is published(), $before + 2, 'of these nothing was kept either';

# limits

$sender->text(line('a', 'many') x 10001);
like $sender->next->{error}, qr/^line 10001: too many/,
    'there is a limit to how many';

$sender->text(line('a', 'b', 'x' x 300) x 2000);
like $sender->next->{error}, qr/not kept: they do not fit/,
    'what never fits into the log is refused as a whole';

is published(), $before + 2, 'and none of it was kept';

$sender->text(join '', map { line('a', "n$_") } 1 .. 1000);
is $sender->next->{count}, 1000, 'a thousand at once';
is join(' ', targets($reader, 1000)), join(' ', map { "n$_" } 1 .. 1000),
    'come, in order';

my $small = client('/small/chat', sub => 'small', role => 'broadcast.send');
$small->text(line('*', 'small', 'x' x 80) x 4);
is $small->message, undef, 'broadcast_message_size is that of the whole text';
is +($small->closed)[0], 1009, 'and who sends more is closed';

my $slow = client('/slow/chat', sub => 'slow', role => 'broadcast.send');
$slow->text(line('a', 's1') . line('a', 's2') . line('a', 's3'));
is $slow->next->{count}, 3, 'within the burst of broadcast_rate';
my $rated = status()->{closed}{rate};
$slow->text(line('a', 'no') x 4);
is $slow->message, undef, 'each line counts for broadcast_rate';
is status()->{closed}{rate}, $rated + 1, 'and beyond it the client is closed';

is join(' ', targets($reader, 3)), 's1 s2 s3', 'those within had come';
$sender->text(line('a', 'end'));
is $reader->next->{target}, 'end', 'none of those beyond it does';

$_->close for $reader, $sender, $some;
$_->drop for $small, $slow;

$nginx->stop_ok;

done_testing;
