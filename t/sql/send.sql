-- What a send stages, what it refuses, and how it is numbered.

SELECT * FROM no_plan();

SELECT broadcast.send_all('Chat', 'newMessage', '["a", {"b": 1}]',
                          '{c1,c2}');
SELECT results_eq(
    $$ SELECT hub, type::int, scope::int, target, arguments::text, excluded
         FROM broadcast.staging $$,
    $$ VALUES ('chat', 1, 0, 'newMessage', '["a", {"b": 1}]', 'c1,c2') $$,
    'a hub name is kept in lower case, arguments as an array');

-- short names in lower case go another way than all else: nothing differs

SELECT broadcast.send_all('chat', 'newMessage', '["a", {"b": 1}]', '{c1,c2}'),
       broadcast.send_group('CHAT', 'g', 't', '[1]', '{c1}'),
       broadcast.send_group('chat', 'g', 't', '[1]', '{c1}'),
       broadcast.send_user('Chat', 'u', 't', '[]'),
       broadcast.send_user('chat', 'u', 't', '[]'),
       broadcast.send_connection('Chat', 'c', 't', '[1e100]'),
       broadcast.send_connection('chat', 'c', 't', '[1e100]'),
       broadcast.send_user('Chat', repeat('u', 1024), 't', '[]'),
       broadcast.send_user('chat', repeat('u', 1024), 't', '[]'),
       broadcast.send_all('Chat', 't', '[]', '{""}'),
       broadcast.send_all('chat', 't', '[]', '{""}'),
       broadcast.send_all('Chat', 't', '[]', NULL),
       broadcast.send_all('chat', 't', '[]', NULL);
SELECT results_eq(
    $$ SELECT array_agg(s.nth ORDER BY s.id) FROM broadcast.staging s $$,
    $$ SELECT array_agg(n) FROM generate_series(1, 14) n $$,
    'what a transaction sends is counted, whichever way it goes');
SELECT is(current_setting('broadcast.way', true), NULL,
    'nobody asks for the WAL where nothing goes through it: whoever did goes the long way for good');
SELECT results_eq(
    $$ SELECT s.hub, s.type, s.scope, s.source, s.name, s.grp, s.target,
              s.arguments::text, s.detail, s.excluded, s.mark, s.ttl, s.xid
         FROM broadcast.staging s WHERE s.nth % 2 = 0 ORDER BY s.id $$,
    $$ SELECT s.hub, s.type, s.scope, s.source, s.name, s.grp, s.target,
              s.arguments::text, s.detail, s.excluded, s.mark, s.ttl, s.xid
         FROM broadcast.staging s WHERE s.nth % 2 = 1 ORDER BY s.id $$,
    'a send in lower case stages what one in capitals does');
DELETE FROM broadcast.staging WHERE nth > 1;

CREATE FUNCTION pg_temp.sending() RETURNS text LANGUAGE sql
AS $$ SELECT (x.message_size, x.doorbell, x.wal)::text
        FROM broadcast.sending x $$;
SELECT is(pg_temp.sending(), '(1048576,adaptive,f)',
          'a row has what a send needs of the settings');
UPDATE broadcast.setting SET value = '100' WHERE name = 'message_size';
UPDATE broadcast.setting SET value = 'commit' WHERE name = 'doorbell';
UPDATE broadcast.setting SET value = 'wal' WHERE name = 'source';
SELECT is(pg_temp.sending(), '(100,commit,t)', '... and follows them');
DELETE FROM broadcast.setting WHERE name IN ('doorbell', 'message_size');
SELECT is(pg_temp.sending(), '(,,t)', '... also where one is gone');
INSERT INTO broadcast.setting
VALUES ('message_size', '50'), ('doorbell', 'off');
UPDATE broadcast.setting SET value = 'outbox' WHERE name = 'source';
SELECT is(pg_temp.sending(), '(50,off,f)', '... and comes back');
SELECT throws_ok($$ SELECT broadcast.send_all('chat', 't',
                       jsonb_build_array(repeat('x', 50))) $$,
    '54000', 'message of 54 bytes is larger than the limit of 50',
    'what is too large is refused by the limit that was set last');
SELECT throws_ok($$ SELECT broadcast.send_all('chat', 't',
                       jsonb_build_array(repeat('x', 40)),
                       ARRAY['1234567']) $$,
    '54000', 'message of 51 bytes is larger than the limit of 50',
    '... with those who are excluded');
SELECT broadcast.send_all('chat', 't', jsonb_build_array(repeat('x', 40)),
                          ARRAY['123456']);
SELECT is((SELECT max(nth) FROM broadcast.staging), 15,
          '... and what is as large as the limit is sent');

-- as an old snapshot has it, during an upgrade

DELETE FROM broadcast.sending;
SELECT throws_ok($$ SELECT broadcast.send_all('chat', 't',
                       jsonb_build_array(repeat('x', 50))) $$,
    '54000', 'message of 54 bytes is larger than the limit of 50',
    'the limit holds where the row is not there that was made of it, too');
UPDATE broadcast.setting SET value = value WHERE false;
SELECT is(pg_temp.sending(), '(50,off,f)',
    'any statement about the settings puts it back');

DELETE FROM broadcast.staging WHERE nth > 1;
UPDATE broadcast.setting SET value = '1048576' WHERE name = 'message_size';
UPDATE broadcast.setting SET value = 'adaptive' WHERE name = 'doorbell';


SELECT throws_ok($$ SELECT broadcast.send_all('chat', 't', '{"a":1}') $$,
    '22023', 'arguments must be a JSON array, not object',
    'an object is not a list of arguments');
SELECT throws_ok($$ SELECT broadcast.send_all('chat', 't', NULL) $$,
    '22023', NULL, 'null arguments are refused');
SELECT throws_ok($$ SELECT broadcast.send_all('chat', '', '[]') $$,
    '22023', NULL, 'an empty target is refused');
SELECT throws_ok($$ SELECT broadcast.send_all('chat', E'a\nb', '[]') $$,
    '22023', 'a target has no line breaks', 'a target with LF is refused');
SELECT throws_ok($$ SELECT broadcast.send_all('chat', E'a\r', '[]') $$,
    '22023', NULL, '... and one with CR');
SELECT throws_ok($$ SELECT broadcast.send_all('1chat', 't', '[]') $$,
    '22023', NULL, 'a hub name begins with a letter');
SELECT throws_ok($$ SELECT broadcast.send_all(repeat('a', 129), 't', '[]') $$,
    '22023', NULL, 'a hub name has at most 128 characters');
SET LOCAL standard_conforming_strings = off;
SET LOCAL escape_string_warning = off;
SELECT is(broadcast.checked_hub('A_`,.[]9'), 'a_`,.[]9',
          'all that a hub name may have, whatever the session''s strings');
RESET standard_conforming_strings;
RESET escape_string_warning;
SELECT throws_ok($$ SELECT broadcast.send_group('chat', '', 't', '[]') $$,
    '22023', NULL, 'an empty group is refused');
SELECT throws_ok(
    $$ SELECT broadcast.send_group('chat', repeat('é', 1025), 't', '[]') $$,
    '22023', NULL, 'a group of more than 1024 characters is refused');
SELECT throws_ok(
    $$ SELECT broadcast.add_to_group('chat', repeat('é', 1025), 'c') $$,
    '22023', NULL, '... to join, too');
SELECT lives_ok(
    $$ SELECT broadcast.send_group('chat', repeat('é', 1024), 't', '[]'),
              broadcast.add_to_group('chat', repeat('é', 1024), 'c') $$,
    'one of 1024 is not, whatever its bytes');
SELECT throws_ok(
    $$ SELECT broadcast.send_user('chat', repeat('é', 513), 't', '[]') $$,
    '22023', NULL, 'a user of more than 1024 bytes is refused');
SELECT throws_ok($$ SELECT broadcast.send_user('chat', NULL, 't', '[]') $$,
    '22023', NULL, 'a null user is refused');
SELECT throws_ok(
    $$ SELECT broadcast.send_all('chat', 't',
              jsonb_build_array(repeat('x', 1048576))) $$,
    '54000', NULL, 'a message above message_size is refused');
SELECT lives_ok(
    $$ SELECT broadcast.send_all('chat', 't',
              jsonb_build_array(repeat('x', 1048000))) $$,
    'a message just below it is not');
SELECT lives_ok(
    $$ SELECT broadcast.send_all('chat', 't',
              (repeat('[', 64) || repeat(']', 64))::jsonb),
              broadcast.send_all('chat', 't',
              ('[' || repeat('{"a": ', 63) || '1' || repeat('}', 63)
                   || ', [1]]')::jsonb) $$,
    'arguments of 64 levels are sent');
SELECT throws_ok(
    $$ SELECT broadcast.send_all('chat', 't',
              (repeat('[', 65) || repeat(']', 65))::jsonb) $$,
    '54000', 'arguments are nested deeper than 64 levels',
    'with an empty array in the 64th they are refused');
SELECT throws_ok(
    $$ SELECT broadcast.send_all('chat', 't',
              ('[1, ' || repeat('{"a": ', 64) || '1' || repeat('}', 64)
                      || ', 2]')::jsonb) $$,
    '54000', NULL, '... or an object, beside what is flat');
SELECT throws_ok($$ SELECT broadcast.add_to_group('chat', 'g') $$,
    '22023', NULL, 'a join needs a connection or a user');
SELECT throws_ok($$ SELECT broadcast.add_to_group('chat', 'g', 'c', 'u') $$,
    '22023', NULL, '... and not both');
SELECT throws_ok($$ SELECT broadcast.close_connection('chat', '') $$,
    '22023', NULL, 'a close needs a connection');

-- what fits into no zone would be missed by all clients of the hub

SELECT throws_ok(
    $$ SELECT broadcast.send_all('chat', 't', '[]',
              ARRAY[repeat('x', 600000), repeat('y', 600000)]) $$,
    '54000', NULL, 'excluded ids count as the message''s');
SELECT throws_ok(
    $$ SELECT broadcast.add_to_group('chat', 'g', repeat('c', 1025)) $$,
    '22023', NULL, 'an id of more than 1024 bytes is refused');
SELECT throws_ok(
    $$ SELECT broadcast.close_connection('chat', repeat('c', 1025)) $$,
    '22023', NULL, '... to close, too');
SELECT throws_ok(
    $$ SELECT broadcast.close_connection('chat', 'c', repeat('r', 1048577)) $$,
    '54000', NULL, '... and a reason above message_size');
SELECT throws_ok(
    $$ SELECT broadcast.act('chat', jsonb_build_object('action', 'close',
              'connectionId', 'c', 'reason', repeat('r', 1048577))) $$,
    '54000', NULL, '... of an action, too');

DELETE FROM broadcast.staging;

SAVEPOINT s;
SELECT broadcast.send_all('chat', 'never', '[]');
ROLLBACK TO s;
SELECT is_empty('SELECT FROM broadcast.staging',
                'what is rolled back was never sent');

SELECT broadcast.send_all('chat', 'm' || i, '[]')
  FROM generate_series(1, 3) i;
SELECT broadcast.send_all('other', 'm', '[]');
SELECT is(broadcast.sequence(2), 2, 'the sequencer moves at most lim rows');
SELECT is(broadcast.sequence(100), 2, '... and then the rest');
SELECT is(broadcast.sequence(100), 0, '... and then none');

SELECT results_eq(
    $$ SELECT hub, seq, target FROM broadcast.read(0, 100) $$,
    $$ VALUES ('chat', 1::bigint, 'm1'), ('chat', 2, 'm2'), ('chat', 3, 'm3'),
              ('other', 1, 'm') $$,
    'seq counts from 1 without holes in each hub, in the order of the sends');
SELECT results_eq($$ SELECT pos FROM broadcast.read(0, 100) $$,
    $$ VALUES (1::bigint), (2), (3), (4) $$,
    'pos counts over all hubs');
SELECT results_eq(
    $$ SELECT seq FROM broadcast.replay('chat',
          (SELECT epoch FROM broadcast.hub WHERE name = 'chat'), 1, 3, 10) $$,
    $$ VALUES (2::bigint), (3) $$, 'a replay is what lies behind a number');
SELECT matches(broadcast.position('CHAT'), '^[0-9a-f]{1,12}-3$',
               'position is epoch-seq');
SELECT is(broadcast.position('nobody'), '0-0',
          'a hub that never had a message has a position too');

-- Two rows of one statement must not change places, and JSON must stay as
-- it came: jsonb would lose the big number and refuse U+0000.

SELECT broadcast.stage('{chat,chat}', '{1,1}', '{0,0}', '{2,2}', '{"",""}',
    '{"",""}', '{t1,t2}',
    ARRAY['[12345678901234567890.10]', '["\u0000",{"z":1, "a":2}]'],
    '{"",""}', '{7,8}', '{0,0}');
SELECT broadcast.sequence(10);
SELECT results_eq(
    $$ SELECT target, arguments, mark FROM broadcast.read(4, 10) $$,
    $$ VALUES ('t1', '[12345678901234567890.10]', 7::bigint),
              ('t2', '["\u0000",{"z":1, "a":2}]', 8) $$,
    'what nginx stages stays byte for byte and in order');

-- What concerns one connection of another node has its place, and no number.

SELECT broadcast.stage('{far,far,far,near}', '{12,1,15,14}', '{3,0,3,3}',
    '{2,2,2,2}', '{c,"",c,c}', '{id,"",s,id}', '{t,m,"",result}',
    ARRAY['[1]', '[2]', '{"n":1}', 'null'], '{"","","",""}', '{0,0,0,0}',
    '{NULL,NULL,NULL,NULL}');
SELECT broadcast.sequence(10);
SELECT results_eq(
    $$ SELECT hub, epoch = 0, seq, type, name, grp, arguments
         FROM broadcast.read(6, 10) $$,
    $$ VALUES ('far', true, 7::bigint, 12::smallint, 'c', 'id', '[1]'),
              ('far', false, 1, 1::smallint, NULL, NULL, '[2]'),
              ('far', true, 9, 15::smallint, 'c', 's', '{"n":1}'),
              ('near', true, 10, 14::smallint, 'c', 'id', 'null') $$,
    'questions, items and answers are read in the order of all');
SELECT is((SELECT array_agg(row(oldest, newest)::text) FROM
           (VALUES ('far'), ('near')) v(h), broadcast.replay_state(v.h)),
    '{"(1,1)","(1,0)"}', '... and are no part of a hub''s history');
SELECT results_eq(
    $$ SELECT target FROM broadcast.replay('far',
          (SELECT epoch FROM broadcast.hub WHERE name = 'far'), 0, 100, 10) $$,
    $$ VALUES ('m') $$, '... nor of a replay');

UPDATE broadcast.message SET created_at = created_at - interval '61 minutes'
 WHERE pos IN (7, 8, 10);
SELECT broadcast.upkeep();
SELECT results_eq($$ SELECT pos FROM broadcast.read(6, 10) $$,
    $$ VALUES (8::bigint), (9), (10) $$,
    '... and go after an hour');

SELECT broadcast.send_all('big', 't', jsonb_build_array(repeat('x', 900000)))
  FROM generate_series(1, 8);
SELECT broadcast.sequence(100);
SELECT is((SELECT count(*) FROM broadcast.read(10, 100)), 5::bigint,
          'a read ends at some 4 MB');

UPDATE broadcast.setting SET value = '2' WHERE name = 'history_count';
SELECT is((SELECT oldest FROM broadcast.replay_state('chat')), 4::bigint,
          'history keeps history_count messages of a hub');

-- An older state of the database was put back: a relay has read further.

CREATE TEMP TABLE before AS SELECT * FROM broadcast.hub;
SELECT broadcast.begin_anew(18);
SELECT results_eq(
    $$ SELECT h.name, h.seq FROM broadcast.hub h JOIN before b USING (name)
        WHERE h.epoch = b.epoch ORDER BY 1 $$,
    $$ SELECT name, seq FROM before ORDER BY 1 $$,
    'while the history reaches as far, the epochs stay');
SELECT broadcast.begin_anew(20);
SELECT is((SELECT count(*) FROM broadcast.hub h JOIN before b USING (name)
            WHERE h.epoch = b.epoch), 0::bigint,
          'where it does not, every hub has a new epoch');
SELECT results_eq(
    $$ SELECT hub, epoch, seq, type::int FROM broadcast.read(20, 10) $$,
    $$ SELECT name, epoch, seq, 6 FROM broadcast.hub ORDER BY 1 $$,
    '... and a row that says so, behind what anybody has read');
CREATE TEMP TABLE after AS SELECT * FROM broadcast.hub;
SELECT broadcast.begin_anew(22);
SELECT results_eq('SELECT * FROM broadcast.hub ORDER BY 1',
                  'SELECT * FROM after ORDER BY 1',
                  'the second node that comes finds it done');

SELECT * FROM finish();
