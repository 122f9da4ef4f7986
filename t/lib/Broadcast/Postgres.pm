package Broadcast::Postgres;

# Copyright (C) The nginx-broadcast authors
#
# A PostgreSQL cluster of its own in a folder of its own.
#
#   my $pg = Broadcast::Postgres->new(
#       tcp   => 1,                      # listens on 127.0.0.1 too: $pg->port
#       fsync => 1,                      # off by default
#       conf  => { wal_level => 'logical' },
#       bindir => '/opt/pg13/bin',       # another server than the newest
#       base  => '/folder',              # a base backup instead of an empty one
#       initdb => [ '--wal-segsize=1' ], # more words for it
#       env   => { },                    # of the server
#       listen => '10.0.0.1',            # instead of tcp, another address
#       hba   => 'host ...',             # one more line of pg_hba.conf
#       prefix => [ 'ip', ... ],         # what runs the server, as root
#   );
#
#   $pg->psql('select 1', db => 'app', user => 'broadcast');  # words, or dies
#   $pg->rows('select ...', db => 'app');       # list of array references
#   my ($ok, $words) = $pg->try('select ...');  # does not die
#   $pg->file('sql/broadcast.sql', db => 'app', user => 'broadcast');
#   $pg->conninfo('app', 'broadcast');          # for broadcast_database
#
#   my $session = $pg->session(db => 'app');    # an open psql
#   $session->run('begin; ...');
#
#   $pg->restart; $pg->crash; $pg->start; $pg->stop; $pg->power_off;
#   $pg->freeze; $pg->thaw;                     # alive, but says nothing
#
#   my $base = $pg->backup;                     # a folder: a base backup
#   $pg->stop; $pg->restore($base); $pg->start; # its state of then
#   my $standby = $pg->standby(name => 's', conf => { ... });
#   $standby->promote;                          # the other one must have ended
#
# Started as root it runs as the user postgres.  Everybody is trusted.

use strict;
use warnings;

use File::Path ();
use File::Temp ();
use IPC::Open3 ();
use Symbol ();
use Time::HiRes ();

use Broadcast::Servers ();
use Broadcast::Wait qw(wait_for free_port children spawn reap slurp);

my $owner = $$;


sub new {
    my ($class, %o) = @_;

    my $self = bless { conf => {}, %o }, $class;

    $self->{bin} = $self->{bindir} // bindir();
    $self->{psql} = bindir() . '/psql';
    $self->{user} = $> == 0 ? 'postgres' : undef;
    $self->{dir} = File::Temp::tempdir('broadcast-pg-XXXXXX', TMPDIR => 1);
    chmod 0755, $self->{dir};

    if (defined $self->{user}) {
        my ($uid, $gid) = (getpwnam $self->{user})[2, 3];
        defined $uid or die "no user $self->{user}\n";
        chown $uid, $gid, $self->{dir};
    }

    $self->{port} = free_port() if $self->{tcp};

    if (defined $self->{base}) {
        $self->restore($self->{base});

    } else {
        $self->command('initdb', '-D', "$self->{dir}/data", '-U', 'postgres',
                       '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync',
                       @{ $self->{initdb} // [] })
            or die "initdb failed:\n" . $self->log;
    }

    my %conf = (
        unix_socket_directories => $self->{dir},
        listen_addresses => $self->{listen}
                            // ($self->{tcp} ? '127.0.0.1' : ''),
        port => $self->{port} // 5432,
        fsync => $self->{fsync} ? 'on' : 'off',
        max_connections => 200,
        log_min_messages => 'warning',
        log_line_prefix => '%m [%p] %u@%d ',
        shared_buffers => '32MB',
        max_prepared_transactions => 10,
        %{ $self->{conf} },
    );

    $self->append('postgresql.conf',
        map { "$_ = '$conf{$_}'" } sort keys %conf);

    $self->append('pg_hba.conf', $self->{hba}) if defined $self->{hba};

    Broadcast::Servers::add($self);

    $self->start unless $self->{stopped};

    return $self;
}


sub bindir {
    my @dirs = sort { ($b =~ /(\d+)/)[0] <=> ($a =~ /(\d+)/)[0] }
               grep { -x "$_/initdb" } glob '/usr/lib/postgresql/*/bin';

    return $dirs[0] if @dirs;

    for (split /:/, $ENV{PATH}) {
        return $_ if -x "$_/initdb";
    }

    die "no initdb: apt-get install postgresql\n";
}


sub dir  { $_[0]{dir} }
sub host { $_[0]{dir} }
sub port { $_[0]{port} // 5432 }
sub pid  { $_[0]{pid} }
sub name { "PostgreSQL, $_[0]{dir}" }
sub log  { slurp("$_[0]{dir}/log") // '' }


sub tail {
    my ($self) = @_;
    my @all = split /\n/, $self->log;

    splice @all, 0, @all - 20 if @all > 20;

    return join "\n", @all;
}


sub append {
    my ($self, $file, @lines) = @_;

    open my $f, '>>', "$self->{dir}/data/$file" or die "$file: $!\n";
    print $f map { "$_\n" } @lines;
    close $f;
}


# Runs one of PostgreSQL's programs to its end as the cluster's user.

sub command {
    my ($self, $name, @words) = @_;

    my $pid = spawn(command => [ "$self->{bin}/$name", @words ],
                    user => $self->{user}, log => "$self->{dir}/log");

    reap($pid, 120) or do { kill 'KILL', $pid; reap($pid, 10) };

    return $? == 0;
}


sub start {
    my ($self) = @_;

    die "already started\n" if $self->{pid};

    my @command = ("$self->{bin}/postgres", '-D', "$self->{dir}/data");

    # what the prefix does needs root, so the user changes behind it

    unshift @command, @{ $self->{prefix} }, 'setpriv',
                      "--reuid=$self->{user}", "--regid=$self->{user}",
                      '--clear-groups' if $self->{prefix};

    $self->{pid} = spawn(command => \@command,
        user => $self->{prefix} ? undef : $self->{user},
        env => $self->{env} // {}, log => "$self->{dir}/log");

    wait_for {
        if (waitpid($self->{pid}, POSIX::WNOHANG()) != 0) {
            $self->{pid} = undef;
            die "postgres did not start:\n" . $self->log;
        }
        ($self->try('select 1'))[0];
    } 60
        or die "postgres is not ready after 60 s:\n" . $self->log;

    return $self;
}


# Ends it: fast (transactions are rolled back), or in another of its ways.

sub stop {
    my ($self, $mode) = @_;
    my %signal = (smart => 'TERM', fast => 'INT', immediate => 'QUIT');

    my $pid = delete $self->{pid} or return;

    $self->signal_all($pid, 'CONT') if delete $self->{frozen};
    kill $signal{ $mode // 'fast' }, $pid;

    unless (reap($pid, 30)) {
        kill 'KILL', children($pid), $pid;
        reap($pid, 10);
    }
}


sub crash { $_[0]->stop('immediate') }


# All its processes at once, as a power cut does.

sub power_off {
    my ($self) = @_;

    my $pid = delete $self->{pid} or return;
    my @all = ($pid, children($pid));

    kill 'STOP', $pid;
    kill 'KILL', @all, children($pid);
    reap($pid, 10);
    wait_for { !grep { kill 0, $_ } @all } 10;
}


# True if it is not there any more, though nobody has stopped it.

sub ended {
    my ($self) = @_;

    return 0 if $self->{pid} && waitpid($self->{pid}, POSIX::WNOHANG()) == 0;

    $self->{pid} = undef;
    return 1;
}


sub restart {
    my ($self, $mode) = @_;

    $self->stop($mode);
    $self->start;
}


# Processes stand still: connections stay open and get no answer.  The first one
# before the others, or it might start one more; each is waited for, a signal
# takes its time.

sub freeze {
    my ($self) = @_;

    $self->{frozen} = 1;
    still($self->{pid});
    still(children($self->{pid}));
}


sub still {
    my (@pids) = @_;

    kill 'STOP', @pids;

    wait_for {
        !grep { (slurp("/proc/$_/stat") // '') =~ /\) [^TZX] /s } @pids;
    }
        or die "it does not stand still\n";
}


sub thaw {
    my ($self) = @_;

    delete $self->{frozen};
    $self->signal_all($self->{pid}, 'CONT');
}


sub signal_all {
    my ($self, $pid, $signal) = @_;

    kill $signal, $pid, children($pid);
}


# A base backup in a folder, of a server that runs.

sub backup {
    my ($self) = @_;
    my $dir = "$self->{dir}/backup" . ++$self->{backups};

    $self->command('pg_basebackup', '-D', $dir, '-h', $self->{dir},
                   '-p', $self->port, '-U', 'postgres', '-X', 'stream',
                   '-c', 'fast', '--no-sync')
        or die "pg_basebackup failed:\n" . $self->log;

    return $dir;
}


# Puts a backup in the place of the data of a server that does not run; its
# settings are those that the backup has.

sub restore {
    my ($self, $base) = @_;

    File::Path::remove_tree("$self->{dir}/data");
    system('cp', '-a', $base, "$self->{dir}/data") == 0
        or die "cannot copy $base\n";
}


# A server that follows this one, streaming, under the given name.

sub standby {
    my ($self, %o) = @_;
    my $base = $self->backup;

    open my $signal, '>', "$base/standby.signal" or die "$base: $!\n";
    close $signal;

    my $standby = Broadcast::Postgres->new(base => $base, conf => {
        primary_conninfo => "host=$self->{dir} port=" . $self->port
                            . " user=postgres application_name=$o{name}",
        %{ $o{conf} // {} } });

    wait_for {
        $self->psql("select count(*) from pg_stat_replication where state ="
                    . " 'streaming' and application_name = '$o{name}'") > 0;
    } 30
        or die "the standby does not follow:\n" . $standby->log;

    return $standby;
}


sub promote { $_[0]->psql('select pg_promote(true, 30)') }


sub conninfo {
    my ($self, $db, $user) = @_;

    my $info = "host=$self->{dir} port=" . $self->port
             . " dbname=" . ($db // 'postgres');

    return defined $user ? "$info user=$user" : $info;
}


sub psql_command {
    my ($self, %o) = @_;

    return ($self->{psql}, '-XAtq', '-v', 'ON_ERROR_STOP=1',
            '-h', $self->{dir}, '-p', $self->port,
            '-U', $o{user} // 'postgres', '-d', $o{db} // 'postgres');
}


# (ok, words): the words are psql's output, or its errors.

sub try {
    my ($self, $sql, %o) = @_;

    return $self->pipe($sql, $self->psql_command(%o));
}


sub psql {
    my ($self, $sql, %o) = @_;
    my ($ok, $words) = $self->try($sql, %o);

    $ok or die "psql: $words\n";

    return $words;
}


sub rows {
    my ($self, $sql, %o) = @_;
    my ($ok, $words) = $self->pipe($sql,
        $self->psql_command(%o), '-F', "\x1f", '-R', "\x1e");

    $ok or die "psql: $words\n";

    return map { [ split /\x1f/, $_, -1 ] } split /\x1e/, $words;
}


sub file {
    my ($self, $file, %o) = @_;

    return $self->psql(slurp($file) // die("$file: $!\n"), %o);
}


sub createdb {
    my ($self, $name, $dbowner) = @_;

    if (defined $dbowner) {
        $self->psql(qq{do \$\$ begin if not exists (
            select from pg_roles where rolname = '$dbowner')
            then create role "$dbowner" login; end if; end \$\$});
    }

    $self->psql(qq{create database "$name"}
                . (defined $dbowner ? qq{ owner "$dbowner"} : ''));
}


# Feeds text to a command; (ok, its output or its errors), no last newline.

sub pipe {
    my ($self, $text, @command) = @_;

    my $in = File::Temp->new;
    binmode $in, utf8::is_utf8($text) ? ':utf8' : ':raw';
    print $in $text;
    $in->flush;
    seek $in, 0, 0;

    my $out = File::Temp->new;
    my $err = File::Temp->new;

    my $pid = fork // die "fork: $!\n";

    if ($pid == 0) {
        open STDIN, '<&', $in;
        open STDOUT, '>&', $out;
        open STDERR, '>&', $err;
        $ENV{PGCLIENTENCODING} = 'UTF8';
        $ENV{PGCONNECT_TIMEOUT} //= 10;
        $ENV{PGOPTIONS} //= '-c client_min_messages=warning';
        { no warnings; exec { $command[0] } @command; }
        POSIX::_exit(127);
    }

    waitpid($pid, 0);

    my $ok = $? == 0;
    my $words = slurp($ok ? "$out" : "$err") // '';
    chomp $words;

    return ($ok, $words);
}


# An open psql, for transactions that stay open.

sub session {
    my ($self, %o) = @_;

    return Broadcast::Postgres::Session->new($self->psql_command(%o));
}


sub DESTROY {
    my ($self) = @_;

    return if $$ != $owner;

    local ($?, $!, $@);
    Broadcast::Servers::gone($self);
    $self->stop('immediate');
    File::Path::remove_tree($self->{dir}) unless $ENV{BROADCAST_KEEP};
}


package Broadcast::Postgres::Session;

use strict;
use warnings;


sub new {
    my ($class, @command) = @_;
    my $self = bless { seen => '', marks => 0 }, $class;

    # errors go on, so that a transaction in error can be rolled back
    @command = map { $_ eq 'ON_ERROR_STOP=1' ? 'ON_ERROR_STOP=0' : $_ }
               @command;

    $self->{pid} = IPC::Open3::open3($self->{in}, $self->{out}, undef,
                                     @command);
    $self->{in}->autoflush(1);

    return $self;
}


# Sends without waiting; then: what came up to its end.

sub send {
    my ($self, $sql) = @_;

    my $mark = 'mark-' . ++$self->{marks};
    print { $self->{in} } "$sql\n;\n\\echo $mark\n";

    return $mark;
}


sub finish {
    my ($self, $mark, $seconds) = @_;

    my $end = Time::HiRes::time() + ($seconds // 30);

    while ($self->{seen} !~ /^\Q$mark\E\n/m) {
        my $left = $end - Time::HiRes::time();
        return undef if $left <= 0;

        my $bits = '';
        vec($bits, fileno $self->{out}, 1) = 1;
        next unless select $bits, undef, undef, $left;

        sysread $self->{out}, $self->{seen}, 65536, length $self->{seen}
            or die "psql ended: $self->{seen}\n";
    }

    $self->{seen} =~ s/\A(.*?)^\Q$mark\E\n//ms;

    my $words = $1;
    chomp $words;

    return $words;
}


sub run {
    my ($self, $sql, $seconds) = @_;

    return $self->finish($self->send($sql), $seconds);
}


sub close {
    my ($self) = @_;

    my $pid = delete $self->{pid} or return;

    CORE::close $self->{in};
    Broadcast::Wait::reap($pid, 10) and return;
    kill 'KILL', $pid;
    waitpid $pid, 0;
}


sub DESTROY {
    my ($self) = @_;

    return if $$ != $owner;

    local ($?, $!, $@);
    $self->close;
}


1;
