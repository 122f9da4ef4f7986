-- Copyright (C) The nginx-broadcast authors

-- The groups of connections, as their nodes say and the REST API asks.

SELECT * FROM no_plan();

SELECT broadcast.connection_add(format(
    '{"connectionId": "%s", "hub": "%s", "userId": "%s", "node": "%s",
      "transport": "sse", "groups": %s}', id, hub, usr, node, groups)::jsonb)
  FROM (VALUES ('a1', 'chat', 'ann', 'n1', '["g", "h", "g"]'),
               ('a2', 'chat', 'ann', 'n2', '["g"]'),
               ('b1', 'chat', 'bob', 'n1', '["h"]'),
               ('c1', 'chat', '', 'n2', '[]'),
               ('d1', 'news', 'ann', 'n1', '["g"]')) v(id, hub, usr, node,
                                                      groups);
SELECT broadcast.connection_add(
    '{"connectionId": "e1", "hub": "news", "userId": "eve", "node": "n1"}');

CREATE FUNCTION pg_temp.ids(usr text, after text, elsewhere text, grp text,
    lim int DEFAULT 9) RETURNS text
LANGUAGE sql AS $$
    SELECT coalesce(string_agg(m.connection_id, ' '), '')
      FROM broadcast.members('chat', usr, after, elsewhere, ARRAY[grp], true,
                             lim) m
$$;

CREATE FUNCTION pg_temp.said(connection text) RETURNS text
LANGUAGE sql AS $$
    SELECT coalesce(string_agg(grp, ' ' ORDER BY grp COLLATE "C"), '')
      FROM broadcast.connection_group WHERE connection_id = connection
$$;

SELECT is(pg_temp.said('a1'), 'g h',
          'a connection comes with its groups, each once');
SELECT is(pg_temp.said('e1'), '', '... or without any');
SELECT is(broadcast.connection_add('{"connectionId": "a1", "hub": "chat",
              "node": "n1", "groups": ["x"]}'), false,
          'one that is known');
SELECT is(pg_temp.said('a1'), 'g h', '... keeps those that it had');

CREATE TABLE event (e jsonb);
CREATE FUNCTION remember(e jsonb) RETURNS jsonb LANGUAGE sql AS
$$ INSERT INTO event VALUES ($1); SELECT null::jsonb $$;
SELECT broadcast.bind('connected', 'remember');
SELECT broadcast.dispatch('{"kind": "connected", "connectionId": "f1",
    "hub": "chat", "userId": "fay", "node": "n1", "groups": ["f"]}');
SELECT is(pg_temp.said('f1'), 'f', '`connected` says the groups');
SELECT is((SELECT e ? 'groups' FROM event), false,
          '... and functions are not told of them');
SELECT broadcast.dispatch('{"kind": "disconnected", "connectionId": "f1",
    "hub": "chat"}');
SELECT is(pg_temp.said('f1'), '', 'they go with the connection');

-- questions

SELECT is(pg_temp.ids(NULL, NULL, NULL, 'g'), 'a1 a2', 'members of a group');
SELECT is(pg_temp.ids(NULL, NULL, NULL, 'G'), '', '... whose name has case');
SELECT is(pg_temp.ids(NULL, NULL, NULL, 'g', 1), 'a1', '... not more than asked');
SELECT is(pg_temp.ids(NULL, 'a1', NULL, 'g'), 'a2', '... behind one');
SELECT is(pg_temp.ids(NULL, NULL, 'n1', 'g'), 'a2', '... of other nodes');
SELECT is(pg_temp.ids(NULL, NULL, NULL, ''), '', 'no group has no name');
SELECT is(pg_temp.ids('ann', NULL, NULL, 'h'), 'a1', 'a user in a group');
SELECT is(pg_temp.ids('bob', NULL, NULL, 'g'), '', '... or not');
SELECT is(pg_temp.ids('ann', NULL, 'n1', 'h'), '', '... at another node');

SELECT results_eq(
    $$ SELECT connection_id, mask
         FROM broadcast.members('chat', NULL, NULL, NULL,
                                ARRAY['h', 'none', 'g'], false, 9) $$,
    $$ VALUES ('a1', 5::bigint), ('a2', 4), ('b1', 1), ('c1', 0) $$,
    'all of a hub, and which of some groups each is in');
SELECT results_eq(
    $$ SELECT connection_id, mask
         FROM broadcast.members('chat', NULL, 'a1', 'n1',
                                ARRAY['h', 'none', 'g'], false, 1) $$,
    $$ VALUES ('a2', 4::bigint) $$,
    '... a page, of other nodes');
SELECT is((SELECT m.mask
             FROM broadcast.members('chat', NULL, NULL, NULL,
                      (SELECT array_agg('x' || i) || '{g}'::text[]
                         FROM generate_series(1, 31) i), false, 1) m),
          2147483648, 'of 32 groups');

SELECT results_eq(
    $$ SELECT name, connections FROM broadcast.groups('chat', NULL, 9)
        ORDER BY 1 $$,
    $$ VALUES ('g', 2::bigint), ('h', 2) $$,
    'the groups of a hub and how many are in each');
SELECT results_eq(
    $$ WITH one AS (SELECT * FROM broadcast.groups('chat', NULL, 1))
       SELECT name FROM one
       UNION SELECT g.name FROM one, broadcast.groups('chat', one.key, 1) g
       ORDER BY 1 $$,
    $$ VALUES ('g'), ('h') $$,
    '... page by page');
SELECT is_empty(
    $$ SELECT * FROM broadcast.groups('chat', repeat('f', 32), 9) $$,
    '... to the last');

-- changes

SELECT is(broadcast.keep_groups('{"a1": ["h", "i", "i"], "c1": ["g"],
                                  "b1": [], "gone": ["g"]}'), NULL,
          'changes are heard, and of who is not there');
SELECT is(pg_temp.said('a1'), 'h i', 'one has left and joined');
SELECT is(pg_temp.said('c1'), 'g', 'one has joined');
SELECT is(pg_temp.said('b1'), '', 'one has left all');
SELECT is(pg_temp.said('a2'), 'g', 'one was not spoken of');
SELECT is(pg_temp.said('gone'), '', 'one is not there');

SELECT broadcast.keep_groups(jsonb_build_object('a1',
    jsonb_build_array(repeat('é', 1024), repeat('é', 1023), '"\'',')));
SELECT is((SELECT array_agg(char_length(grp) ORDER BY 1)
             FROM (SELECT grp FROM broadcast.connection_group
                    WHERE connection_id = 'a1' ORDER BY char_length(grp)) g),
          ARRAY[4, 1023, 1024], 'long names and strange ones');
SELECT is(pg_temp.ids(NULL, NULL, NULL, repeat('é', 1024)), 'a1',
          '... are found');

DELETE FROM broadcast.connections WHERE node = 'n1';
SELECT is((SELECT count(*) FROM broadcast.connection_group), 2::bigint,
          'what a node leaves behind goes with its connections');

SELECT * FROM finish();
