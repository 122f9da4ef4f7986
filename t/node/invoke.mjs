// Copyright (C) The nginx-broadcast authors
//
// Client results and streams with the official client, signalr.md appendix B,
// rows 9 and 10; t/client_invoke.t starts it.
//
//     BASE       http://127.0.0.1:port
//     API        the same of the node that is asked, if it is another one
//     TRANSPORT  1 WebSocket, 2 SSE, 4 long polling
//     PROTOCOL   json or messagepack

import * as signalR from '@microsoft/signalr';

import { ok, is, like, until, rejects, run } from './tap.mjs';

const { BASE, API = BASE, PROTOCOL } = process.env;
const transport = Number(process.env.TRANSPORT);
const quiet = { log() {} };

async function connect() {
    const builder = new signalR.HubConnectionBuilder()
        .withUrl(`${BASE}/client?hub=chat`, { transport })
        .configureLogging(quiet);

    if (PROTOCOL === 'messagepack') {
        const pack = await import('@microsoft/signalr-protocol-msgpack');
        builder.withHubProtocol(new pack.MessagePackHubProtocol());
    }

    const connection = builder.build();

    // The message functions tell who has asked for a stream, and as what.

    connection.opened = [];
    connection.on('opened', id => connection.opened.push(id));

    await connection.start();

    // Another node finds it in the database.

    await until(async () => (await post(connection, '', undefined, 'HEAD')).ok);

    return connection;
}

function post(connection, path, body, method = 'POST') {
    const query = (path.includes('?') ? '&' : '?') + 'api-version=2024-12-01';
    const id = connection.connectionId + (path && '/' + path);

    return fetch(`${API}/api/hubs/chat/connections/${id}${query}`, {
        method,
        headers: { 'content-type': 'application/json' },
        body: body === undefined ? undefined : JSON.stringify(body),
    });
}

const ask = (connection, target, ...args) =>
    post(connection, ':invoke', { target, arguments: args });

// A stream and what becomes of it.

async function stream(connection, target, ...args) {
    const before = connection.opened.length;
    const seen = { items: [], end: undefined };

    seen.subscription = connection.stream(target, ...args).subscribe({
        next: item => seen.items.push(item),
        complete: () => { seen.end = 'complete'; },
        error: error => { seen.end = error.message; },
    });

    seen.id = await until(() => connection.opened[before] ?? seen.end);
    seen.send = (item, query = '') =>
        post(connection, `streams/${seen.id}/:send${query}`, item);
    seen.complete = (query = '') =>
        post(connection, `streams/${seen.id}/:complete${query}`);

    return seen;
}


async function results(c) {
    c.on('add', (a, b) => a + b);
    c.on('later', async v => { await null; return v; });
    c.on('null', () => null);
    c.on('nothing', () => undefined);
    c.on('boom', () => { throw new Error('boom'); });
    c.on('twice', () => 1);
    c.on('twice', () => 2);
    c.on('never', () => new Promise(() => {}));

    const answer = async (...call) => {
        const r = await ask(c, ...call);
        return [r.status, await r.json()];
    };

    is(await answer('Add', 1, 2), [200, { result: 3 }],
       'a handler\'s value is the result');

    const value = { n: [1, -2.5, 4294967296], u: 'äöü 🎈', e: [{}, [], ''],
                    b: [true, false, null] };
    is(await answer('later', value), [200, { result: value }],
       '... of any kind, and promises are awaited');
    is(await answer('null'), [200, { result: null }], '... null too');

    const none = [400, 'Client didn\'t provide a result.'];
    const failed = async target => {
        const [status, body] = await answer(target);
        return [status, body.message];
    };

    is(await failed('nothing'), none, 'undefined is an error');
    is(await failed('missing'), none, '... and so is no handler');
    is(await failed('boom'), [400, 'Error: boom'], '... and what is thrown');
    is(await failed('twice'), [400, 'Client provided multiple results.'],
       '... and two results');

    const many = await Promise.all(Array.from({ length: 20 },
        (_, i) => answer('later', i)));
    is(many.map(r => r[1].result), Array.from({ length: 20 }, (_, i) => i),
       'twenty at once are answered each');

    const d = await connect();
    d.on('never', () => new Promise(() => {}));
    const pending = ask(d, 'never');
    await ask(c, 'add', 1, 1);
    await d.stop();
    is((await pending).status, 410, 'a client that stops meanwhile is gone');
    is((await ask({ connectionId: 'nobody' }, 'x')).status, 404,
       'who never was does not exist');
}


async function streams(c) {
    const s = await stream(c, 'Count', 3);
    like(s.id, /^\d+$/, 'a stream is asked for, its function knows its id');

    for (const item of [1, null, { a: [1.5] }]) {
        is((await s.send(item)).status, 202, 'an item is sent');
    }

    await s.send('last', '?completed=true');
    ok(await until(() => s.end), 'the stream ends');
    is([s.items, s.end], [[1, null, { a: [1.5] }, 'last'], 'complete'],
       '... behind its items, in order');

    const failed = await stream(c, 'Count');
    await failed.send(1);
    await failed.complete('?error=out%20of%20numbers');
    ok(await until(() => failed.end), 'another one ends');
    is([failed.items, failed.end], [[1], 'out of numbers'],
       '... with its error');

    const raised = await stream(c, 'Refuse');
    is(raised.end, 'no such counter', 'what the function raises is its error');
    const unknown = await stream(c, 'Nope');
    is(unknown.end, 'Unknown hub method \'Nope\'', 'an unknown method');

    const dropped = await stream(c, 'Count');
    await dropped.send(1);
    ok(await until(() => dropped.items.length), 'a stream is under way');
    dropped.subscription.dispose();
    is(await c.invoke('Up'), [], '... and cancelled');
    is((await dropped.send(2)).status, 202, '... later items are taken');
    is(await c.invoke('Up'), [], '... and harm nobody');
    is(dropped.items, [1], '... and dropped');

    const [a, b] = [await stream(c, 'Count'), await stream(c, 'Count')];
    await b.send('b', '?completed=true');
    await a.send('a', '?completed=true');
    ok(await until(() => a.end && b.end), 'two streams end');
    is([a.items, b.items], [['a'], ['b']], '... each with its own');
}


async function uploads(c) {
    const [one, two] = [new signalR.Subject(), new signalR.Subject()];

    // The client overlooks the second of two streams that stand together.

    const both = c.invoke('Up', one, 5, two);

    one.next('a');
    two.next({ b: [1, 2.5, null] });
    is(await c.invoke('Up', 'meanwhile'), ['meanwhile'],
       'an upload holds up no other invocation');
    one.next('äöü');
    one.complete();
    two.complete();
    is(await both, [5, ['a', 'äöü'], [{ b: [1, 2.5, null] }]],
       'a function gets each upload as an array');

    const broken = new signalR.Subject();
    const fails = rejects(c.invoke('Up', broken),
        /error occurred invoking 'Up' on the server\. HubException: .*boom/,
        'an upload that fails fails the invocation');
    broken.next(1);
    broken.error(new Error('boom'));
    await fails;

    const silent = new signalR.Subject();
    await c.send('Keep', silent);
    silent.next('kept');
    silent.complete();
    ok(await until(async () => (await c.invoke('Kept')) === 1),
       'one that is sent, not invoked, is called for too');

    const up = new signalR.Subject();
    const s = stream(c, 'Count', up);
    up.next(1);
    up.complete();
    const down = await s;
    await down.send('down', '?completed=true');
    ok(await until(() => down.end === 'complete'),
       'a stream may have an upload');
    is(down.items, ['down'], '... and has its items');

    await rejects(c.invoke('Nope', new signalR.Subject()),
                  /Unknown hub method 'Nope'/,
                  'an unknown method collects nothing');
}


run(async () => {
    const c = await connect();

    await results(c);
    await streams(c);
    await uploads(c);

    is(c.state, 'Connected', 'the connection has lived through it all');
    await c.stop();
});
