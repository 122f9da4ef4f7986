-- Requests with an Idempotency-Key: which of a batch are staged, and what is
-- known of the number that the first of a key got.

SELECT * FROM no_plan();

SET LOCAL client_min_messages = warning;

CREATE FUNCTION pg_temp.once(hub text, key text, digest text DEFAULT 'd')
RETURNS text LANGUAGE sql AS $$
    SELECT state || coalesce(' ' || seq, '')
      FROM broadcast.stage_once(ARRAY[hub], '{1}', '{0}', '{2}', '{""}', '{""}',
               '{t}', ARRAY['[1]'], '{""}',
               ARRAY[(random() * 1000000)::bigint + 1], '{NULL}', '{1}',
               ARRAY[key], ARRAY[digest])
$$;

SELECT is(pg_temp.once('chat', 'k'), NULL, 'the first of a key is staged');
SELECT is(pg_temp.once('chat', 'k'), 'kept', 'a repeat is known');
SELECT is(pg_temp.once('chat', 'k', 'e'), 'other', '... by what was sent');
SELECT is(pg_temp.once('news', 'k'), NULL, 'a key is its hub''s own');
SELECT is((SELECT count(*) FROM broadcast.staging), 2::bigint,
          '... and nothing else is staged');

-- nobody has numbered for some minutes, and then begins

UPDATE broadcast.staging SET created_at = clock_timestamp() - interval '6 min';
UPDATE broadcast.idempotency
   SET created_at = clock_timestamp() - interval '6 min';

SELECT is(broadcast.idempotency_keep(10), 0,
          'what waits for its number is not given up');
SELECT is(broadcast.sequence(500), 2, '... however long');
SELECT is(pg_temp.once('chat', 'k'), 'kept 1', '... and has it then');
SELECT is(broadcast.idempotency_keep(10), 2, '... for good');

INSERT INTO broadcast.idempotency (hub, key, digest, count, mark, after_epoch,
                                   after_seq, created_at)
VALUES ('chat', 'lost', 'd', 1, 1000003, 0, 0,
        clock_timestamp() - interval '6 min');

SELECT is(broadcast.idempotency_keep(10), 1,
          'what is waited for by nobody is');
SELECT is(pg_temp.once('chat', 'lost'), 'kept 0', '... and its key says so');

UPDATE broadcast.idempotency
   SET created_at = clock_timestamp() - interval '61 min';

SELECT is(pg_temp.once('chat', 'k', 'e'), NULL, 'after an hour a key is free');
SELECT is(broadcast.idempotency_keep(10), 2, '... and the others are forgotten');

SELECT * FROM finish();
