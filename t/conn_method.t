#!/usr/bin/perl

# Copyright (C) The nginx-broadcast authors

# A Completion and the record that it waits for: while the sequencer stands
# still, when that record is too late, is another's, or when nobody waits; a
# large catalogue; and who asks for what is in none.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Time::HiRes qw(time);

use Broadcast::HTTP qw(http);
use Broadcast::Hub;
use Broadcast::Nginx qw(wait_for);
use Broadcast::Postgres;

my $pg = Broadcast::Postgres->new;
my @at = (db => 'app', user => 'app');

$pg->createdb('app', 'app');
$pg->file("$FindBin::Bin/../sql/broadcast.sql", @at);

$pg->psql(<<'EOS', @at);
create schema hub;

create function hub.talk(x text) returns text language plpgsql as $$
begin
    perform broadcast.send_connection('chat',
                broadcast.context()->>'connectionId', 'said',
                jsonb_build_array(x));
    return x;
end $$;

create function hub.quiet(x text) returns text language sql as 'select x';

select broadcast.expose('chat', 'hub');
EOS

my $nginx = Broadcast::Nginx->new(
    workers => 1,
    http    => 'broadcast_zone hubs 16m; broadcast_database "'
             . $pg->conninfo('app', 'app') . '" timeout=6s;',
    server  => <<'EOC')->start;
        location /client   { broadcast_hub anonymous; }
        location = /status { broadcast_status json; }
EOC

my $port = $nginx->port;

ok $nginx->leads, 'the database is up, and a relay leads';

my $hub = Broadcast::Hub->connect($port, '/client?hub=chat');
my $session = $pg->session(@at);

sub invoke {
    my ($id, $target, $arg) = @_;

    $hub->send({ type => 1, invocationId => "$id", target => $target,
                 arguments => [ $arg ] });
}

# What comes next, pings left out, as one word.

sub said {
    my ($seconds) = @_;

    for (;;) {
        my $m = eval { $hub->next($seconds // 60) } or return 'nothing';
        next if $m->{type} == 6;
        return "said $m->{arguments}[0]" if $m->{type} == 1;
        return $m->{error} // "result $m->{result}" if $m->{type} == 3;
    }
}

invoke(1, 'Talk', 'a');
is_deeply [ said(), said() ], [ 'said a', 'result a' ],
          'a message of the function is before its result';

# The sequencer cannot number anything while this is locked; what functions
# stage it does not stop.

$session->run('begin; lock table broadcast.state in exclusive mode;');

invoke(2, 'Talk', 'b');
invoke(3, 'Quiet', 'c');

is said(1), 'nothing', 'the result waits for its message, and so does the next';

$session->run('commit;');

is_deeply [ said(), said(), said() ], [ 'said b', 'result b', 'result c' ],
          'then all come in their order';

# Another's record, and one of a call that is over.

my $id = $hub->{id};

$session->run('begin; lock table broadcast.state in exclusive mode;');

$pg->psql("select broadcast.put('chat', 17, 3, 4, '$id', null, null, null, d,"
          . " '{}', null) from unnest(array['1.1', 'x', '', '.', '1.', '.1',"
          . " '99999999999999999999.1']) d", @at);

invoke(4, 'Talk', 'd');

is said(1), 'nothing', 'it waits again';

$session->run('commit;');

is_deeply [ said(), said() ], [ 'said d', 'result d' ],
          'records of others let nothing go';

# Too late: the result goes out, the message comes when it can.

$session->run('begin; lock table broadcast.state in exclusive mode;');

my $begun = time;

invoke(5, 'Talk', 'e');

is said(), 'result e', 'a result does not wait for ever';
cmp_ok time - $begun, '>', 5.5, 'but as long as a call may take';

invoke(6, 'Quiet', 'f');
is said(), 'result f', 'the next call is made';

$session->run('commit;');

is said(), 'said e', 'the message is not lost';

invoke(7, 'Talk', 'g');
is_deeply [ said(), said() ], [ 'said g', 'result g' ],
          'and a late record does no harm';

# A connection that ends while its result waits.

$session->run('begin; lock table broadcast.state in exclusive mode;');

invoke(8, 'Talk', 'h');
is said(1), 'nothing', 'the last one waits';

$hub->drop;

ok wait_for(sub {
    my $hubs = http($port, 'GET', '/status')->{json}{hubs};
    !$hubs->{chat}{connections}{websocket}
}, 10), 'its connection ends meanwhile';

$session->run('commit;');

$hub = Broadcast::Hub->connect($port, '/client?hub=chat');

invoke(9, 'Talk', 'i');
is_deeply [ said(), said() ], [ 'said i', 'result i' ],
          'the worker goes on with others';

# A catalogue of some thousand rows is read as quickly as one of a few.

$pg->psql(<<'EOS', @at);
do $$ begin
    for i in 1 .. 3000 loop
        execute format('create function hub.f%s(x text) returns text '
                       'language sql as ''select x || %s''', i, i);
    end loop;
end $$;
EOS

my $found = wait_for(sub {
    invoke(10, 'F3000', 'j');
    my $words = said();
    return $words =~ /^result/ ? $words : undef;
}, 10);

is $found, 'result j3000', 'the last of 3000 methods is found';

# What is not there is asked for, at most so often: ten questions a tenth of a
# second apart, then one after 0.2, 0.4, 0.8 and 1 s.

my $asked = time;

for (1 .. 15) {
    invoke($_, 'Nothing', 'k');
    my $words = said();
    is $words, "Unknown hub method 'Nothing'", 'nothing is found' if $_ == 1;
}

cmp_ok time - $asked, '>', 2.7, 'who asks again and again waits longer';

$pg->psql(q{create function hub.nothing(x text) returns text language sql
            as 'select x'}, @at);
invoke(16, 'Nothing', 'l');
is said(), 'result l', 'what is made then is found by the next question';

$hub->close;
$nginx->stop_ok;

done_testing();
