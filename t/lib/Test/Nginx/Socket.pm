package Test::Nginx::Socket;

# Copyright (C) The nginx-broadcast authors
#
# Runs data files in the format of Test::Nginx::Socket, the part of it that
# this project's tests use, so that they need nothing that Debian does not
# have.  It stands at the end of @INC: where the original is installed, the
# original runs them.
#
# Sections: main_config, http_config, config, user_files, request, raw_request,
# more_headers, timeout, error_code, error_code_like, response_headers,
# response_headers_like, raw_response_headers_like, response_body,
# response_body_like, response_body_unlike, ignore_response, error_log,
# no_error_log, grep_error_log, grep_error_log_out, must_die, log_level, wait,
# SKIP, ONLY, LAST, skip_eval.
# Filters: eval, chomp.
#
# request, more_headers, error_code, response_headers, response_body and
# response_body_like may be lists (by eval): requests sent one after another.
#
# Beyond the original: a block fails if nginx leaves an alert, an emergency, a
# sanitizer's report or an open socket in its log.

use strict;
use warnings;

use File::Path ();
use Test::More ();

use Broadcast::HTTP ();
use Broadcast::Nginx ();

our @EXPORT = qw(
    plan repeat_each run_tests run_test blocks workers master_on master_off
    no_shuffle shuffle no_long_string no_root_location no_diff log_level
    timeout worker_connections server_root html_dir server_port
    add_block_preprocessor env_to_nginx
    ok is isnt like unlike is_deeply pass fail diag note done_testing
);

my ($file, @blocks, @preprocessors);
my %set = (repeat_each => 1, workers => 1, log_level => 'info', timeout => 10,
           worker_connections => 64);

our $ServerPort = $ENV{TEST_NGINX_PORT} || $ENV{TEST_NGINX_SERVER_PORT}
                  || Broadcast::Nginx::free_port();
our $ServRoot = $ENV{TEST_NGINX_SERVROOT};

$ENV{TEST_NGINX_SERVER_PORT} //= $ServerPort;


sub import {
    my ($class, @plan) = @_;
    my ($package, $name) = caller;

    $file = $name;

    no strict 'refs';

    for my $name (@EXPORT) {
        *{"${package}::$name"} = $class->can($name) || Test::More->can($name);
    }

    for my $name (qw(ServerPort ServRoot)) {
        *{"${package}::$name"} = \${"${class}::$name"};
    }

    strict->import;
    warnings->import;

    plan(@plan) if @plan;
}


sub plan {
    my (@plan) = @_;

    $plan[0] eq 'no_plan' ? Test::More->builder->no_plan
                          : Test::More::plan(@plan);
}


sub repeat_each { setting('repeat_each', @_) }
sub workers     { setting('workers', @_) }
sub log_level   { setting('log_level', @_) }
sub timeout     { setting('timeout', @_) }
sub worker_connections { setting('worker_connections', @_) }
sub server_port { $ServerPort }
sub server_root { $ServRoot }
sub html_dir    { "$ServRoot/html" }
sub add_block_preprocessor { push @preprocessors, @_ }
sub env_to_nginx { push @{ $set{env} }, @_ }

# The order is the file's, the master always there, strings are shown in full.

sub no_shuffle {}
sub shuffle {}
sub master_on {}
sub master_off {}
sub no_long_string {}
sub no_root_location {}
sub no_diff {}


sub setting {
    my ($name, $value) = @_;

    $set{$name} = $value if defined $value;
    return $set{$name};
}


# --- the format --------------------------------------------------------------

sub blocks {
    @blocks = parse() unless @blocks;

    return @blocks;
}


sub parse {
    my $text = Broadcast::Wait::slurp($file);
    my @all;

    $text =~ s/\A.*?^__(?:DATA|END)__\n//ms or die "$file has no __DATA__\n";
    utf8::decode($text) if $text =~ /^--- use utf8/m;

    for my $part (split /^(?==== )/m, $text) {
        my ($title, $rest) = $part =~ /\A=== ?([^\n]*)\n(.*)\z/s or next;
        my ($description, @sections) = split /^(?=--- )/m, "\n$rest";
        my $block = bless { name => $title, description => $description,
                            order => [] }, 'Test::Nginx::Socket::Block';

        parse_section($block, $_) for @sections;

        next if exists $block->{SKIP};
        return $block if exists $block->{ONLY};
        push @all, $block;
        last if exists $block->{LAST};
    }

    return @all;
}


sub parse_section {
    my ($block, $text) = @_;

    my ($head, $value) = $text =~ /\A--- ([^\n]*)\n?(.*)\z/s;
    my ($names, $inline) = $head =~ /^([\w ]+?)\s*(?::\s*(.*?)\s*)?$/
        or die "$block->{name}: bad section line: --- $head\n";
    my ($name, @filters) = split ' ', $names;

    if (defined $inline) {
        $value = $inline;
    } else {
        $value =~ s/\A(?:[ \t]*\n)+//;
        $value =~ s/\n\s*\z/\n/;
        $value = '' if $value =~ /\A\s*\z/;
    }

    for my $filter (@filters) {
        if ($filter eq 'eval') {
            my $code = $value;
            $value = eval "package main; no strict; $code";
            die "$block->{name}: --- $name: $@" if $@;
        } elsif ($filter eq 'chomp') {
            chomp $value;
        } else {
            die "$block->{name}: unknown filter: $filter\n";
        }
    }

    $block->{$name} = $value;
    push @{ $block->{order} }, $name;
}


package Test::Nginx::Socket::Block;

our $AUTOLOAD;


sub set_value { $_[0]{ $_[1] } = $_[2] }
sub name { $_[0]{name} }


sub AUTOLOAD {
    my ($self) = @_;
    my ($name) = $AUTOLOAD =~ /(\w+)$/;

    return $name eq 'DESTROY' ? undef : $self->{$name};
}


package Test::Nginx::Socket;


# --- a run -------------------------------------------------------------------

sub run_tests {
    for my $block (blocks()) {
        $_->($block) for @preprocessors;
        run_test($block);
    }
}


sub run_test {
    my ($block) = @_;

    if (defined $block->{skip_eval}) {
        my ($count, $code) = $block->{skip_eval} =~ /^\s*(\d+)\s*:\s*(.*)/s;

        if (eval $code) {
            Test::More->builder->skip($block->{name}) for 1 .. $count;
            return;
        }
    }

    my $nginx = nginx($block);

    if (exists $block->{must_die}) {
        my $started = eval { $nginx->start; 1 };

        Test::More::ok(!$started, "$block->{name} - nginx refuses to start");
        $nginx->stop(signal => 'TERM') if $started;
        check_logs($block, $nginx);
        return;
    }

    if (!eval { $nginx->start; 1 }) {
        Test::More::fail("$block->{name} - nginx starts");
        Test::More::diag($@);
        return;
    }

    for my $n (1 .. $set{repeat_each}) {
        eval { run_requests($block); 1 } or do {
            Test::More::fail("$block->{name} - the request is answered");
            Test::More::diag($@);
        };
        select undef, undef, undef, $block->{wait} if $block->{wait};
        check_logs($block, $nginx);
    }

    my @wrong = $nginx->stop;

    if (@wrong) {
        Test::More::fail("$block->{name} - nginx ends with a clean log");
        Test::More::diag(join "\n", @wrong);
    }
}


# nginx's configuration as the original lays it out: config is the inside of
# the server block.

sub nginx {
    my ($block) = @_;

    my %o = (
        workers => $set{workers},
        log => $block->{log_level} // $set{log_level},
        main => expand($block->{main_config}) . expand_env(),
        http => expand($block->{http_config}),
        server => expand($block->{config}),
        ports => { '' => $ServerPort },
        (defined $ENV{TEST_NGINX_SERVROOT}
            ? (dir => $ENV{TEST_NGINX_SERVROOT}) : ()),
    );

    if (defined $ENV{TEST_NGINX_LOAD_MODULES}) {
        $o{module} = '';
        $o{main} = join('', map { "load_module $_;\n" }
                            split ' ', $ENV{TEST_NGINX_LOAD_MODULES})
                 . $o{main};
    }

    if (defined $o{dir}) {
        File::Path::remove_tree("$o{dir}/html", "$o{dir}/error.log",
                                "$o{dir}/stderr.log", "$o{dir}/access.log");
    }

    my $nginx = Broadcast::Nginx->new(%o);

    $ServRoot = $nginx->dir;
    $ENV{TEST_NGINX_SERVROOT_NOW} = $ServRoot;
    s/\$TEST_NGINX_(?:SERVER_ROOT|SERVROOT)\b/$ServRoot/g,
    s/\$TEST_NGINX_HTML_DIR\b/$ServRoot\/html/g
        for @$nginx{qw(main http server)};
    $nginx->configure;

    write_files($block, $nginx);

    return $nginx;
}


sub expand {
    my ($text) = @_;

    $text //= '';
    $text =~ s/\$(TEST_NGINX_(?!SERVROOT|SERVER_ROOT|HTML_DIR)\w+)/
               defined $ENV{$1} ? $ENV{$1} : "\$$1"/ge;

    return $text;
}


sub expand_env {
    return join '', map { "\nenv $_;" } @{ $set{env} // [] };
}


sub write_files {
    my ($block, $nginx) = @_;
    my $files = $block->{user_files} // return;

    if (ref $files) {
        for my $pair (ref $files->[0] ? @$files : $files) {
            my ($name, $text) = @$pair;
            $nginx->write("html/$name", $text);
        }
        return;
    }

    my (undef, @parts) = split /^>>>\s*(\S+).*\n/m, $files;

    while (my ($name, $text) = splice @parts, 0, 2) {
        $nginx->write("html/$name", $text);
    }
}


sub run_requests {
    my ($block) = @_;
    my $requests = $block->{raw_request} // $block->{request} // return;
    my @requests = ref $requests ? @$requests : $requests;
    my $seconds = $block->{timeout} // $set{timeout};

    $seconds =~ s/ms$// and $seconds /= 1000;
    $seconds =~ s/s$//;

    for my $n (0 .. $#requests) {
        my $name = $block->{name} . ($n || @requests > 1 ? " - request $n" : '');
        my $c = Broadcast::HTTP->connect($ServerPort, timeout => $seconds);
        my ($text, $method) = defined $block->{raw_request}
            ? ($requests[$n], $requests[$n] =~ /^(\S+)/)
            : request_text($requests[$n], item($block, 'more_headers', $n));

        $c->write($text);

        if (exists $block->{ignore_response}) {
            $c->at_end($seconds);
            next;
        }

        my $r = $c->head;
        $r = $c->head while $r->{status} == 100;
        $c->body($r, $method);
        $c->close;

        check_response($block, $name, $r, $n);
    }
}


# One item of a section that may be a list.

sub item {
    my ($block, $section, $n) = @_;
    my $value = $block->{$section};

    return ref $value eq 'ARRAY' ? $value->[$n] : $value;
}


sub request_text {
    my ($request, $more) = @_;

    # a request may be a list of packets
    $request = join '', map { ref eq 'HASH' ? $_->{value} : $_ } @$request
        if ref $request;

    my ($line, $body) = split /\n/, $request, 2;
    my ($method, $uri, $version) =
        $line =~ m{^\s*(\S+)\s+(.*?)(?:\s+(HTTP/\S+))?\s*$}
        or die "bad request: $line\n";

    $body //= '';
    $body =~ s/\n\z//;
    $more //= '';
    $more =~ s/\r?\n/\r\n/g;
    $more =~ s/\s*\z/\r\n/ if $more =~ /\S/;

    my $text = "$method $uri " . ($version // 'HTTP/1.1') . "\r\n";

    $text .= "Host: localhost\r\n" unless $more =~ /^Host:/mi;
    $text .= "Connection: close\r\n" unless $more =~ /^Connection:/mi;
    $text .= $more;
    $text .= 'Content-Length: ' . length($body) . "\r\n"
        if $body ne '' && $more !~ /^(?:Content-Length|Transfer-Encoding):/mi;

    return ("$text\r\n$body", $method);
}


sub check_response {
    my ($block, $name, $r, $n) = @_;

    if (defined $block->{error_code_like}) {
        my $want = item($block, 'error_code_like', $n);
        chomp $want;
        Test::More::like($r->{status}, qr/$want/, "$name - status code ok");
    } else {
        my $want = item($block, 'error_code', $n) || 200;
        chomp $want;
        Test::More::is($r->{status}, $want, "$name - status code ok")
            or Test::More::diag($r->{raw});
    }

    check_headers($block, $name, $r, $n);

    if (defined $block->{raw_response_headers_like}) {
        my $want = $block->{raw_response_headers_like};
        Test::More::like(join("\r\n", @{ $r->{lines} }), qr/$want/s,
                         "$name - raw response headers ok");
    }

    if (defined $block->{response_body}) {
        Test::More::is($r->{body}, expand(item($block, 'response_body', $n)),
                       "$name - response body ok");
    }

    for my $kind (qw(like unlike)) {
        my $want = item($block, "response_body_$kind", $n) // next;
        chomp $want unless ref $want;
        my $check = Test::More->can($kind);
        $check->($r->{body}, qr/$want/sm, "$name - response body $kind");
    }
}


sub check_headers {
    my ($block, $name, $r, $n) = @_;

    for my $kind ('response_headers', 'response_headers_like') {
        my $want = item($block, $kind, $n) // next;

        for my $line (split /\n/, $want) {
            next unless $line =~ /\S/;

            if ($line =~ /^\s*!\s*(\S+)/) {
                Test::More::is($r->{headers}{ lc $1 }, undef,
                               "$name - no header $1");
                next;
            }

            my ($header, $value) = $line =~ /^\s*([^:\s]+)\s*:\s*(.*?)\s*$/;
            my $got = $r->{headers}{ lc $header };
            $value = expand($value);

            if ($kind eq 'response_headers') {
                Test::More::is($got // '', $value, "$name - header $header ok");
            } else {
                Test::More::like($got // '', qr/^(?:$value)$/,
                                 "$name - header $header ok");
            }
        }
    }
}


sub check_logs {
    my ($block, $nginx) = @_;
    my $log = $nginx->words;

    for my $want (patterns($block->{error_log})) {
        # a line may be written after the answer went out
        my $seen = Broadcast::Nginx::wait_for { found($nginx->words, $want) } 5;
        Test::More::ok($seen, "$block->{name} - the error log has: $want")
            or Test::More::diag($nginx->tail);
    }

    for my $want (patterns($block->{no_error_log})) {
        Test::More::ok(!found($log, $want),
                       "$block->{name} - the error log has no: $want")
            or Test::More::diag(grep { found($_, $want) } split /^/, $log);
    }

    if (defined $block->{grep_error_log}) {
        my ($pattern) = patterns($block->{grep_error_log});
        my $got = join '', map { "$_\n" } $log =~ /$pattern/g;
        Test::More::is($got, $block->{grep_error_log_out} // '',
                       "$block->{name} - what was looked for in the error log");
    }
}


# A list of strings, one a line, and of patterns (by eval).

sub patterns {
    my ($value) = @_;

    return () unless defined $value;

    return map {
        ref ? $_ : grep { /\S/ } split /\n/
    } ref $value eq 'ARRAY' ? @$value : $value;
}


sub found {
    my ($text, $want) = @_;

    return ref $want ? $text =~ $want : index($text, $want) >= 0;
}


1;
