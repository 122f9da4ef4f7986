// Copyright (C) The nginx-broadcast authors
//
// The official client with withStatefulReconnect(), behind a proxy that loses
// connections; t/client_stateful.t starts the server.
//
//     SERVERS   JSON: [{"name", "base", "protocol", "workers"}], base is
//               http://127.0.0.1:port, protocol json or messagepack

import { createServer, connect } from 'node:net';
import * as signalR from '@microsoft/signalr';
import WebSocket from 'ws';

import * as tap from './tap.mjs';

const { until, run } = tap;


// One client's way to the server.  What was given to it when it cuts is lost on
// both sides, as with any network.

class Proxy {
    constructor(target) {
        this.target = target;       // port
        this.pairs = new Set();
        this.upgrades = [];         // request lines
        this.hold = undefined;      // a promise: new connections wait for it
        this.server = createServer({ allowHalfOpen: true },
                                   socket => this.accept(socket));
    }

    async listen() {
        await new Promise(done => this.server.listen(0, '127.0.0.1', done));
        this.url = `http://127.0.0.1:${this.server.address().port}`;
        return this;
    }

    async accept(client) {
        const pair = { client, deaf: false };

        client.on('error', () => {});
        client.pause();
        await this.hold;

        const server = pair.server = connect(this.target, '127.0.0.1');
        server.on('error', () => {});
        this.pairs.add(pair);

        client.once('data', bytes => {
            const line = String(bytes).split('\r\n')[0];
            if (/upgrade: websocket/i.test(String(bytes))) {
                pair.websocket = true;
                this.upgrades.push(line);
            }
        });

        const pass = (from, to) => {
            from.on('data', bytes => { if (!pair.deaf) to.write(bytes); });
            from.on('end', () => { if (!pair.deaf) to.end(); });
            from.on('close', () => {
                this.pairs.delete(pair);
                if (!pair.deaf) to.destroy();
            });
        };

        pass(client, server);
        pass(server, client);
        client.resume();
    }

    // how: 'reset' or 'end' to both, or 'client': the server hears nothing

    cut(how) {
        for (const pair of [...this.pairs].filter(p => p.websocket)) {
            pair.deaf = true;

            if (how === 'client') {
                pair.client.destroy();
                pair.server.pause();
                (this.silent ??= []).push(pair.server);
                continue;
            }

            if (how === 'reset') {
                pair.client.resetAndDestroy();
                pair.server.resetAndDestroy();
            } else {
                pair.client.destroy();
                pair.server.destroy();
            }
        }
    }

    // bytes under way are lost, then the connection

    async lose(how) {
        for (const pair of this.pairs) if (pair.websocket) pair.deaf = true;
        await sleep(30);
        this.cut(how);
    }

    close() {
        for (const server of this.silent ?? []) server.destroy();
        for (const { client, server } of this.pairs) {
            client.destroy();
            server.destroy();
        }
        this.server.close();
    }
}

const sleep = ms => new Promise(wake => setTimeout(wake, ms));
const upto = n => Array.from({ length: n }, (_, i) => i + 1);


class Client {
    constructor(server, hub, options = {}) {
        this.server = server;
        this.hub = hub;
        this.options = options;
        this.got = [];
        this.closed = undefined;
        this.events = [];
    }

    async start() {
        this.proxy = await new Proxy(new URL(this.server.base).port)
            .listen();

        const builder = new signalR.HubConnectionBuilder()
            .withUrl(`${this.proxy.url}/hub?hub=${this.hub}`,
                     { transport: this.options.transport
                                  ?? signalR.HttpTransportType.WebSockets })
            .withStatefulReconnect(this.options.buffer)
            .configureLogging({ log() {} });

        if (this.server.protocol === 'messagepack') {
            const m = await import('@microsoft/signalr-protocol-msgpack');
            builder.withHubProtocol(new m.MessagePackHubProtocol());
        }

        if (this.options.policy) builder.withAutomaticReconnect([0, 0, 0]);

        const c = this.connection = builder.build();
        c.on('n', n => this.got.push(n));
        c.onclose(error => { this.closed = error ?? null; });
        c.onreconnecting(() => this.events.push('reconnecting'));
        await c.start();
        return this;
    }

    get id() { return this.connection.connectionId; }

    // the client does not wait for what it says last to be sent

    async stop() {
        await this.connection.stop();
        await until(() => this.proxy.pairs.size === 0);
        this.proxy.close();
    }
}


class Server {
    constructor(server) {
        Object.assign(this, server);
    }

    ok(value, what) { return tap.ok(value, `${this.name}: ${what}`); }

    is(got, expected, what) {
        return tap.is(got, expected, `${this.name}: ${what}`);
    }

    async status() {
        return (await fetch(`${this.base}/status`)).json();
    }

    async publish(hub, n) {
        const r = await fetch(`${this.base}/publish/${hub}?target=n`, {
            method: 'POST', body: JSON.stringify(n),
            headers: { 'content-type': 'application/json' },
        });
        if (r.status !== 200) throw new Error(`publish: ${r.status}`);
    }

    // how the connections are spread: only a move changes it

    async owners() {
        return (await this.status()).workers
            .map(w => `${w.pid}:${w.connections}`).sort().join();
    }

    // what the server took of a client, in its order

    async seen(name) {
        return (await fetch(`${this.base}/functions/seen?name=${name}`))
            .json();
    }

    // Numbered messages both ways while connections are lost in three ways.

    async flow() {
        const client = await new Client(this, 'flow').start();
        const { proxy, connection } = client;
        const id = client.id;
        const before = (await this.status()).stateful.reconnects;
        const rounds = 12, n = 300, owners = new Set();

        const down = (async () => {
            for (const i of upto(n)) {
                await this.publish('flow', i);
                await sleep(3);
            }
        })();

        const sends = [], invokes = [];

        const up = (async () => {
            for (const i of upto(n)) {
                if (i % 3) sends.push(connection.send('Note', 'flow', i));
                else invokes.push(connection.invoke('Note', 'flow', i));
                await sleep(3);
            }
        })();

        for (let i = 0; i < rounds; i++) {
            await sleep(100);
            await proxy.lose(['reset', 'end', 'client'][i % 3]);
            await until(() => proxy.upgrades.length >= i + 2);
            owners.add(await this.owners());
        }

        await Promise.all([down, up]);
        await until(() => client.got.length >= n);
        await until(async () => (await this.seen('flow')).length >= n);
        await sleep(50);

        this.is(client.got, upto(n),
           'what the server sends arrives once, in order, over all cuts');
        this.is(await this.seen('flow'), upto(n),
           'what the client sends arrives once, in order');
        this.is(await Promise.all(invokes), upto(n).filter(i => i % 3 === 0),
           'every invocation has its own result');
        this.is((await Promise.allSettled(sends))
            .filter(x => x.status !== 'fulfilled'), [], 'every send is done');
        this.is(client.id, id, 'the connection is the same');
        this.is([client.closed, client.events], [undefined, []],
           'and was never closed, nor started anew');
        this.is(new Set(proxy.upgrades.map(x => /[?&]id=([^& ]+)/.exec(x)[1]))
            .size, 1, 'all sockets came with one id');
        this.ok((await this.status()).stateful.reconnects - before >= rounds,
           'and are counted');
        if (this.workers > 1) {
            this.ok(owners.size > 1, 'its owner changed');
        }
        await client.stop();
    }

    // A function that is at work when the socket goes, and one called without.

    async gap() {
        const client = await new Client(this, 'gap').start();
        const { proxy, connection } = client;

        let open;
        const before = (await this.status()).stateful.away;
        const slow = connection.invoke('Slow', 'a');
        await sleep(200);
        proxy.hold = new Promise(done => { open = done; });
        proxy.cut('reset');
        this.ok(await until(async () =>
               (await this.status()).stateful.away > before),
           'the connection waits for a socket');
        const later = connection.invoke('Note', 'gap', 7);
        await this.publish('gap', 1);
        await sleep(1500);
        open();
        this.is(await slow, 'a',
           'a call that went on without a socket has its result');
        this.is(await later, 7, 'so has one that was made then');
        this.ok(await until(() => client.got.length), 'and messages were kept');
        this.is(client.got, [1], 'once');
        this.is(await this.seen('gap'), [7], 'each way');
        await client.stop();
    }

    async ends() {
        const client = await new Client(this, 'ends').start();
        const path = client.proxy.upgrades[0].split(' ')[1];
        const again = () => new Promise(done => {
            const ws = new WebSocket(this.base.replace('http', 'ws') + path);
            ws.on('error', () => {});
            ws.on('unexpected-response', (_, r) => done(r.statusCode));
            ws.on('open', () => { done(101); ws.terminate(); });
        });

        await client.stop();
        this.is(await again(), 404, 'after stop() the id is dead');

        const gone = await new Client(this, 'ends', { policy: true }).start();
        const id = gone.id;
        await fetch(`${this.base}/functions/shut?id=${id}`);
        this.ok(await until(() => gone.id && gone.id !== id
                             && gone.connection.state === 'Connected'),
           'a client whose connection was ended starts anew, with another id');
        this.is(gone.events, ['reconnecting'], 'by its policy');
        await this.publish('ends', 1);
        this.ok(await until(() => gone.got.length === 1), 'and gets messages');
        await gone.stop();

        const small = await new Client(this, 'small',
                                       { buffer: { bufferSize: 200 } }).start();
        await Promise.all(upto(6).map(i =>
            small.connection.send('Note', 'small', i)));
        this.ok(await until(async () =>
               (await this.seen('small')).length === 6),
           'Acks let a client go on whose buffer is full');
        await small.stop();

        if (this.protocol !== 'messagepack') {
            const sse = await new Client(this, 'sse', {
                transport: signalR.HttpTransportType.ServerSentEvents }).start();
            this.is(await sse.connection.invoke('Note', 'sse', 3), 3,
               'over SSE the same client speaks version 1');
            await sse.stop();
        }
    }

    // The first socket is lost, the second does not get through for 16 s.

    async late() {
        const client = await new Client(this, 'late', { policy: true }).start();
        const { proxy } = client;
        const id = client.id;

        proxy.hold = sleep(16500);
        proxy.cut('reset');
        this.ok(await until(async () =>
               (await this.status()).hubs.late.connections.websocket === 0, 20),
           'a connection without a socket ends');
        this.ok(await until(() => client.connection.state === 'Connected'
                             && client.id !== id, 10),
           'who comes later starts anew');
        this.is(client.events, ['reconnecting'], 'as its policy says');
        await client.stop();
    }

    async all() {
        const late = this.late();

        await this.flow();
        await Promise.all([this.gap(), this.ends()]);
        await late;

        this.ok(await until(async () => {
            const s = await this.status();
            return s.stateful.away === 0 && Object.values(s.hubs)
                .every(h => h.connections.websocket + h.connections.sse === 0);
        }), 'the registry is empty');
    }
}


run(() => Promise.all(JSON.parse(process.env.SERVERS)
    .map(server => new Server(server).all())));
