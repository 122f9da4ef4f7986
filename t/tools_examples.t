#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# Each file of conf-examples/ is taken by nginx, with nothing changed but paths
# and ports.  demo.conf and demo.sql are run in full by t/tools_demo.t.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();
use MIME::Base64 qw(encode_base64);
use Test::More;

use Broadcast::HTTP qw(http);
use Broadcast::Nginx;
use Broadcast::Postgres;
use Broadcast::SSE;
use Broadcast::Wait qw(slurp wait_for);

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
    $conf =~ s/"host=[^"]*"/"$o{conninfo}"/ if $o{conninfo};
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
    my ($name, $port) = @_;

    my $r = http($port // $nginx->port, 'POST', '/api/negotiate', body => '',
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


# --- upload.conf, upload.sql -------------------------------------------------

my $pg = Broadcast::Postgres->new;
my @at = (db => 'app', user => 'broadcast');

$pg->createdb('app', 'broadcast');
$pg->file("$top/$_", @at) for 'sql/broadcast.sql', 'conf-examples/upload.sql',
                              'conf-examples/upload.sql';

$nginx = example('upload.conf', conninfo => $pg->conninfo('app', 'broadcast'));
$nginx->write('html/private/note', "for members\n");
chmod 0777, $nginx->dir . '/html/private';
$nginx->start;
$port = $nginx->port;

($ann, $bob) = map { member($_, $port) } qw(ann bob);

my $sse = Broadcast::SSE->connect($port, '/events/files', headers => $bob);

is(http($port, 'PUT', '/private/a.txt', headers => $bob, body => 'x')->{status}, 403,
   'an upload needs the role');
is(http($port, 'GET', '/private/note', headers => $bob)->{status}, 200, 'a read does not');
is(http($port, 'PUT', '/private/a.txt', headers => $ann, body => 'hello')->{status}, 201,
   'with the role it is stored');
my $e = $sse->event;
is_deeply([ $e->{event}, JSON::PP::decode_json($e->{data}) ],
          [ 'uploaded', [ { path => '/private/a.txt', size => 5, by => 'ann' } ] ],
          '... and everybody is told, of this alone');
is($pg->psql('select path, size, uploader from upload', @at), '/private/a.txt|5|ann',
   '... by the transaction that keeps it');
is(http($port, 'DELETE', '/private/a.txt', headers => $ann)->{status}, 204, 'it is deleted');
$e = $sse->event;
is("$e->{event} $e->{data}", 'deleted ["/private/a.txt"]', '... which is told, too');

$nginx->stop_ok(signal => 'TERM');

done_testing();
