#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# README.md says what the sources say: each directive with its contexts, each
# member of the status, each metric.  What was added to one of them and not to
# the other is named.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP;
use Test::More;

use Broadcast::HTTP qw(http);
use Broadcast::Nginx;
use Broadcast::Wait qw(slurp);

my $top = "$FindBin::Bin/..";
my $readme = slurp("$top/README.md");


# --- directives -------------------------------------------------------------

my %context = (MAIN => 'http', SRV => 'server', LOC => 'location',
               LMT => 'limit_except');

# directive => its contexts, in the order in which nginx's manual has them

sub commands {
    my ($source) = @_;
    my %command;

    my ($any) = $source =~ /^#define (?:\w+_ANY_CONF)\s*\\\n\s*(\S+)$/m;
    $source =~ s/\b\w+_ANY_CONF\b/$any/g;


    while ($source =~ /\{ ngx_string\("(\w+)"\),\s*([A-Z0-9_|()\s]+),/g) {
        my ($name, $flags) = ($1, $2);
        $command{$name} = join ', ', map { $context{$_} }
            grep { $flags =~ /\bNGX_HTTP_${_}_CONF\b/ } qw(MAIN SRV LOC LMT);
    }

    return \%command;
}

# the blocks between ``` that begin with "syntax:"

sub described {
    my ($text) = @_;
    my %described;

    for my $block ($text =~ /^```\n(syntax:.*?)^```$/msg) {
        my ($where) = $block =~ /^context: +(.+)$/m;
        $described{$_} = $where for $block =~ /^syntax: +(\w+)/mg;
    }

    return \%described;
}

my $commands = commands(slurp("$top/src/ngx_http_broadcast_module.c"));

cmp_ok(scalar keys %$commands, '>', 25, 'the sources have directives');
is_deeply(described($readme), $commands, 'README has each with its contexts');

(my $other = $readme) =~ s/^(syntax: +)broadcast_zone/$1broadcast_zones/m;
ok(!eq_deeply(described($other), $commands), '... and one that is not there '
                                             . 'would be seen');

sub eq_deeply {
    my ($x, $y) = map { JSON::PP->new->canonical->encode($_) } @_;
    return $x eq $y;
}

for my $name (sort keys %$commands) {
    like($readme, qr/^#### (?:\w+, )*$name\b/m, "$name has a section");
}


# --- the status -------------------------------------------------------------

# names of members and of those inside; what is a hub's or in a list, once

sub members {
    my ($value, $at) = @_;

    return map { members($_, "$at\[]") } @$value ? $value->[0] : ()
        if ref $value eq 'ARRAY';

    return ref $value ne 'HASH' ? $at : map {
        my $name = $at eq '.hubs' ? '*' : $_;
        members($value->{$_}, "$at.$name")
    } keys %$value;
}

my ($example) = $readme =~ /^```json\n(\{"version".*?)^```$/ms;

my $nginx = Broadcast::Nginx->new(
    http   => 'broadcast_zone hubs 1m;',
    server => <<'EOC')->start;
        location /publish/ { broadcast_publish; }
        location = /status { broadcast_status; }
EOC

http($nginx->port, 'POST', '/publish/chat', body => 'x',
     headers => [ 'Content-Type' => 'text/plain' ]);

my $status = http($nginx->port, 'GET', '/status?format=json')->{json};

delete $status->{check};     # of builds for tests

is_deeply([ sort { $a cmp $b } members($status, '') ],
          [ sort { $a cmp $b } members(decode_json($example), '') ],
          'README has each member of the status');

my $metrics = http($nginx->port, 'GET', '/status?format=prometheus')->{body};
my @names = $metrics =~ /^# TYPE nginx_broadcast_(\w+)/mg;
my ($section) = $readme =~ /^All metrics, (.*?)^## /ms;
my @told = map { /`(\w+)`/g } $section =~ /^\| (`[^|]+) \|/mg;

cmp_ok(scalar @names, '>', 40, 'there are metrics');
is_deeply([ sort @told ], [ sort @names ], 'README has each of them, once');

$nginx->stop_ok;

done_testing();
