-- Changes of tables: what a trigger stages, and for whom.

SELECT * FROM no_plan();

CREATE ROLE stranger;
CREATE ROLE writer;
CREATE SCHEMA app AUTHORIZATION CURRENT_USER;
GRANT USAGE ON SCHEMA app TO writer, stranger;
SET search_path = app, public;

CREATE TABLE app.item (id int PRIMARY KEY, room text, body text);
GRANT ALL ON app.item TO writer;
CREATE TRIGGER told AFTER INSERT OR UPDATE OR DELETE ON app.item
    FOR EACH ROW EXECUTE FUNCTION broadcast.on_change('Chat', 'item');

CREATE FUNCTION app.staged() RETURNS SETOF text LANGUAGE sql AS $$
    WITH gone AS (DELETE FROM broadcast.staging RETURNING *)
    SELECT concat_ws(' ', hub, target, scope, name, grp,
                     replace(arguments::text, ' ', ''))
      FROM gone ORDER BY id $$;

SET LOCAL ROLE writer;
INSERT INTO app.item VALUES (1, 'a', NULL);
RESET ROLE;
SELECT results_eq('SELECT * FROM app.staged()',
    $$ VALUES ('chat item 0 [{"op":"INSERT","new":{"id":1,"body":null,"room":"a"},"table":"item"}]') $$,
    'an INSERT has new and no old; who writes needs no right to the schema');

UPDATE app.item SET body = 'x';
SELECT results_eq('SELECT * FROM app.staged()',
    $$ VALUES ('chat item 0 [{"op":"UPDATE","new":{"id":1,"body":"x","room":"a"},"old":{"id":1,"body":null,"room":"a"},"table":"item"}]') $$,
    'an UPDATE has both');

DELETE FROM app.item;
SELECT results_eq('SELECT * FROM app.staged()',
    $$ VALUES ('chat item 0 [{"op":"DELETE","old":{"id":1,"body":"x","room":"a"},"table":"item"}]') $$,
    'a DELETE has old and no new');

DROP TRIGGER told ON app.item;
CREATE TRIGGER told BEFORE INSERT OR UPDATE OR DELETE ON app.item
    FOR EACH ROW EXECUTE FUNCTION broadcast.on_change('chat', 'item', 'room');

CREATE FUNCTION app.groups() RETURNS SETOF text LANGUAGE sql AS $$
    WITH gone AS (DELETE FROM broadcast.staging RETURNING *)
    SELECT concat_ws(' ', scope, name, grp, arguments->0->>'op')
      FROM gone ORDER BY id $$;

INSERT INTO app.item VALUES (1, 'a', 'x'), (2, NULL, 'y'), (3, ' ', 'z');
SELECT results_eq('SELECT * FROM app.groups()', $$ VALUES ('1 a INSERT') $$,
    'with a group column to that group; without a group to nobody');
SELECT is(count(*), 3::bigint, 'as a BEFORE trigger it keeps the rows')
  FROM app.item;

UPDATE app.item SET body = 'v' WHERE id = 1;
UPDATE app.item SET room = 'b' WHERE id = 1;
UPDATE app.item SET room = NULL WHERE id = 1;
UPDATE app.item SET room = 'c' WHERE id = 2;
DELETE FROM app.item WHERE id = 2;
SELECT results_eq('SELECT * FROM app.groups()',
    $$ VALUES ('1 a UPDATE'), ('1 b a UPDATE'), ('1 b UPDATE'),
              ('1 c UPDATE'), ('1 c DELETE') $$,
    'one record for the old and the new group');
SELECT is(count(*), 2::bigint, '... and it deletes') FROM app.item;

ALTER TABLE app.item RENAME room TO place;
SELECT throws_ok('UPDATE app.item SET body = NULL', '42703',
    'trigger told of app.item names a group column room that is not there',
    'a column that is not there is said');
ALTER TABLE app.item RENAME place TO room;

UPDATE app.item SET room = 'r';
SELECT throws_ok($$ UPDATE app.item SET body = repeat('x', 1048576) $$,
    '54000', NULL, 'what is larger than a message may be is an error');
SELECT throws_ok($$ UPDATE app.item SET room = repeat('g', 1025) $$,
    '22023', NULL, '... and so is the name of the new group');
SELECT throws_ok($$ ALTER TABLE app.item DISABLE TRIGGER told;
                    UPDATE app.item SET room = repeat('g', 1025);
                    ALTER TABLE app.item ENABLE TRIGGER told;
                    UPDATE app.item SET room = 'r' $$,
    '22023', NULL, '... and of the old one');

CREATE TRIGGER bad AFTER TRUNCATE ON app.item
    EXECUTE FUNCTION broadcast.on_change('chat', 'item');
SELECT throws_ok('TRUNCATE app.item', '39P01', NULL,
    'a trigger for statements is refused');
DROP TRIGGER bad ON app.item;
CREATE TRIGGER bad AFTER UPDATE ON app.item
    FOR EACH ROW EXECUTE FUNCTION broadcast.on_change('chat');
SELECT throws_ok('UPDATE app.item SET body = NULL', '39P01', NULL,
    '... and one without a target');
DROP TRIGGER bad ON app.item;

-- A cast to json is a function of whoever made the type.

SELECT throws_ok($$ SET LOCAL ROLE stranger;
    CREATE TEMP TABLE mine (id int);
    CREATE TRIGGER told AFTER INSERT ON mine
        FOR EACH ROW EXECUTE FUNCTION broadcast.on_change('chat', 't') $$,
    '42501', NULL, 'who is not granted it makes no trigger of it');
RESET ROLE;

SELECT count(*) FROM app.staged();
GRANT USAGE ON SCHEMA broadcast TO stranger;
GRANT EXECUTE ON FUNCTION broadcast.on_change() TO stranger;
GRANT CREATE ON SCHEMA app TO stranger;

SET LOCAL ROLE stranger;
CREATE TYPE app.point2 AS (x int, y int);
CREATE TABLE app.mine (id int, at app.point2);
CREATE TRIGGER told AFTER INSERT ON app.mine
    FOR EACH ROW EXECUTE FUNCTION broadcast.on_change('chat', 'mine');
INSERT INTO app.mine VALUES (1, (2, 3));
RESET ROLE;
SELECT results_eq('SELECT * FROM app.staged()',
    $$ VALUES ('chat mine 0 [{"op":"INSERT","new":{"at":{"x":2,"y":3},"id":1},"table":"mine"}]') $$,
    'a table of somebody else who was granted it');

SET LOCAL ROLE stranger;
CREATE FUNCTION app.to_json(p app.point2) RETURNS json LANGUAGE sql AS
$$ SELECT to_json(current_user::text) $$;
CREATE CAST (app.point2 AS json) WITH FUNCTION app.to_json(app.point2);
RESET ROLE;
SELECT throws_ok('INSERT INTO app.mine VALUES (1, (2, 3))', '42501', NULL,
    '... does not have a cast of its own run with the rights of the owner');
INSERT INTO app.item VALUES (9, 'r', NULL);
SELECT is(count(*), 1::bigint, 'tables of a superuser go on')
  FROM app.groups();

SELECT * FROM finish();
