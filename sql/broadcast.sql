--
-- Copyright (C) The nginx-broadcast authors
--
-- Schema `broadcast` of ngx_http_broadcast_module: installs and upgrades.
--
--     psql -d app -v ON_ERROR_STOP=1 -f broadcast.sql
--
-- Plain SQL and PL/pgSQL, PostgreSQL 13 and later.  The role that runs it
-- owns the schema; it needs CREATE on the database the first time, and no
-- superuser right ever.  Whoever upgrades it does that as its owner, if he may.
-- Nothing is granted to PUBLIC.
--
-- Who calls what:
--
--     users         send_*, add_to_group, remove_from_group,
--                   close_connection, position, bind, unbind, doctor
--     nginx         schema_version, dispatch, stage, stage_once, ring, and
--                   the relay's promise, idempotency_keep, sequence,
--                   sequence_read, read, replay, replay_state, settled,
--                   positions, head, rules, server, begin_anew, upkeep,
--                   bindings, bindings_version,
--                   node_beat, node_lease, node_about, unseat, sweep, timers,
--                   by_wal, wal_plan, sequence_wal; error_add, enter, methods
--                   and what its statements call; keep_groups,
--                   keep_connections, and for the REST API present, members,
--                   groups
--
-- The way of a message: a send inserts into `staging` in the caller's
-- transaction and rings an empty NOTIFY.  One relay of the cluster (advisory
-- lock) moves committed rows to `message` and numbers them: `seq` without
-- holes in each hub, `pos` in one order over all hubs.  No sender waits for
-- another, and a transaction that stays open holds up nobody but itself.
--

\set ON_ERROR_STOP on

BEGIN;

SET LOCAL client_min_messages = warning;

DO $$
BEGIN
    IF current_setting('server_version_num')::int < 130000 THEN
        RAISE EXCEPTION 'broadcast needs PostgreSQL 13 or later, this is %',
            current_setting('server_version');
    END IF;

    IF NOT EXISTS (SELECT FROM pg_catalog.pg_namespace
                   WHERE nspname = 'broadcast')
    THEN
        CREATE SCHEMA broadcast;
    END IF;

    -- a partitioned table is refused where that is the database's own

    IF current_setting('default_tablespace')
       = (SELECT t.spcname FROM pg_catalog.pg_database d
            JOIN pg_catalog.pg_tablespace t ON t.oid = d.dattablespace
           WHERE d.datname = current_database())
    THEN
        PERFORM set_config('default_tablespace', '', true);
    END IF;

    -- one owner of it all, also where a superuser upgrades it: functions run
    -- as their owner, who would not reach what is new

    PERFORM set_config('role', o.rolname, true)
       FROM pg_catalog.pg_class c
       JOIN pg_catalog.pg_roles o ON o.oid = c.relowner
      WHERE c.oid = to_regclass('broadcast.setting')
        AND o.rolname <> current_user;
END
$$;

COMMENT ON SCHEMA broadcast IS
'Instant broadcasting: sends, functions and history of ngx_http_broadcast_module';


--
-- What a relay holds and wants in the order of its statements this file wants
-- in the order of its lines: each would wait for the other.  So all is taken
-- at once, or given back.  Nobody waits for a part of it for so long that the
-- server looks for a deadlock; who comes meanwhile goes on between two tries.
--

DO $$
DECLARE
    ms int := (SELECT s.setting::int FROM pg_catalog.pg_settings s
                WHERE s.name = 'deadlock_timeout');
    was text := current_setting('lock_timeout');
    upto timestamptz := clock_timestamp() + interval '1 minute';
    pause float := 0.01;
    alone text;
    at oid;
    t timestamptz;
    r record;
BEGIN
    LOOP
        BEGIN
            -- a vacuum that nobody asked for makes room after that time, for
            -- who holds nothing meanwhile

            IF alone IS NOT NULL THEN
                PERFORM set_config('lock_timeout', (ms + 1000)::text, true);
                EXECUTE alone;
                RAISE lock_not_available;
            END IF;

            t := clock_timestamp()
                 + least(ms / 2, 500, 100 + pause * 1000) * interval '1 ms';

            FOR r IN
                SELECT c.oid, format('LOCK TABLE %s%s IN ACCESS EXCLUSIVE MODE',
                                     CASE c.relkind WHEN 'p' THEN 'ONLY '
                                                    ELSE '' END,
                                     c.oid::regclass) AS words
                  FROM pg_catalog.pg_class c
                 WHERE c.relnamespace = 'broadcast'::regnamespace
                   AND c.relkind IN ('r', 'p', 'v')
                   AND pg_catalog.pg_has_role(c.relowner, 'USAGE')
                 ORDER BY c.relname <> 'staging', c.relkind <> 'p', c.oid
            LOOP
                at := r.oid;
                PERFORM set_config('lock_timeout',
                    greatest(1, ceil(extract(epoch FROM t - clock_timestamp())
                                     * 1000))::text, true);
                EXECUTE r.words;
            END LOOP;

            PERFORM set_config('lock_timeout', was, true);
            RETURN;

        EXCEPTION
            WHEN lock_not_available OR deadlock_detected OR undefined_table
            THEN
                NULL;
        END;

        IF clock_timestamp() > upto THEN
            RAISE EXCEPTION '% was in use for a minute, now by the server''s processes %',
                at::regclass,
                (SELECT coalesce(string_agg(DISTINCT l.pid::text, ', '), '-')
                   FROM pg_catalog.pg_locks l
                   JOIN pg_catalog.pg_database d ON d.oid = l.database
                  WHERE l.relation = at AND l.granted
                    AND d.datname = current_database())
                USING ERRCODE = 'lock_not_available',
                      HINT = 'A transaction stays open. Nothing was changed: end it, and install again.';
        END IF;

        SELECT CASE WHEN alone IS NULL THEN r.words END INTO alone
          FROM pg_catalog.pg_locks l
         WHERE l.relation = at AND l.granted
           AND l.mode = 'ShareUpdateExclusiveLock'
         LIMIT 1;

        PERFORM pg_sleep(pause * (0.5 + random()));
        pause := least(pause * 2, 0.5);
    END LOOP;
END
$$;


--
-- Tables
--

CREATE TABLE IF NOT EXISTS broadcast.setting (
    name   text PRIMARY KEY,
    value  text NOT NULL
);

COMMENT ON TABLE broadcast.setting IS
'Settings of the schema: doorbell (commit, adaptive, off), history_age (interval), history_count (messages a hub), message_size (bytes), node_lease (interval), source (outbox, wal: the leading relay sets it as its nginx.conf says). doorbell can also be set for a session: SET broadcast.doorbell = off';

INSERT INTO broadcast.setting (name, value) VALUES
    ('doorbell', 'adaptive'),
    ('history_age', '1 day'),
    ('history_count', '100000'),
    ('message_size', '1048576'),
    ('node_lease', '15 s'),
    ('source', 'outbox')
ON CONFLICT (name) DO NOTHING;


-- A send asks for one row.  Derived: a trigger of `setting` keeps it.

CREATE TABLE IF NOT EXISTS broadcast.sending (
    single        boolean PRIMARY KEY DEFAULT true CHECK (single),
    message_size  bigint,
    doorbell      text,
    wal           boolean NOT NULL
);

COMMENT ON TABLE broadcast.sending IS
'One row: what a send needs of broadcast.setting, which is where it is changed. message_size is 0 where that cannot be read';


CREATE TABLE IF NOT EXISTS broadcast.state (
    single  boolean PRIMARY KEY DEFAULT true CHECK (single),
    head    bigint NOT NULL DEFAULT 0
);

COMMENT ON TABLE broadcast.state IS
'One row, locked by who numbers: the newest pos of broadcast.message is head or higher, see broadcast.head()';

INSERT INTO broadcast.state (single) VALUES (true) ON CONFLICT DO NOTHING;


-- Not in `state`: a bind in a transaction that stays open must not lock the
-- row that the sequencer needs.

CREATE TABLE IF NOT EXISTS broadcast.binding_state (
    single   boolean PRIMARY KEY DEFAULT true CHECK (single),
    version  bigint NOT NULL DEFAULT 1
);

COMMENT ON TABLE broadcast.binding_state IS
'One row: version changes with every bind and unbind';

INSERT INTO broadcast.binding_state (single) VALUES (true)
    ON CONFLICT DO NOTHING;


CREATE TABLE IF NOT EXISTS broadcast.hub (
    name   text PRIMARY KEY,
    epoch  bigint NOT NULL,
    seq    bigint NOT NULL DEFAULT 0
);

ALTER TABLE broadcast.hub
    ADD COLUMN IF NOT EXISTS pos bigint NOT NULL DEFAULT 0;

COMMENT ON TABLE broadcast.hub IS
'A row a hub: its epoch, and the number that was the newest one at pos. Newer ones stand in broadcast.message alone, see broadcast.positions(): a row that changed with each batch would be searched for among its dead versions while any old transaction is open';


CREATE TABLE IF NOT EXISTS broadcast.staging (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    hub         text NOT NULL,
    type        smallint NOT NULL,
    scope       smallint NOT NULL,
    source      smallint NOT NULL,
    name        text,
    grp         text,
    target      text,
    arguments   json,
    detail      text,
    excluded    text,
    mark        bigint,
    ttl         double precision,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (autovacuum_vacuum_scale_factor = 0,
        autovacuum_vacuum_threshold = 2000,
        autovacuum_vacuum_cost_delay = 0);

ALTER TABLE broadcast.staging
    ADD COLUMN IF NOT EXISTS xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    ADD COLUMN IF NOT EXISTS nth int NOT NULL DEFAULT 0;

-- never a lock that writers wait for, to give pages back

ALTER TABLE broadcast.staging SET (vacuum_truncate = false,
                                   toast.vacuum_truncate = false);

-- Of a table that is mostly empty the statistics say that any index is as good
-- as another.  One with a condition is not taken for a search by id alone, which
-- would look through all of it for each id of a batch.

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_index i
                WHERE i.indexrelid = to_regclass('broadcast.staging_xid')
                  AND i.indpred IS NULL)
    THEN
        DROP INDEX broadcast.staging_xid;
    END IF;
END
$$;

CREATE INDEX IF NOT EXISTS staging_xid ON broadcast.staging (xid, id)
 WHERE xid IS NOT NULL;

COMMENT ON TABLE broadcast.staging IS
'What was sent and is not numbered yet; empty when the relay is up to date. xid is the transaction that sent it, nth counts what that has sent';


CREATE TABLE IF NOT EXISTS broadcast.drained (
    pos   bigint PRIMARY KEY,
    past  pg_snapshot NOT NULL,
    low   bigint NOT NULL
);

COMMENT ON TABLE broadcast.drained IS
'A row each thousand messages: when they were numbered up to pos, all of broadcast.staging that the snapshot saw, up to the id low, was moved from there. So nobody looks for the rest among dead rows';


-- up to version 4 one table, which becomes the first part: see below

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_class c
                WHERE c.oid = to_regclass('broadcast.message')
                  AND c.relkind = 'r')
    THEN
        CREATE TEMP TABLE broadcast_view ON COMMIT DROP AS
        SELECT DISTINCT c.oid::regclass AS name, c.relkind AS kind,
               pg_catalog.pg_get_viewdef(c.oid) AS text
          FROM pg_catalog.pg_depend d
          JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid
          JOIN pg_catalog.pg_class c ON c.oid = r.ev_class
         WHERE d.classid = 'pg_catalog.pg_rewrite'::regclass
           AND d.refclassid = 'pg_catalog.pg_class'::regclass
           AND d.refobjid = to_regclass('broadcast.message');

        ALTER TABLE broadcast.message
            ADD COLUMN IF NOT EXISTS xid xid8,
            ADD COLUMN IF NOT EXISTS nth int,
            DROP CONSTRAINT message_hub_epoch_seq_key;
        ALTER TABLE broadcast.message RENAME TO message_0;
        ALTER INDEX broadcast.message_pkey RENAME TO message_0_pkey;
    END IF;
END
$$;

CREATE TABLE IF NOT EXISTS broadcast.message (
    pos         bigint PRIMARY KEY,
    hub         text NOT NULL,
    epoch       bigint NOT NULL,
    seq         bigint NOT NULL,
    type        smallint NOT NULL,
    scope       smallint NOT NULL,
    source      smallint NOT NULL,
    name        text,
    grp         text,
    target      text,
    arguments   json,
    detail      text,
    excluded    text,
    mark        bigint NOT NULL,
    ttl         double precision,
    size        int NOT NULL,
    created_at  timestamptz NOT NULL,
    xid         xid8,
    nth         int
) PARTITION BY RANGE (pos);

CREATE INDEX IF NOT EXISTS message_seq ON broadcast.message (hub, epoch, seq);
CREATE INDEX IF NOT EXISTS message_passing ON broadcast.message (pos)
    WHERE epoch = 0;

COMMENT ON TABLE broadcast.message IS
'History: every numbered message and command, in parts that go as a whole, see broadcast.history. xid is the transaction that sent it, nth counts what that has sent. type 1 message, 2 join, 3 leave, 4 close, 6 a new epoch; scope 0 all, 1 group, 2 user, 3 connection (its name in name). Types from 12 on, questions to a connection, their answers and the items of its streams, are on their way between nodes: of no history, so their epoch is 0 and their seq is their pos';


CREATE TABLE IF NOT EXISTS broadcast.history (
    first    bigint PRIMARY KEY,
    upto     bigint NOT NULL,
    size     bigint NOT NULL,
    made_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

COMMENT ON TABLE broadcast.history IS
'The parts of broadcast.message: message_{first} has the rows with first <= pos < upto. size is how many the next one is made for, half or twice as many if there are few or many parts';


CREATE TABLE IF NOT EXISTS broadcast.upkept (
    single   boolean PRIMARY KEY DEFAULT true CHECK (single),
    head     bigint NOT NULL DEFAULT 0,
    swept    bigint NOT NULL DEFAULT 0,
    trimmed  bigint NOT NULL DEFAULT 0,
    failure  text,
    since    timestamptz
);

COMMENT ON TABLE broadcast.upkept IS
'One row of broadcast.upkeep(): the newest pos that was deleted; up to where what is no history, and what is too old, was looked through; why nothing could be done, and since when';

INSERT INTO broadcast.upkept (single) VALUES (true) ON CONFLICT DO NOTHING;


-- Of the WAL source.  Its cursor is a row a batch, of which the newest counts:
-- one row that is updated would be a chain of versions to walk under an old
-- snapshot.

CREATE TABLE IF NOT EXISTS broadcast.wal (
    single       boolean PRIMARY KEY DEFAULT true CHECK (single),
    wanted       text,
    said         text,
    slot         text,
    publication  text,
    state        text,
    anew         boolean NOT NULL DEFAULT false,
    ids          bigint,
    barrier      pg_lsn,
    last         pg_lsn,
    pruned       pg_lsn NOT NULL DEFAULT '0/0',
    pruned_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);

COMMENT ON TABLE broadcast.wal IS
'One row: the replication slot that the leading relay reads what was sent from. wanted is the slot that nginx.conf names, null for the outbox; said is what hinders; state is make (the slot is not there yet), read, leave (what is left in it is read, up to barrier before anything that was staged since, which ids below ids are for, and up to last), drop, lost (anew: senders are waited for). What broadcast.wal_cursor had before pruned was removed';

INSERT INTO broadcast.wal (single) VALUES (true) ON CONFLICT DO NOTHING;


CREATE TABLE IF NOT EXISTS broadcast.wal_cursor (
    lsn  pg_lsn NOT NULL,
    n    int NOT NULL,
    PRIMARY KEY (lsn, n)
);

COMMENT ON TABLE broadcast.wal_cursor IS
'How far the WAL was read: the last row is the commit and the message in its transaction behind which the relay goes on; nothing behind it was confirmed to the server';


CREATE TABLE IF NOT EXISTS broadcast.wal_own (
    xid  xid8 PRIMARY KEY,
    lsn  pg_lsn NOT NULL,
    at   timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX IF NOT EXISTS wal_own_at ON broadcast.wal_own (at);

COMMENT ON TABLE broadcast.wal_own IS
'Transactions that have asked for a position behind something that they had sent: they had committed before lsn. Kept for an hour';


CREATE TABLE IF NOT EXISTS broadcast.wal_key (
    single  boolean PRIMARY KEY DEFAULT true CHECK (single),
    key     bytea NOT NULL
);

COMMENT ON TABLE broadcast.wal_key IS
'A secret: seals what is sent through the WAL, where every role may write. For nobody but the owner';

INSERT INTO broadcast.wal_key (key)
SELECT pg_catalog.decode(pg_catalog.replace(
           pg_catalog.gen_random_uuid()::text
           || pg_catalog.gen_random_uuid()::text, '-', ''), 'hex')
    ON CONFLICT DO NOTHING;


-- No unique key over the names: they may be longer than an index takes.  The
-- sequencer alone writes here, and there is only one.

CREATE TABLE IF NOT EXISTS broadcast.membership (
    hub      text NOT NULL,
    user_id  text NOT NULL,
    grp      text NOT NULL,
    expires  timestamptz NOT NULL,
    lasting  boolean NOT NULL,
    updated  bigint NOT NULL
);

CREATE INDEX IF NOT EXISTS membership_user
    ON broadcast.membership (hub, user_id);
CREATE INDEX IF NOT EXISTS membership_expires
    ON broadcast.membership (expires);

COMMENT ON TABLE broadcast.membership IS
'Groups that the connections of a user join when they connect, until they expire; updated is the pos of the command in broadcast.message, lasting was added without a ttl';


CREATE TABLE IF NOT EXISTS broadcast.node (
    name        text PRIMARY KEY,
    started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);

ALTER TABLE broadcast.node
    ADD COLUMN IF NOT EXISTS role name,
    ADD COLUMN IF NOT EXISTS backend int,
    ADD COLUMN IF NOT EXISTS session int,
    ADD COLUMN IF NOT EXISTS pool int,
    ADD COLUMN IF NOT EXISTS listens boolean NOT NULL DEFAULT true,
    ADD COLUMN IF NOT EXISTS moved int NOT NULL DEFAULT 0;

COMMENT ON TABLE broadcast.node IS
'The nginx instances on this database and when each was last heard of; for broadcast.doctor() how its relay is connected: role, server process and the one that it believes to have (session), connections it may make, whether it LISTENs, and how often its session moved to another process';


CREATE TABLE IF NOT EXISTS broadcast.connections (
    connection_id   text PRIMARY KEY,
    hub             text NOT NULL,
    user_id         text,
    node            text,
    transport       text,
    connected_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    remote_address  text,
    claims          jsonb,
    query           jsonb,
    headers         jsonb
);

CREATE INDEX IF NOT EXISTS connections_node ON broadcast.connections (node);
CREATE INDEX IF NOT EXISTS connections_user
    ON broadcast.connections (hub, user_id);
CREATE INDEX IF NOT EXISTS connections_hub
    ON broadcast.connections (hub, connection_id);

COMMENT ON TABLE broadcast.connections IS
'Who is connected: the proof that `disconnected` is owed';


-- Of connections whose row may never have been there, and of those that other
-- nodes ended.

CREATE TABLE IF NOT EXISTS broadcast.gone (
    connection_id  text PRIMARY KEY,
    at             timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX IF NOT EXISTS gone_at ON broadcast.gone (at);

COMMENT ON TABLE broadcast.gone IS
'The proof that `disconnected` was called, where a missing row in broadcast.connections is none; kept for a day';


-- A row a membership: a join costs one small row, not a new version of the
-- connection's, and the groups of a hub are counted in an index.  A name may
-- be longer than an index takes, so its key stands there.

CREATE TABLE IF NOT EXISTS broadcast.connection_group (
    connection_id  text NOT NULL REFERENCES broadcast.connections
                       ON DELETE CASCADE,
    hub            text NOT NULL,
    key            bytea NOT NULL,
    grp            text NOT NULL,
    PRIMARY KEY (connection_id, key)
);

CREATE INDEX IF NOT EXISTS connection_group_members
    ON broadcast.connection_group (hub, key, connection_id);

COMMENT ON TABLE broadcast.connection_group IS
'The groups that the connections of durable hubs are in, as their nodes say; key is broadcast.group_key(grp)';


CREATE TABLE IF NOT EXISTS broadcast.binding (
    kind      text NOT NULL,
    function  text NOT NULL,
    hub       text,
    event     text,
    every     interval,
    role      text
);

CREATE UNIQUE INDEX IF NOT EXISTS binding_key ON broadcast.binding
    (kind, function, coalesce(hub, ''), coalesce(event, ''));

COMMENT ON TABLE broadcast.binding IS
'Functions bound by broadcast.bind(), by their qualified names';


CREATE TABLE IF NOT EXISTS broadcast.exposed (
    hub     text NOT NULL,
    schema  text NOT NULL,
    PRIMARY KEY (hub, schema)
);

COMMENT ON TABLE broadcast.exposed IS
'Schemas whose functions are methods of a hub, by broadcast.expose()';


CREATE TABLE IF NOT EXISTS broadcast.function_error (
    at             timestamptz NOT NULL DEFAULT clock_timestamp(),
    kind           text,
    function       text,
    hub            text,
    connection_id  text,
    sqlstate       text,
    message        text,
    detail         text,
    hint           text,
    context        text
);

ALTER TABLE broadcast.function_error
    ADD COLUMN IF NOT EXISTS count bigint NOT NULL DEFAULT 1;
ALTER TABLE broadcast.function_error
    ADD COLUMN IF NOT EXISTS id bigint GENERATED ALWAYS AS IDENTITY;

CREATE INDEX IF NOT EXISTS function_error_at ON broadcast.function_error (at);
CREATE UNIQUE INDEX IF NOT EXISTS function_error_id
    ON broadcast.function_error (id);

COMMENT ON TABLE broadcast.function_error IS
'What functions raised, the newest 1000; count: how often since the row before of that function, where more came than are written';


CREATE TABLE IF NOT EXISTS broadcast.timer_state (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    function    text NOT NULL,
    hub         text,
    name        text NOT NULL,
    every       interval NOT NULL,
    anchor      timestamptz NOT NULL,
    next_due    timestamptz NOT NULL,
    last_run    timestamptz,
    duration    interval,
    last_error  text,
    runs        bigint NOT NULL DEFAULT 0,
    failures    bigint NOT NULL DEFAULT 0
);

CREATE UNIQUE INDEX IF NOT EXISTS timer_state_key ON broadcast.timer_state
    (function, coalesce(hub, ''), name);

COMMENT ON TABLE broadcast.timer_state IS
'A row a bound timer: its ticks are the times anchor + n * every. Who runs a tick holds its row''s lock; read broadcast.timer';


CREATE OR REPLACE VIEW broadcast.timer AS
    SELECT t.name, t.function, t.hub, t.every, t.next_due, t.last_run,
           t.duration, t.last_error, t.runs, t.failures
      FROM broadcast.timer_state t;

COMMENT ON VIEW broadcast.timer IS
'The bound timers: when the next tick is due; when the last one ran, how long, and what it raised (null: nothing); how many ran and how many of these failed';


--
-- Small things
--

CREATE OR REPLACE FUNCTION broadcast.schema_version() RETURNS int
LANGUAGE sql IMMUTABLE
AS $$ SELECT 6 $$;

COMMENT ON FUNCTION broadcast.schema_version() IS
'Version of this schema; the module refuses one that is older than it needs';


CREATE OR REPLACE FUNCTION broadcast.checked_hub(hub text) RETURNS text
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- with a bound, {0,127}, the expression alone would cost as much as a row

    IF hub IS NULL OR hub !~ '^[A-Za-z][]A-Za-z0-9_`,.[]*$'
       OR octet_length(hub) > 128
    THEN
        RAISE EXCEPTION 'invalid hub name: %', coalesce(quote_literal(hub),
                                                        'null')
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = '1 to 128 characters, a letter first, then letters, digits or _`,.[]';
    END IF;

    RETURN lower(hub COLLATE "C");
END
$$;

COMMENT ON FUNCTION broadcast.checked_hub(text) IS
'The hub name in lower case, or an error: hub names ignore case';


CREATE OR REPLACE FUNCTION broadcast.group_key("group" text) RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
AS $$
    SELECT pg_catalog.substr(
               pg_catalog.sha256(pg_catalog.convert_to($1, 'UTF8')), 1, 16)
$$;

COMMENT ON FUNCTION broadcast.group_key(text) IS
'Internal: 16 bytes that stand for the name of a group in an index';


CREATE OR REPLACE FUNCTION broadcast.epoch() RETURNS bigint
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT ('x' || substr(replace(gen_random_uuid()::text, '-', ''), 1, 12))
           ::bit(48)::bigint | 1
$$;

COMMENT ON FUNCTION broadcast.epoch() IS
'A random number for a new history of a hub: 48 bits, never 0';


-- In a sequence: setval() is seen at once by everybody, locks no row, leaves
-- no dead one, and to read it costs a sender next to nothing.

CREATE SEQUENCE IF NOT EXISTS broadcast.promised MINVALUE 0 START 0;

COMMENT ON SEQUENCE broadcast.promised IS
'Until then, in milliseconds of the server''s clock, the leading relay looks for what was sent every few milliseconds: an adaptive doorbell does not ring';


CREATE OR REPLACE FUNCTION broadcast.promise(ms int) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- nothing is lost if it is

    PERFORM set_config('synchronous_commit', 'off', true);

    PERFORM setval('broadcast.promised',
                   (extract(epoch FROM clock_timestamp()) * 1000)::bigint
                   + ms);
END
$$;

COMMENT ON FUNCTION broadcast.promise(int) IS
'The leading relay: it will look for what was sent every few milliseconds, for so many milliseconds; 0: not any more';


-- the payload tells the relay whose rings it could spare

CREATE OR REPLACE FUNCTION broadcast.knock(bell text) RETURNS boolean
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    done text;
BEGIN
    bell := coalesce(lower(nullif(current_setting('broadcast.doorbell', true),
                                  '')), bell, 'commit');

    IF bell = 'adaptive' THEN
        IF (pg_sequence_last_value('broadcast.promised'::regclass)
            > date_part('epoch', clock_timestamp()) * 1000) IS NOT TRUE
        THEN
            done := pg_notify('broadcast_doorbell', 'adaptive');
        END IF;

    ELSIF bell <> 'off' THEN
        done := pg_notify('broadcast_doorbell', '');
    END IF;

    RETURN true;
END
$$;

COMMENT ON FUNCTION broadcast.knock(text) IS
'Internal: rings the doorbell, if it is one that rings; bell is the setting. Always true';


-- A statement costs more here than what it does, and a function called by one
-- as much again: all settings come by one, and what needs no table is assigned.

CREATE OR REPLACE FUNCTION broadcast.put(hub text, type int, scope int,
    source int, name text, grp text, target text, arguments json,
    detail text, excluded text[], ttl interval) RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    nth int := coalesce(nullif(current_setting('broadcast.nth', true), ''),
                        '0')::int + 1;
    listed text := nullif(array_to_string(excluded, ','), '');
    lim bigint;
    bell text;
    wal boolean;
    done text;
BEGIN
    SELECT s.message_size, s.doorbell, s.wal INTO lim, bell, wal
      FROM broadcast.sending s WHERE s.single;

    IF coalesce(octet_length(arguments::text), 0)
       + coalesce(octet_length(detail), 0)
       + coalesce(octet_length(listed), 0) > coalesce(lim, 0)
    THEN
        PERFORM broadcast.check_size(coalesce(octet_length(arguments::text), 0)
            + coalesce(octet_length(detail), 0)
            + coalesce(octet_length(listed), 0));
    END IF;

    -- staged: a Completion must not overtake it

    done := set_config('broadcast.staged', '1', true)
            || set_config('broadcast.nth', nth::text, true);

    -- what was sent before went to staging, unless it is known that it did not

    IF (wal IS NOT FALSE AND nth = 1
        OR current_setting('broadcast.way', true) <> '') IS TRUE
       AND broadcast.wal_way()
    THEN
        done := broadcast.wal_emit(hub, type, scope, source, name, grp,
                                   target, coalesce(arguments::text, detail),
                                   listed, NULL, extract(epoch FROM ttl), nth);
        RETURN;
    END IF;

    INSERT INTO broadcast.staging (hub, type, scope, source, name, grp,
                                   target, arguments, detail, excluded, ttl,
                                   nth)
    VALUES (hub, type, scope, source, name, grp, target, arguments, detail,
            listed, extract(epoch FROM ttl), nth);

    done := broadcast.knock(bell);
END
$$;

COMMENT ON FUNCTION broadcast.put(text, int, int, int, text, text, text, json,
                                  text, text[], interval) IS
'Internal: stages one record of the caller''s transaction and rings the doorbell';


CREATE OR REPLACE FUNCTION broadcast.check_size(size bigint) RETURNS void
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    lim bigint;
BEGIN
    SELECT s.value::bigint INTO lim FROM broadcast.setting s
     WHERE s.name = 'message_size';

    IF size > lim THEN
        RAISE EXCEPTION 'message of % bytes is larger than the limit of %',
                size, lim
            USING ERRCODE = 'program_limit_exceeded',
                  HINT = 'the limit is message_size in broadcast.setting';
    END IF;
END
$$;

COMMENT ON FUNCTION broadcast.check_size(bigint) IS
'Internal: an error for what is larger than a message may be; what fits into no zone would be missed by all clients of its hub';


-- up to version 3 without the second group, then with other types

DROP FUNCTION IF EXISTS broadcast.send(text, int, text, text, jsonb, text[],
                                       int);
DROP FUNCTION IF EXISTS broadcast.send(text, int, text, text, jsonb, text[],
                                       int, text);

CREATE OR REPLACE FUNCTION broadcast.send_fault(hub text, scope int,
    name text, target text, arguments jsonb, grp text) RETURNS text
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    what text := (ARRAY['hub', 'group', 'user', 'connection'])[scope + 1];
BEGIN
    hub := broadcast.checked_hub(hub);

    IF coalesce(target, '') = '' OR octet_length(target) > 1024 THEN
        RAISE EXCEPTION 'a target of 1 to 1024 bytes is needed'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;

    -- it is a line of its own in an event stream

    IF target ~ '[\r\n]' THEN
        RAISE EXCEPTION 'a target has no line breaks'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;

    IF jsonb_typeof(arguments) IS DISTINCT FROM 'array' THEN
        RAISE EXCEPTION 'arguments must be a JSON array, not %',
                coalesce(jsonb_typeof(arguments), 'null')
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'one argument is an array of one: jsonb_build_array(…)';
    END IF;

    -- MessagePack is written so deep.  Strict, since lax paths unwrap arrays

    IF arguments @? 'strict $.**{64} ? (@.type() == "array"
                                       || @.type() == "object")'
    THEN
        RAISE EXCEPTION 'arguments are nested deeper than 64 levels'
            USING ERRCODE = 'program_limit_exceeded',
                  HINT = 'the array of arguments is the first level';
    END IF;

    IF scope > 0 AND coalesce(name, '') = '' THEN
        RAISE EXCEPTION 'a % name is needed', what
            USING ERRCODE = 'invalid_parameter_value';
    END IF;

    IF (CASE scope WHEN 1 THEN greatest(char_length(name), char_length(grp))
                   ELSE octet_length(name) END) > 1024
    THEN
        RAISE EXCEPTION 'the % name is longer than 1024 %', what,
                CASE scope WHEN 1 THEN 'characters' ELSE 'bytes' END
            USING ERRCODE = 'invalid_parameter_value';
    END IF;

    RETURN hub;
END
$$;

COMMENT ON FUNCTION broadcast.send_fault(text, int, text, text, jsonb, text)
IS 'Internal: the error for a message that cannot be sent, or its hub''s name in lower case';


-- An operator is made ready once a transaction, which costs more than what it
-- does, and a statement as much as ten of them.  So what is in order is looked
-- at, counted, rung for and staged by one statement, which asks for no more than
-- it must: short names in lower case, of what goes to `staging`.  All else goes
-- the long way, what is not in order, too.
--
-- CASE, since conditions may be looked at in any order.  What has an effect
-- stands there and not in the list: else the list would be made twice.  `single`
-- tells the planner that there is one row, whatever it knows of the table; of
-- many it would make a plan for each send.

CREATE OR REPLACE FUNCTION broadcast.send(hub text, scope smallint, name text,
    target text, arguments jsonb, excluded text[], source smallint,
    grp text DEFAULT NULL, OUT done boolean)
LANGUAGE plpgsql VOLATILE
AS $$
#variable_conflict use_variable
DECLARE
    listed text;
BEGIN
    IF excluded <> '{}' THEN
        listed := nullif(array_to_string(excluded, ','), '');
    END IF;

    INSERT INTO broadcast.staging (hub, type, scope, source, name, grp,
                                   target, arguments, excluded, nth)
    SELECT hub, 1, scope, source, name, grp, target, arguments::json, listed,
           current_setting('broadcast.nth')::int
      FROM broadcast.sending s
     WHERE s.single
       AND CASE WHEN hub ~ '^[a-z][]a-z0-9_`,.[]*$' AND target ~ '^[^\r\n]+$'
                     AND octet_length(concat(hub, target, name, grp)) <= 128
                     AND (scope = 0 OR name <> '')
                     AND arguments @@ 'strict $.type() == "array"
                             && !exists ($.**{64} ? (@.type() == "array"
                                                     || @.type() == "object"))'
                     AND octet_length(arguments::text || coalesce(listed, ''))
                         <= s.message_size
                     AND NOT s.wal
                     AND current_setting('broadcast.way', true) IS NULL
                THEN set_config('broadcast.staged', '1', true) IS NOT NULL
                     AND set_config('broadcast.nth', (coalesce(nullif(
                             current_setting('broadcast.nth', true), ''), '0')
                             ::int + 1)::text, true) IS NOT NULL
                     AND (coalesce(current_setting('broadcast.doorbell', true),
                                   s.doorbell) = ANY ('{adaptive,off}')
                          AND pg_sequence_last_value(
                                  'broadcast.promised'::regclass)
                              > date_part('epoch', clock_timestamp()) * 1000
                          OR broadcast.knock(s.doorbell))
           END;

    IF FOUND THEN
        RETURN;
    END IF;

    hub := broadcast.send_fault(hub, scope, name, target, arguments, grp);

    done := broadcast.put(hub, 1, scope, source, name, grp, target,
                          arguments::text::json, NULL, excluded, NULL) IS NULL;
END
$$;

COMMENT ON FUNCTION broadcast.send(text, smallint, text, text, jsonb, text[],
                                   smallint, text)
IS 'Internal: checks and stages one message; grp is a second group that gets it, once for who is in both';


--
-- What is sent through the WAL
--
-- Where broadcast.setting says `source` = `wal`, a send is a transactional
-- message in the WAL in place of a row in `staging`, and rings no doorbell.
-- The leading relay reads it from a logical replication slot, in the order of
-- commits, and gives it to sequence_wal(), which moves it to `staging` and
-- numbers it, all in one transaction with the cursor.
--
-- A transaction goes one way only, so what it sends keeps its order, and holds
-- a lock that tells that it goes through the WAL.  Nobody waits for such a
-- lock: whoever leaves this source only looks whether there still are any.
--
-- Any role may write to the WAL under our prefix, so a message is sealed with
-- a key that only the owner can read, and names its transaction:
--
--     64 hexadecimal digits, the seal of all that follows
--     a JSON array, in one line; LF
--     the arguments or the detail, byte for byte
--

CREATE OR REPLACE FUNCTION broadcast.wal_way() RETURNS boolean
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    xid text := pg_current_xact_id()::text;
    way text := current_setting('broadcast.way', true);
BEGIN
    IF way = xid || 'w' THEN
        RETURN true;
    END IF;

    IF way = xid || 's' THEN
        RETURN false;
    END IF;

    way := 's';

    -- An older snapshot does not tell what the source is now.  And it is read
    -- behind the lock: who leaves it changes it, then looks for locks.  A send
    -- is a change, which who only reads may not make: the table says so.

    IF current_setting('transaction_isolation') LIKE 'read%'
       AND current_setting('transaction_read_only') = 'off'
       AND pg_try_advisory_xact_lock_shared(hashtext('broadcast.wal'),
                                            pg_backend_pid() & 15)
    THEN
        SELECT CASE WHEN s.value = 'wal' THEN 'w' ELSE 's' END INTO way
          FROM broadcast.setting s WHERE s.name = 'source';
    END IF;

    RETURN set_config('broadcast.way', xid || coalesce(way, 's'), true)
           = xid || 'w';
END
$$;

COMMENT ON FUNCTION broadcast.wal_way() IS
'Internal: whether what this transaction sends goes through the WAL, where broadcast.setting says so: the first send of a transaction decides';


CREATE OR REPLACE FUNCTION broadcast.wal_senders() RETURNS boolean
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (
        SELECT FROM pg_locks l
         WHERE l.locktype = 'advisory' AND l.objsubid = 2 AND l.granted
           AND l.database = (SELECT d.oid FROM pg_database d
                              WHERE d.datname = current_database())
           AND l.classid::bigint
               = hashtext('broadcast.wal')::bigint & 4294967295
           AND l.objid::bigint < 16)
$$;

COMMENT ON FUNCTION broadcast.wal_senders() IS
'Internal: whether a transaction is open that has sent through the WAL';


CREATE OR REPLACE FUNCTION broadcast.wal_seal(body bytea) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    key bytea := (SELECT k.key FROM broadcast.wal_key k);
BEGIN
    RETURN encode(sha256(key || sha256(key || body)), 'hex');
END
$$;

COMMENT ON FUNCTION broadcast.wal_seal(bytea) IS
'Internal: what proves that a message in the WAL was sent by this schema';


CREATE OR REPLACE FUNCTION broadcast.wal_emit(hub text, type int, scope int,
    source int, name text, grp text, target text, body text, excluded text,
    mark bigint, ttl double precision, nth int) RETURNS pg_lsn
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    said bytea := convert_to(
        json_build_array(pg_current_xact_id()::text, nth, hub, type, scope,
                         source, name, grp, target, excluded, mark, ttl,
                         (extract(epoch FROM clock_timestamp()) * 1000000)
                         ::bigint, body IS NULL)::text
        || E'\n' || coalesce(body, ''), 'UTF8');
BEGIN
    -- the relay reads nothing larger, whoever it is of

    IF octet_length(said) > 16777216 - 64 THEN
        RAISE EXCEPTION 'message of % bytes is larger than the WAL source takes',
                octet_length(said)
            USING ERRCODE = 'program_limit_exceeded',
                  HINT = 'it takes 16 MiB, "broadcast_source outbox" more';
    END IF;

    RETURN pg_logical_emit_message(true, 'broadcast',
               convert_to(broadcast.wal_seal(said), 'UTF8') || said);
END
$$;

COMMENT ON FUNCTION broadcast.wal_emit(text, int, int, int, text, text, text,
    text, text, bigint, double precision, int) IS
'Internal: sends one record through the WAL';


CREATE OR REPLACE FUNCTION broadcast.wal_beat() RETURNS pg_lsn
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT pg_logical_emit_message(true, 'broadcast', 'beat') $$;

COMMENT ON FUNCTION broadcast.wal_beat() IS
'Internal: something to read behind all that was committed before; the cursor reaches the place that it returns';


-- A sequence for the reasons of broadcast.promised.

CREATE SEQUENCE IF NOT EXISTS broadcast.wal_beaten MINVALUE 0 START 0;

COMMENT ON SEQUENCE broadcast.wal_beaten IS
'When something was last written to the WAL for a position that waits, in milliseconds of the server''s clock';


CREATE OR REPLACE FUNCTION broadcast.wal_may_beat() RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    moment bigint := extract(epoch FROM clock_timestamp()) * 1000;
BEGIN
    IF pg_sequence_last_value('broadcast.wal_beaten'::regclass)
       BETWEEN moment - 100 AND moment
    THEN
        RETURN false;
    END IF;

    PERFORM setval('broadcast.wal_beaten', moment);

    RETURN true;
END
$$;

COMMENT ON FUNCTION broadcast.wal_may_beat() IS
'Internal: true ten times a second, for all who ask: a position comes from a client, who may have made it up';


CREATE OR REPLACE FUNCTION broadcast.wal_place() RETURNS pg_lsn
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT c.lsn FROM broadcast.wal_cursor c ORDER BY c.lsn DESC, c.n DESC
     LIMIT 1
$$;

COMMENT ON FUNCTION broadcast.wal_place() IS
'Internal: all that was committed before, and sent through the WAL, is staged or numbered';


CREATE OR REPLACE FUNCTION broadcast.wal_unnumbered() RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own bigint := pg_current_xact_id_if_assigned()::text::bigint;
    till bigint := (CASE WHEN pg_is_in_recovery()
                         THEN pg_snapshot_xmin(pg_current_snapshot())
                         ELSE pg_snapshot_xmax(pg_current_snapshot())
                    END)::text::bigint;
    mine int := nullif(current_setting('broadcast.nth', true), '')::int;
    said text;
BEGIN
    -- Which of them have sent only the relay knows: all that are seen.  A
    -- standby does not tell which are open: those before all of these, there.

    SELECT broadcast.runs(array_agg(w.a ORDER BY w.a),
                          array_agg(w.b ORDER BY w.a)) INTO said
      FROM (SELECT lag(x.x, 1, 0::bigint) OVER (ORDER BY x.x) + 1 AS a,
                   x.x - 1 AS b
              FROM (SELECT p::text::bigint AS x
                      FROM pg_snapshot_xip(pg_current_snapshot()) p
                     WHERE p::text::bigint < till
                     UNION SELECT own WHERE own < till
                     UNION SELECT till) x) w
     WHERE w.b >= w.a;

    RETURN '.' || coalesce(said, '')
           || coalesce('~' || to_hex(own) || '_' || to_hex(mine), '')
           || '-' || to_hex((CASE WHEN pg_is_in_recovery()
                                  THEN pg_last_wal_replay_lsn()
                                  ELSE pg_current_wal_insert_lsn()
                             END - '0/0')::bigint);
END
$$;

COMMENT ON FUNCTION broadcast.wal_unnumbered() IS
'Internal: the suffix of a position where messages come through the WAL: all transactions that the statement sees, and how far the WAL must be read for them';


CREATE OR REPLACE FUNCTION broadcast.wal_settled(suffix text, reached pg_lsn)
RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    place bigint := ('x' || lpad(nullif(split_part(suffix, '-', 2), ''), 16,
                                 '0'))::bit(64)::bigint;
    own text := nullif(split_part(split_part(split_part(suffix, '-', 1), '~',
                                             2), '_', 1), '');
    asked xid8 := ('x' || lpad(own, 16, '0'))::bit(64)::bigint::text::xid8;
    behind pg_lsn;
BEGIN
    IF place IS NULL THEN
        RETURN true;
    END IF;

    -- a place where nothing is yet no statement has seen, and no beat reaches

    IF reached - '0/0' < place THEN
        IF place <= pg_current_wal_insert_lsn() - '0/0'
           AND broadcast.wal_may_beat()
        THEN
            PERFORM broadcast.wal_beat();
        END IF;

        RETURN false;
    END IF;

    IF own IS NULL THEN
        RETURN true;
    END IF;

    -- who asked has committed behind that place: before what is sent now

    SELECT o.lsn INTO behind FROM broadcast.wal_own o WHERE o.xid = asked;

    IF behind IS NULL
       AND pg_visible_in_snapshot(asked, pg_current_snapshot())
       AND broadcast.wal_may_beat()
    THEN
        INSERT INTO broadcast.wal_own (xid, lsn)
        VALUES (asked, broadcast.wal_beat()) ON CONFLICT DO NOTHING;
    END IF;

    RETURN coalesce(reached >= behind, false);
END
$$;

COMMENT ON FUNCTION broadcast.wal_settled(text, pg_lsn) IS
'Internal: whether the WAL was read, up to the place reached in the snapshot of who asks, as far as a position says; if not, gives the relay something to read there';


--
-- Sending
--

CREATE OR REPLACE FUNCTION broadcast.send_all(hub text, target text,
    arguments jsonb, excluded text[] DEFAULT '{}') RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    done boolean;
BEGIN
    done := broadcast.send(hub, 0::smallint, NULL, target, arguments,
                           excluded, 0::smallint);
END
$$;

COMMENT ON FUNCTION broadcast.send_all(text, text, jsonb, text[]) IS
'Sends a message to all clients of a hub, but for the excluded connection ids, if and when the transaction commits. As any other change it is an error in a READ ONLY transaction';


CREATE OR REPLACE FUNCTION broadcast.send_group(hub text, "group" text,
    target text, arguments jsonb, excluded text[] DEFAULT '{}') RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    done boolean;
BEGIN
    done := broadcast.send(hub, 1::smallint, "group", target, arguments,
                           excluded, 0::smallint);
END
$$;

COMMENT ON FUNCTION broadcast.send_group(text, text, text, jsonb, text[]) IS
'Sends a message to the members of a group of a hub, but for the excluded connection ids, if and when the transaction commits';


CREATE OR REPLACE FUNCTION broadcast.send_user(hub text, "user" text,
    target text, arguments jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    done boolean;
BEGIN
    done := broadcast.send(hub, 2::smallint, "user", target, arguments, '{}',
                           0::smallint);
END
$$;

COMMENT ON FUNCTION broadcast.send_user(text, text, text, jsonb) IS
'Sends a message to all connections of a user, if and when the transaction commits';


CREATE OR REPLACE FUNCTION broadcast.send_connection(hub text,
    connection text, target text, arguments jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    done boolean;
BEGIN
    done := broadcast.send(hub, 3::smallint, connection, target, arguments,
                           '{}', 0::smallint);
END
$$;

COMMENT ON FUNCTION broadcast.send_connection(text, text, text, jsonb) IS
'Sends a message to one connection, if and when the transaction commits';


CREATE OR REPLACE FUNCTION broadcast.member(type int, hub text, grp text,
    connection text, usr text, ttl interval, source int) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF (coalesce(connection, '') = '') = (coalesce(usr, '') = '') THEN
        RAISE EXCEPTION 'exactly one of connection and user is needed'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;

    IF octet_length(coalesce(nullif(usr, ''), connection)) > 1024 THEN
        RAISE EXCEPTION 'the % name is longer than 1024 bytes',
                CASE WHEN usr <> '' THEN 'user' ELSE 'connection' END
            USING ERRCODE = 'invalid_parameter_value';
    END IF;

    -- no token can name such a user

    IF usr ~ '[\x01-\x1f\x7f]' THEN
        RAISE EXCEPTION 'a user name has no control characters'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;

    IF grp IS NOT NULL
       AND (grp !~ '[^[:space:]]' OR char_length(grp) > 1024)
       OR grp IS NULL AND type = 2
    THEN
        RAISE EXCEPTION 'a group name of 1 to 1024 characters is needed'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;

    IF extract(epoch FROM ttl) NOT BETWEEN 0 AND 2147483647 THEN
        RAISE EXCEPTION 'a ttl of 0 to 2147483647 seconds is needed, not %', ttl
            USING ERRCODE = 'invalid_parameter_value';
    END IF;

    PERFORM broadcast.put(broadcast.checked_hub(hub), type,
                          CASE WHEN usr <> '' THEN 2 ELSE 3 END, source,
                          coalesce(nullif(usr, ''), connection), grp,
                          NULL, NULL, NULL, '{}', ttl);
END
$$;

COMMENT ON FUNCTION broadcast.member(int, text, text, text, text, interval,
                                     int) IS
'Internal: checks and stages a join (2) or a leave (3)';


CREATE OR REPLACE FUNCTION broadcast.add_to_group(hub text, "group" text,
    connection text DEFAULT NULL, "user" text DEFAULT NULL,
    ttl interval DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM broadcast.member(2, hub, "group", connection, "user", ttl, 0);
END
$$;

COMMENT ON FUNCTION broadcast.add_to_group(text, text, text, text, interval)
IS 'Adds a connection, or the connections of a user, to a group; messages that are sent later reach it there. Connections that the user makes later join it, too, for the ttl (0: they do not; below 0: an error), or for a year';


CREATE OR REPLACE FUNCTION broadcast.remove_from_group(hub text,
    "group" text, connection text DEFAULT NULL, "user" text DEFAULT NULL)
    RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM broadcast.member(3, hub, "group", connection, "user", NULL, 0);
END
$$;

COMMENT ON FUNCTION broadcast.remove_from_group(text, text, text, text) IS
'Removes a connection, or the connections of a user, from a group, which later ones do not join any more; a null group is all groups';


CREATE OR REPLACE FUNCTION broadcast.shut(hub text, connection text,
    reason text, source int) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF coalesce(connection, '') = '' OR octet_length(connection) > 1024 THEN
        RAISE EXCEPTION 'a close needs a connection id of 1 to 1024 bytes'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;

    PERFORM broadcast.put(broadcast.checked_hub(hub), 4, 3, source,
                          connection, NULL, NULL, NULL, reason, '{}', NULL);
END
$$;

COMMENT ON FUNCTION broadcast.shut(text, text, text, int) IS
'Internal: checks and stages the close of a connection';


CREATE OR REPLACE FUNCTION broadcast.close_connection(hub text,
    connection text, reason text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM broadcast.shut(hub, connection, reason, 0);
END
$$;

COMMENT ON FUNCTION broadcast.close_connection(text, text, text) IS
'Closes a connection, with reconnect allowed, after what was sent to it before';


-- The position of a hub is {epoch}-{seq}, in hexadecimal digits and in decimal
-- ones: whoever has it has seen all messages up to this number.  What the
-- statement sees beyond it stands in a suffix, by the transactions that sent
-- it, all in hexadecimal digits:
--
--     position = epoch "-" seq [ "." *run [ own ] [ "-" lsn ] ]
--     run      = "." first [ "_" more ]     ; first: from the end of the run
--                                           ; before; more: transactions
--     own      = "~" xid "_" nth            ; of the one that asked, as many
--
-- A run spans no transaction that was open.  Characters are those of a URL
-- that need no escape, and at most 1000.

CREATE OR REPLACE FUNCTION broadcast.runs(first bigint[], last bigint[])
RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(string_agg(w.run, '' ORDER BY w.a), '')
      FROM (SELECT r.a, r.run, sum(length(r.run)) OVER (ORDER BY r.a) AS sum
              FROM (SELECT x.a,
                           '.' || to_hex(x.a - lag(x.b, 1, 0::bigint)
                                               OVER (ORDER BY x.a))
                           || CASE WHEN x.b > x.a
                                   THEN '_' || to_hex(x.b - x.a)
                                   ELSE '' END AS run
                      FROM unnest($1, $2) x(a, b)) r) w
     WHERE w.sum <= 900
$$;

COMMENT ON FUNCTION broadcast.runs(bigint[], bigint[]) IS
'Internal: runs of transactions as they stand in a position. Those that no longer fit are left out: what they sent comes a second time';


CREATE OR REPLACE FUNCTION broadcast.newest(hub text, epoch bigint,
    seq bigint, pos bigint) RETURNS bigint
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET jit = off
AS $$
BEGIN
    RETURN coalesce((SELECT m.seq FROM broadcast.message m
                      WHERE m.hub = $1 AND m.epoch = $2 AND m.seq > $3
                        AND m.pos > $4
                      ORDER BY m.seq DESC LIMIT 1), $3);
END
$$;

COMMENT ON FUNCTION broadcast.newest(text, bigint, bigint, bigint) IS
'Internal: the newest number of a hub, of the columns of its row';


CREATE OR REPLACE FUNCTION broadcast.waiting(hub text)
RETURNS TABLE (xid bigint, nth int)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET jit = off
AS $$
DECLARE
    own xid8 := pg_current_xact_id_if_assigned();
    past pg_snapshot;
    low bigint;
BEGIN
    SELECT d.past, d.low INTO past, low FROM broadcast.drained d
     ORDER BY d.pos DESC LIMIT 1;

    -- one that comes from another server tells nothing

    IF pg_snapshot_xmax(past) > pg_snapshot_xmax(pg_current_snapshot()) THEN
        past := NULL;
    END IF;

    IF past IS NULL THEN
        RETURN QUERY SELECT s.xid::text::bigint, s.nth FROM broadcast.staging s
                      WHERE s.hub = $1 AND s.type < 12;
        RETURN;
    END IF;

    RETURN QUERY
        SELECT s.xid::text::bigint, s.nth FROM broadcast.staging s
         WHERE s.xid >= pg_snapshot_xmax(past)
           AND s.hub = $1 AND s.type < 12
         UNION ALL
        SELECT s.xid::text::bigint, s.nth
          FROM pg_snapshot_xip(past) x JOIN broadcast.staging s ON s.xid = x
         WHERE s.hub = $1 AND s.type < 12
           AND (x = own OR pg_visible_in_snapshot(x, pg_current_snapshot()))
         UNION ALL

        -- what came through the WAL, of any transaction

        SELECT s.xid::text::bigint, s.nth FROM broadcast.staging s
         WHERE s.id > low AND s.xid < pg_snapshot_xmax(past)
           AND s.hub = $1 AND s.type < 12;
END
$$;

COMMENT ON FUNCTION broadcast.waiting(text) IS
'Internal: what of a hub the statement sees that is not numbered';


CREATE OR REPLACE FUNCTION broadcast.unnumbered(hub text) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own bigint := pg_current_xact_id_if_assigned()::text::bigint;
    open bigint[];
    seen bigint[];
    mine int;
    said text;
BEGIN
    IF EXISTS (SELECT FROM broadcast.wal w WHERE w.slot IS NOT NULL) THEN
        RETURN broadcast.wal_unnumbered();
    END IF;

    SELECT array_agg(DISTINCT w.xid) FILTER (WHERE w.xid IS DISTINCT FROM own),
           max(w.nth) FILTER (WHERE w.xid = own)
      INTO seen, mine
      FROM broadcast.waiting(hub) w;

    IF seen IS NULL AND mine IS NULL THEN
        RETURN '';
    END IF;

    -- a standby does not tell which transactions are open

    open := CASE WHEN pg_is_in_recovery() THEN seen ELSE
                ARRAY(SELECT x::text::bigint
                        FROM pg_snapshot_xip(pg_current_snapshot()) x) || own
            END;

    SELECT broadcast.runs(array_agg(r.a), array_agg(r.b)) INTO said
      FROM (SELECT min(w.x) AS a, max(w.x) AS b
              FROM (SELECT u.x, u.seen, count(*) FILTER (WHERE NOT u.seen)
                                        OVER (ORDER BY u.x) AS n
                      FROM (SELECT unnest(seen), true
                             UNION ALL
                            SELECT unnest(open), false) u(x, seen)) w
             WHERE w.seen GROUP BY w.n) r;

    RETURN '.' || said
           || coalesce('~' || to_hex(own) || '_' || to_hex(mine), '');
END
$$;

COMMENT ON FUNCTION broadcast.unnumbered(text) IS
'Internal: the suffix of a position, empty if all that the statement sees of the hub is numbered';


CREATE OR REPLACE FUNCTION broadcast.position(hub text) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    hub := broadcast.checked_hub(hub);

    RETURN coalesce((SELECT to_hex(h.epoch) || '-'
                            || broadcast.newest(h.name, h.epoch, h.seq, h.pos)
                       FROM broadcast.hub h WHERE h.name = position.hub),
                    '0-0')
           || broadcast.unnumbered(hub);
END
$$;

COMMENT ON FUNCTION broadcast.position(text) IS
'Position of a hub, of the statement''s snapshot: connect with it to get what the statement has not seen. Opaque: {epoch}-{seq}, and behind a "." what is committed and not numbered yet; of letters, digits and "-._~", at most 1000';


CREATE OR REPLACE FUNCTION broadcast.is_suffix(suffix text) RETURNS boolean
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT $1 = ''
           OR length($1) <= 1000
              AND $1 ~ '^\.(\.[0-9a-f]{1,15}(_[0-9a-f]{1,15})?)*(~[0-9a-f]{1,15}_[0-9a-f]{1,7})?(-[0-9a-f]{1,16})?$'
$$;

COMMENT ON FUNCTION broadcast.is_suffix(text) IS
'Internal: whether this may stand behind {epoch}-{seq} in a position';


CREATE OR REPLACE FUNCTION broadcast.seen(suffix text)
RETURNS TABLE (first bigint, last bigint, nth int)
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH said AS (
        SELECT split_part(split_part($1, '-', 1), '~', 1) AS runs,
               split_part(split_part($1, '-', 1), '~', 2) AS own
         WHERE $1 <> '' AND broadcast.is_suffix($1)
    ), run AS (
        SELECT r.n, split_part(r.run, '_', 1) AS a,
               split_part(r.run, '_', 2) AS b
          FROM said, unnest(string_to_array(substr(said.runs, 3), '.'))
                     WITH ORDINALITY r(run, n)
         WHERE said.runs <> '.'
    ), number AS (
        SELECT run.n,
               ('x' || lpad(run.a, 16, '0'))::bit(64)::bigint AS a,
               ('x' || lpad(run.b, 16, '0'))::bit(64)::bigint AS b
          FROM run
    ), placed AS (
        SELECT number.b, sum(number.a + number.b) OVER (ORDER BY number.n)
                         AS last
          FROM number
    )
    SELECT (placed.last - placed.b)::bigint, placed.last::bigint, 2147483647
      FROM placed WHERE placed.last <= 9223372036854775807
     UNION ALL
    SELECT o.xid, o.xid, ('x' || lpad(split_part(said.own, '_', 2), 8, '0'))
                         ::bit(32)::int
      FROM said, LATERAL (SELECT ('x' || lpad(split_part(said.own, '_', 1),
                                              16, '0'))::bit(64)::bigint) o(xid)
     WHERE said.own <> ''
$$;

COMMENT ON FUNCTION broadcast.seen(text) IS
'Internal: the transactions in the suffix of a position, and how much of each was seen; none if it is no suffix';


CREATE OR REPLACE FUNCTION broadcast.settled(hub text, suffix text)
RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN broadcast.is_suffix($2) THEN NOT EXISTS (
        SELECT FROM broadcast.seen($2) r
          JOIN broadcast.waiting($1) w ON w.xid BETWEEN r.first AND r.last
                                      AND w.nth <= r.nth)
       AND NOT EXISTS (
        SELECT FROM broadcast.seen($2) r
         WHERE r.nth < 2147483647
           AND NOT pg_visible_in_snapshot(r.first::text::xid8,
                                          pg_current_snapshot()))
       AND CASE WHEN EXISTS (SELECT FROM broadcast.wal w
                              WHERE w.slot IS NOT NULL)
                THEN broadcast.wal_settled($2, broadcast.wal_place())
                ELSE true END END
$$;

COMMENT ON FUNCTION broadcast.settled(text, text) IS
'Whether all that the suffix of a position says was seen is numbered: from then on broadcast.replay() tells it from the rest. Null if it is no suffix';


--
-- Changes of tables
--

-- As the schema's owner, since who changes a table need not know of it.  For
-- a type that has a cast to json to_jsonb() calls it, so a cast that somebody
-- else wrote would run with the rights of the owner.

CREATE OR REPLACE FUNCTION broadcast.change_checked(relation oid)
    RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_class c JOIN pg_roles o ON o.oid = c.relowner
                WHERE c.oid = relation
                  AND (o.rolsuper OR o.rolname = current_user))
    THEN
        RETURN;
    END IF;

    IF EXISTS (SELECT FROM pg_cast c
                 JOIN pg_proc p ON p.oid = c.castfunc
                 JOIN pg_roles o ON o.oid = p.proowner
                WHERE c.casttarget = 'json'::regtype AND c.oid >= 16384
                  AND NOT o.rolsuper AND o.rolname <> current_user)
    THEN
        RAISE EXCEPTION 'the table % has another owner than the schema broadcast, and there is a cast to json that cannot be trusted',
                relation::regclass
            USING ERRCODE = 'insufficient_privilege',
                  HINT = 'make the role that owns the schema broadcast the owner of the table';
    END IF;
END
$$;

COMMENT ON FUNCTION broadcast.change_checked(oid) IS
'Internal: an error if a row of the table may not be made to JSON with the rights of the owner of this schema';


CREATE OR REPLACE FUNCTION broadcast.on_change() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    old_row jsonb;
    new_row jsonb;
    groups text[];
    column_name text := TG_ARGV[2];
BEGIN
    IF TG_LEVEL <> 'ROW' OR TG_NARGS NOT IN (2, 3) THEN
        RAISE EXCEPTION 'trigger % of % is not as it must be', TG_NAME,
                TG_RELID::regclass
            USING ERRCODE = 'trigger_protocol_violated',
                  HINT = 'FOR EACH ROW EXECUTE FUNCTION broadcast.on_change(''hub'', ''target'' [, ''group column''])';
    END IF;

    PERFORM broadcast.change_checked(TG_RELID);

    IF TG_OP <> 'INSERT' THEN
        old_row := to_jsonb(OLD);
    END IF;

    IF TG_OP <> 'DELETE' THEN
        new_row := to_jsonb(NEW);
    END IF;

    IF NOT coalesce(new_row, old_row) ? column_name THEN
        RAISE EXCEPTION 'trigger % of % names a group column % that is not there',
                TG_NAME, TG_RELID::regclass, quote_ident(column_name)
            USING ERRCODE = 'undefined_column';
    END IF;

    -- who is in no group gets nothing; who is in both has it once

    groups := ARRAY(SELECT g
                      FROM unnest(ARRAY[new_row->>column_name,
                                        old_row->>column_name])
                           WITH ORDINALITY AS u(g, n)
                     WHERE btrim(g) <> ''
                     GROUP BY g ORDER BY min(n));

    IF column_name IS NULL OR groups <> '{}' THEN
        PERFORM broadcast.send(TG_ARGV[0],
            CASE WHEN column_name IS NULL THEN 0 ELSE 1 END::smallint,
            groups[1], TG_ARGV[1],
            jsonb_build_array(
                jsonb_build_object('op', TG_OP, 'table', TG_TABLE_NAME)
                || CASE WHEN new_row IS NULL THEN '{}'
                        ELSE jsonb_build_object('new', new_row) END
                || CASE WHEN old_row IS NULL THEN '{}'
                        ELSE jsonb_build_object('old', old_row) END),
            '{}', 0::smallint, groups[2]);
    END IF;

    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;

    RETURN NEW;
END
$$;

COMMENT ON FUNCTION broadcast.on_change() IS
'Row trigger for any table, with the arguments hub, target and perhaps a group column: each change is a message to the hub, or to the group that the column names, on a change of it to the old and the new one';


--
-- Bindings
--

CREATE OR REPLACE FUNCTION broadcast.bindings_changed() RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE broadcast.binding_state SET version = version + 1;
    PERFORM pg_notify('broadcast_bindings', '');
END
$$;

COMMENT ON FUNCTION broadcast.bindings_changed() IS
'Internal: tells every nginx that the bindings are others';


CREATE OR REPLACE FUNCTION broadcast.bindings_lock() RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM FROM broadcast.binding_state FOR UPDATE;
END
$$;

COMMENT ON FUNCTION broadcast.bindings_lock() IS
'Internal: who changes the bindings waits for who else does, and sees what that one did';


CREATE OR REPLACE FUNCTION broadcast.kind_check(kind text) RETURNS void
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF kind IS NULL
       OR kind NOT IN ('connect', 'connected', 'disconnected', 'message',
                       'http', 'timer', 'after')
    THEN
        RAISE EXCEPTION 'unknown kind of binding: %',
                coalesce(quote_literal(kind), 'null')
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'connect, connected, disconnected, message, http, timer or after';
    END IF;
END
$$;

COMMENT ON FUNCTION broadcast.kind_check(text) IS
'Internal: an error for a kind of binding that there is not';


CREATE OR REPLACE FUNCTION broadcast.bind(kind text, function regproc,
    hub text DEFAULT NULL, event text DEFAULT NULL,
    every interval DEFAULT NULL, role text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    proc record;
    qualified text;
BEGIN
    PERFORM broadcast.kind_check(kind);

    SELECT p.proname, n.nspname, p.prokind, p.proargtypes::text AS args,
           p.proretset, format_type(p.prorettype, NULL) AS ret
      INTO proc
      FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
     WHERE p.oid = function::oid;

    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no function %', function
            USING ERRCODE = 'undefined_function';
    END IF;

    qualified := format('%I.%I', proc.nspname, proc.proname);

    IF proc.prokind <> 'f' OR proc.args <> 'jsonb'::regtype::oid::text
       OR proc.ret NOT IN ('jsonb', 'json', 'void')
    THEN
        RAISE EXCEPTION '% cannot be bound', qualified
            USING ERRCODE = 'wrong_object_type',
                  HINT = 'a bound function takes one jsonb and returns jsonb';
    END IF;

    IF proc.proretset AND kind <> 'message' THEN
        RAISE EXCEPTION '% returns a set: only a message function may',
                qualified
            USING ERRCODE = 'wrong_object_type';
    END IF;

    -- nginx would take it for none, and let everybody in

    IF role = '' THEN
        RAISE EXCEPTION 'the role is empty'
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'null: none is required';
    END IF;

    IF role IS NOT NULL AND kind <> 'http' THEN
        RAISE EXCEPTION 'a role can be required for http functions only'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;

    -- as much as nginx keeps of one

    IF octet_length(role) > 128 OR octet_length(event) > 1024 THEN
        RAISE EXCEPTION 'the % is longer than % bytes',
                CASE WHEN octet_length(role) > 128 THEN 'role'
                     ELSE 'event' END,
                CASE WHEN octet_length(role) > 128 THEN 128 ELSE 1024 END
            USING ERRCODE = 'invalid_parameter_value';
    END IF;

    IF kind = 'timer' THEN
        PERFORM broadcast.timer_check(every);

    ELSIF every IS NOT NULL THEN
        RAISE EXCEPTION 'every is for timer functions only'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;

    IF kind = 'http' AND event = '' THEN
        RAISE EXCEPTION 'the name of an http function is not empty'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;

    -- as much as broadcast_after takes

    IF kind = 'after' AND octet_length(event) NOT BETWEEN 1 AND 128 THEN
        RAISE EXCEPTION 'the name of an after function has 1 to 128 bytes'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;

    IF hub IS NOT NULL THEN
        hub := broadcast.checked_hub(hub);
    END IF;

    IF event IS NULL AND kind IN ('http', 'timer', 'after') THEN
        event := proc.proname;
    END IF;

    PERFORM broadcast.bindings_lock();

    DELETE FROM broadcast.binding b
     WHERE b.kind = bind.kind AND b.function = qualified
       AND b.hub IS NOT DISTINCT FROM bind.hub
       AND b.event IS NOT DISTINCT FROM bind.event;

    INSERT INTO broadcast.binding (kind, function, hub, event, every, role)
    VALUES (kind, qualified, hub, event, every, role);

    IF kind = 'timer' THEN
        PERFORM broadcast.timer_bind(qualified, hub, event, every);
    END IF;

    PERFORM broadcast.bindings_changed();
END
$$;

COMMENT ON FUNCTION broadcast.bind(text, regproc, text, text, interval, text)
IS 'Has nginx call a function for connect, connected, disconnected, message, http, timer or after; of one hub or of all (null)';


CREATE OR REPLACE FUNCTION broadcast.unbind(kind text, function regproc,
    hub text DEFAULT NULL, event text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    qualified text;
BEGIN
    IF kind IS NOT NULL THEN
        PERFORM broadcast.kind_check(kind);
    END IF;

    SELECT format('%I.%I', n.nspname, p.proname) INTO qualified
      FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
     WHERE p.oid = function::oid;

    IF NOT FOUND AND function <> 0::oid THEN
        RAISE EXCEPTION 'there is no function %', function
            USING ERRCODE = 'undefined_function';
    END IF;

    PERFORM broadcast.bindings_lock();

    DELETE FROM broadcast.binding b
     WHERE b.kind = coalesce(unbind.kind, b.kind)
       AND b.function = coalesce(qualified, b.function)
       AND (unbind.function IS NULL OR unbind.function <> 0::oid
            OR to_regprocedure(b.function || '(jsonb)') IS NULL)
       AND (unbind.hub IS NULL OR b.hub = lower(unbind.hub COLLATE "C"))
       AND (unbind.event IS NULL OR b.event = unbind.event);

    IF FOUND THEN
        PERFORM broadcast.timer_unbind();
        PERFORM broadcast.bindings_changed();
    END IF;
END
$$;

COMMENT ON FUNCTION broadcast.unbind(text, regproc, text, text) IS
'Takes bindings back; null matches any kind, function, hub or event, the function ''-'' those that do not exist any more';


--
-- What the module calls: publishing
--

CREATE OR REPLACE FUNCTION broadcast.stage(hub text[], type smallint[],
    scope smallint[], source smallint[], name text[], grp text[],
    target text[], arguments text[], excluded text[], mark bigint[],
    ttl double precision[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF broadcast.by_wal() AND broadcast.wal_way() THEN
        PERFORM broadcast.wal_emit(r.hub, r.type, r.scope, r.source,
                    nullif(r.name, ''), nullif(r.grp, ''),
                    nullif(r.target, ''),
                    CASE WHEN r.type = 1 THEN r.arguments::json::text
                         ELSE r.arguments END, nullif(r.excluded, ''),
                    nullif(r.mark, 0), r.ttl, 0)
           FROM (SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10,
                                      $11) WITH ORDINALITY
                        AS u(hub, type, scope, source, name, grp, target,
                             arguments, excluded, mark, ttl, n)
                  ORDER BY u.n) r;
        RETURN;
    END IF;

    INSERT INTO broadcast.staging (hub, type, scope, source, name, grp,
                                   target, arguments, detail, excluded, mark,
                                   ttl)
    SELECT r.hub, r.type, r.scope, r.source, nullif(r.name, ''),
           nullif(r.grp, ''), nullif(r.target, ''),
           CASE WHEN r.type = 1 THEN r.arguments::json END,
           CASE WHEN r.type <> 1 THEN r.arguments END,
           nullif(r.excluded, ''), nullif(r.mark, 0), r.ttl
      FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
           WITH ORDINALITY
           AS r(hub, type, scope, source, name, grp, target, arguments,
                excluded, mark, ttl, n)
     ORDER BY r.n;
END
$$;

COMMENT ON FUNCTION broadcast.stage(text[], smallint[], smallint[],
    smallint[], text[], text[], text[], text[], text[], bigint[],
    double precision[]) IS
'The module''s publishers: stages many records in one statement';


-- Requests with an Idempotency-Key.  Its row is of the transaction that stages
-- the request's records: both are kept, or neither.  The request's answer has
-- the number of its last record, which it is told by mark; it stands behind
-- what was the newest number when it was staged, and is looked for from there.
-- seq 0: not found in time.

CREATE TABLE IF NOT EXISTS broadcast.idempotency (
    hub         text NOT NULL,
    key         text NOT NULL,
    digest      text NOT NULL,
    count       int NOT NULL,
    mark        bigint NOT NULL,
    after_epoch bigint NOT NULL,
    after_seq   bigint NOT NULL,
    epoch       bigint,
    seq         bigint,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (hub, key)
);

CREATE INDEX IF NOT EXISTS idempotency_created
    ON broadcast.idempotency (created_at);
CREATE INDEX IF NOT EXISTS idempotency_open
    ON broadcast.idempotency (created_at) WHERE seq IS NULL;

COMMENT ON TABLE broadcast.idempotency IS
'Requests with an Idempotency-Key, for an hour: what their records were (digest), how many, and the number of the last one once it is known';


CREATE OR REPLACE FUNCTION broadcast.numbered(hub text, after_epoch bigint,
    after_seq bigint, mark bigint)
RETURNS TABLE (epoch bigint, seq bigint)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT m.epoch, m.seq FROM broadcast.message m
     WHERE m.hub = $1 AND m.epoch = $2 AND m.seq > $3 AND m.mark = $4
     UNION ALL
    SELECT m.epoch, m.seq FROM broadcast.hub h, broadcast.message m
     WHERE h.name = $1 AND h.epoch <> $2
       AND m.hub = $1 AND m.epoch = h.epoch AND m.mark = $4
     LIMIT 1
$$;

COMMENT ON FUNCTION broadcast.numbered(text, bigint, bigint, bigint) IS
'Internal: the number of the record with this mark, which was staged when that one was the newest; none if it has none yet';


CREATE OR REPLACE FUNCTION broadcast.stage_once(hub text[], type smallint[],
    scope smallint[], source smallint[], name text[], grp text[],
    target text[], arguments text[], excluded text[], mark bigint[],
    ttl double precision[], request int[], key text[], digest text[])
RETURNS TABLE (n int, state text, epoch bigint, seq bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    class int := hashtext('broadcast.idempotency');
    others int[] := '{}';       -- requests that are not staged
    at int;
    rows int;
    known broadcast.idempotency;
BEGIN
    FOR i IN 1 .. cardinality(key) LOOP
        CONTINUE WHEN key[i] IS NULL;

        at := array_position(request, i);
        rows := cardinality(array_positions(request, i));

        n := i;
        epoch := NULL;
        seq := NULL;

        -- whoever has it is at it with the same key, and not committed yet

        IF NOT pg_try_advisory_xact_lock(class,
                                         hashtext(hub[at] || ' ' || key[i]))
        THEN
            others := others || i;
            state := 'busy';
            RETURN NEXT;
            CONTINUE;
        END IF;

        SELECT * INTO known FROM broadcast.idempotency k
         WHERE k.hub = stage_once.hub[at] AND k.key = stage_once.key[i]
           AND k.created_at > clock_timestamp() - interval '1 hour';

        IF NOT FOUND THEN
            INSERT INTO broadcast.idempotency AS k (hub, key, digest, count,
                                                    mark, after_epoch,
                                                    after_seq)
            SELECT stage_once.hub[at], stage_once.key[i],
                   stage_once.digest[i], rows, stage_once.mark[at + rows - 1],
                   coalesce(h.epoch, 0),
                   coalesce(broadcast.newest(h.name, h.epoch, h.seq, h.pos), 0)
              FROM (SELECT 1) one
              LEFT JOIN broadcast.hub h ON h.name = stage_once.hub[at]
                ON CONFLICT (hub, key) DO UPDATE
               SET digest = excluded.digest, count = excluded.count,
                   mark = excluded.mark, after_epoch = excluded.after_epoch,
                   after_seq = excluded.after_seq, epoch = NULL, seq = NULL,
                   created_at = excluded.created_at;
            CONTINUE;
        END IF;

        others := others || i;

        IF known.digest <> digest[i] THEN
            state := 'other';
            RETURN NEXT;
            CONTINUE;
        END IF;

        state := 'kept';
        epoch := known.epoch;
        seq := known.seq;

        IF known.seq IS NULL THEN
            SELECT f.epoch, f.seq INTO epoch, seq
              FROM broadcast.numbered(known.hub, known.after_epoch,
                                      known.after_seq, known.mark) f;
        END IF;

        RETURN NEXT;
    END LOOP;

    IF cardinality(others) = 0 THEN
        PERFORM broadcast.stage(hub, type, scope, source, name, grp, target,
                                arguments, excluded, mark, ttl);

    ELSIF EXISTS (SELECT FROM unnest(request) r WHERE r <> ALL (others)) THEN
        PERFORM broadcast.stage(array_agg(r.hub ORDER BY r.n),
                    array_agg(r.type ORDER BY r.n),
                    array_agg(r.scope ORDER BY r.n),
                    array_agg(r.source ORDER BY r.n),
                    array_agg(r.name ORDER BY r.n),
                    array_agg(r.grp ORDER BY r.n),
                    array_agg(r.target ORDER BY r.n),
                    array_agg(r.arguments ORDER BY r.n),
                    array_agg(r.excluded ORDER BY r.n),
                    array_agg(r.mark ORDER BY r.n),
                    array_agg(r.ttl ORDER BY r.n))
           FROM unnest(hub, type, scope, source, name, grp, target, arguments,
                       excluded, mark, ttl, request)
                WITH ORDINALITY
                AS r(hub, type, scope, source, name, grp, target, arguments,
                     excluded, mark, ttl, request, n)
          WHERE r.request <> ALL (others);
    END IF;
END
$$;

COMMENT ON FUNCTION broadcast.stage_once(text[], smallint[], smallint[],
    smallint[], text[], text[], text[], text[], text[], bigint[],
    double precision[], int[], text[], text[]) IS
'stage() for requests of which some have an Idempotency-Key: request says to which of them a row belongs, key and digest are theirs. A row for each that was not staged: busy, one with its key is under way; other, its key was used for something else; kept, it was staged before, with the number of its last record if that is known, 0 if it will not be';


CREATE OR REPLACE FUNCTION broadcast.idempotency_keep(lim int) RETURNS int
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    n int;
    gone int;
BEGIN
    UPDATE broadcast.idempotency k
       SET epoch = f.epoch, seq = coalesce(f.seq, 0)
      FROM (SELECT o.hub, o.key, o.created_at, f.epoch, f.seq
              FROM (SELECT * FROM broadcast.idempotency x
                     WHERE x.seq IS NULL
                       AND x.created_at < clock_timestamp() - interval '1 s'
                     ORDER BY x.created_at LIMIT lim
                       FOR UPDATE SKIP LOCKED) o
              LEFT JOIN LATERAL broadcast.numbered(o.hub, o.after_epoch,
                                                   o.after_seq, o.mark) f
                ON true
             WHERE f.seq IS NOT NULL

                -- lost, unless nobody has numbered for as long

                OR o.created_at < clock_timestamp() - interval '5 min'
                   AND NOT EXISTS (SELECT FROM broadcast.staging s
                                    WHERE s.created_at < clock_timestamp()
                                                     - interval '5 min')) f
     WHERE k.hub = f.hub AND k.key = f.key;

    GET DIAGNOSTICS n = ROW_COUNT;

    DELETE FROM broadcast.idempotency
     WHERE ctid IN (SELECT x.ctid FROM broadcast.idempotency x
                     WHERE x.created_at <= clock_timestamp()
                                           - interval '1 hour'
                     ORDER BY x.created_at LIMIT lim
                       FOR UPDATE SKIP LOCKED);

    GET DIAGNOSTICS gone = ROW_COUNT;

    RETURN greatest(n, gone);
END
$$;

COMMENT ON FUNCTION broadcast.idempotency_keep(int) IS
'The leading relay: keeps the numbers that requests with an Idempotency-Key got, before the history forgets them, and forgets requests after an hour; at most lim of each, how many of the more';


CREATE OR REPLACE FUNCTION broadcast.ring() RETURNS void
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT pg_notify('broadcast_doorbell', '') $$;

COMMENT ON FUNCTION broadcast.ring() IS
'Rings the doorbell of the relay that numbers';


--
-- What the module calls: the relay
--

CREATE OR REPLACE FUNCTION broadcast.membership_prune() RETURNS void
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    DELETE FROM broadcast.membership WHERE ctid IN
        (SELECT m.ctid FROM broadcast.membership m
          WHERE m.expires <= statement_timestamp() LIMIT 1000)
$$;

COMMENT ON FUNCTION broadcast.membership_prune() IS
'Internal: removes a piece of what is over; the sequencer''s alone, which waits for no other transaction';


-- The parts of the history.  A new one is made beside the table and attached,
-- which waits for no reader and no writer; one that nobody needs any more goes
-- as a whole, when nobody reads the history at that moment.  The leading
-- relay's node calls upkeep() for that, in another session than the one that
-- numbers.

CREATE OR REPLACE FUNCTION broadcast.message_gone() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- who deletes the newest rows does not give their numbers back

    IF TG_OP = 'TRUNCATE' THEN

        -- takes away also what an older snapshot does not see

        IF current_setting('transaction_isolation') NOT LIKE 'read%' THEN
            RAISE EXCEPTION 'broadcast.message is truncated in read committed transactions only'
                USING ERRCODE = 'active_sql_transaction';
        END IF;

        UPDATE broadcast.upkept SET head = broadcast.head()
         WHERE head < broadcast.head();

        UPDATE broadcast.hub h
           SET seq = broadcast.newest(h.name, h.epoch, h.seq, h.pos),
               pos = greatest(h.pos, broadcast.head())
         WHERE h.seq < broadcast.newest(h.name, h.epoch, h.seq, h.pos);

        RETURN NULL;
    END IF;

    UPDATE broadcast.upkept u SET head = g.pos
      FROM (SELECT max(x.pos) FROM gone x) g(pos) WHERE u.head < g.pos;

    UPDATE broadcast.hub h SET seq = g.seq, pos = greatest(h.pos, g.pos)
      FROM (SELECT x.hub, x.epoch, max(x.seq) AS seq, max(x.pos) AS pos
              FROM gone x WHERE x.epoch <> 0 GROUP BY 1, 2) g
     WHERE h.name = g.hub AND h.epoch = g.epoch AND h.seq < g.seq;

    RETURN NULL;
END
$$;

COMMENT ON FUNCTION broadcast.message_gone() IS
'Internal: trigger of broadcast.message and its parts. Deleted rows count as aged out';


CREATE OR REPLACE FUNCTION broadcast.history_triggers(relation regclass)
RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER message_deleted AFTER DELETE ON %s'
        ' REFERENCING OLD TABLE AS gone FOR EACH STATEMENT'
        ' EXECUTE FUNCTION broadcast.message_gone()', relation);
    EXECUTE format('CREATE TRIGGER message_truncated BEFORE TRUNCATE ON %s'
        ' FOR EACH STATEMENT EXECUTE FUNCTION broadcast.message_gone()',
        relation);
END
$$;

COMMENT ON FUNCTION broadcast.history_triggers(regclass) IS
'Internal: the triggers of broadcast.message or of one of its parts';


CREATE OR REPLACE FUNCTION broadcast.history_add(reach bigint) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    parts int;
    first bigint;
    last bigint;
    size bigint;
    name text;
BEGIN
    -- upkeep() and who numbers; whoever comes second finds it made

    PERFORM pg_advisory_xact_lock(hashtext('broadcast.history'));

    SELECT count(*), coalesce(max(h.upto), 0),
           coalesce((array_agg(h.size ORDER BY h.first DESC))[1], 65536)
      INTO parts, first, size
      FROM broadcast.history h;

    IF first > reach THEN
        RETURN;
    END IF;

    -- few parts keep little more than they should, many cost each reader

    size := CASE WHEN parts > 24 THEN size * 2
                 WHEN parts < 8 THEN greatest(size / 2, 65536) ELSE size END;
    last := greatest(first, reach) + size;
    name := format('broadcast.message_%s', first);

    EXECUTE format('CREATE TABLE %s (LIKE broadcast.message INCLUDING DEFAULTS'
                   ' INCLUDING CONSTRAINTS INCLUDING INDEXES)', name);
    EXECUTE format('REVOKE ALL ON %s FROM PUBLIC', name);
    EXECUTE format('COMMENT ON TABLE %s IS %L', name,
                   'A part of broadcast.message, see broadcast.history');

    PERFORM broadcast.history_triggers(name::regclass);

    EXECUTE format('ALTER TABLE broadcast.message ATTACH PARTITION %s'
                   ' FOR VALUES FROM (%s) TO (%s)', name, first, last);

    INSERT INTO broadcast.history (first, upto, size)
    VALUES (first, last, size);
END
$$;

COMMENT ON FUNCTION broadcast.history_add(bigint) IS
'Internal: makes a part of broadcast.message, if there is none, that has this pos';


CREATE OR REPLACE FUNCTION broadcast.history_reach(pos bigint) RETURNS bigint
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    part record;
BEGIN
    SELECT h.first, h.upto INTO part FROM broadcast.history h
     WHERE h.first <= pos ORDER BY h.first DESC LIMIT 1;

    -- made ahead by upkeep(), or here, or nothing could be numbered

    IF part.upto > pos THEN
        RETURN part.first;
    END IF;

    PERFORM broadcast.history_add(pos);

    RETURN (SELECT max(h.first) FROM broadcast.history h);
END
$$;

COMMENT ON FUNCTION broadcast.history_reach(bigint) IS
'Internal: sees to it that a row with this pos has its place; returns the first pos of the part that it is in';


CREATE OR REPLACE FUNCTION broadcast.history_walk(first bigint) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format($q$
        WITH RECURSIVE h AS (
            (SELECT m.hub, m.epoch FROM broadcast.%1$I m
              ORDER BY m.hub, m.epoch LIMIT 1)
             UNION ALL
            SELECT n.hub, n.epoch FROM h, LATERAL (
                SELECT m.hub, m.epoch FROM broadcast.%1$I m
                 WHERE (m.hub, m.epoch) > (h.hub, h.epoch)
                 ORDER BY m.hub, m.epoch LIMIT 1) n)
        SELECT h.hub, h.epoch, n.seq, n.pos FROM h, LATERAL (
            SELECT m.seq, m.pos FROM broadcast.%1$I m
             WHERE m.hub = h.hub AND m.epoch = h.epoch
             ORDER BY m.seq DESC LIMIT 1) n $q$, format('message_%s', $1))
$$;

COMMENT ON FUNCTION broadcast.history_walk(bigint) IS
'Internal: the statement of broadcast.history_ends()';


CREATE OR REPLACE FUNCTION broadcast.history_ends(first bigint)
RETURNS TABLE (hub text, epoch bigint, seq bigint, pos bigint)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
SET jit = off
AS $$
BEGIN
    RETURN QUERY EXECUTE broadcast.history_walk(first);
END
$$;

COMMENT ON FUNCTION broadcast.history_ends(bigint) IS
'Internal: the last number of each hub and epoch in a part of the history';


CREATE OR REPLACE FUNCTION broadcast.history_over(first bigint)
RETURNS boolean
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
SET jit = off
AS $$
DECLARE
    age interval := (SELECT s.value FROM broadcast.setting s
                      WHERE s.name = 'history_age');
    made timestamptz;
    e record;
BEGIN
    EXECUTE format('SELECT m.created_at FROM broadcast.%I m'
                   ' ORDER BY m.pos DESC LIMIT 1', format('message_%s', first))
       INTO made;

    IF made IS NULL OR made < clock_timestamp() - age THEN
        RETURN true;
    END IF;

    -- of many hubs the first ones that are looked at tell, mostly

    FOR e IN EXECUTE broadcast.history_walk(first) LOOP

        IF e.epoch = 0 THEN

            IF made > clock_timestamp() - interval '1 hour' THEN
                RETURN false;
            END IF;

        ELSIF EXISTS (SELECT FROM broadcast.hub h
                       WHERE h.name = e.hub AND h.epoch = e.epoch
                         AND e.seq > broadcast.beyond(e.hub))
        THEN
            RETURN false;
        END IF;

    END LOOP;

    RETURN true;
END
$$;

COMMENT ON FUNCTION broadcast.history_over(bigint) IS
'Internal: whether all of a part of the history is older than history_age, or beyond the history_count of its hub';


CREATE OR REPLACE FUNCTION broadcast.history_drop(first bigint)
RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    name text := format('broadcast.message_%s', first);
    noted boolean := false;
BEGIN
    FOR i IN 1 .. 50 LOOP
        BEGIN
            -- nothing new comes there: of many hubs that takes some time, in
            -- which nobody may have to wait for a lock

            IF NOT noted THEN
                UPDATE broadcast.hub h SET seq = n.seq, pos = n.pos
                  FROM (SELECT e.hub, e.seq, e.pos
                          FROM broadcast.history_ends(first) e
                          JOIN broadcast.hub x
                            ON x.name = e.hub AND x.epoch = e.epoch
                         WHERE x.seq < e.seq
                           FOR NO KEY UPDATE OF x NOWAIT) n
                 WHERE h.name = n.hub;

                noted := true;
            END IF;

        EXCEPTION WHEN lock_not_available THEN
            NULL;
        END;

        BEGIN
            -- not queued: all who come behind a lock that is waited for wait

            IF noted THEN
                EXECUTE format('LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE'
                               ' NOWAIT', name);
                LOCK TABLE ONLY broadcast.message
                     IN ACCESS EXCLUSIVE MODE NOWAIT;

                EXECUTE format('DROP TABLE %s', name);
                DELETE FROM broadcast.history h
                 WHERE h.first = history_drop.first;

                RETURN true;
            END IF;

        EXCEPTION WHEN lock_not_available THEN
            NULL;
        END;

        PERFORM pg_sleep(random() * 0.02);
    END LOOP;

    RETURN false;
END
$$;

COMMENT ON FUNCTION broadcast.history_drop(bigint) IS
'Internal: drops a part of the history; false if somebody was reading whenever it was tried, for half a second';


CREATE OR REPLACE FUNCTION broadcast.history_older(after bigint,
    age interval, passing boolean) RETURNS bigint
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
SET jit = off
AS $$
DECLARE
    m record;
    upto bigint := after;
BEGIN
    FOR m IN SELECT x.pos, x.created_at FROM broadcast.message x
              WHERE x.pos > after AND (x.epoch = 0 OR NOT passing)
              ORDER BY x.pos LIMIT 20000
    LOOP
        EXIT WHEN m.created_at >= clock_timestamp() - age;
        upto := m.pos;
    END LOOP;

    RETURN upto;
END
$$;

COMMENT ON FUNCTION broadcast.history_older(bigint, interval, boolean) IS
'Internal: up to which pos rows are older, of at most 20000; passing: of those that are no history';


CREATE OR REPLACE FUNCTION broadcast.history_sweep() RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
SET jit = off
AS $$
DECLARE
    age interval := (SELECT s.value FROM broadcast.setting s
                      WHERE s.name = 'history_age');
    u record;
    low bigint;
    old bigint;
    made timestamptz;
BEGIN
    SELECT * INTO u FROM broadcast.upkept;

    -- what is no history: a node that was away for so long was given up, with
    -- its connections

    low := broadcast.history_older(u.swept, interval '1 hour', true);

    DELETE FROM broadcast.message m
     WHERE m.pos > u.swept AND m.pos <= low AND m.epoch = 0;

    -- where little is sent a part would take for ever to be full, and keep
    -- what is too old; where much is sent it is gone before

    made := (SELECT m.created_at FROM broadcast.message m
              WHERE m.pos > u.trimmed ORDER BY m.pos LIMIT 1);

    IF made < clock_timestamp() - age * 1.25 THEN
        old := broadcast.history_older(u.trimmed, age, false);

        DELETE FROM broadcast.message m
         WHERE m.pos > u.trimmed AND m.pos <= old;
    END IF;

    IF low > u.swept OR old > u.trimmed THEN
        UPDATE broadcast.upkept
           SET swept = low, trimmed = coalesce(old, u.trimmed);
    END IF;
END
$$;

COMMENT ON FUNCTION broadcast.history_sweep() IS
'Internal: removes rows that are no history after an hour, and old rows of a part that is not full; no row is looked at twice';


CREATE OR REPLACE FUNCTION broadcast.history_ahead() RETURNS text
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '1s'
AS $$
DECLARE
    head bigint := broadcast.head();
BEGIN
    WHILE NOT EXISTS (SELECT FROM broadcast.history h WHERE h.first > head)
    LOOP
        PERFORM broadcast.history_add(
            (SELECT max(h.upto) FROM broadcast.history h));
    END LOOP;

    RETURN NULL;

EXCEPTION WHEN lock_not_available THEN
    RETURN 'the next part of the history cannot be made, somebody has locked broadcast.message';
END
$$;

COMMENT ON FUNCTION broadcast.history_ahead() IS
'Internal: makes a part of the history behind the one that is being filled; why not, or null';


CREATE OR REPLACE FUNCTION broadcast.upkeep() RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    head bigint := broadcast.head();
    part record;
    why text := broadcast.history_ahead();
    over boolean;
BEGIN
    DELETE FROM broadcast.drained d
     WHERE d.pos < (SELECT max(x.pos) FROM broadcast.drained x) - 10000;

    SELECT h.first, h.upto INTO part FROM broadcast.history h
     ORDER BY h.first LIMIT 1;

    over := part.upto <= head AND broadcast.history_over(part.first);

    IF over IS NOT TRUE THEN
        PERFORM broadcast.history_sweep();

    ELSIF NOT broadcast.history_drop(part.first) THEN
        why := coalesce(why, format('broadcast.message_%s, which is over, cannot be dropped, somebody is always reading broadcast.message', part.first));
    END IF;

    UPDATE broadcast.upkept u
       SET failure = why,
           since = CASE WHEN why IS NOT NULL
                        THEN coalesce(u.since, clock_timestamp()) END
     WHERE u.failure IS DISTINCT FROM why;

    RETURN why;
END
$$;

COMMENT ON FUNCTION broadcast.upkeep() IS
'The node of the leading relay, every few seconds: makes parts of the history ahead and removes what is older or more than broadcast.setting keeps, a bounded piece at a time; why not, or null. Nobody waits for it';


CREATE OR REPLACE FUNCTION broadcast.membership_apply(after bigint,
    upto bigint) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    m record;
BEGIN
    -- a name that no index takes was not checked by this version

    FOR m IN
        SELECT r.pos, r.hub, r.type, r.name, r.grp, r.ttl, r.ttl IS NULL AS l,
               to_timestamp(ceil(extract(epoch FROM r.created_at))
                            + least(ceil(coalesce(r.ttl, 31536000)),
                                    2147483647)) AS expires
          FROM broadcast.message r
         WHERE r.pos > after AND r.pos <= upto
           AND r.type IN (2, 3) AND r.scope = 2
           AND octet_length(r.name) BETWEEN 1 AND 1024
         ORDER BY r.pos
    LOOP
        IF m.type = 3 OR m.grp IS NULL OR m.ttl <= 0 THEN
            DELETE FROM broadcast.membership x
             WHERE x.hub = m.hub AND x.user_id = m.name
               AND (x.grp = m.grp OR m.type = 3 AND m.grp IS NULL);

            CONTINUE;
        END IF;

        UPDATE broadcast.membership x
           SET expires = m.expires, lasting = m.l, updated = m.pos
         WHERE x.hub = m.hub AND x.user_id = m.name AND x.grp = m.grp;

        IF NOT FOUND THEN
            INSERT INTO broadcast.membership
                        (hub, user_id, grp, expires, lasting, updated)
            VALUES (m.hub, m.name, m.grp, m.expires, m.l, m.pos);
        END IF;

        -- every zone keeps as many, and drops the same ones

        DELETE FROM broadcast.membership x
         WHERE x.hub = m.hub AND x.user_id = m.name AND x.lasting = m.l
           AND x.updated <= (SELECT y.updated FROM broadcast.membership y
                              WHERE y.hub = m.hub AND y.user_id = m.name
                                AND y.lasting = m.l
                              ORDER BY y.updated DESC
                             OFFSET CASE WHEN m.l THEN 100 ELSE 1000 END
                              LIMIT 1);
    END LOOP;

    PERFORM broadcast.membership_prune();
END
$$;

COMMENT ON FUNCTION broadcast.membership_apply(bigint, bigint) IS
'Internal: changes broadcast.membership as the joins and leaves of users say, in their order';


-- What was moved from `staging` is dead there, and while any old transaction
-- is open it stays: so nothing is searched for where all was moved.  `past` is
-- a snapshot of which all was moved, ids up to `low`; `now` is the next one,
-- with ids up to `high`, moved up to `last`.  Below `low` there can only be
-- what transactions sent that `past` saw open or did not see yet: `late` are
-- those of them that are over, found by the index over xid.  All of a snapshot
-- goes in the order of ids, so what was sent behind somebody's commit is
-- numbered behind what that one had sent.
--
-- The session keeps it from batch to batch; who begins to number starts from
-- broadcast.drained, or with all that there is.

CREATE OR REPLACE FUNCTION broadcast.drain_start(OUT past pg_snapshot,
    OUT low bigint)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET jit = off
AS $$
DECLARE
    now pg_snapshot := pg_current_snapshot();
BEGIN
    SELECT d.past, d.low INTO past, low FROM broadcast.drained d
     ORDER BY d.pos DESC LIMIT 1;

    -- what was restored from another server has its transactions

    IF past IS NULL OR pg_snapshot_xmax(past) > pg_snapshot_xmax(now)
       OR EXISTS (SELECT FROM broadcast.staging s
                   WHERE s.xid >= pg_snapshot_xmax(now)
                     AND s.xid IS DISTINCT FROM
                         pg_current_xact_id_if_assigned())
    THEN
        past := NULL;
        low := 0;
    END IF;
END
$$;

COMMENT ON FUNCTION broadcast.drain_start() IS
'Internal: from where a session that begins to number looks through broadcast.staging';


CREATE OR REPLACE FUNCTION broadcast.drain_late(past pg_snapshot, low bigint,
    now pg_snapshot) RETURNS xid8[]
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    RETURN ARRAY(
        SELECT x FROM (
            SELECT * FROM pg_snapshot_xip($1) p
             WHERE pg_visible_in_snapshot(p, $3)
             UNION
            SELECT s.xid FROM broadcast.staging s
             WHERE s.xid >= pg_snapshot_xmax($1)
               AND s.xid < pg_snapshot_xmax($3) AND s.id <= $2
               AND pg_visible_in_snapshot(s.xid, $3)
             UNION
            SELECT pg_current_xact_id_if_assigned()) u(x)
         WHERE EXISTS (SELECT FROM broadcast.staging s
                        WHERE s.xid = u.x AND s.id <= $2));
END
$$;

COMMENT ON FUNCTION broadcast.drain_late(pg_snapshot, bigint, pg_snapshot) IS
'Internal: the transactions that were over too late for the snapshot past';


-- It runs in what sequence() sets, as all do that only that one calls: to set it
-- once more would cost as much as a statement.

CREATE OR REPLACE FUNCTION broadcast.drain(lim int) RETURNS bigint[]
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    said text[] := string_to_array(
        nullif(current_setting('broadcast.drain', true), ''), '|', '-');
    past pg_snapshot := said[1];
    low bigint := said[2];
    now pg_snapshot := said[3];
    high bigint := said[4];
    last bigint := said[5];
    late xid8[] := said[6];
    fresh boolean := false;
    below bigint;       -- one sent since `past`, with an id of before
    kept text;
    ids bigint[] := '{}';
BEGIN
    IF said IS NULL THEN
        SELECT * INTO past, low FROM broadcast.drain_start();
    END IF;

    LOOP
        IF now IS NULL THEN
            SELECT pg_current_snapshot(),
                   coalesce((SELECT s.id FROM broadcast.staging s
                              WHERE s.id > low ORDER BY s.id DESC LIMIT 1),
                            low),
                   (SELECT s.id FROM broadcast.staging s
                     WHERE s.xid >= pg_snapshot_xmax(past)
                       AND s.xid < pg_snapshot_xmax(pg_current_snapshot())
                       AND s.id <= low
                     ORDER BY s.xid LIMIT 1)
              INTO now, high, below;

            -- most often nobody can be late, which costs less to see

            IF below IS NOT NULL
               OR pg_snapshot_xmin(past) < pg_snapshot_xmax(past)
               OR pg_current_xact_id_if_assigned() IS NOT NULL
            THEN
                late := broadcast.drain_late(past, low, now);
            ELSE
                late := '{}';
            END IF;

            last := 0;
            fresh := true;
        END IF;

        IF cardinality(late) = 0 THEN
            ids := ids || ARRAY(
                SELECT y.id FROM broadcast.staging y
                 WHERE y.id > greatest(last, low) AND y.id <= high
                   AND (past IS NULL OR pg_visible_in_snapshot(y.xid, now)
                        OR y.xid = pg_current_xact_id_if_assigned())
                 ORDER BY y.id LIMIT lim - cardinality(ids));
        ELSE
            ids := ids || ARRAY(
                SELECT r.id FROM (
                    SELECT s.id
                      FROM unnest(late) x, LATERAL (
                           SELECT y.id FROM broadcast.staging y
                            WHERE y.xid = x AND y.id > last AND y.id <= low
                              AND y.id <> ALL (ids)
                            ORDER BY y.id LIMIT lim - cardinality(ids)) s
                     UNION ALL
                    (SELECT y.id FROM broadcast.staging y
                      WHERE y.id > greatest(last, low) AND y.id <= high
                        AND (past IS NULL OR pg_visible_in_snapshot(y.xid, now)
                             OR y.xid = pg_current_xact_id_if_assigned())
                      ORDER BY y.id LIMIT lim - cardinality(ids))) r
                 ORDER BY r.id LIMIT lim - cardinality(ids));
        END IF;

        IF cardinality(ids) >= lim THEN
            last := ids[cardinality(ids)];
            EXIT;
        END IF;

        past := now;
        low := high;
        now := NULL;

        EXIT WHEN fresh;
    END LOOP;

    -- an assignment of what is no query costs a tenth of PERFORM

    kept := set_config('broadcast.drain', array_to_string(
        ARRAY[past::text, low::text, now::text, high::text, last::text,
              late::text], '|', '-'), false);

    RETURN ids;
END
$$;

COMMENT ON FUNCTION broadcast.drain(int) IS
'Internal: what is to be numbered next, in this order; each id once, given that it is numbered by this transaction';


-- up to version 5 with what number_hubs() does, and with who else is there

DROP FUNCTION IF EXISTS broadcast.number_start(text[], int);
DROP FUNCTION IF EXISTS broadcast.number_end(bigint, int, boolean);

CREATE OR REPLACE FUNCTION broadcast.number_start() RETURNS bigint
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    kept bigint;        -- what the row of `state` says
BEGIN
    -- the number must be as durable as the message it was given to

    IF current_setting('synchronous_commit') NOT IN ('on', 'remote_apply') THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;

    -- a second one who numbers waits, and finds what the first has done

    SELECT s.head INTO kept FROM broadcast.state s FOR UPDATE;

    -- A snapshot that is taken while somebody truncates the history would miss
    -- its rows, and not see yet what is kept of them: none is taken before

    LOCK TABLE broadcast.message IN ACCESS SHARE MODE;

    -- as head() says it, of parts that are chosen once

    RETURN greatest(kept, (SELECT u.head FROM broadcast.upkept u
                            WHERE u.single),
                    (SELECT m.pos FROM broadcast.message m
                      WHERE m.pos > kept ORDER BY m.pos DESC LIMIT 1));
END
$$;

COMMENT ON FUNCTION broadcast.number_start() IS
'Internal: makes ready to number records in this transaction; returns the newest pos';


CREATE OR REPLACE FUNCTION broadcast.number_hubs(hubs text[], start bigint,
    n int) RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    first bigint := broadcast.history_reach(start + n);
BEGIN
    INSERT INTO broadcast.hub (name, epoch, pos)
    SELECT x, broadcast.epoch(), start FROM unnest(hubs) x
     WHERE NOT EXISTS (SELECT FROM broadcast.hub h WHERE h.name = x)
        ON CONFLICT (name) DO NOTHING;

    -- once a part: so the newest number is looked for in the newest ones; if
    -- somebody has the row, later

    UPDATE broadcast.hub h
       SET seq = broadcast.newest(h.name, h.epoch, h.seq, h.pos),
           pos = start
      FROM (SELECT x.name FROM broadcast.hub x
             WHERE x.name = ANY (hubs) AND x.pos < first
               FOR UPDATE SKIP LOCKED) x
     WHERE h.name = x.name;

    UPDATE broadcast.state SET head = start WHERE head < least(first, start);
END
$$;

COMMENT ON FUNCTION broadcast.number_hubs(text[], bigint, int) IS
'Internal: makes what is missing to number n records of these hubs behind pos start, or is to be kept again';


CREATE OR REPLACE FUNCTION broadcast.number_newest(hub text, epoch bigint,
    seq bigint, pos bigint) RETURNS bigint
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    RETURN coalesce((SELECT m.seq FROM broadcast.message m
                      WHERE m.hub = $1 AND m.epoch = $2 AND m.seq > $3
                        AND m.pos > $4
                      ORDER BY m.seq DESC LIMIT 1), $3);
END
$$;

COMMENT ON FUNCTION broadcast.number_newest(text, bigint, bigint, bigint) IS
'Internal: newest(), in the settings of who numbers';


CREATE OR REPLACE FUNCTION broadcast.number_end(start bigint, n int,
    users boolean, others boolean) RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    said text := current_setting('broadcast.drain');
BEGIN
    IF users THEN
        PERFORM broadcast.membership_apply(start, start + n);

    ELSIF start / 1000 <> (start + n) / 1000 THEN
        PERFORM broadcast.membership_prune();
    END IF;

    IF others THEN
        PERFORM pg_notify('broadcast_batch', '');
    END IF;

    IF start / 1000 <> (start + n) / 1000 AND said NOT LIKE '-%' THEN
        INSERT INTO broadcast.drained (pos, past, low)
        VALUES (start + n, split_part(said, '|', 1)::pg_snapshot,
                split_part(said, '|', 2)::bigint);
    END IF;
END
$$;

COMMENT ON FUNCTION broadcast.number_end(bigint, int, boolean, boolean) IS
'Internal: what follows n new rows behind pos start, some of them about the groups of users, while there are other nodes';


-- What a session that numbers keeps from batch to batch in broadcast.newest,
-- with "|" between: the number of that batch, its last pos, where the part of
-- the history ends, and of the hub that it was of alone the epoch, the newest
-- seq, the name.  Each batch takes a number, below the lock of `state`: where
-- that of the last one is the newest, nobody else has numbered since.

CREATE SEQUENCE IF NOT EXISTS broadcast.batches;

COMMENT ON SEQUENCE broadcast.batches IS
'Changes with each batch that is numbered, also with one that was rolled back';

-- a version that does not take one may have been put back in between

DO $$
BEGIN
    PERFORM nextval('broadcast.batches');
END
$$;


CREATE OR REPLACE FUNCTION broadcast.number_keep(batch bigint, place bigint,
    hub text) RETURNS text
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    RETURN (SELECT concat_ws('|', batch, place, p.upto, h.epoch,
                             broadcast.number_newest(h.name, h.epoch, h.seq,
                                                     h.pos), h.name)
              FROM broadcast.hub h, broadcast.history p
             WHERE h.name = hub AND strpos(hub, '|') = 0
               AND p.first <= place AND p.upto > place
             LIMIT 1);
END
$$;

COMMENT ON FUNCTION broadcast.number_keep(bigint, bigint, text) IS
'Internal: what is to be known of a hub to number what follows pos place without a search';


CREATE OR REPLACE FUNCTION broadcast.number_any(lim int) RETURNS int
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    ids bigint[] := broadcast.drain(lim);
    told text := current_setting('broadcast.newest', true);
    short boolean := pg_current_xact_id_if_assigned() IS NULL;
    batch bigint;
    hubs text[];
    users boolean;
    others boolean;     -- nodes to be told of the batch
    ready boolean;      -- all hubs, and the part of the history
    start bigint;
    n int := cardinality(ids);
BEGIN
    IF n = 0 THEN
        RETURN 0;
    END IF;

    start := broadcast.number_start();

    SELECT array_agg(x.hub), bool_or(x.users),
           (SELECT count(*) > 1 FROM broadcast.node
             WHERE seen_at > clock_timestamp() - interval '15 s'),
           bool_and(x.pos IS NOT NULL)
           AND least(min(x.pos), (SELECT s.head FROM broadcast.state s))
               >= (SELECT p.first FROM broadcast.history p
                    WHERE p.first <= start + n AND p.upto > start + n
                    ORDER BY p.first DESC LIMIT 1)
      INTO hubs, users, others, ready
      FROM (SELECT s.hub, bool_or(s.type IN (2, 3) AND s.scope = 2) AS users,
                   (SELECT h.pos FROM broadcast.hub h WHERE h.name = s.hub)
              FROM broadcast.staging s WHERE s.id = ANY (ids)
             GROUP BY s.hub) x;

    IF ready IS NOT TRUE THEN
        PERFORM broadcast.number_hubs(hubs, start, n);
    END IF;

    WITH moved AS (
        DELETE FROM broadcast.staging WHERE id = ANY (ids) RETURNING *
    ), ranked AS (
        SELECT m.*, row_number() OVER (ORDER BY o.n) AS p,
               CASE WHEN m.type < 12
                    THEN row_number() OVER (PARTITION BY m.hub, m.type < 12
                                            ORDER BY o.n)
               END AS q
          FROM moved m JOIN unnest(ids) WITH ORDINALITY o(id, n)
            ON o.id = m.id
    ), base AS MATERIALIZED (
        SELECT h.name, h.epoch,
               broadcast.number_newest(h.name, h.epoch, h.seq, h.pos) AS seq
          FROM broadcast.hub h WHERE h.name = ANY (hubs)
    )
    INSERT INTO broadcast.message (pos, hub, epoch, seq, type, scope, source,
                                   name, grp, target, arguments, detail,
                                   excluded, mark, ttl, size, created_at,
                                   xid, nth)
    SELECT start + r.p, r.hub,
           CASE WHEN r.q IS NULL THEN 0 ELSE h.epoch END,
           coalesce(h.seq + r.q, start + r.p), r.type, r.scope,
           r.source, r.name, r.grp, r.target, r.arguments, r.detail,
           r.excluded,
           coalesce(r.mark, (random() * 9007199254740992)::bigint), r.ttl,
           coalesce(octet_length(r.arguments::text), 0)
           + coalesce(octet_length(r.detail), 0)
           + coalesce(octet_length(r.excluded), 0) + 256,
           r.created_at, r.xid, r.nth
      FROM ranked r JOIN base h ON h.name = r.hub;

    GET DIAGNOSTICS n = ROW_COUNT;

    batch := nextval('broadcast.batches');

    -- after two running of one hub alone the next one will be, too, and if
    -- nothing was done before in this transaction it may go the short way

    IF ready AND cardinality(hubs) = 1 THEN
        told := CASE WHEN short AND split_part(told, '|', 6) = hubs[1]
                     THEN broadcast.number_keep(batch, start + n, hubs[1])
                     ELSE '|||||' || hubs[1] END;
    ELSE
        told := NULL;
    END IF;

    told := set_config('broadcast.newest', coalesce(told, ''), false);

    IF users OR others OR start / 1000 <> (start + n) / 1000 THEN
        PERFORM broadcast.number_end(start, n, users, others);
    END IF;

    RETURN n;
END
$$;

COMMENT ON FUNCTION broadcast.number_any(int) IS
'Internal: sequence(), of whatever hubs, looking for all that it must know';


-- Most batches are a few messages of the hub that the one before was of.  Each
-- node of a plan is made ready for each of them, which costs more than what it
-- does: so they go a short way, and all that is another way goes the long one.
--
-- An id that was taken before `past`, up to `low`, is searched for by the
-- transaction alone: `+ 0`, so that no other index is good for that.
--
-- What was numbered comes back as read() would give it, which otherwise costs a
-- third of both.  A page of read() is bounded, so large messages are no such ones.

CREATE OR REPLACE FUNCTION broadcast.sequence_read(lim int)
RETURNS TABLE (pos bigint, hub text, epoch bigint, seq bigint, type smallint,
               scope smallint, source smallint, name text, grp text,
               target text, arguments text, excluded text, mark bigint,
               created bigint, ttl bigint, numbered int)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    said text := current_setting('broadcast.drain', true);
    told text := current_setting('broadcast.newest', true);
    mine text;          -- the hub
    low bigint;
    ahead xid8;         -- what did not yet begin
    unseen xid8[];      -- transactions that were open then
    large int := 4194304 / greatest(lim, 1);
    now text;
    ids bigint[];       -- null: not such a message
    late bigint[];
    age bigint;         -- the epoch
    others boolean;     -- nodes to be told of the batch
    start bigint;
    newest bigint;
    n int;
BEGIN
    <<short>>
    BEGIN
        EXIT short WHEN (split_part(said, '|', 3) = '-'
                         AND split_part(told, '|', 5) <> '') IS NOT TRUE
                        OR left(said, 1) = '-'
                        OR pg_current_xact_id_if_assigned() IS NOT NULL;

        low := split_part(said, '|', 2)::bigint;
        ahead := split_part(said, ':', 2)::xid8;
        unseen := ('{' || split_part(split_part(said, '|', 1), ':', 3) || '}')
                  ::xid8[];
        mine := split_part(told, '|', 6);

        SELECT pg_current_snapshot(),
               ARRAY(SELECT CASE WHEN s.hub = mine AND s.type = 1
                                      AND octet_length(coalesce(
                                              s.arguments::text, s.detail))
                                          + coalesce(octet_length(s.excluded),
                                                     0) < large
                                 THEN s.id END
                       FROM broadcast.staging s
                      WHERE s.id > low ORDER BY s.id LIMIT lim),
               ARRAY(SELECT CASE WHEN s.hub = mine AND s.type = 1
                                      AND octet_length(coalesce(
                                              s.arguments::text, s.detail))
                                          + coalesce(octet_length(s.excluded),
                                                     0) < large
                                 THEN s.id END
                       FROM broadcast.staging s
                      WHERE s.xid >= ahead AND s.id + 0 <= low LIMIT lim)
               || ARRAY(SELECT CASE WHEN s.hub = mine AND s.type = 1
                                         AND octet_length(coalesce(
                                                 s.arguments::text, s.detail))
                                             + coalesce(octet_length(
                                                            s.excluded), 0)
                                             < large
                                    THEN s.id END
                          FROM broadcast.staging s
                         WHERE s.xid = ANY (unseen) AND s.id + 0 <= low
                         LIMIT lim)
          INTO now, ids, late;

        said := concat(now, '|', greatest(low, ids[cardinality(ids)]),
                       '|-|-|-|-');
        ids := ids || late;
        n := cardinality(ids);

        IF n = 0 THEN
            said := set_config('broadcast.drain', said, false);
            RETURN;
        END IF;

        EXIT short WHEN n >= lim OR array_position(ids, NULL) IS NOT NULL;

        -- as number_start() says

        IF current_setting('synchronous_commit') NOT IN ('on', 'remote_apply')
        THEN
            PERFORM set_config('synchronous_commit', 'on', true);
        END IF;

        PERFORM FROM broadcast.state FOR UPDATE;

        SELECT h.epoch, EXISTS (SELECT FROM broadcast.node
                                 WHERE seen_at > clock_timestamp()
                                                 - interval '15 s'
                                OFFSET 1)
          INTO age, others FROM broadcast.hub h WHERE h.name = mine;

        start := split_part(told, '|', 2)::bigint;
        newest := split_part(told, '|', 5)::bigint;

        EXIT short WHEN (pg_sequence_last_value('broadcast.batches'::regclass)
                         = split_part(told, '|', 1)::bigint
                         AND age = split_part(told, '|', 4)::bigint
                         AND start + n < split_part(told, '|', 3)::bigint)
                        IS NOT TRUE;

        RETURN QUERY
        WITH moved AS (
            DELETE FROM broadcast.staging WHERE id = ANY (ids) RETURNING *
        )
        INSERT INTO broadcast.message AS r (pos, hub, epoch, seq, type, scope,
                                            source, name, grp, target,
                                            arguments, detail, excluded, mark,
                                            ttl, size, created_at, xid, nth)
        SELECT start + m.n, m.hub, age, newest + m.n, m.type, m.scope,
               m.source, m.name, m.grp, m.target, m.arguments, m.detail,
               m.excluded,
               coalesce(m.mark, (random() * 9007199254740992)::bigint), m.ttl,
               coalesce(octet_length(m.arguments::text), 0)
               + coalesce(octet_length(m.detail), 0)
               + coalesce(octet_length(m.excluded), 0) + 256,
               m.created_at, m.xid, m.nth
          FROM (SELECT o.*, row_number() OVER (ORDER BY o.id) AS n
                  FROM moved o) m
     RETURNING r.pos, r.hub, r.epoch, r.seq, r.type, r.scope, r.source, r.name,
               r.grp, r.target, coalesce(r.arguments::text, r.detail),
               r.excluded, r.mark,
               (extract(epoch FROM r.created_at) * 1000000)::bigint,
               CASE WHEN r.ttl IS NOT NULL
                    THEN ceil(greatest(least(r.ttl, 2147483647), 0))
               END::bigint, NULL::int;

        GET DIAGNOSTICS n = ROW_COUNT;

        told := concat_ws('|', nextval('broadcast.batches'), start + n,
                          split_part(told, '|', 3), age, newest + n, mine);
        told := set_config('broadcast.newest', told, false)
                || set_config('broadcast.drain', said, false);

        IF others OR start / 1000 <> (start + n) / 1000 THEN
            PERFORM broadcast.number_end(start, n, false, others);
        END IF;

        RETURN;
    END;

    n := broadcast.number_any(lim);

    IF n > 0 THEN
        RETURN QUERY SELECT r.*, n FROM broadcast.read(broadcast.head() - n,
                                                       n) r;
    END IF;
END
$$;

COMMENT ON FUNCTION broadcast.sequence_read(int) IS
'The leading relay: as sequence(), but returns what it has numbered, in the order of pos and as read() does: all of it, or if numbered is not null so many of which these are the first. Nobody has it before the transaction is committed';


CREATE OR REPLACE FUNCTION broadcast.sequence(lim int) RETURNS int
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET jit = off
AS $$
BEGIN
    -- the long way, and nobody reads

    IF pg_current_xact_id_if_assigned() IS NOT NULL THEN
        RETURN broadcast.number_any(lim);
    END IF;

    RETURN (SELECT coalesce(max(r.numbered), count(*))
              FROM broadcast.sequence_read(lim) r);
END
$$;

COMMENT ON FUNCTION broadcast.sequence(int) IS
'The leading relay: numbers at most lim staged records and moves them to the history; returns how many. Only in the session that holds the advisory lock';


-- version 1 had no ttl there

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_proc p
                WHERE p.oid = to_regprocedure('broadcast.read(bigint, int)')
                  AND NOT 'ttl' = ANY (p.proargnames))
    THEN
        DROP FUNCTION broadcast.read(bigint, int);
    END IF;
END
$$;

-- A function in SQL would be planned anew at each call, which for one row costs
-- three times as much as to read it.  The functions that read the history keep
-- one plan for all of its parts, which are chosen when it runs; it walks the
-- index, since new parts have no statistics.

CREATE OR REPLACE FUNCTION broadcast.read(after bigint, lim int)
RETURNS TABLE (pos bigint, hub text, epoch bigint, seq bigint, type smallint,
               scope smallint, source smallint, name text, grp text,
               target text, arguments text, excluded text, mark bigint,
               created bigint, ttl bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET jit = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT m.pos, m.hub, m.epoch, m.seq, m.type, m.scope, m.source, m.name,
           m.grp, m.target, coalesce(m.arguments::text, m.detail),
           m.excluded, m.mark,
           (extract(epoch FROM m.created_at) * 1000000)::bigint,
           CASE WHEN m.ttl IS NOT NULL
                THEN ceil(greatest(least(m.ttl, 2147483647), 0)) END::bigint
      FROM (SELECT w.*, sum(w.size) OVER (ORDER BY w.pos) AS bytes
              FROM (SELECT * FROM broadcast.message x WHERE x.pos > $1
                     ORDER BY x.pos LIMIT $2) w) m
     WHERE m.bytes - m.size < 4194304
     ORDER BY m.pos;
END
$$;

COMMENT ON FUNCTION broadcast.read(bigint, int) IS
'Every relay: the history behind pos, at most lim rows and some 4 MB, at least one row if there is one';


-- up to version 4 without the suffix of a position

DROP FUNCTION IF EXISTS broadcast.replay(text, bigint, bigint, bigint, int);
DROP FUNCTION IF EXISTS broadcast.replay_state(text);

CREATE OR REPLACE FUNCTION broadcast.beyond(hub text) RETURNS bigint
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT broadcast.newest(h.name, h.epoch, h.seq, h.pos)
                   - s.value::bigint
              FROM broadcast.hub h, broadcast.setting s
             WHERE h.name = $1 AND s.name = 'history_count');
END
$$;

COMMENT ON FUNCTION broadcast.beyond(text) IS
'Internal: the newest number of a hub that history_count does not keep, whether its row is still there or not';


-- ROWS: joined as two functions of 1000 rows, as PostgreSQL supposes, they would
-- be worth a compilation by LLVM, which takes ten times as long as a page

CREATE OR REPLACE FUNCTION broadcast.replay(of_hub text, of_epoch bigint,
    after bigint, upto bigint, lim int, suffix text DEFAULT '')
RETURNS TABLE (pos bigint, hub text, epoch bigint, seq bigint, type smallint,
               scope smallint, source smallint, name text, grp text,
               target text, arguments text, excluded text, mark bigint,
               created bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 64
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    beyond bigint := broadcast.beyond(of_hub);
    firsts bigint[];
    lasts bigint[];
    nths int[];
BEGIN

    -- most positions have none, and to make ready what reads it takes as long
    -- as a short page

    IF suffix <> '' THEN
        SELECT array_agg(s.first), array_agg(s.last), array_agg(s.nth)
          INTO firsts, lasts, nths FROM broadcast.seen(suffix) s;
    END IF;

    RETURN QUERY
    SELECT m.pos, m.hub, m.epoch, m.seq,
           CASE WHEN m.seen THEN 0::smallint ELSE m.type END, m.scope,
           m.source, m.name, m.grp, m.target,
           CASE WHEN NOT m.seen THEN coalesce(m.arguments::text, m.detail) END,
           m.excluded, m.mark,
           (extract(epoch FROM m.created_at) * 1000000)::bigint
      FROM (SELECT w.*, sum(w.size) OVER (ORDER BY w.seq) AS bytes,
                   EXISTS (SELECT FROM unnest(firsts, lasts, nths)
                                       s(first, last, nth)
                            WHERE w.xid::text::bigint
                                  BETWEEN s.first AND s.last
                              AND w.nth <= s.nth) AS seen
              FROM (SELECT x.* FROM broadcast.message x
                     WHERE x.hub = $1 AND x.epoch = $2
                       AND x.seq > greatest($3, beyond)
                       AND x.seq <= $4
                     ORDER BY x.seq LIMIT $5) w) m
     WHERE m.bytes - m.size < 4194304
     ORDER BY m.seq;
END
$$;

COMMENT ON FUNCTION broadcast.replay(text, bigint, bigint, bigint, int, text)
IS 'The history of one hub with after < seq <= upto, commands among it (type), at most lim rows and some 4 MB. Type 0 and no arguments: was seen by whoever has a position with this suffix, given that it is settled()';


CREATE OR REPLACE FUNCTION broadcast.replay_state(hub text,
    suffix text DEFAULT '')
RETURNS TABLE (epoch bigint, oldest bigint, newest bigint, settled boolean)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 1
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET jit = off
AS $$
DECLARE
    beyond bigint := broadcast.beyond(hub);
BEGIN
    SELECT h.epoch, broadcast.newest(h.name, h.epoch, h.seq, h.pos)
      INTO epoch, newest
      FROM broadcast.hub h WHERE h.name = hub;

    -- what a position of a hub without a number has seen may get one yet

    IF epoch IS NULL AND suffix = '' THEN
        RETURN;
    END IF;

    oldest := coalesce((SELECT m.seq FROM broadcast.message m
                         WHERE m.hub = replay_state.hub
                           AND m.epoch = replay_state.epoch
                           AND m.seq > beyond
                         ORDER BY m.seq LIMIT 1), newest + 1);
    settled := suffix = '' OR broadcast.settled(hub, suffix);

    RETURN NEXT;
END
$$;

COMMENT ON FUNCTION broadcast.replay_state(text, text) IS
'How far the history of a hub reaches: its epoch, the oldest number kept (newest + 1 if none), the newest given, and whether what the suffix of a position says is numbered. All of one snapshot. Of a hub in which nothing was numbered yet only the last, for a suffix';


CREATE OR REPLACE FUNCTION broadcast.positions()
RETURNS TABLE (hub text, epoch bigint, seq bigint)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT h.name, h.epoch,
           broadcast.newest(h.name, h.epoch, h.seq, h.pos)
      FROM broadcast.hub h ORDER BY 1
$$;

COMMENT ON FUNCTION broadcast.positions() IS
'Every hub with its epoch and newest number';


CREATE OR REPLACE FUNCTION broadcast.head() RETURNS bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET jit = off
AS $$
BEGIN
    RETURN (SELECT greatest(s.head, u.head,
                            (SELECT m.pos FROM broadcast.message m
                              WHERE m.pos > s.head
                              ORDER BY m.pos DESC LIMIT 1))
              FROM broadcast.state s, broadcast.upkept u
             WHERE s.single AND u.single);
END
$$;

COMMENT ON FUNCTION broadcast.head() IS
'The newest pos of the history';


CREATE OR REPLACE FUNCTION broadcast.rules()
RETURNS TABLE (hub text, user_id text, grp text, expires bigint,
               lasting boolean)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT m.hub, m.user_id, m.grp, extract(epoch FROM m.expires)::bigint,
           m.lasting
      FROM broadcast.membership m
     WHERE m.expires > clock_timestamp()
     ORDER BY m.updated
$$;

COMMENT ON FUNCTION broadcast.rules() IS
'The groups that users are in beyond their connections: nginx keeps them in shared memory, and changes them as the history says. In the order of their last update';


CREATE OR REPLACE FUNCTION broadcast.server(OUT system bigint,
    OUT timeline bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    timeline := CASE WHEN pg_is_in_recovery() THEN 0
                     ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()),
                                       8))::bit(32)::bigint END;
    system := (SELECT c.system_identifier FROM pg_control_system() c);

-- a provider may have taken the right back

EXCEPTION WHEN insufficient_privilege THEN
    system := 0;
END
$$;

COMMENT ON FUNCTION broadcast.server() IS
'The relays: which cluster this is, and its timeline, which every fail-over changes; 0 where it may not be asked';


-- up to version 4 without a result

DROP FUNCTION IF EXISTS broadcast.begin_anew(bigint);

CREATE OR REPLACE FUNCTION broadcast.begin_anew(known bigint,
    place bigint DEFAULT NULL, marked bigint DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    n bigint;
    start bigint;
BEGIN
    -- holds up the sequencer; and of several nodes only the first does it

    PERFORM FROM broadcast.state FOR UPDATE;

    LOCK TABLE broadcast.message IN ACCESS SHARE MODE;     -- as it does

    IF broadcast.head() >= known THEN
        IF (place IS NULL OR marked IS NOT NULL)
           AND NOT EXISTS (SELECT FROM broadcast.message m
                            WHERE m.pos = place AND m.mark <> marked)
        THEN
            RETURN known;
        END IF;

        start := (SELECT min(m.pos) FROM broadcast.message m
                   WHERE m.pos > known AND m.type = 6);

        IF start IS NOT NULL THEN
            RETURN start - 1;
        END IF;
    END IF;

    start := greatest(known, broadcast.head()) + 1000000;

    n := (SELECT count(*) FROM broadcast.hub);

    PERFORM broadcast.history_reach(start + n);

    -- the margin: no node has read as far, so all of them find these rows

    WITH anew AS (
        UPDATE broadcast.hub h
           SET epoch = broadcast.epoch(), pos = start + x.n,
               seq = broadcast.newest(h.name, h.epoch, h.seq, h.pos) + 1
          FROM (SELECT o.name, row_number() OVER (ORDER BY o.name) AS n
                  FROM broadcast.hub o) x
         WHERE x.name = h.name
     RETURNING h.name, h.epoch, h.seq, h.pos
    )
    INSERT INTO broadcast.message (pos, hub, epoch, seq, type, scope,
                                   source, mark, size, created_at)
    SELECT pos, name, epoch, seq, 6, 0, 0,
           (random() * 9007199254740992)::bigint, 256, clock_timestamp()
      FROM anew;

    UPDATE broadcast.state SET head = start + n;

    PERFORM nextval('broadcast.batches');

    PERFORM pg_notify('broadcast_batch', '');

    RETURN start;
END
$$;

COMMENT ON FUNCTION broadcast.begin_anew(bigint, bigint, bigint) IS
'A relay that has read further than the history reaches, because an older state of the database was put back, or that has read a row with this mark where there is another one, because a server took over that had lost it, or, with a place without a mark, that has found another server: gives every hub a new epoch, and a row that says so. Returns from where to read on';


CREATE OR REPLACE FUNCTION broadcast.bindings()
RETURNS TABLE (kind text, hub text, event text, role text)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    (SELECT b.kind, b.hub, b.event, b.role FROM broadcast.binding b
      ORDER BY b.kind, b.event IS NULL, b.hub IS NULL, b.function, b.event)
     UNION ALL
    SELECT DISTINCT 'message', e.hub, NULL, NULL FROM broadcast.exposed e
$$;

COMMENT ON FUNCTION broadcast.bindings() IS
'Which events have a function, a hub with methods among those of message: nginx keeps it in shared memory. In the order of broadcast.bound(): the first that fits is the one that is called, and its role the one that is asked for';


CREATE OR REPLACE FUNCTION broadcast.bindings_version() RETURNS bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    seen text := current_setting('broadcast.bindings', true);
    snapshot text;
    schemas oid[];
    found bigint;
    print bigint := 0;
BEGIN
    -- nothing was committed since this session looked

    IF pg_current_xact_id_if_assigned() IS NULL THEN
        snapshot := pg_current_snapshot();

        IF split_part(seen, ' ', 1) = snapshot THEN
            RETURN split_part(seen, ' ', 2);
        END IF;
    END IF;

    SELECT s.version << 32,
           ARRAY(SELECT n.oid FROM broadcast.exposed e
                   JOIN pg_namespace n ON n.nspname = e.schema::name)
      INTO found, schemas
      FROM broadcast.binding_state s;

    -- A function that was made, replaced, granted or dropped is another row;
    -- pg_proc has no index by schema, so it is read once.  Two ages have the
    -- difference of their xids, at any time, and cost no text.  The oid is the
    -- seed: hashint8() folds its halves, and the next oid by the next xid is
    -- often the same to it.

    IF schemas <> '{}' THEN
        SELECT sum(hashint4extended((coalesce(age('3'::xid)::bigint
                                        - nullif(age(r.xmin), 2147483647)
                                        & 4294967295, 0)
                                     - 2147483648)::int,
                                    r.oid::bigint)
                   & 4294967295)::bigint & 4294967295
          INTO print
          FROM (SELECT p.oid, p.xmin FROM pg_proc p
                 WHERE p.pronamespace = ANY (schemas)
                 UNION ALL
                SELECT n.oid, n.xmin FROM pg_namespace n
                 WHERE n.oid = ANY (schemas)) r;

        found := found | coalesce(print, 0);
    END IF;

    IF snapshot IS NOT NULL THEN
        PERFORM set_config('broadcast.bindings', snapshot || ' ' || found,
                           false);
    END IF;

    RETURN found;
END
$$;

COMMENT ON FUNCTION broadcast.bindings_version() IS
'Changes with every bind, unbind, expose and unexpose, and with the functions of exposed schemas';


DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_proc p
                WHERE p.oid = to_regprocedure(
                          'broadcast.node_beat(text, double precision)')
                  AND p.prorettype = 'void'::regtype)
    THEN
        DROP FUNCTION broadcast.node_beat(text, double precision);
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION broadcast.node_beat(node text,
    lease double precision DEFAULT NULL) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    seen timestamptz;
BEGIN
    SELECT n.seen_at INTO seen FROM broadcast.node n WHERE n.name = $1
       FOR NO KEY UPDATE;

    INSERT INTO broadcast.node (name) VALUES ($1)
        ON CONFLICT (name) DO UPDATE SET seen_at = clock_timestamp();

    RETURN seen IS NULL
           OR seen < clock_timestamp()
                     - (SELECT s.value::interval FROM broadcast.setting s
                         WHERE s.name = 'node_lease');
END
$$;

COMMENT ON FUNCTION broadcast.node_beat(text, double precision) IS
'A node says that it lives; true if it was not heard of for its lease: others may have called disconnected for its connections';


CREATE OR REPLACE FUNCTION broadcast.node_lease() RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce((SELECT (extract(epoch FROM s.value::interval)
                             * 1000)::bigint
                       FROM broadcast.setting s WHERE s.name = 'node_lease'),
                    15000)
$$;

COMMENT ON FUNCTION broadcast.node_lease() IS
'The lease of a node in milliseconds';


-- No definer: whom a role may not end it does not see, and passes over.

CREATE OR REPLACE FUNCTION broadcast.unseat(lease double precision)
    RETURNS bigint
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT count(*) FILTER (WHERE pg_terminate_backend(l.pid))
      FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
     WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
       AND l.database = (SELECT d.oid FROM pg_database d
                          WHERE d.datname = current_database())
       AND l.classid::bigint
           = (hashtext('broadcast.relay')::bigint >> 32) & 4294967295
       AND l.objid::bigint
           = hashtext('broadcast.relay')::bigint & 4294967295
       AND a.pid <> pg_backend_pid()
       AND a.usename = session_user
       AND a.application_name = current_setting('application_name')
       AND a.state <> 'active'
       AND a.state_change < clock_timestamp()
                            - make_interval(secs => $1 / 1000)
$$;

COMMENT ON FUNCTION broadcast.unseat(double precision) IS
'A relay that follows: ends the session of one that leads and has asked for nothing in so many milliseconds, a leader asks each second; returns how many';


--
-- What the module calls: the relay, where messages come through the WAL
--

CREATE OR REPLACE FUNCTION broadcast.by_wal() RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM broadcast.setting s
                    WHERE s.name = 'source' AND s.value = 'wal')
$$;

COMMENT ON FUNCTION broadcast.by_wal() IS
'Every relay: whether what is sent goes through the WAL';


CREATE OR REPLACE FUNCTION broadcast.sequence_wal(lsn pg_lsn[], n int[],
    xid bigint[], message text[], upto pg_lsn)
RETURNS TABLE (taken int, left_out int, numbered int)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    w broadcast.wal;
    last record;
    gate boolean;
BEGIN
    -- the cursor must be as durable as the place that is confirmed

    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;

    SELECT * INTO w FROM broadcast.wal;

    -- The slot is lost, and what is still read of it was sent before all that
    -- was staged since, which may be numbered by now: so it is lost, too, as
    -- the new epoch tells.  Until that begins nothing is numbered.

    IF (w.state IN ('read', 'leave')) IS NOT TRUE THEN
        taken := cardinality($1);
        left_out := 0;
        numbered := CASE WHEN w.state = 'lost' AND NOT w.anew THEN 0
                         ELSE broadcast.sequence(500) END;

        RETURN NEXT;
        RETURN;
    END IF;

    SELECT c.lsn, c.n INTO last FROM broadcast.wal_cursor c
     ORDER BY c.lsn DESC, c.n DESC LIMIT 1;

    -- what was staged since this source is left came later than all of these

    gate := w.state = 'leave' AND (w.barrier IS NULL OR last.lsn < w.barrier);

    WITH given AS (
        SELECT g.* FROM unnest($1, $2, $3, $4) WITH ORDINALITY
                        AS g(lsn, n, xid, message, ord)
         WHERE last.lsn IS NULL OR (g.lsn, g.n) > (last.lsn, last.n)
    ), sealed AS MATERIALIZED (
        SELECT g.ord, g.lsn, g.n, g.xid, g.message = '' AS beat, b.body
          FROM given g LEFT JOIN LATERAL
               (SELECT substr(g.message, 65) AS body) b
               ON broadcast.wal_seal(convert_to(b.body, 'UTF8'))
                  = left(g.message, 64)
    ), parsed AS MATERIALIZED (
        SELECT s.ord, s.lsn, s.n, s.xid, s.beat,
               split_part(s.body, E'\n', 1)::json AS a,
               substr(s.body, strpos(s.body, E'\n') + 1) AS body
          FROM sealed s
    ), record AS MATERIALIZED (
        SELECT p.*, ((p.a ->> 0)::bigint & 4294967295) = p.xid AS good
          FROM parsed p
    ), cut AS (
        -- the WAL may be read before others see the commit: order and
        -- positions want both

        SELECT min(r.ord) AS ord FROM record r
         WHERE r.good AND NOT pg_visible_in_snapshot((r.a ->> 0)::xid8,
                                                     pg_current_snapshot())
    ), moved AS (
        INSERT INTO broadcast.staging (id, hub, type, scope, source, name,
                                       grp, target, arguments, detail,
                                       excluded, mark, ttl, created_at, xid,
                                       nth)
            OVERRIDING SYSTEM VALUE
        SELECT CASE WHEN gate THEN w.ids + r.ord
                    ELSE nextval('broadcast.staging_id_seq') END,
               r.a ->> 2, (r.a ->> 3)::smallint, (r.a ->> 4)::smallint,
               (r.a ->> 5)::smallint, r.a ->> 6, r.a ->> 7, r.a ->> 8,
               CASE WHEN r.a ->> 3 = '1' THEN r.body::json END,
               CASE WHEN r.a ->> 3 <> '1' AND r.a ->> 13 = 'false'
                    THEN r.body END,
               r.a ->> 9, (r.a ->> 10)::bigint,
               (r.a ->> 11)::double precision,
               timestamptz 'epoch'
               + (r.a ->> 12)::bigint * interval '1 microsecond',
               (r.a ->> 0)::xid8, (r.a ->> 1)::int
          FROM (SELECT * FROM record ORDER BY record.ord) r
         WHERE r.good AND r.ord < coalesce((SELECT c.ord FROM cut c),
                                           9223372036854775807)
    ), place AS (
        INSERT INTO broadcast.wal_cursor (lsn, n)
        SELECT p.lsn, p.n
          FROM (SELECT r.lsn, r.n FROM record r
                 WHERE r.ord < coalesce((SELECT c.ord FROM cut c),
                                        9223372036854775807)
                 UNION ALL
                SELECT $5, 0 WHERE (SELECT c.ord FROM cut c) IS NULL
                               AND (last.lsn IS NULL OR $5 > last.lsn)) p
         ORDER BY 1 DESC, 2 DESC LIMIT 1
            ON CONFLICT DO NOTHING
    )
    SELECT coalesce(c.ord - 1, cardinality($1)),
           (SELECT count(*) FROM record r
             WHERE r.good IS NOT TRUE AND r.beat IS NOT TRUE
               AND r.ord < coalesce(c.ord, 9223372036854775807))
      INTO taken, left_out FROM cut c;

    IF gate THEN
        UPDATE broadcast.wal SET ids = ids + cardinality($1);
        numbered := 0;
    ELSE
        numbered := broadcast.sequence(500);
    END IF;

    RETURN NEXT;
END
$$;

COMMENT ON FUNCTION broadcast.sequence_wal(pg_lsn[], int[], bigint[], text[],
                                           pg_lsn) IS
'The leading relay: moves messages that it has read from the WAL to the staging table, in their order, and numbers at most 500 records; upto is how far it has read with the last of them, 0/0 if that is not the last. taken is how many need not come again, left_out how many of these were not sent by this schema';


CREATE OR REPLACE FUNCTION broadcast.wal_refusal(slot text, publication text)
RETURNS text
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    s record;
BEGIN
    IF current_setting('server_version_num')::int < 140000 THEN
        RETURN format('PostgreSQL 14 or later is needed, this is %s',
                      current_setting('server_version'));
    END IF;

    IF current_setting('wal_level') <> 'logical' THEN
        RETURN format('wal_level is %s; ALTER SYSTEM SET wal_level = logical, and restart the server',
                      current_setting('wal_level'));
    END IF;

    IF NOT (SELECT r.rolreplication OR r.rolsuper FROM pg_roles r
             WHERE r.rolname = session_user)
    THEN
        RETURN format('the role may not read the WAL; ALTER ROLE %I REPLICATION',
                      session_user);
    END IF;

    SELECT * INTO s FROM pg_replication_slots r WHERE r.slot_name = $1;

    IF FOUND THEN
        RETURN format('the replication slot %I is not ours: %s; name another one by slot=, or SELECT pg_drop_replication_slot(%L)',
            $1, CASE WHEN s.slot_type <> 'logical' THEN 'a physical one'
                     WHEN s.database <> current_database()
                     THEN format('of the database %I', s.database)
                     WHEN s.plugin <> 'pgoutput'
                     THEN format('of the plugin %I', s.plugin)
                     WHEN s.active
                     THEN format('in use by process %s', s.active_pid)
                     ELSE 'somebody else made it' END, $1);
    END IF;

    -- before the slot: rows that are changed behind it are looked up there

    IF NOT EXISTS (SELECT FROM pg_publication p WHERE p.pubname = $2) THEN
        BEGIN
            EXECUTE format('CREATE PUBLICATION %I', $2);
        EXCEPTION WHEN insufficient_privilege THEN
            RETURN format('there is no publication %I, and the owner of the schema may not make one; CREATE PUBLICATION %I',
                          $2, $2);
        END;
    END IF;

    RETURN NULL;
END
$$;

COMMENT ON FUNCTION broadcast.wal_refusal(text, text) IS
'Internal: why a slot cannot be made, with the statement that helps, or null; makes the publication, of no table, if it is missing';


CREATE OR REPLACE FUNCTION broadcast.wal_source(source text) RETURNS void
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO broadcast.setting (name, value) VALUES ('source', $1)
        ON CONFLICT (name) DO UPDATE SET value = excluded.value
             WHERE setting.value IS DISTINCT FROM excluded.value
$$;

COMMENT ON FUNCTION broadcast.wal_source(text) IS
'Internal: where sends go from now on';


-- What became of the slot that is in use, if anything

CREATE OR REPLACE FUNCTION broadcast.wal_fault(slot text) RETURNS text
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    s record;
BEGIN
    IF slot IS NULL THEN
        RETURN 'there is none';
    END IF;

    SELECT * INTO s FROM pg_replication_slots r WHERE r.slot_name = slot;

    IF NOT FOUND THEN
        RETURN 'it was dropped, or is not on this server';
    END IF;

    IF s.plugin IS DISTINCT FROM 'pgoutput'
       OR s.database IS DISTINCT FROM current_database()
    THEN
        RETURN 'it is somebody else''s now';
    END IF;

    IF s.wal_status = 'lost' OR s.restart_lsn IS NULL THEN
        RETURN format('the server has removed WAL that was not read yet, max_slot_wal_keep_size is %s',
                      current_setting('max_slot_wal_keep_size'));
    END IF;

    IF s.confirmed_flush_lsn > broadcast.wal_place() THEN
        RETURN 'somebody else has read from it, or made it anew';
    END IF;

    RETURN NULL;
END
$$;

COMMENT ON FUNCTION broadcast.wal_fault(text) IS
'Internal: why messages may have been lost with the slot, or null';


-- A step of each state, and the state that comes next; null: what was said is
-- to be done first.

CREATE OR REPLACE FUNCTION broadcast.wal_step(w broadcast.wal, created text,
    OUT what text, OUT next text)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    senders boolean;
    there boolean := EXISTS (SELECT FROM pg_replication_slots r
                              WHERE r.slot_name = w.slot
                                AND r.plugin = 'pgoutput'
                                AND r.database = current_database());
BEGIN
    CASE w.state

    WHEN 'make' THEN
        what := 'create';

        -- made by this relay, or by one that did not come to say so

        IF EXISTS (SELECT FROM pg_replication_slots r
                    WHERE r.slot_name = w.slot
                      AND r.confirmed_flush_lsn IS NOT NULL
                      AND (created IS NOT NULL OR NOT r.active))
        THEN
            DELETE FROM broadcast.wal_cursor;
            UPDATE broadcast.wal SET pruned = '0/0';
            INSERT INTO broadcast.wal_cursor
            SELECT r.confirmed_flush_lsn, 0 FROM pg_replication_slots r
             WHERE r.slot_name = w.slot;

            PERFORM broadcast.wal_source('wal');
            what := 'read';
            next := 'read';
        ELSIF w.wanted IS DISTINCT FROM w.slot THEN
            what := 'again';
            next := 'drop';
        END IF;

    WHEN 'read' THEN
        what := 'read';

        IF w.wanted IS DISTINCT FROM w.slot THEN

            -- ids for what is left in the WAL, below those that are given now,
            -- beyond those that are given in between

            UPDATE broadcast.wal
               SET ids = nextval('broadcast.staging_id_seq') + 1000000,
                   barrier = NULL, last = NULL;
            PERFORM setval('broadcast.staging_id_seq',
                           nextval('broadcast.staging_id_seq') + 1000000000);

            PERFORM broadcast.wal_source('outbox');
            what := 'again';
            next := 'leave';
        ELSIF w.pruned_at < clock_timestamp() - interval '10 s' THEN
            PERFORM broadcast.wal_prune();
        END IF;

    WHEN 'leave' THEN
        what := 'drain';
        senders := broadcast.wal_senders();

        IF w.barrier IS NULL THEN
            UPDATE broadcast.wal SET barrier = broadcast.wal_beat();
        ELSIF w.last IS NULL AND NOT senders THEN
            UPDATE broadcast.wal SET last = broadcast.wal_beat();
        ELSIF broadcast.wal_place() >= w.last THEN
            what := 'again';
            next := 'drop';
        END IF;

    WHEN 'lost' THEN
        senders := broadcast.wal_senders();

        -- what they have sent is lost when they commit: told once more then

        IF NOT w.anew OR NOT senders THEN
            PERFORM broadcast.begin_anew(broadcast.head() + 1);
            UPDATE broadcast.wal SET anew = senders;
        END IF;

        what := CASE WHEN senders THEN 'outbox' ELSE 'again' END;
        next := CASE WHEN NOT senders THEN 'drop' END;

    WHEN 'drop' THEN
        what := CASE WHEN there THEN 'drop' ELSE 'again' END;
        next := CASE WHEN NOT there THEN '' END;

    END CASE;
END
$$;

COMMENT ON FUNCTION broadcast.wal_step(broadcast.wal, text) IS
'Internal: does what is due for the slot in use';


-- From where it was left off: what was removed before is not walked again.

CREATE OR REPLACE FUNCTION broadcast.wal_prune() RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    place pg_lsn := broadcast.wal_place();
BEGIN
    DELETE FROM broadcast.wal_cursor c USING broadcast.wal w
     WHERE c.lsn >= w.pruned AND c.lsn < place;
    DELETE FROM broadcast.wal_own o
     WHERE o.at < clock_timestamp() - interval '1 hour';

    UPDATE broadcast.wal SET pruned = place, pruned_at = clock_timestamp()
     WHERE pruned < place;
END
$$;

COMMENT ON FUNCTION broadcast.wal_prune() IS
'Internal: removes the rows of the cursor that a later one has followed';


CREATE OR REPLACE FUNCTION broadcast.wal_plan(wanted text, by_publication text,
    created text, trouble text)
RETURNS TABLE (what text, slot text, publication text, gate boolean,
               said text, note text, behind bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    w broadcast.wal;
    step record;
    fault text;
BEGIN
    UPDATE broadcast.wal SET wanted = $1, said = $4
     WHERE wanted IS DISTINCT FROM $1 OR said IS DISTINCT FROM $4;

    SELECT * INTO w FROM broadcast.wal;

    IF w.state IN ('read', 'leave')
       OR w.state IS NULL AND 'wal' = (SELECT s.value FROM broadcast.setting s
                                        WHERE s.name = 'source')
    THEN
        fault := broadcast.wal_fault(w.slot);

        IF fault IS NOT NULL THEN
            PERFORM broadcast.wal_source('outbox');
            UPDATE broadcast.wal SET state = 'lost', anew = false;

            RETURN QUERY SELECT 'again', w.slot, w.publication, true,
                format('messages may have been lost with the replication slot %s: %s; all hubs begin anew',
                       quote_ident(w.slot), fault), NULL, NULL::bigint;
            RETURN;
        END IF;
    END IF;

    IF w.state IS NULL THEN

        IF $1 IS NULL THEN
            RETURN QUERY SELECT 'outbox', NULL, NULL, false, NULL, NULL,
                                NULL::bigint;
            RETURN;
        END IF;

        fault := broadcast.wal_refusal($1, $2);

        IF fault IS NOT NULL THEN
            UPDATE broadcast.wal SET said = left(fault, 255)
             WHERE said IS DISTINCT FROM left(fault, 255);

            RETURN QUERY SELECT 'refused', $1, $2, false, fault, NULL,
                                NULL::bigint;
            RETURN;
        END IF;

        UPDATE broadcast.wal SET slot = $1, publication = $2, state = 'make';
        SELECT * INTO w FROM broadcast.wal;
    END IF;

    step := broadcast.wal_step(w, $3);

    IF step.next IS NOT NULL THEN
        UPDATE broadcast.wal
           SET state = nullif(step.next, ''),
               slot = CASE WHEN step.next <> '' THEN w.slot END;
    END IF;

    RETURN QUERY
    SELECT step.what, x.slot, x.publication,
           coalesce(x.state = 'leave'
                    AND (x.barrier IS NULL
                         OR broadcast.wal_place() < x.barrier), false),
           NULL, broadcast.wal_note(x.slot),
           (SELECT (pg_current_wal_lsn() - r.confirmed_flush_lsn)::bigint
              FROM pg_replication_slots r WHERE r.slot_name = x.slot)
      FROM broadcast.wal x;
END
$$;

COMMENT ON FUNCTION broadcast.wal_plan(text, text, text, text) IS
'The leading relay: what it shall do about the slot that nginx.conf names (null: outbox), or about one that is still in use: outbox, refused, create, read, drain, drop, again (ask once more). created tells that it has just made it, trouble what hinders it. gate: what is staged must wait. Only in the session that holds the advisory lock';


CREATE OR REPLACE FUNCTION broadcast.wal_note(slot text) RETURNS text
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN r.wal_status = 'unreserved'
                THEN format('the server is about to remove WAL that was not read from the replication slot %I; a greater max_slot_wal_keep_size helps, now', r.slot_name)
                WHEN current_setting('max_slot_wal_keep_size') = '-1'
                THEN format('max_slot_wal_keep_size is not set: while nobody reads the replication slot %I the WAL may fill the disk', r.slot_name)
           END
      FROM pg_replication_slots r WHERE r.slot_name = $1
$$;

COMMENT ON FUNCTION broadcast.wal_note(text) IS
'Internal: what is worth a warning about the WAL that a slot keeps, or null';


--
-- What the module calls: functions
--

CREATE OR REPLACE FUNCTION broadcast.connection_add(event jsonb)
    RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO broadcast.connections
           (connection_id, hub, user_id, node, transport, connected_at,
            remote_address, claims, query, headers)
    VALUES (event->>'connectionId', event->>'hub',
            nullif(event->>'userId', ''), event->>'node', event->>'transport',
            clock_timestamp() - make_interval(secs =>
                coalesce((event->>'age')::double precision, 0)),
            event->>'remoteAddress', event->'claims', event->'query',
            event->'headers')
        ON CONFLICT (connection_id) DO NOTHING;

    IF NOT FOUND THEN
        RETURN false;
    END IF;

    -- The insert has waited for a `disconnected` that was under way; what that
    -- has left is seen by the next statement.

    IF EXISTS (SELECT FROM broadcast.gone g
                WHERE g.connection_id = event->>'connectionId')
    THEN
        DELETE FROM broadcast.connections c
         WHERE c.connection_id = event->>'connectionId';

        RETURN false;
    END IF;

    IF event ? 'groups' THEN
        INSERT INTO broadcast.connection_group (connection_id, hub, key, grp)
        SELECT event->>'connectionId', event->>'hub',
               broadcast.group_key(g.name), g.name
          FROM jsonb_array_elements_text(event->'groups') g(name)
            ON CONFLICT DO NOTHING;
    END IF;

    RETURN true;
END
$$;

COMMENT ON FUNCTION broadcast.connection_add(jsonb) IS
'Internal: a connection is live, in these groups; false if its row was there, or it has ended';


-- VOLATILE: it has to see what the insert has waited for.

CREATE OR REPLACE FUNCTION broadcast.connection_taken(event jsonb)
    RETURNS boolean
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT NOT EXISTS (SELECT FROM broadcast.connections c
                        WHERE c.connection_id = event->>'connectionId'
                          AND c.node IS NOT DISTINCT FROM event->>'node')
$$;

COMMENT ON FUNCTION broadcast.connection_taken(jsonb) IS
'Internal: of a connection that was not added: its id is another node''s, which was first, or it has ended';


CREATE OR REPLACE FUNCTION broadcast.keep_connections(events jsonb, node text)
    RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    e jsonb;
    id text;
    lost text[] := '{}';
BEGIN
    FOR e IN SELECT x FROM jsonb_array_elements(events) x LOOP
        id := e->>'connectionId';

        IF e->'known' = 'true' THEN

            -- waits for a sweep that is just ending it

            PERFORM FROM broadcast.connections c
              WHERE c.connection_id = id AND c.node = $2 FOR KEY SHARE;

            IF NOT FOUND THEN
                lost := lost || id;
            END IF;

        ELSE
            e := e || jsonb_build_object('node', node);

            IF NOT broadcast.connection_add(e)
               AND broadcast.connection_taken(e)
            THEN
                lost := lost || id;
            END IF;
        END IF;
    END LOOP;

    RETURN array_to_string(lost, ',');
END
$$;

COMMENT ON FUNCTION broadcast.keep_connections(jsonb, text) IS
'A node says that these connections of its own are live: rows that are not there are made, and no function is called; returns those that have ended for the database, with commas: known ones whose row is gone, those that have a row in broadcast.gone, and those whose id is another node''s';


DROP FUNCTION IF EXISTS broadcast.connection_remove(text);

CREATE OR REPLACE FUNCTION broadcast.connection_remove(event jsonb)
    RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '1s'
AS $$
DECLARE
    id text := event->>'connectionId';
    gone jsonb;
BEGIN
    IF event->'owed' = 'true' THEN

        -- Waits for a `connected` that is still under way and has inserted the
        -- row; one that comes later finds the tombstone.

        INSERT INTO broadcast.connections (connection_id, hub, user_id)
        VALUES (id, event->>'hub', nullif(event->>'userId', ''))
            ON CONFLICT (connection_id) DO NOTHING;
    END IF;

    -- a token that was used at two nodes: the row is the one's that was first

    DELETE FROM broadcast.connections c
     WHERE c.connection_id = id
       AND (c.node IS NULL OR c.node = coalesce(event->>'node', c.node))
    RETURNING jsonb_build_object('connectionId', c.connection_id,
                  'hub', c.hub, 'userId', c.user_id,
                  'transport', c.transport,
                  'claims', coalesce(c.claims, '{}'),
                  'query', coalesce(c.query, '{}'))
         INTO gone;

    IF gone IS NOT NULL AND event ? 'owed' THEN
        INSERT INTO broadcast.gone (connection_id) VALUES (id)
            ON CONFLICT (connection_id) DO NOTHING;

        IF NOT FOUND THEN
            RETURN NULL;
        END IF;
    END IF;

    RETURN gone;
END
$$;

COMMENT ON FUNCTION broadcast.connection_remove(jsonb) IS
'Internal: a connection ended; what was known of it, or null if its event came before. owed true: its row may be missing, a tombstone is the proof then; owed false: a tombstone is left';


CREATE OR REPLACE FUNCTION broadcast.connection_known(connection text)
    RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT jsonb_build_object('claims', c.claims, 'query', c.query)
              FROM broadcast.connections c WHERE c.connection_id = $1);
END
$$;

COMMENT ON FUNCTION broadcast.connection_known(text) IS
'Internal: what the events of a connection tell of it besides its names';


CREATE OR REPLACE FUNCTION broadcast.present(hub text, connection text,
    "user" text, after text, elsewhere text, lim int)
RETURNS TABLE (connection_id text, user_id text, transport text,
               connected_at text)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    IF $2 IS NOT NULL THEN
        RETURN QUERY
        SELECT c.connection_id, c.user_id, c.transport,
               to_char(c.connected_at AT TIME ZONE 'UTC',
                       'YYYY-MM-DD"T"HH24:MI:SS"Z"')
          FROM broadcast.connections c
         WHERE c.connection_id = $2 AND c.hub = $1
           AND ($5 IS NULL OR c.node IS DISTINCT FROM $5);

    ELSIF $3 IS NOT NULL THEN
        RETURN QUERY
        SELECT c.connection_id, c.user_id, c.transport,
               to_char(c.connected_at AT TIME ZONE 'UTC',
                       'YYYY-MM-DD"T"HH24:MI:SS"Z"')
          FROM broadcast.connections c
         WHERE c.hub = $1 AND c.user_id = $3
           AND c.connection_id > coalesce($4, '')
           AND ($5 IS NULL OR c.node IS DISTINCT FROM $5)
         ORDER BY c.connection_id LIMIT $6;

    ELSE
        RETURN QUERY
        SELECT c.connection_id, c.user_id, c.transport,
               to_char(c.connected_at AT TIME ZONE 'UTC',
                       'YYYY-MM-DD"T"HH24:MI:SS"Z"')
          FROM broadcast.connections c
         WHERE c.hub = $1
           AND c.connection_id > coalesce($4, '')
           AND ($5 IS NULL OR c.node IS DISTINCT FROM $5)
         ORDER BY c.connection_id LIMIT $6;
    END IF;
END
$$;

COMMENT ON FUNCTION broadcast.present(text, text, text, text, text, int) IS
'Connections of a hub, or the one of an id, or those of a user, in the order of their ids behind `after`; not those of the node `elsewhere`, unless that is null';


CREATE OR REPLACE FUNCTION broadcast.keep_groups(groups jsonb) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    ids text[] := ARRAY(SELECT jsonb_object_keys(groups));
    live text[];
BEGIN
    -- a row that somebody is deleting waits for nobody, nor is waited for

    live := ARRAY(SELECT c.connection_id FROM broadcast.connections c
                   WHERE c.connection_id = ANY (ids)
                     FOR KEY SHARE SKIP LOCKED);

    WITH wanted AS MATERIALIZED (
        SELECT c.connection_id, c.hub, broadcast.group_key(g.name) AS key,
               g.name
          FROM broadcast.connections c,
               jsonb_array_elements_text(groups->c.connection_id) g(name)
         WHERE c.connection_id = ANY (live)
    ), gone AS (
        DELETE FROM broadcast.connection_group m
         WHERE m.connection_id = ANY (live)
           AND NOT EXISTS (SELECT FROM wanted w
                            WHERE w.connection_id = m.connection_id
                              AND w.key = m.key)
    )
    INSERT INTO broadcast.connection_group (connection_id, hub, key, grp)
    SELECT w.connection_id, w.hub, w.key, w.name FROM wanted w
        ON CONFLICT DO NOTHING;

    RETURN (SELECT string_agg(c.connection_id, ',')
              FROM broadcast.connections c
             WHERE c.connection_id = ANY (ids)
               AND c.connection_id <> ALL (live));
END
$$;

COMMENT ON FUNCTION broadcast.keep_groups(jsonb) IS
'A node says in which groups these connections of its own are now: {"id":["group",…],…}. Those without a row are passed over; returns those whose row was locked, with commas, to be said again';


CREATE OR REPLACE FUNCTION broadcast.members(hub text, "user" text,
    after text, elsewhere text, groups text[], member boolean, lim int)
RETURNS TABLE (connection_id text, user_id text, transport text,
               connected_at text, mask bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    keys bytea[] := ARRAY(SELECT broadcast.group_key(g.name)
                            FROM unnest(groups) WITH ORDINALITY g(name, i)
                           ORDER BY g.i);
BEGIN
    IF NOT member THEN
        RETURN QUERY
        SELECT c.connection_id, c.user_id, c.transport,
               to_char(c.connected_at AT TIME ZONE 'UTC',
                       'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
               coalesce((SELECT bit_or(1::bigint << (k.i - 1)::int)
                           FROM unnest(keys) WITH ORDINALITY k(key, i)
                          WHERE EXISTS (SELECT
                                          FROM broadcast.connection_group m
                                         WHERE m.connection_id
                                               = c.connection_id
                                           AND m.key = k.key)), 0)
          FROM broadcast.connections c
         WHERE c.hub = $1
           AND c.connection_id > coalesce($3, '')
           AND ($4 IS NULL OR c.node IS DISTINCT FROM $4)
         ORDER BY c.connection_id LIMIT $7;

    ELSIF $2 IS NOT NULL THEN
        RETURN QUERY
        SELECT c.connection_id, c.user_id, c.transport,
               to_char(c.connected_at AT TIME ZONE 'UTC',
                       'YYYY-MM-DD"T"HH24:MI:SS"Z"'), 1::bigint
          FROM broadcast.connections c
         WHERE c.hub = $1 AND c.user_id = $2
           AND c.connection_id > coalesce($3, '')
           AND ($4 IS NULL OR c.node IS DISTINCT FROM $4)
           AND EXISTS (SELECT FROM broadcast.connection_group m
                        WHERE m.connection_id = c.connection_id
                          AND m.key = keys[1])
         ORDER BY c.connection_id LIMIT $7;

    ELSE
        RETURN QUERY
        SELECT c.connection_id, c.user_id, c.transport,
               to_char(c.connected_at AT TIME ZONE 'UTC',
                       'YYYY-MM-DD"T"HH24:MI:SS"Z"'), 1::bigint
          FROM broadcast.connection_group m
          JOIN broadcast.connections c ON c.connection_id = m.connection_id
         WHERE m.hub = $1 AND m.key = keys[1]
           AND m.connection_id > coalesce($3, '')
           AND ($4 IS NULL OR c.node IS DISTINCT FROM $4)
         ORDER BY m.connection_id LIMIT $7;
    END IF;
END
$$;

COMMENT ON FUNCTION broadcast.members(text, text, text, text, text[], boolean,
                                      int) IS
'As broadcast.present(): connections of a hub, bit i of mask says whether one is in groups[i + 1]; or with `member` only those in groups[1], or those of a user there';


CREATE OR REPLACE FUNCTION broadcast.groups(hub text, after text, lim int)
RETURNS TABLE (name text, connections bigint, key text)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT (SELECT m.grp FROM broadcast.connection_group m
             WHERE m.hub = $1 AND m.key = k.key LIMIT 1),
           k.n, encode(k.key, 'hex')
      FROM (SELECT m.key, count(*) AS n FROM broadcast.connection_group m
             WHERE m.hub = $1
               AND m.key > coalesce(decode($2, 'hex'), '')
             GROUP BY m.key ORDER BY m.key LIMIT $3) k
     ORDER BY k.key;
END
$$;

COMMENT ON FUNCTION broadcast.groups(text, text, int) IS
'The groups of a hub and how many connections are in each, in the order of their keys behind `after`';


DROP FUNCTION IF EXISTS broadcast.error_add(text, text, jsonb, text, text,
                                            text, text, text);


CREATE OR REPLACE FUNCTION broadcast.error_add(kind text, function text,
    event text, hub text, connection text, sqlstate text, message text,
    detail text, hint text, context text, count bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    this bigint;
BEGIN
    -- an error behind the function, in what it gave back, names none

    IF function IS NULL AND kind IN ('message', 'http', 'timer', 'after') THEN
        SELECT b.function INTO function
          FROM broadcast.bound(kind, hub, event) b LIMIT 1;
    END IF;

    INSERT INTO broadcast.function_error AS e (kind, function, hub,
                connection_id, sqlstate, message, detail, hint, context,
                count)
    VALUES (kind, function, hub, connection, sqlstate, left(message, 8192),
            left(nullif(detail, ''), 8192), left(nullif(hint, ''), 8192),
            left(nullif(context, ''), 8192), count)
    RETURNING e.id INTO this;

    -- who else is at it does it for both

    DELETE FROM broadcast.function_error e
     WHERE e.id IN (SELECT x.id FROM broadcast.function_error x
                     WHERE x.id <= this - 1000 FOR UPDATE SKIP LOCKED);
END
$$;

COMMENT ON FUNCTION broadcast.error_add(text, text, text, text, text, text,
                                        text, text, text, text, bigint) IS
'Internal: keeps what a function raised';


CREATE OR REPLACE FUNCTION broadcast.act(hub text, actions jsonb)
    RETURNS int
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    a jsonb;
    h text;
    n int := 0;
BEGIN
    IF jsonb_typeof(actions) = 'object' AND actions ? 'actions' THEN
        actions := actions->'actions';
    END IF;

    IF actions IS NULL OR jsonb_typeof(actions) = 'null' THEN
        RETURN 0;
    END IF;

    IF jsonb_typeof(actions) = 'object' THEN
        actions := jsonb_build_array(actions);
    END IF;

    IF jsonb_typeof(actions) <> 'array' THEN
        RAISE EXCEPTION 'actions must be an object or an array, not %',
                jsonb_typeof(actions)
            USING ERRCODE = 'invalid_parameter_value';
    END IF;

    FOR a IN SELECT e FROM jsonb_array_elements(actions) e LOOP

        IF jsonb_typeof(a) <> 'object' THEN
            RAISE EXCEPTION 'an action must be an object, not %',
                    jsonb_typeof(a)
                USING ERRCODE = 'invalid_parameter_value';
        END IF;

        h := coalesce(a->>'hub', hub);
        n := n + 1;

        IF h IS NULL THEN
            RAISE EXCEPTION 'an action names no hub, and its function is bound to none'
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = 'give bind() the hub, or the action a member "hub"';
        END IF;

        IF a->>'action' IN ('add', 'remove', 'removeAll') THEN
            PERFORM broadcast.member(
                CASE a->>'action' WHEN 'add' THEN 2 ELSE 3 END, h,
                CASE a->>'action' WHEN 'removeAll' THEN NULL
                                  ELSE coalesce(a->>'groupName', '') END,
                a->>'connectionId',
                CASE WHEN coalesce(a->>'connectionId', '') = ''
                     THEN a->>'userId' END,
                make_interval(secs => (a->>'ttl')::double precision), 4);

        ELSIF a->>'action' = 'close' THEN
            PERFORM broadcast.shut(h, a->>'connectionId', a->>'reason', 4);

        ELSIF a ? 'action' THEN
            RAISE EXCEPTION 'unknown action: %', a->>'action'
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = 'add, remove, removeAll, close, or a message with target and arguments';

        ELSE
            PERFORM broadcast.send(h,
                CASE WHEN coalesce(a->>'connectionId', '') <> '' THEN 3
                     WHEN coalesce(a->>'userId', '') <> '' THEN 2
                     WHEN coalesce(a->>'groupName', '') <> '' THEN 1
                     ELSE 0 END::smallint,
                coalesce(nullif(a->>'connectionId', ''),
                         nullif(a->>'userId', ''), a->>'groupName'),
                a->>'target', coalesce(a->'arguments', '[]'), '{}',
                4::smallint);
        END IF;
    END LOOP;

    RETURN n;
END
$$;

COMMENT ON FUNCTION broadcast.act(text, jsonb) IS
'Stages actions: an object, an array, or {"actions": …}; those without a hub of their own go to the hub given';


--
-- What the module calls: the role of who calls
--
-- With `role_claim` functions run under the role that the caller's token names.
-- These are invoker functions, because the role cannot be set inside of one
-- that is SECURITY DEFINER, and nothing of the schema is called while another
-- role is set: it needs no right here.  The role is put back for the session,
-- not for the transaction alone, since a function may have done as much.  The
-- names of the settings, and that the claims get a member `role`, are
-- PostgREST's.
--

CREATE OR REPLACE FUNCTION broadcast.unauthorized(why text, role text,
    role_claim text, proc oid) RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    function text;
    message text;
    hint text := '';
BEGIN
    SELECT pg_catalog.format('%I.%I', n.nspname, p.proname) INTO function
      FROM pg_catalog.pg_proc p
      JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
     WHERE p.oid = proc;

    function := coalesce(function, '');

    IF why = 'claim' THEN
        message := pg_catalog.format('the claim "%s" names no role, and there is no default',
                                     role_claim);
    ELSIF why = 'role' THEN
        message := pg_catalog.format('the role "%s" of the claim "%s" may not be taken',
                                     role, role_claim);
        hint := pg_catalog.format('if clients may have it: GRANT %I TO %I',
                                  role, session_user);
    ELSE
        message := pg_catalog.format('the role "%s" may not execute %s',
                                     role, function);
        hint := pg_catalog.format('GRANT EXECUTE ON FUNCTION %s(%s) TO %I, and USAGE on its schema',
                    function,
                    pg_catalog.pg_get_function_identity_arguments(proc), role);
    END IF;

    RAISE EXCEPTION USING MESSAGE = message, HINT = hint,
        ERRCODE = 'insufficient_privilege', SCHEMA = 'broadcast',
        TABLE = function, CONSTRAINT = why;
END
$$;

COMMENT ON FUNCTION broadcast.unauthorized(text, text, text, oid) IS
'Internal: an error by which nginx knows that the caller may not call; why is claim, role or execute';


CREATE OR REPLACE FUNCTION broadcast.assume(event jsonb, role_claim text,
    role_default text, proc oid DEFAULT NULL) RETURNS text
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    claims jsonb := coalesce(nullif(event->'claims'::text, 'null'), '{}');
    prior text := pg_catalog.current_setting('role');
    wanted text;
    role oid;
BEGIN
    CASE coalesce(pg_catalog.jsonb_typeof(claims->role_claim), 'null')
        WHEN 'string' THEN wanted := claims->>role_claim;
        WHEN 'null' THEN wanted := role_default;
        ELSE wanted := NULL;
    END CASE;

    IF wanted IS NULL THEN
        PERFORM broadcast.unauthorized('claim', NULL, role_claim,
                                       proc);
    END IF;

    -- the module's own role is none that a client may have; from 16 on a
    -- membership may exclude SET ROLE

    IF wanted <> '' AND pg_catalog.octet_length(wanted) < 64 THEN
        role := pg_catalog.to_regrole(pg_catalog.quote_ident(wanted));
    END IF;

    IF role IS NULL OR wanted IN (session_user, current_user)
       OR NOT pg_catalog.pg_has_role(session_user, role,
                       CASE WHEN pg_catalog.current_setting(
                                     'server_version_num')::int >= 160000
                            THEN 'SET' ELSE 'MEMBER' END)
    THEN
        PERFORM broadcast.unauthorized('role', wanted, role_claim,
                                       proc);
    END IF;

    IF proc IS NOT NULL AND NOT (
           pg_catalog.has_function_privilege(wanted, proc, 'EXECUTE')
           AND pg_catalog.has_schema_privilege(wanted,
                   (SELECT p.pronamespace FROM pg_catalog.pg_proc p
                     WHERE p.oid = proc), 'USAGE'))
    THEN
        PERFORM broadcast.unauthorized('execute', wanted, role_claim,
                                       proc);
    END IF;

    PERFORM pg_catalog.set_config('request.jwt.claims',
                (claims || pg_catalog.jsonb_build_object('role', wanted))
                ::text, true),
            pg_catalog.set_config('request.headers',
                coalesce(event->>'headers'::text, '{}'), true),
            pg_catalog.set_config('request.method',
                coalesce(event->>'method'::text, ''), true),
            pg_catalog.set_config('request.path',
                coalesce('/' || (event->>'name'::text), '')
                || coalesce('/' || nullif(event->>'path'::text, ''), ''),
                true),
            pg_catalog.set_config('role', wanted, true);

    RETURN prior;
END
$$;

COMMENT ON FUNCTION broadcast.assume(jsonb, text, text, oid) IS
'Internal: takes the role that the claims of an event name until the transaction ends, with the settings that PostgREST has; returns the one before';


CREATE OR REPLACE FUNCTION broadcast.caller(context jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    IF context->'claims'::text <> 'null' THEN
        RETURN context;
    END IF;

    RETURN context || coalesce(broadcast.connection_known(
                                   context->>'connectionId'::text), '{}');
END
$$;

COMMENT ON FUNCTION broadcast.caller(jsonb) IS
'Internal: the context of a call with the claims, which are in it or in the row of its connection';


CREATE OR REPLACE FUNCTION broadcast.enter(context text, role_claim text,
    role_default text) RETURNS text
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    prior text;
BEGIN
    PERFORM pg_catalog.set_config('broadcast.call', context, true);

    IF role_claim IS NULL THEN
        RETURN NULL;
    END IF;

    prior := broadcast.assume(broadcast.caller(context::pg_catalog.jsonb),
                              role_claim, role_default);

    PERFORM pg_catalog.set_config('broadcast.role',
                pg_catalog.current_setting('role'), true);

    RETURN prior;
END
$$;

COMMENT ON FUNCTION broadcast.enter(text, text, text) IS
'nginx, before a stream: sets its context and the role of its caller; RESET ROLE takes that back';


DROP FUNCTION IF EXISTS broadcast.run(text, jsonb);
DROP FUNCTION IF EXISTS broadcast.notice(text, jsonb);
DROP FUNCTION IF EXISTS broadcast.ask(jsonb);
DROP FUNCTION IF EXISTS broadcast.answer(jsonb);
DROP FUNCTION IF EXISTS broadcast.dispatch(jsonb);
DROP FUNCTION IF EXISTS broadcast.sweep(int);


CREATE OR REPLACE FUNCTION broadcast.bound_oid(function text) RETURNS oid
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    name text[] := pg_catalog.parse_ident(function);
BEGIN
    -- one that nginx.conf names, perhaps by the search_path

    IF name[2] IS NULL THEN
        RETURN pg_catalog.to_regprocedure(pg_catalog.quote_ident(name[1])
                                          || '(pg_catalog.jsonb)');
    END IF;

    -- not to_regprocedure(): the role that asks needs no right to the schema,
    -- if it is another that calls

    RETURN (SELECT p.oid
              FROM pg_catalog.pg_proc p
              JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
             WHERE p.proname = name[2]::pg_catalog.name
               AND n.nspname = name[1]::pg_catalog.name
               AND p.pronargs = 1
               AND p.proargtypes[0] = 3802::pg_catalog.oid);
END
$$;

COMMENT ON FUNCTION broadcast.bound_oid(text) IS
'Internal: the function of a binding, or null if it was dropped';


CREATE OR REPLACE FUNCTION broadcast.run(function text, event jsonb,
    role_claim text DEFAULT NULL, role_default text DEFAULT NULL)
    RETURNS jsonb
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    proc oid := broadcast.bound_oid(function);
    ret oid;
    prior text := pg_catalog.current_setting('role');
    path text := pg_catalog.current_setting('search_path');
    result jsonb;
BEGIN
    IF proc IS NULL THEN
        RAISE EXCEPTION 'the bound function %(jsonb) does not exist', function
            USING ERRCODE = 'undefined_function', SCHEMA = 'broadcast',
                  TABLE = function,
                  HINT = 'create it again, or take it back: SELECT broadcast.unbind(null, ''-'')';
    END IF;

    SELECT p.prorettype INTO ret FROM pg_catalog.pg_proc p
     WHERE p.oid = proc;

    -- by the path of the role that asks, whoever calls

    IF pg_catalog.strpos(function, '.') = 0 THEN
        SELECT pg_catalog.format('%I.%I', n.nspname, p.proname) INTO function
          FROM pg_catalog.pg_proc p
          JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
         WHERE p.oid = proc;
    END IF;

    -- for broadcast.context(): all but what may be long

    PERFORM pg_catalog.set_config('broadcast.call',
                (event - '{body,bodyBase64,arguments}'::text[])::text, true);

    IF role_claim IS NOT NULL THEN
        PERFORM broadcast.assume(event, role_claim, role_default, proc);
    END IF;

    -- nginx looks for the mark in the context of an error: the function's
    -- name stands behind it

    IF ret = 'pg_catalog.void'::pg_catalog.regtype::pg_catalog.oid THEN
        EXECUTE pg_catalog.format('SELECT /* broadcast.run */ %s($1)',
                                  function)
          USING event;
    ELSE
        EXECUTE pg_catalog.format('SELECT /* broadcast.run */ %s($1)::pg_catalog.jsonb',
                                  function)
           INTO result USING event;
    END IF;

    -- another may be set for good, and the next call has this session

    IF pg_catalog.current_setting('role') OPERATOR(pg_catalog.<>) prior THEN
        PERFORM pg_catalog.set_config('role', prior, false);
    END IF;

    IF pg_catalog.current_setting('search_path') OPERATOR(pg_catalog.<>) path
    THEN
        PERFORM pg_catalog.set_config('search_path', path, false);
    END IF;

    RETURN result;
END
$$;

COMMENT ON FUNCTION broadcast.run(text, jsonb, text, text) IS
'Internal: calls a bound function with an event, as the role that asks, or as the one that the claims of the event name';


CREATE OR REPLACE FUNCTION broadcast.bound(kind text, hub text, event text)
RETURNS TABLE (function text, of_hub text, role text)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT b.function, b.hub, b.role
      FROM broadcast.binding b
     WHERE b.kind = $1
       AND ($1 IN ('http', 'timer', 'after')
            OR b.hub IS NULL OR b.hub = lower($2))
       AND (b.event IS NULL
            OR lower(b.event COLLATE "C") = lower($3 COLLATE "C")
            OR $1 IN ('connect', 'connected', 'disconnected'))
     ORDER BY b.event IS NULL, b.hub IS NULL, b.function, b.event;
END
$$;

COMMENT ON FUNCTION broadcast.bound(text, text, text) IS
'Internal: the functions of an event, the most particular first';


CREATE OR REPLACE FUNCTION broadcast.notice(kind text, event jsonb,
    role_claim text DEFAULT NULL, role_default text DEFAULT NULL)
    RETURNS jsonb
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    b record;
    result jsonb;
    failed jsonb := '[]';
    state text; message text; detail text; hint text; context text;
    place text; why text;
BEGIN
    FOR b IN SELECT * FROM broadcast.bound(kind, event->>'hub'::text, NULL)
    LOOP
        BEGIN
            result := broadcast.run(b.function, event, role_claim,
                                    role_default);
            PERFORM broadcast.act(event->>'hub'::text, result);

            -- what would fail at the commit, and take the event with it,
            -- fails here; the next function may defer again

            SET CONSTRAINTS ALL IMMEDIATE;
            SET CONSTRAINTS ALL DEFERRED;

        EXCEPTION WHEN others OR query_canceled OR assert_failure THEN
            GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE,
                message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
                hint = PG_EXCEPTION_HINT, context = PG_EXCEPTION_CONTEXT,
                place = SCHEMA_NAME, why = CONSTRAINT_NAME;

            PERFORM broadcast.error_add(kind, b.function, NULL,
                        event->>'hub'::text, event->>'connectionId'::text,
                        state, message, detail, hint, context, 1);

            failed := failed || pg_catalog.jsonb_build_object(
                'function', b.function, 'sqlstate', state,
                'message', message, 'hint', hint, 'unauthorized',
                state = '42501' AND place = 'broadcast'
                AND why IN ('claim', 'role', 'execute'));

            -- the time is over, and nothing would end the next one

            EXIT WHEN state = '57014';
        END;
    END LOOP;

    IF failed = '[]' THEN
        RETURN NULL;
    END IF;

    RETURN pg_catalog.jsonb_build_object('errors', failed);
END
$$;

COMMENT ON FUNCTION broadcast.notice(text, jsonb, text, text) IS
'Internal: calls the functions of connected or disconnected, each in a sub-transaction of its own, and stages their actions';


CREATE OR REPLACE FUNCTION broadcast.opinion(answer jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN jsonb_typeof($1) <> 'object' THEN NULL
                WHEN $1->'refuse' IN ('null', 'false') THEN $1 - 'refuse'
                ELSE $1 END
$$;

COMMENT ON FUNCTION broadcast.opinion(jsonb) IS
'Internal: what a connect function says; a refusal that is null or false is none';


CREATE OR REPLACE FUNCTION broadcast.ask(event jsonb,
    role_claim text DEFAULT NULL, role_default text DEFAULT NULL)
    RETURNS jsonb
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    b record;
    result jsonb;
    answer jsonb := '{}';
BEGIN
    IF event ? 'function'::text THEN
        RETURN broadcast.opinion(broadcast.run(event->>'function'::text,
                                               event - 'function'::text,
                                               role_claim, role_default));
    END IF;

    FOR b IN SELECT * FROM broadcast.bound('connect', event->>'hub'::text,
                                           NULL)
    LOOP
        result := broadcast.opinion(broadcast.run(b.function, event,
                                                  role_claim, role_default));

        IF result ? 'refuse'::text THEN
            RETURN result;
        END IF;

        IF result IS NOT NULL THEN
            answer := answer || (result - 'groups'::text)
                || pg_catalog.jsonb_build_object('groups',
                       coalesce(answer->'groups'::text, '[]')
                       || coalesce(result->'groups'::text, '[]'));
        END IF;
    END LOOP;

    RETURN nullif(answer, '{}');
END
$$;

COMMENT ON FUNCTION broadcast.ask(jsonb, text, text) IS
'Internal: asks the connect functions; the first refusal counts, groups add up';


CREATE OR REPLACE FUNCTION broadcast.answer(event jsonb,
    role_claim text DEFAULT NULL, role_default text DEFAULT NULL)
    RETURNS jsonb
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    b record;
    kind text := event->>'kind'::text;
    result jsonb;
BEGIN
    SELECT * INTO b
      FROM broadcast.bound(kind, event->>'hub'::text, event->>'name'::text)
     LIMIT 1;

    -- an upload of the second in which it was unbound

    IF NOT FOUND AND kind = 'after' THEN
        RETURN NULL;
    END IF;

    IF NOT FOUND THEN
        RAISE EXCEPTION 'no % function is bound for %', kind,
                event->>'name'::text
            USING ERRCODE = 'undefined_function';
    END IF;

    -- nginx looks for it in the token, if it knows the binding: not when it is
    -- newer than what nginx has read, nor when they are too many for the zone

    IF b.role <> '' AND b.role IS DISTINCT FROM event->>'role'::text THEN
        RAISE EXCEPTION USING
            MESSAGE = pg_catalog.format('%s needs the role "%s", which nginx did not ask for',
                                        b.function, b.role),
            HINT = 'it was bound just now, or there are too many bindings for broadcast_zone',
            ERRCODE = 'insufficient_privilege', SCHEMA = 'broadcast',
            TABLE = b.function, CONSTRAINT = 'role';
    END IF;

    result := broadcast.run(b.function, event - 'role'::text, role_claim,
                            role_default);

    IF pg_catalog.jsonb_typeof(result) = 'object' THEN
        IF result ? 'actions'::text THEN
            PERFORM broadcast.act(coalesce(b.of_hub, event->>'hub'::text),
                                  result->'actions'::text);
            -- where nothing else is said there is nothing to answer
            RETURN CASE WHEN kind = 'http'
                        THEN nullif(result - 'actions'::text, '{}')
                        ELSE result - 'actions'::text END;
        END IF;

        IF kind <> 'http' THEN
            PERFORM broadcast.act(coalesce(b.of_hub, event->>'hub'::text),
                                  result);
            RETURN NULL;
        END IF;

    ELSIF pg_catalog.jsonb_typeof(result) = 'array' AND kind <> 'http' THEN
        PERFORM broadcast.act(coalesce(b.of_hub, event->>'hub'::text), result);
        RETURN NULL;
    END IF;

    RETURN result;
END
$$;

COMMENT ON FUNCTION broadcast.answer(jsonb, text, text) IS
'Internal: calls the one function of an http or after event and stages its actions';


CREATE OR REPLACE FUNCTION broadcast.dispatch(event jsonb,
    role_claim text DEFAULT NULL, role_default text DEFAULT NULL)
    RETURNS jsonb
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    kind text := event->>'kind'::text;
    gone jsonb;
BEGIN
    event := event - 'kind'::text
             || pg_catalog.jsonb_build_object('kind', kind);

    IF kind = 'connected' THEN
        IF NOT broadcast.connection_add(event) THEN
            RETURN CASE WHEN broadcast.connection_taken(event)
                        THEN '{"taken": true}'::pg_catalog.jsonb END;
        END IF;

        RETURN broadcast.notice(kind, event - 'groups'::text, role_claim,
                                role_default);
    END IF;

    IF kind = 'disconnected' THEN
        gone := broadcast.connection_remove(event);

        IF gone IS NULL THEN
            RETURN '{"unknown": true}'::pg_catalog.jsonb;
        END IF;

        -- again and again it was not only an exception: it is given up

        IF event ? 'failed'::text THEN
            PERFORM broadcast.error_add(kind,
                (SELECT pg_catalog.string_agg(b.function, ', ')
                   FROM broadcast.bound(kind, event->>'hub'::text, NULL) b),
                NULL, event->>'hub'::text, event->>'connectionId'::text,
                event->>'failed'::text,
                'not called any more: each try was cancelled or failed',
                NULL, 'is it slower than statement_timeout?', NULL, 1);

            RETURN NULL;
        END IF;

        RETURN broadcast.notice(kind,
                                gone || (event - 'owed'::text - 'node'::text),
                                role_claim, role_default);
    END IF;

    IF kind = 'connect' THEN
        RETURN broadcast.ask(event, role_claim, role_default);
    END IF;

    IF kind = 'timer' THEN
        RETURN broadcast.tick((event->>'id'::text)::bigint);
    END IF;

    IF kind IN ('http', 'after') THEN
        RETURN broadcast.answer(event, role_claim, role_default);
    END IF;

    RAISE EXCEPTION 'unknown kind of event: %', kind
        USING ERRCODE = 'invalid_parameter_value';
END
$$;

COMMENT ON FUNCTION broadcast.dispatch(jsonb, text, text) IS
'nginx''s one entry to bound functions: calls what is bound for the event, under the role that its claims name if role_claim is given, and stages its actions in the same transaction';


DROP FUNCTION IF EXISTS broadcast.sweep(int, text, text);
DROP FUNCTION IF EXISTS broadcast.orphans(int);

CREATE OR REPLACE FUNCTION broadcast.sweep(lim int DEFAULT 100,
    role_claim text DEFAULT NULL, role_default text DEFAULT NULL,
    at timestamptz DEFAULT pg_catalog.clock_timestamp()) RETURNS int
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    c record;
    result jsonb;
    n int := 0;
BEGIN
    FOR c IN SELECT * FROM broadcast.orphans(lim, at) LOOP
        result := broadcast.dispatch(pg_catalog.jsonb_build_object(
                    'kind', 'disconnected', 'connectionId', c.connection_id,
                    'owed', false, 'error', 'node lost'), role_claim,
                    role_default);
        n := n + 1;

        -- the time is that of all of them; nginx tries again with less

        IF lim > 1 AND result->'errors'::text @> '[{"sqlstate": "57014"}]' THEN
            RAISE EXCEPTION 'no time for % connections', lim
                USING ERRCODE = 'query_canceled';
        END IF;
    END LOOP;

    RETURN n;
END
$$;

COMMENT ON FUNCTION broadcast.sweep(int, text, text, timestamptz) IS
'The leading relay: calls disconnected for connections of nodes that were not heard of for their lease before `at`; returns how many';


CREATE OR REPLACE FUNCTION broadcast.orphans(lim int, at timestamptz)
RETURNS TABLE (connection_id text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    lease interval;
BEGIN
    SELECT s.value::interval INTO lease FROM broadcast.setting s
     WHERE s.name = 'node_lease';

    DELETE FROM broadcast.node n
     WHERE n.seen_at < $2 - lease
       AND NOT EXISTS (SELECT FROM broadcast.connections c
                        WHERE c.node = n.name);

    DELETE FROM broadcast.gone g
     WHERE g.at < clock_timestamp() - interval '1 day';

    RETURN QUERY
    SELECT c.connection_id FROM broadcast.connections c
     WHERE NOT EXISTS (SELECT FROM broadcast.node n
                        WHERE n.name = c.node
                          AND n.seen_at >= $2 - lease)
     ORDER BY c.connected_at LIMIT lim;
END
$$;

COMMENT ON FUNCTION broadcast.orphans(int, timestamptz) IS
'Internal: connections whose node was not heard of for its lease before `at`; forgets tombstones that are old enough';


--
-- Timers
--
-- The worker that leads asks timers() when something is due, as a difference
-- to the server's own clock, and calls dispatch() for one timer at a time,
-- which comes to tick().  The row's lock, the function and the next due time
-- are one transaction: whoever else tries meanwhile passes the row over, and
-- of a tick that was broken off nothing remains, so it is run again.
--

CREATE OR REPLACE FUNCTION broadcast.timer_check(every interval)
    RETURNS void
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF every IS NULL OR every <= interval '0' THEN
        RAISE EXCEPTION 'a timer needs every, an interval above 0'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;

    IF every < interval '100 milliseconds' THEN
        RAISE EXCEPTION 'a timer of % is too fast', every
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'every may be 100 milliseconds or more';
    END IF;

    IF every > interval '100 years' THEN
        RAISE EXCEPTION 'a timer of % is too slow', every
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'every may be 100 years or less';
    END IF;

    -- '1 month -30 days' is above 0, and goes backwards in February

    IF extract(years FROM every) < 0 OR extract(months FROM every) < 0
       OR extract(days FROM every) < 0
       OR every - date_trunc('day', every) < interval '0'
    THEN
        RAISE EXCEPTION 'a timer needs an interval without negative parts'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
END
$$;

COMMENT ON FUNCTION broadcast.timer_check(interval) IS
'Internal: an error for what no timer can run by';


CREATE OR REPLACE FUNCTION broadcast.timer_next(anchor timestamptz,
    every interval, after timestamptz) RETURNS timestamptz
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
DECLARE
    step double precision := extract(epoch FROM every);
    n bigint := greatest(0, floor(extract(epoch FROM after - anchor)
                                  / step) - 1);
    due timestamptz;
BEGIN
    -- A day is 24 hours.  Months are counted from the anchor, not from each
    -- other, or one that began on a 31st would end up on the 28ths.

    IF extract(years FROM every) <> 0 OR extract(months FROM every) <> 0 THEN
        n := greatest(0, n - n / 10);

        LOOP
            n := n + 1;
            due := anchor + every * n;
            EXIT WHEN due > after;
        END LOOP;

        RETURN due;
    END IF;

    LOOP
        n := n + 1;
        due := anchor + make_interval(secs => step * n);
        EXIT WHEN due > after;
    END LOOP;

    RETURN due;
END
$$;

COMMENT ON FUNCTION broadcast.timer_next(timestamptz, interval, timestamptz)
IS 'Internal: the first tick behind a time: anchor + n * every, n > 0';


CREATE OR REPLACE FUNCTION broadcast.timer_bind(function text, hub text,
    name text, every interval) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    now timestamptz := clock_timestamp();
BEGIN
    -- Once more with the same interval is a deployment: the grid stays, and
    -- nobody waits for a tick that is running.

    INSERT INTO broadcast.timer_state (function, hub, name, every, anchor,
                                       next_due)
    VALUES (function, hub, name, every, now,
            broadcast.timer_next(now, every, now))
        ON CONFLICT DO NOTHING;

    IF NOT FOUND THEN
        UPDATE broadcast.timer_state t
           SET every = timer_bind.every, anchor = now,
               next_due = broadcast.timer_next(now, timer_bind.every, now)
         WHERE t.function = timer_bind.function
           AND t.hub IS NOT DISTINCT FROM timer_bind.hub
           AND t.name = timer_bind.name
           AND t.every::text <> timer_bind.every::text;
    END IF;
END
$$;

COMMENT ON FUNCTION broadcast.timer_bind(text, text, text, interval) IS
'Internal: a new timer, or one with another interval: its first tick is one interval from now';


CREATE OR REPLACE FUNCTION broadcast.timer_unbind() RETURNS void
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
    DELETE FROM broadcast.timer_state t
     WHERE NOT EXISTS (SELECT FROM broadcast.binding b
                        WHERE b.kind = 'timer' AND b.function = t.function
                          AND b.hub IS NOT DISTINCT FROM t.hub
                          AND b.event = t.name)
$$;

COMMENT ON FUNCTION broadcast.timer_unbind() IS
'Internal: what is kept of timers goes with their bindings';


CREATE OR REPLACE FUNCTION broadcast.timers(lim int)
RETURNS TABLE (id bigint, wait bigint)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT t.id,
           ceil(extract(epoch FROM t.next_due - clock_timestamp()) * 1000)
           ::bigint
      FROM broadcast.timer_state t
     ORDER BY t.next_due, t.id LIMIT $1
$$;

COMMENT ON FUNCTION broadcast.timers(int) IS
'The leading relay: the timers that are due first, and in how many milliseconds each is; 0 or less: now';


CREATE OR REPLACE FUNCTION broadcast.timer_claim(id bigint)
RETURNS TABLE (function text, hub text, name text, due timestamptz)
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT t.function, t.hub, t.name, t.next_due
      FROM broadcast.timer_state t
     WHERE t.id = $1 AND t.next_due <= clock_timestamp()
       FOR UPDATE SKIP LOCKED
$$;

COMMENT ON FUNCTION broadcast.timer_claim(bigint) IS
'Internal: takes a timer that is due for this transaction; no row if it is not due, or another one has it';


CREATE OR REPLACE FUNCTION broadcast.timer_ran(id bigint,
    started timestamptz, error text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    now timestamptz := clock_timestamp();
BEGIN
    -- what was due meanwhile, or in an outage before, is not made up for

    UPDATE broadcast.timer_state t
       SET next_due = broadcast.timer_next(t.anchor, t.every, now),
           last_run = started, duration = now - started,
           last_error = left(error, 8192),
           runs = t.runs + 1,
           failures = t.failures + CASE WHEN error IS NULL THEN 0 ELSE 1 END
     WHERE t.id = timer_ran.id;
END
$$;

COMMENT ON FUNCTION broadcast.timer_ran(bigint, timestamptz, text) IS
'Internal: a tick was run; the next one is the first that is not over';


CREATE OR REPLACE FUNCTION broadcast.tick(id bigint) RETURNS jsonb
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    t record;
    event jsonb;
    started timestamptz := pg_catalog.clock_timestamp();
    state text; message text; detail text; hint text; context text;
BEGIN
    SELECT * INTO t FROM broadcast.timer_claim(id);

    IF NOT FOUND THEN
        RETURN '{"busy": true}'::pg_catalog.jsonb;
    END IF;

    event := pg_catalog.jsonb_build_object('kind', 'timer', 'name', t.name,
        'due', pg_catalog.to_char(t.due AT TIME ZONE 'UTC',
                                  'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'));

    IF t.hub IS NOT NULL THEN
        event := event || pg_catalog.jsonb_build_object('hub', t.hub);
    END IF;

    -- what would fail at the commit fails here, where it can be told

    BEGIN
        PERFORM broadcast.act(t.hub, broadcast.run(t.function, event));
        SET CONSTRAINTS ALL IMMEDIATE;
        PERFORM broadcast.timer_ran(id, started, NULL);

    EXCEPTION WHEN others OR query_canceled OR assert_failure THEN
        GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE,
            message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
            hint = PG_EXCEPTION_HINT, context = PG_EXCEPTION_CONTEXT;

        PERFORM broadcast.timer_ran(id, started, state || ': ' || message);
        PERFORM broadcast.error_add('timer', t.function, t.name, t.hub, NULL,
                    state, message, detail, hint, context, 1);

        RETURN pg_catalog.jsonb_build_object('errors',
            pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_object(
                'function', t.function, 'sqlstate', state,
                'message', message, 'hint', hint)));
    END;

    RETURN NULL;
END
$$;

COMMENT ON FUNCTION broadcast.tick(bigint) IS
'Internal: runs a timer if it is due and nobody else does; also a tick that fails or takes too long is one that was run';


--
-- Exposed schemas: their functions are methods that clients invoke
--

CREATE OR REPLACE FUNCTION broadcast.expose(hub text, schema_name text)
    RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    ns record;
    schemas oid[];
    pair record;
BEGIN
    hub := broadcast.checked_hub(hub);

    SELECT n.oid, n.nspname, n.nspacl, n.nspowner INTO ns
      FROM pg_namespace n WHERE n.nspname = schema_name;

    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no schema %',
                coalesce(quote_literal(schema_name), 'null')
            USING ERRCODE = 'invalid_schema_name';
    END IF;

    IF schema_name IN ('public', 'broadcast', 'information_schema')
       OR schema_name LIKE 'pg\_%'
    THEN
        RAISE EXCEPTION 'the schema % cannot be exposed', schema_name
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'make a schema that holds the methods of the hub and nothing else';
    END IF;

    IF EXISTS (SELECT FROM aclexplode(ns.nspacl) a
                WHERE a.grantee = 0 AND a.privilege_type = 'CREATE')
    THEN
        RAISE EXCEPTION 'the schema % cannot be exposed: PUBLIC may create functions in it',
                schema_name
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC',
                                schema_name);
    END IF;

    PERFORM broadcast.bindings_lock();

    schemas := ARRAY(SELECT n.oid FROM broadcast.exposed e
                       JOIN pg_namespace n ON n.nspname = e.schema
                      WHERE e.hub = hub);

    SELECT least(a.oid, b.oid)::regprocedure AS a,
           greatest(a.oid, b.oid)::regprocedure AS b
      INTO pair
      FROM pg_proc a
      JOIN pg_proc b ON lower(a.proname::text COLLATE "C")
                        = lower(b.proname::text COLLATE "C")
                        AND a.pronargs = b.pronargs AND a.oid <> b.oid
     WHERE a.oid IN (SELECT broadcast.callable(ARRAY[ns.oid]))
       AND b.oid IN (SELECT broadcast.callable(schemas || ns.oid))
     ORDER BY 1, 2 LIMIT 1;

    IF FOUND THEN
        RAISE EXCEPTION '% and % have the same name and as many arguments',
                pair.a, pair.b
            USING ERRCODE = 'ambiguous_function',
                  HINT = 'names of methods ignore case, and overloads are told apart by the number of their arguments';
    END IF;

    INSERT INTO broadcast.exposed (hub, schema) VALUES (hub, schema_name)
        ON CONFLICT DO NOTHING;

    IF FOUND THEN
        PERFORM broadcast.bindings_changed();
    END IF;
END
$$;

COMMENT ON FUNCTION broadcast.expose(text, text) IS
'Makes the functions of a schema methods of a hub: clients invoke them by name';


CREATE OR REPLACE FUNCTION broadcast.unexpose(hub text,
    schema_name text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM broadcast.bindings_lock();

    DELETE FROM broadcast.exposed e
     WHERE (unexpose.hub IS NULL OR e.hub = lower(unexpose.hub COLLATE "C"))
       AND (unexpose.schema_name IS NULL
            OR e.schema = unexpose.schema_name);

    IF FOUND THEN
        PERFORM broadcast.bindings_changed();
    END IF;
END
$$;

COMMENT ON FUNCTION broadcast.unexpose(text, text) IS
'The functions of a schema are methods of a hub no more; null matches any hub, any schema';


-- Types.  A shape says what of a value is bytes or a time: "bytes", "time",
-- [shape of the elements], {"member": shape}; null: nothing is.

CREATE OR REPLACE FUNCTION broadcast.type_name(type oid) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT format('%I.%I', n.nspname, t.typname)
              FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
             WHERE t.oid = $1);
END
$$;

COMMENT ON FUNCTION broadcast.type_name(oid) IS
'Internal: a type by its qualified name, whatever the search_path';


CREATE OR REPLACE FUNCTION broadcast.base_type(INOUT type oid,
    OUT kind "char", OUT element oid)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    base oid;
BEGIN
    LOOP
        SELECT t.typtype, t.typbasetype, e.oid INTO kind, base, element
          FROM pg_type t
          LEFT JOIN pg_type e ON e.oid = t.typelem AND e.typarray = t.oid
         WHERE t.oid = type;

        EXIT WHEN kind IS DISTINCT FROM 'd';
        type := base;
    END LOOP;
END
$$;

COMMENT ON FUNCTION broadcast.base_type(oid) IS
'Internal: what is under a domain, its typtype, and the type of its elements if it is an array';


CREATE OR REPLACE FUNCTION broadcast.type_columns(type oid)
RETURNS TABLE (name text, column_type oid)
LANGUAGE sql STABLE
AS $$
    SELECT a.attname::text, a.atttypid
      FROM pg_catalog.pg_type t JOIN pg_catalog.pg_attribute a ON a.attrelid = t.typrelid
     WHERE t.oid = $1 AND a.attnum > 0 AND NOT a.attisdropped
     ORDER BY a.attnum
$$;

COMMENT ON FUNCTION broadcast.type_columns(oid) IS
'Internal: the columns of a composite type';


CREATE OR REPLACE FUNCTION broadcast.result_columns(proc oid)
RETURNS TABLE (name text, column_type oid)
LANGUAGE sql STABLE
AS $$
    SELECT coalesce(nullif(p.proargnames[u.i], ''),
                    'column' || row_number() OVER (ORDER BY u.i)), u.type
      FROM pg_catalog.pg_proc p,
           ROWS FROM (pg_catalog.unnest(p.proallargtypes),
                      pg_catalog.unnest(p.proargmodes))
           WITH ORDINALITY u(type, mode, i)
     WHERE p.oid = $1 AND u.mode IN ('o', 'b', 't')
     ORDER BY u.i
$$;

COMMENT ON FUNCTION broadcast.result_columns(oid) IS
'Internal: the columns of a function with OUT parameters or RETURNS TABLE';


CREATE OR REPLACE FUNCTION broadcast.shape(type oid) RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    b record;
    inner_shape jsonb;
BEGIN
    b := broadcast.base_type(type);

    IF b.type = 'bytea'::regtype THEN
        RETURN '"bytes"';
    END IF;

    IF b.type = 'timestamptz'::regtype THEN
        RETURN '"time"';
    END IF;

    IF b.element IS NOT NULL THEN
        inner_shape := broadcast.shape(b.element);

        RETURN CASE WHEN inner_shape IS NOT NULL
                    THEN jsonb_build_array(inner_shape) END;
    END IF;

    IF b.kind = 'c' THEN
        SELECT jsonb_object_agg(c.name, c.s) INTO inner_shape
          FROM (SELECT t.name, broadcast.shape(t.column_type) AS s
                  FROM broadcast.type_columns(b.type) t) c
         WHERE c.s IS NOT NULL;
    END IF;

    RETURN inner_shape;
END
$$;

COMMENT ON FUNCTION broadcast.shape(oid) IS
'Internal: which parts of a value of the type are bytes or times, or null';


CREATE OR REPLACE FUNCTION broadcast.has_bytes(shape jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE
AS $$
    SELECT coalesce(pg_catalog.jsonb_path_exists($1,
                        '$.** ? (@ == "bytes")'), false)
$$;

COMMENT ON FUNCTION broadcast.has_bytes(jsonb) IS
'Internal: whether to_json() alone would not do, for it writes bytea in hex';


CREATE OR REPLACE FUNCTION broadcast.encoded(x text, type oid,
    proc oid DEFAULT NULL) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    b record;
    item text;
    list text;
BEGIN
    b := broadcast.base_type(type);

    IF b.type = 'bytea'::regtype THEN
        RETURN format('pg_catalog.translate(pg_catalog.encode(%s, ''base64''), E''\n'', '''')',
                      x);
    END IF;

    -- rows of an array are taken one by one: it has one or two dimensions

    IF b.element IS NOT NULL AND broadcast.has_bytes(broadcast.shape(type))
    THEN
        item := broadcast.encoded('u.e', b.element);
        list := 'coalesce((SELECT pg_catalog.json_agg(%s) FROM (SELECT pg_catalog.unnest(%s) AS e) u), ''[]'')';

        RETURN format('CASE WHEN %1$s IS NULL THEN NULL'
                      ' WHEN pg_catalog.array_ndims(%1$s) OPERATOR(pg_catalog.=) 2'
                      ' THEN (SELECT pg_catalog.json_agg(%2$s) FROM pg_catalog.generate_subscripts(%1$s, 1) i)'
                      ' ELSE %3$s END', x,
                      format(list, item, format('(%s)[i:i]', x)),
                      format(list, item, x));
    END IF;

    IF proc IS NOT NULL
       OR b.kind = 'c' AND broadcast.has_bytes(broadcast.shape(type))
    THEN
        SELECT string_agg(format('%s AS %I',
                                 broadcast.encoded(format('(%s).%I', x,
                                                          c.name),
                                                   c.column_type),
                                 c.name), ', ')
          INTO list
          FROM (SELECT * FROM broadcast.result_columns(proc)
                UNION ALL
                SELECT * FROM broadcast.type_columns(b.type)
                 WHERE proc IS NULL) c;

        RETURN format('CASE WHEN %s IS DISTINCT FROM NULL THEN (SELECT pg_catalog.to_json(c.*) FROM (SELECT %s) c) END',
                      x, list);
    END IF;

    RETURN x;
END
$$;

COMMENT ON FUNCTION broadcast.encoded(text, oid, oid) IS
'Internal: the SQL expression that makes of x, a column of the type, what to_json() writes with bytes in base64';


CREATE OR REPLACE FUNCTION broadcast.callable(schemas oid[])
RETURNS SETOF oid
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH near AS MATERIALIZED (
        SELECT p.oid, p.prorettype, p.proargtypes FROM pg_proc p
         WHERE p.pronamespace = ANY ($1) AND p.prokind = 'f'
           AND left(p.proname, 1) <> '_'
    )
    SELECT p.oid
      FROM near p JOIN pg_type r ON r.oid = p.prorettype
     WHERE (r.typtype <> 'p'
            OR p.prorettype IN ('void'::regtype, 'record'::regtype))
       AND NOT EXISTS (SELECT FROM unnest(p.proargtypes) u(type)
                         JOIN pg_type a ON a.oid = u.type
                        WHERE a.typtype = 'p')
       AND NOT EXISTS (SELECT FROM pg_depend d
                        WHERE d.classid = 'pg_proc'::regclass
                          AND d.objid = p.oid AND d.deptype = 'e')
$$;

COMMENT ON FUNCTION broadcast.callable(oid[]) IS
'Internal: the functions of schemas that are methods where these are exposed: no procedures, aggregates, trigger or polymorphic functions, members of extensions, names with a leading _';


CREATE OR REPLACE FUNCTION broadcast.exposures()
RETURNS TABLE (hub text, schema text)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$ SELECT e.hub, e.schema FROM broadcast.exposed e $$;

COMMENT ON FUNCTION broadcast.exposures() IS
'Internal: what broadcast.expose() was told';


-- Arguments.  An error in one of these is one of the caller's: it is known by
-- the first line of its context.

CREATE OR REPLACE FUNCTION broadcast.argument(value text, sample anyelement)
    RETURNS anyelement
LANGUAGE plpgsql STABLE
AS $$ BEGIN RETURN value; END $$;

COMMENT ON FUNCTION broadcast.argument(text, anyelement) IS
'Internal: an argument of a method as a value of the sample''s type';


CREATE OR REPLACE FUNCTION broadcast.argument_hex(value text, shape jsonb)
    RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    j jsonb;
BEGIN
    IF value IS NULL THEN
        RETURN NULL;
    END IF;

    IF shape = '"bytes"' THEN
        RETURN '\x' || encode(decode(value, 'base64'), 'hex');
    END IF;

    j := value;

    IF jsonb_typeof(j) = 'array' THEN
        RETURN (SELECT coalesce(jsonb_agg(broadcast.argument_part(e.v, s.v)
                                          ORDER BY e.i), '[]')
                  FROM jsonb_array_elements(j) WITH ORDINALITY e(v, i),
                       (SELECT CASE jsonb_typeof(shape) WHEN 'array'
                               THEN shape->0 ELSE shape END AS v) s);
    END IF;

    IF jsonb_typeof(j) = 'object' AND jsonb_typeof(shape) = 'object' THEN
        RETURN (SELECT coalesce(jsonb_object_agg(e.key,
                           broadcast.argument_part(e.value, shape->e.key)),
                           '{}')
                  FROM jsonb_each(j) e);
    END IF;

    RETURN value;
END
$$;

COMMENT ON FUNCTION broadcast.argument_hex(text, jsonb) IS
'Internal: an argument, or its JSON text, with base64 turned into PostgreSQL''s hex where the shape has bytes';


CREATE OR REPLACE FUNCTION broadcast.argument_part(value jsonb, shape jsonb)
    RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF shape IS NULL OR jsonb_typeof(value) = 'null' THEN
        RETURN value;
    END IF;

    IF shape = '"bytes"' AND jsonb_typeof(value) = 'string' THEN
        RETURN to_jsonb(broadcast.argument_hex(value #>> '{}', shape));
    END IF;

    IF jsonb_typeof(value) IN ('array', 'object') THEN
        RETURN broadcast.argument_hex(value::text,
                                      CASE jsonb_typeof(value)
                                      WHEN 'array'
                                      THEN CASE jsonb_typeof(shape)
                                           WHEN 'array' THEN shape
                                           ELSE jsonb_build_array(shape) END
                                      ELSE shape END)::jsonb;
    END IF;

    RETURN value;
END
$$;

COMMENT ON FUNCTION broadcast.argument_part(jsonb, jsonb) IS
'Internal: a part of an argument for broadcast.argument_hex()';


CREATE OR REPLACE FUNCTION broadcast.argument_bytes(value text,
    sample anyelement) RETURNS anyelement
LANGUAGE plpgsql STABLE
AS $$ BEGIN RETURN pg_catalog.decode(value, 'base64'); END $$;

COMMENT ON FUNCTION broadcast.argument_bytes(text, anyelement) IS
'Internal: an argument that is bytes, in base64';


CREATE OR REPLACE FUNCTION broadcast.argument_is(value text, what text)
    RETURNS boolean
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    IF pg_catalog.json_typeof(value::pg_catalog.json)
       OPERATOR(pg_catalog.<>) what
    THEN
        RAISE EXCEPTION 'a JSON % is needed', what
            USING ERRCODE = 'invalid_text_representation';
    END IF;

    RETURN true;
END
$$;

COMMENT ON FUNCTION broadcast.argument_is(text, text) IS
'Internal: an error for JSON that is not what is needed';


CREATE OR REPLACE FUNCTION broadcast.argument_row(value text,
    sample anyelement) RETURNS anyelement
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    IF value IS NULL THEN
        RETURN NULL;
    END IF;

    PERFORM broadcast.argument_is(value, 'object');
    RETURN pg_catalog.json_populate_record(sample, value::pg_catalog.json);
END
$$;

COMMENT ON FUNCTION broadcast.argument_row(text, anyelement) IS
'Internal: an argument that is a JSON object as a row of the sample''s type';


CREATE OR REPLACE FUNCTION broadcast.argument_array(value text,
    sample anyarray, type text) RETURNS anyarray
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    IF value IS NULL THEN
        RETURN NULL;
    END IF;

    IF pg_catalog.json_typeof(value::pg_catalog.json) <> 'array'
       OR pg_catalog.json_typeof(value::pg_catalog.json->0) = 'array'
    THEN
        RETURN broadcast.argument_json(value, sample, type);
    END IF;

    RETURN ARRAY(SELECT e.v FROM pg_catalog.json_array_elements_text(
                                     value::pg_catalog.json) e(v));
END
$$;

COMMENT ON FUNCTION broadcast.argument_array(text, anyarray, text) IS
'Internal: an argument that is a JSON array of scalars as an array of the sample''s type';


CREATE OR REPLACE FUNCTION broadcast.argument_json(value text,
    sample anyelement, type text) RETURNS anyelement
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    EXECUTE format('SELECT r.v FROM json_to_record(json_build_object(''v'', $1::json)) AS r(v %s)',
                   type)
       INTO sample USING value;
    RETURN sample;

EXCEPTION WHEN others THEN
    RAISE EXCEPTION USING ERRCODE = SQLSTATE, MESSAGE = SQLERRM;
END
$$;

COMMENT ON FUNCTION broadcast.argument_json(text, anyelement, text) IS
'Internal: an argument that is a JSON array or object as an array or a row';


-- The statement of a method

CREATE OR REPLACE FUNCTION broadcast.argument_text(x text, type oid,
    form text, OUT letter text, OUT given text, OUT used text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    b record := broadcast.base_type(type);
    shape jsonb := broadcast.shape(type);
    name text := broadcast.type_name(type);
BEGIN
    letter := CASE WHEN b.element IS NOT NULL OR b.kind = 'c'
                        OR b.type IN ('json'::regtype, 'jsonb'::regtype)
                   THEN 'j' ELSE 't' END;

    -- given by the role that asks, used by the one that calls: the same,
    -- unless there is a role claim

    given := x || '::pg_catalog.text';

    IF broadcast.has_bytes(shape)
       AND NOT (form = 'plain' AND b.type = 'bytea'::regtype)
    THEN
        given := format('broadcast.argument_hex(%s, %L)', given,
                        shape::text);
    END IF;

    used := CASE form WHEN 'wrapped' THEN format('($2)[%s]',
                                                 substr(x, 2)::int - 1)
                      ELSE given END;

    IF type IN ('text'::regtype, 'json'::regtype)
       OR form <> 'plain' AND letter = 't'
    THEN
        used := format('%s::%s', used, name);

    ELSIF form <> 'plain' THEN
        used := format('(SELECT r.v FROM pg_catalog.json_to_record(pg_catalog.json_build_object(''v'', %s::pg_catalog.json)) AS r(v %s))',
                       used, name);

    ELSIF b.element IS NOT NULL
          AND (type <> b.type OR (broadcast.base_type(b.element)).kind = 'c'
               OR (broadcast.base_type(b.element)).type
                  IN ('json'::regtype, 'jsonb'::regtype))
    THEN
        used := format('broadcast.argument_json(%s, NULL::%s, %L)', used,
                       name, name);

    ELSIF b.element IS NOT NULL THEN
        used := format('broadcast.argument_array(%s, NULL::%s, %L)', used,
                       name, name);

    ELSE
        used := format('broadcast.%s(%s, NULL::%s)',
                       CASE WHEN b.kind = 'c' THEN 'argument_row'
                            WHEN b.type = 'bytea'::regtype
                            THEN 'argument_bytes'
                            ELSE 'argument' END, used, name);
    END IF;
END
$$;

COMMENT ON FUNCTION broadcast.argument_text(text, oid, text) IS
'Internal: how the parameter x of a statement becomes an argument of the type. form: plain; wrapped: in broadcast.call_as(); set: the role was set before';


CREATE OR REPLACE FUNCTION broadcast.argument_default(proc oid, n int)
    RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT format('(%s)::%s', pg_get_function_arg_default(p.oid, coalesce(
                      (SELECT a.place
                         FROM (SELECT m.i::int AS place,
                                      row_number() OVER (ORDER BY m.i) AS k
                                 FROM unnest(p.proargmodes)
                                      WITH ORDINALITY m(mode, i)
                                WHERE m.mode IN ('i', 'b', 'v')) a
                        WHERE a.k = n), n)),
                  broadcast.type_name(p.proargtypes[n - 1]))
      FROM pg_proc p WHERE p.oid = proc);
END
$$;

COMMENT ON FUNCTION broadcast.argument_default(oid, int) IS
'Internal: the default of the n-th argument that is given to a function';


-- Each function in a statement costs as much as a small call, so a role is
-- looked at only where it could have been set.  A context of null is that of a
-- function that can, by its declaration, neither ask for it nor send anything.

CREATE OR REPLACE FUNCTION broadcast.call_statement(context text,
    result text) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    own text := '';
BEGIN
    IF current_setting('is_superuser') = 'on'
       OR EXISTS (SELECT FROM pg_auth_members m
                   WHERE m.member = quote_ident(session_user)::regrole)
    THEN
        own := '(CURRENT_USER OPERATOR(pg_catalog.=) SESSION_USER OR pg_catalog.set_config(''role'', NULL, false) IS NOT NULL)';
    END IF;

    IF context IS NULL THEN
        -- two columns, as of all others: nginx of an older version reads both

        RETURN 'SELECT ' || result
               || CASE WHEN own = '' THEN ', NULL'
                       ELSE ', CASE WHEN ' || own || ' THEN false END' END;
    END IF;

    RETURN format('SELECT CASE WHEN pg_catalog.set_config(''broadcast.call'', %s, true) IS NOT NULL THEN %s END, CASE WHEN %spg_catalog.pg_current_xact_id_if_assigned() IS NULL THEN false ELSE broadcast.done_if(%1$s) END',
                  context, result,
                  CASE WHEN own = '' THEN '' ELSE own || ' AND ' END);
END
$$;

COMMENT ON FUNCTION broadcast.call_statement(text, text) IS
'Internal: sets the context, makes the result, takes back a role that was set for the session, tells whether something was staged: in the order of the columns. What wrote nothing has staged nothing. Without a context only the result, and the role';


-- version 4 had not the column plain; grants stay, else

DO $$
DECLARE
    old regprocedure;
BEGIN
    FOR old IN SELECT p.oid::regprocedure FROM pg_catalog.pg_proc p
                WHERE p.oid IN (
                      to_regprocedure('broadcast.methods(text, text)'),
                      to_regprocedure('broadcast.method_rows(oid, text, text)'))
                  AND NOT 'plain' = ANY (p.proargnames)
    LOOP
        EXECUTE 'DROP FUNCTION ' || old;
    END LOOP;
END
$$;

CREATE OR REPLACE FUNCTION broadcast.method_rows(proc oid, role_claim text,
    role_default text)
RETURNS TABLE (count int, rest boolean, arrays int, params text,
               stream boolean, cursor boolean, plain boolean, shape jsonb,
               defaults int, statement text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    p record;
    ret record;
    a record;
    form text := 'plain';
    record_of oid;
    letters text[] := '{}';
    given text[] := '{}';
    used text[] := '{}';
    isarray boolean[] := '{}';
    call text;
    result text;
    checks text;
BEGIN
    SELECT c.pronargs, c.pronargdefaults, c.provariadic, c.proretset,
           c.prorettype, c.provolatile, c.proargtypes::oid[] AS argtypes,
           format('%I.%I', n.nspname, c.proname) AS qualified
      INTO p
      FROM pg_proc c JOIN pg_namespace n ON n.oid = c.pronamespace
     WHERE c.oid = proc;

    ret := broadcast.base_type(p.prorettype);
    cursor := ret.type = 'refcursor'::regtype AND NOT p.proretset;
    stream := p.proretset OR cursor;

    -- to_json() costs as much as a small function: nginx quotes a text itself

    plain := ret.type IN ('text'::regtype, 'varchar'::regtype)
             AND NOT stream AND role_claim IS NULL;

    IF role_claim IS NOT NULL THEN
        form := CASE WHEN stream THEN 'set' ELSE 'wrapped' END;
    END IF;

    FOR i IN 1 .. p.pronargs LOOP
        a := broadcast.argument_text('$' || i + 1, p.argtypes[i - 1], form);

        letters := letters || a.letter;
        given := given || a.given;
        used := used || a.used;
        isarray := isarray || ((broadcast.base_type(p.argtypes[i - 1])
                               ).element IS NOT NULL);
    END LOOP;

    -- a record's columns are told by the function alone

    IF p.prorettype = 'record'::regtype THEN
        record_of := proc;

        SELECT jsonb_object_agg(c.name, c.s) INTO shape
          FROM (SELECT t.name, broadcast.shape(t.column_type) AS s
                  FROM broadcast.result_columns(proc) t) c
         WHERE c.s IS NOT NULL;
    ELSE
        shape := broadcast.shape(p.prorettype);
    END IF;

    FOR n IN REVERSE p.pronargs .. p.pronargs - p.pronargdefaults LOOP

        count := n;
        defaults := p.pronargs - n;
        rest := p.provariadic <> 0 AND n = p.pronargs;
        params := array_to_string(letters[1:n], '');

        arrays := 0;
        WHILE arrays < n AND isarray[n - arrays] LOOP
            arrays := arrays + 1;
        END LOOP;

        SELECT format('%s(%s)', p.qualified, string_agg(
                   CASE WHEN p.provariadic <> 0 AND i = p.pronargs
                        THEN 'VARIADIC ' ELSE '' END
                   || CASE WHEN i <= n THEN used[i]
                           ELSE broadcast.argument_default(proc, i) END,
                   ', ' ORDER BY i))
          INTO call FROM generate_series(1, p.pronargs) i;

        -- of a set the rows are made one by one only in a list of SELECT

        IF p.prorettype = 'void'::regtype THEN
            result := format('NULLIF(%s::pg_catalog.text, '''')', call);

        ELSIF cursor OR plain
              OR ret.type IN ('json'::regtype, 'jsonb'::regtype,
                              'int2'::regtype, 'int4'::regtype,
                              'int8'::regtype, 'bool'::regtype)
        THEN
            result := format('%s::pg_catalog.text', call);

        ELSIF broadcast.has_bytes(shape) THEN
            result := format('SELECT pg_catalog.to_json(%s)::pg_catalog.text FROM (SELECT %s AS x OFFSET 0) f',
                             broadcast.encoded('f.x', p.prorettype,
                                               record_of), call);
        ELSE
            result := format('pg_catalog.to_json(%s)::pg_catalog.text', call);
        END IF;

        IF stream THEN
            statement := CASE WHEN result LIKE 'SELECT %' THEN ''
                              ELSE 'SELECT ' END
                         || result || ' WHERE $1::pg_catalog.text IS NOT NULL';
            RETURN NEXT;
            CONTINUE;
        END IF;

        IF result LIKE 'SELECT %' THEN
            result := '(' || result || ')';
        END IF;

        -- a default is an expression of its own, and may be any

        IF form = 'plain' THEN
            statement := broadcast.call_statement(
                CASE WHEN p.provolatile <> 'i' OR defaults > 0
                     THEN '$1' END, result);
            RETURN NEXT;
            CONTINUE;
        END IF;

        -- the mark tells nginx that an error is one in an argument

        SELECT 'SELECT /* broadcast.argument( */ '
               || string_agg(u, ', ' ORDER BY i) INTO checks
          FROM unnest(used[1:n], p.argtypes[0:n - 1])
               WITH ORDINALITY x(u, type, i)
         WHERE x.type NOT IN ('text'::regtype, 'json'::regtype);

        statement := format('SELECT r.v, r.staged FROM broadcast.call_as(%L, %L, %s, %L, %L, $1::pg_catalog.text, %s) r',
                            role_claim, role_default, proc,
                            checks, 'SELECT ' || result,
                            'ARRAY[' || array_to_string(given[1:n], ', ')
                            || ']::pg_catalog.text[]');
        RETURN NEXT;
    END LOOP;
END
$$;

COMMENT ON FUNCTION broadcast.method_rows(oid, text, text) IS
'Internal: the rows of broadcast.methods() of one function, one for each count of arguments';


CREATE OR REPLACE FUNCTION broadcast.bound_statement(function text, hub text,
    role_claim text, role_default text, OUT stream boolean,
    OUT statement text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    p record;
    call text;
BEGIN
    SELECT r.oid, r.proretset, r.prorettype INTO p
      FROM pg_proc r WHERE r.oid = broadcast.bound_oid(function);

    stream := coalesce(p.proretset, false);

    IF p.oid IS NULL THEN
        statement := format('SELECT broadcast.missing(%L, $1::pg_catalog.text, $2::pg_catalog.text), false',
                            function);
        RETURN;
    END IF;

    call := CASE WHEN stream AND role_claim IS NOT NULL
                 THEN 'pg_catalog.jsonb_build_object(''claims'', pg_catalog.current_setting(''request.jwt.claims'')::pg_catalog.jsonb, ''query'', ''{}''::pg_catalog.jsonb) OPERATOR(pg_catalog.||) $2::pg_catalog.jsonb'
                 WHEN role_claim IS NOT NULL THEN '($2)[1]::pg_catalog.jsonb'
                 ELSE 'broadcast.message_event($1::pg_catalog.text, $2::pg_catalog.text)' END;

    call := format(CASE WHEN p.prorettype = 'void'::regtype
                        THEN 'NULLIF(%s(%s)::pg_catalog.text, '''')'
                        WHEN p.prorettype = 'jsonb'::regtype
                             AND NOT stream AND role_claim IS NULL
                        THEN '%s(%s)'
                        ELSE '%s(%s)::pg_catalog.text' END, function, call);

    IF stream THEN
        statement := 'SELECT ' || call
                     || ' WHERE $1::pg_catalog.text IS NOT NULL';

    ELSIF role_claim IS NULL THEN
        statement := broadcast.call_statement('$1',
            format('broadcast.finish(coalesce(%L, $1::pg_catalog.json OPERATOR(pg_catalog.->>) ''hub''), %s)',
                   hub, call));
    ELSE
        statement := format('SELECT broadcast.finish(coalesce(%L, $1::pg_catalog.json OPERATOR(pg_catalog.->>) ''hub''), r.v), broadcast.done_if($1) FROM broadcast.call_as(%L, %L, %s, NULL, %L, $1::pg_catalog.text, ARRAY[broadcast.message_event($1::pg_catalog.text, $2::pg_catalog.text)::pg_catalog.text]) r',
                            hub, role_claim, role_default, p.oid,
                            'SELECT ' || call);
    END IF;
END
$$;

COMMENT ON FUNCTION broadcast.bound_statement(text, text, text, text) IS
'Internal: the statement that calls a bound message function';


CREATE OR REPLACE FUNCTION broadcast.bound_messages()
RETURNS TABLE (hub text, event text, function text)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT DISTINCT ON (b.hub, e.name) b.hub, e.name, b.function
      FROM broadcast.binding b, lower(b.event COLLATE "C") e(name)
     WHERE b.kind = 'message'
     ORDER BY b.hub, e.name, b.function
$$;

COMMENT ON FUNCTION broadcast.bound_messages() IS
'Internal: the message function of each hub and name, either null for any';


CREATE OR REPLACE FUNCTION broadcast.methods(role_claim text DEFAULT NULL,
    role_default text DEFAULT NULL)
RETURNS TABLE (hub text, name text, form text, function text, count int,
               rest boolean, arrays int, params text, stream boolean,
               cursor boolean, plain boolean, shape text, ambiguous boolean,
               statement text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
#variable_conflict use_column
BEGIN
    role_claim := nullif(role_claim, '');
    role_default := nullif(role_default, '');

    RETURN QUERY
    SELECT b.hub, b.event, 'message', b.function, NULL::int,
           false, 0, NULL::text, s.stream, false, false, NULL::text, false,
           s.statement
      FROM broadcast.bound_messages() b,
           broadcast.bound_statement(b.function, b.hub, role_claim,
                                     role_default) s;

    -- Of two that fit the one that needs no defaults is meant; but if their
    -- types are the same, too, no SQL can call it.

    RETURN QUERY
    WITH schemas AS MATERIALIZED (
        SELECT e.hub, n.oid FROM broadcast.exposures() e
          JOIN pg_namespace n ON n.nspname = e.schema::name
         WHERE role_claim IS NOT NULL
            OR has_schema_privilege(n.oid, 'USAGE')
    ), functions AS MATERIALIZED (
        SELECT f.oid FROM broadcast.callable(ARRAY(SELECT s.oid
                                                     FROM schemas s)) f(oid)
         WHERE role_claim IS NOT NULL
            OR has_function_privilege(f.oid, 'EXECUTE')
    ), candidates AS MATERIALIZED (
        SELECT s.hub, l.name, p.oid, m.*,
               rank() OVER (PARTITION BY s.hub, l.name, m.count, m.rest
                            ORDER BY m.defaults > 0) AS place,
               EXISTS (SELECT FROM pg_proc q
                        WHERE q.pronamespace = p.pronamespace
                          AND q.proname = p.proname
                          AND q.pronargs > p.pronargs
                          AND q.pronargs - q.pronargdefaults <= p.pronargs
                          AND (q.proargtypes::oid[])[0:p.pronargs - 1]
                              = (p.proargtypes::oid[])[0:p.pronargs - 1])
               AS hidden
          FROM functions f
          JOIN pg_proc p ON p.oid = f.oid
          JOIN schemas s ON s.oid = p.pronamespace,
               lower(p.proname::text COLLATE "C") l(name),
               broadcast.method_rows(p.oid, role_claim, role_default) m
    )
    SELECT DISTINCT ON (c.hub, c.name, c.rest, c.count)
           c.hub, c.name, 'method', c.oid::regprocedure::text, c.count,
           c.rest, c.arrays, c.params, c.stream, c.cursor, c.plain,
           c.shape::text,
           count(*) OVER (PARTITION BY c.hub, c.name, c.rest, c.count) > 1
           OR c.hidden,
           c.statement
      FROM candidates c WHERE c.place = 1
     ORDER BY c.hub, c.name, c.rest, c.count DESC, c.oid;
END
$$;

COMMENT ON FUNCTION broadcast.methods(text, text) IS
'What clients may invoke, a row a callable, with the statement that calls it; with a role claim whatever that role may. Of a plain one the result is a text, of all others JSON. nginx keeps it and asks again when broadcast.bindings_version() changes';


--
-- What the statements of broadcast.methods() call
--

CREATE OR REPLACE FUNCTION broadcast.missing(function text, context text,
    event text) RETURNS text
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    RAISE EXCEPTION 'the bound function %(jsonb) does not exist', function
        USING ERRCODE = 'undefined_function',
              HINT = 'create it again, or take it back: SELECT broadcast.unbind(null, ''-'')';
END
$$;

COMMENT ON FUNCTION broadcast.missing(text, text, text) IS
'Internal: the error of a bound function that was dropped';


DROP FUNCTION IF EXISTS broadcast.message_event(text);

CREATE OR REPLACE FUNCTION broadcast.message_event(context text, event text)
    RETURNS jsonb
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    c jsonb;
    e jsonb := event;
    known jsonb;
BEGIN
    -- both say what is not in the connection's row

    IF e ?& '{claims,query}'::text[] THEN
        RETURN e;
    END IF;

    known := coalesce(broadcast.connection_known(e->>'connectionId'::text),
                      '{"claims": {}, "query": {}}');

    IF pg_catalog.strpos(context, '"claims":') OPERATOR(pg_catalog.>) 0 THEN
        c := context;

        IF c->'claims'::text <> 'null' THEN
            known := known || pg_catalog.jsonb_build_object('claims',
                                                            c->'claims'::text);
        END IF;

        IF c->'query'::text <> 'null' THEN
            known := known || pg_catalog.jsonb_build_object('query',
                                                            c->'query'::text);
        END IF;
    END IF;

    RETURN known || e;
END
$$;

COMMENT ON FUNCTION broadcast.message_event(text, text) IS
'Internal: the event of a message function, with claims and query of its connection';


CREATE OR REPLACE FUNCTION broadcast.finish(hub text, answer jsonb)
    RETURNS text
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    actions jsonb;
    answers boolean := true;
BEGIN
    CASE pg_catalog.jsonb_typeof(answer)
        WHEN 'object' THEN

            IF answer ? 'actions'::text THEN
                actions := answer->'actions'::text;

            ELSIF answer ?| '{target,action}'::text[]
                  AND NOT answer ? 'result'::text
            THEN
                actions := answer;
                answers := false;

            ELSE
                RETURN answer->'result'::text;
            END IF;

        WHEN 'array' THEN
            actions := answer;
            answers := false;

        ELSE
            RETURN NULL;
    END CASE;

    -- the function may have left another role, which need not have a right to
    -- the schema

    IF CURRENT_USER OPERATOR(pg_catalog.<>) SESSION_USER THEN
        PERFORM pg_catalog.set_config('role', NULL, false);
    END IF;

    PERFORM broadcast.act(hub, actions);

    RETURN CASE WHEN answers THEN answer->'result'::text END;
END
$$;

COMMENT ON FUNCTION broadcast.finish(text, jsonb) IS
'Internal: stages the actions of what a message function returned; returns its result';


CREATE OR REPLACE FUNCTION broadcast.finish(hub text, answer text)
    RETURNS text
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    result text;
BEGIN
    -- as above, where actions are staged

    IF CURRENT_USER OPERATOR(pg_catalog.<>) SESSION_USER THEN
        PERFORM pg_catalog.set_config('role', NULL, false);
    END IF;

    result := broadcast.finish(hub, answer::jsonb);

    -- byte for byte where a function returns json

    RETURN CASE WHEN result IS NOT NULL
                THEN answer::pg_catalog.json->'result'::text END;
END
$$;

COMMENT ON FUNCTION broadcast.finish(text, text) IS
'Internal: the same of what is not jsonb, whose result stays as it is written';

-- up to version 5 the only one: who may call it is not to stand still until
-- grants are given again

DO $$
DECLARE
    r record;
BEGIN
    FOR r IN SELECT DISTINCT a.grantee::regrole AS role
               FROM pg_catalog.pg_proc p, pg_catalog.aclexplode(p.proacl) a
              WHERE p.oid = 'broadcast.finish(text, text)'::regprocedure
                AND a.grantee NOT IN (0, p.proowner)
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION broadcast.finish(text, jsonb)'
                       ' TO %s', r.role);
    END LOOP;
END
$$;


CREATE OR REPLACE FUNCTION broadcast.done(context text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c json := context;
BEGIN
    IF c->>'done' IS NULL THEN
        RETURN false;
    END IF;

    PERFORM broadcast.put(broadcast.checked_hub(c->>'hub'), 17, 3, 4,
                          c->>'connectionId', NULL, NULL, NULL, c->>'done',
                          '{}', NULL);
    RETURN true;
END
$$;

COMMENT ON FUNCTION broadcast.done(text) IS
'Internal: stages the record, behind all that a call sent, that lets its Completion go out';


-- of its own rights, as done(), so that it is not inlined: a statement would
-- make all of it ready in each call, to evaluate none

CREATE OR REPLACE FUNCTION broadcast.done_if(context text) RETURNS boolean
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN current_setting('broadcast.staged', true) = '1'
                THEN broadcast.done($1) ELSE false END
$$;

COMMENT ON FUNCTION broadcast.done_if(text) IS
'Internal: broadcast.done() if anything was staged in this transaction';


-- Streams by a cursor.  What its columns are is known when it is read: bytes
-- are told by their two forms of text, which no other type has.

CREATE OR REPLACE FUNCTION broadcast.fetch(cursor refcursor, n int)
RETURNS SETOF text
LANGUAGE plpgsql VOLATILE
SET bytea_output = hex
AS $$
DECLARE
    r record;
    item json;
    more boolean;
    role text := nullif(pg_catalog.current_setting('broadcast.role', true),
                        '');
    prior text := pg_catalog.current_setting('role');
BEGIN
    -- that role's are the rows, it need not have a right to this function

    FOR i IN 1 .. n LOOP
        IF role IS NOT NULL THEN
            PERFORM pg_catalog.set_config('role', role, true);
        END IF;

        FETCH cursor INTO r;
        more := FOUND;

        IF role IS NOT NULL THEN
            PERFORM pg_catalog.set_config('role', prior, true);
        END IF;

        EXIT WHEN NOT more;

        item := pg_catalog.row_to_json(r);

        IF pg_catalog.strpos(item::pg_catalog.text, '"\\x')
           OPERATOR(pg_catalog.>) 0
        THEN
            PERFORM pg_catalog.set_config('bytea_output', 'escape', true);
            item := broadcast.fetched(item, pg_catalog.row_to_json(r));
            PERFORM pg_catalog.set_config('bytea_output', 'hex', true);
        END IF;

        IF (SELECT pg_catalog.count(*) OPERATOR(pg_catalog.=) 1
              FROM pg_catalog.json_object_keys(item))
        THEN
            SELECT e.value INTO item FROM pg_catalog.json_each(item) e;
        END IF;

        RETURN NEXT coalesce(item::pg_catalog.text, 'null');
    END LOOP;
END
$$;

COMMENT ON FUNCTION broadcast.fetch(refcursor, int) IS
'Internal: the next rows of a cursor as items of a stream, bytes in base64; a row of one column is that column';


CREATE OR REPLACE FUNCTION broadcast.fetched(hex json, escaped json)
    RETURNS json
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT json_object_agg(h.key,
               CASE WHEN json_typeof(h.value) = 'string'
                         AND h.value #>> '{}' <> e.value #>> '{}'
                    THEN to_json(translate(encode(
                             decode(substr(h.value #>> '{}', 3), 'hex'),
                             'base64'), E'\n', ''))
                    ELSE h.value END ORDER BY h.i)
      FROM json_each(hex) WITH ORDINALITY h(key, value, i)
      JOIN json_each(escaped) WITH ORDINALITY e(key, value, i) USING (i)
$$;

COMMENT ON FUNCTION broadcast.fetched(json, json) IS
'Internal: of a row with bytes as hex and with bytes as escapes, the one with bytes in base64';


CREATE OR REPLACE FUNCTION broadcast.call_as(role_claim text,
    role_default text, proc oid, checks text, call text, context text,
    arguments text[], OUT v text, OUT staged boolean)
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    prior text;
    path text := pg_catalog.current_setting('search_path');
BEGIN
    PERFORM pg_catalog.set_config('broadcast.call', context, true);

    prior := broadcast.assume(broadcast.caller(context::pg_catalog.jsonb),
                              role_claim, role_default, proc);

    -- converted once before, so that an error in an argument is told from
    -- one of the method

    IF checks IS NOT NULL THEN
        EXECUTE checks USING context, arguments;
    END IF;

    EXECUTE call INTO v USING context, arguments;

    PERFORM pg_catalog.set_config('role', prior, false);

    IF pg_catalog.current_setting('search_path') OPERATOR(pg_catalog.<>) path
    THEN
        PERFORM pg_catalog.set_config('search_path', path, false);
    END IF;

    staged := broadcast.done_if(context);
END
$$;

COMMENT ON FUNCTION broadcast.call_as(text, text, oid, text, text, text,
                                      text[]) IS
'Internal: runs the call of a method as the role that the caller''s claims name';


CREATE OR REPLACE FUNCTION broadcast.context() RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    call jsonb := nullif(current_setting('broadcast.call', true), '');
    known jsonb;
BEGIN
    -- anybody may set the setting: the session must be one that nginx could
    -- have made, whatever role it has now

    IF call IS NULL
       OR NOT has_function_privilege(session_user,
                  'broadcast.dispatch(jsonb, text, text)'::regprocedure,
                  'EXECUTE')
    THEN
        RETURN NULL;
    END IF;

    SELECT jsonb_build_object('connectionId', c.connection_id, 'hub', c.hub,
                              'userId', c.user_id, 'claims', c.claims,
                              'query', c.query, 'headers', c.headers,
                              'transport', c.transport,
                              'remoteAddress', c.remote_address)
      INTO known
      FROM broadcast.connections c
     WHERE c.connection_id = call->>'connectionId';

    -- what the call itself says is newer than the row of its connection

    RETURN (SELECT jsonb_object_agg(m.name, coalesce(
                       nullif(call->m.name, 'null'),
                       nullif(known->m.name, 'null'),
                       CASE WHEN m.is_object THEN '{}' ELSE 'null' END
                       ::jsonb))
              FROM (VALUES ('connectionId', false), ('hub', false),
                           ('userId', false), ('claims', true),
                           ('query', true), ('headers', true),
                           ('transport', false), ('remoteAddress', false))
                   m(name, is_object));
END
$$;

COMMENT ON FUNCTION broadcast.context() IS
'Who calls: connectionId, hub, userId, claims, query, headers, transport, remoteAddress; null if nginx does not call';


--
-- The doctor
--
-- One row a check, each by a name that stays.  It runs as its caller, the
-- owner, and reads what every role may; of sessions of other roles PostgreSQL
-- tells only that they are there.
--

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_proc p
                WHERE p.oid = to_regprocedure(
                          'broadcast.node_about(text, int, int)')
                  AND p.prorettype = 'void'::regtype)
    THEN
        DROP FUNCTION broadcast.node_about(text, int, int);
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION broadcast.node_about(node text, session int,
    pool int) RETURNS text
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE broadcast.node n
       SET role = session_user, backend = pg_backend_pid(), session = $2,
           pool = $3,
           listens = EXISTS (SELECT FROM pg_listening_channels() c
                              WHERE c = 'broadcast_doorbell'),
           moved = CASE WHEN n.session IS DISTINCT FROM $2 THEN 0
                        WHEN n.backend <> pg_backend_pid() THEN n.moved + 1
                        ELSE n.moved END
     WHERE n.name = $1
 RETURNING CASE WHEN n.moved > 0 OR NOT n.listens THEN 'transaction'
                WHEN n.session <> n.backend THEN 'session' ELSE 'none' END
$$;

COMMENT ON FUNCTION broadcast.node_about(text, int, int) IS
'A node''s relay tells how it is connected: which server process it thinks it has, and the connections that the node may make. Which kind of pooler must be between: none, session, transaction';


CREATE OR REPLACE FUNCTION broadcast.doctor_roles()
RETURNS TABLE (role name)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH told AS (
        SELECT DISTINCT n.role FROM broadcast.node n
          JOIN pg_roles r ON r.rolname = n.role
         WHERE n.seen_at > clock_timestamp() - interval '1 day'
    )
    SELECT t.role FROM told t
     UNION ALL
    SELECT current_user WHERE NOT EXISTS (SELECT FROM told)
$$;

COMMENT ON FUNCTION broadcast.doctor_roles() IS
'Internal: the roles that nginx connects as, the caller if none was here today';


CREATE OR REPLACE FUNCTION broadcast.doctor_setting(role name, setting text)
    RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(
        (SELECT split_part(c.line, '=', 2)
           FROM pg_db_role_setting s, unnest(s.setconfig) c(line)
          WHERE split_part(c.line, '=', 1) = $2
            AND s.setdatabase IN (0, (SELECT d.oid FROM pg_database d
                                       WHERE d.datname = current_database()))
            AND s.setrole IN (0, (SELECT r.oid FROM pg_roles r
                                   WHERE r.rolname = $1))
          ORDER BY s.setrole = 0, s.setdatabase = 0 LIMIT 1),
        current_setting($2))
$$;

COMMENT ON FUNCTION broadcast.doctor_setting(name, text) IS
'Internal: what a parameter of the server is in sessions of a role';


CREATE OR REPLACE FUNCTION broadcast.doctor_server(patience interval)
RETURNS TABLE ("check" text, status text, detail text, hint text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    said text;
    needed bigint;
    room bigint;
    used bigint;
BEGIN
    RETURN QUERY SELECT 'server_version',
        CASE WHEN current_setting('server_version_num')::int >= 130000
             THEN 'ok' ELSE 'error' END,
        'PostgreSQL ' || current_setting('server_version'),
        'PostgreSQL 13 or later is needed';

    RETURN QUERY SELECT 'recovery',
        CASE WHEN pg_is_in_recovery() THEN 'error' ELSE 'ok' END,
        CASE WHEN pg_is_in_recovery() THEN 'this server is a standby'
             ELSE 'this server takes what is written' END,
        'name the primary in broadcast_database, or both and target_session_attrs=read-write';

    RETURN QUERY SELECT 'encoding',
        CASE WHEN current_setting('server_encoding') = 'UTF8'
             THEN 'ok' ELSE 'warn' END,
        'the database is kept in ' || current_setting('server_encoding'),
        'messages with characters that it does not have are refused; create the database with ENCODING UTF8';

    RETURN QUERY SELECT s."check", s.status, s.detail, s.hint
                   FROM broadcast.doctor_wal() s;

    said := (SELECT string_agg(r.role, ', ') FROM broadcast.doctor_roles() r
              WHERE broadcast.doctor_setting(r.role, 'synchronous_commit')
                    = 'off');

    RETURN QUERY SELECT 'synchronous_commit',
        CASE WHEN said IS NULL THEN 'ok' ELSE 'warn' END,
        CASE WHEN said IS NULL THEN 'a commit waits for the disk'
             ELSE 'it is off for ' || said || ': a crash may take back what was answered' END,
        'ALTER ROLE … SET synchronous_commit = on; after a crash that lost commits all hubs begin anew';

    said := (SELECT string_agg(r.role || ' ' || v.name || '=' || s.value, ', ')
               FROM broadcast.doctor_roles() r,
                    (VALUES ('default_transaction_read_only', 'off'),
                            ('default_transaction_isolation',
                             'read committed')) v(name, value),
                    LATERAL (SELECT broadcast.doctor_setting(r.role, v.name)
                                    AS value) s
              WHERE s.value <> v.value);

    RETURN QUERY SELECT 'transactions',
        CASE WHEN said IS NULL THEN 'ok'
             WHEN said LIKE '%read_only%' THEN 'error' ELSE 'warn' END,
        coalesce(said, 'read committed, read and write'),
        'calls of functions fail with it; ALTER ROLE … RESET it';

    used := (SELECT count(*) FROM pg_stat_activity a WHERE a.datid IS NOT NULL);
    needed := (SELECT coalesce(sum(n.pool), 0) FROM broadcast.node n
                WHERE n.seen_at > clock_timestamp() - interval '15 s');
    room := (SELECT least(
        current_setting('max_connections')::int
        - current_setting('superuser_reserved_connections')::int,
        (SELECT nullif(d.datconnlimit, -1) FROM pg_database d
          WHERE d.datname = current_database()),
        (SELECT min(nullif(x.rolconnlimit, -1)) FROM pg_roles x
          WHERE x.rolname IN (SELECT r.role FROM broadcast.doctor_roles() r))));

    RETURN QUERY SELECT 'connections',
        CASE WHEN needed > room THEN 'error'
             WHEN used > room * 0.9 THEN 'warn' ELSE 'ok' END,
        format('%s in use, nginx may make %s, there may be %s', used, needed,
               room),
        'less workers, or a smaller pool= in broadcast_database, or a greater max_connections or CONNECTION LIMIT';

    RETURN QUERY SELECT 'notify_queue',
        CASE WHEN pg_notification_queue_usage() > 0.5 THEN 'warn'
             ELSE 'ok' END,
        format('%s %% full', round((pg_notification_queue_usage() * 100)
                                   ::numeric, 1)),
        'a session that LISTENs stays in one transaction: end it';

    RETURN QUERY SELECT s."check", s.status, s.detail, s.hint
                   FROM broadcast.doctor_snapshots(patience) s;
END
$$;

COMMENT ON FUNCTION broadcast.doctor_server(interval) IS
'Internal: the checks of broadcast.doctor() about the server';


CREATE OR REPLACE FUNCTION broadcast.doctor_wal()
RETURNS TABLE ("check" text, status text, detail text, hint text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    w broadcast.wal;
    s record;
    note text;
BEGIN
    SELECT * INTO w FROM broadcast.wal;
    SELECT * INTO s FROM pg_replication_slots r WHERE r.slot_name = w.slot;

    RETURN QUERY SELECT 'wal_level',
        CASE WHEN w.wanted IS NOT NULL
                  AND current_setting('wal_level') <> 'logical'
             THEN 'error' ELSE 'ok' END,
        'wal_level is ' || current_setting('wal_level')
        || CASE WHEN w.wanted IS NULL THEN ', and nothing here needs another'
                ELSE ', broadcast_source wal needs logical' END,
        'ALTER SYSTEM SET wal_level = logical, and restart the server';

    note := broadcast.wal_note(w.slot);

    RETURN QUERY SELECT 'source',
        CASE WHEN w.said IS NOT NULL THEN 'error'
             WHEN note IS NOT NULL OR w.slot IS DISTINCT FROM w.wanted
                  OR w.wanted IS NOT NULL AND w.state <> 'read'
             THEN 'warn' ELSE 'ok' END,
        CASE WHEN w.said IS NOT NULL THEN w.said
             WHEN w.slot IS NULL AND w.wanted IS NULL
             THEN 'what is sent goes through broadcast.staging'
             WHEN w.slot IS NULL
             THEN format('what is sent goes through broadcast.staging, the replication slot %I is not made yet', w.wanted)
             WHEN w.state = 'make'
             THEN format('the replication slot %I is being made, behind all transactions that are open', w.slot)
             WHEN w.state = 'read'
             THEN coalesce(note, format('what is sent goes through the WAL: replication slot %I, wal_status %s, %s bytes behind',
                      w.slot, s.wal_status,
                      CASE WHEN NOT pg_is_in_recovery()
                           THEN pg_current_wal_lsn() - s.confirmed_flush_lsn
                      END))
             ELSE format('the replication slot %I is given up (%s)', w.slot,
                         w.state) END,
        CASE WHEN w.said IS NOT NULL THEN 'see also the error log of the nginx that numbers; what it cannot read waits, or goes through broadcast.staging'
             WHEN w.state = 'make' THEN 'see the check snapshots: long transactions'
             ELSE 'ALTER SYSTEM SET max_slot_wal_keep_size = …, and pg_reload_conf()' END;
END
$$;

COMMENT ON FUNCTION broadcast.doctor_wal() IS
'Internal: the checks of broadcast.doctor() about the WAL';


CREATE OR REPLACE FUNCTION broadcast.doctor_snapshots(patience interval)
RETURNS TABLE ("check" text, status text, detail text, hint text)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH held AS (
        SELECT format('prepared transaction %L of %s since %s', p.gid,
                      p.owner, date_trunc('second', p.prepared)) AS what
          FROM pg_prepared_xacts p
         WHERE p.database = current_database()
           AND p.prepared < clock_timestamp() - $1
         UNION ALL
        SELECT format('process %s of %s since %s', a.pid, a.usename,
                      date_trunc('second', a.xact_start))
          FROM pg_stat_activity a
         WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
           AND a.xact_start < clock_timestamp() - $1
         UNION ALL
        SELECT format('replication slot %s, which nobody reads', s.slot_name)
          FROM pg_replication_slots s
         WHERE NOT s.active AND (s.xmin IS NOT NULL
                                 OR s.catalog_xmin IS NOT NULL)
    )
    SELECT 'snapshots',
           CASE WHEN count(*) = 0 THEN 'ok' ELSE 'warn' END,
           coalesce(string_agg(h.what, '; '),
                    'no transaction is older than ' || $1),
           'what was numbered stays in broadcast.staging as dead rows, and what they have sent waits: COMMIT PREPARED or ROLLBACK PREPARED, pg_terminate_backend(), pg_drop_replication_slot()'
      FROM held h
$$;

COMMENT ON FUNCTION broadcast.doctor_snapshots(interval) IS
'Internal: the check of broadcast.doctor() for what keeps dead rows';


CREATE OR REPLACE FUNCTION broadcast.setting_fault(name text, value text)
    RETURNS text
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF value IS NULL THEN
        RETURN 'is missing';
    END IF;

    IF name = 'doorbell' AND value NOT IN ('commit', 'adaptive', 'off') THEN
        RETURN 'must be commit, adaptive or off';
    END IF;

    IF name = 'source' AND value NOT IN ('outbox', 'wal') THEN
        RETURN 'must be outbox or wal';
    END IF;

    IF name IN ('history_age', 'node_lease')
       AND value::interval <= interval '0'
       OR name = 'node_lease' AND value::interval < interval '6 s'
    THEN
        RETURN 'is too short';
    END IF;

    IF name IN ('history_count', 'message_size') AND value::bigint <= 0 THEN
        RETURN 'must be above 0';
    END IF;

    RETURN NULL;

EXCEPTION WHEN data_exception THEN
    RETURN 'cannot be read';
END
$$;

COMMENT ON FUNCTION broadcast.setting_fault(text, text) IS
'Internal: what is wrong with a row of broadcast.setting, or null';


-- Sends, numbering and leases read them: what cannot be read would fail there.
-- A short lease is odd, but works.

CREATE OR REPLACE FUNCTION broadcast.setting_checked() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    fault text := broadcast.setting_fault(NEW.name, NEW.value);
BEGIN
    IF NEW.name = 'node_lease' AND fault = 'is too short'
       AND NEW.value::interval > interval '0'
    THEN
        RETURN NEW;
    END IF;

    IF fault IS NOT NULL THEN
        RAISE EXCEPTION '% of broadcast.setting %: ''%''', NEW.name, fault,
            NEW.value USING ERRCODE = 'invalid_parameter_value';
    END IF;

    RETURN NEW;
END
$$;

COMMENT ON FUNCTION broadcast.setting_checked() IS
'Internal: trigger of broadcast.setting: refuses a value that cannot be read';

DROP TRIGGER IF EXISTS setting_checked ON broadcast.setting;

CREATE TRIGGER setting_checked BEFORE INSERT OR UPDATE ON broadcast.setting
    FOR EACH ROW EXECUTE FUNCTION broadcast.setting_checked();


-- Behind the row's lock once more, in a snapshot of its own: of two that change
-- different settings at the same time the later one sees what the other did.
-- What changes nothing here waits for nobody, and no relay for who has changed
-- something else and does not commit.

CREATE OR REPLACE FUNCTION broadcast.setting_kept() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    lim bigint;
    bell text;
    by_wal boolean;
BEGIN
    FOR i IN 1 .. 2 LOOP
        SELECT max(CASE WHEN broadcast.setting_fault(s.name, s.value) IS NULL
                        THEN s.value::bigint ELSE 0 END)
               FILTER (WHERE s.name = 'message_size'),
               max(s.value) FILTER (WHERE s.name = 'doorbell'),
               coalesce(bool_or(s.name = 'source' AND s.value = 'wal'), false)
          INTO lim, bell, by_wal
          FROM broadcast.setting s;

        IF EXISTS (SELECT FROM broadcast.sending x
                    WHERE (x.message_size, x.doorbell, x.wal)
                          IS NOT DISTINCT FROM (lim, bell, by_wal))
        THEN
            RETURN NULL;
        END IF;

        IF i = 1 THEN
            PERFORM FROM broadcast.sending FOR UPDATE;
        END IF;
    END LOOP;

    INSERT INTO broadcast.sending (message_size, doorbell, wal)
    VALUES (lim, bell, by_wal)
        ON CONFLICT (single) DO UPDATE
       SET message_size = excluded.message_size, doorbell = excluded.doorbell,
           wal = excluded.wal;

    RETURN NULL;
END
$$;

COMMENT ON FUNCTION broadcast.setting_kept() IS
'Internal: trigger of broadcast.setting: keeps broadcast.sending as that says';

DROP TRIGGER IF EXISTS setting_kept ON broadcast.setting;

CREATE TRIGGER setting_kept AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE
    ON broadcast.setting
    FOR EACH STATEMENT EXECUTE FUNCTION broadcast.setting_kept();

UPDATE broadcast.setting SET value = value WHERE false;

-- a table of a page that nobody has looked at is taken for one of ten

ANALYZE broadcast.sending;


CREATE OR REPLACE FUNCTION broadcast.doctor_schema()
RETURNS TABLE ("check" text, status text, detail text, hint text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    version int := 6;      -- of the file that this function came with
    said text;
BEGIN
    RETURN QUERY SELECT 'schema_version',
        CASE WHEN broadcast.schema_version() = version THEN 'ok'
             ELSE 'error' END,
        CASE WHEN broadcast.schema_version() = version
             THEN format('version %s', version)
             ELSE format('version %s, with functions of version %s',
                         broadcast.schema_version(), version) END,
        'another broadcast.sql was run over this one: run the one that came with the module';

    said := (SELECT string_agg(format('%s %s', v.name, f.fault), '; '
                               ORDER BY v.name)
               FROM (VALUES ('doorbell'), ('history_age'), ('history_count'),
                            ('message_size'), ('node_lease'),
                            ('source')) v(name)
               LEFT JOIN broadcast.setting s ON s.name = v.name,
                    LATERAL (SELECT broadcast.setting_fault(v.name, s.value)
                                    AS fault) f
              WHERE f.fault IS NOT NULL);

    RETURN QUERY SELECT 'settings',
        CASE WHEN said IS NULL THEN 'ok' ELSE 'error' END,
        coalesce(said, 'all rows of broadcast.setting can be read'),
        'UPDATE broadcast.setting SET value = …; running broadcast.sql puts back what is missing';

    -- it fails where a setting cannot be read, which was said

    IF said IS NULL THEN
        said := (SELECT string_agg(format('%s of broadcast.setting is %L, sends go by %L',
                                          v.name, v.value, v.kept), '; ')
                   FROM broadcast.setting s
                   LEFT JOIN broadcast.sending k ON k.single,
                        LATERAL (VALUES (s.name, s.value, CASE s.name
                            WHEN 'doorbell' THEN k.doorbell
                            WHEN 'message_size' THEN k.message_size::text
                            WHEN 'source' THEN CASE WHEN k.wal THEN 'wal'
                                                    ELSE 'outbox' END
                                                END)) v(name, value, kept)
                  WHERE s.name IN ('doorbell', 'message_size', 'source')
                    AND CASE WHEN s.name = 'message_size'
                             THEN s.value::bigint::text ELSE s.value END
                        IS DISTINCT FROM v.kept);

        RETURN QUERY SELECT 'sending',
            CASE WHEN said IS NULL THEN 'ok' ELSE 'error' END,
            coalesce(said, 'sends go by what broadcast.setting says'),
            'it was changed while its triggers were off: ALTER TABLE broadcast.setting ENABLE TRIGGER USER, then UPDATE broadcast.setting SET value = value';
    END IF;

    RETURN QUERY SELECT 'doorbell',
        CASE WHEN s.value = 'off' THEN 'warn' ELSE 'ok' END,
        CASE WHEN s.value = 'off'
             THEN 'it is off: what is sent waits up to a second'
             WHEN s.value = 'adaptive'
             THEN 'it rings unless the relay is busy anyway'
             ELSE 'it rings with each commit' END,
        'UPDATE broadcast.setting SET value = ''adaptive'' WHERE name = ''doorbell'''
      FROM (SELECT (SELECT x.value FROM broadcast.setting x
                     WHERE x.name = 'doorbell')) s(value);
END
$$;

COMMENT ON FUNCTION broadcast.doctor_schema() IS
'Internal: the checks of broadcast.doctor() about the schema and its settings';


CREATE OR REPLACE FUNCTION broadcast.doctor_rights()
RETURNS TABLE ("check" text, status text, detail text, hint text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    owns oid := (SELECT n.nspowner FROM pg_namespace n
                  WHERE n.nspname = 'broadcast');
    said text;
    grave boolean;
BEGIN
    said := (SELECT string_agg(x.name, ', ' ORDER BY x.name) FROM (
        SELECT p.oid::regprocedure::text, p.proowner FROM pg_proc p
         WHERE p.pronamespace = 'broadcast'::regnamespace
         UNION ALL
        SELECT c.oid::regclass::text, c.relowner FROM pg_class c
         WHERE c.relnamespace = 'broadcast'::regnamespace
           AND c.relkind IN ('r', 'p', 'v', 'S')) x(name, owner)
        WHERE x.owner <> owns);

    RETURN QUERY SELECT 'owner',
        CASE WHEN said IS NULL THEN 'ok' ELSE 'error' END,
        coalesce('not of the owner of the schema: ' || said,
                 'all is owned by ' || owns::regrole::text),
        'broadcast.sql was run by different roles: ALTER … OWNER TO, then run it as the owner';

    said := (SELECT string_agg(DISTINCT x.name, ', ') FROM (
        SELECT 'schema broadcast', a.grantee FROM pg_namespace n,
               aclexplode(n.nspacl) a WHERE n.nspname = 'broadcast'
         UNION ALL
        SELECT p.oid::regprocedure::text, a.grantee FROM pg_proc p,
               aclexplode(coalesce(p.proacl,
                                   acldefault('f', p.proowner))) a
         WHERE p.pronamespace = 'broadcast'::regnamespace
         UNION ALL
        SELECT c.oid::regclass::text, a.grantee FROM pg_class c,
               aclexplode(c.relacl) a
         WHERE c.relnamespace = 'broadcast'::regnamespace) x(name, grantee)
        WHERE x.grantee = 0);

    RETURN QUERY SELECT 'public_rights',
        CASE WHEN said IS NULL THEN 'ok' ELSE 'error' END,
        coalesce('PUBLIC has a right on ' || said,
                 'nothing is granted to PUBLIC'),
        'REVOKE ALL ON … FROM PUBLIC';

    SELECT string_agg(format('%s lacks %s', r.role, l.what), '; '),
           bool_or(l.grave)
      INTO said, grave
      FROM broadcast.doctor_roles() r,
           LATERAL broadcast.doctor_lacks(r.role) l
     WHERE l.what IS NOT NULL;

    RETURN QUERY SELECT 'role_rights',
        CASE WHEN said IS NULL THEN 'ok' WHEN grave THEN 'error'
             ELSE 'warn' END,
        coalesce(said, (SELECT string_agg(r.role, ', ')
                          FROM broadcast.doctor_roles() r)
                       || ' may call what nginx calls'),
        'GRANT USAGE ON SCHEMA broadcast, GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA broadcast, as README.md shows; again after each upgrade';

    said := (SELECT string_agg(format('%s is a superuser or bypasses row security', x.rolname), '; ')
               FROM pg_roles x
              WHERE x.rolname IN (SELECT r.role FROM broadcast.doctor_roles() r)
                AND (x.rolsuper OR x.rolbypassrls));

    RETURN QUERY SELECT 'role_power',
        CASE WHEN said IS NULL THEN 'ok' ELSE 'warn' END,
        coalesce(said, 'nginx connects as a role without such rights'),
        'functions for clients run with these rights: have nginx connect as a plain role';

    said := (SELECT string_agg(format('%s has the rights of %s', x.rolname,
                                      m.roleid::regrole), '; ')
               FROM pg_roles x
               JOIN pg_auth_members m ON m.member = x.oid
              WHERE x.rolname IN (SELECT r.role FROM broadcast.doctor_roles() r)
                AND x.rolinherit
                AND m.roleid::regrole::text NOT LIKE 'pg\_%');

    RETURN QUERY SELECT 'role_members',
        CASE WHEN said IS NULL THEN 'ok' ELSE 'warn' END,
        coalesce(said, 'what nginx connects as inherits from no other role'),
        'with role_claim= the role has its members'' rights before it becomes one of them: ALTER ROLE … NOINHERIT';
END
$$;

COMMENT ON FUNCTION broadcast.doctor_rights() IS
'Internal: the checks of broadcast.doctor() about roles and grants';


CREATE OR REPLACE FUNCTION broadcast.doctor_lacks(role name)
RETURNS TABLE (what text, grave boolean)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT 'USAGE on the schema', true
     WHERE NOT has_schema_privilege($1, 'broadcast', 'USAGE')
     UNION ALL
    SELECT 'EXECUTE on ' || string_agg(p.proname, ', ' ORDER BY p.proname),
           coalesce(bool_or(p.proname IN ('schema_version', 'dispatch',
               'stage', 'sequence', 'read', 'positions', 'head', 'bindings',
               'bindings_version', 'node_beat', 'node_lease', 'sweep')),
           false)
      FROM pg_proc p
     WHERE p.pronamespace = 'broadcast'::regnamespace
       AND p.proname !~ '^(un)?(bind|expose)$|^(doctor|timer_(un)?bind|timer_check|timer_next|bindings_(changed|lock)|expose|setting_fault)'
       AND p.prorettype <> 'trigger'::regtype
       AND NOT has_function_privilege($1, p.oid, 'EXECUTE')
    HAVING count(*) > 0
$$;

COMMENT ON FUNCTION broadcast.doctor_lacks(name) IS
'Internal: which rights a role lacks that nginx connects as; grave: nothing works without';


CREATE OR REPLACE FUNCTION broadcast.doctor_relay()
RETURNS TABLE ("check" text, status text, detail text, hint text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    key bigint := hashtext('broadcast.relay');
    alive int := (SELECT count(*) FROM broadcast.node n
                   WHERE n.seen_at > clock_timestamp() - interval '15 s');
    holder int := (SELECT l.pid FROM pg_locks l
                    WHERE l.locktype = 'advisory' AND l.granted
                      AND l.objsubid = 1
                      AND l.database = (SELECT d.oid FROM pg_database d
                                         WHERE d.datname = current_database())
                      AND l.classid::bigint = (key >> 32) & 4294967295
                      AND l.objid::bigint = key & 4294967295
                    LIMIT 1);
    leader text := (SELECT n.name FROM broadcast.node n
                     WHERE n.backend = holder
                     ORDER BY n.seen_at DESC LIMIT 1);
    said text;
BEGIN
    RETURN QUERY SELECT 'nodes',
        CASE WHEN alive > 0 THEN 'ok' ELSE 'warn' END,
        CASE WHEN alive = 0 THEN 'no nginx was heard of for 15 seconds'
             ELSE (SELECT string_agg(n.name, ', ' ORDER BY n.name)
                     FROM broadcast.node n
                    WHERE n.seen_at > clock_timestamp() - interval '15 s')
        END,
        'is nginx running, does broadcast_database name this database? Its error log tells';

    RETURN QUERY SELECT 'relay',
        CASE WHEN holder IS NOT NULL AND (leader IS NOT NULL OR alive = 0)
             THEN 'ok' WHEN alive = 0 THEN 'warn' ELSE 'error' END,
        CASE WHEN holder IS NULL THEN 'nobody numbers what is sent'
             WHEN leader IS NOT NULL
             THEN format('%s numbers, by process %s', leader, holder)
             ELSE format('process %s holds the lock of the one who numbers, and no node says that it is its own', holder)
        END,
        'what is sent waits; a session that holds the lock and is of no node is ended by pg_terminate_backend()';

    said := (SELECT string_agg(CASE
                    WHEN NOT n.listens OR n.moved > 0
                    THEN n.name || ' is given other sessions than its own'
                    ELSE n.name || ' does not talk to the server itself' END,
                    '; ' ORDER BY n.name)
               FROM broadcast.node n
              WHERE n.seen_at > clock_timestamp() - interval '15 s'
                AND (NOT n.listens OR n.moved > 0 OR n.session <> n.backend));

    RETURN QUERY SELECT 'pooler',
        CASE WHEN said IS NULL THEN 'ok'
             WHEN said LIKE '%other sessions%' THEN 'error' ELSE 'warn' END,
        coalesce(said, CASE WHEN alive = 0 THEN 'no node tells'
                            ELSE 'nodes and server talk without one' END),
        'LISTEN, the lock and prepared statements are of a session: connect to the server itself, or by a pooler in session mode';

    RETURN QUERY SELECT 'lag',
        CASE WHEN s.age > interval '60 s' THEN 'error'
             WHEN s.age > interval '5 s' THEN 'warn' ELSE 'ok' END,
        CASE WHEN s.n = 0 THEN 'all that was committed is numbered'
             ELSE format('%s messages wait, the oldest for %s', s.n,
                         date_trunc('second', s.age)) END,
        'see the checks relay and snapshots, and relay_lag_seconds of each node'
      FROM (SELECT count(*), clock_timestamp() - min(x.created_at)
              FROM broadcast.staging x) s(n, age);
END
$$;

COMMENT ON FUNCTION broadcast.doctor_relay() IS
'Internal: the checks of broadcast.doctor() about the nodes and who numbers';


CREATE OR REPLACE FUNCTION broadcast.doctor_history()
RETURNS TABLE ("check" text, status text, detail text, hint text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    head bigint := (SELECT greatest(s.head, u.head,
                                    (SELECT max(m.pos) FROM broadcast.message m))
                      FROM broadcast.state s, broadcast.upkept u
                     WHERE s.single AND u.single);
    gone text := (SELECT string_agg('message_' || h.first, ', ')
                    FROM broadcast.history h
                   WHERE NOT EXISTS (
                         SELECT FROM pg_inherits i
                           JOIN pg_class c ON c.oid = i.inhrelid
                          WHERE i.inhparent = 'broadcast.message'::regclass
                            AND c.relname = 'message_' || h.first));
    ready boolean := EXISTS (SELECT FROM broadcast.history h
                              WHERE h.upto > head + 1000);
    failure text := (SELECT format('since %s %s',
                                   date_trunc('second', u.since), u.failure)
                       FROM broadcast.upkept u
                      WHERE u.since < clock_timestamp() - interval '15 min');
BEGIN
    RETURN QUERY SELECT 'history',
        CASE WHEN gone IS NOT NULL THEN 'error'
             WHEN failure IS NOT NULL OR NOT ready THEN 'warn' ELSE 'ok' END,
        CASE WHEN gone IS NOT NULL
             THEN gone || ' was detached or dropped: rows for it have no place'
             WHEN failure IS NOT NULL THEN failure
             WHEN NOT ready THEN 'no part of broadcast.message is ready for what comes next'
             ELSE format('%s parts, up to pos %s',
                         (SELECT count(*) FROM broadcast.history), head) END,
        CASE WHEN gone IS NOT NULL
             THEN 'ATTACH it again, or DELETE its row from broadcast.history'
             ELSE 'see pg_locks for who has broadcast.message, and whether a node of this version leads (relay)' END;
END
$$;

COMMENT ON FUNCTION broadcast.doctor_history() IS
'Internal: the check of broadcast.doctor() about the parts of the history';


CREATE OR REPLACE FUNCTION broadcast.doctor_functions()
RETURNS TABLE ("check" text, status text, detail text, hint text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    said text;
BEGIN
    -- with role_claim= it is enough that a role that it may become can

    said := (SELECT string_agg(DISTINCT f.fault, '; ')
               FROM broadcast.binding b, broadcast.doctor_roles() r,
                    LATERAL (SELECT broadcast.bound_oid(b.function) AS proc) p,
                    LATERAL (SELECT CASE
                        WHEN p.proc IS NULL
                        THEN b.function || '(jsonb) does not exist'
                        WHEN NOT EXISTS (
                            SELECT FROM pg_roles m
                              JOIN pg_proc q ON q.oid = p.proc
                             WHERE pg_has_role(r.role, m.oid, 'MEMBER')
                               AND has_function_privilege(m.oid, q.oid,
                                                          'EXECUTE')
                               AND has_schema_privilege(m.oid,
                                                q.pronamespace, 'USAGE'))
                        THEN format('%s may not call %s', r.role, p.proc)
                        END AS fault) f
              WHERE f.fault IS NOT NULL);

    RETURN QUERY SELECT 'bindings',
        CASE WHEN said IS NULL THEN 'ok' ELSE 'error' END,
        coalesce(said, format('%s bindings', (SELECT count(*)
                                                FROM broadcast.binding))),
        'create the function again, GRANT EXECUTE on it and USAGE on its schema, or take it back: SELECT broadcast.unbind(null, ''-'')';

    said := (SELECT string_agg(format('%s: %s times', e.function, e.n), '; ')
               FROM (SELECT x.function, count(*) AS n
                       FROM broadcast.function_error x
                      WHERE x.at > clock_timestamp() - interval '1 hour'
                      GROUP BY 1 ORDER BY 2 DESC LIMIT 10) e);

    RETURN QUERY SELECT 'function_errors',
        CASE WHEN said IS NULL THEN 'ok' ELSE 'warn' END,
        coalesce('in the last hour ' || said,
                 'no function raised in the last hour'),
        'SELECT * FROM broadcast.function_error ORDER BY at DESC';

    said := (SELECT string_agg(t.name || ' since '
                               || date_trunc('second', t.next_due), '; '
                               ORDER BY t.next_due)
               FROM broadcast.timer t
              WHERE t.next_due < clock_timestamp() - interval '15 s');

    RETURN QUERY SELECT 'timers',
        CASE WHEN said IS NULL THEN 'ok' ELSE 'warn' END,
        coalesce('overdue: ' || said, format('%s timers, none is overdue',
                     (SELECT count(*) FROM broadcast.timer))),
        'see the check relay, or functions that take long hold up the others: a greater pool= in broadcast_database';

    RETURN QUERY SELECT e."check", e.status, e.detail, e.hint
                   FROM broadcast.doctor_exposed() e;
END
$$;

COMMENT ON FUNCTION broadcast.doctor_functions() IS
'Internal: the checks of broadcast.doctor() about functions and timers';


CREATE OR REPLACE FUNCTION broadcast.doctor_exposed()
RETURNS TABLE ("check" text, status text, detail text, hint text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    said text;
BEGIN
    said := (SELECT string_agg(DISTINCT f.fault, '; ')
               FROM broadcast.exposed e
               LEFT JOIN pg_namespace n ON n.nspname = e.schema,
                    broadcast.doctor_roles() r,
                    LATERAL (SELECT CASE
                        WHEN n.oid IS NULL
                        THEN e.schema || ' does not exist'
                        WHEN EXISTS (SELECT FROM aclexplode(n.nspacl) a
                                      WHERE a.grantee = 0
                                        AND a.privilege_type = 'CREATE')
                        THEN 'PUBLIC may create functions in ' || e.schema
                        WHEN NOT EXISTS (
                            SELECT FROM pg_roles m
                             WHERE pg_has_role(r.role, m.oid, 'MEMBER')
                               AND has_schema_privilege(m.oid, n.oid, 'USAGE'))
                        THEN format('%s may not use %s', r.role, e.schema)
                        END AS fault) f
              WHERE f.fault IS NOT NULL);

    RETURN QUERY SELECT 'exposed',
        CASE WHEN said IS NULL THEN 'ok'
             WHEN said LIKE '%PUBLIC%' OR said LIKE '%not exist%'
             THEN 'error' ELSE 'warn' END,
        coalesce(said, format('%s schemas', (SELECT count(DISTINCT e.schema)
                                               FROM broadcast.exposed e))),
        'everybody''s functions would be methods: REVOKE CREATE ON SCHEMA … FROM PUBLIC; or broadcast.unexpose()';

    said := (SELECT string_agg(DISTINCT format('%s of %s with %s arguments',
                                               m.name, m.hub, m.count), '; ')
               FROM broadcast.methods() m WHERE m.ambiguous);

    RETURN QUERY SELECT 'overloads',
        CASE WHEN said IS NULL THEN 'ok' ELSE 'warn' END,
        coalesce(said, 'each method and number of arguments is one function'),
        'of several with as many arguments none is called: give one of them another name, or one that begins with _';
END
$$;

COMMENT ON FUNCTION broadcast.doctor_exposed() IS
'Internal: the checks of broadcast.doctor() about exposed schemas';


CREATE OR REPLACE FUNCTION broadcast.doctor(
    patience interval DEFAULT '5 minutes')
RETURNS TABLE ("check" text, status text, detail text, hint text)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
    SELECT d."check", d.status, d.detail,
           CASE WHEN d.status <> 'ok' THEN d.hint END
      FROM (SELECT * FROM broadcast.doctor_server($1)
             UNION ALL SELECT * FROM broadcast.doctor_schema()
             UNION ALL SELECT * FROM broadcast.doctor_rights()
             UNION ALL SELECT * FROM broadcast.doctor_relay()
             UNION ALL SELECT * FROM broadcast.doctor_history()
             UNION ALL SELECT * FROM broadcast.doctor_functions()) d
$$;

COMMENT ON FUNCTION broadcast.doctor(interval) IS
'What may be wrong: one row a check, status ok, warn or error, with a hint what to do about it. A transaction is old that is older than patience. For the owner of the schema';


--
-- The history of an older version becomes the first part, whoever may read it
-- may read the whole, and views of it are views of the whole
--

DO $$
DECLARE
    r record;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_trigger t
                    WHERE t.tgrelid = 'broadcast.message'::regclass)
    THEN
        PERFORM broadcast.history_triggers('broadcast.message');
    END IF;

    IF EXISTS (SELECT FROM broadcast.history) THEN
        RETURN;
    END IF;

    IF to_regclass('broadcast.message_0') IS NULL THEN
        PERFORM broadcast.history_add(0), broadcast.history_add(65536);
        RETURN;
    END IF;

    IF EXISTS (SELECT FROM pg_catalog.pg_class c
                WHERE c.oid = 'broadcast.message_0'::regclass
                  AND c.relrowsecurity)
       OR EXISTS (SELECT FROM broadcast_view v WHERE v.kind <> 'v')
    THEN
        RAISE EXCEPTION 'broadcast.message has policies or a materialized view, which an upgrade to this version does not take along'
            USING HINT = 'drop them, upgrade, and create them again';
    END IF;

    INSERT INTO broadcast.history (first, upto, size)
    SELECT 0, greatest(s.head, (SELECT max(m.pos) FROM broadcast.message_0 m))
              + 1, 65536
      FROM broadcast.state s;

    UPDATE broadcast.hub SET pos = (SELECT h.upto - 1 FROM broadcast.history h);

    PERFORM broadcast.history_triggers('broadcast.message_0');

    EXECUTE format('ALTER TABLE broadcast.message ATTACH PARTITION'
                   ' broadcast.message_0 FOR VALUES FROM (0) TO (%s)',
                   (SELECT h.upto FROM broadcast.history h));

    FOR r IN
        SELECT a.grantee::regrole::text AS role, a.privilege_type AS what,
               NULL::name AS of, a.is_grantable AS on
          FROM pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) a
         WHERE c.oid = 'broadcast.message_0'::regclass
           AND a.grantee NOT IN (0, c.relowner)
         UNION ALL
        SELECT a.grantee::regrole::text, a.privilege_type, t.attname,
               a.is_grantable
          FROM pg_catalog.pg_attribute t, pg_catalog.aclexplode(t.attacl) a
         WHERE t.attrelid = 'broadcast.message_0'::regclass AND a.grantee <> 0
    LOOP
        EXECUTE format('GRANT %s%s ON broadcast.message TO %s%s', r.what,
                       coalesce(' (' || quote_ident(r.of) || ')', ''), r.role,
                       CASE WHEN r.on THEN ' WITH GRANT OPTION' ELSE '' END);
    END LOOP;

    FOR r IN SELECT * FROM broadcast_view LOOP
        EXECUTE format('CREATE OR REPLACE VIEW %s AS %s', r.name, r.text);
    END LOOP;

    PERFORM broadcast.history_add(
        (SELECT h.upto FROM broadcast.history h));
END
$$;


REVOKE ALL ON ALL FUNCTIONS IN SCHEMA broadcast FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA broadcast FROM PUBLIC;
REVOKE ALL ON SCHEMA broadcast FROM PUBLIC;

COMMIT;
