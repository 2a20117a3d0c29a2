/** The local servers of a run, as another process on this machine, or a page in a browser, would try them. */
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { answerJson, type LocalServer, startLocalServer } from '../../src/delivery/local-server.ts';
import { get, raw } from './raw.ts';

const seen: string[] = [];
const faults: string[] = [];
const options = {
  socket: null,
  secret_in_path: false,
  fault: (why: string) => void faults.push(why),
  handle: async ({ target }: { target: string }, response: Parameters<typeof answerJson>[0]) => {
    seen.push(target);
    if (target === '/fails') throw new Error('with eyJhbGciOiJFUzI1NiJ9abcdefghij in it');
    answerJson(response, 200, { ok: true });
  },
};
const folder = mkdtempSync(join(tmpdir(), 'sortie-local-'));
let plain: LocalServer;
let in_path: LocalServer;
let socket: LocalServer;
beforeAll(async () => {
  plain = await startLocalServer(options);
  in_path = await startLocalServer({ ...options, secret_in_path: true });
  socket = await startLocalServer({ ...options, socket: join(folder, 's') });
});
afterAll(async () => {
  await Promise.all([plain, in_path, socket].map((server) => server.close()));
  rmSync(folder, { recursive: true });
});
const hostOf = (server: LocalServer) => new URL(server.address).host;

describe('whoever knows the secret and asks at the right place', () => {
  test.each([
    ['bare, as the container endpoint has it', (secret: string) => secret],
    ['as a bearer token', (secret: string) => `Bearer ${secret}`],
    ['as a basic password', (secret: string) => `Basic ${Buffer.from(`x:${secret}`).toString('base64')}`],
  ])('is let in: %s', async (_, form) => {
    const headers = { host: hostOf(plain), authorization: form(plain.secret) };
    expect((await raw(plain.address, get('/a', headers))).status).toBe(200);
  });

  test('is let in by the path where that was asked for, and the secret is not passed on', async () => {
    const answer = await raw(in_path.address, get(`/${in_path.secret}/a?b`, { host: hostOf(in_path) }));
    expect(answer.status).toBe(200);
    expect(seen.at(-1)).toBe('/a?b');
    const other = await raw(plain.address, get(`/${plain.secret}/a`, { host: hostOf(plain) }));
    expect(other.status).toBe(403);
  });

  test('on a Unix socket is whoever may open it: this user', async () => {
    expect(statSync(socket.address).mode & 0o777).toBe(0o600);
    expect((await raw(socket.address, get('/a', { host: 'x' }))).status).toBe(200);
  });
});

describe('everybody else gets one and the same answer', () => {
  const cases: [string, string, (server: LocalServer) => Record<string, string | string[]>][] = [
    ['no secret', '/a', (server) => ({ host: hostOf(server) })],
    ['a wrong secret', '/a', (server) => ({ host: hostOf(server), authorization: 'wrong' })],
    [
      'a part of the secret',
      '/a',
      (server) => ({ host: hostOf(server), authorization: server.secret.slice(0, -1) }),
    ],
    ['an empty secret', '/a', (server) => ({ host: hostOf(server), authorization: 'Bearer ' })],
    [
      'the secret of another server',
      '/a',
      (server) => ({ host: hostOf(server), authorization: in_path.secret }),
    ],
    [
      'two authorizations',
      '/a',
      (server) => ({ host: hostOf(server), authorization: ['wrong', server.secret] }),
    ],
    [
      'a foreign Host (DNS rebinding)',
      '/a',
      (server) => ({ host: 'evil.example', authorization: server.secret }),
    ],
    [
      'localhost, which a page can be served from',
      '/a',
      (server) => ({ host: hostOf(server).replace('127.0.0.1', 'localhost'), authorization: server.secret }),
    ],
    ['another port', '/a', (server) => ({ host: '127.0.0.1:1', authorization: server.secret })],
    [
      'two Hosts',
      '/a',
      (server) => ({ host: [hostOf(server), 'evil.example'], authorization: server.secret }),
    ],
    [
      'a page of a browser',
      '/a',
      (server) => ({ host: hostOf(server), authorization: server.secret, origin: 'https://evil.example' }),
    ],
    [
      'a proxy request',
      'http://evil.example/a',
      (server) => ({ host: hostOf(server), authorization: server.secret }),
    ],
    ['an asterisk', '*', (server) => ({ host: hostOf(server), authorization: server.secret })],
  ];
  test.each(cases)('%s', async (_, target, headers) => {
    const before = seen.length;
    const reference = await raw(plain.address, get('/nothing', { host: hostOf(plain) }));
    const answer = await raw(plain.address, get(target, headers(plain)));
    const undated = ({ head }: { head: string }) =>
      head.split('\r\n').filter((line) => !line.startsWith('Date:'));
    expect(answer.status).toBe(403);
    expect(answer.body).toBe('{"error":"forbidden"}');
    expect(undated(answer)).toEqual(undated(reference));
    expect(seen.length).toBe(before);
  });
});

describe('what two readers of a request would read differently', () => {
  const authorized = () => `host: ${hostOf(plain)}\r\nauthorization: ${plain.secret}\r\n`;
  test.each([
    ['two lengths', 'content-length: 1\r\ncontent-length: 2\r\n\r\nab'],
    ['a length and chunks', 'content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['chunks named twice', 'transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n'],
    ['a header that goes on in the next line', 'x-a: b\r\n c: d\r\n\r\n'],
    ['a space before the colon', 'x-a : b\r\n\r\n'],
    ['a bare carriage return in a value', 'x-a: b\rc: d\r\n\r\n'],
    ['a zero byte', 'x-a: b\0c\r\n\r\n'],
  ])('is refused: %s', async (_, rest) => {
    const before = seen.length;
    const answer = await raw(plain.address, `POST /a HTTP/1.1\r\n${authorized()}${rest}`);
    expect(answer.status).toBe(400);
    expect(seen.length).toBe(before);
  });

  test('is refused: no Host at all', async () => {
    const answer = await raw(plain.address, `GET /a HTTP/1.1\r\nauthorization: ${plain.secret}\r\n\r\n`);
    expect(answer.status).toBe(400);
  });
});

test('a fault is told without what it holds', async () => {
  const answer = await raw(
    plain.address,
    get('/fails', { host: hostOf(plain), authorization: plain.secret }),
  );
  expect(answer.status).toBe(502);
  expect(answer.body).toBe('{"error":"failed"}');
  expect(faults.at(-1)).toBe('Error: with [redacted] in it');
});
