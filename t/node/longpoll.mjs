// Copyright (C) The nginx-broadcast authors
//
// The official client over long polling; t/client_longpoll.t starts the server.
//
//     BASE       http://127.0.0.1:port

import * as signalR from '@microsoft/signalr';
import { MessagePackHubProtocol } from '@microsoft/signalr-protocol-msgpack';

import { ok, is, until, run } from './tap.mjs';

const { BASE } = process.env;
const quiet = { log() {} };
const all = signalR.HttpTransportType;

class Client {
    constructor(options = {}) {
        this.got = [];
        this.closed = undefined;

        const builder = new signalR.HubConnectionBuilder()
            .withUrl(`${BASE}${options.path ?? '/client?hub=chat'}`,
                     { transport: all.LongPolling, ...options.url })
            .configureLogging(quiet);

        if (options.msgpack) builder.withHubProtocol(new MessagePackHubProtocol());

        this.connection = builder.build();
        this.connection.on('m', x => this.got.push(x));
        this.connection.on('g', x => this.got.push(x));
        this.connection.onclose(error => { this.closed = error ?? null; });
    }

    async start() {
        await this.connection.start();
        return this;
    }

    get id() { return this.connection.connectionId; }
}

function rest(method, path, body) {
    return fetch(`${BASE}${path}?api-version=2022-11-01`, {
        method, headers: { 'content-type': 'application/json' },
        body: body && JSON.stringify(body),
    });
}

function publish(value, query = '') {
    return fetch(`${BASE}/publish/chat?target=m${query}`, {
        method: 'POST', headers: { 'content-type': 'application/json' },
        body: JSON.stringify(value),
    });
}

async function status() {
    return (await fetch(`${BASE}/status`)).json();
}

const numbers = n => Array.from({ length: n }, (_, i) => i);


run(async () => {

    // Both protocols, and four publishers at once: their numbers come in the
    // order in which the server gave them ids.

    const clients = await Promise.all([
        new Client().start(), new Client().start(),
        new Client({ msgpack: true }).start(),
        new Client({ msgpack: true }).start(),
    ]);

    is(clients.map(c => typeof c.id), Array(4).fill('string'),
       'clients start, each knows its id');
    is((await status()).hubs.chat.connections.longpoll, 4,
       'the status counts them');

    for (const c of clients) {
        is((await rest('GET', `/api/hubs/chat/connections/${c.id}`)).status,
           200, 'the id is the negotiated one');
    }

    const [a, b] = clients;
    is((await rest('PUT', `/api/hubs/chat/groups/g/connections/${a.id}`))
       .status, 200, 'one is put into a group');

    const order = [];
    const owners = new Set();
    let going = true;

    const watch = (async () => {
        while (going) {
            for (const w of (await status()).workers) {
                if (w.connections) owners.add(w.pid);
            }
            await new Promise(wake => setTimeout(wake, 25));
        }
    })();

    await Promise.all(numbers(4).map(async p => {
        for (const i of numbers(150)) {
            const answer = await (await publish(p * 1000 + i)).json();
            order.push([Number(answer.id.split('-')[1]), p * 1000 + i]);
        }
    }));

    ok(await until(() => clients.every(c => c.got.length >= 600)),
       'every client gets 600 messages of four publishers');
    going = false;
    await watch;

    const wanted = order.sort((x, y) => x[0] - y[0]).map(x => x[1]);
    for (const c of clients) {
        ok(JSON.stringify(c.got) === JSON.stringify(wanted),
           'none is lost, none comes twice, all in the one order');
        c.got = [];
    }

    ok(owners.size > 1, `the connections were at ${owners.size} workers`);

    for (const i of numbers(20)) {
        await publish(i, '&group=g');
    }

    ok(await until(() => a.got.length >= 20), 'the group has stayed');
    is(a.got, numbers(20), '... in order');
    is(b.got, [], '... and is nobody else\'s');

    const calls = await Promise.all(numbers(20).map(i =>
        b.connection.invoke(`No${i}`).catch(error => error.message)));
    is(calls.every((text, i) => text.includes(`Unknown hub method 'No${i}'`)),
       true, 'twenty invocations at once are each answered');

    const big = 'x'.repeat(300000);
    await publish(big);
    ok(await until(() => clients.every(c => c.got.at(-1) === big)),
       'a large message arrives whole');

    // Ends.

    await rest('DELETE', `/api/hubs/chat/connections/${b.id}`);
    ok(await until(() => b.closed !== undefined), 'the server ends one');
    is((await rest('HEAD', `/api/hubs/chat/connections/${b.id}`)).status, 404,
       '... which is not there any more');

    await Promise.all(clients.filter(c => c !== b)
                             .map(c => c.connection.stop()));
    is(clients.filter(c => c !== b).every(c => c.closed === null), true,
       'stop() ends the others without an error');

    // Fallback.

    const only = await new Client({ path: '/only',
                                    url: { transport: undefined } }).start();
    is(only.connection.connection.transport.constructor.name,
       'LongPollingTransport', 'offered nothing else, the client polls');
    await publish('only');
    ok(await until(() => only.got.includes('only')), '... and gets messages');
    await only.connection.stop();

    ok(await until(async () => {
        const hub = (await status()).hubs.chat;
        return hub.connections.longpoll === 0 && hub.groups === 0;
    }), 'nothing is left');
});
