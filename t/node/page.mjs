// Copyright (C) The nginx-broadcast authors
//
// The quickstart page: what two windows show when somebody speaks, and where
// they stop when a step of the way is cut.
//
// BASE    the demo's URL
// STATE   its state folder
// TOP     the checkout

import { execFileSync } from 'node:child_process';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { chromium } from 'playwright-core';

import { diag, is, like, ok, run, until } from './tap.mjs';

const { BASE, STATE, TOP } = process.env;

const flags = [ '--no-sandbox', '--disable-gpu', '--disable-quic',
    '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync' ];

const seconds = 30;


function psql(sql) {
    return execFileSync('psql', [ '-XAtq', '-v', 'ON_ERROR_STOP=1',
        '-h', `${STATE}/run`, '-U', 'broadcast', '-d', 'app', '-c', sql ],
        { encoding: 'utf8' }).trim();
}

function postgres(...words) {
    const root = process.getuid() === 0;
    const bin = execFileSync('pg_config', [ '--bindir' ],
                             { encoding: 'utf8' }).trim();
    const command = [ `${bin}/pg_ctl`, '-D', `${STATE}/data`, '-w', '-s',
                      '-l', `${STATE}/postgres.log`, ...words ];

    if (root) {
        command.unshift('setpriv', '--reuid', 'postgres', '--regid',
                        'postgres', '--init-groups');
    }

    execFileSync(command[0], command.slice(1), { cwd: '/', stdio: 'ignore' });
}

// Puts something else into nginx.conf and reloads.

const conf = `${STATE}/nginx.conf`;

function reload(from, to) {
    const text = readFileSync(conf, 'utf8');

    if (!text.includes(from)) {
        throw new Error(`nginx.conf has no ${from}`);
    }

    writeFileSync(conf, text.replace(from, to));
    process.kill(Number(readFileSync(`${STATE}/nginx.pid`, 'utf8')), 'SIGHUP');
}


async function open(browser, name, options = {}) {
    const context = await browser.newContext(options);
    const page = await context.newPage();

    page.on('pageerror', error => {
        ok(false, `${name}: no script error`);
        diag(error.stack);
    });

    await page.goto(`${BASE}/?name=${name}`);
    return page;
}

const verdict = page => page.textContent('#verdict');

async function well(page, name) {
    const good = await until(async () =>
        await page.getAttribute('#verdict', 'data-state') === 'ok', seconds);

    if (!ok(good, name)) {
        diag(await verdict(page));
    }
}

// The lights, as a word like "ok ok ok stopped waiting waiting".

async function lights(page) {
    const states = await page.$$eval('#steps li',
        all => all.map(li => li.dataset.state));

    return states.join(' ');
}

// Cuts, waits until the page has stopped at that step, mends, waits until it
// is well again.

async function stops(page, step, name, { cut, mend, reason }) {
    const expected = Array.from({ length: 6 }, (_, n) =>
        n + 1 < step ? 'ok' : n + 1 === step ? 'stopped' : 'waiting').join(' ');

    await cut();

    let seen;
    await until(async () => (seen = await lights(page)) === expected, seconds);
    is(seen, expected, `step ${step}, ${name}: the page stops there`);
    like(await verdict(page), reason, `step ${step}, ${name}: it says why`);

    await mend();
    await well(page, `step ${step}, ${name}: mended, the page goes on`);
}

// True if a page shows a message soon.

async function shows(page, sender, text, name) {
    const seen = await until(() => page.$$eval('#messages li',
        (all, [ s, t ]) => all.some(li =>
            li.querySelector('b').textContent === s
            && li.querySelector('span').textContent === t),
        [ sender, text ]), seconds);

    ok(seen, name);
}


await run(async () => {
    const browser = await chromium.launch({
        executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
        args: flags,
    });

    reload('broadcast_zone ', 'broadcast_drain 1s;\n    broadcast_zone ');

    const ann = await open(browser, 'ann');
    const bob = await open(browser, 'bob', {
        viewport: { width: 390, height: 844 }, colorScheme: 'dark',
        hasTouch: true, isMobile: true });

    await well(ann, 'ann: all six steps work');
    await well(bob, 'bob: all six steps work, on a phone');

    const names = page => page.$$eval('#who li',
        all => all.map(li => li.firstChild.textContent).sort().join(' '));

    for (const [ page, name ] of [ [ ann, 'ann' ], [ bob, 'bob' ] ]) {
        is(await until(async () => await names(page) === 'ann bob'
                                   && 'ann bob', seconds),
           'ann bob', `${name} sees who is connected`);
    }

    const wide = await bob.evaluate(() =>
        document.documentElement.scrollWidth - innerWidth);
    ok(wide <= 0, 'on a phone nothing is cut off at the side');

    // every source reaches both

    psql(`select broadcast.send_all('chat', 'newMessage',
          '[{"sender":"psql","text":"hi"}]')`);
    await shows(ann, 'psql', 'hi', 'ann gets what psql sends');
    await shows(bob, 'psql', 'hi', 'bob gets what psql sends');

    psql(`insert into chat_message (sender, text) values ('row', 'inserted')`);
    await shows(ann, 'row', 'inserted', 'ann gets an inserted row');
    await shows(bob, 'row', 'inserted', 'bob gets an inserted row');

    const published = await fetch(`${BASE}/publish/chat?target=newMessage`, {
        method: 'POST', headers: { 'Content-Type': 'application/json' },
        body: '{"sender":"curl","text":"hi"}' });
    is(published.status, 200, 'a publish over HTTP is taken');
    await shows(ann, 'curl', 'hi', 'ann gets what curl publishes');
    await shows(bob, 'curl', 'hi', 'bob gets what curl publishes');

    await ann.fill('#text', 'hello <b>bob</b>');
    await ann.press('#text', 'Enter');
    await shows(ann, 'ann', 'hello <b>bob</b>', 'ann sees what she says');
    await shows(bob, 'ann', 'hello <b>bob</b>', 'bob sees what ann says');
    is(psql(`select text from chat_message where sender = 'ann'`),
       'hello <b>bob</b>', 'what ann says is a row');

    // who leaves and comes under another name

    await bob.fill('#name', 'robert');
    await bob.press('#name', 'Enter');
    is(await until(async () => await names(ann) === 'ann robert'
                               && 'ann robert', seconds),
       'ann robert', 'ann sees that bob has another name');

    await bob.close();
    is(await until(async () => await names(ann) === 'ann' && 'ann', seconds),
       'ann', 'ann sees that bob has left');

    // each step cut

    const page = `${STATE}/html/index.html`;

    await stops(ann, 1, 'page removed', {
        cut: () => renameSync(page, `${page}.away`),
        mend: () => renameSync(`${page}.away`, page),
        reason: /the page is gone/,
    });

    const token = 'broadcast_negotiate hub=chat user=$arg_user;';

    await stops(ann, 2, 'negotiate away', {
        cut: () => reload(token, 'return 404;'),
        mend: () => reload('return 404;', token),
        reason: /no token: HTTP status 404/,
    });

    await stops(ann, 3, 'hub away', {
        cut: () => reload('broadcast_hub;', 'return 404;'),
        mend: () => reload('return 404;', 'broadcast_hub;'),
        reason: /no connection: HTTP status 404/,
    });

    await stops(ann, 4, 'function not bound', {
        cut: () => psql(`select broadcast.unbind('connected',
                                                 'chat_connected')`),
        mend: () => psql(`select broadcast.bind('connected', 'chat_connected',
                                                'chat')`),
        reason: /no function is bound to .connected./,
    });

    await stops(ann, 4, 'function dropped', {
        cut: () => psql('drop function chat_connected(jsonb)'),
        mend: () => execFileSync('psql', [ '-Xq', '-h', `${STATE}/run`,
            '-U', 'broadcast', '-d', 'app',
            '-f', `${TOP}/conf-examples/demo.sql` ]),
        reason: /no function is bound to .connected./,
    });

    await stops(ann, 4, 'database stopped', {
        cut: () => postgres('stop', '-m', 'fast'),
        mend: () => postgres('start'),
        reason: /the database is away/,
    });

    await stops(ann, 5, 'relay stopped', {
        cut: () => psql(`alter function broadcast.sequence(int)
                         rename to sequence_away;
                         alter function broadcast.sequence_read(int)
                         rename to sequence_read_away`),
        mend: () => psql(`alter function broadcast.sequence_away(int)
                          rename to sequence;
                          alter function broadcast.sequence_read_away(int)
                          rename to sequence_read`),
        reason: /no relay takes it on/,
    });

    // the relay numbers, but reads nothing that it could hand to the workers
    const read = psql(`select pg_get_functiondef(
                           'broadcast.read(bigint, int)'::regprocedure)`);
    const numbers = psql(`select pg_get_functiondef(
                           'broadcast.sequence_read(int)'::regprocedure)`);

    await stops(ann, 6, 'delivery stopped', {
        cut: () => psql(`${read.replace('LIMIT $2', 'LIMIT 0')};
            alter function broadcast.sequence_read(int)
            rename to sequence_unread;
            ${numbers.replace(/AS \$function\$.*\$function\$/s, () =>
                `AS 'begin
                    perform from broadcast.sequence_unread(lim);
                end'`)}`),
        mend: () => psql(`${read};
            drop function broadcast.sequence_read(int);
            alter function broadcast.sequence_unread(int)
            rename to sequence_read`),
        reason: /not delivered here/,
    });

    psql(`select broadcast.send_all('chat', 'newMessage',
          '[{"sender":"psql","text":"still here"}]')`);
    await shows(ann, 'psql', 'still here', 'after all that, ann gets psql');

    await browser.close();
});
