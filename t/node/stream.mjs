// Copyright (C) The nginx-broadcast authors
//
// Streams of SQL functions with the official client; t/client_stream.t starts
// it, and made the functions.
//
//     BASE       http://127.0.0.1:port
//     TRANSPORT  1 WebSocket, 2 SSE, 4 long polling
//     PROTOCOL   json or messagepack
//     PART       what is done: rows, limits, slow, reload, killed
//     MASTER     pid of nginx

import * as signalR from '@microsoft/signalr';
import WebSocket from 'ws';

import { ok, is, like, until, rejects, run } from './tap.mjs';

const { BASE, PROTOCOL, PART, MASTER } = process.env;
const transport = Number(process.env.TRANSPORT);
const packed = PROTOCOL === 'messagepack';
const quiet = { log() {} };

const broken = 'An error occurred on the server while streaming results.';

async function connect() {
    const builder = new signalR.HubConnectionBuilder()
        .withUrl(`${BASE}/client?hub=chat`, { transport })
        .configureLogging(quiet);

    if (packed) {
        const pack = await import('@microsoft/signalr-protocol-msgpack');
        builder.withHubProtocol(new pack.MessagePackHubProtocol());
    }

    const connection = builder.build();

    await connection.start();

    return connection;
}

// A stream and what becomes of it; `at` is called with each item.

function stream(connection, target, ...args) {
    const seen = { items: [], end: undefined };

    seen.subscription = connection.stream(target, ...args).subscribe({
        next: item => seen.items.push(item),
        complete: () => { seen.end = 'complete'; },
        error: error => { seen.end = error.message; },
    });

    seen.ended = async () => {
        await until(() => seen.end, 20);
        return seen;
    };

    return seen;
}

const all = async (...call) => (await stream(...call).ended()).items;
const end = async (...call) => (await stream(...call).ended()).end;

let marks = 0;
const mark = () => `stream ${process.pid} ${++marks}`;

// What its backend does: active, idle in transaction, or nothing.

const state = (c, m) => c.invoke('State', m);
const gone = (c, m) => until(async () => await state(c, m) === 'none');
const active = (c, m) => until(async () => await state(c, m) === 'active');

// Streams that run, over all workers.

async function running() {
    const answer = await fetch(`${BASE}/status`);
    return (await answer.json()).database;
}


async function values(c) {
    is(await all(c, 'Count', 5), [1, 2, 3, 4, 5], 'rows come in their order');
    is(await all(c, 'Count', 0), [], 'no rows: it is complete');
    is((await all(c, 'Count', 1000)).at(-1), 1000, '... and many of them');
    is(await all(c, 'Made', 3), [1, 2, 3], 'a set of PL/pgSQL\'s RETURN NEXT');

    is(await all(c, 'Things', 2),
       [{ n: 1, name: 'a', nothing: null }, { n: 2, name: 'b', nothing: null }],
       'rows of a TABLE are objects');

    const bytes = await all(c, 'Bytes');

    is(packed ? bytes.map(b => Buffer.from(b).toString('hex')) : bytes,
       packed ? ['00ff10', ''] : ['AP8Q', ''],
       packed ? 'bytea is binary' : 'bytea is base64');

    is(await all(c, 'Cursor', 3), [1, 2, 3], 'the rows of a refcursor');
    is(await all(c, 'Cursors', 70),
       Array.from({ length: 70 }, (_, i) => ({ n: i + 1, b: 'AP8=' })),
       '... with two columns, bytes in base64');

    is(await all(c, 'Bound', 2), [{ n: 1, of: 2 }, { n: 2, of: 2 }],
       'a bound function that returns a set');
}

async function errors(c) {
    const s = await stream(c, 'Breaks', 3).ended();

    is(s.items[0], 1, 'rows before an error arrive');
    is(s.end, broken, '... whose words are not told');

    is(await end(c, 'Raises', 2), `${broken} HubException: enough: 2`,
       'what is raised is told');
    is(await end(c, 'Names'), `${broken} RoomFull: no seat`,
       '... with the name that it gave');
    is(await end(c, 'BoundRaises'), 'bound says no',
       'a bound function\'s words stand alone');

    is(await end(c, 'Count', 'many'), 'Failed to invoke \'Count\' due to an '
       + 'error on the server. InvalidDataException: Error binding arguments. '
       + 'Make sure that the types of the provided values match the types of '
       + 'the hub method being invoked.', 'an argument of a wrong type');

    await rejects(c.invoke('Count', 1), /The client attempted to invoke the streaming 'Count' method with a non-streaming invocation\./,
                  'invoke() of a stream is refused');
    is(await end(c, 'State', 'x'), 'The client attempted to invoke the '
       + 'non-streaming \'State\' method with a streaming invocation.',
       'stream() of an ordinary method is refused');
}

async function order(c) {
    const log = [];

    c.on('told', n => log.push(`told ${n}`));

    const s = stream(c, 'Tells', 3);

    await s.ended();
    log.push('end');

    is(s.end, 'complete', 'a stream that sends is complete');
    is(log, ['told 1', 'told 2', 'told 3', 'end'],
       '... behind all that it sent');
}

// Rows flow while the function makes them, others are not held up.

async function flow(c) {
    const m = mark();
    const s = stream(c, 'Ticks', m, 1000);

    ok(await until(() => s.items.length > 2), 'rows flow as they are made');
    ok(s.items.length < 200, '... one by one');
    is(await c.invoke('Add', 1, 2), 3, 'other invocations are not held up');

    s.subscription.dispose();

    ok(await gone(c, m), 'cancelled by its client its query is stopped');
    ok(await c.invoke('Reached', 'ticks') < 900, '... in the middle');

    const d = await connect();
    const u = mark();

    stream(d, 'Sleeps', u);
    ok(await active(c, u), 'a query runs');
    await d.stop();
    ok(await gone(c, u), '... and is stopped when its client leaves');
}

// Streams of the client's become arrays.

async function uploads(c) {
    const up = async (call, ...items) => {
        const subject = new signalR.Subject();
        const answer = call(subject);

        answer.catch(() => {});

        // The client subscribes when it has sent the invocation.

        await new Promise(wake => setTimeout(wake, 0));
        items.forEach(item => subject.next(item));
        subject.complete();

        return answer;
    };

    is(await up(s => c.invoke('Total', s), 1, 2, 3), 6,
       'a stream of the client is an array');
    is(await up(s => c.invoke('Total', s)), 0, '... which may be empty');
    is(await up(s => c.invoke('Joined', '-', s), 'a', 'b'), 'a-b',
       '... behind other arguments');
    is(await c.invoke('Total', 1, 2), 3, '... or what is left of them');
    is(await up(s => all(c, 'Doubles', s), 1, 2), [2, 4],
       'a method may have a stream each way');

    await rejects(up(s => c.invoke('Add', 1, 2, s), 1),
                  /Client sent 1 stream\(s\), Hub method expects 0\./,
                  'too many streams of the client are refused');
    await rejects(up(s => c.invoke('Total', s), 'many'),
                  /Error binding arguments\./,
                  'items of a wrong type are refused');
}

async function rows() {
    const c = await connect();

    await values(c);
    await uploads(c);
    await errors(c);
    await order(c);
    await flow(c);

    await c.stop();
    ok(await until(async () => (await running()).streams === 0),
       'in the end no stream runs');
}


// One worker, two streams.

async function limits() {
    const c = await connect();
    const [m, n] = [mark(), mark()];
    const first = stream(c, 'Ticks', m, 100000);
    const second = stream(c, 'Ticks', n, 100000);

    ok(await until(() => first.items.length && second.items.length),
       'two streams run');
    is((await running()).streams, 2, '... by the status, too');

    like(await end(c, 'Count', 1),
         /^Failed to invoke 'Count' due to an error on the server\./,
         'a third one is refused at once');
    is((await running()).streams_refused, 1, '... and counted');

    first.subscription.dispose();
    await until(async () => (await running()).streams === 1);
    is(await all(c, 'Count', 2), [1, 2], 'where one is cancelled is a place');
    ok(await gone(c, m), '... and its query is stopped');

    await second.ended();
    is(second.end, broken, 'a stream has its time');
    ok(await gone(c, n), '... then its query is stopped');

    const o = mark();
    const third = stream(c, 'Ticks', o, 100000);

    await until(() => third.items.length);
    await c.invoke('Kill', o);
    await third.ended();
    is(third.end, broken, 'a backend that is ended ends its stream');
    is(await all(c, 'Count', 2), [1, 2], '... and others go on');

    is(await end(c, 'Sleeps', mark()), broken,
       'a row that does not come in time ends it');

    await c.stop();
}


// A client that does not read: the function stops, the server keeps little.

async function slow() {
    const c = await connect();
    const m = mark();
    const socket = new WebSocket(`${BASE.replace('http', 'ws')}/client?hub=chat`);
    const items = [];
    let end, rest = '';

    socket.on('message', data => {
        const records = (rest + data).split('\x1e');

        rest = records.pop();

        for (const record of records) {
            const message = JSON.parse(record);

            if (message.type === 2) {
                items.push(message.item.n);
            } else if (message.type === 3) {
                end = message;
            }
        }
    });

    await new Promise(opened => socket.on('open', opened));
    socket.send('{"protocol":"json","version":1}\x1e');
    socket.send(JSON.stringify({ type: 4, invocationId: 's', target: 'Large',
                                 arguments: [m, 100000] }) + '\x1e');

    await until(() => items.length);
    socket.pause();

    ok(await until(async () => await state(c, m) === 'idle in transaction'),
       'a client that does not read stops the function');

    const made = await c.invoke('Reached', 'large');

    ok(made < 50000, `... far from its end: ${made} of 100000 rows`);
    is((await (await fetch(`${BASE}/status`)).json()).closed.slow, 0,
       '... and is no slow client');

    socket.resume();
    await until(() => end, 60);

    is(items.length, 100000, 'it gets all rows');
    ok(items.every((n, i) => n === i + 1), '... in their order');
    is(end, { type: 3, invocationId: 's' }, '... and one Completion');

    const unread = mark();
    const other = new WebSocket(`${BASE.replace('http', 'ws')}/client?hub=chat`);

    await new Promise(opened => other.on('open', opened));
    other.send('{"protocol":"json","version":1}\x1e');
    other.send(JSON.stringify({ type: 4, invocationId: 's', target: 'Large',
                                arguments: [unread, 100000] }) + '\x1e');
    other.pause();

    await until(async () => await state(c, unread) === 'idle in transaction');
    other.terminate();
    ok(await gone(c, unread), 'one that leaves while it waits is forgotten');

    socket.terminate();
    await c.stop();
}


// New workers come while streams flow.  nginx closes a kept connection that has
// no request at that moment; fetch() may just be sending one there, and unlike a
// browser it does not send it again: then this is done again.  So it is where the
// stream was quicker than this machine had new workers.

async function reload() {
    const workers = async () =>
        (await (await fetch(`${BASE}/status`)).json()).workers.map(w => w.pid);
    let c, s, there, then;

    for (let i = 0; i < 5 && (!s || s.end === 'fetch failed' || then >= 400);
         i++)
    {
        c = await connect();
        s = stream(c, 'Ticks', mark(), 400);

        await until(() => s.items.length > 5);

        const before = await until(workers);

        process.kill(MASTER, 'SIGHUP');

        there = await until(async () =>
            (await workers()).some(p => !before.includes(p)));
        then = s.items.length;

        await s.ended();
    }

    ok(there, 'new workers are there');
    ok(then < 400, '... while a stream flows');
    is(s.items, Array.from({ length: 400 }, (_, i) => i + 1),
       '... which comes to its end');
    is(s.end, 'complete', '... and is complete');

    await c.stop();
}


// A worker is killed: its queries do not outlive it.

async function killed() {
    const c = await connect();
    const m = mark();
    const s = stream(c, 'Ticks', m, 100000);

    await until(() => s.items.length > 2);

    const workers = (await (await fetch(`${BASE}/status`)).json()).workers;

    for (const worker of workers) {
        process.kill(worker.pid, 'SIGKILL');
    }

    ok(await until(() => s.end), 'a client loses its stream with its worker');

    const d = await until(() => connect().catch(() => undefined));

    ok(await until(async () =>
           await d.invoke('State', m).catch(() => '') === 'none'),
       '... and no query is left of it');
    is(await all(d, 'Count', 2), [1, 2], 'others find streams as before');

    await d.stop();
}


run({ rows, limits, slow, reload, killed }[PART]);
