#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# Our runner of data files: what it reads, and that each kind of check can
# fail.

use strict;
use warnings;

use FindBin;
use File::Temp qw(tempdir);
use Test::More;

my $lib = "$FindBin::Bin/lib";
my $dir = tempdir(CLEANUP => 1);

# no module is needed to look at nginx's own answers
$ENV{TEST_NGINX_LOAD_MODULES} = '';


# Runs blocks; the TAP lines.

sub blocks {
    my ($data) = @_;

    open my $f, '>', "$dir/x.t" or die;
    print $f "BEGIN { push \@INC, '$lib' }\n",
             "use Test::Nginx::Socket 'no_plan';\n",
             "run_tests();\n__DATA__\n\n$data";
    close $f;

    return grep { /^(?:not )?ok/ } split /\n/, `$^X $dir/x.t 2>/dev/null`;
}

my $site = <<'END';
=== TEST: site
--- config
    location /t {
        add_header X-A b;
        return 200 "hello\n";
    }
    location /echo {
        client_body_in_single_buffer on;
        proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/length;
    }
    location /length { return 200 $content_length; }
    location /moved { return 302 /t; }
END

my %good = (
    'a body' => "--- request\nGET /t\n--- response_body\nhello\n",
    'a body by eval' =>
        "--- request\nGET /t\n--- response_body eval\n\"hel\" . \"lo\\n\"\n",
    'a pattern' => "--- request\nGET /t\n--- response_body_like: ^hel+o\$\n",
    'a pattern that is not' =>
        "--- request\nGET /t\n--- response_body_unlike: bye\n",
    'a status' => "--- request\nGET /none\n--- error_code: 404\n",
    'headers' => "--- request\nGET /t\n--- response_headers\nX-A: b\n! X-B\n",
    'header patterns' =>
        "--- request\nGET /moved\n--- error_code: 302\n"
        . "--- response_headers_like\nLocation: http://.*/t\n",
    'a posted body' =>
        "--- request\nPOST /echo\nfive5\n--- response_body chomp\n5\n",
    'more headers' =>
        "--- request\nPOST /length\n--- more_headers\nContent-Length: 0\n"
        . "--- response_body chomp\n0\n",
    'a raw request' =>
        "--- raw_request eval\n\"GET /t HTTP/1.0\\r\\n\\r\\n\"\n"
        . "--- response_body\nhello\n",
    'several requests' =>
        "--- request eval\n[\"GET /t\", \"GET /none\"]\n"
        . "--- error_code eval\n[200, 404]\n",
    'files' => "--- user_files\n>>> a.txt\nabc\n--- request\nGET /a.txt\n"
        . "--- response_body\nabc\n",
    'the error log' => "--- request\nGET /none\n--- error_code: 404\n"
        . "--- error_log\nNo such file\n",
    'no error log' => "--- request\nGET /t\n--- no_error_log\n[error]\n",
);

for my $name (sort keys %good) {
    my @lines = blocks($site . $good{$name});
    ok(@lines && !grep({ /^not/ } @lines), "$name: passes")
        or diag join "\n", @lines;
}

my %bad = (
    'another body' => "--- request\nGET /t\n--- response_body\nbye\n",
    'another status' => "--- request\nGET /t\n--- error_code: 404\n",
    'no status means 200' => "--- request\nGET /none\n",
    'another header' =>
        "--- request\nGET /t\n--- response_headers\nX-A: c\n",
    'a header that should not be' =>
        "--- request\nGET /t\n--- response_headers\n! X-A\n",
    'another pattern' => "--- request\nGET /t\n--- response_body_like: bye\n",
    'a line that the log has' => "--- request\nGET /none\n"
        . "--- error_code: 404\n--- no_error_log\n[error]\n",
    'nginx that does not die' => "--- must_die\n",
);

for my $name (sort keys %bad) {
    my @lines = blocks($site . $bad{$name});
    ok(scalar grep({ /^not/ } @lines), "$name: fails");
}

my $broken = "=== TEST: broken\n--- config\n    foo bar;\n";

ok(!grep({ /^not/ } blocks("$broken--- must_die\n--- error_log\n"
                           . "unknown directive \"foo\"\n")),
   'a configuration that must die: passes');
ok(scalar grep({ /^not/ } blocks("$broken--- request\nGET /t\n")),
   'a configuration that should not die: fails');
ok(scalar grep({ /^not/ } blocks("$broken--- must_die\n--- error_log\n"
                                 . "other words\n")),
   'a configuration that dies of something else: fails');

my @some = blocks("=== TEST 1\n--- config\n--- request\nGET /none\n"
                  . "--- error_code: 404\n"
                  . "=== TEST 2\n--- SKIP\n--- request\nGET /none\n");
is_deeply([ scalar @some, scalar grep { /^not/ } @some ], [ 1, 0 ],
          'SKIP leaves a block out');

done_testing();
