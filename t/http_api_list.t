#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# Pages of connections and of groups over REST: what is in them, and that who
# stays connected is in exactly one of them, whoever comes and goes between;
# with four workers.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::HTTP;
use Broadcast::Hub;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Plain;
use Broadcast::SSE;
use Broadcast::Token qw(client_token rest_token);

my $key = '0123456789abcdef';

my $nginx = Broadcast::Nginx->new(
    workers => 4,
    tls     => 1,
    http    => "broadcast_zone hubs 8m;\nbroadcast_key $key;\n",
    server  => <<'EOC',
        location /client  { broadcast_hub; }
        location /anon/   { broadcast_events anonymous; }
        location /api/    { broadcast_api; }
EOC
)->start;

my $port = $nginx->port;
my $v = 'api-version=2024-12-01';

sub get {
    my ($url, %o) = @_;
    my ($path) = $url =~ m{^(?:\w+://[^/]+)?([^?]*)};
    my ($request) = $url =~ m{^(?:\w+://[^/]+)?(.*)};

    my $r = Broadcast::HTTP::http($o{port} // $port, 'GET', $request, %o,
        headers => [ Authorization => 'Bearer '
                     . rest_token($key, "http://localhost$path"),
                     @{ $o{headers} // [] } ]);

    return $r;
}

sub page { get(@_)->{json} }

# all pages from a URL on, following nextLink; between two of them `between`

sub pages {
    my ($url, $between) = @_;
    my @pages;

    while ($url) {
        my $page = page($url);
        push @pages, $page->{value};
        $url = $page->{nextLink};
        $between->() if $between && $url;
        last if @pages > 100;
    }

    return @pages;
}

sub sizes { join ' ', map { scalar @$_ } @_ }
sub ids { map { $_->{connectionId} } map { @$_ } @_ }


# --- nobody ------------------------------------------------------------------

for my $path (qw(connections groups groups/g/connections users/u/connections)) {
    my $r = get("/api/hubs/chat/$path?$v");
    is($r->{status}, 200, "$path of a hub that nobody has used is a page");
    is($r->{body}, '{"value":[]}', '... and empty');
}


# --- what is told of each ----------------------------------------------------

my $ann = Broadcast::Hub->connect($port, '/client?hub=chat',
    token => client_token($key, 'chat', sub => 'ann',
                          groups => [ 'red', "a \"b\"/c" ]));
my $plain = Broadcast::Plain->connect($port, '/anon/chat?group=red');
my $sse = Broadcast::SSE->connect($port, '/anon/news?group=red');

ok(!$ann->{error}, 'a client of the hub protocol is connected');
ok(wait_for { @{ page("/api/hubs/chat/connections?$v")->{value} } == 2 },
   'two connections are listed');

my ($first) = grep { $_->{connectionId} eq $ann->{id} }
              @{ page("/api/hubs/chat/connections?$v")->{value} };
my ($other) = grep { $_->{connectionId} ne $ann->{id} }
              @{ page("/api/hubs/chat/connections?$v")->{value} };

is(join(' ', sort keys %$first), 'connectedAt connectionId transport userId',
   'four members each');
is($first->{userId}, 'ann', 'the user');
is($first->{transport}, 'websocket', 'the transport');
like($first->{connectedAt}, qr/^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$/,
     'since when, in UTC');
is($other->{userId}, undef, 'no user is null');
is(page("/api/hubs/news/connections?$v")->{value}[0]{transport}, 'sse',
   'an event stream says so');
is(sizes(pages("/api/v1/hubs/chat/connections")), 2, 'the older path, too');

is_deeply([ ids(pages("/api/hubs/chat/users/ann/connections?$v")) ],
          [ $ann->{id} ], 'those of a user');
is_deeply([ ids(pages("/api/hubs/chat/users/Ann/connections?$v")) ], [],
          '... whose case counts');
is_deeply([ sort(ids(pages("/api/hubs/chat/groups/red/connections?$v"))) ],
          [ sort $ann->{id}, $other->{connectionId} ], 'those of a group');
is_deeply([ ids(pages("/api/hubs/chat/groups/a%20%22b%22%2Fc/connections?$v")) ],
          [ $ann->{id} ], '... with any name');

is_deeply({ map { $_->{name} => $_->{connections} }
            @{ page("/api/hubs/chat/groups?$v")->{value} } },
          { red => 2, "a \"b\"/c" => 1 },
          'groups with how many are in each, of this hub alone');


# --- keys of the query -------------------------------------------------------

my @bad = (
    [ 'maxpagesize=0', 'maxpagesize' ], [ 'maxPageSize=x', 'maxpagesize' ],
    [ 'maxpagesize=', 'maxpagesize' ], [ 'top=-1', 'top' ],
    [ 'top=0', 'top' ], [ 'top=99999999999999999999', 'top' ],
    map { [ "continuationToken=$_", 'continuationToken' ] }
        '', 'x', 'MS4', 'MC4w', 'MS54', '%ff', 'A' x 300,
        # 1.-1, 4294967295.1, 1.2147483647, 1:c1
        'MS4tMQ', 'NDI5NDk2NzI5NS4x', 'MS4yMTQ3NDgzNjQ3', 'MTpjMQ',
);

for my $bad (@bad) {
    my $r = get("/api/hubs/chat/connections?$v&$bad->[0]");
    is("$r->{status} " . ($r->{json}{target} // ''), "400 $bad->[1]",
       substr("$bad->[0] is refused by name", 0, 60));
}

is(get('/api/hubs/chat/connections')->{status}, 400, 'api-version is required');
is(get("/api/hubs/chat/groups/%20/connections?$v")->{status}, 400,
   'a group must have a name');


# --- pages -------------------------------------------------------------------

my @many = map { Broadcast::Plain->connect($port, '/anon/many?group=g') }
           1 .. 25;

ok(wait_for { @{ page("/api/hubs/many/connections?$v")->{value} } == 25 },
   'twenty-five are connected');

my $link = page("/api/hubs/many/connections?$v&maxPageSize=10&x=%20y"
                . '&access_token=secret')->{nextLink};
like($link, qr{^http://127\.0\.0\.1:$port/api/hubs/many/connections\?
               \Q$v\E&maxPageSize=10&x=%20y&continuationToken=[\w-]+$}x,
     'the link is absolute, with the query as it was and without the token');
my $tls = page("/api/hubs/many/connections?$v&top=30&maxpagesize=20",
               port => $nginx->port('tls'), tls => 1,
               headers => [ Host => 'api.example:444' ]);
like($tls->{nextLink}, qr{^https://api\.example:444/api/}, '... as it was asked');

my @pages = pages("/api/hubs/many/connections?$v&maxpagesize=10");
is(sizes(@pages), '10 10 5', 'pages of ten');
my %seen;
$seen{$_}++ for ids(@pages);
is(keys %seen, 25, 'all of them');

is(sizes(pages("/api/hubs/many/connections?$v&maxpagesize=5")), '5 5 5 5 5',
   'the last page is full, and is the last');
is(sizes(pages("/api/hubs/many/connections?$v&maxpagesize=10&top=12")), '10 2',
   'top counts over all pages');
is(sizes(pages("/api/hubs/many/connections?$v&maxpagesize=10&top=20")), '10 10',
   '... to the last one');
is(sizes(pages("/api/hubs/many/connections?$v&maxpagesize=10&top=10")), '10',
   '... and one page may be all');
is(sizes(pages("/api/hubs/many/groups/g/connections?$v&maxpagesize=20")),
   '20 5', 'a group in pages');
is(sizes(pages("/api/hubs/many/connections?$v&maxpagesize=1000")), '25',
   'more than 200 a page may be asked for');

# Others come and go between the pages: each second one that is there now
# leaves, and a new one comes.

my @stay = @many[ grep { $_ % 2 } 0 .. $#many ];
my @leave = @many[ grep { !($_ % 2) } 0 .. $#many ];
my @ids = map { $_->{connectionId} }
          @{ page("/api/hubs/many/connections?$v")->{value} };
my @new;

@pages = pages("/api/hubs/many/connections?$v&maxpagesize=3", sub {
    for (1 .. 2) {
        my $client = shift @leave or next;
        $client->close;
        push @new, Broadcast::Plain->connect($port, '/anon/many?group=g');
    }
});

my %left = map { $_->{connectionId} => 1 }
           map { @$_ } pages("/api/hubs/many/connections?$v");
my @constant = grep { $left{$_} } @ids;
my %times;
$times{$_}++ for ids(@pages);

cmp_ok(scalar @constant, '>=', scalar @stay, 'some stayed all the time');
is_deeply([ grep { !$times{$_} } @constant ], [], 'none of them was missed');
is_deeply([ grep { $times{$_} > 1 } keys %times ], [], 'nobody came twice');


# --- more than a page can hold, and names that are many ----------------------

my $crowd = Broadcast::Hub->connect($port, '/client?hub=big',
    token => client_token($key, 'big', sub => 'x',
                          groups => [ map { "group$_" } 1 .. 230 ]));

ok(wait_for { sizes(pages("/api/hubs/big/groups?$v")) eq '200 30' },
   'pages hold 200 at most, and so many unless asked otherwise');
is(sizes(pages("/api/hubs/big/groups?$v&maxpagesize=500")), '200 30',
   '... whatever is asked');
is(sizes(pages("/api/hubs/big/groups?$v&maxpagesize=100&top=150")), '100 50',
   'top and pages of groups');

my %names;
$names{ $_->{name} }++ for map { @$_ } pages("/api/hubs/big/groups?$v&maxpagesize=7");
is(scalar(grep { $names{"group$_"} == 1 } 1 .. 230), 230,
   'each group is there once');

# a client that goes away while its list is made leaves nothing behind

for (1 .. 20) {
    my $c = Broadcast::HTTP->connect($port);
    $c->write("GET /api/hubs/big/groups?$v HTTP/1.1\r\nHost: a\r\n"
              . 'Authorization: Bearer '
              . rest_token($key, 'http://a/api/hubs/big/groups')
              . "\r\n\r\n");
    $c->close;
}

is(sizes(pages("/api/hubs/big/groups?$v")), '200 30', 'others are served');

$_->close for $ann, $crowd, $plain, @stay, @new;
$sse->close;
$nginx->stop_ok;

done_testing();
