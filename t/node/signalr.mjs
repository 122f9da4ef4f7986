// Copyright (C) The nginx-broadcast authors
//
// The official client against a running server; t/client_signalr.t starts it.
//
//     BASE       http(s)://127.0.0.1:port
//     TRANSPORT  1 WebSocket, 2 SSE, 4 long polling
//     KEY        the secret of broadcast_key, to sign REST tokens

import { createHmac } from 'node:crypto';
import * as signalR from '@microsoft/signalr';

import { ok, is, like, until, rejects, run } from './tap.mjs';

const { BASE, KEY } = process.env;
const transport = Number(process.env.TRANSPORT);
const name = { 1: 'websocket', 2: 'sse', 4: 'longpoll' }[transport];

const quiet = { log() {} };

class Client {
    constructor(user, options = {}) {
        this.got = [];
        this.closed = undefined;

        const query = new URLSearchParams({ user, ...options.query });
        const builder = new signalR.HubConnectionBuilder()
            .withUrl(`${BASE}/api?${query}`, { transport, ...options.url })
            .configureLogging(quiet);

        if (options.reconnect) builder.withAutomaticReconnect([0, 100, 500]);

        this.connection = builder.build();
        this.connection.on('newMessage', (...a) => this.got.push(a));
        this.connection.onclose(error => { this.closed = error ?? null; });
    }

    async start() {
        await this.connection.start();
        return this;
    }

    get id() { return this.connection.connectionId; }

    has(text, seconds) {
        return until(() => this.got.some(a => a[0]?.text === text), seconds);
    }
}

async function status() {
    return (await fetch(`${BASE}/status?format=json`)).json();
}

const base64url = bytes => Buffer.from(bytes).toString('base64url');

function restToken(path) {
    const now = Math.floor(Date.now() / 1000);
    const body = base64url(JSON.stringify({ alg: 'HS256', typ: 'JWT' })) + '.'
               + base64url(JSON.stringify({ aud: BASE + path, exp: now + 60 }));
    return body + '.' + createHmac('sha256', KEY).update(body)
                                                 .digest('base64url');
}

function rest(method, path, query, body) {
    return fetch(`${BASE}${path}?api-version=2022-11-01${query}`, {
        method,
        headers: { authorization: `Bearer ${restToken(path)}`,
                   'content-type': 'application/json' },
        body: body && JSON.stringify(body),
    });
}

function publish(text, query = '') {
    return fetch(`${BASE}/publish/chat?target=newMessage${query}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ text }),
    });
}

const message = text => ({ target: 'newMessage', arguments: [{ text }] });


run(async () => {

    // Which worker accepts is the kernel's choice: open until two have some.

    const clients = [];
    const spread = async () =>
        (await status()).workers.filter(w => w.connections > 0).length >= 2;

    while (clients.length < 6 || clients.length < 60 && !await spread()) {
        clients.push(await new Client(`u${clients.length}`,
            { query: { groups: clients.length % 2 ? 'odd' : 'even' } }).start());
    }

    ok(await spread(), 'the clients sit in two workers or more');
    ok(await until(async () => (await status()).hubs.chat.connections[name]
                               === clients.length),
       `status counts them as ${name}`);
    is(new Set(clients.map(c => c.id)).size, clients.length,
       'every connection has an id of its own');

    is((await publish('one')).status, 200, 'a publish is answered with 200');
    is((await Promise.all(clients.map(c => c.has('one')))).every(Boolean),
       true, 'every client of every worker gets it');

    const burst = Array.from({ length: 50 }, (_, i) => `b${i}`);
    for (const text of burst) await publish(text);
    await Promise.all(clients.map(c => c.has('b49')));
    is(clients.every(c => JSON.stringify(c.got.slice(1).map(a => a[0].text))
                          === JSON.stringify(burst)), true,
       'fifty messages reach all in one order, none twice');
    for (const c of clients) c.got = [];

    const [a, b, c, d] = clients;
    const sends = [
        [`/api/hubs/chat/users/u0/:send`, '', 'user'],
        [`/api/hubs/chat/groups/odd/:send`, '', 'group'],
        [`/api/hubs/chat/connections/${c.id}/:send`, '', 'connection'],
        [`/api/hubs/chat/:send`, `&excluded=${a.id}&excluded=${b.id}`,
         'others'],
        [`/api/hubs/chat/:send`, '', 'end'],
    ];

    for (const [path, query, text] of sends) {
        is((await rest('POST', path, query, message(text))).status, 202,
           `REST send is answered with 202: ${text}`);
    }

    await Promise.all(clients.map(x => x.has('end')));
    const seen = x => x.got.map(y => y[0].text).join(' ');
    is(seen(a), 'user end', 'user: to the connections of the user');
    is(seen(b), 'group end', 'group: to its members');
    is(seen(c), 'connection others end',
       'connection: to the negotiated id, which is the client\'s');
    is(seen(d), 'group others end', 'excluded: to all but those');

    await rejects(a.connection.invoke('Nope', 1), /Unknown hub method 'Nope'/,
                  'an unknown method is the invocation\'s error');
    is(a.connection.state, 'Connected', '... and the connection stays');

    const big = 'x'.repeat(200000);
    await publish(big);
    ok(await d.has(big), 'a message larger than a socket buffer arrives whole');
    await publish('äöü 🎈 \u2028');
    ok(await d.has('äöü 🎈 \u2028'), 'text beyond ASCII arrives as it is');

    // The server ends a connection; the client's reconnect policy brings it
    // back under another id.

    const back = await new Client('back', { reconnect: true }).start();
    const before = back.id;
    const path = `/api/hubs/chat/connections/${before}`;
    like((await rest('DELETE', path, '&reason=maintenance')).status, /^20[02]$/,
         'REST closes a connection');
    ok(await until(() => back.id && back.id !== before
                         && back.connection.state === 'Connected'),
       'the client comes back with a new id');
    await publish('again');
    ok(await back.has('again'), '... and gets messages again');

    const once = await new Client('once').start();
    await rest('DELETE', `/api/hubs/chat/connections/${once.id}`,
               '&reason=maintenance');
    ok(await until(() => once.closed !== undefined),
       'without a policy it stays closed');
    like(once.closed?.message, /maintenance/, '... and knows the reason');

    // Refusals, as the client words them.

    const refused = new signalR.HubConnectionBuilder()
        .withUrl(`${BASE}/client?hub=chat`,
                 { transport, accessTokenFactory: () => 'no.token.atall' })
        .configureLogging(quiet).build();
    await rejects(refused.start(), /Unauthorized: Status code '401'/,
                  'a bad token is refused at negotiate');

    const other = new Client('x', { query: { hub: 'other' } });
    await other.start();
    await publish('not for other');
    await publish('for other', '').then(() =>
        fetch(`${BASE}/publish/other?target=newMessage`,
              { method: 'POST', body: '{"text":"other"}',
                headers: { 'content-type': 'application/json' } }));
    ok(await other.has('other'), 'hubs are apart:');
    is(other.got.length, 1, '... a message of one does not reach another');

    // Orderly ends leave nothing behind.

    await Promise.all([...clients, back, other].map(x => x.connection.stop()));
    is(clients.every(x => x.closed === null), true,
       'stop() ends every connection without an error');
    ok(await until(async () => {
        const s = await status();
        return s.hubs.chat.connections[name] === 0 && s.hubs.chat.users === 0
               && s.hubs.chat.groups === 0;
    }), 'the registry is empty: no connection, user or group left');
});
