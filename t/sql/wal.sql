-- What goes through the WAL: which way a transaction takes, what becomes of
-- messages that were read there, and the steps of a slot that is there or not.

SELECT * FROM no_plan();

SET LOCAL client_min_messages = warning;
CREATE SCHEMA app;


-- the way

SELECT is((SELECT value FROM broadcast.setting WHERE name = 'source'), 'outbox',
          'the outbox is the source of a new schema');
SELECT ok(NOT broadcast.by_wal(), '... which relays are told');
SELECT broadcast.wal_source('wal');
SELECT ok(broadcast.by_wal(), 'the other one is');

SAVEPOINT sent;
SELECT broadcast.send_all('chat', 't', '[1]');
SELECT is((SELECT count(*) FROM broadcast.staging), 0::bigint,
          'a send through the WAL is no row');
SELECT ok(broadcast.wal_senders(), '... and is known while it is open');
SELECT broadcast.wal_source('outbox');
SELECT broadcast.send_all('chat', 't', '[2]');
SELECT is((SELECT count(*) FROM broadcast.staging), 0::bigint,
          'what a transaction sends goes one way');
ROLLBACK TO sent;
SELECT ok(NOT broadcast.wal_senders(), 'one that was rolled back has sent nothing');

SAVEPOINT staged;
SELECT broadcast.wal_source('outbox');
SELECT broadcast.send_all('chat', 't', '[1]');
SELECT broadcast.wal_source('wal');
SELECT broadcast.send_all('chat', 't', '[2]');
SELECT is((SELECT count(*) FROM broadcast.staging), 2::bigint,
          '... also if it began with the outbox');
ROLLBACK TO staged;

-- as without the WAL

SELECT throws_ok($$ SET LOCAL transaction_read_only = on;
                    SELECT broadcast.send_all('chat', 't', '[1]') $$,
                 '25006', NULL, 'who may only read does not send');
SELECT throws_ok($$ SET LOCAL transaction_read_only = on;
                    SELECT broadcast.add_to_group('chat', 'g', 'c') $$,
                 '25006', NULL, '... nor changes a group');

SAVEPOINT by_nginx;
SELECT broadcast.stage('{chat}', '{1}', '{0}', '{2}', '{""}', '{""}', '{t}',
                       ARRAY['[1]'], '{""}', '{7}', '{NULL}');
SELECT is((SELECT count(*) FROM broadcast.staging), 0::bigint,
          'what nginx stages goes that way, too');
SELECT throws_ok(
    $$ SELECT broadcast.stage('{chat}', '{1}', '{0}', '{2}', '{""}', '{""}',
          '{t}', ARRAY['[1'], '{""}', '{7}', '{NULL}') $$,
    '22P02', NULL, '... and is checked before');
ROLLBACK TO by_nginx;


-- positions

UPDATE broadcast.wal SET slot = 's', state = 'read';
INSERT INTO broadcast.wal_cursor VALUES ('0/1', 0);

SELECT matches(broadcast.position('chat'),
               '^0-0\.\.1(_[0-9a-f]+)?(\.[0-9a-f]+(_[0-9a-f]+)?)*(~[0-9a-f]+_[0-9]+)?-[0-9a-f]+$',
               'a position says what was seen, and how far the WAL must be read');
SELECT ok(broadcast.is_suffix(substr(broadcast.position('chat'), 4)),
          '... in a suffix');
SELECT ok((SELECT bool_or(pg_snapshot_xmin(pg_current_snapshot())::text::bigint
                          - 1 BETWEEN s.first AND s.last)
             FROM broadcast.seen(substr(broadcast.position('chat'), 4)) s),
          'of all transactions that are over');
SAVEPOINT own;
SELECT broadcast.send_all('chat', 't', '[1]'),
       broadcast.send_all('other', 't', '[1]');
SELECT is((SELECT s.nth FROM broadcast.seen(substr(broadcast.position('chat'),
                                                   4)) s
            WHERE s.first = pg_current_xact_id()::text::bigint
              AND s.nth < 2147483647),
          2, '... and of its own as much as it has sent');
ROLLBACK TO own;
SELECT ok(NOT broadcast.wal_settled('..1_5-2', broadcast.wal_place()),
          'what was committed behind the cursor may not be numbered');
SELECT ok(broadcast.wal_settled('..1_5-1', broadcast.wal_place()),
          '... before it is');
SELECT ok(broadcast.wal_settled('..1_5', broadcast.wal_place()),
          'a suffix of the outbox has no place');
SAVEPOINT asked;
SELECT is((SELECT count(*) FROM broadcast.wal_own), 0::bigint,
          'nobody has asked from within what is not numbered');
DO $$ BEGIN PERFORM setval('broadcast.wal_beaten', 0); END $$;
SELECT ok(NOT broadcast.wal_settled('..1_5~6_1-1', broadcast.wal_place()),
          'what the one that asked has sent comes behind its place');
SELECT ok(NOT broadcast.wal_settled('..1_5~6_1-1', broadcast.wal_place()),
          '... it is waited for');
INSERT INTO broadcast.wal_cursor SELECT lsn, 1 FROM broadcast.wal_own;
SELECT ok(broadcast.wal_settled('..1_5~6_1-1', broadcast.wal_place()),
          '... until it was read');
ROLLBACK TO asked;


-- what was read: a message as wal_emit() writes it, of any transaction

CREATE FUNCTION app.message(xid text, word text, type int DEFAULT 1,
    seal text DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
    SELECT coalesce($4, broadcast.wal_seal(convert_to(w.body, 'UTF8'))) || w.body
      FROM (SELECT json_build_array($1, 1, 'chat', $3, 0, 0, NULL, NULL, 't',
                       NULL, NULL, NULL, 1700000000000000, false)::text
                   || E'\n' || $2) w(body)
$$;

CREATE FUNCTION app.read(n int[], words text[], upto pg_lsn DEFAULT '0/0',
    OUT taken int, OUT left_out int) LANGUAGE sql AS $$
    SELECT s.taken, s.left_out
      FROM broadcast.sequence_wal(
               ARRAY(SELECT '0/A0'::pg_lsn FROM unnest($1)), $1,
               ARRAY(SELECT 5::bigint FROM unnest($1)), $2, $3) s
$$;

SELECT results_eq(
    $$ SELECT * FROM app.read('{1,2,3,4,5,6}', ARRAY[
          app.message('5', '["a ü\u0000"]'),
          app.message('6', '["of another transaction"]'),
          app.message('5', '["forged"]', 1, repeat('0', 64)),
          'nonsense', '', app.message('5', '["b"]')]) $$,
    $$ VALUES (6, 3) $$, 'what is read is taken, and what is not ours left out');
SELECT results_eq(
    $$ SELECT seq, arguments::text, xid::text, created_at
         FROM broadcast.message WHERE hub = 'chat' ORDER BY pos $$,
    $$ VALUES (1::bigint, '["a ü\u0000"]', '5',
               timestamptz '2023-11-14 22:13:20+00'),
              (2, '["b"]', '5', '2023-11-14 22:13:20+00') $$,
    '... numbered, byte for byte, as of when and by whom it was sent');
SELECT results_eq(
    $$ SELECT * FROM app.read('{5,6,7}', ARRAY['', app.message('5', '["b"]'),
          app.message('5', '["c"]')], '0/B0') $$,
    $$ VALUES (3, 0) $$, 'what comes once more');
SELECT is((SELECT string_agg(arguments->>0, ' ' ORDER BY pos)
             FROM broadcast.message WHERE hub = 'chat' AND seq > 1), 'b c',
          '... is passed over');
SELECT is(broadcast.wal_place(), '0/B0'::pg_lsn,
          'the cursor is as far as it was read');
SELECT results_eq(
    $$ SELECT * FROM broadcast.sequence_wal('{0/C0,0/D0}', '{1,1}',
          ARRAY[5, 4000000000],
          ARRAY[app.message('5', '["d"]'), app.message('4000000000', '["e"]')],
          '0/E0') $$,
    $$ VALUES (1, 0, 1) $$, 'a commit that others do not see yet is waited for');
SELECT is(broadcast.wal_place(), '0/C0'::pg_lsn, '... and the cursor, too');
SELECT results_eq(
    $$ SELECT taken, left_out FROM broadcast.sequence_wal('{}', '{}', '{}', '{}',
          '0/F0') $$,
    $$ VALUES (0, 0) $$, 'where nothing was sent');
SELECT is(broadcast.wal_place(), '0/F0'::pg_lsn, '... the cursor moves');
SELECT broadcast.wal_prune();
SELECT is((SELECT count(*) FROM broadcast.wal_cursor), 1::bigint,
          '... and what it has left behind is removed');
SELECT throws_ok(
    $$ SELECT broadcast.sequence_wal('{0/F1}', '{1}', '{5}',
          ARRAY[app.message('5', '["broken"')], '0/0') $$,
    '22P02', NULL, 'one with our seal and broken arguments is an error');


-- the source is left: what is still in the WAL comes before what was staged

SELECT broadcast.wal_source('outbox');
UPDATE broadcast.wal SET state = 'leave', barrier = '1/0',
       ids = nextval('broadcast.staging_id_seq');
SELECT setval('broadcast.staging_id_seq',
              nextval('broadcast.staging_id_seq') + 1000000000);
INSERT INTO broadcast.staging (hub, type, scope, source, target, arguments, xid)
VALUES ('chat', 1, 0, 0, 't', '["staged since"]', '5');
SELECT is((SELECT numbered FROM broadcast.sequence_wal('{0/FFF,0/FFF}', '{1,2}',
              '{5,5}', ARRAY[app.message('5', '["left 1"]'),
                             app.message('5', '["left 2"]')], '0/0')), 0,
          'up to a barrier nothing is numbered');
SELECT broadcast.sequence_wal('{0/FFF}', '{3}', '{5}',
                              ARRAY[app.message('5', '["left 3"]')], '1/0');
SELECT broadcast.sequence(500);
SELECT is((SELECT string_agg(arguments->>0, ', ' ORDER BY pos)
             FROM (SELECT * FROM broadcast.message WHERE hub = 'chat'
                    ORDER BY pos DESC LIMIT 4) m),
          'left 1, left 2, left 3, staged since',
          '... then it comes before what was staged since');


SELECT has_index('broadcast', 'wal_own', 'wal_own_at', ARRAY['at'],
                 'what is an hour old is found by an index');


-- the plan, on a server that has neither slot nor wal_level

SELECT set_config('app.epoch', epoch::text, true)
  FROM broadcast.hub WHERE name = 'chat';
SELECT results_eq(
    $$ SELECT what, gate, said FROM broadcast.wal_plan(NULL, NULL, NULL, NULL) $$,
    $$ VALUES ('again', true, 'messages may have been lost with the replication slot s: it was dropped, or is not on this server; all hubs begin anew') $$,
    'a slot that is not there is lost');

-- what was read of it and comes to be numbered only now

INSERT INTO broadcast.staging (hub, type, scope, source, target, arguments, xid)
VALUES ('chat', 1, 0, 0, 't', '["sent since"]', '5');
SELECT results_eq(
    $$ SELECT * FROM broadcast.sequence_wal('{1/1}', '{1}', '{5}',
          ARRAY[app.message('5', '["late"]')], '1/2') $$,
    $$ VALUES (1, 0, 0) $$, '... what is left of it is lost, too');
SELECT is((SELECT what FROM broadcast.wal_plan(NULL, NULL, NULL, NULL)), 'again',
          '... then');
SELECT results_eq(
    $$ SELECT * FROM broadcast.sequence_wal('{1/1}', '{1}', '{5}',
          ARRAY[app.message('5', '["late"]')], '1/2') $$,
    $$ VALUES (1, 0, 1) $$, '... also behind that');
SELECT results_eq(
    $$ SELECT type::int, arguments->>0 FROM broadcast.message
        WHERE hub = 'chat' ORDER BY pos DESC LIMIT 2 $$,
    $$ VALUES (1, 'sent since'), (6, NULL) $$,
    '... where only what was sent since is numbered');
SELECT isnt((SELECT epoch::text FROM broadcast.hub WHERE name = 'chat'),
            current_setting('app.epoch'), '... all hubs begin anew');
SELECT broadcast.wal_plan(NULL, NULL, NULL, NULL);
SELECT is((SELECT what FROM broadcast.wal_plan(NULL, NULL, NULL, NULL)), 'outbox',
          '... and the outbox is left');
SELECT ok(NOT EXISTS (SELECT FROM broadcast.wal WHERE slot IS NOT NULL),
          '... with no slot in use');
SELECT unalike(broadcast.position('chat'), '%.%',
               'positions are those of the outbox');

SELECT results_eq(
    $$ SELECT what, slot FROM broadcast.wal_plan('s', 'p', NULL, NULL) $$,
    $$ VALUES ('refused', 's') $$, 'a slot that cannot be made is refused');
SELECT alike(broadcast.wal_refusal('s', 'p'),
    CASE WHEN current_setting('server_version_num')::int < 140000
         THEN 'PostgreSQL 14 or later is needed, this is 13.%'
         ELSE 'wal_level is replica; ALTER SYSTEM SET wal_level = logical, and restart the server' END,
    '... with what helps');
SELECT is((SELECT value FROM broadcast.setting WHERE name = 'source'), 'outbox',
          '... and the outbox goes on');

SELECT broadcast.wal_source('wal');
SELECT is((SELECT what FROM broadcast.wal_plan(NULL, NULL, NULL, NULL)), 'again',
          'a source without a slot, of a dump say, counts as one that is lost');

SELECT ok(NOT has_table_privilege('public', 'broadcast.wal_key', 'SELECT'),
          'the key is for nobody');
SELECT is((SELECT length(key) FROM broadcast.wal_key), 32, '... and has 256 bits');

SELECT * FROM finish();
