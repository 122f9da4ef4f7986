-- Bindings, the events of a connection, and actions.

SELECT * FROM no_plan();

CREATE SCHEMA app;
SET search_path = app, public;

CREATE FUNCTION app.hello(e jsonb) RETURNS jsonb LANGUAGE sql AS
$$ SELECT jsonb_build_object('target', 'hello',
                             'arguments', jsonb_build_array(e->>'userId')) $$;
CREATE FUNCTION app.boom(e jsonb) RETURNS jsonb LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'boom' USING HINT = 'mend it'; END $$;
CREATE FUNCTION app.bye(e jsonb) RETURNS void LANGUAGE sql AS
$$ SELECT broadcast.send_all('chat', 'bye',
                             jsonb_build_array(e->>'userId', e->>'error')) $$;
CREATE FUNCTION app.gate(e jsonb) RETURNS jsonb LANGUAGE sql AS
$$ SELECT CASE WHEN e->>'userId' = 'eve' THEN '{"refuse":"not eve"}'::jsonb
               ELSE '{"groups":["a"],"userId":"named"}' END $$;
CREATE FUNCTION app.gate2(e jsonb) RETURNS jsonb LANGUAGE sql AS
$$ SELECT '{"groups":["b"]}'::jsonb $$;
CREATE FUNCTION app.echo(e jsonb) RETURNS jsonb LANGUAGE sql AS
$$ SELECT jsonb_build_object('result', e->'arguments'->0, 'actions',
       '[{"action":"add","groupName":"g","connectionId":"c1"},
         {"target":"done"}]'::jsonb) $$;
CREATE FUNCTION app.any(e jsonb) RETURNS jsonb LANGUAGE sql AS
$$ SELECT '{"result":"any"}'::jsonb $$;
CREATE FUNCTION app.web(e jsonb) RETURNS jsonb LANGUAGE sql AS
$$ SELECT '{"status":201,"body":"x","actions":{"hub":"chat","target":"w"}}'
          ::jsonb $$;
CREATE FUNCTION app.rows(e jsonb) RETURNS SETOF jsonb LANGUAGE sql AS
$$ VALUES ('1'::jsonb), ('2') $$;
CREATE FUNCTION app.maybe(e jsonb) RETURNS jsonb LANGUAGE sql AS
$$ SELECT jsonb_build_object('userId', 'u', 'refuse',
              CASE e->>'userId' WHEN 'eve' THEN to_jsonb('not eve'::text)
                                WHEN 'ann' THEN 'false' ELSE 'null' END) $$;
CREATE FUNCTION app.wrong(e text) RETURNS jsonb LANGUAGE sql AS
$$ SELECT '{}'::jsonb $$;

SELECT throws_ok($$ SELECT broadcast.bind('conected', 'app.hello') $$,
    '22023', NULL, 'an unknown kind is refused');
SELECT throws_ok($$ SELECT broadcast.bind('connected', 'app.wrong') $$,
    '42809', 'app.wrong cannot be bound',
    'a bound function takes one jsonb');
SELECT throws_ok($$ SELECT broadcast.bind('timer', 'app.hello') $$,
    '22023', NULL, 'a timer needs an interval');
SELECT throws_ok($$ SELECT broadcast.bind('connected', 'app.rows') $$,
    '42809', NULL, 'a set is for message functions only');
SELECT throws_ok($$ SELECT broadcast.bind('message', 'app.any', 'chat',
                                          role => 'admin') $$,
    '22023', NULL, 'a role that would not be asked for is refused');

SELECT broadcast.bindings_version() AS before \gset
SELECT broadcast.bind('connected', 'app.hello', 'Chat');
SELECT broadcast.bind('connected', 'app.boom');
SELECT broadcast.bind('disconnected', 'app.bye', 'chat');
SELECT broadcast.bind('message', 'app.any', 'chat');
SELECT broadcast.bind('message', 'app.echo', 'chat', 'Echo');
SELECT broadcast.bind('http', 'app.web');
SELECT broadcast.bind('connect', 'app.gate', 'chat');
SELECT broadcast.bind('connect', 'app.gate2', 'chat');
SELECT broadcast.bind('connected', 'app.hello', 'chat');
SELECT ok(broadcast.bindings_version() > :before,
          'bind changes the version that nginx watches');
SELECT is((SELECT count(*) FROM broadcast.bindings()), 8::bigint,
          'binding the same twice is one binding');

SELECT is(broadcast.dispatch('{"kind":"connected","connectionId":"c1",
              "hub":"chat","userId":"bob","node":"n1"}')
          #>> '{errors,0,message}', 'boom',
          'a function that raises is named in the answer');
SELECT results_eq($$ SELECT hub, scope::int, target, arguments::text
                       FROM broadcast.staging $$,
    $$ VALUES ('chat', 0, 'hello', '["bob"]') $$,
    '... and the other function''s action is sent all the same');
SELECT results_eq($$ SELECT sqlstate, message, hint, function
                       FROM broadcast.function_error $$,
    $$ VALUES ('P0001', 'boom', 'mend it', 'app.boom') $$,
    '... and what it raised is kept');
SELECT results_eq($$ SELECT connection_id, user_id, node
                       FROM broadcast.connections $$,
    $$ VALUES ('c1', 'bob', 'n1') $$, '... and the connection is known');

DELETE FROM broadcast.staging;
SELECT broadcast.dispatch('{"kind":"connected","connectionId":"c1",
                            "hub":"chat","userId":"bob","node":"n1"}');
SELECT is_empty('SELECT FROM broadcast.staging',
                'connected is called once for a connection');

SELECT broadcast.dispatch('{"kind":"disconnected","connectionId":"c1",
                            "error":"gone"}');
SELECT results_eq($$ SELECT target, arguments::text
                       FROM broadcast.staging $$,
    $$ VALUES ('bye', '["bob", "gone"]') $$,
    'disconnected knows the user from the row');
SELECT broadcast.dispatch('{"kind":"disconnected","connectionId":"c1"}');
SELECT is((SELECT count(*) FROM broadcast.staging), 1::bigint,
          'disconnected is called once for a connection');
SELECT is(broadcast.dispatch('{"kind":"disconnected","connectionId":"c2"}'),
          '{"unknown": true}', '... and never for one that was not connected');

SELECT is(broadcast.dispatch('{"kind":"connect","hub":"chat",
                               "userId":"eve"}'),
          '{"refuse": "not eve"}', 'a connect function may refuse');
SELECT is(broadcast.dispatch('{"kind":"connect","hub":"chat",
                               "userId":"bob"}'),
          '{"groups": ["a", "b"], "userId": "named"}',
          'groups of several connect functions add up');
SELECT is(broadcast.dispatch('{"kind":"connect","hub":"else"}'), NULL,
          'no function, no opinion');
SELECT is(broadcast.dispatch('{"kind":"connect","hub":"else",
                               "function":"app.gate2"}'),
          '{"groups": ["b"]}', 'the operator may name the function');

SELECT broadcast.bind('connect', 'app.maybe', 'doubt');
SELECT is(broadcast.dispatch(jsonb_build_object('kind', 'connect',
              'hub', 'doubt', 'userId', u))->'refuse', r::jsonb,
          coalesce('a refusal is one: ' || r, 'null or false is none'))
  FROM (VALUES ('eve', '"not eve"'), ('ann', NULL), ('bob', NULL)) v(u, r);
SELECT is(broadcast.dispatch('{"kind":"connect","userId":"bob",
                               "function":"app.maybe"}'),
          '{"userId": "u"}', '... nor is it where the operator names it');
SELECT broadcast.unbind('connect', 'app.maybe');

SELECT throws_ok($$ SELECT broadcast.dispatch('{"kind":"message",
                        "hub":"chat","target":"x"}') $$,
    '22023', NULL, 'messages have statements of their own');

DELETE FROM broadcast.staging;
SELECT is(broadcast.dispatch('{"kind":"http","name":"web","method":"GET"}'),
          '{"body": "x", "status": 201}',
          'an http function''s answer comes back without its actions');
SELECT is((SELECT hub FROM broadcast.staging), 'chat',
          '... which are staged for the hub they name');
SELECT throws_ok($$ SELECT broadcast.act('chat', '[{"action":"ad"}]') $$,
    '22023', 'unknown action: ad', 'an unknown action is an error');
SELECT throws_ok($$ SELECT broadcast.act('chat', '"x"') $$,
    '22023', NULL, 'actions are objects');
SELECT is(broadcast.act('chat', 'null'), 0, 'null is no action');

SELECT broadcast.node_beat('n2');
SELECT broadcast.dispatch('{"kind":"connected","connectionId":"d1",
                            "hub":"else","node":"dead"}');
SELECT broadcast.dispatch('{"kind":"connected","connectionId":"d2",
                            "hub":"else","node":"n2"}');
SELECT is(broadcast.sweep(10), 1,
          'connections of a node that is not heard of are ended');
SELECT results_eq('SELECT connection_id FROM broadcast.connections',
    $$ VALUES ('d2') $$, '... those of a living node are not');

DROP FUNCTION app.web(jsonb);
SELECT throws_ok($$ SELECT broadcast.dispatch('{"kind":"http",
                        "name":"web"}') $$,
    '42883', 'the bound function app.web(jsonb) does not exist',
    'a dropped function says so');

CREATE FUNCTION app.stored(e jsonb) RETURNS jsonb LANGUAGE sql AS
$$ SELECT jsonb_build_object('target', 'stored',
                             'arguments', jsonb_build_array(e->'uri')) $$;
SELECT broadcast.bind('after', 'app.stored', 'Files');
SELECT results_eq($$ SELECT hub, event FROM broadcast.binding
                      WHERE kind = 'after' $$,
    $$ VALUES ('files', 'stored') $$, 'an after function, by its own name');
SELECT is(broadcast.dispatch('{"kind":"after","name":"stored","uri":"/a"}'),
          NULL, '... is called');
SELECT results_eq($$ SELECT hub, target, arguments::text
                       FROM broadcast.staging ORDER BY id DESC LIMIT 1 $$,
    $$ VALUES ('files', 'stored', '["/a"]') $$,
    '... and acts in its binding''s hub');
SELECT broadcast.unbind('after', 'app.stored');
SELECT is(broadcast.dispatch('{"kind":"after","name":"stored","uri":"/a"}'),
          NULL, '... one that is not bound any more is none, and no error');
CREATE FUNCTION app.acts(e jsonb) RETURNS jsonb LANGUAGE sql AS
$$ SELECT '{"actions":{"hub":"chat","target":"w"}}'::jsonb $$;
SELECT broadcast.bind('http', 'app.acts');
SELECT is(broadcast.dispatch('{"kind":"http","name":"acts"}'), NULL,
          'actions alone are no answer');
SELECT broadcast.unbind('http', 'app.acts');

SELECT broadcast.unbind(NULL, 'app.hello');
SELECT broadcast.unbind('message', NULL);
SELECT is((SELECT count(*) FROM broadcast.bindings()), 5::bigint,
          'null in unbind matches any');

-- what fails later than the function: at the commit, or never in time

CREATE TABLE app.parent (id int PRIMARY KEY);
CREATE TABLE app.child (id int REFERENCES app.parent
                            DEFERRABLE INITIALLY DEFERRED);
CREATE FUNCTION app.orphan(e jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO app.child VALUES (1);
    IF e->>'connectionId' = 'l3' THEN
        INSERT INTO app.parent VALUES (1);
    END IF;
    RETURN jsonb_build_object('target', 'late', 'arguments',
                              jsonb_build_array(e->>'connectionId'));
END $$;
CREATE FUNCTION app.endless(e jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    IF e->>'connectionId' = 'l4' THEN
        PERFORM pg_sleep(60);
    END IF;
    RETURN NULL;
END $$;
INSERT INTO broadcast.connections (connection_id, hub, node)
VALUES ('l1', 'late', 'gone'), ('l2', 'late', 'gone'), ('l3', 'late', 'gone');
SELECT broadcast.bind('disconnected', 'app.orphan', 'late');
SELECT is(broadcast.sweep(10), 3,
          'functions that would fail at the commit hold up no sweep');
SET CONSTRAINTS ALL IMMEDIATE;
SELECT results_eq($$ SELECT connection_id FROM broadcast.function_error
                      WHERE function = 'app.orphan' AND sqlstate = '23503'
                      ORDER BY 1 $$,
    $$ VALUES ('l1'), ('l2') $$, '... each is told as the function''s');
SELECT results_eq($$ SELECT arguments::text FROM broadcast.staging
                      WHERE target = 'late' $$,
    $$ VALUES ('["l3"]') $$, '... and one may still put things right later');

SELECT broadcast.unbind('disconnected', 'app.orphan');
SELECT broadcast.bind('disconnected', 'app.endless', 'late');
INSERT INTO broadcast.connections (connection_id, hub, node)
VALUES ('l4', 'late', 'gone'), ('l5', 'late', 'gone');
SET statement_timeout = '300ms';
CREATE FUNCTION pg_temp.sweep(n int) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN broadcast.sweep(n);
EXCEPTION WHEN query_canceled THEN
    RETURN SQLERRM;
END $$;
SELECT is(pg_temp.sweep(10), 'no time for 10 connections',
          'the time of a sweep is that of all');
SELECT is(broadcast.sweep(1), 1, '... one takes too long by itself');
SELECT is(broadcast.sweep(1), 1, '... and does not hold up the next');
RESET statement_timeout;
SELECT is_empty('SELECT FROM broadcast.connections WHERE hub = ''late''',
                '... all have ended');

CREATE FUNCTION app.zzz(e jsonb) RETURNS jsonb LANGUAGE sql AS
$$ SELECT '"zzz"'::jsonb $$;
CREATE FUNCTION app.aaa(e jsonb) RETURNS jsonb LANGUAGE sql AS
$$ SELECT '"aaa"'::jsonb $$;
SELECT broadcast.bind('http', 'app.zzz', event => 'both');
SELECT broadcast.bind('http', 'app.aaa', event => 'both', role => 'staff');
SELECT results_eq($$ SELECT role FROM broadcast.bindings()
                      WHERE kind = 'http' AND event = 'both' LIMIT 1 $$,
    $$ VALUES ('staff') $$, 'of two bindings the role of the one');
SELECT is(broadcast.dispatch('{"kind":"http","name":"Both",
                                 "role":"staff"}'), '"aaa"',
          '... that is called');
SELECT throws_ok($$ SELECT broadcast.dispatch('{"kind":"http",
                        "name":"both"}') $$, '42501',
    'app.aaa needs the role "staff", which nginx did not ask for',
    '... and which must have been looked for');
SELECT throws_ok($$ SELECT broadcast.bind('http', 'app.aaa',
                                          role => repeat('r', 129)) $$,
    '22023', 'the role is longer than 128 bytes', 'a long role');

CREATE FUNCTION app.loud(e jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING MESSAGE = repeat('m', 100000),
        DETAIL = repeat('d', 100000), HINT = repeat('h', 100000);
END $$;
SELECT broadcast.bind('connected', 'app.loud', 'late');
SELECT broadcast.dispatch('{"kind":"connected","hub":"late",
                            "connectionId":"l6"}');
SELECT results_eq($$ SELECT length(message), length(detail), length(hint)
                       FROM broadcast.function_error
                      WHERE function = 'app.loud' $$,
    $$ VALUES (8192, 8192, 8192) $$, 'long errors are cut');

SELECT throws_ok($$ SELECT broadcast.unbind('message', '1'::regproc) $$,
    '42883', 'there is no function 1', 'no function is not any function');

CREATE FUNCTION app.gone(e jsonb) RETURNS jsonb LANGUAGE sql AS
$$ SELECT NULL::jsonb $$;
CREATE FUNCTION app.there(e jsonb) RETURNS jsonb LANGUAGE sql AS
$$ SELECT '{"actions":{"target":"t"}}'::jsonb $$;
DELETE FROM broadcast.binding;
SELECT broadcast.bind('message', 'app.gone', 'a', 'x'),
       broadcast.bind('connected', 'app.gone'),
       broadcast.bind('message', 'app.there', 'a', 'x'),
       broadcast.bind('http', 'app.there');
DROP FUNCTION app.gone(jsonb);
SELECT broadcast.unbind('message', '-', 'other');
SELECT is(count(*), 4::bigint, 'unbind of what is gone, in another hub')
  FROM broadcast.binding;
SELECT broadcast.unbind('message', '-');
SELECT is(count(*), 3::bigint, '... of one kind') FROM broadcast.binding;
SELECT broadcast.unbind(NULL, '-');
SELECT results_eq('SELECT function, kind FROM broadcast.binding ORDER BY kind',
    $$ VALUES ('app.there', 'http'), ('app.there', 'message') $$,
    '... of all; what is there stays bound');

SELECT throws_ok(
    $$ SELECT broadcast.dispatch('{"kind":"http","name":"there"}') $$,
    '22023', 'an action names no hub, and its function is bound to none',
    'an action that goes nowhere is said');
SELECT throws_ok(
    $$ SELECT broadcast.bind('message', 'app.there', every => '1 s') $$,
    '22023', 'every is for timer functions only', 'an interval of another kind');
SELECT throws_ok($$ SELECT broadcast.bind('http', 'app.there', NULL, '') $$,
    '22023', NULL, 'an http function without a name');
SELECT throws_ok($$ SELECT broadcast.bind('after', 'app.there', NULL, '') $$,
    '22023', NULL, '... an after function');
SELECT throws_ok($$ SELECT broadcast.bind('after', 'app.there', NULL,
                                          repeat('x', 129)) $$,
    '22023', NULL, '... one with a name that no directive can have');
SELECT throws_ok($$ SELECT broadcast.bind('http', 'app.there', role => '') $$,
    '22023', 'the role is empty', 'an empty role, which would be none');
SELECT throws_ok($$ SELECT broadcast.unbind('mesage', 'app.there') $$,
    '22023', 'unknown kind of binding: ''mesage''',
    'to unbind what there is not is an error, too');

SELECT * FROM finish();
