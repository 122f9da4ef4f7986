--
-- Copyright (C) The nginx-broadcast authors
--
-- What upload.conf needs in the database.  Run it behind sql/broadcast.sql, as
-- the role that nginx connects as:
--
--     psql -d app -U broadcast -f upload.sql
--

\set ON_ERROR_STOP on

BEGIN;

SET LOCAL client_min_messages = warning;

-- a role named broadcast would find the schema of that name first

SET LOCAL search_path = public;


CREATE TABLE IF NOT EXISTS upload (
    path        text PRIMARY KEY,
    size        bigint NOT NULL,
    uploader    text,
    stored_at   timestamptz NOT NULL DEFAULT now()
);


-- Called when nginx has stored or deleted a file.  The row and the message are
-- of one transaction.

CREATE OR REPLACE FUNCTION upload(event jsonb) RETURNS jsonb
LANGUAGE plpgsql AS $$
BEGIN
    IF event->>'method' = 'DELETE' THEN
        DELETE FROM upload u WHERE u.path = event->>'uri';

        RETURN jsonb_build_object('target', 'deleted',
            'arguments', jsonb_build_array(event->'uri'));
    END IF;

    INSERT INTO upload AS u (path, size, uploader)
    VALUES (event->>'uri', (event->>'size')::bigint, event->>'userId')
    ON CONFLICT (path) DO UPDATE
       SET size = EXCLUDED.size, uploader = EXCLUDED.uploader,
           stored_at = EXCLUDED.stored_at;

    RETURN jsonb_build_object('target', 'uploaded',
        'arguments', jsonb_build_array(jsonb_build_object(
            'path', event->'uri', 'size', event->'size',
            'by', event->'userId')));
END
$$;

SELECT broadcast.bind('after', 'upload', hub => 'files');

COMMIT;
