#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# util/build on a module of two small files: what it makes again and when, and
# how it fails.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Cwd qw(abs_path);
use File::Path qw(make_path);
use File::Temp qw(tempdir);
use Test::More;
use Time::HiRes qw(time);

use Broadcast::Wait qw(slurp);

my $top = abs_path("$FindBin::Bin/..");
my $tree = tempdir('broadcast-build-XXXXXX', TMPDIR => 1, CLEANUP => 1);

# the page's client is fetched once for the checkout, not here again
make_path("$tree/src/base", "$tree/build");
system("cp -R $top/config $top/util $top/html $top/sql $tree/") == 0 or die;
system("cp -R $top/build/npm $tree/build/ 2>/dev/null");

put('src/base/ngx_broadcast_x.h', "int ngx_broadcast_x(void);\n");

put('src/base/ngx_broadcast_x.c', my $x = <<'END');
#include <ngx_config.h>
#include <ngx_core.h>
#include "base/ngx_broadcast_x.h"


int
ngx_broadcast_x(void)
{
    return 0;
}
END

put('src/ngx_http_broadcast_module.c', <<'END');
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "base/ngx_broadcast_x.h"


static ngx_http_module_t  ngx_http_broadcast_module_ctx = {
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
};


ngx_module_t  ngx_http_broadcast_module = {
    NGX_MODULE_V1, &ngx_http_broadcast_module_ctx, NULL, NGX_HTTP_MODULE,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NGX_MODULE_V1_PADDING
};
END


sub put {
    my ($name, $text) = @_;

    open my $f, '>', "$tree/$name" or die "$name: $!";
    print $f $text;
    close $f;
}


sub build {
    my ($words, $where) = @_;

    $where //= $tree;
    my $out = `'$where/util/build' $words 2>&1 </dev/null`;

    return ($? == 0, $out);
}

my ($ok, $words) = build('');
my $module = "$tree/build/ngx_http_broadcast_module.so";

ok($ok && -f $module, 'it builds') or BAIL_OUT($words);
like($words, qr{\[2/3\]}, 'it says how far it is');
like($words, qr{^util/build: done: build/ngx_http_broadcast_module\.so$}m,
     'it says what it made');

my $inode = (stat $module)[1];
($ok, $words) = build('');

ok($ok, 'a second time');
unlike($words, qr/compiling|configuring/, 'a second time makes nothing');
is((stat $module)[1], $inode, 'the file stays the same');

# make looks at times of a file system that may count in seconds
utime time + 2, time + 2, "$tree/src/base/ngx_broadcast_x.h";
($ok, $words) = build('');
like($words, qr/compiling 2 files/, 'a new header makes our objects again');

put('src/base/ngx_broadcast_x.c', $x =~ s/return 0;/int  unused; return 1;/r);
($ok, $words) = build('');
ok(!$ok, 'a warning is an error');
like($words, qr/unused variable/, 'the compiler\'s words are shown');
like($words, qr/^util\/build: error: the compiler found errors/m,
     'and that it was the compiler');

put('src/base/ngx_broadcast_x.c', $x =~ s/return 0;/return 1;/r);
($ok, $words) = build('');
ok($ok, 'mended, it builds') or diag $words;
isnt((stat $module)[1], $inode,
     'a new module is a new file: a running nginx keeps the old one');

put('src/base/ngx_broadcast_y.c', "int  ngx_broadcast_y;\n");
($ok, $words) = build('');
like($words, qr/configuring.*ngx_broadcast_y\.c/s,
     'a new source is found and configured');


# --- how it fails ------------------------------------------------------------

($ok, $words) = build('--nonsense');
ok(!$ok && $words =~ /unknown option: --nonsense/, 'an unknown option');

mkdir "$tree/a folder";
symlink "$tree/$_", "$tree/a folder/$_" for qw(config html src sql);
system("cp -R $tree/util '$tree/a folder/'");
($ok, $words) = build('', "$tree/a folder");
ok(!$ok && $words =~ /a blank in its path\n +move the checkout/,
   'a blank in the path') or diag $words;

put('nginx', "#!/bin/sh\necho 'nginx version: nginx/1.2.3' >&2\n");
chmod 0755, "$tree/nginx";
{
    local $ENV{NGINX} = "$tree/nginx";
    ($ok, $words) = build('');
    ok(!$ok && $words =~ /nginx is 1\.2\.3, nginx-dev is .*--nginx-source/s,
       'another version of nginx') or diag $words;
}

($ok, $words) = build('--install --sanitize');
ok(!$ok && $words =~ /a sanitized module cannot be installed/,
   'a sanitized module is not installed');

done_testing();
