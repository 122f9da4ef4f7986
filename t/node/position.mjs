// Copyright (C) The nginx-broadcast authors
//
// The page pattern of README.md, "Resume", with the official client, and what
// EventSource and WebSocket do by themselves: through all that may happen to
// nginx and PostgreSQL each has every message exactly once and in order.
// t/client_position.t starts the servers and commits meanwhile.
//
//     BASE  http://127.0.0.1:port
//     PAGE  the page's code, as it stands in README.md

import * as signalR from '@microsoft/signalr';
import { MessagePackHubProtocol } from '@microsoft/signalr-protocol-msgpack';
import EventSource from 'eventsource';
import WebSocket from 'ws';

import { ok, is, diag, until, act, run } from './tap.mjs';

const { BASE, PAGE } = process.env;
const sleep = ms => new Promise(wake => setTimeout(wake, ms));
const quiet = { log() {} };

async function load() {
    for (;;) {
        try {
            const r = await fetch(`${BASE}/functions/load_notes`);
            if (r.ok) return await r.json();
        } catch { /* it comes back */ }
        await sleep(100);
    }
}


// The state of a page: what was loaded, then what came.

class Page {
    constructor(name) {
        this.name = name;
        this.came = [];
        this.gaps = 0;
        this.returns = 0;
    }

    async open() {
        const state = await load();
        this.loaded = state.notes.map(note => note.id);
        this.position = state.position;
        await this.connect();
        return this;
    }

    get last() { return Math.max(0, ...this.came); }
    close() {}
}


class Hub extends Page {
    constructor(name, transport, options = {}) {
        super(name);
        this.transport = transport;
        this.options = options;
    }

    url() {
        return `${BASE}${this.options.path ?? '/client?hub=notes'}`
             + `&position=${encodeURIComponent(this.position)}`;
    }

    async connect() {
        const builder = new signalR.HubConnectionBuilder()
            .withUrl(this.url(), { transport: this.transport })
            .withAutomaticReconnect({ nextRetryDelayInMilliseconds: () => 200 })
            .configureLogging(quiet);
        if (this.options.msgpack)
            builder.withHubProtocol(new MessagePackHubProtocol());
        if (this.options.stateful) builder.withStatefulReconnect();

        const c = this.connection = builder.build();

        c.on('note', note => this.came.push(note.id));
        c.on('broadcast.position', p => {
            this.position = p;
            if (c.state === 'Reconnecting') c.baseUrl = this.url();
        });
        c.on('broadcast.gap', () => { this.gaps++; });
        c.onreconnecting(() => { c.baseUrl = this.url(); });
        c.onreconnected(() => { this.returns++; });
        c.onclose(error => { this.closed = error ?? null; });

        await c.start();
    }

    async close() { await this.connection.stop(); }
}


// EventSource sends Last-Event-ID by itself; the page loads its position once.

class Source extends Page {
    async connect() {
        const url = `${BASE}/events/notes?last_event_id=`
                  + encodeURIComponent(this.position);
        this.source = new EventSource(url);
        this.source.addEventListener('note', e =>
            this.came.push(JSON.parse(e.data)[0].id));
        this.source.addEventListener('broadcast.gap', () => { this.gaps++; });
        this.source.onopen = () => { if (this.opened) this.returns++;
                                     this.opened = true; };
        this.source.reconnectInterval = 200;
        await until(() => this.opened);
    }

    async close() { this.source.close(); }
}


class Plain extends Page {
    connect() {
        return new Promise(done => {
            const ws = this.ws = new WebSocket(`${BASE.replace('http', 'ws')}`
                + `/events/notes?last_event_id=${this.position}`);
            let open;
            ws.on('open', () => { open = true; done(); });
            ws.on('message', text => {
                const m = JSON.parse(text);
                this.position = m.id ?? this.position;
                if (m.target === 'note') this.came.push(m.arguments[0].id);
                if (m.target === 'broadcast.gap') this.gaps++;
            });
            ws.on('error', () => {});
            ws.on('close', async () => {
                if (this.over) return;
                if (open) this.returns++;
                await sleep(200);
                done(this.connect());
            });
        });
    }

    async close() { this.over = true; this.ws.close(); }
}


// A socket that, as often as it is wanted, breaks when it has brought messages
// behind the handshake, before the client calls itself connected.

class Breaking extends WebSocket {
    static wanted = 0;
    static broken = 0;

    set onmessage(take) {
        const held = [];

        super.onmessage = event => {
            if (Breaking.wanted === 0) return take(event);

            held.push(event);
            if (!/"note".*"broadcast\.position"/s.test(event.data)) return;

            Breaking.wanted--;
            Breaking.broken++;
            super.onmessage = () => {};
            held.forEach(e => take(e));
            this.terminate();
        };
    }
}


// What README.md says, word for word, but for how long it waits, its log, and
// its sockets.

class Documented extends Page {
    async open() {
        this.shown = 0;

        const code = PAGE.replace("url('0-0')", "url('0-0'), { WebSocket }")
                         .replace('1000 + Math.random() * 4000', '200')
                         .replace('2000', '200')
                         .replace('.build()', '.configureLogging(quiet).build()');
        const make = new Function('signalR', 'WebSocket', 'quiet', 'location',
            'fetch', 'append', 'show', code + '; return connection;');

        this.connection = make(signalR, Breaking, quiet, BASE,
            path => fetch(BASE + path),
            note => this.came.push(note.id),
            notes => { this.loaded = notes.map(note => note.id);
                       this.came = [];
                       this.shown++; });

        this.connection.onreconnected(() => { this.returns++; });
        await until(() => this.shown);
        return this;
    }

    async close() { await this.connection.stop(); }
}


const { WebSockets, ServerSentEvents, LongPolling } = signalR.HttpTransportType;

const pages = () => [
    new Documented('the page of README.md'),
    new Hub('WebSocket', WebSockets),
    new Hub('MessagePack', WebSockets, { msgpack: true }),
    new Hub('stateful', WebSockets, { stateful: true }),
    new Hub('SSE', ServerSentEvents),
    new Hub('LongPolling', LongPolling),
    new Hub('by broadcast_negotiate', WebSockets, { path: '/api?x=1' }),
    new Source('EventSource'),
    new Plain('plain WebSocket'),
];

run(async () => {
    const all = await Promise.all(pages().map(page => page.open()));

    // attempts of the first page to come back fail behind what they have got

    all[0].connection.onreconnecting(() => {
        Breaking.wanted = Breaking.broken < 2 ? 1 : 0;
    });

    for (const name of ['worker', 'worker', 'zone', 'database', 'both',
                        'reload', 'worker'])
    {
        const said = await act(name);

        // each goes on behind it, and some come only now

        const n = Math.max(...all.map(page => page.last));
        ok(await until(() => all.every(page => page.last > n + 10), 40),
           `${said}: all go on`)
            || diag(all.map(page => `${page.name} ${page.last} `
                                    + `${page.closed}`).join('\n'));

        all.push(await new Hub(`WebSocket that came behind ${name}`, WebSockets)
                       .open());
    }

    const wanted = JSON.parse(await act('end'));
    const order = new Map(wanted.map((id, i) => [id, i]));

    for (const page of all) {
        const had = () => new Set([...page.loaded, ...page.came]).size;
        await until(() => had() >= wanted.length, 20);

        const both = [...page.loaded, ...page.came];
        is(wanted.filter(id => !both.includes(id)), [],
           `${page.name}, ${page.returns} reconnects: nothing was missed`);
        is(both.filter((id, i) => both.indexOf(id) !== i), [],
           `${page.name}: nothing came twice`);
        const places = page.came.map(id => order.get(id));
        ok(places.every((place, i) => i === 0 || places[i - 1] < place),
           `${page.name}: in order`);
        is(page.gaps, 0, `${page.name}: no gap`);
    }

    const [first, ...others] = all;
    ok(all.slice(0, 9).every(page => page.returns >= 2),
       'all of them had to come back')
        || diag(all.map(page => `${page.name} ${page.returns}`).join(', '));
    is(Breaking.broken, 2, '... two by attempts that failed with messages');
    ok(first.loaded.length > 0, 'there was a state to load');

    // What it would go on with is gone.

    await Promise.all(others.map(page => page.close()));

    const last = Number(await act('prune'));
    const whole = () => new Set([...first.loaded, ...first.came]).size === last;

    ok(await until(() => first.shown >= 2 && whole(), 20),
       'where the history is gone the page loads its state anew')
        || diag(`${first.shown} ${first.loaded.length} ${first.came.length}`);
    is(first.came.length, 0, '... and has nothing twice');

    await first.close();
});
