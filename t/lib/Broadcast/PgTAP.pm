package Broadcast::PgTAP;

# Copyright (C) The nginx-broadcast authors
#
# The SQL side alone: each t/sql/*.sql is a pgTAP program, run in a
# transaction of its own in a database where the schema was installed by a
# role that is no superuser, twice (an upgrade is the same command).
#
#   Broadcast::PgTAP::programs($pg);     # a subtest for each program
#
# Dies if pgTAP is not installed.

use strict;
use warnings;

use File::Basename qw(dirname);
use Test::More;

my $top = dirname(__FILE__) . '/../../..';


sub programs {
    my ($pg) = @_;

    $pg->psql('CREATE ROLE owner LOGIN; CREATE ROLE "of nginx"');

    for my $file (sort glob "$top/t/sql/*.sql") {
        my ($name) = $file =~ m{([^/]+)\.sql$};

        $pg->psql("CREATE DATABASE $name OWNER owner");
        $pg->psql('CREATE EXTENSION pgtap', db => $name);

        install($pg, $name);

        subtest $name => sub { program($pg, $name, $file) };
    }
}


sub install {
    my ($pg, $name) = @_;

    # also where the default is the database's own

    $pg->psql("ALTER DATABASE $name SET default_tablespace = pg_default")
        if $name eq 'schema';

    $pg->file("$top/sql/broadcast.sql", db => $name, user => 'owner');

    # as it was in version 1, with a column less: no function is replaced by one
    # of another type

    $pg->psql(<<'SQL', db => $name, user => 'owner') if $name eq 'schema';
        DROP FUNCTION broadcast.read(bigint, int);
        CREATE FUNCTION broadcast.read(after bigint, lim int)
        RETURNS TABLE (pos bigint, hub text, epoch bigint, seq bigint,
                       type smallint, scope smallint, source smallint,
                       name text, grp text, target text, arguments text,
                       excluded text, mark bigint, created bigint)
        LANGUAGE sql STABLE AS $$ SELECT NULL::bigint, NULL::text, NULL::bigint,
            NULL::bigint, NULL::smallint, NULL::smallint, NULL::smallint,
            NULL::text, NULL::text, NULL::text, NULL::text, NULL::text,
            NULL::bigint, NULL::bigint $$;
SQL

    # as it was in version 3, with neither methods nor a fingerprint of them

    $pg->psql(<<'SQL', db => $name, user => 'owner') if $name eq 'schema';
        DROP TABLE broadcast.exposed;
        DROP FUNCTION broadcast.expose(text, text), broadcast.context(),
            broadcast.methods(text, text), broadcast.bindings_version(),
            broadcast.method_rows(oid, text, text);
        CREATE FUNCTION broadcast.bindings_version() RETURNS bigint
        LANGUAGE sql STABLE AS $$ SELECT 1::bigint $$;
        CREATE OR REPLACE FUNCTION broadcast.schema_version() RETURNS int
        LANGUAGE sql IMMUTABLE AS $$ SELECT 3 $$;
        CREATE FUNCTION broadcast.methods(role_claim text, role_default text)
        RETURNS TABLE (hub text) LANGUAGE sql AS $$ SELECT NULL::text $$;
        CREATE FUNCTION broadcast.method_rows(proc oid, role_claim text,
            role_default text)
        RETURNS TABLE (count int) LANGUAGE sql AS $$ SELECT NULL::int $$;
        INSERT INTO broadcast.binding (kind, function)
        VALUES ('message', 'gone.away');
SQL

    # as it was in version 5: a send asked for the settings themselves, by a
    # function of other types; one that it cannot read, and what waits

    $pg->psql(<<'SQL', db => $name, user => 'owner') if $name eq 'schema';
        DROP TRIGGER setting_kept ON broadcast.setting;
        DROP TABLE broadcast.sending;
        DROP FUNCTION broadcast.setting_kept(), broadcast.knock(text),
            broadcast.finish(text, jsonb),
            broadcast.send(text, smallint, text, text, jsonb, text[], smallint,
                           text);
        CREATE FUNCTION broadcast.send(hub text, scope int, name text,
            target text, arguments jsonb, excluded text[], source int,
            grp text DEFAULT NULL) RETURNS void
        LANGUAGE sql AS $$ SELECT $$;
        GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA broadcast TO "of nginx";
        INSERT INTO broadcast.staging (hub, type, scope, source, target,
                                       arguments)
        VALUES ('chat', 1, 0, 0, 'before', '[]');
        UPDATE broadcast.setting SET value = 'commit' WHERE name = 'doorbell';
        ALTER TABLE broadcast.setting DISABLE TRIGGER USER;
        UPDATE broadcast.setting SET value = 'much' WHERE name = 'message_size';
        ALTER TABLE broadcast.setting ENABLE TRIGGER USER;
SQL

    $pg->file("$top/sql/broadcast.sql", db => $name, user => 'owner');
}


# Takes over the lines of a pgTAP program as checks of this one.

sub program {
    my ($pg, $db, $file) = @_;

    open my $out, '-|', $pg->psql_command(db => $db),
            '-c', 'BEGIN', '-f', $file, '-c', 'ROLLBACK'
        or die "psql: $!\n";

    my $planned;

    while (my $line = <$out>) {
        if ($line =~ /^(not )?ok \d+(?: - (.*))?/) {
            ok(!$1, $2);

        } elsif ($line =~ /^1\.\.(\d+)/) {
            $planned = $1;

        } elsif ($line =~ /^# (.*)/) {
            diag($1);
        }
    }

    ok(close($out), 'psql ended well');
    is(Test::More->builder->current_test - 1, $planned,
       'and every check was run');
}


1;
