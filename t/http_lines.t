#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# Lines of one request to broadcast_publish, each of which says whom it is for:
# they are kept all or none, and whoever gets several of them gets them in the
# order of the lines, whichever worker it is at.

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
    workers => 2,
    http => "broadcast_zone hubs 32m; broadcast_key $key;",
    server => <<'EOS')->start;
        location /events/  { broadcast_events; }
        location /publish/ { broadcast_publish; }
        location /api/     { broadcast_api open; }
        location = /status { broadcast_status json; }
EOS

my $port = $nginx->port;


sub client {
    my ($user, @groups) = @_;

    return Broadcast::Plain->connect($port,
        join('', '/events/chat?', map { "group=$_&" } @groups),
        token => client_token($key, 'chat', sub => $user,
                              groups => [ @groups ]));
}


sub line {
    my ($target, %members) = @_;

    return encode_json({ target => $target, arguments => [], %members });
}


sub publish {
    my ($lines, $args, $path) = @_;

    return http($port, 'POST', ($path // '/publish/chat') . ($args // ''),
                body => join('', map { "$_\n" } @$lines),
                headers => [ 'Content-Type' => 'application/x-ndjson' ]);
}


# what each has got, up to the line that is for all

sub got {
    my ($client) = @_;
    my @targets;

    while (my $frame = $client->next(10)) {
        return "@targets" if $frame->{target} eq 'end';
        push @targets, $frame->{target};
    }

    return "@targets, and then nothing";
}


sub published { http($port, 'GET', '/status')->{json}{hubs}{chat}{published} }


# connects are not spread evenly: with so many some are at each worker

my %clients;

for my $n (1 .. 6) {
    push @{$clients{a}}, client("a$n", 'a');
    push @{$clients{ab}}, client("ab$n", 'a', 'b');
}

my $nobody = client('nobody');
my $ann = client('ann', 'b');

# one of each kind

my $r = publish([ line('a1', group => 'a'), line('b1', group => 'b'),
                  line('ann1', user => 'ann'), line('all'), 7,
                  line('a2', Group => 'a'), line('none', group => 'none'),
                  line('b2', group => "b", user => undef), line('end') ]);

is $r->{status}, 200, 'lines for several groups, a user and all are taken';
is $r->{json}{count}, 9, 'and counted';

is join(' | ', map { got($_) } @{$clients{a}}),
   join(' | ', ('a1 all message a2') x 6),
   'members of one group get its lines and those for all, in order';
is join(' | ', map { got($_) } @{$clients{ab}}),
   join(' | ', ('a1 b1 all message a2 b2') x 6),
   'members of two groups get the lines of both in the order of the request';
is got($ann), 'b1 ann1 all message b2', 'a user gets what names it, in its turn';
is got($nobody), 'all message', 'who is in no group gets what is for all';

# an id: that of a connection is told by the API

my $page = http($port, 'GET', '/api/hubs/chat/users/ann/connections'
                              . '?api-version=2022-06-01')->{json};
my $id = $page->{value}[0]{connectionId};

publish([ line('mine', connection => $id), line('b3', group => 'b'),
          line('end') ]);

is got($ann), 'mine b3', 'a connection gets what names it';
is got($nobody), '', 'others do not';
is join(' | ', map { got($_) } @{$clients{a}}), join(' | ', ('') x 6),
   'nor do they get another group\'s';
is got($_), 'b3', 'its members do' for $clients{ab}[0];
got($_) for @{$clients{ab}}[1 .. 5];

# many lines, to groups in turn: more than are drained at once

my @many = map { line("n$_", group => $_ % 3 ? 'a' : 'b') } 1 .. 4999;

$r = publish([ @many, line('end') ]);
is $r->{json}{count}, 5000, 'five thousand lines are taken'
    or diag($r->{status}, $r->{body});

my $all = join ' ', map { "n$_" } 1 .. 4999;
my $third = join ' ', map { "n$_" } grep { $_ % 3 } 1 .. 4999;

is scalar(grep { got($_) eq $all } @{$clients{ab}}), 6,
   'and come to members of both groups in order, none missing';
is scalar(grep { got($_) eq $third } @{$clients{a}}), 6,
   'and those of one group to its members';

# what is no message is an argument, whatever its members are called

$r = publish([ '{"group":"a"}', '{"arguments":5}', '{"user":5,"x":{}}' ]);
is $r->{status}, 200, 'an object without a target is an argument';

is got($nobody), '', 'who is in no group had none of the many';
is_deeply [ map { $nobody->next(10)->{arguments}[0] } 1 .. 3 ],
          [ { group => 'a' }, { arguments => 5 }, { user => 5, x => {} } ],
          'for all, as it is';

# all or none

my $before = published();

for my $wrong ([ line('x', group => ''), qr/group is no good name/,
                 'a group that is none' ],
               [ line('x', group => 5), qr/group is no good name/,
                 'a group that is no string' ],
               [ line('x', user => ''), qr/user is no good name/,
                 'a user without a name' ],
               [ line('x', connection => 'a,b'), qr/connection is no good id/,
                 'a connection that is none' ],
               [ line('x', group => 'a', user => 'ann'), qr/Name one group/,
                 'a line for two' ],
               [ '{"target":"x","group":"a"', qr/too early/,
                 'a line that breaks off' ],
               [ '{"target":"x","arguments":{},"group":"a"}', qr/an array/,
                 'arguments that are none' ]) {

    my ($line, $error, $name) = @$wrong;

    $r = publish([ line('no', group => 'a'), $line, line('no') ]);

    is "$r->{status} $r->{json}{target}", '400 line 2', "$name is named";
    like $r->{json}{message}, $error, '... and why';
}

# whoever is let in by the arguments stays with whom they name

$r = publish([ line('no'), line('no', group => 'b') ], '?group=a');
is "$r->{status} $r->{json}{target}", '400 line 2',
   'a line of a request for one group cannot name another';
like $r->{json}{message}, qr/request has named/, '... and why';

is published(), $before, 'of all these nothing was kept';

# the REST API names them in its path, and nowhere else

for my $path ('/api/hubs/chat/:send', '/api/hubs/chat/groups/a/:send') {
    $r = publish([ line('no'), line('no', group => 'b') ],
                 '?api-version=2022-06-01', $path);
    is "$r->{status} $r->{json}{target}", '400 line 2',
       "a line of $path cannot name others";
    like $r->{json}{message}, qr/request has named/, '... and why';
}

$r = publish([ line('rest', group => undef), line('end') ],
             '?api-version=2022-06-01', '/api/hubs/chat/groups/a/:send');
is $r->{status}, 202, 'a send of the API takes lines without them';
is got($clients{a}[0]), 'message message message rest',
   'for whom its path names';

$_->close for $ann, $nobody, map { @$_ } values %clients;

$nginx->stop_ok;

done_testing;
