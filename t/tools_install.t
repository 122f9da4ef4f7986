#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# util/build --install on an nginx that serves a site of its own: the printed
# lines and a reload, and the site goes on undisturbed.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Temp qw(tempdir);
use Test::More;

use Broadcast::HTTP qw(http);
use Broadcast::Nginx;
use Broadcast::SSE;
use Broadcast::Wait qw(slurp);

my $top = "$FindBin::Bin/..";
my $dest = tempdir('broadcast-dest-XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0755, $dest;

my $nginx = Broadcast::Nginx->new(
    module  => '',
    workers => 2,
    server  => 'location /slow { limit_rate 20k; }',
);

$nginx->write('html/index.html', "the old site\n");
$nginx->write('html/slow', 'x' x 60_000);
$nginx->start;


# --- install -----------------------------------------------------------------

my $words = `DESTDIR=$dest $top/util/build --install 2>&1`;

is($?, 0, 'util/build --install') or BAIL_OUT($words);

my ($module) = `find $dest -name ngx_http_broadcast_module.so`;
chomp $module;

ok(length $module, 'the module is where nginx looks');

for my $file (qw(sql/broadcast.sql conf-examples/demo.conf html/index.html
                 html/lib/signalr.min.js))
{
    ok(-f "$dest/usr/share/nginx-broadcast/$file", "$file is there");
}

my ($load) = $words =~ /^\s+(load_module .*;)$/m;
my ($zone) = $words =~ /^\s+(broadcast_zone .*;)$/m;

ok(defined $load && defined $zone, 'the lines for nginx.conf are printed')
    or BAIL_OUT($words);

unlike($words, qr/\Q$ENV{HOME}\E\/.*nginx\.conf/, 'nothing is edited');

# "modules/" is a link in nginx's prefix, as in Debian
(my $modules = $module) =~ s{/[^/]+$}{};
symlink $modules, $nginx->dir . '/modules';


# --- the lines, and a reload -------------------------------------------------

my $keep = Broadcast::HTTP->connect($nginx->port);
$keep->request('GET', '/', keepalive => 1);
is($keep->body($keep->head), "the old site\n", 'the old site, before');

my $slow = Broadcast::HTTP->connect($nginx->port);
$slow->request('GET', '/slow');
my $head = $slow->head;

$nginx->configure(
    main   => $load,
    http   => $zone,
    server => $nginx->{server} . <<'END');
        location /events/  { broadcast_events anonymous; }
        location /publish/ { broadcast_publish; }
END

my ($ok, $test) = $nginx->test;
ok($ok, 'nginx -t accepts the lines') or diag $test;

ok($nginx->reload, 'nginx reloads');

is(length $slow->body($head, 'GET', 30), 60_000,
   'an answer under way comes to its end');
is(http($nginx->port, 'GET', '/')->{body}, "the old site\n",
   'the old site, after');

my $sse = Broadcast::SSE->connect($nginx->port, '/events/news');
is($sse->{head}{status}, 200, 'a client listens');

is(http($nginx->port, 'POST', '/publish/news', body => 'hello')->{status}, 200,
   'a publish is taken');

my $event = $sse->event;
is($event && $event->{data}, '["hello"]', 'and arrives');
$sse->close;

# a second time, over the file that is in use
$words = `DESTDIR=$dest $top/util/build --install 2>&1`;
is($?, 0, 'it installs over itself') or diag $words;
is(http($nginx->port, 'GET', '/')->{body}, "the old site\n",
   'nginx goes on with the old file');

$nginx->stop_ok;

done_testing();
