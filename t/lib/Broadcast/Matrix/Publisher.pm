package Broadcast::Matrix::Publisher;

# Copyright (C) The nginx-broadcast authors
#
# A publisher of the kill matrix: one word after the other, by SQL or by HTTP,
# and a journal of what it knows of each.
#
#   run(kind => 'sql', hub => 'h', name => 'sql1', journal => $file,
#       conninfo => 'host=/a,/b ...', stop => $file, pause => 0.05);
#   run(kind => 'http', ..., port => 8080);
#
# Lines of the journal: when it was sent, word, outcome, id if there is one.
# The outcome is kept, refused (surely not kept) or unknown, and stands there
# before the next word is sent.  What never left has no line.

use strict;
use warnings;

use Time::HiRes qw(time sleep);

use Broadcast::HTTP ();

my $wait = 15;                # s, for an answer


sub run {
    my (%o) = @_;
    my $send = $o{kind} eq 'sql' ? sql(%o) : http(%o);

    open my $journal, '>>', $o{journal} or die "$o{journal}: $!\n";
    $journal->autoflush(1);

    for (my $n = 1; !-e $o{stop}; ) {
        my $word = "$o{name}:$n";
        my $began = time;
        my ($outcome, $id) = $send->($word);

        if (defined $outcome) {
            print $journal join(' ', sprintf('%.3f', $began), $word, $outcome,
                                $id // ()), "\n";
            $n++;
        }

        sleep $o{pause};
    }
}


# A statement whose connection broke may have been committed.  One that the
# server refused in a session that lives on was not.

sub sql {
    my (%o) = @_;
    my ($db, $statement);

    require DBI;

    return sub {
        my ($word) = @_;

        unless ($db) {
            $db = DBI->connect("dbi:Pg:$o{conninfo}", undef, undef,
                    { PrintError => 0, RaiseError => 0, AutoCommit => 1,
                      PrintWarn => 0 })
                or return;
            $statement = $db->prepare(
                "select broadcast.send_all(?, 'm', jsonb_build_array(?::text))");
        }

        return 'kept' if $statement->execute($o{hub}, $word)
                         && $statement->fetch;

        # nothing that was refused by a state of the server's was begun

        my $state = $db->state;
        my $lives = $db->ping > 0;

        return 'refused' if $lives && $state !~ /^(?:08|57)/;

        $statement = undef;
        $db->disconnect;
        $db = undef;

        return 'unknown';
    };
}


sub http {
    my (%o) = @_;

    return sub {
        my ($word) = @_;
        my $c = eval {
            Broadcast::HTTP->connect($o{port}, timeout => $wait);
        } or return;

        my $r = eval {
            $c->request('POST', "/publish/$o{hub}?target=m", body => "\"$word\"",
                        headers => [ 'Content-Type' => 'application/json' ]);
            my $head = $c->head;
            $c->body($head, 'POST');
            $head;
        };

        $c->close;

        return 'unknown' unless $r;
        return ('kept', $r->{json}{id}) if $r->{status} =~ /^20[02]$/;
        return 'refused' if $r->{status} == 503;
        return 'unknown' if $r->{status} == 500 && $r->{body} =~ /Unknown/;
        return "odd-$r->{status}";
    };
}


1;
