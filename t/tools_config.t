#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# The file config, as nginx's configure runs it: static, which no other test
# does, and with each library missing.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Cwd qw(abs_path);
use File::Temp qw(tempdir);
use Test::More;

use Broadcast::Wait qw(slurp);

my $top = abs_path("$FindBin::Bin/..");
my $source = '/usr/share/nginx/src';
my $dir = tempdir(CLEANUP => 1);

plan skip_all => "no $source: apt-get install nginx-dev"
    unless -x "$source/configure";

symlink "$source/$_", "$dir/$_" for qw(auto src configure);

# a compiler that cannot find a library

open my $cc, '>', "$dir/cc" or die;
print $cc <<'END';
#!/bin/sh
for word; do
    if [ "$word" = "-l$MISSING" ]; then
        echo "cannot find -l$MISSING" >&2
        exit 1
    fi
done
exec gcc "$@"
END
close $cc;
chmod 0755, "$dir/cc";


sub configure {
    my (@words) = @_;

    my $words = `cd $dir && ./configure --with-compat --builddir=objs \\
        --with-http_ssl_module --with-cc=$dir/cc @words 2>&1`;

    return ($? == 0, $words);
}

my ($ok, $words) = configure("--add-module=$top");
my $make = slurp("$dir/objs/Makefile") // '';

ok($ok, 'static: it configures') or diag $words;
like($make, qr{addon/shm/ngx_broadcast_log\.o}, 'static: the rooms are built');
my ($link) = $make =~ /^(\t\$\(LINK\) -o objs\/nginx\b.*?[^\\])\n/ms;
like($link // '', qr/-lpq\b.*-ljansson\b.*-lmsgpackc\b.*-lcrypto\b/s,
     'static: nginx links the libraries');

for my $case ([ pq => 'libpq 14 or later', 'libpq-dev' ],
              [ jansson => 'jansson', 'libjansson-dev' ],
              [ msgpackc => 'msgpack-c 3.1 or later', 'libmsgpack-dev' ],
              [ crypto => 'OpenSSL 1.1.1 or later', 'libssl-dev' ])
{
    my ($library, $name, $package) = @$case;

    local $ENV{MISSING} = $library;
    ($ok, $words) = configure("--add-dynamic-module=$top");

    ok(!$ok, "without lib$library configure stops");
    like($words, qr/ngx_http_broadcast_module needs $name/,
         "without lib$library it says what is missing");
    like($words, qr/apt-get install $package/,
         "without lib$library it names the package");
}

done_testing();
