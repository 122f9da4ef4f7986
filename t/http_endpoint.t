#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# broadcast_negotiate with several endpoints: their weights, and health
# requests to two other nginx, over http and https, that stop and come back.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Broadcast::HTTP qw(http);
use Broadcast::Nginx qw(wait_for free_port);
use Broadcast::Token qw(claims);

my $key = 'a-secret-of-more-than-sixteen-bytes';

my @node = map { Broadcast::Nginx->new(
    tls    => 1,
    http   => "broadcast_zone hubs 1m; broadcast_key $key;",
    server => 'location /client { broadcast_hub; }
               location /api/   { broadcast_api; }'
) } 1, 2;

$_->start for @node;

my ($one, $two) = map { 'http://127.0.0.1:' . $_->port } @node;
my $secure = 'https://localhost:' . $node[1]->port('tls');
my $broken = 'http://127.0.0.1:' . free_port();

# /broken is a server that answers, but not with 200

my $nginx = Broadcast::Nginx->new(
    http   => "broadcast_zone hubs 1m; broadcast_key $key;",
    server => <<"EOC")->start;
        location = /three { broadcast_negotiate hub=chat user=ann
                            url=http://a/client?hub=chat weight=5
                            url=http://b/client?hub=chat
                            url=http://\$host/client?hub=chat; }
        location = /two   { broadcast_negotiate hub=chat health=100ms
                            url=$one/client?hub=chat weight=2
                            url=$two/client?hub=chat; }
        location = /tls   { broadcast_negotiate hub=chat health=5m
                            url=$one/client?hub=chat
                            url=$secure/client?hub=chat; }
        location = /fast  { broadcast_negotiate hub=chat health=100ms
                            url=$secure/client?hub=chat; }
        location = /none  { broadcast_negotiate hub=chat health=100ms
                            url=$broken/client?hub=chat
                            url=http://127.0.0.1:%%PORT%%/client?hub=chat; }
        location = /status { broadcast_status; }
EOC

my $port = $nginx->port;


sub negotiate {
    my ($where) = @_;
    my $r = http($port, 'GET', $where);

    my ($host) = ($r->{json}{url} // '') =~ m{^(https?://[^/]+)/client};
    return $host // "no URL: $r->{status} $r->{body}";
}


sub sequence { join ' ', map { negotiate($_[0]) } 1 .. $_[1] }


sub up {
    my ($url) = @_;
    my $json = http($port, 'GET', '/status?format=json')->{json};

    return $json->{endpoints}{$url}{up} ? 1 : 0;
}


# weights, without health

is sequence('/three', 7),
    join(' ', map { "http://$_" } qw(a a b a localhost a a)) =~
        s/localhost/127.0.0.1/r,
    'weights 5, 1 and 1 are spread smoothly, not in runs';

is sequence('/three', 7), sequence('/three', 7), '... and begin again';

my $r = http($port, 'GET', '/three');
is claims($r->{json}{accessToken})->{aud}, $r->{json}{url},
    'the token is for the endpoint that was picked';

# all answer

ok wait_for { up($one) && up($two) && up($secure) },
    'the endpoints answer their health requests';
is sequence('/two', 6), "$one $two $one $one $two $one",
    'weights 2 and 1 share the clients';

ok wait_for { $node[1]->access_log =~ m{"HEAD /api/health HTTP/1.1" 200} },
    'what is asked is HEAD /api/health';
is http($node[1]->port, 'HEAD', '/api/health')->{status}, 200,
    '... which a node answers without a token';

# those that never do: all of them are used

ok wait_for { !up($broken) && !up("http://127.0.0.1:$port") },
    'one that takes no connection and one that answers 404 are down';
is join(' ', sort split / /, sequence('/none', 4)),
    join(' ', sort(($broken, "http://127.0.0.1:$port") x 2)),
    'where all are down all are used';

like $nginx->error_log, qr{\[warn\] .* endpoint "\Q$broken\E" is down: it takes no connection},
    'the log says which and why: no connection';
like $nginx->error_log, qr{endpoint "http://127.0.0.1:$port" is down: its status is not 2xx},
    '... a status';

my $text = http($port, 'GET', '/status?format=prometheus')->{body};
like $text, qr/^nginx_broadcast_endpoint_up\{url="\Q$one\E"\} 1$/m,
    'Prometheus tells of one that is up';
like $text, qr/^nginx_broadcast_endpoint_up\{url="\Q$broken\E"\} 0$/m,
    '... and of one that is down';
is scalar(() = $text =~ /^nginx_broadcast_endpoint_up/mg), 5,
    '... each once, however many locations name it';
like http($port, 'GET', '/status?format=html')->{body},
    qr{<th>Endpoint \Q$two\E</th><td>up</td>}, 'so does the page';

# one stops

$node[1]->stop;

ok wait_for { !up($two) }, 'a node that was stopped is found down';
is sequence('/two', 4), "$one $one $one $one",
    'no client is sent to it any more';
ok wait_for { !up($secure) }, '... nor over TLS';
is sequence('/tls', 3), "$one $one $one",
    'locations share what is known of an endpoint';

# and comes back

$node[1]->start;

ok wait_for { up($two) && up($secure) }, 'a node that was started is found up';
like $nginx->error_log, qr{\[notice\] .* endpoint "\Q$two\E" is up again},
    '... which is logged';
is scalar(grep { $_ eq $two } map { negotiate('/two') } 1 .. 6), 2,
    'it gets its share again';

# one that takes connections and says nothing

my $mute = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0,
                                 Listen => 64) or die;
my $silent = 'http://127.0.0.1:' . $mute->sockport;

$nginx->reload(server => <<"EOC");
        location = /two   { broadcast_negotiate hub=chat
                            url=$one/client?hub=chat
                            url=$silent/client?hub=chat health=200ms; }
        location = /status { broadcast_status; }
EOC

ok wait_for { !up($silent) }, 'one that says nothing is down';
like $nginx->error_log, qr{"\Q$silent\E" is down: it did not answer in time},
    '... as it did not answer in time';
ok wait_for { up($one) }, 'the other is not';
is sequence('/two', 2), "$one $one", 'and gets all clients';
is http($port, 'GET', '/status?format=json')->{json}{endpoints}{$two}, undef,
    'a reload forgets endpoints that are named no more';

# an exit in the middle of requests

$nginx->stop_ok(name => 'nginx ends with requests under way, no socket left');

$_->stop_ok for @node;

done_testing;
