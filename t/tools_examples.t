#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# Each file of conf-examples/ is taken by nginx, with nothing changed but paths
# and ports.  demo.conf and demo.sql are run in full by t/tools_demo.t.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MIME::Base64 qw(encode_base64);
use Test::More;

use Broadcast::HTTP qw(http);
use Broadcast::Nginx;
use Broadcast::Wait qw(slurp);

my $top = "$FindBin::Bin/..";


sub example {
    my ($file, %o) = @_;

    my $nginx = Broadcast::Nginx->new(conf => '', %o);
    my $conf = slurp("$top/conf-examples/$file");
    my $temp = join ' ', map { "${_}_temp_path %%DIR%%/$_;" }
                         qw(client_body proxy fastcgi uwsgi scgi);

    $conf =~ s/^load_module .*;$/load_module $nginx->{module};/m;
    $conf =~ s/^(events)/daemon off; pid %%DIR%%\/pid; error_log %%DIR%%\/error.log info; $1/m;
    $conf =~ s/^(http \{)/$1 access_log %%DIR%%\/access.log; $temp/m;
    $conf =~ s/listen 8080/listen 127.0.0.1:%%PORT%%/g;
    $conf =~ s/root +html/root %%DIR%%\/html/g;
    $conf =~ s/\/etc\/nginx\/(broadcast\.key|users)/%%DIR%%\/$1/g;
    $conf = "user www-data;\n$conf" if $> == 0;

    $nginx->write('broadcast.key', "0123456789abcdef0123456789abcdef\n");
    $nginx->write('users', "ann:{PLAIN}secret\nbob:{PLAIN}secret\n");
    $nginx->configure(conf => $conf);

    return $nginx;
}

for my $path (sort glob "$top/conf-examples/*.conf") {
    my ($file) = $path =~ m{([^/]+)$};
    my ($ok, $words) = example($file)->test;

    ok($ok, "nginx -t takes $file") or diag $words;
}


# --- private.conf ------------------------------------------------------------

my $nginx = example('private.conf');

$nginx->write('html/private/note', "for members\n");
chmod 0777, $nginx->dir . '/html/private';
$nginx->start;

sub member {
    my ($name) = @_;

    my $r = http($nginx->port, 'POST', '/api/negotiate', body => '',
        headers => [ Authorization =>
                     'Basic ' . encode_base64("$name:secret", '') ]);

    return [ Authorization => "Bearer $r->{json}{accessToken}" ];
}

my ($ann, $bob) = map { member($_) } qw(ann bob);
my $port = $nginx->port;

is(http($port, 'GET', '/private/note')->{status}, 401,
   'a private file needs a token');
is(http($port, 'GET', '/private/note', headers => $bob)->{body},
   "for members\n", 'with one it is served');
is(http($port, 'PUT', '/private/new', headers => $bob, body => 'x')->{status},
   403, 'an upload needs the role');
is(http($port, 'PUT', '/private/new', headers => $ann, body => 'x')->{status},
   201, 'with it the file is stored');
is(http($port, 'GET', '/private/new', headers => $bob)->{body}, 'x',
   'and served');

$nginx->stop_ok;

done_testing();
