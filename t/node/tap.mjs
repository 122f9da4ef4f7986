// Copyright (C) The nginx-broadcast authors
//
// The Test Anything Protocol for programs with promises: checks, waits with a
// deadline, and an end that never hangs.

import { createInterface } from 'node:readline';

let count = 0, failed = 0;

export function ok(value, name) {
    count++;
    if (!value) failed++;
    console.log(`${value ? 'ok' : 'not ok'} ${count} - ${name}`);
    return Boolean(value);
}

export function is(got, expected, name) {
    const a = JSON.stringify(got), b = JSON.stringify(expected);
    if (!ok(a === b, name)) diag(`got ${a}, expected ${b}`);
}

export function like(got, pattern, name) {
    if (!ok(pattern.test(String(got)), name)) diag(`got ${got}, wants ${pattern}`);
}

export function diag(words) {
    console.log(String(words).replace(/^/gm, '# '));
}

// The first true value of `condition`, or undefined at the deadline, which is
// 30 s or later: what is not reached costs nothing.  What it throws is no value: a
// kept connection may be closed, by a worker that exits, while fetch() uses it.

export async function until(condition, seconds = 30) {
    const end = Date.now() + Math.max(seconds, 30) * 1000;

    for (;;) {
        let error;
        const value = await Promise.resolve().then(condition)
                                   .catch(e => { error = e; });
        if (value) return value;
        if (Date.now() > end) {
            if (error) throw error;
            return undefined;
        }
        await new Promise(wake => setTimeout(wake, 20));
    }
}

// Has the caller of the program do something, Broadcast::Node; its answer.

const answers = [];
let lines;

export async function act(name) {
    lines ??= createInterface({ input: process.stdin })
        .on('line', line => answers.shift()(line));
    const answer = new Promise(done => answers.push(done));
    console.log(`# act ${name}`);
    return answer;
}

export async function rejects(promise, pattern, name) {
    try {
        await promise;
        ok(false, name);
        diag('it was fulfilled');
    } catch (error) {
        like(error.message, pattern, name);
    }
}

export async function run(main) {
    const guard = setTimeout(() => {
        console.log('Bail out! no end after 300 s');
        process.exit(1);
    }, 300000);

    try {
        await main();
    } catch (error) {
        ok(false, 'the program runs to its end');
        diag(error.stack);
    }

    clearTimeout(guard);
    console.log(`1..${count}`);
    process.exit(failed ? 1 : 0);
}
