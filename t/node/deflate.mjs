// Copyright (C) The nginx-broadcast authors
//
// The ws package's permessage-deflate against broadcast_echo, with all windows
// and with and without context takeover offered; t/transport_deflate.t starts
// the server.
//
//     BASE     ws://127.0.0.1:port

import WebSocket from 'ws';

import { ok, is, until, run } from './tap.mjs';

const { BASE } = process.env;
const sizes = [ 0, 16, 127, 128, 1024, 4096, 65535, 65536, 131072 ];

function message(n, binary) {
    const text = 'Lorem ipsum dolor sit amet, consetetur. '.repeat(n / 40 + 1)
        .slice(0, n);
    return binary ? Buffer.from(text) : text;
}

async function echo(name, options) {
    const ws = new WebSocket(BASE + '/echo', { perMessageDeflate: options });
    const got = [];
    let error;

    ws.on('message', (data, binary) => got.push([ data.toString(), binary ]));
    ws.on('error', e => { error = e; });

    await until(() => ws.readyState === WebSocket.OPEN || error);

    if (error) {
        ok(false, `${name}: connected (${error.message})`);
        return;
    }

    is(ws.extensions, options === false ? '' : 'permessage-deflate',
       `${name}: the extension`);

    const want = [];

    for (const n of sizes) {
        for (const binary of [ false, true ]) {
            want.push([ message(n).toString(), binary ]);
            ws.send(message(n, binary), { binary });
        }
    }

    // in fragments, which this client compresses as one message

    for (let i = 0; i < 4; i++) ws.send(message(2000), { fin: i === 3 });
    want.push([ message(2000).repeat(4), false ]);

    await until(() => got.length >= want.length || error);

    ok(!error, `${name}: no error${error ? ' but ' + error.message : ''}`);
    ok(JSON.stringify(got) === JSON.stringify(want),
       `${name}: ${want.length} messages come back`);

    let closed;
    ws.on('close', (code, reason) => { closed = [ code, reason.toString() ]; });
    ws.close(3000, 'done');
    await until(() => closed);
    is(closed, [ 3000, '' ], `${name}: closed`);
}

run(async () => {
    await echo('off', false);
    await echo('defaults', true);
    await echo('threshold 0', { threshold: 0 });

    for (let bits = 9; bits <= 15; bits++) {
        await echo(`windows of ${bits}`, { threshold: 0,
            serverMaxWindowBits: bits, clientMaxWindowBits: bits });
    }

    await echo('a small window of the server', { threshold: 0,
        serverMaxWindowBits: 9 });
    await echo('a small window of the client', { threshold: 0,
        clientMaxWindowBits: 9 });
    await echo('no takeover asked for', { threshold: 0,
        serverNoContextTakeover: true, clientNoContextTakeover: true });
    await echo('takeover by the server asked for', { threshold: 0,
        serverNoContextTakeover: false });
    await echo('no takeover, windows of 9', { threshold: 0,
        serverNoContextTakeover: true, clientNoContextTakeover: true,
        serverMaxWindowBits: 9, clientMaxWindowBits: 9 });
});
