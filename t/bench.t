#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# The measuring command: what it prints and draws, much too short, beside the
# floor alone, and that a server which loses or doubles a message fails the run
# instead of being measured.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Temp qw(tempdir);
use IO::Socket::INET;
use JSON::PP;
use POSIX qw(:sys_wait_h);
use Test::More;

use lib abs_path(dirname(__FILE__)) . '/lib';

use Broadcast::HTTP qw(http);
use Broadcast::Nginx;
use Broadcast::Wait qw(free_port wait_for);

my $top = abs_path(dirname(__FILE__) . '/..');
my $tmp = tempdir(CLEANUP => 1);
my $port = free_port();
my $pid;

END { local $?; kill 'TERM', $pid if $pid }


my $text = `$top/util/bench --smoke --clients 100 --only \\
            floor,events,hub,fanout,groups,bystander,many \\
            --json $tmp/bench.json 2>$tmp/bench.log`;

is($?, 0, 'a run succeeds') or diag(slurp("$tmp/bench.log"));

like($text, qr{^100\ clients,\ paced\ at\ 20/s \ +floor \ +events \ +hub
               \ +eve/floor \ +hub/floor \ +aims$}mx,
     'the table tells clients and rate');

my $json = decode_json(slurp("$tmp/bench.json"));
my %row = map { ("$_->{kind}: $_->{name}" => $_) } @{$json->{table}};

is_deeply($json->{failed}, [], 'no run failed');
cmp_ok($json->{plans}[0]{runs}{floor}[0]{paced}{messages}, '>=', 1,
       'paced messages were sent');

for my $case ([ 'fanout: paced, server CPU per delivery, us'
                => qw(floor events hub) ],
              [ 'fanout:   with one worker, us' => qw(floor hub) ],
              [ 'fanout:   the floor in as many processes, us'
                => qw(floor events hub) ],
              [ 'fanout: saturated, deliveries per second'
                => qw(floor events hub) ],
              [ 'fanout: idle client, user space, bytes' => qw(events hub) ],
              [ 'fanout: idle event stream, user space, bytes' => 'events' ],
              [ 'fanout: connect, server CPU, us' => qw(floor events hub) ],
              [ 'fanout:   negotiate kept alive, us' => qw(floor hub) ],
              [ 'fanout:   without negotiate, us' => qw(floor hub) ],
              [ 'fanout: connect in two requests, server CPU, us'
                => qw(floor events hub) ],
              [ 'fanout:   the first kept alive, us'
                => qw(floor events hub) ],
              [ 'groups: server CPU per message, us'
                => qw(floor events hub) ],
              [ 'groups:   times that' => qw(floor events hub) ],
              [ 'groups:   times the tenth alone' => qw(floor events hub) ],
              [ 'groups: 100 a request, CPU per message, us'
                => qw(floor events hub) ],
              [ 'groups: 5000 a request, messages per CPU-s'
                => qw(floor events hub) ],
              [ 'bystander: its CPU, % of a core' => 'events' ],
              [ 'many: connect, server CPU, us' => qw(events hub) ],
              [ 'many: broadcast, publish to last client, ms'
                => qw(events hub) ]) {

    my ($name, @columns) = @$case;
    my $row = $row{$name} || {};

    is(scalar(grep { $_ && $_ > 0 } @{$row->{median}}{@columns}),
       scalar @columns, "$name: figures for @columns");
    like($text, qr/^\Q$row->{name}\E +[~\d-]/m, "$name: a line of the table");
}


# aims: by what the floor has, and by a figure alone

for my $case ([ 'fanout: paced, server CPU per delivery, us', '<= 1.1 floor',
                sub { $_[0] <= 1.1 * $_[1] } ],
              [ 'fanout: idle client, user space, bytes', '<= 1536',
                sub { $_[0] <= 1536 } ]) {

    my ($name, $aim, $good) = @$case;
    my ($told) = grep { $_->{aim} eq $aim } @{$row{$name}{aims}};
    my $median = $row{$name}{median};
    my @missed = grep { !$good->($median->{$_}, $median->{floor}) }
                      qw(events hub);

    is_deeply($told && $told->{missed}, \@missed, "$name: who misses $aim");

    my $verdict = @missed ? "missed: @missed" : 'met';

    like($text, qr/^\Q$row{$name}{name}\E .* \Q$aim: $verdict\E$/m,
         "$name: the table says so");
}


# the chart

my $svg = `$top/util/bench --chart $tmp/bench.json`;

is($?, 0, 'a chart is made of it');
is(broken($svg), '', 'the chart is well-formed');

for my $case ([ 'paced, server CPU per delivery, us', '%.2f µs' ],
              [ 'saturated, server CPU per delivery, us', '%.2f µs' ],
              [ 'idle client, user space, bytes', '%.0f bytes' ],
              [ 'connect, server CPU, us', '%.1f µs' ]) {

    my ($name, $format) = @$case;
    my $median = $row{"fanout: $name"}{median};
    my @figures = map { sprintf $format, $median->{$_} } qw(floor events hub);

    like($svg, qr/>\Q$figures[0]\E<.*>\Q$figures[1]\E<.*>\Q$figures[2]\E</s,
         "the chart has each column's figure: $name");
}

is(broken(slurp("$top/util/bench-src/speed.svg")), '',
   'so is the one of the README');

isnt(broken($svg =~ s{</g>}{}r), '', 'a chart with a tag too few is not');
isnt(broken($svg =~ s{&lt;|µ}{&}r), '', 'nor is one with a bare &');


# the load generator's own alarm; of a server that loses or doubles one frame of
# a thousand

for my $case ([ lose  => qr/^lost: \d+ of \d+ deliveries/ ],
              [ twice => qr/^client \d+ got (?:message \d+ twice|\d+ of)/ ]) {

    my ($fault, $sentence) = @$case;

    server($fault);

    for my $what ([ 'the fan-out' => '--saturated 200' ],
                  [ 'groups' => '--groups 100 --members 10 --to "?group=" '
                                . '--join "?group="' ],
                  [ 'many clients' => '--many 11' ]) {

        my ($name, $options) = @$what;
        my $patience = $fault eq 'lose' ? ' --patience 1' : '';
        my ($status, $error) = load($options . $patience);

        is($status >> 8, 1, "$fault, $name: the load generator fails");
        like($error, $sentence, "$fault, $name: it says so");
    }

    server();
}


# the floor in two processes, with publishers at both

server('processes=2');

my @processes = ($pid, children($pid));

is(scalar @processes, 2, 'the floor has two processes');

for my $what ('--saturated 200',
              '--groups 100 --members 10 --to "?group=" --join "?group="') {

    my ($status, $error) = load($what);

    is($status, 0, "all of a group have the same, in one order: $what")
        or diag($error);
}

my @clients = map { IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                          PeerPort => $port) } 1 .. 40;
my @sockets;

wait_for {
    @sockets = map { sockets($_) } @processes;
    $sockets[0] > 2 && $sockets[1] > 2;
};

is(scalar(grep { $_ > 2 } @sockets), 2, 'clients are spread over both')
    or diag("@sockets");

close $_ for @clients;

server();

wait_for { !grep { sockets($_) } @processes };

is(scalar(grep { sockets($_) } @processes), 0,
   'the second ends with the first');


# how clients connect: as often as it is said, over as few connections

my $nginx = Broadcast::Nginx->new(http => 'broadcast_zone hubs 8m;',
                                  server => <<'EOS')->start;
        location /client    { broadcast_hub anonymous; }
        location /publish/  { broadcast_publish; }
        location = /seen    { stub_status; }
EOS

my @before = seen($nginx);

my ($failed, $said) = load(
    '--storms 1 --hop /hop --signalr --path "/client?hub=a" '
    . '--publish /publish/a --pids ' . join(',', $nginx->workers),
    '', $nginx->port);

is($failed, 0, 'clients of a hub connect in all ways') or diag($said);

my @seen = map { $_ - shift @before } seen($nginx);

# 32 and five times 100 clients, of whom 100 ask once; 8 publishes, this look

is($seen[1], 2 * (32 + 4 * 100) + 100 + 8 + 1, 'with so many requests');

my $each = 2 * (32 + 3 * 100) + 2 * 100 + 1 + 1;    # and those of negotiate

cmp_ok($seen[0], '>', $each, 'kept connections of negotiate are some');
cmp_ok($seen[0], '<=', $each + 32, 'of 100 clients, not more than at once');

$nginx->stop_ok;


# clients in so many processes that each has few descriptors

server('not');

my ($status, $error) = load('--many 2', 'ulimit -n 562;');

is($status, 0, 'clients in two processes') or diag($error);

($status, $error) = load('--groups 100 --members 10 --to "?group=0&not=" '
                         . '--join "?group="');

like($error, qr/^client \d+ got message \d+, which was not for it$/,
     'a message for another group fails the run');

server();

my $skipped = `ulimit -n 1024; $top/util/bench --only events,many --quick \\
               --clients 100000 2>&1`;

is($?, 0, 'a table that cannot be run here is no error');
like($skipped, qr/skipped: 100000 clients need .* raise ulimit -Hn/,
     'it is skipped, and the reason told');


# bad use

for my $case ([ '--wrong'         => qr/unknown option: --wrong/ ],
              [ '--json'          => qr/--json needs a value/ ],
              [ '--only nothing'  => qr/--only: there is no "nothing"/ ],
              [ '--chart'         => qr/--chart needs a value/ ],
              [ "--chart $0"      => qr/bench\.t: this is no JSON/ ],
              [ '--rounds 0 --only floor' => qr/a number is wrong/ ]) {

    my ($options, $sentence) = @$case;

    my $said = `$top/util/bench $options 2>&1`;

    ok($? >> 8 == 1 && $said =~ $sentence, "util/bench $options is refused")
        or diag($said);
}

done_testing();


# What is wrong with an XML document of elements and text, or nothing.

sub broken {
    my ($xml) = @_;
    my (@open, $roots);

    while ($xml =~ m{\G(?:([^<]+)|<(/?)([a-zA-Z]+)
                        ((?:\s+[\w:-]+="[^"<&]*")*)\s*(/?)>)}gcx) {

        my ($text, $end, $name, $empty) = ($1, $2, $3, $5);

        if (defined $text) {
            return "text: $text"
                if $text =~ /&(?!(?:amp|lt|gt|quot);)/
                   || !@open && $text =~ /\S/;

        } elsif ($end) {
            return "</$name>" if !@open || pop(@open) ne $name;

        } else {
            $roots++ if !@open;
            push @open, $name if !$empty;
        }
    }

    return 'at ' . substr($xml, pos $xml // 0, 40)
        if (pos $xml // 0) < length $xml;

    return @open || ($roots // 0) != 1 ? "open: @open" : '';
}


# The floor with this fault, or none any more.

sub server {
    my ($fault) = @_;

    if ($pid) {
        kill 'TERM', $pid;
        waitpid $pid, 0;
        undef $pid;
    }

    return if !$fault;

    $pid = fork // die "fork: $!";

    if ($pid == 0) {
        exec("$top/build/bench/floor", $port, $fault eq 'not' ? () : $fault)
            or POSIX::_exit(127);
    }

    ok(listens(), "a server listens: $fault");

    return;
}


sub load {
    my ($options, $before, $at) = @_;

    $before //= '';
    $at //= $port;
    my $pids = $pid ? "--pids $pid" : '';

    my $out = `$before $top/build/bench/load --port $at --path / --publish / \\
               $pids --clients 100 --patience 30 $options`;

    return ($?, eval { decode_json($out)->{error} } // "no JSON: $out");
}


sub listens {
    my $ended;

    wait_for {
        $ended = waitpid($pid, WNOHANG) == $pid;
        $ended || IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                        PeerPort => $port);
    } or return 0;

    return !$ended;
}


# Connections and requests, this one's among them.

sub seen {
    my ($nginx) = @_;

    return http($nginx->port, 'GET', '/seen')->{body}
           =~ /^ (\d+) \d+ (\d+)/m;
}


sub children {
    my ($pid) = @_;

    return split ' ', slurp("/proc/$pid/task/$pid/children");
}


sub sockets {
    my ($pid) = @_;

    return scalar grep { (readlink // '') =~ /^socket:/ } glob "/proc/$pid/fd/*";
}


sub slurp {
    open my $f, '<', $_[0] or die "$_[0]: $!";
    local $/;
    return scalar <$f>;
}
