-- Timers: what may be bound, the grid of their ticks, who runs one.

SELECT * FROM no_plan();

CREATE SCHEMA app;
SET search_path = app, public;

CREATE TABLE app.ran (n serial, event jsonb);
CREATE TABLE app.later (n int UNIQUE DEFERRABLE INITIALLY DEFERRED);

CREATE FUNCTION app.note(e jsonb) RETURNS jsonb LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO app.ran (event) VALUES (e);
         RETURN '{"target":"tick","arguments":[1]}'; END $$;
CREATE FUNCTION app.boom(e jsonb) RETURNS jsonb LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO app.ran (event) VALUES (e);
         RAISE EXCEPTION 'boom' USING HINT = 'mend it'; END $$;
CREATE FUNCTION app.slow(e jsonb) RETURNS void LANGUAGE sql AS
$$ SELECT pg_sleep(60) $$;
CREATE FUNCTION app.twice(e jsonb) RETURNS void LANGUAGE sql AS
$$ INSERT INTO app.later VALUES (1), (1) $$;
CREATE FUNCTION app.once(e jsonb) RETURNS void LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO app.ran (event) VALUES (e);
         PERFORM broadcast.unbind('timer', 'app.once'); END $$;
CREATE FUNCTION app.other(e jsonb) RETURNS void LANGUAGE plpgsql AS
$$ BEGIN SET LOCAL ROLE nobody; END $$;

CREATE ROLE nobody;

CREATE FUNCTION app.id_of(f text) RETURNS bigint LANGUAGE sql AS
$$ SELECT id FROM broadcast.timer_state WHERE function = 'app.' || f $$;
CREATE FUNCTION app.run(f text) RETURNS jsonb LANGUAGE sql AS
$$ SELECT broadcast.dispatch(jsonb_build_object('kind', 'timer', 'id',
                                                app.id_of(f))) $$;
CREATE FUNCTION app.overdue(f text, by interval) RETURNS void LANGUAGE sql AS
$$ UPDATE broadcast.timer_state SET anchor = anchor - by,
          next_due = next_due - by WHERE id = app.id_of(f) $$;


-- what may be bound

SELECT throws_ok(format($$ SELECT broadcast.bind('timer', 'app.note',
                                                 every => %L) $$, every),
                 '22023', NULL, words)
  FROM (VALUES (NULL, 'a timer needs an interval'),
               ('0 s', '... above 0'),
               ('-1 s', '... not below'),
               ('99 ms', '... of 100 ms at least'),
               ('101 years', '... and of 100 years at most'),
               ('1 month -29 days', '... without a part that goes back'),
               ('1 day -1 hour', '... be it of the time'))
       v(every, words);

SELECT lives_ok($$ SELECT broadcast.bind('timer', 'app.note', 'Chat',
                                         'app.tick', '100 ms') $$,
                'a timer of 100 ms is bound');
SELECT is((SELECT next_due - anchor FROM broadcast.timer_state),
          interval '100 ms', 'its first tick is one interval later');
SELECT results_eq('SELECT name, function, hub, every, runs, failures,
                          last_run IS NULL, last_error IS NULL
                     FROM broadcast.timer',
    $$ VALUES ('app.tick', 'app.note', 'chat', interval '100 ms', 0::bigint,
               0::bigint, true, true) $$,
    'the view shows what is not yet known of it as null');


-- the grid

SELECT is(broadcast.timer_next('2024-01-31 10:00Z', every, after), due, words)
  FROM (VALUES
    (interval '200 ms', timestamptz '2024-01-31 10:00Z',
     timestamptz '2024-01-31 10:00:00.2Z', 'a tick behind the anchor'),
    ('200 ms', '2024-01-31 10:00:00.2Z', '2024-01-31 10:00:00.4Z',
     'behind a tick comes the next one'),
    ('200 ms', '2034-01-31 10:00:00.3Z', '2034-01-31 10:00:00.4Z',
     'ten years later it is on the same grid'),
    ('100 ms', '2024-01-31 09:00Z', '2024-01-31 10:00:00.1Z',
     'before the anchor the first one'),
    ('1 day', '2024-03-31 12:00Z', '2024-04-01 10:00Z',
     'a day is 24 hours, whatever a clock is set to'),
    ('1 month', '2024-02-01Z', '2024-02-29 10:00Z',
     'a month is counted by the calendar'),
    ('1 month', '2024-02-29 10:00Z', '2024-03-31 10:00Z',
     '... from the anchor, so a short one shortens no other'),
    ('1 year', '2073-06-01Z', '2074-01-31 10:00Z', 'a year, too'),
    ('1 month', '2123-12-31 10:00Z', '2124-01-31 10:00Z',
     'a hundred years are not too many months'))
    v(every, after, due, words);


-- a tick

SELECT broadcast.bind('timer', 'app.note', 'chat', 'app.tick', '1 hour');
SELECT is(app.run('note'), '{"busy": true}',
          'a timer that is not due is not run');
SELECT is((SELECT count(*) FROM app.ran), 0::bigint, '... really');
SELECT ok((SELECT wait BETWEEN 1 AND 3600000 FROM broadcast.timers(10)),
          'how long it has to wait is told in milliseconds');

SELECT app.overdue('note', '10 hours 5 minutes');
SELECT next_due AS due FROM broadcast.timer \gset
SELECT ok((SELECT wait < 0 FROM broadcast.timers(10)), 'one that is due has none to wait');
SELECT is(app.run('note'), NULL, '... is run');
SELECT is((SELECT (event->>'due')::timestamptz FROM app.ran), :'due',
          'the event tells when it was due');
SELECT is((SELECT event - 'due' FROM app.ran),
          '{"kind":"timer","name":"app.tick","hub":"chat"}',
          '... and its name and hub');
SELECT matches((SELECT event->>'due' FROM app.ran),
               '^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$',
               '... by ISO 8601');
SELECT results_eq('SELECT hub, target FROM broadcast.staging',
                  $$ VALUES ('chat', 'tick') $$,
                  'its action goes to the hub of the binding');
SELECT ok((SELECT next_due - :'due'::timestamptz = interval '10 hours'
                  AND next_due > clock_timestamp()
             FROM broadcast.timer),
          'what was due in ten hours is one tick, then the grid goes on');
SELECT is(app.run('note'), '{"busy": true}', '... and not a second one');
SELECT ok((SELECT runs = 1 AND failures = 0 AND last_error IS NULL
                  AND last_run <= clock_timestamp() AND duration >= '0'
             FROM broadcast.timer), 'the view tells of the run');


-- again

SELECT next_due AS due FROM broadcast.timer \gset
SELECT broadcast.bind('timer', 'app.note', 'chat', 'app.tick', '60 minutes');
SELECT results_eq('SELECT next_due, runs FROM broadcast.timer',
    format('VALUES (timestamptz %L, 1::bigint)', :'due'),
    'bound once more it is the timer that it was');
SELECT broadcast.bind('timer', 'app.note', 'chat', 'app.tick', '20 minutes');
SELECT ok((SELECT next_due <= clock_timestamp() + interval '20 minutes'
                  AND every = '20 minutes' FROM broadcast.timer),
          '... with another interval the first tick is one of these away');
SELECT broadcast.bind('timer', 'app.note', every => '1 hour');
SELECT is((SELECT count(*) FROM broadcast.timer), 2::bigint,
          'with another name it is another timer');
SELECT is((SELECT name FROM broadcast.timer WHERE hub IS NULL), 'note',
          '... which is the function''s if none is given');
SELECT broadcast.unbind('timer', 'app.note');
SELECT is((SELECT count(*) FROM broadcast.timer_state), 0::bigint,
          'unbind leaves nothing of them');
SELECT is((SELECT count(*) FROM broadcast.timers(10)), 0::bigint,
          '... to be due');


-- ticks that fail

DELETE FROM app.ran;
SELECT broadcast.bind('timer', ('app.' || f)::regproc,
                      every => '1 minute'),
       app.overdue(f, '1 minute')
  FROM unnest('{boom,twice,slow,other}'::text[]) f;

SELECT is(app.run('boom') #>> '{errors,0,message}', 'boom',
          'what a function raises is told to nginx');
SELECT is((SELECT count(*) FROM app.ran), 0::bigint,
          '... what it did is taken back');
SELECT ok((SELECT next_due > clock_timestamp() AND runs = 1 AND failures = 1
                  AND last_error = 'P0001: boom'
             FROM broadcast.timer WHERE name = 'boom'),
          '... and it goes on to the next tick');
SELECT results_eq('SELECT kind, function, message, hint
                     FROM broadcast.function_error',
                  $$ VALUES ('timer', 'app.boom', 'boom', 'mend it') $$,
                  '... with the error kept');

SELECT is(app.run('twice') #>> '{errors,0,sqlstate}', '23505',
          'what a commit would refuse is the function''s error');
SELECT is(app.run('other'), NULL,
          'it may become a role that may not go on');
SELECT is(current_user, session_user, '... which does not stay');
SELECT ok((SELECT next_due > clock_timestamp() AND failures = 0
             FROM broadcast.timer WHERE name = 'other'), '... and it goes on');

SET statement_timeout = '100 ms';
SELECT is(app.run('slow') #>> '{errors,0,sqlstate}', '57014',
          'a function that takes too long is ended');
RESET statement_timeout;
SELECT ok((SELECT bool_and(next_due > clock_timestamp() AND failures = 1)
             FROM broadcast.timer WHERE name <> 'other'),
          '... all of them go on to the next');

SELECT app.overdue('boom', '1 minute');
CREATE OR REPLACE FUNCTION app.boom(e jsonb) RETURNS jsonb LANGUAGE sql AS
$$ SELECT NULL::jsonb $$;
SELECT app.run('boom');
SELECT ok((SELECT last_error IS NULL AND runs = 2 AND failures = 1
             FROM broadcast.timer WHERE name = 'boom'),
          'a run that goes well clears the error');

DROP FUNCTION app.boom;
SELECT app.overdue('boom', '1 minute');
SELECT is(app.run('boom') #>> '{errors,0,sqlstate}', '42883',
          'a function that was dropped is an error of its timer');


-- a timer that ends itself

SELECT broadcast.bind('timer', 'app.once', every => '1 minute'),
       app.overdue('once', '1 minute');
SELECT app.run('once');
SELECT is((SELECT count(*) FROM app.ran), 1::bigint,
          'a function may unbind itself');
SELECT is(app.id_of('once'), NULL, '... and is a timer no more');

SELECT * FROM finish();
