#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# broadcast_status in its three forms, without a database.

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP ();

use Test::Nginx::Socket 'no_plan';

our $config = <<'EOC';
    location = /status { broadcast_status; }
    location = /json   { broadcast_status json; }
    location = /prom   { broadcast_status prometheus; }
    location = /html   { broadcast_status html; }
    location /publish/ { broadcast_publish; }
    location = /client { broadcast_hub; }
EOC

our $json = 'Content-Type: application/json';
our $prom = 'Content-Type: text/plain; version=0.0.4; charset=utf-8';
our $html = 'Content-Type: text/html; charset=utf-8';

add_block_preprocessor(sub {
    my ($block) = @_;
    $block->set_value('http_config', 'broadcast_zone hubs 1m;');
    $block->set_value('config', $config);
});

# True if each sample is well formed and belongs to a metric that has a type.

sub prometheus {
    my ($text) = @_;
    my %type;

    for my $line (split "\n", $text) {
        next if $line =~ /^# HELP nginx_broadcast_\w+ \S/;

        if ($line =~ /^# TYPE (nginx_broadcast_\w+) (counter|gauge|histogram)$/) {
            $type{$1} = $2;
            next;
        }

        my ($name) = $line =~
            /^(\w+)(?:\{\w+="[^"]*"(?:,\w+="[^"]*")*\})? [0-9.]+$/ or return 0;

        $name =~ s/_(?:bucket|sum|count)$// unless $type{$name};
        return 0 unless $type{$name};
    }

    return keys %type >= 25;
}

run_tests();

__DATA__

=== TEST 1: the form: the directive's, else the query's, else Accept's
--- request eval
[map { "GET $_" } "/status", ("/status") x 5, "/status?format=json", "/status?format=prometheus",
 "/status?format=html", "/json?format=html", "/prom", "/html"]
--- more_headers eval
["", map({ "Accept: $_" } "*/*", "application/json", "text/html,*/*;q=0.8", "text/plain",
 "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"), ("Accept: text/html") x 6]
--- response_headers eval
[$main::json, $main::json, $main::json, $main::html, $main::prom, $main::prom,
 $main::json, $main::prom, $main::html, $main::json, $main::prom, $main::html]



=== TEST 2: a form that there is not, and methods
--- request eval
["GET /status?format=xml", "POST /status\nx", "HEAD /status"]
--- error_code eval
[400, 405, 200]



=== TEST 3: the members of the contract
--- request eval
["POST /publish/chat\nx", "GET /json"]
--- response_body_like eval
["count", qr/^(.+)$(?(?{
    my $s = JSON::PP::decode_json($1);
    my $h = $s->{hubs}{chat};
    $s->{version} =~ m{^\d+\.\d+\.\d+$} && $s->{uptime} >= 0
    && $s->{zone}{size} == 1048576 && $s->{zone}{used} > 0 && $s->{zone}{used} < $s->{zone}{size}
    && $s->{log}{bytes} > 0 && $s->{log}{head} == 1 && $s->{log}{tail} == 1 && $s->{log}{overruns} == 0
    && @{$s->{workers}} == 1 && $s->{workers}[0]{pid} > 0 && $s->{workers}[0]{connections} == 0
    && join(',', map { "$_=$h->{connections}{$_}" } sort keys %{$h->{connections}}) eq 'longpoll=0,sse=0,websocket=0'
    && $h->{users} == 0 && $h->{groups} == 0 && $h->{published} == 1 && $h->{delivered} == 0
    && !$h->{durable} && $h->{position} =~ m{^[0-9a-f]+-1$}
    && join(',', map { "$_=$s->{closed}{$_}" } sort keys %{$s->{closed}})
       eq 'drain=0,error=0,normal=0,overrun=0,protocol=0,rate=0,server=0,slow=0,timeout=0,worker=0'
    && $s->{opened} == 0
    && $s->{database}{state} eq 'off' && $s->{database}{relay} eq 'off'
    && $s->{database}{lag_seconds} == 0 && $s->{database}{reconnects} == 0
    && $s->{database}{calls} == 0 && $s->{database}{calls_refused} == 0 && $s->{database}{errors} == 0 })|(?!))/]



=== TEST 4: Prometheus: each metric with help and type, each sample of the form
--- request eval
["POST /publish/chat\nx", "GET /prom"]
--- response_body_like eval
["count", qr/\A(.+)\z(?(?{ main::prometheus($1) })|(?!))/s]



=== TEST 5: Prometheus: samples of the contract
--- request eval
["POST /publish/chat\nx", "GET /prom", "GET /prom"]
--- response_body_like eval
["count",
 qr/^nginx_broadcast_connections\{hub="chat",transport="websocket"\} 0\n.*^nginx_broadcast_published_total\{hub="chat",source="publish"\} 1\n.*^nginx_broadcast_deliveries_total\{hub="chat",transport="sse"\} 0\n.*^nginx_broadcast_closed_total\{reason="slow"\} 0\n.*^nginx_broadcast_refused_total\{reason="token"\} 0\n.*^nginx_broadcast_zone_bytes\{state="used"\} \d+\n/sm,
 qr/^nginx_broadcast_worker_connections\{worker="\d+"\} 0\n.*^nginx_broadcast_publish_to_socket_seconds_bucket\{le="0.000100"\} 0\n.*^nginx_broadcast_publish_to_socket_seconds_bucket\{le="\+Inf"\} 0\n.*^nginx_broadcast_database_up 0\n.*^nginx_broadcast_relay_leader 0\n.*^nginx_broadcast_pool_connections\{state="idle"\} 0\n.*^nginx_broadcast_function_calls_total\{kind="http",outcome="ok"\} 0\n.*^nginx_broadcast_function_seconds_count\{kind="timer"\} 0\n/sm]



=== TEST 6: the page
--- request
GET /html
--- response_body_like: <h1>nginx broadcast [0-9.]+</h1>
--- response_body_unlike: (?:src|href)=



=== TEST 7: what is refused is told in each form
--- request eval
["GET /client?hub=chat", "GET /json", "GET /html", "GET /prom"]
--- error_code eval
[401, 200, 200, 200]
--- response_body_like eval
[qr/^/, qr/^(.+)$(?(?{
    my $r = JSON::PP::decode_json($1)->{refused};
    join(',', map { "$_=$r->{$_}" } sort keys %$r)
       eq 'database=0,full=0,function=0,invocation=0,limit=0,origin=0,role=0,size=0,stream=0,token=1' })|(?!))/,
 qr{<th>Closed: slow</th><td class="n">0</td>.*<th>Closed: worker</th><td class="n">0</td>.*<th>Refused: token</th><td class="n">1</td>.*<th>Refused: role</th><td class="n">0</td>}s,
 qr/^nginx_broadcast_refused_total\{reason="token"\} 1$/m]
