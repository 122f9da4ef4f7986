package Broadcast::Token;

# Copyright (C) The nginx-broadcast authors
#
# JSON Web Tokens, good and bad.
#
#   token($secret, { sub => 'ann', exp => time + 60 }, alg => 'HS384')
#   client_token($secret, 'chat', sub => 'ann')    # valid for an hour
#   rest_token($secret, 'http://host/api/hubs/chat/:send')
#   claims($token)                                 # without a check

use strict;
use warnings;

use Digest::SHA ();
use Exporter 'import';
use JSON::PP ();
use MIME::Base64 ();

our @EXPORT_OK = qw(token client_token rest_token claims base64url);

my $json = JSON::PP->new->utf8->canonical;


sub base64url {
    my $text = MIME::Base64::encode_base64($_[0], '');

    $text =~ tr{+/=}{-_}d;
    return $text;
}


# header: more members of the header; sign: 0 leaves the signature out

sub token {
    my ($secret, $claims, %o) = @_;

    my $alg = $o{alg} // 'HS256';
    my %hmac = (HS256 => \&Digest::SHA::hmac_sha256,
                HS384 => \&Digest::SHA::hmac_sha384,
                HS512 => \&Digest::SHA::hmac_sha512);

    my $text = join '.',
        base64url($json->encode(
            { alg => $alg, typ => 'JWT', %{ $o{header} // {} } })),
        base64url(ref $claims ? $json->encode($claims) : $claims);

    my $hmac = $hmac{$alg};

    return "$text." . ($hmac && ($o{sign} // 1)
                       ? base64url($hmac->($text, $secret)) : '');
}


sub client_token {
    my ($secret, $hub, %claims) = @_;

    return token($secret, { aud => "http://localhost/client?hub=$hub",
                            exp => time + 3600, %claims });
}


sub rest_token {
    my ($secret, $url, %claims) = @_;

    return token($secret, { aud => $url, exp => time + 3600, %claims });
}


sub claims {
    my ($token) = @_;

    my $part = (split /\./, $token)[1];
    $part =~ tr{-_}{+/};

    return $json->decode(MIME::Base64::decode_base64($part));
}


1;
