#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# Each rule of util/check-layers, util/check-pure and util/check-style can
# fail: a small tree that keeps all rules, and one change at a time.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Path qw(make_path remove_tree);
use File::Temp qw(tempdir);
use Test::More;

my $top = abs_path(dirname(__FILE__) . '/..');
my $tree = tempdir(CLEANUP => 1);

my $head = "\n/*\n * Copyright (C) The nginx-broadcast authors\n */\n\n\n";
my $matrix = <<'END';
| layer | room | may include | nginx | libraries | holds |
| --- | --- | --- | --- | --- | --- |
| 0 | base | - | core | jansson | x |
| 1 | token | base | core | openssl | x |
| 3 | bus | base | event | - | x |
| 7 | http | base token bus | http | - | x |
| 8 | src | base token bus http | http | - | x |

END

my %good = (
    'src/README.md' => $matrix,
    'src/base/ngx_broadcast_a.h' =>
        "$head#include <jansson.h>\n\n\nint ngx_broadcast_a(void);\n",
    'src/base/ngx_broadcast_a.c' => <<"END",
$head#include "base/ngx_broadcast_a.h"


static int ngx_broadcast_a_inner(int (*cb)(int));

static const char  *ngx_broadcast_a_text = "//";


int
ngx_broadcast_a(void)
{
    return ngx_broadcast_a_inner(NULL);
}


static int
ngx_broadcast_a_inner(int (*cb)(int))
{
    return cb == NULL && ngx_broadcast_a_text[0];
}
END
    'src/token/ngx_broadcast_t.c' => <<"END",
$head#include "base/ngx_broadcast_a.h"
#include <openssl/evp.h>


int
ngx_broadcast_t(void)
{
    return ngx_broadcast_a();
}
END
    'src/http/ngx_http_broadcast_h.c' => <<"END",
$head#include <ngx_http.h>
#include "token/ngx_broadcast_t.h"
#include "base/ngx_broadcast_compat.h"


int
ngx_http_broadcast_h(ngx_http_request_t *r)
{
    return 0;
}
END
);


sub plant {
    my (%change) = @_;
    my %files = (%good, %change);

    remove_tree("$tree/src");

    for my $name (keys %files) {
        make_path(dirname("$tree/$name"));
        open my $f, '>', "$tree/$name" or die "$name: $!";
        print $f $files{$name};
        close $f;
    }
}


sub run {
    my (@command) = @_;

    my $words = `@command 2>&1`;
    return ($? == 0, $words);
}


sub refuses {
    my ($tool, $name, $pattern, %change) = @_;

    plant(%change);
    my ($ok, $words) = run("$top/util/$tool", $tree);

    ok(!$ok, "$tool: $name fails");
    like($words, $pattern, "$tool: $name is named");
}


# --- check-layers ------------------------------------------------------------

plant();

my ($ok, $words) = run("$top/util/check-layers", $tree);
ok($ok, 'check-layers: a tree in order passes') or diag $words;

my $a = 'src/base/ngx_broadcast_a.c';
my $h = 'src/http/ngx_http_broadcast_h.c';

refuses('check-layers', 'an include that climbs',
    qr/ngx_broadcast_a\.c:7: room 'base' may not include 'token'/,
    $a => "$head#include \"token/ngx_broadcast_t.h\"\n");

refuses('check-layers', 'an include beside',
    qr/room 'token' may not include 'bus'/,
    'src/token/ngx_broadcast_t.c' =>
        "$head#include \"bus/ngx_broadcast_b.h\"\n");

refuses('check-layers', 'an include without a room',
    qr/the include names no room: ngx_broadcast_a\.h/,
    $a => "$head#include \"ngx_broadcast_a.h\"\n");

refuses('check-layers', 'ngx_http.h below the rooms of requests',
    qr/room 'bus' may not include <ngx_http\.h>/,
    'src/bus/ngx_broadcast_b.c' => "$head#include <ngx_http.h>\n");

refuses('check-layers', 'ngx_http.h in a file named ngx_broadcast_',
    qr/<ngx_http\.h> belongs into a file named ngx_http_/,
    'src/http/ngx_broadcast_b.c' => "$head#include <ngx_http.h>\n");

refuses('check-layers', 'a file named ngx_http_ below the rooms of requests',
    qr/only a room with 'http' holds ngx_http_ files/,
    'src/bus/ngx_http_broadcast_b.c' => $head);

refuses('check-layers', 'a request below the rooms of requests',
    qr/room 'bus' may not know ngx_http_request_t/,
    'src/bus/ngx_broadcast_b.h' => "${head}void f(ngx_http_request_t *r);\n");

refuses('check-layers', 'ngx_event.h in a room without events',
    qr/room 'token' may not include <ngx_event\.h>/,
    'src/token/ngx_broadcast_t.c' => "$head#include <ngx_event.h>\n");

refuses('check-layers', 'a library that is not the room\'s',
    qr/room 'bus' may not include <openssl\/evp\.h>/,
    'src/bus/ngx_broadcast_b.c' => "$head#include <openssl/evp.h>\n");

refuses('check-layers', 'a .c file that is included',
    qr/a \.c file is included: base\/ngx_broadcast_a\.c/,
    $h => "$head#include \"base/ngx_broadcast_a.c\"\n");

refuses('check-layers', 'a function declared by hand in a .c file',
    qr/ngx_http_broadcast_h\.c:7: ngx_broadcast_a\(\) is declared by hand/,
    $h => "${head}int\nngx_broadcast_a(void);\n");

refuses('check-layers', 'another room\'s function in a header',
    qr/ngx_broadcast_a\(\) of room 'base' is declared by hand/,
    'src/token/ngx_broadcast_t.h' => "${head}int ngx_broadcast_a(void);\n");

refuses('check-layers', 'extern in a .c file',
    qr/a \.c file declares something as extern/,
    $h => "${head}extern int  ngx_broadcast_x;\n");

refuses('check-layers', 'a room that the matrix does not know',
    qr/room 'cellar' is not in the matrix/,
    'src/cellar/ngx_broadcast_c.c' => $head);


# --- check-style -------------------------------------------------------------

plant();

($ok, $words) = run("$top/util/check-style", $tree);
ok($ok, 'check-style: a tree in order passes') or diag $words;

my %ugly = (
    'a long line'         => [ qr/over 80 columns/, '/* ' . 'x' x 80 . " */\n" ],
    'a tab'               => [ qr/a tab/, "\tint  a;\n" ],
    'a blank at the end'  => [ qr/blanks at the end/, "int  a; \n" ],
    'a // comment'        => [ qr/a \/\/ comment/, "int  a; // b\n" ],
    'an assert'           => [ qr/an assert/, "assert(1);\n" ],
    'a mark'              => [ qr/a mark for later/, "/* TODO */\n" ],
    'a file cut off'      => [ qr/no newline at the end/, 'int  a;' ],
    'a file of 900 lines' => [ qr/over 800 lines/, "\n" x 900 ],
);

for my $name (sort keys %ugly) {
    refuses('check-style', $name, $ugly{$name}[0], $a => $head . $ugly{$name}[1]);
}

refuses('check-style', 'a file without copyright', qr/no copyright line/,
        $a => "int  a;\n");


# --- check-pure --------------------------------------------------------------

my $cc = $ENV{CC} || 'gcc';
my $objects = "$tree/objects";
my $pure = "int strange(void); int  ngx_broadcast_a(void) { return strange(); }";

sub compile {
    my (%rooms) = @_;
    my @objects;

    remove_tree($objects);

    for my $room (keys %rooms) {
        make_path("$objects/$room");
        open my $f, '>', "$tree/x.c" or die;
        print $f "$rooms{$room}\n";
        close $f;
        push @objects, "$objects/$room/ngx_broadcast_$room.o";
        system("$cc -fPIC -c -o $objects[-1] $tree/x.c") == 0 or die;
    }

    system("$cc -shared -o $tree/module.so @objects") == 0 or die;

    return run("$top/util/check-pure", $objects, "$tree/module.so");
}

my $other = 'int ngx_add_timer_x; int  ngx_broadcast_c(void) { return 0; }';

($ok, $words) = compile(base => $pure, conn => $other);
ok($ok, 'check-pure: objects in order pass') or diag $words;

for my $symbol (qw(ngx_event_timer_rbtree ngx_posted_events
                   ngx_http_finalize_request ngx_handle_read_event
                   ngx_event_actions ngx_close_connection))
{
    ($ok, $words) = compile(base => "extern int  $symbol;\n"
                                    . "int  f(void) { return $symbol; }");
    ok(!$ok && $words =~ /base\/ngx_broadcast_base\.o: asks for $symbol/,
       "check-pure: $symbol in a pure room fails") or diag $words;

    ($ok, $words) = compile(base => $pure,
        conn => "extern int  $symbol;\nint  f(void) { return $symbol; }");
    ok($ok, "check-pure: $symbol above them passes") or diag $words;
}

for my $symbol (qw(PQexec PQconnectdb PQcancel PQreset PQprepare getaddrinfo
                   sleep usleep poll select fopen))
{
    ($ok, $words) = compile(base => $pure,
        conn => "int  $symbol();\nint  f(void) { return $symbol(); }");
    ok(!$ok && $words =~ /conn\/ngx_broadcast_conn\.o: asks for $symbol, which/
       && $words =~ /module\.so: asks for $symbol, which/,
       "check-pure: $symbol fails anywhere") or diag $words;
}

done_testing();
