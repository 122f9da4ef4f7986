-- Exposed schemas: which functions are methods, and that the statements of
-- broadcast.methods() do what they say, each prepared as nginx prepares it.

SELECT * FROM no_plan();

CREATE SCHEMA hub1;
CREATE SCHEMA hub2;
CREATE SCHEMA "Odd ""one""";
CREATE SCHEMA wide;
GRANT CREATE ON SCHEMA wide TO PUBLIC;

-- calls as nginx does: the row for that many arguments, else the one that
-- takes the rest

CREATE TYPE pg_temp.answer AS (v text, staged boolean, error text);

CREATE FUNCTION pg_temp.method(target text, n int, OUT statement text,
    OUT gather int, OUT stream boolean, OUT plain boolean)
LANGUAGE plpgsql AS $$
DECLARE
    m record;
BEGIN
    SELECT * INTO STRICT m FROM broadcast.methods() r
     WHERE r.hub = 'chat' AND r.form = 'method' AND r.name = lower(target)
       AND (r.count = n OR r.rest AND n >= r.count - 1)
     ORDER BY r.rest, r.count DESC LIMIT 1;

    statement := m.statement;
    gather := CASE WHEN m.rest THEN m.count END;
    stream := m.stream;
    plain := m.plain;
END
$$;

CREATE FUNCTION pg_temp.given(args text[], gather int) RETURNS text[]
LANGUAGE sql AS $$
    SELECT CASE WHEN gather IS NULL THEN args
                ELSE args[1:gather - 1] || coalesce(
                     (SELECT json_agg(a) FROM unnest(args[gather:]) a)::text,
                     '[]') END
$$;

CREATE FUNCTION pg_temp.prepared(target text, args text[]) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    m record := pg_temp.method(target, cardinality(args));
    given text[] := pg_temp.given(args, m.gather);
BEGIN
    EXECUTE format('PREPARE m(text%s) AS %s',
                   repeat(', text', cardinality(given)), m.statement);

    RETURN 'EXECUTE m(' || quote_literal('{"hub":"chat","connectionId":"c1",'
               '"userId":"bob","target":"x","done":"3.14"}')
           || coalesce((SELECT string_agg(', ' || quote_nullable(a), ''
                                          ORDER BY i)
                          FROM unnest(given) WITH ORDINALITY u(a, i)), '')
           || ')';
END
$$;

CREATE FUNCTION pg_temp.call(target text, VARIADIC args text[] DEFAULT '{}')
    RETURNS pg_temp.answer
LANGUAGE plpgsql AS $$
DECLARE
    r pg_temp.answer;
    context text;
    state text;
    message text;
BEGIN
    EXECUTE pg_temp.prepared(target, args) INTO r.v, r.staged;
    DEALLOCATE m;

    IF (pg_temp.method(target, cardinality(args))).plain THEN
        r.v := to_json(r.v);
    END IF;

    RETURN r;

EXCEPTION WHEN others THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE,
        message = MESSAGE_TEXT, context = PG_EXCEPTION_CONTEXT;
    IF EXISTS (SELECT FROM pg_prepared_statements WHERE name = 'm') THEN
        DEALLOCATE m;
    END IF;
    r.error := CASE WHEN context ~ '(?n)^PL/pgSQL function broadcast\.argument'
                    THEN 'binding' ELSE state || ' ' || message END;
    RETURN r;
END
$$;

CREATE FUNCTION pg_temp.items(target text, VARIADIC args text[] DEFAULT '{}')
    RETURNS SETOF text
LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY EXECUTE pg_temp.prepared(target, args);
    DEALLOCATE m;
END
$$;

-- what is exposed

CREATE FUNCTION hub1.echo(t text) RETURNS text LANGUAGE sql AS 'SELECT t';
CREATE PROCEDURE hub1.proc() LANGUAGE sql AS 'SELECT 1';
CREATE AGGREGATE hub1.agg(int) (sfunc = int4pl, stype = int, initcond = '0');
CREATE FUNCTION hub1.trig() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RETURN NULL; END $$;
CREATE FUNCTION hub1.etrig() RETURNS event_trigger LANGUAGE plpgsql AS
$$ BEGIN END $$;
CREATE FUNCTION hub1.poly(a anyelement) RETURNS anyelement LANGUAGE sql AS
$$ SELECT a $$;
CREATE FUNCTION hub1.polies(VARIADIC a anyarray) RETURNS int LANGUAGE sql AS
$$ SELECT 1 $$;
CREATE FUNCTION hub1._inner() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION hub1.nobodys() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION hub1.extended() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION hub1."Said ""it's"" $1 %s"(t text DEFAULT '%s ''$2') RETURNS text
LANGUAGE sql AS 'SELECT t';
ALTER EXTENSION pgtap ADD FUNCTION hub1.extended();
REVOKE ALL ON FUNCTION hub1.nobodys() FROM PUBLIC;

SELECT throws_ok($$ SELECT broadcast.expose('chat', 'nowhere') $$, '3F000',
    'there is no schema ''nowhere''', 'an unknown schema is refused');
SELECT throws_ok($$ SELECT broadcast.expose('chat', NULL) $$, '3F000', NULL,
    '... and none at all');
SELECT throws_ok(format('SELECT broadcast.expose(''chat'', %L)', s), '22023',
    format('the schema %s cannot be exposed', s), s || ' is refused')
  FROM unnest('{public,broadcast,pg_catalog,pg_toast,information_schema}'
              ::text[]) s;
SELECT throws_ok($$ SELECT broadcast.expose('chat', 'wide') $$, '22023',
    'the schema wide cannot be exposed: PUBLIC may create functions in it',
    'a schema where everybody may create functions is refused');
SELECT throws_ok($$ SELECT broadcast.expose('1chat', 'hub1') $$, '22023',
    NULL, 'so is a name that no hub has');

SELECT is_empty('SELECT FROM broadcast.methods()', 'nothing is a method');
SELECT broadcast.bindings_version() AS v0 \gset
SELECT broadcast.expose('Chat', 'hub1');
SELECT broadcast.bindings_version() AS v1 \gset
SELECT isnt(:v0::bigint, :v1, 'expose changes the version that nginx watches');
SELECT broadcast.expose('chat', 'hub1');
SELECT is(broadcast.bindings_version(), :v1::bigint,
          '... and to expose again is nothing new');
SELECT results_eq('SELECT hub, schema FROM broadcast.exposed',
    $$ VALUES ('chat', 'hub1') $$, 'a hub''s name ignores case');
SELECT results_eq('SELECT * FROM broadcast.bindings()',
    $$ VALUES ('message', 'chat', NULL::text, NULL::text) $$,
    'nginx is told that the hub may have methods');

CREATE ROLE module;
GRANT USAGE ON SCHEMA broadcast, hub1 TO module;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA broadcast TO module;
SET ROLE module;
SELECT results_eq($$ SELECT name, function, count FROM broadcast.methods() $$,
    $$ VALUES ('echo', 'hub1.echo(text)', 1),
              ('said "it''s" $1 %s', 'hub1."Said ""it''s"" $1 %s"(text)', 1),
              ('said "it''s" $1 %s', 'hub1."Said ""it''s"" $1 %s"(text)', 0)
    $$, 'methods are the plain functions that the role may execute');
RESET ROLE;
REVOKE USAGE ON SCHEMA hub1 FROM module;
SET ROLE module;
SELECT is_empty('SELECT FROM broadcast.methods()',
    '... in schemas that it may use');
SELECT results_eq($$ SELECT DISTINCT name
                       FROM broadcast.methods('role', NULL) ORDER BY 1 $$,
    $$ VALUES ('echo'), ('nobodys'), ('said "it''s" $1 %s') $$,
    '... and all of them where the caller''s role will be asked for');
SELECT throws_ok($$ SELECT * FROM broadcast.exposed $$, '42501', NULL,
    'the tables are the owner''s');
RESET ROLE;

SELECT is(broadcast.context(), NULL, 'outside of a call there is no context');
SELECT is((pg_temp.call('SAID "it''s" $1 %S', 'a''$2')).v, '"a''$2"',
          'an odd name is called, whatever its case');
SELECT is((pg_temp.call('said "it''s" $1 %s')).v, '"%s ''$2"',
          '... with its odd default');
ALTER EXTENSION pgtap DROP FUNCTION hub1.extended();

-- the version follows the functions

SELECT broadcast.bindings_version() AS v2 \gset
CREATE FUNCTION hub1.two() RETURNS int LANGUAGE sql AS 'SELECT 2';
SELECT broadcast.bindings_version() AS v3 \gset
CREATE FUNCTION hub2.elsewhere() RETURNS int LANGUAGE sql AS 'SELECT 2';
SELECT broadcast.bindings_version() AS v4 \gset
DROP FUNCTION hub1.two();
SELECT broadcast.bindings_version() AS v5 \gset
SELECT isnt(:v3::bigint, :v2, 'a new function is another version');
SELECT is(:v4::bigint, :v3, '... not in a schema that is not exposed');
SELECT isnt(:v5::bigint, :v4, '... and a dropped one is');

-- same name, same count

CREATE FUNCTION hub2."ECHO"(i int) RETURNS int LANGUAGE sql AS 'SELECT i';
SELECT throws_ok($$ SELECT broadcast.expose('chat', 'hub2') $$, '42725',
    'hub1.echo(text) and hub2."ECHO"(integer) have the same name and as many arguments',
    'a name that another schema of the hub has is refused');
SELECT lives_ok($$ SELECT broadcast.expose('other', 'hub2') $$,
                '... and is no matter in another hub');
CREATE FUNCTION hub2.echo(t text) RETURNS text LANGUAGE sql AS 'SELECT t';
SELECT results_eq($$ SELECT name, count, ambiguous FROM broadcast.methods()
                      WHERE hub = 'other' ORDER BY 1 $$,
    $$ VALUES ('echo', 1, true), ('elsewhere', 0, false) $$,
    'one that is made later makes the name ambiguous');
SELECT broadcast.unexpose('other');
SELECT is((SELECT count(*) FROM broadcast.exposed), 1::bigint,
          'unexpose takes all schemas of a hub back');
DROP FUNCTION hub2."ECHO"(int), hub2.echo(text);
SELECT broadcast.expose('chat', 'hub2');
SELECT broadcast.expose('chat', 'Odd "one"');
CREATE DOMAIN "Odd ""one""".even AS int CHECK (value % 2 = 0);
CREATE FUNCTION "Odd ""one""".half(e "Odd ""one""".even) RETURNS int
LANGUAGE sql AS 'SELECT e / 2';
SELECT is((pg_temp.call('half', '8')).v, '4', 'an odd schema is called');
SELECT is((pg_temp.call('half', '7')).error, 'binding',
          'a value outside of its domain cannot be bound');

-- counts

CREATE FUNCTION hub1.add(a int, b int) RETURNS int LANGUAGE sql AS
'SELECT a + b';
CREATE FUNCTION hub1.add(a int, b int, c int, d int DEFAULT 1)
    RETURNS int LANGUAGE sql AS 'SELECT a + b + c + 100 * d';
CREATE FUNCTION hub1.twice(a int, b text DEFAULT '') RETURNS int
LANGUAGE sql AS 'SELECT 2';
CREATE FUNCTION hub1.twice(a int, b int DEFAULT 0, c text DEFAULT '')
    RETURNS int LANGUAGE sql AS 'SELECT 3';
CREATE FUNCTION hub1.mixed(INOUT a int, OUT b text, c text DEFAULT 'c',
                           INOUT d int DEFAULT 4)
LANGUAGE sql AS $$ SELECT a, 'b' || c, d $$;
CREATE FUNCTION hub1.vari(a int, VARIADIC b int[]) RETURNS text
LANGUAGE sql AS $$ SELECT a || ':' || b::text $$;
CREATE FUNCTION hub1.variplus(VARIADIC b text[] DEFAULT '{x}') RETURNS text
LANGUAGE sql AS $$ SELECT b::text $$;

SELECT is((pg_temp.call('add', '1', '2')).v, '3',
          'overloads are told apart by their count');
SELECT is((pg_temp.call('add', '1', '2', '3')).v, '106', '... with defaults');
SELECT is((pg_temp.call('add', '1', '2', '3', '4')).v, '406', '... or none');
SELECT results_eq($$ SELECT count, ambiguous FROM broadcast.methods()
                      WHERE name = 'twice' ORDER BY 1 $$,
    $$ VALUES (1, true), (2, false), (3, false) $$,
    'what two functions reach by defaults is ambiguous');
SELECT is((pg_temp.call('twice', '1', '')).v, '2',
          '... what one reaches without is not');
CREATE FUNCTION hub1.same(a int) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION hub1.same(a int, b int DEFAULT 0) RETURNS int
LANGUAGE sql AS 'SELECT 2';
SELECT results_eq($$ SELECT count, ambiguous FROM broadcast.methods()
                      WHERE name = 'same' ORDER BY 1 $$,
    $$ VALUES (1, true), (2, false) $$,
    'so is one that PostgreSQL itself does not tell from another');
SELECT is((pg_temp.call('mixed', '1')).v::jsonb, '{"a":1,"b":"bc","d":4}',
          'defaults behind OUT parameters are found');
SELECT is((pg_temp.call('mixed', '1', 'x', '9')).v::jsonb,
          '{"a":1,"b":"bx","d":9}', 'OUT and INOUT make an object');
SELECT is((pg_temp.call('vari', '1', '2', '3')).v, '"1:{2,3}"',
          'VARIADIC takes the rest');
SELECT is((pg_temp.call('vari', '1')).v, '"1:{}"', '... which may be nothing');
SELECT is((pg_temp.call('vari', '1', 'x')).error, 'binding',
          '... and must be of its type');
SELECT is((pg_temp.call('variplus')).v, '"{x}"',
          'a VARIADIC''s default is taken if there is nothing');
SELECT is((pg_temp.call('variplus', 'a', 'b c')).v, '"{a,\"b c\"}"',
          '... and only then');

-- types

CREATE TYPE hub1.mood AS ENUM ('good', 'bad');
CREATE TYPE hub1.part AS (n int, data bytea);
CREATE TYPE hub1.whole AS (name text, at timestamptz, first hub1.part,
                           parts hub1.part[], "Odd ""col" bytea, j json);
CREATE DOMAIN hub1.blob AS bytea CHECK (octet_length(value) < 10);
CREATE FUNCTION hub1.t_int(v int) RETURNS int LANGUAGE sql AS 'SELECT v';
CREATE FUNCTION hub1.t_big(v bigint) RETURNS bigint LANGUAGE sql AS 'SELECT v';
CREATE FUNCTION hub1.t_num(v numeric) RETURNS numeric LANGUAGE sql AS 'SELECT v';
CREATE FUNCTION hub1.t_float(v float8) RETURNS float8 LANGUAGE sql AS 'SELECT v';
CREATE FUNCTION hub1.t_bool(v bool) RETURNS bool LANGUAGE sql AS 'SELECT v';
CREATE FUNCTION hub1.t_text(v text) RETURNS text LANGUAGE sql AS 'SELECT v';
CREATE FUNCTION hub1.t_varchar(v varchar) RETURNS varchar LANGUAGE sql AS 'SELECT v';
CREATE FUNCTION hub1.t_char(v "char") RETURNS "char" LANGUAGE sql AS 'SELECT v';
CREATE FUNCTION hub1.t_uuid(v uuid) RETURNS uuid LANGUAGE sql AS 'SELECT v';
CREATE FUNCTION hub1.t_date(v date) RETURNS date LANGUAGE sql AS 'SELECT v';
CREATE FUNCTION hub1.t_ts(v timestamp) RETURNS timestamp LANGUAGE sql AS 'SELECT v';
CREATE FUNCTION hub1.t_tstz(v timestamptz) RETURNS timestamptz LANGUAGE sql AS 'SELECT v';
CREATE FUNCTION hub1.t_interval(v interval) RETURNS interval LANGUAGE sql AS 'SELECT v';
CREATE FUNCTION hub1.t_range(v int4range) RETURNS int4range LANGUAGE sql AS 'SELECT v';
CREATE FUNCTION hub1.t_json(v json) RETURNS json LANGUAGE sql AS 'SELECT v';
CREATE FUNCTION hub1.t_jsonb(v jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT v';
CREATE FUNCTION hub1.t_mood(v hub1.mood) RETURNS hub1.mood LANGUAGE sql AS 'SELECT v';
CREATE FUNCTION hub1.t_bytea(v bytea) RETURNS bytea LANGUAGE sql AS 'SELECT v';
CREATE FUNCTION hub1.t_blob(v hub1.blob) RETURNS hub1.blob LANGUAGE sql AS 'SELECT v';
CREATE FUNCTION hub1.t_ints(v int[]) RETURNS int[] LANGUAGE sql AS 'SELECT v';
CREATE FUNCTION hub1.t_texts(v text[]) RETURNS text[] LANGUAGE sql AS 'SELECT v';
CREATE FUNCTION hub1.t_jsonbs(v jsonb[]) RETURNS jsonb[] LANGUAGE sql AS 'SELECT v';
CREATE FUNCTION hub1.t_byteas(v bytea[]) RETURNS bytea[] LANGUAGE sql AS 'SELECT v';
CREATE FUNCTION hub1.t_moods(v hub1.mood[]) RETURNS hub1.mood[] LANGUAGE sql AS 'SELECT v';
CREATE FUNCTION hub1.t_part(v hub1.part) RETURNS hub1.part LANGUAGE sql AS 'SELECT v';
CREATE FUNCTION hub1.t_parts(v hub1.part[]) RETURNS hub1.part[] LANGUAGE sql AS 'SELECT v';
CREATE FUNCTION hub1.t_whole(v hub1.whole) RETURNS hub1.whole LANGUAGE sql AS 'SELECT v';
CREATE FUNCTION hub1.hex(v bytea) RETURNS text LANGUAGE sql AS $$ SELECT encode(v, 'hex') $$;

SET timezone = 'UTC';

SELECT is((pg_temp.call('t_' || t, g)).v, coalesce(w, g),
          format('%s: %s comes back', t, left(g, 40)))
  FROM (VALUES
    ('int', '-7', NULL), ('big', '9007199254740993', NULL),
    ('num', '123456789012345678901234567890.5', NULL), ('num', '1e2', '100'),
    ('num', 'NaN', '"NaN"'),
    ('float', '0.1', NULL), ('float', 'Infinity', '"Infinity"'),
    ('bool', 'true', NULL),
    ('text', 'a"b\', '"a\"b\\"'), ('varchar', 'x ', '"x "'),
    ('char', 'z', '"z"'),
    ('uuid', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11',
     '"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"'),
    ('date', '2024-02-29', '"2024-02-29"'),
    ('ts', '2024-02-29T01:02:03.5', '"2024-02-29T01:02:03.5"'),
    ('tstz', '2024-02-29T01:02:03.25+02:00',
     '"2024-02-28T23:02:03.25+00:00"'),
    ('tstz', 'infinity', '"infinity"'),
    ('interval', '90 min', '"01:30:00"'),
    ('range', '[1,4)', '"[1,4)"'),
    ('json', '{"b" : 1.0, "a":"\u0000", "b":12345678901234567890}', NULL),
    ('jsonb', '{"b": 1, "a": [true, null]}', '{"a": [true, null], "b": 1}'),
    ('mood', 'bad', '"bad"'),
    ('bytea', 'aGk=', '"aGk="'), ('bytea', '', '""'),
    ('blob', '/wA=', '"/wA="'),
    ('ints', '[1,null,3]', NULL), ('ints', '[]', NULL),
    ('ints', '[[1,2],[3,4]]', NULL),
    ('texts', '["a,b","{}","",null]', NULL),
    ('jsonbs', '["a",{"b": 1},[2]]', NULL),
    ('moods', '["good","bad"]', NULL)
  ) v(t, g, w);

SELECT is((pg_temp.call('t_' || t, g)).v::jsonb, g::jsonb,
          format('%s: %s comes back', t, left(g, 40)))
  FROM (VALUES
    ('byteas', '["/wA=",null,""]'), ('byteas', '[]'),
    ('byteas', '[["AA==","AQ=="],["Ag==","Aw=="]]'),
    ('part', '{"n":1,"data":"/wA="}'), ('part', '{"n":null,"data":null}'),
    ('parts', '[{"n":1,"data":"AA=="},{"n":2,"data":null}]'),
    ('whole', '{"name":"x","at":"2024-01-01T00:00:00+00:00",
      "first":{"n":1,"data":"AA=="},"parts":[{"n":2,"data":"AQ=="}],
      "Odd \"col":"Ag==","j":{"k":"v"}}')
  ) v(t, g);

SELECT is((pg_temp.call('t_' || t, NULL::text)).v, NULL,
          t || ': JSON null is SQL null')
  FROM unnest('{int,text,json,bytea,ints,byteas,part,parts,whole}'::text[]) t;

SELECT is((pg_temp.call('t_' || t, g)).error, 'binding',
          format('%s: %s cannot be bound', t, g))
  FROM (VALUES
    ('int', 'x'), ('int', '1.5'), ('int', '99999999999'), ('bool', 'maybe'),
    ('uuid', 'x'), ('date', '2024-02-30'), ('tstz', 'soon'), ('mood', 'ugly'),
    ('range', '[4,1)'), ('bytea', 'a'), ('bytea', '*'),
    ('blob', 'AAAAAAAAAAAAAAAA'), ('jsonb', '"\u0000"'),
    ('ints', '["x"]'), ('ints', '5'), ('ints', '{"a":1}'),
    ('ints', '[[1],[2,3]]'), ('moods', '["ugly"]'), ('byteas', '["*"]'),
    ('part', '[]'), ('part', '"x"'), ('part', '{"n":"x"}'),
    ('part', '{"data":"*"}'), ('parts', '[{"n":"x"}]'), ('parts', '[5]'),
    ('whole', '{"parts":[{"data":"*"}]}')
  ) v(t, g);

SELECT is((pg_temp.call('hex', 'aGk=')).v, '"6869"',
          'base64 is what the function gets as bytes');
SELECT is((pg_temp.call('t_bytea', encode(decode(repeat('ab', 300), 'hex'),
                                          'base64'))).v,
          '"' || translate(encode(decode(repeat('ab', 300), 'hex'), 'base64'),
                           E'\n', '') || '"',
          'long bytes come back without line breaks');

SELECT is((SELECT params FROM broadcast.methods() WHERE name = 'vari'), 'tj',
          'scalars go as text, arrays as JSON');
SELECT results_eq($$ SELECT name, arrays FROM broadcast.methods()
                      WHERE name IN ('vari', 't_ints', 't_jsonb', 'add')
                        AND count <= 2 ORDER BY 1 $$,
    $$ VALUES ('add', 0), ('t_ints', 1), ('t_jsonb', 0), ('vari', 1) $$,
    'upload streams go into arrays');
SELECT results_eq($$ SELECT name, shape::jsonb FROM broadcast.methods()
                      WHERE name LIKE 't\_%' AND shape IS NOT NULL
                      ORDER BY 1 $$,
    $$ VALUES ('t_blob', '"bytes"'::jsonb), ('t_bytea', '"bytes"'),
              ('t_byteas', '["bytes"]'), ('t_part', '{"data":"bytes"}'),
              ('t_parts', '[{"data":"bytes"}]'), ('t_tstz', '"time"'),
              ('t_whole', '{"at":"time","first":{"data":"bytes"},
                "parts":[{"data":"bytes"}],"Odd \"col":"bytes"}') $$,
    'shapes tell where bytes and times are');

CREATE DOMAIN hub1.dpart AS hub1.part;
CREATE DOMAIN hub1.dparts AS hub1.part[];
CREATE FUNCTION hub1.d_part(v hub1.dpart) RETURNS hub1.dpart
LANGUAGE sql AS 'SELECT v';
CREATE FUNCTION hub1.d_parts(v hub1.dparts) RETURNS hub1.dparts
LANGUAGE sql AS 'SELECT v';
SELECT is((pg_temp.call('d_part', '{"n":1,"data":"AA=="}')).v::jsonb,
          '{"n":1,"data":"AA=="}', 'a domain over a row comes back');
SELECT is((pg_temp.call('d_parts', '[{"n":1,"data":"AA=="}]')).v::jsonb,
          '[{"n":1,"data":"AA=="}]', '... and one over an array');

-- results

CREATE FUNCTION hub1.r_void() RETURNS void LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION hub1.r_null() RETURNS hub1.part LANGUAGE sql AS
'SELECT NULL::hub1.part';
CREATE FUNCTION hub1.r_out(OUT x int, OUT y bytea, OUT z timestamptz)
LANGUAGE sql AS $$ SELECT 1, '\x00'::bytea, '2024-01-01Z'::timestamptz $$;
CREATE FUNCTION hub1.r_one(OUT x int) LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION hub1.r_table(n int) RETURNS TABLE (i int, b bytea)
LANGUAGE sql AS $$ SELECT g, '\x01'::bytea FROM generate_series(1, n) g $$;
CREATE FUNCTION hub1.r_column(n int) RETURNS TABLE (i int)
LANGUAGE sql AS $$ SELECT g FROM generate_series(1, n) g $$;
CREATE FUNCTION hub1.r_set(n int) RETURNS SETOF text LANGUAGE plpgsql AS
$$ BEGIN RETURN NEXT 'a'; RETURN NEXT NULL; RETURN NEXT 'c'; END $$;
CREATE FUNCTION hub1.r_parts() RETURNS SETOF hub1.part LANGUAGE sql AS
$$ VALUES (1, '\xff'::bytea), (2, NULL) $$;
CREATE FUNCTION hub1.r_bytes() RETURNS SETOF bytea LANGUAGE sql AS
$$ VALUES ('\xff'::bytea) $$;
CREATE FUNCTION hub1.r_jsons() RETURNS SETOF json LANGUAGE sql AS
$$ VALUES ('{"a" : 1}'::json) $$;
CREATE FUNCTION hub1.r_cursor() RETURNS refcursor LANGUAGE plpgsql AS
$$ DECLARE c refcursor := 'portal one'; BEGIN
   OPEN c FOR SELECT 1 AS x; RETURN c; END $$;
CREATE TABLE hub1.t (a int, gone int, b bytea);
ALTER TABLE hub1.t DROP COLUMN gone;
CREATE FUNCTION hub1.r_row() RETURNS hub1.t LANGUAGE sql AS
$$ SELECT 1, '\x02'::bytea $$;

SELECT is((pg_temp.call('r_void')).v, NULL, 'void is null');
SELECT is((pg_temp.call('r_null')).v, NULL, 'a null row is null');
SELECT is((pg_temp.call('r_out')).v::jsonb,
    '{"x":1,"y":"AA==","z":"2024-01-01T00:00:00+00:00"}',
    'several OUT parameters are an object');
SELECT is((SELECT shape::jsonb FROM broadcast.methods() WHERE name = 'r_out'),
          '{"y":"bytes","z":"time"}', '... with its shape');
SELECT is((pg_temp.call('r_one')).v, '1', 'one OUT parameter is a scalar');
SELECT is((pg_temp.call('r_row')).v::jsonb, '{"a":1,"b":"Ag=="}',
          'a row of a table is an object of the columns that are left');
SELECT results_eq($$ SELECT i::jsonb FROM pg_temp.items('r_table', '2') i $$,
    $$ VALUES ('{"i":1,"b":"AQ=="}'::jsonb), ('{"i":2,"b":"AQ=="}') $$,
    'a table is a stream of objects');
SELECT results_eq($$ SELECT pg_temp.items('r_column', '2') $$,
    $$ VALUES ('1'), ('2') $$, '... of one column, of scalars');
SELECT results_eq($$ SELECT pg_temp.items('r_set', '2') $$,
    $$ VALUES ('"a"'), (NULL), ('"c"') $$, 'a set is a stream');
SELECT results_eq($$ SELECT i::jsonb FROM pg_temp.items('r_parts') i $$,
    $$ VALUES ('{"n":1,"data":"/w=="}'::jsonb), ('{"n":2,"data":null}') $$,
    '... of rows');
SELECT results_eq($$ SELECT pg_temp.items('r_bytes') $$,
    $$ VALUES ('"/w=="') $$, '... of bytes');
SELECT results_eq($$ SELECT pg_temp.items('r_jsons') $$,
    $$ VALUES ('{"a" : 1}') $$, '... of JSON, byte for byte');
SELECT results_eq($$ SELECT pg_temp.items('r_cursor') $$,
    $$ VALUES ('portal one') $$, 'a cursor tells its portal');
SELECT set_eq($$
    SELECT DISTINCT p.prorettype::regtype::text
      FROM broadcast.methods() m JOIN pg_proc p
        ON p.oid = to_regprocedure(m.function) WHERE m.plain $$,
    ARRAY['text', 'character varying'],
    'a text is plain, nginx makes JSON of it, and nothing else is');
SELECT is_empty($$ SELECT FROM broadcast.methods('role', NULL)
                    WHERE plain $$, '... nor is it under a role');
SELECT results_eq($$ SELECT name, stream, cursor FROM broadcast.methods()
                      WHERE name IN ('r_set', 'r_table', 'r_cursor', 'r_out')
                      ORDER BY 1 $$,
    $$ VALUES ('r_cursor', true, true), ('r_out', false, false),
              ('r_set', true, false), ('r_table', true, false) $$,
    'what is a stream says so');

-- rows of an SQL function flow: the second one is never made

CREATE FUNCTION hub1.flow() RETURNS SETOF int LANGUAGE sql AS
$$ SELECT 1 / (2 - i) FROM generate_series(1, 2) i $$;
SELECT (pg_temp.method('flow', 0)).statement AS flow \gset
SELECT replace(:'flow', '$1', '''{}''') AS flow \gset
DECLARE c CURSOR FOR :flow;
CREATE FUNCTION pg_temp.next(c refcursor) RETURNS text
LANGUAGE plpgsql AS $$ DECLARE r text; BEGIN FETCH c INTO r; RETURN r; END $$;
SELECT is(pg_temp.next('c'), '1',
          'rows of an SQL function flow as they are made');
SELECT throws_ok($$ SELECT pg_temp.next('c') $$, '22012', NULL,
                 '... and fail when their turn has come');

-- the function's own errors are not the arguments'

CREATE FUNCTION hub1.e_cast(t text) RETURNS int LANGUAGE plpgsql AS
$$ BEGIN RETURN t::int; END $$;
CREATE FUNCTION hub1.e_raise(i int) RETURNS int LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'full' USING DATATYPE = 'RoomFull'; END $$;
SELECT is((pg_temp.call('e_cast', 'x')).error,
    '22P02 invalid input syntax for type integer: "x"',
    'a cast in the function is its own error');
SELECT is((pg_temp.call('e_raise', '1')).error, 'P0001 full',
    '... as is what it raises');

-- context, staged

CREATE FUNCTION hub1.who() RETURNS jsonb LANGUAGE sql AS
'SELECT broadcast.context()';
CREATE FUNCTION hub1.say() RETURNS int LANGUAGE sql AS
$$ SELECT broadcast.send_connection('chat', 'c1', 'hi', '[]'); SELECT 1 $$;

SELECT is((pg_temp.call('who')).v::jsonb,
    '{"connectionId":"c1","hub":"chat","userId":"bob","claims":{},"query":{},
      "headers":{},"transport":null,"remoteAddress":null}',
    'a context has what the call says');
SELECT broadcast.dispatch('{"kind":"connected","connectionId":"c1",
    "hub":"chat","userId":"bob","node":"n","transport":"sse",
    "remoteAddress":"::1","claims":{"a":null},"query":{"q":"1"},
    "headers":{"x":"y"}}');
SELECT is((pg_temp.call('who')).v::jsonb,
    '{"connectionId":"c1","hub":"chat","userId":"bob","claims":{"a":null},
      "query":{"q":"1"},"headers":{"x":"y"},"transport":"sse",
      "remoteAddress":"::1"}', '... and what is known of the connection');

SELECT set_config('broadcast.staged', '', true);
SELECT is((pg_temp.call('echo', 'x')).staged, false,
          'a call that sends nothing staged nothing');
SELECT is((pg_temp.call('say')).staged, true, 'one that sends did');
SELECT results_eq($$ SELECT type::int, scope::int, hub, name, detail
                       FROM broadcast.staging ORDER BY id $$,
    $$ VALUES (1, 3, 'chat', 'c1', NULL), (17, 3, 'chat', 'c1', '3.14') $$,
    '... and its done record is behind what it sent');
SELECT is(broadcast.done('{"hub":"chat","connectionId":"c1"}'), false,
          'a call that waits for no record gets none');
SELECT broadcast.sequence(10);
SELECT is((SELECT count(*) FROM broadcast.read(0, 10) WHERE type = 17
              AND epoch = 0 AND arguments = '3.14' AND name = 'c1'),
          1::bigint, 'a done record is read without a number of the hub');
SELECT is(broadcast.position('chat'),
          (SELECT to_hex(epoch) || '-1' FROM broadcast.hub
            WHERE name = 'chat'), '... and moves no position');
SELECT is((SELECT count(*) FROM broadcast.hub h,
                  broadcast.replay('chat', h.epoch, 0, 10, 10)), 1::bigint,
          '... nor is it replayed');

-- an IMMUTABLE function can, by its declaration, neither ask who calls nor send

CREATE FUNCTION hub1.pure(t text DEFAULT broadcast.context()->>'userId')
RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'pure ' || t $$;
CREATE FUNCTION hub1.stable(t text) RETURNS text LANGUAGE sql STABLE AS
$$ SELECT 'stable ' || t $$;
CREATE FUNCTION hub1.claims_pure() RETURNS text LANGUAGE plpgsql IMMUTABLE AS
$$ BEGIN RETURN coalesce(broadcast.context()->>'userId', 'nobody'); END $$;
CREATE FUNCTION hub1.pure_set() RETURNS SETOF int LANGUAGE sql IMMUTABLE AS
'SELECT 1';

SELECT unalike((pg_temp.method('pure', 1)).statement, '%$1%',
    'the statement of an IMMUTABLE function asks for no context');
SELECT unalike((pg_temp.method('pure', 1)).statement, '%set_config(''broadcast%',
    '... sets none');
SELECT unalike((pg_temp.method('pure', 1)).statement, '%done_if%',
    '... and does not tell whether anything was staged');
SELECT alike((pg_temp.method('stable', 1)).statement,
    '%set_config(''broadcast.call'', $1, true)%done_if($1)%',
    'that of a STABLE one does, it may ask who calls');
SELECT is((pg_temp.call('pure', 'x')).v, '"pure x"',
          'an IMMUTABLE function is called');
SELECT is((pg_temp.call('pure')).v, '"pure bob"',
          '... with the context for its defaults, which may be of any kind');
SELECT is((pg_temp.call('stable', 'x')).v, '"stable x"',
          'a STABLE one is called');
SELECT set_config('broadcast.call', '', true);
SELECT is((pg_temp.call('claims_pure')).v, '"nobody"',
          'one that is not what it says asks in vain');
SELECT is(array(SELECT pg_temp.items('pure_set')), '{1}',
          'an IMMUTABLE set is a stream as others are');

-- what takes a role back stays, where there could be another

SELECT is(broadcast.call_statement(NULL, 'f()'),
    'SELECT f(), CASE WHEN (CURRENT_USER OPERATOR(pg_catalog.=) SESSION_USER OR pg_catalog.set_config(''role'', NULL, false) IS NOT NULL) THEN false END',
    'a superuser''s session could have another role');
SET LOCAL SESSION AUTHORIZATION owner;
CREATE TEMP TABLE lonely AS
SELECT broadcast.call_statement(NULL, 'f()') AS statement;
RESET SESSION AUTHORIZATION;
SELECT is((SELECT l.statement FROM lonely l), 'SELECT f(), NULL',
    'that of a role without others could not; two columns all the same, which nginx of an older version reads');

-- bound message functions

CREATE FUNCTION hub2.b_mirror(e jsonb) RETURNS jsonb LANGUAGE sql AS
$$ SELECT jsonb_build_object('result', e, 'actions', '[{"target":"z"}]'::jsonb) $$;
CREATE FUNCTION hub2.b_json(e jsonb) RETURNS json LANGUAGE sql AS
$$ SELECT '{"result": {"b" : 1.0, "a":2}}'::json $$;
CREATE FUNCTION hub2.b_void(e jsonb) RETURNS void LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION hub2.b_action(e jsonb) RETURNS jsonb LANGUAGE sql AS
$$ SELECT '{"target":"act"}'::jsonb $$;
CREATE FUNCTION hub2.b_set(e jsonb) RETURNS SETOF jsonb LANGUAGE sql AS
$$ SELECT to_jsonb(e->'arguments'->0) UNION ALL SELECT '2' $$;

CREATE FUNCTION pg_temp.bound(f text) RETURNS pg_temp.answer
LANGUAGE plpgsql AS $$
DECLARE
    r pg_temp.answer;
BEGIN
    EXECUTE format('PREPARE m(text, text) AS %s', (SELECT statement
        FROM broadcast.methods() m WHERE m.function = f
         AND m.form = 'message'));
    BEGIN
        EXECUTE format('EXECUTE m(%L, %L)', '{"hub":"chat","done":"1.2"}',
                       '{"kind":"message","hub":"chat","connectionId":"c1","target":"X","arguments":[5]}')
           INTO r.v, r.staged;
    EXCEPTION WHEN others THEN
        r.error := SQLSTATE || ' ' || SQLERRM;
    END;
    DEALLOCATE m;
    RETURN r;
END
$$;

SELECT broadcast.bind('message', 'hub2.b_mirror');
SELECT broadcast.bind('message', 'hub2.b_json', 'Chat', 'Json');
SELECT broadcast.bind('message', 'hub2.b_void', 'chat', 'void');
SELECT broadcast.bind('message', 'hub2.b_action', 'chat', 'act');
SELECT broadcast.bind('message', 'hub2.b_set', 'chat', 'set');
SELECT results_eq($$ SELECT hub, name, function, stream
                       FROM broadcast.methods() WHERE form = 'message'
                      ORDER BY 1, 2 $$,
    $$ VALUES ('chat', 'act', 'hub2.b_action', false),
              ('chat', 'json', 'hub2.b_json', false),
              ('chat', 'set', 'hub2.b_set', true),
              ('chat', 'void', 'hub2.b_void', false),
              (NULL, NULL, 'hub2.b_mirror', false) $$,
    'bound message functions are rows, too');
DELETE FROM broadcast.staging;
SELECT set_config('broadcast.staged', '', true);
SELECT is((pg_temp.bound('hub2.b_mirror')).v::jsonb,
    '{"kind":"message","hub":"chat","connectionId":"c1","target":"X",
      "arguments":[5],"claims":{"a":null},"query":{"q":"1"}}',
    'one gets the event, with claims and query, and its result comes back');
SELECT results_eq($$ SELECT hub, type::int, target FROM broadcast.staging
                      WHERE type = 1 $$, $$ VALUES ('chat', 1, 'z') $$,
    '... its actions are sent to the caller''s hub');
SELECT is((pg_temp.bound('hub2.b_json')).v, '{"b" : 1.0, "a":2}',
          'a result in json comes back byte for byte');
SELECT is((pg_temp.bound('hub2.b_void')).v, NULL, 'void is null');
SELECT is((pg_temp.bound('hub2.b_action')).v, NULL,
          'an action alone is no result');
SELECT is((SELECT count(*) FROM broadcast.staging WHERE target = 'act'),
          1::bigint, '... but sent');
CREATE FUNCTION hub2.b_two(e jsonb) RETURNS jsonb LANGUAGE sql AS
$$ SELECT '[{"action":"add","groupName":"g","connectionId":"c1"},
            {"target":"two","groupName":"g"}]'::jsonb $$;
SELECT broadcast.bind('message', 'hub2.b_two', 'chat', 'two');
DELETE FROM broadcast.staging;
SELECT is((pg_temp.bound('hub2.b_two')).v, NULL,
          'an array is of actions');
SELECT results_eq($$ SELECT type::int, name, grp, target
                       FROM broadcast.staging ORDER BY id LIMIT 2 $$,
    $$ VALUES (2, 'c1', 'g', NULL), (1, 'g', NULL, 'two') $$,
    '... which are staged in order');
SELECT broadcast.unbind('message', 'hub2.b_two');
DEALLOCATE ALL;
SELECT is((pg_temp.bound('hub2.b_set')).v, '5',
          'a bound set is a stream of what it returns');

DROP FUNCTION hub2.b_void(jsonb);
SELECT is((pg_temp.bound('hub2.b_void')).error,
    '42883 the bound function hub2.b_void(jsonb) does not exist',
    'a bound function that was dropped is named when it is called');

-- other kinds have a context as well

CREATE FUNCTION hub2.web(e jsonb) RETURNS jsonb LANGUAGE sql AS
$$ SELECT jsonb_build_object('body', broadcast.context()) $$;
SELECT broadcast.bind('http', 'hub2.web');
SELECT is(broadcast.dispatch('{"kind":"http","name":"web","body":"long",
    "claims":{"sub":"ann"},"query":{"a":"b"},"headers":{"h":"1"}}')->'body',
    '{"connectionId":null,"hub":null,"userId":null,"claims":{"sub":"ann"},
      "query":{"a":"b"},"headers":{"h":"1"},"transport":null,
      "remoteAddress":null}', 'an http function has a context, too');

-- under the role that the claims of the caller name

CREATE ROLE alice;
CREATE ROLE carol;
GRANT alice, carol TO module;
ALTER ROLE module NOINHERIT;
GRANT USAGE ON SCHEMA hub1 TO alice, carol;
CREATE FUNCTION hub1.c_who(i int) RETURNS text LANGUAGE sql AS
$$ SELECT current_user || i || current_setting('request.jwt.claims') $$;
CREATE FUNCTION hub1.c_all(i int, t text, b bytea, a int[], p hub1.part[])
    RETURNS hub1.part LANGUAGE sql AS
$$ SELECT i + a[1] + p[1].n, b || p[1].data || t::bytea $$;
CREATE FUNCTION hub1.c_rows(i int, a int[]) RETURNS SETOF text
LANGUAGE sql AS $$ SELECT current_user || i || a[1] $$;
CREATE FUNCTION hub1.c_alice() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION hub1.c_say() RETURNS int LANGUAGE sql SECURITY DEFINER AS
$$ SELECT broadcast.send_all('chat', 'hi', '[]'); SELECT 1 $$;
GRANT USAGE ON SCHEMA hub2 TO alice, carol;
CREATE FUNCTION hub2.c_event(e jsonb) RETURNS jsonb LANGUAGE sql AS
$$ SELECT jsonb_build_object('result', current_user || ' '
       || (e->'claims'->>'role'), 'actions', '[{"target":"x"}]'::jsonb) $$;
REVOKE ALL ON FUNCTION hub1.c_alice() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION hub1.c_alice() TO alice;
SELECT broadcast.bind('message', 'hub2.c_event', 'chat', 'c_event');
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA broadcast TO module;

CREATE FUNCTION pg_temp.as_role(target text, claims text,
    VARIADIC args text[] DEFAULT '{}') RETURNS pg_temp.answer
LANGUAGE plpgsql AS $$
DECLARE
    r pg_temp.answer;
    context text;
    m record;
BEGIN
    SELECT * INTO m FROM broadcast.methods('role', 'alice') x
     WHERE x.name = target ORDER BY x.form LIMIT 1;

    IF m.stream THEN
        PERFORM broadcast.enter('{"hub":"chat","claims":' || claims || '}',
                                'role', 'alice');
    END IF;

    EXECUTE format('PREPARE m(text%s) AS %s',
                   repeat(', text', cardinality(args)), m.statement);

    EXECUTE 'EXECUTE m('
            || quote_literal('{"hub":"chat","connectionId":"c9","done":"1.1",'
                             || '"claims":' || claims || '}')
            || coalesce((SELECT string_agg(', ' || quote_nullable(a), ''
                                           ORDER BY i)
                           FROM unnest(args) WITH ORDINALITY u(a, i)), '')
            || ')' INTO r.v, r.staged;

    IF m.stream THEN
        RESET ROLE;
    END IF;

    r.error := nullif(current_user, 'module');
    DEALLOCATE m;
    RETURN r;

EXCEPTION WHEN others THEN
    GET STACKED DIAGNOSTICS context = PG_EXCEPTION_CONTEXT;
    r.error := CASE WHEN context LIKE '%broadcast.argument%' THEN 'binding'
                    ELSE SQLSTATE END;
    IF EXISTS (SELECT FROM pg_prepared_statements WHERE name = 'm') THEN
        DEALLOCATE m;
    END IF;
    RETURN r;
END
$$;

SET SESSION AUTHORIZATION module;
SELECT is((pg_temp.as_role('c_who', '{"role":"carol"}', '7')).v,
    '"carol7{\"role\": \"carol\"}"', 'a method runs under the caller''s role');
SELECT is((pg_temp.as_role('c_who', '{}', '7')).v,
    '"alice7{\"role\": \"alice\"}"', '... or the default one');
SELECT is((pg_temp.as_role('c_who', '{"role":"carol"}', '7')).error,
    NULL, '... which is given back');
SELECT is((pg_temp.as_role('c_who', '{"role":"postgres"}', '7')).error,
    '42501', '... never under one that nginx is no member of');
SELECT is((pg_temp.as_role('c_alice', '{}')).v, '1',
    'a function is called by a role that may');
SELECT is((pg_temp.as_role('c_alice', '{"role":"carol"}')).error,
    '42501', '... and by no other');
SELECT is((pg_temp.as_role('c_all', '{}', '1', 'z', '/w==', '[2]',
                          '[{"n":3,"data":"AA=="}]')).v::jsonb,
    '{"n":6,"data":"/wB6"}', 'every kind of argument reaches it, and bytes come back');
SELECT is((pg_temp.as_role('c_all', '{}', '1', 'z', '/w==', '["x"]',
                                  NULL)).error, 'binding',
    'an argument that cannot be bound is told from its own errors');
SELECT is((pg_temp.as_role('c_all', '{}', '1', 'z', '*', '[]',
                                  NULL)).error, 'binding',
    '... and bytes that are none');
SELECT is((pg_temp.as_role('c_rows', '{"role":"carol"}', '1',
                                  '[2]')).v,
    '"carol12"', 'a stream runs under the role that is set before it');
SELECT set_config('broadcast.staged', '', true);
SELECT is((pg_temp.as_role('c_say', '{}')).staged, true,
    'what it sends is known to be sent');
SELECT is((pg_temp.as_role('c_event', '{"role":"carol"}',
                                  '{"hub":"chat"}')).v, '"carol carol"',
    'a bound function runs under the role, and knows the claims');
RESET SESSION AUTHORIZATION;
SELECT is((SELECT array_agg(type::int ORDER BY id) FROM broadcast.staging
            WHERE id >= (SELECT max(id) FROM broadcast.staging
                          WHERE target = 'x')), '{1,17}',
    '... its actions are sent, and a done record behind them');

-- names with what format() and others look for

CREATE SCHEMA "%s $$""'";
CREATE TYPE "%s $$""'"."t%I" AS ("a%s" bytea, "%%" int);
CREATE FUNCTION "%s $$""'"."f%1$s"(x "%s $$""'"."t%I"[],
    y text DEFAULT '%s''\') RETURNS "%s $$""'"."t%I"[]
LANGUAGE sql AS 'SELECT x';
CREATE FUNCTION "%s $$""'"."ÄÖ"() RETURNS int LANGUAGE sql AS 'SELECT 7';
SELECT broadcast.expose('percent', '%s $$"''');
SELECT broadcast.methods('ro%s''le', 'de''%s\');
SELECT results_eq($$ SELECT m.name, m.count FROM broadcast.methods() m
                      WHERE m.hub = 'percent' ORDER BY 1, 2 $$,
    $$ VALUES ('f%1$s', 1), ('f%1$s', 2), ('ÄÖ', 0) $$,
    'odd names are names; letters beyond ASCII have their case');
SELECT statement AS call FROM broadcast.methods()
 WHERE hub = 'percent' AND count = 1 \gset
CREATE FUNCTION pg_temp.called(of_hub text, target text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    v text;
BEGIN
    EXECUTE (SELECT m.statement FROM broadcast.methods() m
              WHERE m.hub = of_hub AND m.name = target AND m.count = 0)
       INTO v USING '{}'::text;
    RETURN v;
END $$;
CREATE FUNCTION pg_temp.percent(statement text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    v text;
BEGIN
    EXECUTE statement INTO v USING '{}'::text,
        '[{"a%s":"AQI=","%%":1},null]'::text;
    RETURN v;
END $$;
SELECT is(pg_temp.percent(:'call')::jsonb,
          '[{"a%s": "AQI=", "%%": 1}, null]', '... also of what is bytes');
CREATE FUNCTION "%s $$""'".names(OUT c int, OUT f bytea, OUT u int, OUT e int,
    OUT x int, OUT r int, OUT v int, OUT i int) LANGUAGE sql AS
$$ SELECT 1, '\x01'::bytea, 2, 3, 4, 5, 6, 7 $$;
SELECT is((pg_temp.called('percent', 'names'))::jsonb,
    '{"c": 1, "f": "AQ==", "u": 2, "e": 3, "x": 4, "r": 5, "v": 6, "i": 7}',
    'columns named as what the statement names');
SELECT broadcast.unexpose('percent');

SELECT broadcast.unexpose(NULL);
SELECT is_empty($$ SELECT FROM broadcast.methods() WHERE form = 'method' $$,
                'null in unexpose matches any');

SELECT * FROM finish();
