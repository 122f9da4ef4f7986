-- Copyright (C) The nginx-broadcast authors

-- The end of a connection: `disconnected` once, with and without its row.

SELECT * FROM no_plan();

CREATE SCHEMA app;
SET search_path = app, public;

CREATE TABLE app.seen (n serial, e jsonb);
CREATE FUNCTION app.note(e jsonb) RETURNS void LANGUAGE sql AS
$$ INSERT INTO app.seen (e) VALUES (e) $$;
CREATE FUNCTION app.seen(id text) RETURNS bigint LANGUAGE sql AS
$$ SELECT count(*) FROM app.seen WHERE e->>'connectionId' = id $$;
CREATE FUNCTION app.ends(id text, more jsonb DEFAULT '{}') RETURNS jsonb
LANGUAGE sql AS
$$ SELECT broadcast.dispatch(jsonb_build_object('kind', 'disconnected',
       'connectionId', id, 'hub', 'chat', 'userId', 'ann', 'error',
       'connection lost') || more) $$;
CREATE FUNCTION app.comes(id text) RETURNS jsonb LANGUAGE sql AS
$$ SELECT broadcast.dispatch(jsonb_build_object('kind', 'connected',
       'connectionId', id, 'hub', 'chat', 'userId', 'ann', 'node', 'n1',
       'claims', '{"a": 1}'::jsonb)) $$;

SELECT broadcast.bind('disconnected', 'app.note', 'chat');

SELECT app.ends('c1');
SELECT is(app.seen('c1'), 0::bigint, 'without a row nothing is called');

SELECT app.ends('c1', '{"owed": true}');
SELECT is((SELECT e - 'transport' FROM app.seen),
          '{"kind": "disconnected", "connectionId": "c1", "hub": "chat",
            "userId": "ann", "claims": {}, "query": {},
            "error": "connection lost"}',
          'where the row may be missing it is called all the same');
SELECT is((SELECT count(*) FROM broadcast.connections), 0::bigint,
          '... no row is left of that');

SELECT is(app.ends('c1', '{"owed": true}'), '{"unknown": true}',
          'asked for again it is not called');
SELECT is(app.comes('c1'), '{"taken": true}',
          '`connected` that comes so late');
SELECT is((SELECT count(*) FROM broadcast.connections), 0::bigint,
          '... makes no row');
SELECT is(app.seen('c1'), 1::bigint, '... one event in all');

SELECT is(app.comes('c2'), NULL, 'a connection');
SELECT is(app.comes('c2'), NULL, '... that is said again');
SELECT is(broadcast.dispatch('{"kind": "connected", "connectionId": "c2",
                               "hub": "chat", "node": "n2"}'),
          '{"taken": true}', '... and whose token another node gets');
SELECT is(broadcast.keep_connections('[{"connectionId": "c2",
                                        "hub": "chat"}]', 'n2'), 'c2',
          '... which does not keep it either');
SELECT app.ends('c2', '{"owed": true, "node": "n2"}');
SELECT is((SELECT array_agg(node) FROM broadcast.connections), '{n1}',
          '... nor ends the row of the first');
SELECT app.ends('c2', '{"owed": true}');
SELECT app.ends('c2', '{"owed": true}');
SELECT is((SELECT jsonb_agg(e->'claims') FROM app.seen
            WHERE e->>'connectionId' = 'c2'), '[{"a": 1}]',
          'with a row that was there, once, with its claims');

SELECT app.comes('c3');
SELECT app.ends('c3');
SELECT is((SELECT count(*) FROM broadcast.gone WHERE connection_id = 'c3'),
          0::bigint, 'a row that is surely there needs no tombstone');

SELECT app.comes('c4');
UPDATE broadcast.node SET seen_at = now() - interval '1 hour';
SELECT is(broadcast.sweep(), 1, 'a node is lost');
SELECT app.ends('c4', '{"owed": true}');
SELECT is(app.seen('c4'), 1::bigint, '... and comes back: once');

SELECT is(broadcast.keep_connections('[
    {"connectionId": "k1", "hub": "chat", "userId": "u", "age": 60,
     "transport": "sse", "claims": {"b": 2}},
    {"connectionId": "c4", "hub": "chat"},
    {"connectionId": "k0", "known": true}]', 'n1'), 'c4,k0',
    'a node says who is there, and learns who is not');
SELECT is((SELECT row_to_json(c)::jsonb - 'connected_at'
             FROM broadcast.connections c),
          '{"connection_id": "k1", "hub": "chat", "user_id": "u",
            "node": "n1", "transport": "sse", "remote_address": null,
            "claims": {"b": 2}, "query": null, "headers": null}',
          '... a row is made, and no function called');
SELECT ok((SELECT connected_at < clock_timestamp() - interval '50 s'
             FROM broadcast.connections), '... with the time it came');
SELECT is(broadcast.keep_connections('[{"connectionId": "k1", "known": true},
                                       {"connectionId": "k1", "hub": "chat"}]',
                                     'n1'), '',
          '... said again it is there');

SELECT is(app.ends('k1', '{"failed": "57014"}'), NULL,
          'what fails again and again is given up');
SELECT is(app.seen('k1'), 0::bigint, '... its functions are not called');
SELECT is((SELECT array_agg(ARRAY[kind, function, hub, connection_id,
                                  sqlstate]) FROM broadcast.function_error),
          ARRAY[ARRAY['disconnected', 'app.note', 'chat', 'k1', '57014']],
          '... which is kept for who wrote them');
SELECT is((SELECT count(*) FROM broadcast.connections), 0::bigint,
          '... and the row is gone');

UPDATE broadcast.gone SET at = now() - interval '25 hours'
 WHERE connection_id = 'c1';
SELECT broadcast.sweep();
SELECT is((SELECT array_agg(connection_id ORDER BY 1) FROM broadcast.gone),
          '{c2,c4}', 'tombstones are forgotten after a day');

DELETE FROM broadcast.node;
SELECT ok(broadcast.node_beat('n9'), 'a node that was not there');
SELECT ok(NOT broadcast.node_beat('n9'), '... is');
UPDATE broadcast.node SET seen_at = now() - interval '1 hour';
SELECT ok(broadcast.node_beat('n9'), '... and was cut off');

SELECT * FROM finish();
