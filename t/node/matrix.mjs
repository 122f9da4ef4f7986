// Copyright (C) The nginx-broadcast authors
//
// A client of the kill matrix: the official one, with the pattern of README.md
// to go on from its position; t/lib/Broadcast/Matrix.pm starts it.
//
//     BASE       http://127.0.0.1:port
//     HUB        the hub
//     POSITION   where it begins
//     TRANSPORT  1 WebSocket, 2 SSE
//     JOURNAL    a file; its lines are those of Broadcast::Matrix::Client

import { appendFileSync } from 'node:fs';
import * as signalR from '@microsoft/signalr';

const { BASE, HUB, JOURNAL } = process.env;

let position = process.env.POSITION || undefined;
let moved = false, open = false;

function note(...words) {
    const line = [(Date.now() / 1000).toFixed(3),
                  ...words.filter(word => word !== undefined)];
    appendFileSync(JOURNAL, line.join(' ') + '\n');
}

function url() {
    const query = new URLSearchParams({ hub: HUB });
    if (position) query.set('position', position);
    return `${BASE}/client?${query}`;
}

// Messages may come in one piece with the handshake's answer, before anybody is
// told of that; also of a connection that breaks off then, for which the next
// try must not begin where it began.  A position that never moved is none: the
// server does not tell it, or nothing came yet.

function opened() {
    if (!open) note('open', moved ? position : undefined);
    open = true;
}

function connect() {
    const connection = new signalR.HubConnectionBuilder()
        .withUrl(url(), { transport: Number(process.env.TRANSPORT) })
        .configureLogging({ log() {} })
        .withAutomaticReconnect({ nextRetryDelayInMilliseconds: () => 100 })
        .build();

    connection.on('m', word => {
        opened();
        note('message', '-', word);
    });

    connection.on('broadcast.position', p => {
        opened();
        position = p;
        moved = true;
        note('position', p);
        if (connection.state === 'Reconnecting') connection.baseUrl = url();
    });

    // `requested` and `oldest` say what is missing, the next position where it
    // goes on

    connection.on('broadcast.gap', () => {
        opened();
        note('gap', '-');
    });

    connection.onreconnecting(error => {
        open = false;
        note('end', /Server returned an error on close/.test(error?.message)
                    ? 'reconnect' : 'cut');
        connection.baseUrl = url();
    });

    connection.onreconnected(opened);
    connection.onclose(error => note('end', 'over', error?.message));

    return connection;
}

async function start() {
    const connection = connect();

    for (;;) {
        try {
            await connection.start();
            opened();
            break;
        } catch {
            open = false;
            await new Promise(wake => setTimeout(wake, 100));
            connection.baseUrl = url();
        }
    }
}

// The official client overlooks that a connection breaks off while the first
// ping behind the handshake is under way: it says Connected, for ever, without
// a connection and without a timer.  So there is nothing left to wait for.

process.on('beforeExit', () => {
    open = false;
    note('end', 'cut');
    start();
});

await start();
