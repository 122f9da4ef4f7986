package Broadcast::Matrix::Client;

# Copyright (C) The nginx-broadcast authors
#
# A plain client of the kill matrix, a WebSocket or an event stream: comes back
# whenever it is cut off, with its last id, and keeps a journal.
#
#   run(kind => 'ws', hub => 'h', port => 8080, journal => $file);
#   run(kind => 'sse', ...);
#
# Lines of the journal: time, kind, what it has:
#
#   open [id]           connected, asks for what is behind the id
#   message id word
#   gap id              goes on behind the id
#   end how             cut: the stream stopped in the middle (also by a reset);
#                       closed-N: a close frame; ended: the end of an event
#                       stream
#   away                no connection, or none that was taken
#   refused-N           an answer that was no stream

use strict;
use warnings;

use JSON::PP ();
use Time::HiRes qw(time sleep);

use Broadcast::Plain ();
use Broadcast::SSE ();

my $again = 0.1;              # s, before it comes back
my $silence = 300;            # s, without an event


sub run {
    my (%o) = @_;
    my ($last, $away);

    open my $journal, '>>', $o{journal} or die "$o{journal}: $!\n";
    $journal->autoflush(1);

    my $note = sub {
        print $journal join(' ', sprintf('%.3f', time), grep { defined } @_),
                       "\n";
    };

    while (1) {
        my $client = eval { connect_to(\%o, $last) };

        if (!$client) {
            $note->('away') unless $away;
            $away = 1;

        } elsif ($client->{head}{status} !~ /^(?:101|200)$/) {
            $note->("refused-$client->{head}{status}");

        } else {
            $away = 0;
            $note->('open', $last);
            $last = follow(\%o, $client, $last, $note);
        }

        close $client->{socket} if $client && $client->{socket};
        sleep $again;
    }
}


sub connect_to {
    my ($o, $last) = @_;
    my $uri = "/events/$o->{hub}";

    return Broadcast::Plain->connect($o->{port}, $uri
        . (defined $last ? "?last_event_id=$last" : '')) if $o->{kind} eq 'ws';

    return Broadcast::SSE->connect($o->{port}, $uri,
        headers => [ defined $last ? ('Last-Event-ID' => $last) : () ]);
}


# Until the end; the last id.

sub follow {
    my ($o, $client, $last, $note) = @_;

    while (1) {
        my ($event, $id, $data);

        if ($o->{kind} eq 'ws') {
            my $frame = eval { $client->next($silence) } or last;
            ($event, $id, $data)
                = ($frame->{target}, $frame->{id}, $frame->{arguments});

        } else {
            my $block = eval { $client->event($silence) } or last;
            ($event, $id, $data) = ($block->{event}, $block->{id},
                                    JSON::PP->new->decode($block->{data}));
        }

        $last = $id if defined $id;

        if ($event eq 'broadcast.gap') {
            $note->('gap', $id);

        } elsif ($event eq 'm') {
            $note->('message', $id, $data->[0]);

        } else {
            $note->('odd', $event);
        }
    }

    $last = $client->{last_id} if $client->{last_id};

    my ($code) = $o->{kind} eq 'ws' ? $client->closed : ();

    $note->('end', $o->{kind} eq 'ws'
                   ? ($code && $code != 1006 ? "closed-$code" : 'cut')
                   : ($client->{end} ? 'cut' : 'ended'));

    return $last;
}


1;
