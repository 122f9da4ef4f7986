#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# Raw NOTIFY, in a database that has never seen our schema.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::HTTP qw(http);
use Broadcast::Nginx qw(wait_for);
use Broadcast::Postgres;
use Broadcast::SSE;

my $pg = Broadcast::Postgres->new;
$pg->createdb('plain', 'app');
my @at = (db => 'plain', user => 'app');

my $nginx = Broadcast::Nginx->new(
    workers => 2,
    http    => "broadcast_zone hubs 4m; broadcast_database \""
             . $pg->conninfo('plain', 'app') . '" timeout=2s;'
             . 'broadcast_listen prices hub=Market target=price;'
             . 'broadcast_listen "Odd \\"name" hub=market target=odd group=g;'
             . 'broadcast_listen stocks hub=copy target=copy;',
    server  => <<'EOC')->start;
        location /events/  { broadcast_events anonymous; }
        location = /status { broadcast_status; }
EOC

my $port = $nginx->port;

sub database {
    return http($port, 'GET', '/status?format=json')->{json}{database};
}

ok((wait_for { database()->{relay} eq 'listen' } 10),
   'without the schema the relay listens');

my $all = Broadcast::SSE->connect($port, '/events/market');
my $group = Broadcast::SSE->connect($port, '/events/market?group=g');
my $copy = Broadcast::SSE->connect($port, '/events/copy');

is($all->{head}{status}, 200, 'subscribers are taken without the schema');

my %payload = (
    '{"a":1,"b":[2]}'   => '[{"a":1,"b":[2]}]',
    '12.50'             => '[12.50]',
    'null'              => '[null]',
    'plain words'       => '["plain words"]',
    'say "hi" \\ {'     => '["say \\"hi\\" \\\\ {"]',
    '{"a":1'            => '["{\\"a\\":1"]',
    ''                  => '[""]',
    '[1,2]'             => '[[1,2]]',
    "{\n\"a\":\r\n[]}"    => '[{ "a":  []}]',
    "two\nlines"        => '["two\\nlines"]',
    '[' x 63 . ']' x 63 => '[' x 64 . ']' x 64,
    '[' x 64 . ']' x 64 => '["' . '[' x 64 . ']' x 64 . '"]',
);

for my $words (sort keys %payload) {
    (my $quoted = $words) =~ s/'/''/g;

    $pg->psql("notify prices, '$quoted'", @at);
    my $event = $all->event;

    (my $name = $words) =~ s/\s+/ /g;

    is($event->{data}, $payload{$words}, "payload: $name");
    is($event->{event}, 'price', '... under its target');
    is($event->{id} // '', '', '... without a number');
    is($group->event->{event}, 'price', '... members of a group have it, too');
}

my $long = 'z' x 7900;
$pg->psql("notify prices, '$long'", @at);
is(length $all->event->{data}, 7904, 'a long payload');
$group->event;

$pg->psql(q{notify stocks, '1'}, @at);
is($copy->event->{data}, '[1]', 'another channel, to another hub');

$pg->psql(q{notify "Odd ""name", 'g'; notify prices, 'end'}, @at);
is($group->event->{event}, 'odd', 'an odd channel, to a group');
is($all->event->{data}, '["end"]', '... and to nobody else');

$pg->psql(q{begin; notify prices, 'no'; rollback;}, @at);
$pg->psql(q{notify prices, 'yes'}, @at);
is($all->event->{data}, '["yes"]', 'a transaction that is rolled back says '
                                   . 'nothing');

$pg->restart;

my $gap = $all->event;
is($gap->{event}, 'broadcast.gap', 'after a reconnect clients are told');
like($gap->{data}, qr/"requested":\s*null/, '... that nobody knows what');

$pg->psql(q{notify prices, 'on'}, @at);
is($all->event->{data}, '["on"]', '... and it goes on');

like($pg->psql(q{select count(pg_terminate_backend(pid)) from pg_stat_activity
                  where usename = 'app'}), qr/^[1-9]/, 'its session is ended');
is($all->event->{event}, 'broadcast.gap', '... clients are told, too');
is(join(' ', map { $copy->event->{event} } 1, 2),
   'broadcast.gap broadcast.gap', '... each time, in each hub');
$pg->psql(q{notify prices, 'next'}, @at);
is($all->event->{data}, '["next"]', '... once');

my $pid = ($nginx->error_log =~ /.*\] (\d+)#\S+ broadcast: this worker relays/s)
          ? $1 : 0;
$nginx->kill_worker($pid);

my $later = Broadcast::SSE->connect($port, '/events/copy');
ok((wait_for {
        $pg->psql(q{notify stocks, 'alive'}, @at);
        (eval { $later->event(1) } // {})->{event};
    } 10), 'another worker listens when this one is killed');

$nginx->stop_ok(signal => 'TERM');

done_testing();
