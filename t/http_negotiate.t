#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# broadcast_negotiate: what it signs for whom, and the URL it names.

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();

use Test::Nginx::Socket 'no_plan';

use Broadcast::Token qw(claims);

our $http = <<'EOC';
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef;
EOC

add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value('http_config', $http) unless $block->http_config;
});

# A pattern that matches an answer if code returns true with its claims in $_
# and the answer itself in $a.

sub claimed {
    my ($code) = @_;

    return qr/^(.+)$(?(?{
        my $a = JSON::PP::decode_json($1);
        local $_ = claims($a->{accessToken});
        $code->($a) })|(?!))/;
}

run_tests();

__DATA__

=== TEST 1: URL and token, by POST and by GET
--- config
    location = /n { broadcast_negotiate hub=Chat user=ann; }
    location /one { broadcast_hub hub=one; }
    location /two { broadcast_hub anonymous; }
    location /client { broadcast_hub; }
    location /more { broadcast_hub; }
--- request eval
["POST /n", "GET /n", "HEAD /n"]
--- more_headers eval
[("Host: example.com:8080") x 3]
--- response_headers eval
[("Content-Type: application/json\nCache-Control: no-store") x 3]
--- response_body_like eval
my $good = main::claimed(sub {
    $_[0]{url} eq 'http://example.com:8080/client?hub=chat'
    && $_->{nameid} eq 'ann' && $_->{exp} - $_->{iat} == 3600
    && $_->{aud} eq 'http://example.com:8080/client?hub=chat' });
[$good, $good, qr/^$/]



=== TEST 2: other methods
--- config
    location = /n { broadcast_negotiate hub=chat; }
--- request eval
["PUT /n\nx", "DELETE /n", "PATCH /n\nx"]
--- error_code eval
[405, 405, 405]
--- response_headers eval
[("Allow: GET, POST, OPTIONS") x 3]



=== TEST 3: a body does not matter
--- config
    location = /n { broadcast_negotiate hub=chat user=$arg_user; }
--- request
POST /n?user=ann
{"user":"bob"}
--- response_body_like eval
main::claimed(sub { $_->{nameid} eq 'ann' })



=== TEST 4: one $arg_… or $cookie_… is percent-decoded, nothing else
--- config
    location = /a { broadcast_negotiate hub=chat user=$arg_user; }
    location = /c { broadcast_negotiate hub=chat user=${cookie_user}; }
    location = /t { broadcast_negotiate hub=chat user=u-$arg_user; }
--- request eval
["GET /a?user=J%C3%BCrgen+B%26", "GET /c", "GET /t?user=a%20b"]
--- more_headers eval
["", "Cookie: user=a%20b+c", ""]
--- response_body_like eval
[main::claimed(sub { $_->{nameid} eq "J\x{fc}rgen B&" }),
 main::claimed(sub { $_->{nameid} eq 'a b+c' }),
 main::claimed(sub { $_->{nameid} eq 'u-a%20b' })]



=== TEST 5: without a user the token is anonymous
--- config
    location = /n { broadcast_negotiate hub=chat user=$arg_user; }
--- request
GET /n
--- response_body_like eval
main::claimed(sub { !exists $_->{nameid} })



=== TEST 6: users and hubs that are no names
--- config
    location = /n { broadcast_negotiate hub=$arg_hub user=$arg_user; }
--- request eval
["GET /n?hub=chat&user=a%00b", "GET /n?hub=chat&user=%ff",
 "GET /n?hub=chat&user=%zz", "GET /n?hub=4&user=a", "GET /n?user=a",
 "GET /n?hub=chat&user=" . ("a" x 1025)]
--- error_code eval
[(400) x 6]



=== TEST 7: groups and claims
--- config
    location = /n {
        broadcast_negotiate hub=chat groups=a,$arg_group,c claim=role:one
                            claim=role:$arg_role claim=name:Ann
                            claim=empty:$arg_none;
    }
--- request eval
["GET /n?group=b&role=two", "GET /n"]
--- response_body_like eval
[main::claimed(sub { "@{$_->{groups}}" eq 'a b c' && "@{$_->{role}}" eq 'one two'
                     && $_->{name} eq 'Ann' && !exists $_->{empty} }),
 main::claimed(sub { "@{$_->{groups}}" eq 'a c' && $_->{role} eq 'one' })]



=== TEST 8: the time to live
--- config
    location = /n { broadcast_negotiate hub=chat ttl=5m; }
--- request
GET /n
--- response_body_like eval
main::claimed(sub { $_->{exp} - $_->{iat} == 300 })



=== TEST 9: a URL of the operator's, its audience has the hub
--- config
    location = /n {
        broadcast_negotiate hub=chat url=https://$arg_host/ws?hub=chat&a=b;
    }
--- request
GET /n?host=a.example
--- response_body_like eval
main::claimed(sub { $_[0]{url} eq 'https://a.example/ws?hub=chat&a=b'
                    && $_->{aud} eq 'https://a.example/ws?hub=chat' })



=== TEST 10: a hub whose name needs encoding
--- config
    location = /n { broadcast_negotiate hub=a`b,c.[d]; }
    location /client/ { broadcast_hub; }
--- request
GET /n
--- response_body_like eval
main::claimed(sub { $_[0]{url} eq 'http://localhost/client/?hub=a%60b%2Cc.%5Bd%5D' })



=== TEST 11: the first key signs, of the server if it has one
--- http_config
    broadcast_zone hubs 1m;
    broadcast_key 0123456789abcdef;
--- config
    broadcast_key file=html/key kid=mine;
    broadcast_key 0123456789abcdef;
    location = /n { broadcast_negotiate hub=chat user=ann; }
    location /client { broadcast_hub; }
    location /who { broadcast_auth on; return 200 $broadcast_user; }
--- user_files
>>> key
fedcba9876543210
--- request eval
["GET /n", "GET /who?access_token="
 . Broadcast::Token::client_token('fedcba9876543210', 'chat', sub => 'bob')]
--- error_code eval
[200, 200]
--- response_body_like eval
[main::claimed(sub { $_->{nameid} eq 'ann' }), 'bob']



=== TEST 12: a token that would be too long is not given
--- config
    location = /n { broadcast_negotiate hub=chat claim=x:$arg_x; }
--- request eval
"GET /n?x=" . ("a" x 4000)
--- error_code: 400



=== TEST 13: a function needs a database
--- config
    location = /n { broadcast_negotiate hub=chat function=f; }
--- request
GET /n
--- error_code: 503
--- response_headers
Retry-After: 1



=== TEST 14: a URL that a variable leaves empty is not given
--- config
    location = /n { broadcast_negotiate hub=chat url=$arg_url; }
    location /client { broadcast_hub; }
--- request
GET /n
--- response_body_like eval
main::claimed(sub { $_[0]{url} eq 'http://localhost/client?hub=chat' })



=== TEST 15: ... and there is no other
--- config
    location = /n { broadcast_negotiate hub=chat url=$arg_url; }
--- request
GET /n
--- error_code: 400
--- response_body: The URL is empty or not well encoded.
