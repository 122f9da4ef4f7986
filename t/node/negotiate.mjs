// Copyright (C) The nginx-broadcast authors
//
// How the official client finds its way; t/client_negotiate.t starts the
// server.
//
//     BASE       http://127.0.0.1:port
//     TOKEN_...  tokens, good and bad; one that ends soon: act('late')

import * as signalR from '@microsoft/signalr';

import { ok, is, like, until, act, rejects, run } from './tap.mjs';

const { BASE } = process.env;
const token = name => process.env[`TOKEN_${name.toUpperCase()}`];
const quiet = { log() {} };
const { WebSockets, ServerSentEvents, LongPolling } = signalR.HttpTransportType;

// Counts what the client asks for, and may change it on its way.

class Http extends signalR.HttpClient {
    constructor(change) {
        super();
        this.inner = new signalR.DefaultHttpClient(quiet);
        this.urls = [];
        this.change = change ?? (() => {});
    }

    send(request) {
        this.change(request);
        this.urls.push(request.url);
        return this.inner.send(request);
    }

    getCookieString(url) { return this.inner.getCookieString(url); }
}

function client(url, options = {}) {
    return new signalR.HubConnectionBuilder()
        .withUrl(BASE + url, options)
        .configureLogging(quiet).build();
}

const withToken = (name, options = {}) =>
    ({ accessTokenFactory: () => token(name), ...options });

async function status() {
    return (await fetch(`${BASE}/status`)).json();
}

const count = async name =>
    (await status()).hubs.chat?.connections[name] ?? 0;

// By which transport the server has the client's connection.

async function transport(connection) {
    const path = '/all/api/hubs/chat/connections?api-version=2022-11-01';
    const all = (await (await fetch(BASE + path)).json()).value;

    return all.find(x => x.connectionId === connection.connectionId)?.transport;
}

async function publish(text) {
    await fetch(`${BASE}/publish/chat?target=message`,
                { method: 'POST', body: text });
}

// It can invoke, and it hears what is published: all works both ways.

async function works(connection, name) {
    const got = [];
    const text = `for ${name}`;

    connection.on('message', x => got.push(x));
    await publish(text);

    ok(await until(() => got.includes(text)), `${name}: it hears`);
    await rejects(connection.invoke('Nope'), /Unknown hub method/,
                  `${name}: it is heard`);
}


async function versions() {
    const url = '/client?hub=chat';

    for (const version of [0, 1, 99]) {
        const c = client(`${url}&negotiateVersion=${version}`,
                         withToken('good'));

        await c.start();
        like(c.connectionId, version ? /^[\w-]{22}$/ : /^[\w-]{48}$/,
             `version ${version}: an id of version ${version ? 1 : 0}`);
        await works(c, `version ${version}`);
        await c.stop();
    }

    const http = new Http(r => {
        r.url = r.url.replace(/[?&]negotiateVersion=1/, '');
    });
    const c = client(url, withToken('good', { httpClient: http }));

    await c.start();
    like(http.urls[0], /^[^?]*\?hub=chat$/, 'no version is asked for');
    like(c.connectionId, /^[\w-]{48}$/, '... and version 0 is taken');
    await works(c, 'no version');
    await c.stop();

    await rejects(client(`${url}&negotiateVersion=abc`, withToken('good'))
                  .start(),
                  /^The client requested a non-integer protocol version\.$/,
                  'version abc: the error field is the client\'s error');
    await rejects(client(`${url}&negotiateVersion=-1`, withToken('good'))
                  .start(), new RegExp("^The client requested version '-1', "
                  + 'but the server does not support this version\\.$'),
                  'version -1: ... with the version in it');
}


async function redirects() {
    let asked = 0;

    for (const [where, hops] of [['/once', 2], ['/twice', 3]]) {
        const http = new Http();
        const c = client(where, { httpClient: http, accessTokenFactory: () => {
            asked++;
            return '';
        } });

        await c.start();
        is(http.urls.length, hops, `${where}: ${hops} requests to negotiate`);
        like(http.urls.at(-1), /\/client\/negotiate\?hub=chat&negotiateV/,
             '... the last one of the hub');
        await works(c, `redirected ${where.slice(1)}`);
        await c.stop();
    }

    is(asked, 2, 'the app\'s token is asked for once a start');

    const http = new Http();

    await rejects(client('/loop', { httpClient: http }).start(),
                  /^Negotiate redirection limit exceeded\.$/,
                  'redirected for ever, the client gives up');
    is(http.urls.length, 100, '... after a hundred');
}


async function refusals() {
    const failed = 'Failed to complete negotiation with the server: Error: ';
    const where = ' Either this is not a SignalR endpoint or there is a proxy '
                + 'blocking the connection.';
    const words = async (url, options) => {
        try {
            await client(url, options).start();
            return 'it started';
        } catch (error) {
            return error.message;
        }
    };
    const refused = `${failed}Unauthorized: Status code '401'`;

    is(await words('/client?hub=chat', {}), refused, 'no token: 401 exactly');

    for (const [name, what] of [
        ['wrong', 'signed by another key'], ['expired', 'expired'],
        ['other', 'for another hub'], ['rest', 'for REST'],
        ['nohub', 'without a hub'], ['unsigned', 'without a signature'],
    ]) {
        is(await words('/client?hub=chat', withToken(name)), refused,
           `a token ${what}: 401`);
    }

    is(token('long').length, 4097, 'a token of 4,097 characters');
    is(await words('/client?hub=chat', withToken('long')),
       `${failed}The token is too long.: Status code '413'`,
       '... is too long');
    is(await words('/client?hub=4', withToken('good')),
       `${failed}The hub is no good name.: Status code '400'`,
       'a hub that is no name');
    like(await words('/nowhere', {}), new RegExp(`Status code '404'${where}$`),
         'a path that is nothing');

    ok(token('limit').length > 4090, 'a token of 4,096 characters at most');

    for (const name of ['limit', 'second']) {
        const c = client('/client?hub=chat', withToken(name));

        await c.start();
        await works(c, `token ${name}`);
        await c.stop();
    }

    const rest = async (name, path) => (await fetch(BASE + path,
        { method: 'POST', body: '{"target":"x","arguments":[]}',
          headers: { authorization: `Bearer ${token(name)}`,
                     'content-type': 'application/json' } })).status;

    is(await rest('good', '/api/v1/hubs/chat'), 401,
       'REST refuses a token of a client');
    is(await rest('wrong', '/api/v1/hubs/chat'), 401, '... and of another key');
}


// A token that is over, but for the leeway between two clocks: its polls end
// with 401.

async function expires() {
    let c, closed;

    // where this machine has let it run out, there is another one

    for (let started = false, i = 0; !started && i < 5; i++) {
        const late = await act('late');
        c = client('/client?hub=chat', { accessTokenFactory: () => late,
                                         transport: LongPolling });
        started = await c.start().then(() => true, () => false);
    }

    c.onclose(error => { closed = error ?? null; });
    await works(c, 'a token within the leeway');

    ok(await until(async () => {
        await publish('next');
        return closed !== undefined;
    }), 'long polling ends when its token does');
    like(closed?.message, /401|expired/, '... and says so');
}


// Where a token may travel: Node's client sends it in a header for WebSocket,
// in the query for an event stream, and browsers in the query for both.

async function travels() {
    for (const [transport, name] of [[WebSockets, 'WebSocket'],
                                     [ServerSentEvents, 'SSE'],
                                     [LongPolling, 'long polling']]) {
        const c = client('/client?hub=chat',
                         withToken('good', { transport }));

        await c.start();
        await works(c, `${name} with its token`);
        await c.stop();
    }

    const both = `?hub=chat&access_token=${token('good')}`;
    const c = client(`/client${both}`, { transport: WebSockets });

    await c.start();
    ok(c.connectionId, 'a token in the query of the app\'s own URL will do');
    await c.stop();

    await rejects(client(`/client${both}`,
                         withToken('wrong', { transport: WebSockets })).start(),
                  /'401'/, 'beside a header the query does not count');
}


async function skipped() {
    const http = new Http();
    const c = client('/client?hub=chat', withToken('good',
        { skipNegotiation: true, transport: WebSockets, httpClient: http }));

    await c.start();
    is(c.connectionId, null, 'without negotiation the client knows no id');
    is(http.urls, [], '... and has asked for none');
    await works(c, 'negotiation skipped');
    await c.stop();

    await rejects(client('/client?hub=chat', withToken('wrong',
        { skipNegotiation: true, transport: WebSockets })).start(),
        /WebSocket failed to connect/, 'a bad token is refused there, too');
}


async function fallback() {
    const http = new Http();
    const c = client('/noupgrade', { httpClient: http });

    await c.start();
    is(await transport(c), 'sse',
       'an upgrade that is refused: the client takes SSE');
    is(http.urls.filter(x => /negotiate/.test(x)).length, 2,
       '... having negotiated again');
    await works(c, 'fallen back to SSE');
    await c.stop();

    const second = new Http();
    const poll = client('/nostream', { httpClient: second });

    await poll.start();
    is(await transport(poll), 'longpoll',
       'where streams are hidden, too, it takes long polling');
    is(second.urls.filter(x => /negotiate/.test(x)).length, 3,
       '... at the third attempt');
    await works(poll, 'fallen back to long polling');
    await poll.stop();

    const offered = client('/onlypoll');

    await offered.start();
    is(await transport(offered), 'longpoll',
       'where polling alone is offered it polls');
    await works(offered, 'long polling alone');
    await offered.stop();

    await rejects(client('/nothing').start(),
                  new RegExp('WebSockets failed: .*ServerSentEvents failed: '
                             + ".*LongPolling failed: .*Status code '404'", 's'),
                  'where nothing works each attempt has its reason');

    const sse = client('/onlysse');

    await sse.start();
    is(await transport(sse), 'sse',
       'where SSE alone is offered the client takes it');
    await works(sse, 'SSE alone');
    await sse.stop();

    await rejects(client('/onlyws', { transport: ServerSentEvents }).start(),
                  /Unable to connect|None of the transports/,
                  'the client\'s transport that is not offered');
    await rejects(client('/onlysse', { transport: WebSockets }).start(),
                  /Unable to connect|None of the transports/,
                  '... and the other way round');

    ok(await until(async () => await count('sse') + await count('websocket')
                               + await count('longpoll') === 0, 30),
       'no attempt has left a connection behind');
}


run(async () => {
    await versions();
    await redirects();
    await expires();
    await refusals();
    await travels();
    await skipped();
    await fallback();
});
