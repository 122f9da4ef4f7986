-- The schema as a stranger finds it: rights, comments, a second installation.

SELECT * FROM no_plan();

SELECT is(broadcast.schema_version(), 6, 'the schema tells its version');
SELECT ok((SELECT 'ttl' = ANY (p.proargnames) FROM pg_proc p
            WHERE p.oid = 'broadcast.read(bigint, int)'::regprocedure),
    '... and an older one becomes it');

SELECT is_empty('SELECT FROM broadcast.exposed',
                '... with a table that version 3 had not');
SELECT results_eq('SELECT function, form FROM broadcast.methods()',
    $$ VALUES ('gone.away', 'message') $$,
    '... what was bound is bound, though its function is no more');

SELECT results_eq($$ SELECT message_size, doorbell, wal FROM broadcast.sending $$,
    $$ VALUES (0::bigint, 'commit', false) $$,
    'what version 5 had set, where it can be read');
SELECT throws_ok($$ SELECT broadcast.send_all('chat', 't', '[]') $$,
    '22P02', 'invalid input syntax for type bigint: "much"',
    '... and else a send says so');
SELECT is_empty(
    $$ SELECT p.oid::regprocedure FROM pg_proc p
        WHERE p.pronamespace = 'broadcast'::regnamespace
          AND p.proname IN ('dispatch', 'message_event', 'finish',
                            'done_if', 'argument', 'call_as')
          AND NOT has_function_privilege('of nginx', p.oid, 'EXECUTE') $$,
    'what the statements of methods call may be called by who might before');
UPDATE broadcast.setting SET value = '1048576' WHERE name = 'message_size';
SELECT broadcast.send_all('chat', 'behind', '[]');
SELECT is((SELECT count(*) FROM pg_proc p
            WHERE p.pronamespace = 'broadcast'::regnamespace
              AND p.proname = 'send'), 1::bigint,
    'of a function that has other types now there is one');
SELECT broadcast.sequence(10);
SELECT results_eq('SELECT seq, target FROM broadcast.read(0, 10)',
    $$ VALUES (1::bigint, 'before'), (2, 'behind') $$,
    'what was sent before the upgrade is numbered before what is sent behind it');

SELECT is_empty(
    $$ SELECT p.oid::regprocedure FROM pg_proc p
        WHERE p.pronamespace = 'broadcast'::regnamespace
          AND obj_description(p.oid, 'pg_proc') IS NULL $$,
    'every function has a comment');

SELECT is_empty(
    $$ SELECT c.oid::regclass FROM pg_class c
        WHERE c.relnamespace = 'broadcast'::regnamespace AND relkind = 'r'
          AND obj_description(c.oid, 'pg_class') IS NULL $$,
    'every table has a comment');

SELECT is_empty(
    $$ SELECT p.oid::regprocedure
         FROM pg_proc p, aclexplode(coalesce(p.proacl,
                                    acldefault('f', p.proowner))) a
        WHERE p.pronamespace = 'broadcast'::regnamespace AND a.grantee = 0 $$,
    'no function is granted to PUBLIC');

SELECT is_empty(
    $$ SELECT p.oid::regprocedure FROM pg_proc p
        WHERE p.pronamespace = 'broadcast'::regnamespace AND p.prosecdef
          AND NOT coalesce(p.proconfig::text LIKE '%search_path=pg_catalog, pg_temp%',
                           false) $$,
    'every definer function has a fixed search_path');

SELECT is_empty(
    $$ SELECT p.oid::regprocedure FROM pg_proc p
        WHERE p.pronamespace = 'broadcast'::regnamespace
          AND p.proname IN ('dispatch', 'run', 'notice', 'ask', 'answer')
          AND p.prosecdef $$,
    'what calls users'' functions runs as its caller, not as the owner');

CREATE ROLE only_sends;
GRANT USAGE ON SCHEMA broadcast TO only_sends;
GRANT EXECUTE ON FUNCTION broadcast.send_all(text, text, jsonb, text[])
   TO only_sends;
SET ROLE only_sends;
SELECT lives_ok($$ SELECT broadcast.send_all('chat', 't', '[]') $$,
                'a role with one GRANT line can send');
SELECT throws_ok($$ SELECT * FROM broadcast.staging $$, '42501', NULL,
                 '... but cannot read what others send');
SELECT throws_ok($$ SELECT broadcast.bind('http', 'now') $$, '42501', NULL,
                 '... nor bind a function');
SELECT throws_ok($$ SELECT broadcast.sequence(1) $$, '42501', NULL,
                 '... nor number messages');
RESET ROLE;

SELECT * FROM finish();
