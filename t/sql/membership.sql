-- broadcast.membership: what joins and leaves of users leave behind, in the
-- order in which they are numbered, the same as every zone does.

SELECT * FROM no_plan();

CREATE VIEW rules AS
    SELECT hub, user_id, grp, lasting,
           round(extract(epoch FROM expires - clock_timestamp())) AS left
      FROM broadcast.membership;

SELECT broadcast.add_to_group('Chat', 'g', "user" => 'ann');
SELECT is_empty('TABLE rules', 'nothing is known before it is numbered');

SELECT broadcast.sequence(500);
SELECT results_eq(
    $$ SELECT hub, user_id, grp, lasting, abs(rules.left - 31536000) < 5
         FROM rules $$,
    $$ VALUES ('chat', 'ann', 'g', true, true) $$,
    'a user is in a group for a year');
SELECT is((SELECT updated FROM broadcast.membership), broadcast.head(),
    'since the command of this place in the history');

SELECT broadcast.add_to_group('chat', 'g', "user" => 'ann', ttl => '60 s');
SELECT broadcast.sequence(500);
SELECT results_eq(
    $$ SELECT grp, lasting, abs(rules.left - 60) < 5 FROM rules $$,
    $$ VALUES ('g', false, true) $$,
    'the newest ttl counts');

SELECT broadcast.add_to_group('chat', 'g', "user" => 'ann', ttl => '0 s');
SELECT broadcast.sequence(500);
SELECT is_empty('TABLE rules', 'a ttl of 0 ends it');

-- what the REST API refuses as well

SELECT throws_ok($$ SELECT broadcast.add_to_group('chat', 'g', "user" => 'ann',
                                                  ttl => '-1 s') $$,
    '22023', 'a ttl of 0 to 2147483647 seconds is needed, not -00:00:01',
    'a ttl below 0 is an error');
SELECT throws_ok($$ SELECT broadcast.add_to_group('chat', 'g', "user" => 'ann',
                                                  ttl => '69 years') $$,
    '22023', NULL, '... and one that is too long');
SELECT throws_ok($$ SELECT broadcast.act('chat', '{"action": "add",
                        "groupName": "g", "userId": "ann", "ttl": -1}') $$,
    '22023', NULL, '... in an action, too');
SELECT throws_ok($$ SELECT broadcast.add_to_group('chat', E' \t', 'c') $$,
    '22023', NULL, 'a group''s name is more than white space');
SELECT throws_ok($$ SELECT broadcast.add_to_group('chat', 'g',
                                                  "user" => E'a\nb') $$,
    '22023', NULL, 'no user has a name with a line break');

SELECT broadcast.add_to_group('chat', 'g', 'connection');
SELECT broadcast.sequence(500);
SELECT is_empty('TABLE rules', 'a connection makes none');

SELECT broadcast.add_to_group('chat', 'a', "user" => 'ann');
SELECT broadcast.add_to_group('chat', 'b', "user" => 'ann');
SELECT broadcast.add_to_group('chat', 'a', "user" => 'bob');
SELECT broadcast.add_to_group('news', 'a', "user" => 'ann');
SELECT broadcast.remove_from_group('chat', 'b', "user" => 'ann');
SELECT broadcast.sequence(500);
SELECT results_eq('SELECT hub, user_id, grp FROM rules ORDER BY 1, 2, 3',
    $$ VALUES ('chat', 'ann', 'a'), ('chat', 'bob', 'a'),
              ('news', 'ann', 'a') $$,
    'within one batch the order counts');

SELECT broadcast.act('chat', '[
    {"action": "add", "groupName": "c", "userId": "ann", "ttl": 100},
    {"action": "removeAll", "userId": "bob"},
    {"action": "remove", "groupName": "a", "userId": "ann"}]');
SELECT broadcast.sequence(500);
SELECT results_eq(
    $$ SELECT hub, user_id, grp, abs(rules.left - 100) < 5 FROM rules
        ORDER BY 1 $$,
    $$ VALUES ('chat', 'ann', 'c', true), ('news', 'ann', 'a', false) $$,
    'actions add, remove and remove all');

SELECT broadcast.stage('{chat,chat,chat}', '{2,2,2}', '{2,2,2}', '{1,1,1}',
    '{carl,carl,carl}', '{x,y,z}', '{"","",""}', '{"","",""}', '{"","",""}',
    '{0,0,0}', '{NULL,30,0}');
SELECT broadcast.sequence(500);
SELECT results_eq(
    $$ SELECT grp, lasting FROM rules WHERE user_id = 'carl' ORDER BY 1 $$,
    $$ VALUES ('x', true), ('y', false) $$,
    'what nginx stages: no ttl, some seconds, none');
SELECT results_eq(
    $$ SELECT grp, ttl FROM broadcast.read(0, 1000) WHERE name = 'carl'
        ORDER BY pos $$,
    $$ VALUES ('x', NULL::bigint), ('y', 30::bigint), ('z', 0::bigint) $$,
    'and what relays read of it');
SELECT results_eq(
    $$ SELECT hub, grp, lasting FROM broadcast.rules()
        WHERE user_id = 'carl' $$,
    $$ VALUES ('chat', 'x', true), ('chat', 'y', false) $$,
    'and what a new zone gets, the oldest first');

-- the newest 100 without a ttl, the newest 1000 with one

SELECT broadcast.add_to_group('chat', 'g' || i, "user" => 'dan')
  FROM generate_series(1, 100) i;
SELECT broadcast.add_to_group('chat', 'timed', "user" => 'dan',
                              ttl => '1 min');
SELECT broadcast.add_to_group('chat', 'g1', "user" => 'dan');
SELECT broadcast.sequence(500);
SELECT is((SELECT count(*) FROM rules WHERE user_id = 'dan'), 101::bigint,
    'a hundred groups without a ttl and one that has one');

SELECT broadcast.add_to_group('chat', 'g101', "user" => 'dan');
SELECT broadcast.sequence(500);
SELECT is((SELECT count(*) FROM rules WHERE user_id = 'dan'), 101::bigint,
    'one more makes one go');
SELECT results_eq(
    $$ SELECT 'g' || i FROM generate_series(1, 101) i
       EXCEPT SELECT grp FROM rules WHERE user_id = 'dan' $$,
    $$ VALUES ('g2') $$,
    'the one that was updated first');

SELECT broadcast.add_to_group('chat', 't' || i, "user" => 'eve', ttl => '1 h')
  FROM generate_series(1, 1001) i;
SELECT broadcast.sequence(2000);
SELECT results_eq(
    $$ SELECT 't' || i FROM generate_series(1, 1001) i
       EXCEPT SELECT grp FROM rules WHERE user_id = 'eve' $$,
    $$ VALUES ('t1') $$,
    'a thousand with a ttl are kept');

-- what is over

UPDATE broadcast.membership SET expires = clock_timestamp()
 WHERE user_id IN ('dan', 'carl');
SELECT is_empty($$ SELECT * FROM broadcast.rules() WHERE user_id = 'dan' $$,
    'one that is over is none');
SELECT broadcast.add_to_group('chat', 'g', "user" => 'fay');
SELECT broadcast.sequence(500);
SELECT is_empty($$ SELECT * FROM rules WHERE user_id IN ('dan', 'carl') $$,
    'and goes with the next change');

-- long names

SELECT throws_ok(
    $$ SELECT broadcast.add_to_group('chat', 'g',
                                     "user" => repeat('x', 1025)) $$,
    '22023', 'the user name is longer than 1024 bytes',
    'a user of more than 1024 bytes is refused');
SELECT broadcast.add_to_group('chat', repeat('é', 1024),
    "user" => (SELECT string_agg(md5(i::text), '')
                 FROM generate_series(1, 32) i));
INSERT INTO broadcast.staging (hub, type, scope, source, name, grp)
VALUES ('chat', 2, 2, 0, (SELECT string_agg(md5(i::text), '')
                            FROM generate_series(1, 1000) i), 'g');
SELECT lives_ok($$ SELECT broadcast.sequence(500) $$,
    'no name can stop the sequencer');
SELECT results_eq(
    $$ SELECT length(user_id), length(grp) FROM rules
        WHERE length(user_id) > 100 $$,
    $$ VALUES (1024, 1024) $$,
    'the longest ones are kept');

SELECT * FROM finish();
