-- Streams by a cursor: rows as items.

SELECT * FROM no_plan();

CREATE TYPE pair AS (a int, b text);

DECLARE one NO SCROLL CURSOR FOR SELECT i FROM generate_series(1, 5) i;

SELECT results_eq('SELECT broadcast.fetch(''one'', 2)',
                  $$VALUES ('1'), ('2')$$, 'a row of one column is that column');
SELECT results_eq('SELECT broadcast.fetch(''one'', 9)',
                  $$VALUES ('3'), ('4'), ('5')$$, 'less than asked is the end');
SELECT is_empty('SELECT broadcast.fetch(''one'', 1)', '... and nothing follows');

DECLARE two NO SCROLL CURSOR FOR
 SELECT 1 AS n, '\x00ff'::bytea AS b, '\xzz'::text AS t, NULL::bytea AS z,
        ''::bytea AS e, '\x5c78'::bytea AS x;

SELECT is(broadcast.fetch('two', 1)::jsonb,
          '{"n": 1, "b": "AP8=", "t": "\\xzz", "z": null, "e": "", "x": "XHg="}',
          'bytes are base64, text that looks like them is not');

DECLARE three NO SCROLL CURSOR FOR
 SELECT * FROM (VALUES ('\x616263'::bytea), (NULL)) v(b);

SELECT results_eq('SELECT broadcast.fetch(''three'', 3)',
                  $$VALUES ('"YWJj"'), ('null')$$, 'one column of bytes, null');

SET bytea_output = escape;
DECLARE four NO SCROLL CURSOR FOR SELECT repeat('a', 100)::bytea, 1;

SELECT is(broadcast.fetch('four', 1)::jsonb->>'repeat',
          translate(encode(repeat('a', 100)::bytea, 'base64'), E'\n', ''),
          'base64 has no line ends, whatever bytea_output is');
SELECT is(current_setting('bytea_output'), 'escape', '... which stays');

DECLARE five NO SCROLL CURSOR FOR
 SELECT (1, 'x')::pair AS p, ARRAY[1, 2] AS a, '2024-02-29 12:00Z'::timestamptz
        AS at;

SELECT is(broadcast.fetch('five', 1)::jsonb - 'at',
          '{"p": {"a": 1, "b": "x"}, "a": [1, 2]}', 'composites and arrays');

SELECT throws_ok('SELECT broadcast.fetch(''six'', 1)', '34000', NULL,
                 'a cursor that there is not');

SELECT * FROM finish();
