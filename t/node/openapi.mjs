// Copyright (C) The nginx-broadcast authors
//
// The description of the REST API, html/openapi.json, against a running server;
// t/http_openapi.t starts it.  What is described is done with a client that is
// connected, and must answer as described; what is not is refused.
//
//     BASE       http://127.0.0.1:port
//     KEY        the secret of broadcast_key

import { createHmac } from 'node:crypto';
import * as signalR from '@microsoft/signalr';
import Ajv from 'ajv/dist/2020.js';
import { Validator } from '@seriousme/openapi-schema-validator';

import { ok, is, diag, until, run } from './tap.mjs';

const { BASE, KEY } = process.env;

const verbs = ['get', 'head', 'post', 'put', 'delete', 'patch'];
const quiet = { log() {} };

function token(aud) {
    const text = value => Buffer.from(JSON.stringify(value))
                                .toString('base64url');
    const body = text({ alg: 'HS256', typ: 'JWT' }) + '.'
               + text({ aud, exp: Math.floor(Date.now() / 1000) + 60 });
    return body + '.' + createHmac('sha256', KEY).update(body)
                                                 .digest('base64url');
}


// --- the client that the operations are about ----------------------------------

let connection;

function rest(method, path) {
    const headers = { authorization: `Bearer ${token(BASE + path)}` };
    return fetch(`${BASE}${path}?api-version=1`, { method, headers });
}

// connected, as ann, and in the group

async function ready() {
    const group = '/api/hubs/chat/users/ann/groups/readers';
    await rest('PUT', group);

    if (connection?.state !== signalR.HubConnectionState.Connected) {
        connection = new signalR.HubConnectionBuilder()
            .withUrl(`${BASE}/api?user=ann`).configureLogging(quiet).build();
        connection.on('newMessage', () => 'read');
        await connection.start();
    }

    const path = `/api/hubs/chat/groups/readers`;
    const member = `${path}/connections/${connection.connectionId}`;
    await rest('PUT', member);

    return until(async () =>
        (await rest('HEAD', path)).status === 200
        && (await rest('HEAD', group)).status === 200);
}

// after what ends it, until it has seen so

async function settled(operation) {
    if (/Close|Connection_Delete/.test(operation.operationId)) {
        await until(() =>
            connection.state === signalR.HubConnectionState.Disconnected, 5);
    }
}


// --- the document ----------------------------------------------------------------

let doc;

const find = pointer => pointer.slice(2).split('/')
    .reduce((at, key) => at?.[key.replace(/~1/g, '/').replace(/~0/g, '~')],
            doc);

const deref = value => value?.$ref ? find(value.$ref) : value;

// every $ref names something

function dangling(value) {
    if (value === null || typeof value !== 'object') return [];
    return Object.entries(value).flatMap(([key, v]) =>
        key === '$ref' ? find(v) ? [] : [v] : dangling(v));
}

function parameters(operation, where) {
    return (operation.parameters ?? []).map(deref).filter(p => p.in === where);
}

function requestPath(path, operation) {
    const value = p => p.name === 'connectionId' ? connection.connectionId
                                                 : p.example;
    return parameters(operation, 'path').reduce((text, p) =>
        text.replace(`{${p.name}}`, encodeURIComponent(value(p))), path);
}

function requestQuery(operation) {
    return new URLSearchParams(parameters(operation, 'query')
        .filter(p => p.example !== undefined)
        .map(p => [p.name, p.example])).toString();
}

// MessagePack by hand: a message, and one that is encoded for each protocol

const json = Buffer.from('{"type":1,"target":"t","arguments":[1]}\x1e');

const packed = {
    'application/x-msgpack':
        Buffer.from('\x82\xa6target\xa1t\xa9arguments\x91\x01', 'latin1'),
    'application/octet-stream':
        Buffer.concat([Buffer.from('\x81\xa4json\xc4', 'latin1'),
                       Buffer.from([json.length]), json]),
};

// [ content type, body ] of each body that may be sent

function bodies(operation) {
    const content = Object.entries(operation.requestBody?.content ?? {});
    if (!content.length) return [[undefined, undefined]];

    return content.map(([type, media]) => {
        if (packed[type]) return [type, packed[type]];
        const example = media.example ?? deref(media.schema).examples[0];
        return [type, type === 'application/json' ? JSON.stringify(example)
                                                  : example];
    });
}

function authorization(operation, path) {
    const [scheme] = operation.security ?? doc.security;
    if (!scheme) return {};
    const aud = scheme.rest ? BASE + path : `${BASE}/client/?hub=chat`;
    return { authorization: `Bearer ${token(aud)}` };
}


// --- what a response may be --------------------------------------------------------

const ajv = new Ajv({ strict: false, validateFormats: false });

async function described(verb, operation, response, name) {
    const as = deref(operation.responses[response.status]);
    const text = await response.text();

    if (!ok(as, `${name}: ${response.status} is described`)) {
        diag(text);
        return;
    }

    for (const [header, { schema }] of Object.entries(as.headers ?? {})) {
        const got = response.headers.get(header);
        if (got === null || schema.const && schema.const !== got) {
            ok(false, `${name}: ${header} is ${got}`);
        }
    }

    if (verb === 'head') return;

    const media = as.content?.['application/json'];

    if (!media) {
        if (text) ok(false, `${name}: no body is described, has ${text}`);
        return;
    }

    // lines are answered, a single message is not

    if (!text && response.status === 202 && !name.includes('x-ndjson')) return;

    const pointer = schema => ({ $ref: `doc${schema.$ref ?? ''}` });
    const schema = JSON.parse(JSON.stringify(media.schema),
        (key, v) => v?.$ref ? pointer(v) : v);
    const fits = ajv.compile(schema);

    if (!fits(JSON.parse(text))) {
        ok(false, `${name}: the body is as described`);
        diag(text);
        diag(ajv.errorsText(fits.errors));
    }
}


run(async () => {

    const file = await fetch(`${BASE}/openapi.json`);
    is(file.status, 200, 'the description is served');

    doc = await file.json();

    const validator = new Validator();
    const result = await validator.validate(structuredClone(doc));

    is(validator.version, '3.1', 'it is of OpenAPI 3.1');
    if (!ok(result.valid, '... and right')) {
        diag(JSON.stringify(result.errors, null, 1));
    }

    is(dangling(doc), [], 'every $ref names something');

    ajv.addSchema(doc, 'doc');

    const all = Object.entries(doc.paths).flatMap(([path, item]) =>
        Object.entries(item).map(([verb, o]) => ({ path, verb, o })));

    const ids = all.map(({ o }) => o.operationId);
    is(ids.length - new Set(ids).size, 0, 'operations have names of their own');

    is(all.filter(({ path, o }) =>
           JSON.stringify(path.match(/(?<=\{)\w+(?=\})/g) ?? [])
           !== JSON.stringify(parameters(o, 'path').map(p => p.name)))
          .map(({ o }) => o.operationId), [],
       'each has the parameters of its path');

    is(all.filter(({ path, o }) => path.startsWith('/api/hubs/')
           !== parameters(o, 'query').some(p => p.name === 'api-version'
                                                && p.required))
          .map(({ o }) => o.operationId).filter(id => id !== 'AccessKey'), [],
       'the newer family wants an api-version, the older one none');

    for (const { path, verb, o } of all) {
        for (const [type, body] of bodies(o)) {
            const name = `${verb.toUpperCase()} ${path}` + (type ? ` ${type}` : '');

            if (!await ready()) {
                ok(false, `${name}: the client is there`);
                return;
            }

            const at = requestPath(path, o);
            const query = requestQuery(o);
            const send = headers => fetch(`${BASE}${at}?${query}`, {
                method: verb.toUpperCase(), body,
                headers: { ...headers, ...(type ? { 'content-type': type } : {}) },
            });

            const response = await send(authorization(o, at));
            const success = Object.keys(o.responses)
                .find(s => s.startsWith('2')) ?? '403';

            is(`${response.status}`, success, name);
            await described(verb, o, response, name);

            if ((o.security ?? doc.security).length) {
                const refused = await send({});
                is(refused.status, 401, `${name}: not without a token`);
                await described(verb, o, refused, name);
            }

            await settled(o);
        }
    }

    for (const [path, item] of Object.entries(doc.paths)) {
        const some = Object.values(item)[0];
        const wrong = [];

        for (const verb of verbs.filter(v => !item[v])) {
            await ready();
            const at = requestPath(path, some);
            const { status } = await fetch(
                `${BASE}${at}?${requestQuery(some)}`,
                { method: verb.toUpperCase(),
                  headers: authorization(some, at) });
            if (status !== 404 && status !== 405) wrong.push(`${verb} ${status}`);
        }

        is(wrong, [], `${path} takes no other method`);
    }

    await connection.stop();
});
