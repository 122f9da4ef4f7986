-- Copyright (C) The nginx-broadcast authors

-- Who is connected, as the REST API asks.

SELECT plan(12);

INSERT INTO broadcast.connections
       (connection_id, hub, user_id, node, transport, connected_at)
VALUES ('a1', 'chat', 'ann', 'n1', 'websocket', '2026-01-02 03:04:05+00'),
       ('a2', 'chat', 'ann', 'n2', 'sse', now()),
       ('b1', 'chat', 'bob', 'n1', 'sse', now()),
       ('c1', 'chat', NULL, 'n2', 'longpoll', now()),
       ('d1', 'news', 'ann', 'n1', 'sse', now());

CREATE FUNCTION pg_temp.ids(connection text, usr text, after text,
    elsewhere text, lim int) RETURNS text
LANGUAGE sql AS $$
    SELECT coalesce(string_agg(p.connection_id, ' '), '')
      FROM broadcast.present('chat', connection, usr, after, elsewhere, lim) p
$$;

SELECT is(pg_temp.ids(NULL, NULL, NULL, NULL, 9), 'a1 a2 b1 c1',
          'all of a hub, in the order of their ids');
SELECT is(pg_temp.ids(NULL, NULL, NULL, NULL, 2), 'a1 a2', 'not more than asked');
SELECT is(pg_temp.ids(NULL, NULL, 'a2', NULL, 9), 'b1 c1', 'behind one of them');
SELECT is(pg_temp.ids(NULL, NULL, 'a3', NULL, 9), 'b1 c1',
          'or behind one that has gone');
SELECT is(pg_temp.ids(NULL, NULL, NULL, 'n1', 9), 'a2 c1',
          'those of other nodes');
SELECT is(pg_temp.ids(NULL, 'ann', NULL, NULL, 9), 'a1 a2', 'those of a user');
SELECT is(pg_temp.ids(NULL, 'ann', 'a1', NULL, 9), 'a2', '... behind one');
SELECT is(pg_temp.ids(NULL, 'ann', NULL, 'n2', 9), 'a1', '... of other nodes');
SELECT is(pg_temp.ids('b1', NULL, NULL, NULL, 1), 'b1', 'one by its id');
SELECT is(pg_temp.ids('b1', NULL, NULL, 'n1', 1), '', '... of other nodes');
SELECT is(pg_temp.ids('d1', NULL, NULL, NULL, 1), '', '... in its hub alone');

SELECT is((SELECT concat_ws(' ', p.user_id, p.transport, p.connected_at)
             FROM broadcast.present('chat', 'a1', NULL, NULL, NULL, 1) p),
          'ann websocket 2026-01-02T03:04:05Z', 'what is told of one');

SELECT * FROM finish();
