--
-- Copyright (C) The nginx-broadcast authors
--
-- The application of the quickstart: a chat.  Run it behind sql/broadcast.sql,
-- as the role that nginx connects as:
--
--     psql -d app -U broadcast -f demo.sql
--

\set ON_ERROR_STOP on

BEGIN;

SET LOCAL client_min_messages = warning;

-- a role named broadcast would find the schema of that name first

SET LOCAL search_path = public;


-- What is said.  Whoever inserts a row, the page or psql, speaks: the trigger
-- sends in the same transaction, so a message is delivered if and only if its
-- row is kept.

CREATE TABLE IF NOT EXISTS chat_message (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sender      text NOT NULL,
    text        text NOT NULL CHECK (length(text) BETWEEN 1 AND 2000),
    created_at  timestamptz NOT NULL DEFAULT now()
);


CREATE OR REPLACE FUNCTION chat_message_said() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM broadcast.send_all('chat', 'newMessage', jsonb_build_array(
        jsonb_build_object('sender', NEW.sender, 'text', NEW.text)));
    RETURN NULL;
END
$$;

DROP TRIGGER IF EXISTS said ON chat_message;
CREATE TRIGGER said AFTER INSERT ON chat_message
    FOR EACH ROW EXECUTE FUNCTION chat_message_said();


-- Who is here.  nginx calls chat_connected when a client's connection is live
-- and chat_disconnected when it ended; what they return goes to everybody.

CREATE TABLE IF NOT EXISTS chat_visit (
    connection_id  text PRIMARY KEY,
    name           text NOT NULL,
    came_at        timestamptz NOT NULL DEFAULT now()
);


CREATE OR REPLACE FUNCTION chat_name(event jsonb) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(nullif(event->>'userId', ''),
                    nullif(event->'claims'->>'nameid', ''),
                    nullif(event->'claims'->>'sub', ''), 'somebody')
$$;


CREATE OR REPLACE FUNCTION chat_connected(event jsonb) RETURNS jsonb
LANGUAGE sql AS $$
    INSERT INTO chat_visit (connection_id, name)
    VALUES (event->>'connectionId', chat_name(event))
        ON CONFLICT (connection_id) DO NOTHING;

    SELECT jsonb_build_object('target', 'joined', 'arguments',
        jsonb_build_array(jsonb_build_object(
            'connectionId', event->>'connectionId', 'name', chat_name(event))))
$$;


CREATE OR REPLACE FUNCTION chat_disconnected(event jsonb) RETURNS jsonb
LANGUAGE sql AS $$
    DELETE FROM chat_visit WHERE connection_id = event->>'connectionId';

    SELECT jsonb_build_object('target', 'left', 'arguments',
        jsonb_build_array(jsonb_build_object(
            'connectionId', event->>'connectionId', 'name', chat_name(event))))
$$;


-- What the page asks for over HTTP.

-- POST /functions/say {"text": …}: an INSERT, the trigger does the rest

CREATE OR REPLACE FUNCTION chat_say(event jsonb) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    said text := btrim(event->'body'->>'text');
BEGIN
    IF event->>'method' <> 'POST' THEN
        RETURN '{"status":405,"headers":{"Allow":"POST"}}';
    END IF;

    IF coalesce(said, '') = '' OR length(said) > 2000 THEN
        RETURN '{"status":400,"body":{"error":"text: 1 to 2000 characters"}}';
    END IF;

    INSERT INTO chat_message (sender, text) VALUES (chat_name(event), said);

    RETURN '{"status":202}';
END
$$;


-- GET /functions/who: everybody who is connected

CREATE OR REPLACE FUNCTION chat_who(event jsonb) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('status', 200, 'body', coalesce(jsonb_agg(
               jsonb_build_object('connectionId', v.connection_id,
                                  'name', v.name) ORDER BY v.came_at), '[]'))
      FROM chat_visit v
      JOIN broadcast.connections c USING (connection_id)
$$;


-- POST /functions/pulse {"connectionId": …, "pulse": …}: how far an event of
-- that connection comes.  It answers what the database knows and sends the
-- pulse on its way back to that one connection.

CREATE OR REPLACE FUNCTION chat_pulse(event jsonb) RETURNS jsonb
LANGUAGE sql VOLATILE AS $$
    SELECT jsonb_build_object(
        'status', 200,
        'body', jsonb_build_object(
            'bound', EXISTS (
                SELECT FROM broadcast.binding b
                 WHERE b.kind = 'connected' AND coalesce(b.hub, 'chat') = 'chat'
                   AND to_regprocedure(b.function || '(jsonb)') IS NOT NULL),
            'visit', EXISTS (
                SELECT FROM chat_visit v
                 WHERE v.connection_id = event->'body'->>'connectionId')),
        'actions', jsonb_build_array(jsonb_build_object(
            'target', 'pulse',
            'connectionId', event->'body'->>'connectionId',
            'arguments', jsonb_build_array(event->'body'->'pulse'))))
$$;


-- GET /functions/sent?pulse=…: whether that pulse got its number in the hub

CREATE OR REPLACE FUNCTION chat_sent(event jsonb) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object('status', 200, 'body', EXISTS (
        SELECT FROM (SELECT m.target, m.arguments
                       FROM broadcast.message m
                      WHERE m.hub = 'chat' ORDER BY m.seq DESC LIMIT 1000) m
         WHERE m.target = 'pulse'
           AND m.arguments->>0 = event->'query'->>'pulse'))
$$;


SELECT broadcast.bind('connected',    'chat_connected',    'chat');
SELECT broadcast.bind('disconnected', 'chat_disconnected', 'chat');

SELECT broadcast.bind('http', 'chat_say',   'chat', 'say');
SELECT broadcast.bind('http', 'chat_who',   'chat', 'who');
SELECT broadcast.bind('http', 'chat_pulse', 'chat', 'pulse');
SELECT broadcast.bind('http', 'chat_sent',  'chat', 'sent');

COMMIT;
