#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors
#
# A connection goes to the worker at which its poll lands, with all that
# belongs to it and at one place in the order of the log, src/README.md.  Each
# poll is sent to a worker by its pid; workers are stopped to hold a move open,
# and killed in the middle of it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(time sleep);

use Broadcast::HTTP qw(worker_at);
use Broadcast::LongPoll;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Token qw(client_token);

my $key = '0123456789abcdef';
my $gone = 'No Connection with that ID';

# A connection of its own queue each worker has, so that the kernel spreads
# connections also while a worker is stopped.

my $nginx = Broadcast::Nginx->new(
    workers => 3,
    http    => <<"EOC",
        broadcast_zone hubs 8m;
        broadcast_key $key;

        server {
            listen 127.0.0.1:%%PORT spread%% reuseport;
            location /client   { broadcast_hub; }
            location /publish/ { broadcast_publish; }
            location /api/     { broadcast_api open; }
            location = /status { broadcast_status json; }
            location = /pid    { return 200 \$pid; }
        }
EOC
)->start;

my $port = $nginx->port('spread');
my $ann = client_token($key, 'chat', sub => 'ann');

sub at { worker_at($port, '/pid', $_[0]) }

# requests of the test's own, at a worker that is not stopped

my $ops;
sub http {
    my ($method, $uri, %o) = @_;
    $ops->request($method, $uri, keepalive => 1, %o);
    my $r = $ops->head;
    $ops->body($r, $method);
    return $r;
}

sub publish {
    my ($text, $query) = @_;
    my $r = http('POST', '/publish/chat?target=m' . ($query // ''),
                 body => $text);
    die "publish: $r->{status} $r->{body}\n" if $r->{status} != 200;
}

sub said { join ' ', map { $_->{type} == 1 ? $_->{arguments}[0]
                         : $_->{type} == 3 ? $_->{error} : "type$_->{type}" }
                     @{ $_[0]{records} // [] } }

sub is_answer {
    my ($r, $status, $body, $name) = @_;
    is("$r->{status} $r->{body}", "$status $body", $name);
}

sub status { http('GET', '/status')->{json} }

sub owners {
    my $s = status();
    return { map { ($_->{pid} => $_->{connections}) } @{ $s->{workers} } };
}

sub lp {
    return Broadcast::LongPoll->connect($port, '/client?hub=chat',
                                        token => $ann, @_);
}

sub soon {
    my ($name, $seconds, $code) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return ok(&wait_for($code, $seconds), $name);
}

sub stop_worker { kill 'STOP', $_[0] }
sub go_on       { kill 'CONT', $_[0] }

# Connections to each worker, made while none is stopped: for polls, and for
# what else is asked there.

my (%to, %probe);

sub reach { ($to{$_}, $probe{$_}) = (at($_), at($_)) for @_ }

# A worker has read what was sent to it before: it answers.

sub caught_up {
    my $p = $probe{$_[0]};
    $p->request('GET', '/pid', keepalive => 1);
    my $r = $p->head;
    $p->body($r);
}

my ($a, $b, $c) = sort { $a <=> $b } $nginx->workers;

reach($a, $b, $c);
$ops = $probe{$c};


# --- there and back ----------------------------------------------------------

my $lp = lp(at => $to{$a});
is(owners()->{$a}, 1, 'the worker of the first poll owns the connection');

publish('one');
is(said($lp->poll(at => $to{$b})), 'one',
   'a poll at another worker has what was queued');
is_deeply([ @{ owners() }{$a, $b, $c} ], [ 0, 1, 0 ], '... and owns it now');

publish('two');
publish('three');
is(said($lp->poll(at => $to{$a})), 'two three', 'and back again');

my $wait = $lp->start(at => $to{$b});
publish('four');
is(said($lp->answer($wait)), 'four', 'it waits where it has come to');
is_deeply([ @{ owners() }{$a, $b, $c} ], [ 0, 1, 0 ], '... at its new owner');

is(status()->{hubs}{chat}{connections}{longpoll}, 1, 'it is one connection');
is(http('GET', "/api/v1/hubs/chat/connections/$lp->{id}")->{status}, 200,
   'under its id');


# --- a poll that waits elsewhere ---------------------------------------------

$wait = $lp->start(at => $to{$b});
http('GET', '/status');
caught_up($b);
my $new = $lp->start(at => $to{$a});
is_answer($lp->answer($wait), 204, '',
          'a poll at another worker ends the one that waits with 204');
publish('five');
is(said($lp->answer($new)), 'five', '... and has what comes then');


# --- what goes along ---------------------------------------------------------

is(http('PUT', "/api/v1/hubs/chat/groups/g/connections/$lp->{id}")->{status},
   200, 'it is put into a group');
publish('g1', '&group=g');
is(said($lp->poll(at => $to{$b})), 'g1', 'the group moves with it');
publish('g2', '&group=g');
is(said($lp->poll(at => $to{$b})), 'g2', '... and is one at the new owner');
is(status()->{hubs}{chat}{groups}, 1, '... and in the registry');
like(http('DELETE', "/api/v1/hubs/chat/groups/g/connections/$lp->{id}")
     ->{status}, qr/^20[02]$/, 'it is taken out of it');
publish('g3', '&group=g');
publish('u', '&user=ann');
is(said($lp->poll(at => $to{$a})), 'u',
   '... and is not in it any more, wherever it goes; its user is known');
is(status()->{hubs}{chat}{groups}, 0, 'no group is left');

$lp->post('{"type":1,"invocationId":"9","tar', at => $to{$b});
publish('six');
is(said($lp->poll(at => $to{$c})), 'six', 'half a record has come');
$lp->post("get\":\"Half\",\"arguments\":[]}\x1e", at => $to{$a});
is(said($lp->poll(at => $to{$b})), "Unknown hub method 'Half'",
   '... and its other half meets it at a third worker');
$lp->delete(at => $to{$b});


# --- an end on the way -------------------------------------------------------

$lp = lp(at => $to{$a});
is_answer($lp->delete(at => $to{$b}), 202, '', 'DELETE at another worker');
is_answer($lp->poll(at => $to{$c}), 404, $gone,
          '... a poll at a third finds nothing');

$lp = lp(at => $to{$a});
publish('seven');
http('DELETE', "/api/v1/hubs/chat/connections/$lp->{id}?reason=so");
is(said($lp->poll(at => $to{$b})), 'seven type7',
   'a Close that nobody fetched is fetched at another worker');
is_answer($lp->poll(at => $to{$b}), 404, $gone, '... and that was the end');

# A has not read yet that it is over, B has the row: A tells.

$lp = lp(at => $to{$a});
stop_worker($a);
$lp->delete(at => $to{$b});
$wait = $lp->start(at => $to{$b});
caught_up($b);
go_on($a);
is_answer($lp->answer($wait), 404, $gone,
          'the old owner reads of the end before it reads of the move: 404');


# --- the seam, held open -----------------------------------------------------

# A is stopped: what is sent then, before and behind the move, is matched by A
# or by B, once, in order.

$lp = lp(at => $to{$a});
stop_worker($a);
publish($_) for 1 .. 3;
$wait = $lp->start(at => $to{$b});
caught_up($b);
publish($_) for 4 .. 6;
http('PUT', "/api/v1/hubs/chat/groups/h/connections/$lp->{id}");
publish(7, '&group=h');
go_on($a);

my $all = '';
my $r = $lp->answer($wait);
$all = said($r);
$all .= ' ' . said($lp->poll(at => $to{$b}))
    while $all !~ /7$/ && length $all < 100;

is($all, '1 2 3 4 5 6 7',
   'records before and behind the move, and a join, come once and in order');
publish(8, '&group=h');
is(said($lp->poll(at => $to{$b})), '8', 'the join holds');
$lp->delete(at => $to{$b});
caught_up($b);


# --- a third worker ----------------------------------------------------------

$lp = lp(at => $to{$a});
publish('t1');
stop_worker($a);
$wait = $lp->start(at => $to{$b});
caught_up($b);
$new = $lp->start(at => $to{$c});
is_answer($lp->answer($wait), 204, '',
          'while B waits a poll comes to C: B\'s ends with 204');
go_on($a);
is(said($lp->answer($new)), 't1', '... and C gets the connection');
is_deeply([ @{ owners() }{$a, $b, $c} ], [ 0, 0, 1 ], '... which is C\'s');

# back at the first one before it has noticed that the connection was to go

stop_worker($c);
$ops = $probe{$b};
publish('t3');
$wait = $lp->start(at => $to{$b});
caught_up($b);
$new = $lp->start(at => $to{$a});
is_answer($lp->answer($wait), 204, '', 'B waits for C, and A comes');
go_on($c);
is(said($lp->answer($new)), 't3', '... A has it');
$lp->delete(at => $to{$a});
soon('nothing is left', 10, sub { !grep { $_ } values %{ owners() } });
$ops = $probe{$c};


# --- an aborted request ------------------------------------------------------

$lp = lp(at => $to{$a});
my $own = at($b);
stop_worker($a);
publish('ab');
$wait = $lp->start(at => $own);
caught_up($b);
$own->close;
caught_up($b);
go_on($a);
is(said($lp->poll(at => $to{$b})), 'ab',
   'the request that wanted it went away: it came, and the next one has it');
$lp->delete(at => $to{$b});


# --- a stream, polled everywhere ---------------------------------------------

$lp = lp(at => $to{$a});

my $n = 400;
my $pid = fork();
die "fork: $!" unless defined $pid;

if ($pid == 0) {
    $ops = at($c);
    for my $i (1 .. $n) {
        publish($i);
        select undef, undef, undef, 0.002 if $i % 10 == 0;
    }
    POSIX::_exit(0);
}

my (@got, $polls);
my $deadline = time + 60;

while (@got < $n && time < $deadline) {
    $r = $lp->poll(at => $to{ ($a, $b, $c)[$polls++ % 3] });
    last if $r->{status} != 200;
    push @got, map { $_->{arguments}[0] } @{ $r->{records} // [] };
}

waitpid $pid, 0;

is_deeply(\@got, [ 1 .. $n ],
          "$n messages while each poll goes to another worker: none is lost, "
          . 'none comes twice, all in order');
cmp_ok($polls, '>', 10, "... over $polls polls");
$lp->delete(at => $to{$a});


# --- the old owner dies ------------------------------------------------------

my $other = lp(at => $to{$b});
$lp = lp(at => $to{$a});
$nginx->kill_worker($a);
soon('the owner is killed between two polls: 404', 5,
     sub { $lp->poll(at => $to{$b})->{status} == 404 });

soon('another worker comes', 10, sub { $nginx->workers == 3 });
($a) = grep { !$to{$_} } $nginx->workers;
reach($a);

publish('alive');
is(said($other->poll(at => $to{$b})), 'alive', 'others have noticed nothing');

# in the middle of a move

$lp = lp(at => $to{$a});
stop_worker($a);
$wait = $lp->start(at => $to{$b});
caught_up($b);
my $began = time;
$nginx->kill_worker($a);
is_answer($lp->answer($wait), 404, $gone,
          'the old owner is killed while a move waits for it: 404');
cmp_ok(time - $began, '<', 4.8, '... before it would be given up as silent');

publish('still');
is(said($other->poll(at => $to{$c})), 'still', 'others move as before');

soon('another worker comes', 10, sub { $nginx->workers == 3 });
($a) = grep { !$to{$_} } $nginx->workers;
reach($a);


# --- it is silent ------------------------------------------------------------

$lp = lp(at => $to{$a});
stop_worker($a);
$began = time;
$wait = $lp->start(at => $to{$b});
is_answer($lp->answer($wait, 30), 404, $gone,
          'the old owner says nothing: 404');
my $took = time - $began;
ok($took > 4.5, '... after 5 s') or diag("after $took s");
go_on($a);
soon('... which lets go of it when it goes on', 10,
     sub { !owners()->{$a} });

# B waits, C waits, and B again: its time is not that of its first wait.  If this
# machine has let one of these times go by, that is seen by the clock, and all is
# done again.

my $missed = 0;
my @said;

for (1 .. 5) {
    $lp = lp(at => $to{$a});
    publish('late');
    stop_worker($a);
    $began = time;
    $wait = $lp->start(at => $to{$b});
    caught_up($b);
    $new = $lp->start(at => $to{$c});
    @said = $lp->answer($wait)->{status};
    select undef, undef, undef, 2.7 - (time - $began);
    my $again = time;
    $wait = $lp->start(at => $to{$b});
    push @said, $lp->answer($new)->{status};
    my $kept = time - $began < 4.5;
    select undef, undef, undef, 5.4 - (time - $began);
    go_on($a);
    push @said, said($lp->answer($wait));
    last if "@said" eq '204 204 late' || $kept && time - $again < 4.5;
    $missed++;
    soon('... again', 10, sub { !owners()->{$a} });
}

is("@said", '204 204 late', 'C takes over the wait of B, B that of C 2.7 s '
   . 'later, which waits its own 5 s, and gets the connection');
$lp->delete(at => $to{$b});
is(said($other->poll(at => $to{$c})), join(' ', ('late') x ($missed + 1)),
   'another one moves as before');


# --- the new owner dies ------------------------------------------------------

$lp = lp(at => $to{$a});
stop_worker($a);
$wait = $lp->start(at => $to{$b});
caught_up($b);
$nginx->kill_worker($b);
ok(!defined eval { $lp->answer($wait) }, 'the new owner is killed');
soon('... the connection ends with it', 5,
     sub { $lp->poll(at => $to{$c})->{status} == 404 });
go_on($a);
soon('... also at the old one', 10, sub { !owners()->{$a} });
publish('end');
is(said($other->poll(at => $to{$a})), 'end', 'others have noticed nothing');
$other->delete(at => $to{$a});

soon('no connection, user or group is left', 10, sub {
    my $h = status()->{hubs}{chat};
    $h->{connections}{longpoll} == 0 && $h->{users} == 0 && $h->{groups} == 0;
});


# --- all ends are counted, and once -------------------------------------------

# killed and silent owners, old and new; ends that were read late: whoever had
# the row, or the connection, has said so

sub adds_up {
    my $s = status();
    my ($open, $closed) = (0, 0);

    $open += $_ for map { values %{ $_->{connections} } }
                    values %{ $s->{hubs} };
    $closed += $_ for values %{ $s->{closed} };

    return "$s->{opened} opened, " . ($open + $closed) . ' open or closed';
}

soon('what was opened is open or closed for a reason', 5,
     sub { adds_up() =~ /^(\d+) opened, \1 open/ })
    or diag adds_up();
is(status()->{closed}{worker}, 4 + $missed,
   '... of them were lost: two with a killed owner, one with a silent one, and '
   . 'one with a killed new one');

# --- a reload ----------------------------------------------------------------

soon('another worker comes', 10, sub { $nginx->workers == 3 });

$lp = lp();
my $idle = lp();
$wait = $lp->start;
http('GET', '/status');
$_->close for values %to, values %probe;
reach($nginx->workers);
caught_up($_) for $nginx->workers;
$nginx->reload;
$ops = at(($nginx->workers)[0]);
$r = $lp->answer($wait, 60);
is(said($r), 'type7', 'a poll that waits at a worker that leaves gets a Close');
ok($r->{records}[0]{allowReconnect}, '... and may come again');

soon('so does one that nobody polls', 10,
     sub { status()->{closed}{drain} == 2 });
is(said($idle->poll), 'type7', '... whose poll fetches it at a new worker');
is_answer($idle->poll, 404, $gone, '... and that was the end');

soon('opened and closed add up behind a reload, too', 10,
     sub { adds_up() =~ /^(\d+) opened, \1 open/ })
    or diag adds_up();

$nginx->stop_ok;

done_testing();
