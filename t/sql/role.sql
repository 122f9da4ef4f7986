-- The role of who calls: for the one call of a user's function alone, by the
-- claims of the event; and what is kept of errors.

SELECT * FROM no_plan();

CREATE ROLE sql_module LOGIN NOINHERIT;
CREATE ROLE sql_user NOLOGIN;
CREATE ROLE sql_anon NOLOGIN;
CREATE ROLE sql_outside NOLOGIN;
GRANT sql_user, sql_anon TO sql_module;
GRANT USAGE ON SCHEMA broadcast TO sql_module;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA broadcast TO sql_module;

CREATE SCHEMA app;
GRANT USAGE ON SCHEMA app TO PUBLIC;
CREATE FUNCTION app.who(e jsonb) RETURNS jsonb LANGUAGE sql AS
$$ SELECT jsonb_build_object('user', current_user,
       'claims', nullif(current_setting('request.jwt.claims', true), '')::jsonb) $$;
CREATE FUNCTION app.acts(e jsonb) RETURNS jsonb LANGUAGE sql AS
$$ SELECT jsonb_build_object('result', current_user, 'actions',
       '{"target":"t"}'::jsonb) $$;
CREATE FUNCTION app.wanders(e jsonb) RETURNS jsonb LANGUAGE plpgsql AS
$$ BEGIN SET LOCAL ROLE sql_anon; RETURN '{"target":"w"}'; END $$;
CREATE FUNCTION app.closed(e jsonb) RETURNS jsonb LANGUAGE sql AS
$$ SELECT e $$;
REVOKE EXECUTE ON FUNCTION app.closed(jsonb) FROM PUBLIC;

SELECT broadcast.bind('http', 'app.who');
SELECT broadcast.bind('http', 'app.closed');
SELECT broadcast.bind('http', 'app.acts', 'chat', 'x');
SELECT broadcast.bind('connected', 'app.wanders', 'chat');
SELECT broadcast.bind('disconnected', 'app.wanders', 'chat');

CREATE FUNCTION app.call(claims jsonb, role_claim text DEFAULT 'role',
                         role_default text DEFAULT NULL, name text DEFAULT 'who')
    RETURNS jsonb LANGUAGE sql AS
$$ SELECT broadcast.dispatch(jsonb_build_object('kind', 'http', 'name', name,
              'claims', claims), role_claim, role_default) $$;

SET SESSION AUTHORIZATION sql_module;

SELECT is(app.call('{"role":"sql_user","sub":"a"}', NULL)->>'user',
    'sql_module', 'without role_claim a function runs as nginx''s role');
SELECT is(app.call('{"role":"sql_user","sub":"a"}'),
    '{"user":"sql_user","claims":{"role":"sql_user","sub":"a"}}',
    'with it as the one of the claim, with the claims');
SELECT is(current_user, 'sql_module', '... and is over with the call');
SELECT is(app.call('{"r":"sql_user","role":["x"]}', 'r'),
    '{"user":"sql_user","claims":{"r":"sql_user","role":"sql_user"}}',
    'of another claim, role is the role all the same');
SELECT is(app.call('{}', 'role', 'sql_anon')->>'user', 'sql_anon',
    'the default is for who claims none');
SELECT is(app.call('{"role":null}', 'role', 'sql_anon')->>'user', 'sql_anon',
    '... or null');
SELECT is(app.call('null', 'role', 'sql_anon')->>'user', 'sql_anon',
    '... or has no claims');

SELECT throws_ok(format('SELECT app.call(%L, %L, %L)', c, 'role', d),
                 '42501', m, 'refused: ' || c)
  FROM (VALUES ('{}', NULL, 'the claim "role" names no role, and there is no default'),
               ('{"role":["sql_user"]}', 'sql_anon', 'the claim "role" names no role, and there is no default'),
               ('{"role":1}', 'sql_anon', 'the claim "role" names no role, and there is no default'),
               ('{"role":""}', 'sql_anon', 'the role "" of the claim "role" may not be taken'),
               ('{"role":"sql_outside"}', 'sql_anon', 'the role "sql_outside" of the claim "role" may not be taken'),
               ('{"role":"sql_module"}', NULL, 'the role "sql_module" of the claim "role" may not be taken'),
               ('{"role":"none"}', NULL, 'the role "none" of the claim "role" may not be taken'),
               ('{"role":"pg_read_all_data"}', NULL, 'the role "pg_read_all_data" of the claim "role" may not be taken'),
               ('{"role":"sql_user\"; drop"}', NULL, 'the role "sql_user"; drop" of the claim "role" may not be taken')
       ) v(c, d, m);
SELECT throws_ok($$ SELECT app.call('{"role":"sql_user"}', name => 'closed') $$,
    '42501', 'the role "sql_user" may not execute app.closed',
    'a function that the role may not execute');
SELECT is(current_user, 'sql_module', 'after an error the role is nginx''s');

SELECT is(broadcast.dispatch('{"kind":"http","hub":"chat","name":"x",
    "claims":{"role":"sql_user"}}', 'role'), '{"result":"sql_user"}',
    'actions are staged though the role could not');
SELECT lives_ok($$ SELECT broadcast.dispatch('{"kind":"connected","hub":"chat",
    "connectionId":"c1","claims":{"role":"sql_user"}}', 'role') $$,
    'a function that becomes another role');
SELECT is(current_user, 'sql_module', '... has it until it returns');
SELECT is(broadcast.dispatch('{"kind":"disconnected","connectionId":"c1"}',
                             'role'), NULL,
    'disconnected has the claims that were kept');
SELECT is(broadcast.dispatch('{"kind":"connected","hub":"chat","connectionId":"c2"}',
                             'role')->'errors'->0->'unauthorized', 'true',
    'connected without a role is an error of the function, not of the connection');

SELECT is(broadcast.enter('{"hub":"chat","connectionId":"c2","claims":{"role":"sql_user"}}',
                          'role', NULL), 'none', 'a stream enters a role');
SELECT is(current_user, 'sql_user', '... and has it');
SELECT is(current_setting('request.jwt.claims')::jsonb->>'role', 'sql_user',
          '... with the claims');
RESET ROLE;
SELECT is(current_user, 'sql_module', '... until it leaves it');

RESET SESSION AUTHORIZATION;

SELECT is((SELECT array_agg(target ORDER BY id) FROM broadcast.staging),
    '{t,w,w}', 'what was staged is what the functions said');
SELECT results_eq($$ SELECT kind, function, connection_id, sqlstate, count
                       FROM broadcast.function_error $$,
    $$ VALUES ('connected', 'app.wanders', 'c2', '42501', 1::bigint) $$,
    'the error is kept');

SELECT broadcast.error_add('http', 'f', NULL, NULL, NULL, NULL, 'n ' || i,
                           NULL, NULL, NULL, 1)
  FROM generate_series(1, 1100) i;
SELECT is((SELECT count(*) FROM broadcast.function_error), 1000::bigint,
    'the newest thousand are kept');

SELECT * FROM finish();
