package Broadcast::Nginx::Conf;

# Copyright (C) The nginx-broadcast authors
#
# The nginx.conf of a Broadcast::Nginx that was given no whole one.

use strict;
use warnings;

use Broadcast::Wait qw(slurp);


sub standard_conf {
    my ($self) = @_;

    my $daemon = $self->{daemon} ? 'on' : 'off';
    my $spread = $self->{spread} ? ' reuseport' : '';

    # for the binary that an upgrade runs

    my $env = join ' ', map { "env $_;" }
              $self->{daemon} ? sort keys %{ $self->{env} } : ();
    my $load = $self->{module} eq '' ? '' : "load_module $self->{module};";
    my $user = $> == 0 ? "user $self->{user};"
             : '' if defined $self->{user};
    $user //= $> == 0 ? 'user www-data;' : '';

    # a client that a test does not read from for a while answers no ping

    my $all = join ' ', @$self{qw(http server)};
    my $patience = $all =~ /broadcast_zone/ && $all !~ /broadcast_client_timeout/
                 ? 'broadcast_client_timeout 5m;' : '';

    my $tls = !$self->{tls} ? '' : <<"";
        listen 127.0.0.1:%%PORT tls%% ssl http2$spread;
        ssl_certificate     %%DIR%%/tls.crt;
        ssl_certificate_key %%DIR%%/tls.key;

    return <<"";
$load
$user
daemon $daemon;
pid %%DIR%%/nginx.pid;
lock_file %%DIR%%/nginx.lock;
error_log %%DIR%%/error.log $self->{log};
worker_processes $self->{workers};
$env
$self->{main}
events {
    worker_connections 4096;
    $self->{events}
}
http {
    access_log %%DIR%%/access.log;
    client_body_temp_path %%DIR%%/body;
    proxy_temp_path %%DIR%%/proxy;
    fastcgi_temp_path %%DIR%%/fastcgi;
    uwsgi_temp_path %%DIR%%/uwsgi;
    scgi_temp_path %%DIR%%/scgi;
    $patience
    $self->{http}
    server {
        listen 127.0.0.1:%%PORT%%$spread;
        $tls
        server_name localhost;
        root %%DIR%%/html;
        $self->{server}
    }
}

}


sub make_certificate {
    my ($self) = @_;

    system("openssl req -x509 -newkey rsa:2048 -nodes -days 2 -batch"
           . " -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
           . " -keyout $self->{dir}/tls.key -out $self->{dir}/tls.crt"
           . " >$self->{dir}/openssl.log 2>&1") == 0
        or die slurp("$self->{dir}/openssl.log");
}


1;
