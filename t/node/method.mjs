// Copyright (C) The nginx-broadcast authors
//
// Hub methods that are functions, with the official client, signalr.md 4.5 and
// 4.6; t/client_method.t starts it.
//
//     BASE       http://127.0.0.1:port
//     HUB        the hub
//     TRANSPORT  1 WebSocket, 2 SSE, 4 long polling
//     PROTOCOL   json or messagepack
//     PSQL       the command that runs SQL as the schema's owner

import { spawnSync } from 'node:child_process';

import * as signalR from '@microsoft/signalr';

import { ok, is, like, until, rejects, run } from './tap.mjs';

const { BASE, HUB, PROTOCOL, PSQL } = process.env;
const transport = Number(process.env.TRANSPORT);
const packed = PROTOCOL === 'messagepack';

async function connect() {
    const builder = new signalR.HubConnectionBuilder()
        .withUrl(`${BASE}/client?hub=${HUB}`, { transport })
        .configureLogging({ log() {} });

    if (packed) {
        const pack = await import('@microsoft/signalr-protocol-msgpack');
        builder.withHubProtocol(new pack.MessagePackHubProtocol());
    }

    const connection = builder.build();

    connection.said = [];
    connection.on('said', (...args) => connection.said.push(args));

    await connection.start();

    return connection;
}

function sql(text) {
    const [command, ...args] = PSQL.split(' ');
    const psql = spawnSync(command, [...args, '-c', text]);

    if (psql.status) throw new Error(String(psql.stderr));
}

const failed = 'Failed to invoke \'%\' due to an error on the server. ';
const threw = 'An unexpected error occurred invoking \'%\' on the server.';

// What the client puts before the error of a Completion is cut off.

async function error(c, text, name, method, ...args) {
    try {
        await c.invoke(method, ...args);
        ok(false, name);
    } catch (e) {
        is(e.message, text.replace('%', method), name);
    }
}

async function values(c) {
    is(await c.invoke('eChO', 'h\u00fc "\\ \ud83d\ude00'),
       'h\u00fc "\\ \ud83d\ude00', 'a name ignores case, a text comes back');
    is(await c.invoke('Camel', 21), 42, 'a number');
    is(await c.invoke('camel', '21'), 42, 'a number as a text');

    is([await c.invoke('Over'), await c.invoke('Over', 1),
        await c.invoke('Over', 1, 2)], ['none', 'one', 'two'],
       'overloads go by the number of arguments');

    is([await c.invoke('Defaults', 1), await c.invoke('Defaults', 1, 2),
        await c.invoke('Defaults', 1, 2, 3)], [111, 103, 6], 'defaults');

    is([await c.invoke('Total'), await c.invoke('Total', 1),
        await c.invoke('Total', ...Array(120).fill(2))], [0, 1, 240],
       'a variadic method takes none, one, and more than 100');

    is(await c.invoke('Swap', { x: 1, y: 2 }), { x: 2, y: 1 },
       'a composite there and back');
    is(await c.invoke('Reverse', [1, 2, 3]), [3, 2, 1],
       'an array there and back');
    is(await c.invoke('Json', { a: [1, null] }), { got: { a: [1, null] } },
       'jsonb');

    is([await c.invoke('IsNull', null), await c.invoke('IsNull', 'null')],
       [true, false], 'null is SQL null, a text "null" is not');

    ok(await c.invoke('Nothing') === null, 'void is a null result');
    is(await c.invoke('Uuid'), '6f2c7f3a-0000-4000-8000-000000000001',
       'a uuid is a string');

    const context = await c.invoke('Me');
    is([context.hub, context.connectionId], [HUB, c.connectionId],
       'context() names hub and connection');
}

async function shapes(c) {
    const bytes = await c.invoke('Bytes'), stamp = await c.invoke('Stamp');
    const files = await c.invoke('Files');

    if (packed) {
        is([...bytes], [0, 255, 16], 'bytea is bin');
        ok(stamp instanceof Date, 'timestamptz is a timestamp');
        is(stamp.toISOString(), '2024-02-29T10:34:56.123Z', 'of that time');

        is([[...files[0].body], files[0].at.getTime(), files[1].body,
            files[1].at], [[1], 0, null, null],
           'in members of an array of composites, too');

        is(await c.invoke('Types', new Uint8Array([1, 254]),
                          new Date(86400000), 'A0EEBC99-9C0B-4EF8-BB6D-'
                          + '6BB9BD380A11', 0.5, true),
           '01fe|1970-01-02 00:00:00|a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11|'
           + '0.5|t', 'bin, timestamp and others become arguments');
        return;
    }

    is(bytes, 'AP8Q', 'bytea is base64');
    is(new Date(stamp).toISOString(), '2024-02-29T10:34:56.123Z',
       'timestamptz is ISO 8601');
    is([files[0].body, new Date(files[0].at).getTime(), files[1].body],
       ['AQ==', 0, null], 'in members of an array of composites, too');

    is(await c.invoke('Types', 'Af4=', '1970-01-02T00:00:00Z',
                      'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 0.5, true),
       '01fe|1970-01-02 00:00:00|a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11|0.5|t',
       'base64, ISO 8601 and others become arguments');
}

async function errors(c) {
    const count = `${failed}InvalidDataException: Invocation provides `;
    const binding = `${failed}InvalidDataException: Error binding arguments. `
        + 'Make sure that the types of the provided values match the types '
        + 'of the hub method being invoked.';

    await error(c, 'Unknown hub method \'%\'', 'an unknown method', 'Nope', 1);
    await error(c, 'Unknown hub method \'%\'', 'a name with _', '_hidden');

    await error(c, `${count}0 argument(s) but target expects 1.`,
                'too few arguments', 'Echo');
    await error(c, `${count}5 argument(s) but target expects 3.`,
                'too many arguments', 'Defaults', 1, 2, 3, 4, 5);

    await error(c, binding, 'a text that is no number', 'Camel', 'x');
    await error(c, binding, 'a fraction for an integer', 'Camel', 1.5);
    await error(c, binding, 'an object for a number', 'Camel', {});
    await error(c, binding, 'a U+0000', 'Echo', 'a\0b');
    await error(c, binding, 'a composite of wrong types', 'Swap', { x: 'a' });
    await error(c, binding, 'an array of wrong types', 'Reverse', ['a']);

    await error(c, `${failed}NotSupportedException: Several methods of this `
                + 'name take so many arguments.', 'two of one count', 'Twice',
                1);

    await error(c, `${threw} HubException: no more chairs`,
                'RAISE EXCEPTION is a HubException', 'Fail');
    await error(c, `${threw} RoomFull: seven of seven`,
                'DATATYPE names it', 'Full');
    await error(c, threw, 'another error has no detail', 'Secret');
    await error(c, threw, 'nor has a right that the function lacks', 'Denied');

    await error(c, 'The client attempted to invoke the streaming \'%\' method '
                + 'with a non-streaming invocation.', 'a stream invoked',
                'Rows', 3);

    const streamed = await new Promise(end => c.stream('Echo', 'x').subscribe({
        next() {}, complete() { end('complete'); },
        error(e) { end(e.message); },
    }));

    is(streamed, 'The client attempted to invoke the non-streaming \'Echo\' '
       + 'method with a streaming invocation.', 'a method streamed');

    await error(c, 'Client sent 1 stream(s), Hub method expects 0.',
                'an upload for a method that takes none', 'Echo',
                new signalR.Subject());

    is(await c.invoke('Bound', 'x', 2), ['x', 2], 'a bound function');
    ok(await until(() => c.said.some(s => s[0] === 'bound')),
       'and its action');
    await error(c, 'bound says no', 'its exception is the error alone',
                'Bound', 'raise');
}

async function streams(c) {
    const items = [];

    await new Promise((end, fail) => c.stream('Rows', 5).subscribe({
        next(item) { items.push(item); }, complete: end, error: fail,
    }));

    is(items, [1, 2, 3, 4, 5], 'a set is a stream');

    const up = new signalR.Subject();
    const collected = c.invoke('Collect', 'n', up);

    for (const n of [1, 2, 3]) up.next(n);
    up.complete();

    is(await collected, 'n1+2+3', 'an array takes an upload stream');
}

// MessagePack is written as deep as it is read, and a client loses one call by
// what is deeper, not its connection.

async function depth(c) {
    const deep = async n => {
        const text = JSON.stringify(await c.invoke('Deep', n));
        return text.lastIndexOf('[') + 1;
    };

    const items = n => new Promise(end => c.stream('Deeps', n).subscribe({
        next() {}, complete() { end(''); }, error(e) { end(e.message); },
    }));

    is(await deep(64), 64, 'a result of 64 arrays in each other');

    if (packed) {
        await error(c, threw, 'one of 65 is an error', 'Deep', 65);
        is(await items(65),
           'An error occurred on the server while streaming results.',
           'and so is such an item');

    } else {
        is(await deep(65), 65, 'one of 65 is as good in JSON');
        is(await items(65), '', 'and so is such an item');
    }

    is(await items(64), '', 'one of 64 comes');
    is(await c.invoke('Echo', 'still'), 'still', 'the connection goes on');
}

// What a function sends to its caller is there before its Completion.

async function order(c) {
    const rounds = transport === 4 ? 60 : 200;
    let early = 0;

    const said = n => c.said.filter(s => s[0] === n).length;

    c.said.length = 0;

    for (let n = 0; n < rounds; n += 10) {
        await Promise.all(Array.from({ length: 10 }, async (_, i) => {
            if (await c.invoke('Talk', n + i) !== n + i || said(n + i) !== 3) {
                early++;
            }
        }));
    }

    is(early, 0, `none of ${rounds} Completions overtook a message`);
    is(c.said.length, 3 * rounds, 'and no message came twice');
}

// Functions come, change and go without a reload.

async function changes(c) {
    const fn = `chat_hub.f${process.pid}`, name = `F${process.pid}`;

    const unknown = `Unknown hub method '${name}'`;

    await error(c, unknown, 'it is not there', name, 1);

    sql(`create function ${fn}(a int) returns int language sql
         as 'select a + 1'`);

    const got = await until(async () => {
        try { return await c.invoke(name, 1); } catch { return undefined; }
    }, 5);

    is(got, 2, 'a new function is found');

    sql(`create or replace function ${fn}(a int) returns int language sql
         as 'select a + 2'`);

    is(await c.invoke(name, 1), 3, 'one that was replaced');

    sql(`drop function ${fn}(int);
         create function ${fn}(a text) returns text language sql
         as 'select a || ''!'''`);

    const other = await until(async () => {
        const got = await c.invoke(name, 'a').catch(() => undefined);
        return got;
    }, 5);

    is(other, 'a!', 'one with other types');

    sql(`drop function ${fn}(text)`);

    await until(() => c.invoke(name, 'a').then(() => false,
        e => e.message === unknown), 5);

    await error(c, unknown, 'it is gone', name, 'a');
    is(await c.invoke('Echo', 'still'), 'still', 'others go on');
}

run(async () => {
    const c = await connect();

    await values(c);
    await shapes(c);
    await errors(c);
    await streams(c);
    await depth(c);
    await order(c);
    await changes(c);

    await c.stop();
});
