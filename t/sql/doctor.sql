-- broadcast.doctor(): each problem is made, and seen by the owner, who is no
-- superuser; nothing else is said then.

SELECT * FROM no_plan();
SET LOCAL client_min_messages = warning;

CREATE SCHEMA app;
GRANT USAGE ON SCHEMA app TO owner;

CREATE FUNCTION app.note(e jsonb) RETURNS jsonb LANGUAGE sql AS
$$ SELECT NULL::jsonb $$;
CREATE SCHEMA methods;
GRANT USAGE ON SCHEMA methods TO owner;
CREATE FUNCTION methods.one(a int) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE ROLE plain LOGIN;
CREATE ROLE group_of_it;


-- What is not ok after a change, as the owner sees it; the change is undone.

CREATE FUNCTION app.after(VARIADIC changes text[]) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    change text;
    said text;
BEGIN
    FOREACH change IN ARRAY changes LOOP
        EXECUTE change;
    END LOOP;

    SET LOCAL ROLE owner;

    SELECT string_agg(d."check" || ' ' || d.status, ', ' ORDER BY d."check")
      INTO said
      FROM broadcast.doctor() d
     WHERE d.status <> 'ok' OR (d.hint IS NOT NULL) <> (d.status <> 'ok')
        OR d.detail IS NULL;

    RAISE EXCEPTION SQLSTATE 'ZZ001' USING MESSAGE = coalesce(said, 'ok');

EXCEPTION WHEN SQLSTATE 'ZZ001' THEN
    GET STACKED DIAGNOSTICS said = MESSAGE_TEXT;
    RETURN said;
END
$$;


-- all is well: a node is here, its relay is this very session

INSERT INTO broadcast.node (name) VALUES ('n1');
SELECT broadcast.node_about('n1', pg_backend_pid(), 9);
SELECT is((SELECT listens FROM broadcast.node), false,
          'a session that does not LISTEN is known as that');
UPDATE broadcast.node SET role = 'owner', listens = true;
SELECT pg_try_advisory_lock(hashtext('broadcast.relay'));
SELECT broadcast.bind('connected', 'app.note');
SELECT broadcast.bind('timer', 'app.note', every => '1 hour');
SELECT broadcast.expose('chat', 'methods');

SELECT is(app.after('SELECT 1'), 'ok', 'where nothing is wrong all is ok');
SELECT bag_eq($$ SELECT "check" FROM broadcast.doctor() $$,
    $$ SELECT unnest('{server_version, recovery, encoding, wal_level, source,
         synchronous_commit, transactions, connections, notify_queue,
         snapshots, schema_version, settings, sending, doorbell, owner, public_rights,
         role_rights, role_power, role_members, nodes, relay, pooler, lag, history,
         bindings, function_errors, timers, exposed, overloads}'::text[]) $$,
    'one row a check, by these names');


-- the server

SELECT is(app.after('ALTER ROLE owner SET synchronous_commit = off'),
          'synchronous_commit warn',
          'a role whose commits do not wait for the disk');
SELECT is(app.after('ALTER DATABASE doctor SET synchronous_commit = off',
                    'ALTER ROLE owner SET synchronous_commit = local'),
          'ok', '... what is set for the role counts');
SELECT is(app.after('SET LOCAL synchronous_commit = off'),
          'synchronous_commit warn', 'a server where it is off');
SELECT is(app.after('ALTER ROLE owner SET default_transaction_read_only = on'),
          'transactions error', 'a role that may only read');
SELECT is(app.after('ALTER DATABASE doctor SET default_transaction_isolation
                     = serializable'),
          'transactions warn', 'a database with another isolation');
SELECT is(app.after('UPDATE broadcast.node SET pool = 1000'),
          'connections error', 'more connections than there may be');
SELECT is(app.after('ALTER ROLE owner CONNECTION LIMIT 5'),
          'connections error', '... of the role');
SELECT is(app.after('ALTER DATABASE doctor CONNECTION LIMIT 5'),
          'connections error', '... of the database');


-- the schema

SELECT is(app.after('CREATE OR REPLACE FUNCTION broadcast.schema_version()
                     RETURNS int LANGUAGE sql IMMUTABLE AS ''SELECT 3'''),
          'schema_version error', 'an older schema was put over this one');
CREATE VIEW pg_temp.bad AS SELECT *
  FROM (VALUES ('doorbell', 'loud'), ('history_age', 'for ever'),
               ('history_age', '-1 day'), ('history_count', 'many'),
               ('history_count', '0'), ('message_size', '1 MB'),
               ('node_lease', '0'), ('node_lease', '15 apples'))
       v(name, value);
SELECT throws_ok(format('UPDATE broadcast.setting SET value = %L
                          WHERE name = %L', value, name), '22023', NULL,
                 format('%s = %s is refused', name, value))
  FROM pg_temp.bad;
SELECT is(app.after(format('ALTER TABLE broadcast.setting DISABLE TRIGGER USER;
                            UPDATE broadcast.setting SET value = %L
                             WHERE name = %L', value, name)),
          'settings error', format('... and found if it is there: %s', name))
  FROM pg_temp.bad;
SELECT is(app.after('UPDATE broadcast.setting SET value = ''1 s''
                      WHERE name = ''node_lease'''),
          'settings error', 'a short lease is not refused, but found');
SELECT is(app.after('DELETE FROM broadcast.setting
                     WHERE name = ''history_count'''),
          'settings error', 'a setting that is missing');
SELECT is(app.after('UPDATE broadcast.setting SET value = ''off''
                     WHERE name = ''doorbell'''),
          'doorbell warn', 'a doorbell that does not ring');
CREATE TEMPORARY TABLE other AS SELECT *
  FROM (VALUES ('doorbell', 'commit'), ('doorbell', 'adaptive'),
               ('message_size', '1000'), ('source', 'wal')) v(name, value)
 WHERE (name, value) NOT IN (SELECT s.name, s.value FROM broadcast.setting s);
SELECT is(app.after(format('ALTER TABLE broadcast.setting DISABLE TRIGGER USER;
                            UPDATE broadcast.setting SET value = %L
                             WHERE name = %L', value, name)),
          'sending error',
          format('%s = %s that sends do not go by: triggers were off', name,
                 value))
  FROM pg_temp.other;
SELECT is(app.after('ALTER TABLE broadcast.setting DISABLE TRIGGER USER',
                    'UPDATE broadcast.setting SET value = ''1000''
                      WHERE name = ''message_size''',
                    'ALTER TABLE broadcast.setting ENABLE TRIGGER USER',
                    'UPDATE broadcast.setting SET value = value'),
          'ok', '... what the hint says puts it right');
SELECT is(app.after('UPDATE broadcast.setting SET value = ''01000''
                      WHERE name = ''message_size'''),
          'ok', '... and a number may be written in any way');


-- rights

SELECT is(app.after('ALTER FUNCTION broadcast.head() OWNER TO postgres'),
          'owner error, role_rights error', 'a function of another owner');
SELECT is(app.after('ALTER TABLE broadcast.membership OWNER TO postgres'),
          'owner error', 'a table of another owner');
SELECT is(app.after('GRANT EXECUTE ON FUNCTION broadcast.head() TO PUBLIC'),
          'public_rights error', 'a function for PUBLIC');
SELECT is(app.after('GRANT SELECT ON broadcast.message TO PUBLIC'),
          'public_rights error', 'a table for PUBLIC');
SELECT is(app.after('GRANT USAGE ON SCHEMA broadcast TO PUBLIC'),
          'public_rights error', 'the schema for PUBLIC');

SELECT is(app.after('UPDATE broadcast.node SET role = ''plain'''),
          'bindings error, exposed warn, role_rights error',
          'a role of nginx to which nothing was granted');

CREATE FUNCTION app.granted(more text) RETURNS text LANGUAGE sql AS $$
    SELECT app.after('UPDATE broadcast.node SET role = ''plain''',
        'GRANT USAGE ON SCHEMA broadcast, app, methods TO plain',
        'GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA broadcast TO plain',
        'REVOKE EXECUTE ON FUNCTION broadcast.bind(text, regproc, text, text,
         interval, text), broadcast.unbind(text, regproc, text, text)
         FROM plain', more)
$$;

SELECT is(app.granted('SELECT 1'), 'ok', 'one to which all was granted');
SELECT is(app.granted('REVOKE EXECUTE ON FUNCTION broadcast.sequence(int)
                       FROM plain'),
          'role_rights error', '... but for one that nothing works without');
SELECT is(app.granted('REVOKE EXECUTE ON FUNCTION broadcast.timers(int)
                       FROM plain'),
          'role_rights warn', '... but for another');
SELECT is(app.granted('REVOKE EXECUTE ON FUNCTION app.note(jsonb)
                       FROM PUBLIC'),
          'bindings error', '... but for a bound function');
SELECT is(app.granted('ALTER ROLE plain BYPASSRLS'), 'role_power warn',
          'one that row security does not hold for');
SELECT is(app.granted('GRANT group_of_it TO plain'), 'role_members warn',
          'one that has the rights of another without becoming it');
SELECT is(app.after('UPDATE broadcast.node SET role = ''plain''',
        'ALTER ROLE plain NOINHERIT', 'GRANT group_of_it TO plain',
        'GRANT USAGE ON SCHEMA broadcast, app, methods TO plain',
        'GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA broadcast TO plain'),
    'ok', '... with NOINHERIT it has to become it');
SELECT is(app.after('UPDATE broadcast.node SET role = ''plain''',
        'ALTER ROLE plain NOINHERIT', 'GRANT group_of_it TO plain',
        'GRANT USAGE ON SCHEMA broadcast TO plain',
        'GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA broadcast TO plain',
        'GRANT USAGE ON SCHEMA app, methods TO group_of_it'),
    'ok', '... and then needs no rights of its own on functions');


-- nodes

SELECT is(app.after('UPDATE broadcast.node
                     SET seen_at = clock_timestamp() - interval ''20 s'''),
          'nodes warn', 'no node for its lease');
SELECT is(app.after('UPDATE broadcast.node SET backend = 1, session = 1'),
          'relay error', 'the lock of who numbers is held by a stranger');
SELECT is(app.after('SELECT pg_advisory_unlock(
                         hashtext(''broadcast.relay''))'),
          'relay error', 'or by nobody');

-- a lock is not given back by a rollback, nor taken again

SELECT pg_try_advisory_lock(hashtext('broadcast.relay'));
SELECT is(app.after('UPDATE broadcast.node SET session = 1'), 'pooler warn',
          'somebody is between a node and the server');
SELECT is(app.after('SELECT broadcast.node_about(''n1'', 1, 9)',
                    'UPDATE broadcast.node SET backend = 1, listens = true',
                    'SELECT broadcast.node_about(''n1'', 1, 9)',
                    'UPDATE broadcast.node SET listens = true,
                     role = ''owner'''),
          'pooler error', '... and changes its sessions');
SELECT is(app.after('UPDATE broadcast.node SET listens = false'),
          'pooler error', '... or takes its LISTEN for itself');
SELECT is(app.after('SELECT broadcast.node_about(''n1'', 1, 9)',
                    'UPDATE broadcast.node SET backend = 1, listens = true',
                    'SELECT broadcast.node_about(''n1'', pg_backend_pid(), 9)',
                    'UPDATE broadcast.node SET listens = true,
                     role = ''owner'''),
          'ok', 'a node that has connected anew is no pooler');

SELECT is(app.after('SELECT broadcast.send_all(''chat'', ''t'', ''[]'')'),
          'ok', 'what was just sent is not late');
SELECT is(app.after('SELECT broadcast.send_all(''chat'', ''t'', ''[]'')',
                    'UPDATE broadcast.staging
                     SET created_at = created_at - interval ''6 s'''),
          'lag warn', 'what waits for 6 seconds is');
SELECT is(app.after('SELECT broadcast.send_all(''chat'', ''t'', ''[]'')',
                    'UPDATE broadcast.staging
                     SET created_at = created_at - interval ''61 s'''),
          'lag error', '... for a minute, the more');


-- history

SELECT is(app.after('ALTER TABLE broadcast.message
                     DETACH PARTITION broadcast.message_0'),
          'history error', 'a part of the history that was detached');
SELECT is(app.after('UPDATE broadcast.state SET head = 131000'),
          'history warn', 'a history that has no room ahead');
SELECT is(app.after('UPDATE broadcast.upkept SET failure = ''locked'',
                     since = clock_timestamp() - interval ''20 min'''),
          'history warn', '... or could not be pruned for long');
SELECT is(app.after('UPDATE broadcast.upkept SET failure = ''locked'',
                     since = clock_timestamp() - interval ''5 min'''),
          'ok', '... not for a moment');


-- functions

SELECT is(app.after('DROP FUNCTION app.note'), 'bindings error',
          'a bound function that was dropped');
SELECT is(app.after('INSERT INTO broadcast.function_error (kind, function)
                     VALUES (''http'', ''app.note'')'),
          'function_errors warn', 'a function that raised');
SELECT is(app.after('UPDATE broadcast.timer_state
                     SET next_due = clock_timestamp() - interval ''20 s'''),
          'timers warn', 'a timer that is overdue');
SELECT is(app.after('GRANT CREATE ON SCHEMA methods TO PUBLIC'),
          'exposed error', 'an exposed schema in which all may create');
SELECT is(app.after('DROP SCHEMA methods CASCADE'), 'exposed error',
          'one that was dropped');
SELECT is(app.after('REVOKE USAGE ON SCHEMA methods FROM owner'),
          'exposed warn', 'one that nginx may not use');
SELECT is(app.after('CREATE FUNCTION methods.one(a text) RETURNS int
                     LANGUAGE sql AS ''SELECT 1'''),
          'overloads warn', 'two methods with as many arguments');

SELECT is(app.after('SELECT 1'), 'ok', 'in the end all is ok again');

SELECT * FROM finish();
