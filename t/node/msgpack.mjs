// Copyright (C) The nginx-broadcast authors
//
// MessagePack with the official client, signalr.md appendix B, rows 3 and 13;
// t/client_msgpack.t starts it.
//
//     BASE       http://127.0.0.1:port
//     TRANSPORT  1 WebSocket, 4 long polling
//     HUB        chat, which is ephemeral, or kept, which is durable

import * as signalR from '@microsoft/signalr';
import { MessagePackHubProtocol } from '@microsoft/signalr-protocol-msgpack';

import { ok, is, until, rejects, run } from './tap.mjs';

const { BASE, HUB } = process.env;
const durable = HUB === 'kept';
const transport = Number(process.env.TRANSPORT);
const quiet = { log() {} };

async function connect(protocol, type = transport) {
    const builder = new signalR.HubConnectionBuilder()
        .withUrl(`${BASE}/client?hub=${HUB}`, { transport: type })
        .configureLogging(quiet);

    if (protocol === 'messagepack') {
        builder.withHubProtocol(new MessagePackHubProtocol());
    }

    const connection = builder.build();

    connection.got = [];
    connection.on('told', (...a) => connection.got.push(a));
    connection.onclose(error => { connection.closed = error ?? null; });

    await connection.start();

    return connection;
}

function post(path, type, body) {
    return fetch(`${BASE}/api/hubs/${HUB}/${path}?api-version=2024-12-01`, {
        method: 'POST', headers: { 'content-type': type }, body,
    });
}

const sendJson = message =>
    post(':send', 'application/json', JSON.stringify(message));

// A value as one can compare it: what JSON lacks by name.

const seen = value =>
    value instanceof Uint8Array ? { bytes: [...value] }
    : value instanceof Date ? { date: value.toISOString() }
    : Array.isArray(value) ? value.map(seen)
    : value && typeof value === 'object'
      ? Object.fromEntries(Object.entries(value).map(([k, v]) => [k, seen(v)]))
    : Object.is(value, NaN) ? 'NaN'
    : value;

const encoded = async () => Number(
    (await (await fetch(`${BASE}/status?format=prometheus`)).text())
        .match(/^nginx_broadcast_frames_encoded_total (\d+)/m)[1]);

// One message each, and nothing before it.

async function next(connection) {
    await until(() => connection.got.length);
    return seen(connection.got.shift());
}

const values = [
    null, true, false, '', 'äöü 🎈 \u2028 \u0001', [], {}, [[]], [{}, ''],
    0, 1, -1, 127, 128, -32, -33, 255, 256, 65535, 65536, -32768, -32769,
    4294967295, 4294967296, -2147483649, Number.MAX_SAFE_INTEGER,
    -Number.MAX_SAFE_INTEGER, 2 ** 53, 2 ** 63, 2 ** 64, 2 ** 70, 1e300, 5e-324,
    0.1, -2.5, 1 / 3, 'x'.repeat(40), 'x'.repeat(300), 'x'.repeat(70000),
    Array.from({ length: 20 }, (_, i) => i),
    Array.from({ length: 70000 }, () => 0),
    Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`k${i}`, i])),
    { '': null, a: { b: [{ c: [[[]]] }] } },
];


async function invocations(c, j) {
    for (const [name, client] of [['MessagePack', c], ['JSON', j]]) {
        const wrong = [];

        for (const value of values) {
            const result = seen(await client.invoke('Echo', value));
            if (JSON.stringify(result) !== JSON.stringify(seen(value))) {
                wrong.push([value, result]);
            }
        }

        is(wrong, [], `every value comes back from a function: ${name}`);
    }

    is(await c.invoke('Told', new Date(Date.UTC(2000, 0, 1, 0, 0, 0, 250))),
       'string 2000-01-01T00:00:00.250Z',
       'a date is text for a function, the same that JSON makes of it');
    is(await j.invoke('Told', new Date(Date.UTC(2000, 0, 1, 0, 0, 0, 250))),
       'string 2000-01-01T00:00:00.250Z', '... as one sees');
    is(await c.invoke('Told', new Uint8Array([1, 2, 3])), 'string AQID',
       'bytes are base64');
    is(await c.invoke('Told', 7), 'number 7', 'a number is one');
    is(await c.invoke('Told', NaN), await j.invoke('Told', NaN),
       'NaN is null, as in JSON');
    is(await c.invoke('Echo', undefined), null, 'undefined is null');

    await rejects(c.invoke('Fail', 'äöü'), /not today, "äöü"/,
                  'what a function raises is the invocation\'s error');
    await rejects(c.invoke('Nope'), /Unknown hub method 'Nope'/,
                  'an unknown method is one, too');
    is(c.state, 'Connected', '... and the connection stays');

    const many = await Promise.all(Array.from({ length: 50 },
        (_, i) => c.invoke('Echo', i)));
    is(many, Array.from({ length: 50 }, (_, i) => i),
       'fifty at once are answered each');
}


async function messages(c, j) {
    await c.send('Tell', 'from MessagePack', { n: [1, 2.5] });
    const told = ['from MessagePack', { n: [1, 2.5] }];
    is(await next(j), told, 'a MessagePack client reaches a JSON client');
    is(await next(c), told, '... and itself');

    await j.send('Tell', 'from JSON', { n: [1, 2.5] });
    told[0] = 'from JSON';
    is(await next(c), told, 'a JSON client reaches a MessagePack client');
    is(await next(j), told, '... and itself');

    is((await sendJson({ target: 'told', arguments: values })).status, 202,
       'all values are sent over REST as JSON');
    is(JSON.stringify(await next(c)) === JSON.stringify(values), true,
       '... and are the same in MessagePack');
    is(JSON.stringify(await next(j)) === JSON.stringify(values), true,
       '... and in JSON');

    is((await post(':send', 'application/json', '{"target":"told","arguments":'
        + '[18446744073709551615,"\\ud800","a\\u0000b",1e999]}')).status, 202,
       'so are numbers of 64 bits, a lone surrogate and U+0000');
    is(await next(c), [2 ** 64, '\ufffd', 'a\0b', Infinity],
       '... MessagePack has them, the surrogate as U+FFFD');
    is(await next(j), [2 ** 64, '\ud800', 'a\0b', Infinity],
       '... JSON has them as they came');
}


// The client's own encoder makes the bodies.

const pack = new MessagePackHubProtocol();
const json = new signalR.JsonHubProtocol();
const date = new Date(Date.UTC(2000, 0, 1));
const bytes = new Uint8Array([0, 1, 254, 255]);

const str = text => Buffer.concat([Buffer.from([0xd9, Buffer.byteLength(text)]),
                                   Buffer.from(text)]);
const bin = data => Buffer.concat([
    Buffer.from([0xc5, data.length >> 8, data.length & 255]), data]);
const invocation = (target, ...args) => {
    const message = { type: 1, target, arguments: args, streamIds: [] };
    const framed = Buffer.from(pack.writeMessage(message));
    return { packed: framed, text: Buffer.from(json.writeMessage(message)) };
};

async function bodies(c, j) {
    const lost = [{ bytes: [...bytes] }, { date: date.toISOString() }];
    const text = [Buffer.from(bytes).toString('base64'), date.toISOString()];

    // [1, {}, nil, target, arguments, []]: the arguments alone

    const { packed } = invocation('x', bytes, date);
    const args = packed.subarray(packed.indexOf('x') + 1, -1);

    is((await post(':send', 'application/x-msgpack', Buffer.concat([
        Buffer.from([0x82]), str('Target'), str('told'), str('Arguments'),
        args]))).status, 202, 'bytes and a date are sent as x-msgpack');
    is(await next(c), durable ? text : lost, '... and reach MessagePack');
    is(await next(j), text, '... and, as text, JSON');

    const both = invocation('told', bytes, date);

    is((await post(':send', 'application/octet-stream', Buffer.concat([
        Buffer.from([0x82]), str('json'), bin(both.text), str('messagepack'),
        bin(both.packed)]))).status, 202,
       'they are sent as octet-stream, encoded for both');
    const own = [{ 0: 0, 1: 1, 2: 254, 3: 255 }, text[1]];
    is(await next(c), durable ? own : lost, '... MessagePack');
    is(await next(j), own, '... and JSON has its own');

    c.on('ask', (a, b) => [a instanceof Uint8Array, b instanceof Date, b]);

    const asked = await post(`connections/${c.connectionId}/:invoke`,
        'application/x-msgpack', Buffer.concat([Buffer.from([0x82]),
        str('target'), str('ask'), str('arguments'), args]));
    is([asked.status, await asked.json()],
       [200, { result: [true, true, text[1]] }],
       'a question in MessagePack is answered in JSON');
}


async function encodings() {
    const clients = await Promise.all(Array.from({ length: 12 }, (_, i) =>
        connect(i % 2 ? 'json' : 'messagepack')));

    // one whose poll has just come to another worker is encoded for by itself

    let n, all = true;

    for (let i = 0; i < 10 && !(n >= 2 && n <= 4); i++) {
        const before = await encoded();
        await sendJson({ target: 'told', arguments: ['once'] });
        const got = await Promise.all(clients.map(next));
        n = await encoded() - before;
        all = all && got.every(a => a[0] === 'once');
    }

    is(all, true, 'a message reaches twelve clients of both protocols');
    ok(n >= 2 && n <= 4,
       `two workers encoded it once for each protocol: ${n} times`);

    await Promise.all(clients.map(c => c.stop()));
}


run(async () => {
    const c = await connect('messagepack');
    const j = await connect('json');

    ok(c.connectionId, 'a MessagePack client starts');

    await invocations(c, j);
    await messages(c, j);
    await bodies(c, j);

    await c.stop();
    is(c.closed, null, 'it stops');
    await j.stop();

    await encodings();

    await rejects(connect('messagepack', 2), /Binary|transport/,
                  'over SSE it does not start');

    // The server ends it, with a reason that the client shows.

    const last = await connect('messagepack');
    await fetch(`${BASE}/api/hubs/${HUB}/connections/${last.connectionId}`
                + '?api-version=2024-12-01&reason=bye', { method: 'DELETE' });
    ok(await until(() => last.closed !== undefined), 'the server ends one');
    is(last.closed?.message, 'Server returned an error on close: bye',
       '... and it hears why');
});
