// Copyright (C) The nginx-broadcast authors
//
// A connection while it lives and when it ends; t/client_life.t starts the
// server.
//
//     BASE       http://127.0.0.1:port
//     TRANSPORT  1 WebSocket, 2 SSE, 4 long polling

import * as signalR from '@microsoft/signalr';

import { ok, is, like, until, run } from './tap.mjs';

const { BASE } = process.env;
const transport = Number(process.env.TRANSPORT);
const name = { 1: 'websocket', 2: 'sse', 4: 'longpoll' }[transport];
const end = '\x1e';

class Client {
    constructor(where, { reconnect, ping, silence } = {}) {
        const builder = new signalR.HubConnectionBuilder()
            .withUrl(BASE + where, { transport })
            .configureLogging({ log() {} });

        if (ping) builder.withKeepAliveInterval(ping);
        if (silence) builder.withServerTimeout(silence);
        if (reconnect) builder.withAutomaticReconnect([0, 100, 500, 1000]);

        this.raw = [];
        this.got = [];
        this.closed = undefined;
        this.returned = 0;

        const c = this.connection = builder.build();

        c.on('message', x => this.got.push(x));
        c.onclose(error => { this.closed = error ?? null; });
        c.onreconnected(() => this.returned++);

        // what the wire brings, before the client takes it apart

        const receive = c.connection.onreceive;

        c.connection.onreceive = data => {
            this.raw.push(data);
            receive(data);
        };
    }

    async start() {
        await this.connection.start();
        return this;
    }

    get id() { return this.connection.connectionId; }
    get state() { return this.connection.state; }

    // past the client's own protocol

    send(text) { return this.connection.connection.send(text); }

    records(type) {
        return this.raw.join('').split(end).filter(Boolean)
                   .map(x => JSON.parse(x)).filter(x => x.type === type);
    }

    ended(seconds) {
        return until(() => this.closed !== undefined, seconds);
    }
}

async function status() {
    return (await fetch(`${BASE}/status`)).json();
}

function publish(hub, text) {
    return fetch(`${BASE}/publish/${hub}`, { method: 'POST', body: text });
}

function rest(method, path) {
    return fetch(`${BASE}/api/hubs/chat${path}api-version=2022-11-01`,
                 { method });
}


async function together() {
    const c = await new Client('/client').start();
    const answers = await Promise.allSettled(
        Array.from({ length: 50 }, (_, i) => c.connection.invoke(`No${i}`)));

    is(answers.map(x => /'(No\d+)'/.exec(x.reason?.message)?.[1]),
       Array.from({ length: 50 }, (_, i) => `No${i}`),
       'fifty invocations at once are answered, each its own');

    await Promise.all(Array.from({ length: 50 }, (_, i) => publish('chat', `m${i}`)));
    ok(await until(() => c.got.length === 50), 'fifty messages at once are heard');
    is(new Set(c.got).size, 50, '... each of them once');

    await c.send(`{"type":99,"x":[{}]}${end}{"type":6}${end}`
                 + `{"x":{"type":7},"arguments":[[1,{"target":"y"}]],`
                 + `"target":"Late","y":null,"invocationId":"a","type":1}${end}`
                 + `{"type":1,"target":"Next","arguments":[],`
                 + `"invocationId":"b","headers":{"h":"v"}}${end}`);

    const done = await until(() => {
        const all = c.records(3).filter(x => /^[ab]$/.test(x.invocationId));
        return all.length === 2 && all;
    });

    is(done?.map(x => `${x.invocationId} ${x.error}`),
       ["a Unknown hub method 'Late'", "b Unknown hub method 'Next'"],
       'four records together: an unknown type, a ping, two invocations; '
       + 'unknown properties, and arguments before target');
    is(c.state, 'Connected', '... and the connection stays');

    await c.connection.stop();
}


// Long polling has none: polls are the signs of life, signalr.md 2.4.

async function noPings() {
    const c = await new Client('/quick', { ping: 500, silence: 1000 }).start();
    const start = Date.now();

    ok(await until(() => Date.now() - start > 4500), 'four seconds and a half');
    is(c.state, 'Connected', '... in which a client that polls is not dropped');
    is(c.records(6).length, 0, '... and no ping came');

    await publish('quick', 'still here');
    ok(await until(() => c.got.includes('still here')), '... it hears messages');

    await c.connection.stop();
}


async function pings() {
    const [talker, silent] = await Promise.all([
        new Client('/quick', { ping: 500, silence: 4000 }).start(),
        new Client('/quick', { ping: 60000 }).start(),
    ]);
    const timeouts = (await status()).closed.timeout;

    ok(await silent.ended(10), 'a client that says nothing is dropped');
    like(silent.closed?.message, /Client hasn't sent a message\/ping within/,
         '... and told why');
    ok((await status()).closed.timeout > timeouts, '... and counted');

    ok(await until(() => talker.records(6).length >= 5, 10),
       'pings come from the server, one a second');
    is(talker.state, 'Connected',
       'a client that pings stays, beyond both its own and the server\'s time');

    await publish('quick', 'still here');
    ok(await until(() => talker.got.includes('still here')),
       '... and hears messages');

    await talker.connection.stop();
    is(talker.closed, null, 'it ends without an error');
}


async function closes() {

    // allowReconnect: the client comes back; without it, it does not

    const back = await new Client('/client', { reconnect: true }).start();
    const first = back.id;

    await rest('DELETE', `/connections/${first}?reason=later&`);
    ok(await until(() => back.returned === 1), 'a Close that allows it: it returns');
    ok(back.id && back.id !== first, '... with another id');
    is(back.records(7).map(x => x.allowReconnect), [true], '... as the Close said');
    is((await rest('HEAD', `/connections/${first}?`)).status, 404,
       '... the first id is gone');

    const wrong = await new Client('/client', { reconnect: true }).start();

    await wrong.send(`rubbish${end}`);
    ok(await wrong.ended(), 'a Close that does not allow it: it stays away');
    like(wrong.closed?.message, /^Server returned an error on close: /,
         '... with the server\'s error');
    is(wrong.returned, 0, '... and has not tried');
    is(wrong.records(7).map(x => Boolean(x.allowReconnect)), [false],
       '... as the Close said');

    const hasty = await new Client('/rate', { reconnect: true }).start();

    for (let i = 0; i < 20; i++) {
        hasty.connection.send('x').catch(() => {});
    }

    ok(await hasty.ended(), 'a client that sends too much is closed');
    like(hasty.closed?.message, /too many messages/, '... and told why');
    is(hasty.returned, 0, '... and does not come back by itself');

    return back;
}


async function dies(back) {
    const before = back.id;
    const others = [];

    // whoever sits in a worker that is killed: its TCP connection is cut

    while (others.length < 8) {
        others.push(await new Client('/client', { reconnect: true }).start());
    }

    const ids = others.map(x => x.id);
    const victim = (await status()).workers.find(x => x.connections > 0).pid;

    process.kill(victim, 'SIGKILL');

    ok(await until(() => [back, ...others].some(x => x.returned > (x === back))),
       'a worker dies: its clients come back');
    ok(await until(() => [back, ...others].every(x => x.state === 'Connected')),
       '... all are connected');
    is(others.filter((x, i) => x.returned ? x.id === ids[i] : x.id !== ids[i])
             .length, 0, '... those that returned have another id, no one else');

    await until(async () => (await status()).hubs.chat.connections[name] === 9);
    await publish('chat', 'after');
    ok(await until(() => [back, ...others].every(x => x.got.includes('after'))),
       '... and hear what is published');

    await Promise.all([back, ...others].map(x => x.connection.stop()));
    ok(await until(async () =>
        (await status()).hubs.chat.connections[name] === 0), 'nobody is left');
}


run(async () => {
    await together();
    await (name === 'longpoll' ? noPings() : pings());
    await dies(await closes());
});
