// Copyright (C) The nginx-broadcast authors
//
// EventSource and WebSocket, with nothing of SignalR, against a running server;
// t/client_plain.t starts it.
//
//     BASE     http(s)://127.0.0.1:port
//     VERSION  2: event streams over HTTP/2 (then BASE is https)
//     KEY      the secret of broadcast_key

import { createHmac } from 'node:crypto';
import http2 from 'node:http2';
import EventSource from 'eventsource';
import WebSocket from 'ws';

import { ok, is, like, until, run } from './tap.mjs';

const { BASE, KEY, VERSION } = process.env;


// EventSource over HTTP/1.1 is the official package's; over HTTP/2 the same
// lines are read by hand, since no package speaks it.

class Stream {
    constructor(path, lastEventId) {
        this.got = [];
        this.ids = [];
        (VERSION === '2' ? this.h2 : this.h1).call(this, path, lastEventId);
    }

    h1(path, lastEventId) {
        const url = new URL(BASE + path);
        if (lastEventId) url.searchParams.set('last_event_id', lastEventId);
        this.source = new EventSource(url.href);
        this.source.onopen = () => { this.open = true; };
        for (const name of ['newMessage', 'broadcast.gap']) {
            this.source.addEventListener(name, e =>
                this.take(name, e.data, e.lastEventId));
        }
    }

    h2(path, lastEventId) {
        this.session = http2.connect(BASE);
        const headers = { ':path': path, accept: 'text/event-stream' };
        if (lastEventId) headers['last-event-id'] = lastEventId;
        const stream = this.session.request(headers);
        let text = '';

        stream.setEncoding('utf8');
        stream.on('response', h => { this.open = h[':status'] === 200; });
        stream.on('data', piece => {
            text += piece;
            const events = text.replaceAll('\r\n', '\n').split('\n\n');
            text = events.pop();
            for (const event of events) this.parse(event);
        });
        stream.on('error', () => {});
        this.session.on('error', () => {});
    }

    parse(event) {
        const field = {};
        for (const line of event.split('\n')) {
            const [, name, value] = /^(\w+): ?(.*)$/.exec(line) ?? [];
            if (name) field[name] = value;
        }
        if (field.data) this.take(field.event, field.data, field.id);
    }

    take(name, data, id) {
        this.got.push([name, JSON.parse(data)]);
        this.ids.push(id);
    }

    has(text) {
        return until(() => this.got.some(([, a]) => a[0]?.text === text));
    }

    texts() { return this.got.map(([, a]) => a[0]?.text).join(' '); }

    close() {
        this.source?.close();
        this.session?.destroy();
    }
}

function token(claims) {
    const part = o => Buffer.from(JSON.stringify(o)).toString('base64url');
    const body = part({ alg: 'HS256', typ: 'JWT' }) + '.' + part({
        aud: 'http://localhost/client/?hub=chat',
        exp: Math.floor(Date.now() / 1000) + 60, ...claims });
    return body + '.' + createHmac('sha256', KEY).update(body)
                                                 .digest('base64url');
}

async function publish(text, query = '') {
    const r = await fetch(`${BASE}/publish/chat?target=newMessage${query}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ text }),
    });
    return r.json();
}

async function status() {
    return (await fetch(`${BASE}/status?format=json`)).json();
}


run(async () => {
    const streams = [];
    const spread = async () =>
        (await status()).workers.filter(w => w.connections > 0).length >= 2;

    while (streams.length < 4 || streams.length < 60 && !await spread()) {
        const s = new Stream(`/events/chat?group=g${streams.length % 2}`);
        streams.push(s);
        ok(await until(() => s.open), 'a stream opens') || process.exit(1);
    }

    ok(await spread(), 'the streams sit in two workers or more');

    const first = await publish('first');
    like(first.id, /^[0-9a-f]+-\d+$/, 'the answer to a publish has its id');
    await publish('grouped', '&group=g1');
    await publish('last');
    await Promise.all(streams.map(s => s.has('last')));

    is(streams[0].texts(), 'first last', 'a stream of another group');
    is(streams[1].texts(), 'first grouped last', 'a stream of the group');
    is(streams[0].ids[0], first.id, 'the id of the event is the publish\'s');

    // Back after a while: what came meanwhile, once and in order.

    const id = streams[1].ids[1];
    streams[1].close();
    for (let i = 0; i < 20; i++) await publish(`missed${i}`);
    const again = new Stream('/events/chat?group=g1', id);
    await again.has('missed19');
    await publish('live');
    await again.has('live');
    is(again.texts(), ['last', ...Array.from({ length: 20 },
                       (_, i) => `missed${i}`), 'live'].join(' '),
       'a resumed stream has what it missed, then what is live');

    const lost = new Stream('/events/chat', 'abc-1');
    await until(() => lost.got.length > 0);
    is(lost.got[0]?.[0], 'broadcast.gap',
       'a position that is not known is a gap event');
    is(lost.got[0]?.[1].requested, 'abc-1', '... that names it');

    // The same as a WebSocket.  Without a token it may listen to any group
    // here, but not send.

    const socket = `${BASE.replace('http', 'ws')}/events/chat?group=g1`;
    const mute = new WebSocket(socket);
    const words = [];
    mute.on('message', m => words.push(JSON.parse(m)));
    await new Promise((open, fail) => { mute.on('open', open); mute.on('error', fail); });
    mute.send('{"send":"g1","target":"newMessage","arguments":[]}');
    ok(await until(() => words.some(w => w.error)),
       'a socket without the right to send is told so');
    mute.close();

    const ws = new WebSocket(`${socket}&access_token=` + token(
        { role: ['broadcast.send', 'broadcast.join'] }));
    const frames = [];
    ws.on('message', m => frames.push(JSON.parse(m)));
    await new Promise((open, fail) => { ws.on('open', open); ws.on('error', fail); });
    const sent = await publish('socket', '&group=g1');
    await until(() => frames.length);
    is(frames[0], { id: sent.id, target: 'newMessage',
                    arguments: [{ text: 'socket' }] },
       'a WebSocket frame has id, target and arguments');
    ws.send(JSON.stringify({ send: 'g1', target: 'newMessage',
                             arguments: [{ text: 'from a socket' }] }));
    ok(await again.has('from a socket'), 'what a socket sends reaches streams');
    ws.send(JSON.stringify({ leave: 'g1' }));
    ws.send('{"send":"*","target":"newMessage","arguments":[{"text":"all"}]}');
    await until(() => frames.some(f => f.arguments?.[0].text === 'all'));
    await publish('not here', '&group=g1');
    await publish('here');
    await until(() => frames.some(f => f.arguments?.[0].text === 'here'));
    is(frames.some(f => f.arguments?.[0].text === 'not here'), false,
       'a socket that left a group gets none of its messages');
    ws.send('{"nonsense"');
    ok(await until(() => frames.some(f => f.error)),
       'a frame that is no JSON is answered with an error');
    is(ws.readyState, WebSocket.OPEN, '... and the socket stays open');
    const closed = new Promise(done => ws.on('close', done));
    ws.close(1000);
    is(await closed, 1000, 'the closing handshake ends with the same code');

    for (const s of [...streams, again, lost]) s.close();
    ok(await until(async () => {
        const c = (await status()).hubs.chat.connections;
        return c.sse === 0 && c.websocket === 0;
    }), 'the registry is empty when all have gone');
});
