package Broadcast::Position;

# Copyright (C) The nginx-broadcast authors
#
# Hub clients that come with a position, and what they are sent.
#
#   from_node($nginx, $pg, @at);       # once: where the others below look
#
#   my $c = hub(position(), at => '/open');
#   sends('chat', 1, 3);
#   my ($messages, $place, @other) = until_last($c, 3);

use strict;
use warnings;

use Exporter qw(import);

use Broadcast::HTTP qw(http);
use Broadcast::Hub;
use Broadcast::Nginx qw(wait_for);

our @EXPORT = qw(from_node status leads forgotten hub position numbered sends
                 said take until_last);

my ($nginx, $port, $pg, @at);


sub from_node {
    ($nginx, $pg, @at) = @_;
    $port = $nginx->port;
}

sub status { http($port, 'GET', '/status')->{json} }

sub leads {
    return wait_for { status()->{database}{relay} eq 'leader' } 15;
}

sub forgotten {
    $nginx->crash;
    $nginx->start;
    leads() or die "no leader\n";
}

sub hub {
    my ($position, %o) = @_;
    my $c = Broadcast::Hub->connect($o{port} // $port,
        ($o{at} // '/open') . '?hub=' . ($o{hub} // 'chat')
        . (defined $position ? "&position=$position" : ''),
        %o);
    die "hub: $c->{error}\n" if $c->{error};
    return $c;
}

sub position {
    my ($hub) = @_;
    return $pg->psql('select broadcast.position(\'' . ($hub // 'chat') . "')",
                     @at);
}

sub numbered {
    my ($hub) = @_;
    wait_for { position($hub) =~ /^\w+-\d+$/ } 10 or die "not numbered\n";
    return position($hub);
}

# sends m1 … by SQL, with so many bytes more

sub sends {
    my ($hub, $from, $to, $bytes) = @_;
    $pg->psql("select count(broadcast.send_all('$hub', 'm',
                   jsonb_build_array(i, repeat('x', " . ($bytes // 0) . ")))
               ) from generate_series($from, $to) i", @at);
}

sub said {
    my ($r) = @_;
    return 'closed' unless $r;
    return "type$r->{type}" unless $r->{type} == 1;
    return '@' . $r->{arguments}[0] if $r->{target} eq 'broadcast.position';
    return $r->{target} . ($r->{target} eq 'm' ? $r->{arguments}[0] // '' : '');
}

sub take { my ($c, $n) = @_; return join ' ', map { said($c->next) } 1 .. $n }

# messages up to the given one, the position behind them, whatever is no message

sub until_last {
    my ($c, $last) = @_;
    my (@m, @other, $place);

    while (my $r = $c->next) {
        if ($r->{type} == 6) { next }
        if ($r->{type} != 1) { push @other, said($r); last }
        if ($r->{target} eq 'm') { push @m, $r->{arguments}[0]; next }
        if ($r->{target} eq 'broadcast.position') {
            $place = $r->{arguments}[0];
            last if @m && $m[-1] == $last;
            next;
        }
        push @other, $r;
    }

    return (\@m, $place, @other);
}

1;
