--
-- Copyright (C) The nginx-broadcast authors
--
-- Schema `broadcast` of ngx_http_broadcast_module: installs and upgrades.
--
--     psql -d app -v ON_ERROR_STOP=1 -f broadcast.sql
--
-- Plain SQL and PL/pgSQL, PostgreSQL 13 and later.  The role that runs it
-- owns the schema; it needs CREATE on the database the first time, and no
-- superuser right ever.  Nothing is granted to PUBLIC.
--
-- Who calls what:
--
--     users         send_*, add_to_group, remove_from_group,
--                   close_connection, position, bind, unbind
--     nginx         schema_version, dispatch, stage, ring, and the relay's
--                   sequence, read, replay, replay_state, positions, head,
--                   rules, begin_anew, bindings, bindings_version, node_beat,
--                   sweep, timers; keep_groups, and for the REST API present,
--                   members, groups
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
END
$$;

COMMENT ON SCHEMA broadcast IS
'Instant broadcasting: sends, functions and history of ngx_http_broadcast_module';


--
-- Tables
--

CREATE TABLE IF NOT EXISTS broadcast.setting (
    name   text PRIMARY KEY,
    value  text NOT NULL
);

COMMENT ON TABLE broadcast.setting IS
'Settings of the schema: doorbell (commit, off), history_age (interval), history_count (messages a hub), message_size (bytes), node_lease (interval). doorbell can also be set for a session: SET broadcast.doorbell = off';

INSERT INTO broadcast.setting (name, value) VALUES
    ('doorbell', 'commit'),
    ('history_age', '1 day'),
    ('history_count', '100000'),
    ('message_size', '1048576'),
    ('node_lease', '15 s')
ON CONFLICT (name) DO NOTHING;


CREATE TABLE IF NOT EXISTS broadcast.state (
    single  boolean PRIMARY KEY DEFAULT true CHECK (single),
    head    bigint NOT NULL DEFAULT 0
);

COMMENT ON TABLE broadcast.state IS
'One row: head is the newest pos of broadcast.message';

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

COMMENT ON TABLE broadcast.hub IS
'A row a hub: the epoch and the newest number given in it';


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

COMMENT ON TABLE broadcast.staging IS
'What was sent and is not numbered yet; empty when the relay is up to date';


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
    UNIQUE (hub, epoch, seq)
);

COMMENT ON TABLE broadcast.message IS
'History: every numbered message and command. type 1 message, 2 join, 3 leave, 4 close, 6 a new epoch; scope 0 all, 1 group, 2 user, 3 connection (its name in name). Types from 12 on, questions to a connection, their answers and the items of its streams, are on their way between nodes: of no history, so their epoch is 0 and their seq is their pos';


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

COMMENT ON TABLE broadcast.node IS
'The nginx instances on this database and when each was last heard of';


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
'Who is connected: the proof that `connected` was called and `disconnected` is owed';


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

CREATE INDEX IF NOT EXISTS function_error_at ON broadcast.function_error (at);

COMMENT ON TABLE broadcast.function_error IS
'What functions called for connected and disconnected raised; the newest 1000';


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
AS $$ SELECT 3 $$;

COMMENT ON FUNCTION broadcast.schema_version() IS
'Version of this schema; the module refuses one that is older than it needs';


CREATE OR REPLACE FUNCTION broadcast.checked_hub(hub text) RETURNS text
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF hub IS NULL OR hub !~ '^[A-Za-z][]A-Za-z0-9_`,.[]{0,127}$' THEN
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


CREATE OR REPLACE FUNCTION broadcast.put(hub text, type int, scope int,
    source int, name text, grp text, target text, arguments json,
    detail text, excluded text[], ttl interval) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    bell text;
BEGIN
    INSERT INTO broadcast.staging (hub, type, scope, source, name, grp,
                                   target, arguments, detail, excluded, ttl)
    VALUES (hub, type, scope, source, name, grp, target, arguments, detail,
            nullif(array_to_string(excluded, ','), ''),
            extract(epoch FROM ttl));

    bell := nullif(current_setting('broadcast.doorbell', true), '');

    IF bell IS NULL THEN
        SELECT s.value INTO bell FROM broadcast.setting s
         WHERE s.name = 'doorbell';
    END IF;

    IF bell IS DISTINCT FROM 'off' THEN
        PERFORM pg_notify('broadcast_doorbell', '');
    END IF;
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


CREATE OR REPLACE FUNCTION broadcast.send(hub text, scope int, name text,
    target text, arguments jsonb, excluded text[], source int) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
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

    IF scope > 0 AND coalesce(name, '') = '' THEN
        RAISE EXCEPTION 'a % name is needed', what
            USING ERRCODE = 'invalid_parameter_value';
    END IF;

    IF (CASE scope WHEN 1 THEN char_length(name)
                   ELSE octet_length(name) END) > 1024
    THEN
        RAISE EXCEPTION 'the % name is longer than 1024 %', what,
                CASE scope WHEN 1 THEN 'characters' ELSE 'bytes' END
            USING ERRCODE = 'invalid_parameter_value';
    END IF;

    PERFORM broadcast.check_size(octet_length(arguments::text)
        + coalesce(octet_length(array_to_string(excluded, ',')), 0));

    PERFORM broadcast.put(hub, 1, scope, source, name, NULL, target,
                          arguments::text::json, NULL, excluded, NULL);
END
$$;

COMMENT ON FUNCTION broadcast.send(text, int, text, text, jsonb, text[], int)
IS 'Internal: checks and stages one message';


--
-- Sending
--

CREATE OR REPLACE FUNCTION broadcast.send_all(hub text, target text,
    arguments jsonb, excluded text[] DEFAULT '{}') RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM broadcast.send(hub, 0, NULL, target, arguments, excluded, 0);
END
$$;

COMMENT ON FUNCTION broadcast.send_all(text, text, jsonb, text[]) IS
'Sends a message to all clients of a hub, but for the excluded connection ids, if and when the transaction commits';


CREATE OR REPLACE FUNCTION broadcast.send_group(hub text, "group" text,
    target text, arguments jsonb, excluded text[] DEFAULT '{}') RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM broadcast.send(hub, 1, "group", target, arguments, excluded, 0);
END
$$;

COMMENT ON FUNCTION broadcast.send_group(text, text, text, jsonb, text[]) IS
'Sends a message to the members of a group of a hub, but for the excluded connection ids, if and when the transaction commits';


CREATE OR REPLACE FUNCTION broadcast.send_user(hub text, "user" text,
    target text, arguments jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM broadcast.send(hub, 2, "user", target, arguments, '{}', 0);
END
$$;

COMMENT ON FUNCTION broadcast.send_user(text, text, text, jsonb) IS
'Sends a message to all connections of a user, if and when the transaction commits';


CREATE OR REPLACE FUNCTION broadcast.send_connection(hub text,
    connection text, target text, arguments jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM broadcast.send(hub, 3, connection, target, arguments, '{}', 0);
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

    IF grp IS NOT NULL
       AND (btrim(grp) = '' OR char_length(grp) > 1024)
       OR grp IS NULL AND type = 2
    THEN
        RAISE EXCEPTION 'a group name of 1 to 1024 characters is needed'
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
IS 'Adds a connection, or the connections of a user, to a group; messages that are sent later reach it there. Connections that the user makes later join it, too, for the ttl (0: they do not), or for a year';


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

    PERFORM broadcast.check_size(octet_length(reason));

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


CREATE OR REPLACE FUNCTION broadcast.position(hub text) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce((SELECT to_hex(h.epoch) || '-' || h.seq
                       FROM broadcast.hub h
                      WHERE h.name = broadcast.checked_hub($1)),
                    '0-0')
$$;

COMMENT ON FUNCTION broadcast.position(text) IS
'Position of a hub, of the statement''s snapshot: connect with it to get what came later. Opaque';


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
    IF kind IS NULL
       OR kind NOT IN ('connect', 'connected', 'disconnected', 'message',
                       'http', 'timer', 'after')
    THEN
        RAISE EXCEPTION 'unknown kind of binding: %',
                coalesce(quote_literal(kind), 'null')
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'connect, connected, disconnected, message, http, timer or after';
    END IF;

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

    IF role IS NOT NULL AND kind <> 'http' THEN
        RAISE EXCEPTION 'a role can be required for http functions only'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;

    IF kind = 'timer' THEN
        PERFORM broadcast.timer_check(every);
    END IF;

    -- better refused than never called

    IF proc.proretset OR kind = 'after' THEN
        RAISE EXCEPTION '% functions are not in this version',
                CASE WHEN proc.proretset THEN 'streaming' ELSE kind END
            USING ERRCODE = 'feature_not_supported';
    END IF;

    IF hub IS NOT NULL THEN
        hub := broadcast.checked_hub(hub);
    END IF;

    IF event IS NULL AND kind IN ('http', 'timer', 'after') THEN
        event := proc.proname;
    END IF;

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
    SELECT format('%I.%I', n.nspname, p.proname) INTO qualified
      FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
     WHERE p.oid = function::oid;

    DELETE FROM broadcast.binding b
     WHERE b.kind = coalesce(unbind.kind, b.kind)
       AND b.function = coalesce(qualified, b.function)
       AND (unbind.hub IS NULL OR b.hub = lower(unbind.hub))
       AND (unbind.event IS NULL OR b.event = unbind.event);

    IF FOUND THEN
        PERFORM broadcast.timer_unbind();
        PERFORM broadcast.bindings_changed();
    END IF;
END
$$;

COMMENT ON FUNCTION broadcast.unbind(text, regproc, text, text) IS
'Takes bindings back; null matches any kind, function, hub or event';


--
-- What the module calls: publishing
--

CREATE OR REPLACE FUNCTION broadcast.stage(hub text[], type smallint[],
    scope smallint[], source smallint[], name text[], grp text[],
    target text[], arguments text[], excluded text[], mark bigint[],
    ttl double precision[]) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
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
     ORDER BY r.n
$$;

COMMENT ON FUNCTION broadcast.stage(text[], smallint[], smallint[],
    smallint[], text[], text[], text[], text[], text[], bigint[],
    double precision[]) IS
'The module''s publishers: stages many records in one statement';


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


CREATE OR REPLACE FUNCTION broadcast.prune(hubs text[]) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    age interval;
    keep bigint;
BEGIN
    SELECT s.value::interval INTO age FROM broadcast.setting s
     WHERE s.name = 'history_age';
    SELECT s.value::bigint INTO keep FROM broadcast.setting s
     WHERE s.name = 'history_count';

    DELETE FROM broadcast.message WHERE pos IN
        (SELECT old.pos
           FROM (SELECT m.pos, m.created_at FROM broadcast.message m
                  ORDER BY m.pos LIMIT 2000) old
          WHERE old.created_at < clock_timestamp() - age);

    -- a node that was away for so long was given up, with its connections

    DELETE FROM broadcast.message WHERE pos IN
        (SELECT old.pos
           FROM (SELECT m.pos, m.created_at FROM broadcast.message m
                  WHERE m.hub = ANY (hubs) AND m.epoch = 0
                  ORDER BY m.hub, m.epoch, m.seq LIMIT 10000) old
          WHERE old.created_at < clock_timestamp() - interval '1 hour');

    DELETE FROM broadcast.message m USING broadcast.hub h
     WHERE h.name = ANY (hubs) AND m.hub = h.name AND m.epoch = h.epoch
       AND m.seq <= h.seq - keep AND m.seq > h.seq - keep - 10000;

    PERFORM broadcast.membership_prune();
END
$$;

COMMENT ON FUNCTION broadcast.prune(text[]) IS
'Internal: removes a bounded piece of what is older or more than broadcast.setting keeps';


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


CREATE OR REPLACE FUNCTION broadcast.sequence(lim int) RETURNS int
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    ids bigint[];
    hubs text[];
    users boolean;
    start bigint;
    n int;
BEGIN
    SELECT array_agg(s.id), array_agg(DISTINCT s.hub),
           bool_or(s.type IN (2, 3) AND s.scope = 2)
      INTO ids, hubs, users
      FROM (SELECT id, hub, type, scope FROM broadcast.staging
             ORDER BY id LIMIT lim) s;

    n := coalesce(cardinality(ids), 0);

    IF n = 0 THEN
        RETURN 0;
    END IF;

    -- the number must be as durable as the message it was given to

    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;

    INSERT INTO broadcast.hub (name, epoch)
    SELECT h, broadcast.epoch() FROM unnest(hubs) h
        ON CONFLICT (name) DO NOTHING;

    UPDATE broadcast.state SET head = head + n
 RETURNING head - n INTO start;

    WITH moved AS (
        DELETE FROM broadcast.staging WHERE id = ANY (ids) RETURNING *
    ), ranked AS (
        SELECT moved.*, row_number() OVER (ORDER BY id) AS p,
               CASE WHEN moved.type < 12
                    THEN row_number() OVER (PARTITION BY moved.hub,
                                            moved.type < 12 ORDER BY id)
               END AS q
          FROM moved
    ), hubs_moved AS (
        UPDATE broadcast.hub h SET seq = h.seq + c.n
          FROM (SELECT moved.hub,
                       count(*) FILTER (WHERE moved.type < 12) AS n
                  FROM moved GROUP BY 1) c
         WHERE h.name = c.hub
     RETURNING h.name, h.epoch, h.seq - c.n AS base
    )
    INSERT INTO broadcast.message (pos, hub, epoch, seq, type, scope, source,
                                   name, grp, target, arguments, detail,
                                   excluded, mark, ttl, size, created_at)
    SELECT start + r.p, r.hub,
           CASE WHEN r.q IS NULL THEN 0 ELSE h.epoch END,
           coalesce(h.base + r.q, start + r.p), r.type, r.scope,
           r.source, r.name, r.grp, r.target, r.arguments, r.detail,
           r.excluded,
           coalesce(r.mark, (random() * 9007199254740992)::bigint), r.ttl,
           coalesce(octet_length(r.arguments::text), 0)
           + coalesce(octet_length(r.detail), 0)
           + coalesce(octet_length(r.excluded), 0) + 256,
           r.created_at
      FROM ranked r JOIN hubs_moved h ON h.name = r.hub;

    IF users THEN
        PERFORM broadcast.membership_apply(start, start + n);
    END IF;

    IF start / 1000 <> (start + n) / 1000 THEN
        PERFORM broadcast.prune(hubs);
    END IF;

    IF (SELECT count(*) > 1 FROM broadcast.node
         WHERE seen_at > clock_timestamp() - interval '15 s')
    THEN
        PERFORM pg_notify('broadcast_batch', '');
    END IF;

    RETURN n;
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

CREATE OR REPLACE FUNCTION broadcast.read(after bigint, lim int)
RETURNS TABLE (pos bigint, hub text, epoch bigint, seq bigint, type smallint,
               scope smallint, source smallint, name text, grp text,
               target text, arguments text, excluded text, mark bigint,
               created bigint, ttl bigint)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
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
     ORDER BY m.pos
$$;

COMMENT ON FUNCTION broadcast.read(bigint, int) IS
'Every relay: the history behind pos, at most lim rows and some 4 MB, at least one row if there is one';


CREATE OR REPLACE FUNCTION broadcast.replay(hub text, epoch bigint,
    after bigint, upto bigint, lim int)
RETURNS TABLE (pos bigint, hub text, epoch bigint, seq bigint, type smallint,
               scope smallint, source smallint, name text, grp text,
               target text, arguments text, excluded text, mark bigint,
               created bigint)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT m.pos, m.hub, m.epoch, m.seq, m.type, m.scope, m.source, m.name,
           m.grp, m.target, coalesce(m.arguments::text, m.detail),
           m.excluded, m.mark,
           (extract(epoch FROM m.created_at) * 1000000)::bigint
      FROM (SELECT w.*, sum(w.size) OVER (ORDER BY w.seq) AS bytes
              FROM (SELECT * FROM broadcast.message x
                     WHERE x.hub = $1 AND x.epoch = $2
                       AND x.seq > $3 AND x.seq <= $4
                     ORDER BY x.seq LIMIT $5) w) m
     WHERE m.bytes - m.size < 4194304
     ORDER BY m.seq
$$;

COMMENT ON FUNCTION broadcast.replay(text, bigint, bigint, bigint, int) IS
'The history of one hub with after < seq <= upto, commands among it (type), at most lim rows and some 4 MB';


CREATE OR REPLACE FUNCTION broadcast.replay_state(hub text)
RETURNS TABLE (epoch bigint, oldest bigint, newest bigint)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT h.epoch,
           coalesce((SELECT m.seq FROM broadcast.message m
                      WHERE m.hub = h.name AND m.epoch = h.epoch
                      ORDER BY m.seq LIMIT 1), h.seq + 1),
           h.seq
      FROM broadcast.hub h WHERE h.name = $1
$$;

COMMENT ON FUNCTION broadcast.replay_state(text) IS
'How far the history of a hub reaches: its epoch, the oldest number kept (newest + 1 if none) and the newest given';


CREATE OR REPLACE FUNCTION broadcast.positions()
RETURNS TABLE (hub text, epoch bigint, seq bigint)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT h.name, h.epoch, h.seq FROM broadcast.hub h ORDER BY 1
$$;

COMMENT ON FUNCTION broadcast.positions() IS
'Every hub with its epoch and newest number';


CREATE OR REPLACE FUNCTION broadcast.head() RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$ SELECT s.head FROM broadcast.state s $$;

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


CREATE OR REPLACE FUNCTION broadcast.begin_anew(known bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    n bigint;
    start bigint := known + 1000000;
BEGIN
    -- holds up the sequencer; and of several nodes only the first does it

    UPDATE broadcast.state SET head = start WHERE head < known;

    IF NOT FOUND THEN
        RETURN;
    END IF;

    -- the margin: no node has read as far, so all of them find these rows

    WITH anew AS (
        UPDATE broadcast.hub SET epoch = broadcast.epoch(), seq = seq + 1
     RETURNING name, epoch, seq
    ), told AS (
        INSERT INTO broadcast.message (pos, hub, epoch, seq, type, scope,
                                       source, mark, size, created_at)
        SELECT start + row_number() OVER (ORDER BY name), name, epoch, seq,
               6, 0, 0, (random() * 9007199254740992)::bigint, 256,
               clock_timestamp()
          FROM anew
     RETURNING pos
    )
    SELECT count(*) INTO n FROM told;

    UPDATE broadcast.state SET head = start + n;

    PERFORM pg_notify('broadcast_batch', '');
END
$$;

COMMENT ON FUNCTION broadcast.begin_anew(bigint) IS
'A relay that has read further than the history reaches, because an older state of the database was put back: gives every hub a new epoch, and a row that says so';


CREATE OR REPLACE FUNCTION broadcast.bindings()
RETURNS TABLE (kind text, hub text, event text, role text)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT b.kind, b.hub, b.event, b.role FROM broadcast.binding b
$$;

COMMENT ON FUNCTION broadcast.bindings() IS
'Which events have a function: nginx keeps it in shared memory';


CREATE OR REPLACE FUNCTION broadcast.bindings_version() RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$ SELECT s.version FROM broadcast.binding_state s $$;

COMMENT ON FUNCTION broadcast.bindings_version() IS
'Changes with every bind and unbind';


CREATE OR REPLACE FUNCTION broadcast.node_beat(node text,
    lease double precision DEFAULT NULL) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO broadcast.node (name) VALUES ($1)
        ON CONFLICT (name) DO UPDATE SET seen_at = clock_timestamp()
$$;

COMMENT ON FUNCTION broadcast.node_beat(text, double precision) IS
'A node says that it lives';


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
           (connection_id, hub, user_id, node, transport, remote_address,
            claims, query, headers)
    VALUES (event->>'connectionId', event->>'hub',
            nullif(event->>'userId', ''), event->>'node', event->>'transport',
            event->>'remoteAddress', event->'claims', event->'query',
            event->'headers')
        ON CONFLICT (connection_id) DO NOTHING;

    IF NOT FOUND THEN
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
'Internal: a connection is live, in these groups; false if its row was there';


CREATE OR REPLACE FUNCTION broadcast.connection_remove(connection text)
    RETURNS jsonb
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    WITH removed AS (
        DELETE FROM broadcast.connections WHERE connection_id = $1
        RETURNING connection_id, hub, user_id, transport, claims, query)
    SELECT jsonb_build_object('connectionId', connection_id, 'hub', hub,
                              'userId', user_id, 'transport', transport,
                              'claims', claims, 'query', query)
      FROM removed
$$;

COMMENT ON FUNCTION broadcast.connection_remove(text) IS
'Internal: a connection ended; what was known of it, or null if it was gone';


CREATE OR REPLACE FUNCTION broadcast.connection_known(connection text)
    RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object('claims', c.claims, 'query', c.query)
      FROM broadcast.connections c WHERE c.connection_id = $1
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


CREATE OR REPLACE FUNCTION broadcast.error_add(kind text, function text,
    event jsonb, sqlstate text, message text, detail text, hint text,
    context text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO broadcast.function_error (kind, function, hub, connection_id,
                sqlstate, message, detail, hint, context)
    VALUES (kind, function, event->>'hub', event->>'connectionId',
            sqlstate, message, nullif(detail, ''), nullif(hint, ''),
            context);

    IF random() < 0.01 THEN
        DELETE FROM broadcast.function_error e
         WHERE e.at < (SELECT x.at FROM broadcast.function_error x
                        ORDER BY x.at DESC OFFSET 1000 LIMIT 1);
    END IF;
END
$$;

COMMENT ON FUNCTION broadcast.error_add(text, text, jsonb, text, text, text,
                                        text, text) IS
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
                     ELSE 0 END,
                coalesce(nullif(a->>'connectionId', ''),
                         nullif(a->>'userId', ''), a->>'groupName'),
                a->>'target', coalesce(a->'arguments', '[]'), '{}', 4);
        END IF;
    END LOOP;

    RETURN n;
END
$$;

COMMENT ON FUNCTION broadcast.act(text, jsonb) IS
'Stages actions: an object, an array, or {"actions": …}; those without a hub of their own go to the hub given';


CREATE OR REPLACE FUNCTION broadcast.run(function text, event jsonb)
    RETURNS jsonb
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    proc oid := pg_catalog.to_regprocedure(function || '(jsonb)');
    ret oid;
    result jsonb;
BEGIN
    IF proc IS NULL THEN
        RAISE EXCEPTION 'the bound function %(jsonb) does not exist', function
            USING ERRCODE = 'undefined_function',
                  HINT = 'create it again, or take it back with broadcast.unbind()';
    END IF;

    SELECT p.prorettype INTO ret FROM pg_catalog.pg_proc p
     WHERE p.oid = proc;

    IF ret = 'pg_catalog.void'::pg_catalog.regtype THEN
        EXECUTE pg_catalog.format('SELECT %s($1)', function) USING event;
    ELSE
        EXECUTE pg_catalog.format('SELECT %s($1)::pg_catalog.jsonb', function)
           INTO result USING event;
    END IF;

    RETURN result;
END
$$;

COMMENT ON FUNCTION broadcast.run(text, jsonb) IS
'Internal: calls a bound function with an event, as the role that asks';


CREATE OR REPLACE FUNCTION broadcast.bound(kind text, hub text, event text)
RETURNS TABLE (function text, of_hub text, role text)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT b.function, b.hub, b.role
      FROM broadcast.binding b
     WHERE b.kind = $1
       AND ($1 IN ('http', 'timer', 'after')
            OR b.hub IS NULL OR b.hub = lower($2))
       AND (b.event IS NULL OR lower(b.event) = lower($3)
            OR $1 IN ('connect', 'connected', 'disconnected'))
     ORDER BY b.event IS NULL, b.hub IS NULL, b.function
$$;

COMMENT ON FUNCTION broadcast.bound(text, text, text) IS
'Internal: the functions of an event, the most particular first';


CREATE OR REPLACE FUNCTION broadcast.notice(kind text, event jsonb)
    RETURNS jsonb
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    b record;
    result jsonb;
    failed jsonb := '[]';
    state text; message text; detail text; hint text; context text;
BEGIN
    FOR b IN SELECT * FROM broadcast.bound(kind, event->>'hub', NULL) LOOP
        BEGIN
            result := broadcast.run(b.function, event);
            PERFORM broadcast.act(event->>'hub', result);

        EXCEPTION WHEN others THEN
            GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE,
                message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
                hint = PG_EXCEPTION_HINT, context = PG_EXCEPTION_CONTEXT;

            PERFORM broadcast.error_add(kind, b.function, event, state,
                                        message, detail, hint, context);

            failed := failed || pg_catalog.jsonb_build_object(
                'function', b.function, 'sqlstate', state,
                'message', message);
        END;
    END LOOP;

    IF failed = '[]' THEN
        RETURN NULL;
    END IF;

    RETURN pg_catalog.jsonb_build_object('errors', failed);
END
$$;

COMMENT ON FUNCTION broadcast.notice(text, jsonb) IS
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


CREATE OR REPLACE FUNCTION broadcast.ask(event jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    b record;
    result jsonb;
    answer jsonb := '{}';
BEGIN
    IF event ? 'function' THEN
        RETURN broadcast.opinion(broadcast.run(event->>'function',
                                               event - 'function'));
    END IF;

    FOR b IN SELECT * FROM broadcast.bound('connect', event->>'hub', NULL)
    LOOP
        result := broadcast.opinion(broadcast.run(b.function, event));

        IF result ? 'refuse' THEN
            RETURN result;
        END IF;

        IF result IS NOT NULL THEN
            answer := answer || (result - 'groups')
                || pg_catalog.jsonb_build_object('groups',
                       coalesce(answer->'groups', '[]')
                       || coalesce(result->'groups', '[]'));
        END IF;
    END LOOP;

    RETURN nullif(answer, '{}');
END
$$;

COMMENT ON FUNCTION broadcast.ask(jsonb) IS
'Internal: asks the connect functions; the first refusal counts, groups add up';


CREATE OR REPLACE FUNCTION broadcast.answer(event jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    b record;
    kind text := event->>'kind';
    result jsonb;
BEGIN
    SELECT * INTO b
      FROM broadcast.bound(kind, event->>'hub',
                           CASE kind WHEN 'message' THEN event->>'target'
                                     ELSE event->>'name' END)
     LIMIT 1;

    IF NOT FOUND THEN
        RAISE EXCEPTION 'no % function is bound for %', kind,
                coalesce(event->>'target', event->>'name')
            USING ERRCODE = 'undefined_function';
    END IF;

    IF kind = 'message' THEN
        event := '{"claims": {}, "query": {}}'
                 || coalesce(broadcast.connection_known(
                                 event->>'connectionId'), '{}')
                 || event;
    END IF;

    result := broadcast.run(b.function, event);

    IF pg_catalog.jsonb_typeof(result) = 'object' THEN
        IF result ? 'actions' THEN
            PERFORM broadcast.act(coalesce(b.of_hub, event->>'hub'),
                                  result->'actions');
            RETURN result - 'actions';
        END IF;

        IF kind <> 'message' AND kind <> 'http'
           OR NOT result ? 'result' AND kind = 'message'
              AND (result ? 'target' OR result ? 'action')
        THEN
            PERFORM broadcast.act(coalesce(b.of_hub, event->>'hub'), result);
            RETURN NULL;
        END IF;

    ELSIF pg_catalog.jsonb_typeof(result) = 'array' AND kind <> 'http' THEN
        PERFORM broadcast.act(coalesce(b.of_hub, event->>'hub'), result);
        RETURN NULL;
    END IF;

    RETURN result;
END
$$;

COMMENT ON FUNCTION broadcast.answer(jsonb) IS
'Internal: calls the one function of a message or http event and stages its actions';


CREATE OR REPLACE FUNCTION broadcast.dispatch(event jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    kind text := event->>'kind';
    gone jsonb;
BEGIN
    event := event - 'kind'
             || pg_catalog.jsonb_build_object('kind', kind);

    IF kind = 'connected' THEN
        IF NOT broadcast.connection_add(event) THEN
            RETURN NULL;
        END IF;

        RETURN broadcast.notice(kind, event - 'groups');
    END IF;

    IF kind = 'disconnected' THEN
        gone := broadcast.connection_remove(event->>'connectionId');

        -- also if `connected` is still on its way: nginx asks again then

        IF gone IS NULL THEN
            RETURN '{"unknown": true}'::pg_catalog.jsonb;
        END IF;

        RETURN broadcast.notice(kind, gone || event);
    END IF;

    IF kind = 'connect' THEN
        RETURN broadcast.ask(event);
    END IF;

    IF kind = 'timer' THEN
        RETURN broadcast.tick((event->>'id')::bigint);
    END IF;

    IF kind IN ('message', 'http', 'after') THEN
        RETURN broadcast.answer(event);
    END IF;

    RAISE EXCEPTION 'unknown kind of event: %', kind
        USING ERRCODE = 'invalid_parameter_value';
END
$$;

COMMENT ON FUNCTION broadcast.dispatch(jsonb) IS
'nginx''s one entry to functions: calls what is bound for the event and stages its actions in the same transaction';


CREATE OR REPLACE FUNCTION broadcast.sweep(lim int DEFAULT 100) RETURNS int
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    c record;
    n int := 0;
BEGIN
    FOR c IN SELECT * FROM broadcast.orphans(lim) LOOP
        PERFORM broadcast.dispatch(pg_catalog.jsonb_build_object(
                    'kind', 'disconnected', 'connectionId', c.connection_id,
                    'error', 'node lost'));
        n := n + 1;
    END LOOP;

    RETURN n;
END
$$;

COMMENT ON FUNCTION broadcast.sweep(int) IS
'The leading relay: calls disconnected for connections of nodes that were not heard of for their lease; returns how many';


CREATE OR REPLACE FUNCTION broadcast.orphans(lim int)
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
     WHERE n.seen_at < clock_timestamp() - lease
       AND NOT EXISTS (SELECT FROM broadcast.connections c
                        WHERE c.node = n.name);

    RETURN QUERY
    SELECT c.connection_id FROM broadcast.connections c
     WHERE NOT EXISTS (SELECT FROM broadcast.node n
                        WHERE n.name = c.node
                          AND n.seen_at >= clock_timestamp() - lease)
     ORDER BY c.connected_at LIMIT lim;
END
$$;

COMMENT ON FUNCTION broadcast.orphans(int) IS
'Internal: connections whose node was not heard of for its lease';


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
           last_run = started, duration = now - started, last_error = error,
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

    -- What would fail at the commit fails here, where it can be told.  The
    -- function may have become another role, so the last word is in here,
    -- too; after an error it is this one again.

    BEGIN
        PERFORM broadcast.act(t.hub, broadcast.run(t.function, event));
        SET CONSTRAINTS ALL IMMEDIATE;
        PERFORM broadcast.timer_ran(id, started, NULL);

    EXCEPTION WHEN others OR query_canceled OR assert_failure THEN
        GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE,
            message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
            hint = PG_EXCEPTION_HINT, context = PG_EXCEPTION_CONTEXT;

        PERFORM broadcast.timer_ran(id, started, state || ': ' || message);
        PERFORM broadcast.error_add('timer', t.function, event, state,
                                    message, detail, hint, context);

        RETURN pg_catalog.jsonb_build_object('errors',
            pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_object(
                'function', t.function, 'sqlstate', state,
                'message', message)));
    END;

    RETURN NULL;
END
$$;

COMMENT ON FUNCTION broadcast.tick(bigint) IS
'Internal: runs a timer if it is due and nobody else does; also a tick that fails or takes too long is one that was run';


REVOKE ALL ON ALL FUNCTIONS IN SCHEMA broadcast FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA broadcast FROM PUBLIC;
REVOKE ALL ON SCHEMA broadcast FROM PUBLIC;

COMMIT;
