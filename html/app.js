/*
 * Copyright (C) The nginx-broadcast authors
 *
 * The quickstart page.  It knows public URLs only and talks to the hub through
 * the official client.  Every few seconds it walks the six steps in order and
 * shows at which one things stop.
 */

/* global signalR */

const $ = id => document.getElementById(id);

const interval = 5000;            // between two walks, ms
const retry = 2000;               // after one that stopped
const patience = 3000;            // for what should come at once

let name = sessionStorage.getItem('name')
        || new URLSearchParams(location.search).get('name')
        || 'guest-' + Math.random().toString(36).slice(2, 6);

let token = null;                 // of the last negotiate
let connection = null;            // the live one
const people = new Map();         // connection id => name
const pulses = new Map();         // pulse => resolve


/* --- the six lights ------------------------------------------------------ */

class Stop extends Error {
    constructor(step, reason) {
        super(reason);
        this.step = step;
    }
}

const lights = [...document.querySelectorAll('#steps li')];
const said = lights.map(li => li.querySelector('.detail').textContent);

// A word for those who do not see the colour.
for (const li of lights) {
    const word = document.createElement('span');
    word.className = 'state';
    li.append(word);
}

function light(step, state, detail) {
    const li = lights[step - 1];

    // A walk that finds all well shall not make the lights flicker.
    if (state === 'checking' && li.dataset.state === 'ok') {
        return;
    }

    li.dataset.state = state;
    li.querySelector('.detail').textContent = detail ?? said[step - 1];
    li.querySelector('.state').textContent = state;
}

function verdict(text, state) {
    const p = $('verdict');

    if (p.textContent !== text) {
        p.textContent = text;
    }

    p.dataset.state = state;
}


/* --- requests ------------------------------------------------------------ */

async function ask(url, options = {}) {
    const headers = { ...options.headers };

    if (token !== null && options.auth) {
        headers.Authorization = `Bearer ${token}`;
    }

    if (options.json !== undefined) {
        headers['Content-Type'] = 'application/json';
        options.body = JSON.stringify(options.json);
    }

    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), 4 * patience);

    try {
        return await fetch(url, { cache: 'no-store', ...options, headers,
                                  signal: abort.signal });
    } catch {
        throw new Error(abort.signal.aborted ? 'no answer in time'
                                             : 'nginx does not answer');
    } finally {
        clearTimeout(timer);
    }
}

// The functions of the database, named functions/… .

async function call(step, what, options) {
    const r = await ask(`functions/${what}`, { auth: true, ...options })
        .catch(error => { throw new Stop(step, error.message); });

    if (r.ok) {
        return r.status === 200 ? r.json() : null;
    }

    throw new Stop(step, {
        401: 'the token is not accepted',
        404: `no function “${what.split('?')[0]}” is bound`,
        500: 'the function failed',
        503: 'the database is away',
        504: 'the database does not answer',
    }[r.status] ?? `HTTP status ${r.status}`);
}


/* --- the walk ------------------------------------------------------------ */

async function app() {
    const r = await ask('index.html', { method: 'HEAD' })
        .catch(error => { throw new Stop(1, error.message); });

    if (!r.ok) {
        throw new Stop(1, `the page is gone: HTTP status ${r.status}`);
    }
}

async function negotiate() {
    const r = await ask(`api/negotiate?user=${encodeURIComponent(name)}`,
                      { method: 'POST' })
        .catch(error => { throw new Stop(2, error.message); });

    if (!r.ok) {
        throw new Stop(2, `no token: HTTP status ${r.status}`);
    }

    const answer = await r.json().catch(() => ({}));

    if (!answer.url || !answer.accessToken) {
        throw new Stop(2, 'the answer names no endpoint');
    }

    token = answer.accessToken;
    return new URL(answer.url, location.href).pathname;
}

// The client itself goes both hops of negotiate.

async function connect() {
    if (connection?.state === signalR.HubConnectionState.Connected) {
        return;
    }

    const c = new signalR.HubConnectionBuilder()
        .withUrl(`api?user=${encodeURIComponent(name)}`)
        .configureLogging(signalR.LogLevel.Error)
        .build();

    c.on('newMessage', show);
    c.on('pulse', pulse => pulses.get(pulse)?.());
    c.on('joined', who => { people.set(who.connectionId, who.name); list(); });
    c.on('left', who => { people.delete(who.connectionId); list(); });

    c.onclose(() => {
        if (connection === c) {
            connection = null;
            people.clear();
            list();
            wake();
        }
    });

    let timer;
    const late = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error('no answer')), 10000);
    });

    try {
        await Promise.race([c.start(), late]);
    } catch (error) {
        c.stop();
        throw new Stop(3, `no connection: ${brief(error)}`);
    } finally {
        clearTimeout(timer);
    }

    connection = c;
}

function brief(error) {
    const text = String(error.message ?? error);
    const status = text.match(/Status code '(\d+)'/);

    return status ? `HTTP status ${status[1]}` : text.slice(0, 100);
}

async function disconnect() {
    const c = connection;

    connection = null;
    people.clear();
    list();
    await c?.stop();
}

const pause = ms => new Promise(resolve => setTimeout(resolve, ms));

// From the database and back: what the connected function wrote down, and a
// pulse that its database sends to this connection alone.

async function event() {
    const id = Math.random().toString(36).slice(2);
    const back = new Promise(resolve => pulses.set(id, resolve));
    const end = Date.now() + patience;
    let start, known;

    for (;;) {
        start = performance.now();
        known = await call(4, 'pulse', {
            method: 'POST',
            json: { connectionId: connection?.connectionId, pulse: id },
        });

        if (!known.bound) {
            throw new Stop(4, 'no function is bound to “connected”');
        }

        if (known.visit || Date.now() > end) {
            break;
        }

        await pause(200);
    }

    if (!known.visit) {
        // Its event is lost; only another connection makes another.
        await disconnect();
        throw new Stop(4, 'the database has not heard of this connection');
    }

    return { id, back: back.then(() => performance.now() - start) };
}

async function push({ id, back }) {
    const ms = await Promise.race([back, pause(patience)]);

    if (ms === undefined && !await call(5, `sent?pulse=${id}`)) {
        throw new Stop(5, 'sent, but no relay takes it on');
    }

    return ms;
}

let acquainted = null;            // the connection whose people we know

async function walk() {
    light(1, 'checking');
    await app();
    light(1, 'ok');

    light(2, 'checking');
    light(2, 'ok', `endpoint ${await negotiate()}`);

    light(3, 'checking');
    await connect();
    light(3, 'ok', `as ${name}`);

    light(4, 'checking');
    const pulse = await event();
    light(4, 'ok');

    try {
        light(5, 'checking');
        const ms = await push(pulse);
        light(5, 'ok');

        if (ms === undefined) {
            throw new Stop(6, 'numbered, but not delivered here');
        }

        light(6, 'ok', `back in ${Math.max(1, Math.round(ms))} ms`);

    } finally {
        pulses.delete(pulse.id);
    }

    if (connection && acquainted !== connection) {
        acquainted = connection;
        await meet();
    }
}

let wake = () => {};

async function run() {
    for (;;) {
        let wait = document.hidden ? 3 * interval : interval;

        try {
            await walk();
            verdict('All six steps work.', 'ok');

        } catch (stop) {
            const step = stop instanceof Stop ? stop.step : 3;

            light(step, 'stopped', stop.message);
            for (let n = step + 1; n <= lights.length; n++) {
                light(n, 'waiting');
            }

            verdict(`Stopped at step ${step}: ${stop.message}. Trying again…`,
                    'stopped');
            wait = retry;
        }

        await Promise.race([pause(wait), new Promise(r => { wake = r; })]);
    }
}


/* --- what one sees ------------------------------------------------------- */

function show(message) {
    const { sender, text } = typeof message === 'object' && message !== null
        ? message : { text: message };
    const log = $('messages');
    const li = document.createElement('li');
    const from = document.createElement('b');
    const body = document.createElement('span');
    const time = document.createElement('time');
    const now = new Date();
    const end = log.scrollHeight - log.scrollTop - log.clientHeight < 40;

    from.textContent = sender ?? 'somebody';
    body.textContent = String(text ?? '');
    time.dateTime = now.toISOString();
    time.textContent = now.toLocaleTimeString();
    li.append(from, ' ', body, ' ', time);
    li.classList.toggle('mine', sender === name);
    log.append(li);

    while (log.childElementCount > 500) {
        log.firstElementChild.remove();
    }

    $('empty').hidden = true;

    if (end) {
        log.scrollTop = log.scrollHeight;
    }
}

function list() {
    const names = new Map();

    for (const [id, who] of people) {
        const seen = names.get(who) ?? { windows: 0, me: false };

        seen.windows++;
        seen.me ||= id === connection?.connectionId;
        names.set(who, seen);
    }

    $('who').replaceChildren(...[...names].map(([who, { windows, me }]) => {
        const li = document.createElement('li');

        li.textContent = who;
        li.classList.toggle('mine', me);

        if (me || windows > 1) {
            const more = document.createElement('small');
            more.textContent = [me && 'you', windows > 1 && `${windows} windows`]
                .filter(Boolean).join(', ');
            li.append(' ', more);
        }

        return li;
    }));

    $('count').textContent = people.size;
}

async function meet() {
    const all = await call(4, 'who');

    people.clear();
    for (const { connectionId, name: who } of all) {
        people.set(connectionId, who);
    }

    list();
}

$('say').addEventListener('submit', async submit => {
    submit.preventDefault();

    const input = $('text');
    const button = submit.target.querySelector('button');
    const text = input.value.trim();

    if (!text) {
        return;
    }

    button.disabled = true;

    try {
        await call(4, 'say', { method: 'POST', json: { text } });
        input.value = '';
        $('trouble').hidden = true;
    } catch (stop) {
        $('trouble').textContent = `Not sent: ${stop.message}.`;
        $('trouble').hidden = false;
    } finally {
        button.disabled = false;
        input.focus();
    }
});

$('rename').addEventListener('submit', async submit => {
    submit.preventDefault();

    const wanted = $('name').value.trim();

    if (wanted && wanted !== name) {
        name = wanted;
        sessionStorage.setItem('name', name);
        await disconnect();
        wake();
    }
});

$('again').addEventListener('click', () => wake());
document.addEventListener('visibilitychange', () => {
    document.hidden || wake();
});

sessionStorage.setItem('name', name);
$('name').value = name;
$('curl').textContent = `curl -H 'Content-Type: application/json' \\
  -d '{"sender":"curl","text":"hi"}' \\
  '${location.origin}/publish/chat?target=newMessage'`;

if (typeof signalR === 'undefined') {
    light(1, 'stopped', 'lib/signalr.min.js is missing');
    verdict('Stopped at step 1: lib/signalr.min.js is missing. '
            + 'util/build fetches it.', 'stopped');
} else {
    run();
}
