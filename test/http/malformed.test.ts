/** Bad input gets a clear error: never a fault of ours, never a token, never a stack. */
import { request } from 'node:http';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { creation, ERP, inAnHour, newKey, startBroker, type TestBroker } from '../support/broker.ts';
import { expectNoInternals, FORM, JSON_TYPE, send } from '../support/raw.ts';

let sortie: TestBroker;
beforeAll(async () => {
  sortie = await startBroker();
});
afterAll(() => sortie.close());

async function refusedForm(form: string | URLSearchParams, error = 'invalid_request') {
  const answer = await send(`${sortie.url}/token`, form, FORM);
  expect(answer.status).toBe(400);
  const body = JSON.parse(answer.text) as { error: string; error_description: string };
  expect(body.error).toBe(error);
  expectNoInternals(answer.text);
  return body;
}

describe('forms', () => {
  test('an unknown parameter is named', async () => {
    const body = await refusedForm(new URLSearchParams({ ...creation('x'), scope: 'all' }));
    expect(body.error_description).toContain('"scope"');
  });

  test('a repeated parameter is named, also where both are equal', async () => {
    const form = new URLSearchParams(creation('x'));
    form.append('resource', ERP);
    expect((await refusedForm(form)).error_description).toContain('"resource"');
  });

  test.each([
    ['none', {}],
    ['JSON', JSON_TYPE],
    ['multipart', { 'content-type': 'multipart/form-data; boundary=x' }],
    ['text', { 'content-type': 'text/plain' }],
  ])('content type %s is refused', async (_name, headers) => {
    const answer = await send(`${sortie.url}/token`, new TextEncoder().encode('grant_type=x'), headers);
    expect(answer.status).toBe(400);
    expect(JSON.parse(answer.text)).toMatchObject({ error: 'invalid_request' });
  });

  test('bytes that are not UTF-8 are refused, plain and percent-encoded', async () => {
    const raw = await send(`${sortie.url}/token`, new Uint8Array([0x61, 0x3d, 0xff, 0xfe]), FORM);
    expect(JSON.parse(raw.text)).toMatchObject({ error: 'invalid_request' });
    await refusedForm('grant_type=%ff%fe');
  });

  test.each([
    ['grant_type missing', { grant_type: '' }, 'invalid_request'],
    ['grant_type unknown', { grant_type: 'client_credentials' }, 'unsupported_grant_type'],
    ['subject_token missing', { subject_token: '' }, 'invalid_request'],
    ['subject_token huge', { subject_token: 'x'.repeat(16_385) }, 'invalid_request'],
    ['subject_token_type unknown', { subject_token_type: 'urn:x' }, 'invalid_request'],
    ['resource missing', { resource: '' }, 'invalid_request'],
    ['resource huge', { resource: `https://${'x'.repeat(3000)}` }, 'invalid_request'],
    ['requested_token_type of another kind', { requested_token_type: 'urn:x' }, 'invalid_request'],
    ['narrowing unknown', { narrowing: 'maybe' }, 'invalid_request'],
    ['mission_id beside mission_intent', { mission_id: 'msn_x' }, 'invalid_request'],
    ['creation_request_id huge', { creation_request_id: 'x'.repeat(129) }, 'invalid_request'],
    ['a delegation beside an intent', { delegation: 'x' }, 'invalid_request'],
    ['child_actor with evidence', { child_actor: '{"sub":"a"}' }, 'invalid_request'],
  ])('%s', async (_name, change, error) => {
    const form = new URLSearchParams({ ...creation('x'), ...change });
    await refusedForm(form, error);
  });

  test('evidence with neither intent nor mission buys nothing: no ungoverned tokens', async () => {
    const { mission_intent: _, ...form } = creation(await sortie.evidence());
    const { status, body } = await sortie.token(await newKey(), form);
    expect([status, body.error, body.access_token]).toEqual([400, 'invalid_request', undefined]);
  });

  test('a body beyond the limit is refused, and the refusal arrives', async () => {
    for (const size of [131_073, 3_000_000]) {
      const answer = await send(`${sortie.url}/token`, `a=${'x'.repeat(size)}`, FORM);
      expect(answer.status).toBe(400);
      expect(JSON.parse(answer.text)).toMatchObject({ error: 'invalid_request' });
    }
  });

  test('a body beyond the limit without a length is refused too', async () => {
    const answer = await new Promise<string>((resolve, reject) => {
      const sent = request(
        `${sortie.url}/token`,
        { method: 'POST', headers: { ...FORM, 'transfer-encoding': 'chunked' } },
        (response) => {
          let text = '';
          response.on('data', (chunk: Buffer) => (text += chunk.toString()));
          response.on('end', () => resolve(`${response.statusCode} ${text}`));
        },
      );
      sent.on('error', reject);
      for (let i = 0; i < 40; i++) sent.write('x'.repeat(8192));
      sent.end();
    });
    expect(answer).toMatch(/^400 .*larger than 131072/);
  });

  test('a compressed body is refused: nothing is unpacked for strangers', async () => {
    const answer = await send(`${sortie.url}/token`, 'x', { ...FORM, 'content-encoding': 'gzip' });
    expect(answer.status).toBe(400);
  });
});

describe('the mission intent', () => {
  const base = { goal: 'g', resources: [ERP], expires_at: inAnHour() };
  test.each([
    ['not JSON', '{'],
    [
      'a repeated key',
      `{"intent":{"goal":"a","goal":"b","resources":["${ERP}"],"expires_at":"${inAnHour()}"}}`,
    ],
    ['a repeated key by another spelling', '{"intent":{"goal":"a","go\\u0061l":"b"}}'],
    ['deep', `{"intent":${'['.repeat(200)}${']'.repeat(200)}}`],
    ['an unknown member', JSON.stringify({ intent: { ...base, authority: 'root' } })],
    ['an unknown member of the envelope', JSON.stringify({ intent: base, extra: 1 })],
    ['no goal', JSON.stringify({ intent: { ...base, goal: undefined } })],
    ['an oversized goal', JSON.stringify({ intent: { ...base, goal: 'x'.repeat(4097) } })],
    ['no resources', JSON.stringify({ intent: { ...base, resources: [] } })],
    ['a resource twice', JSON.stringify({ intent: { ...base, resources: [ERP, ERP] } })],
    ['an end without an offset', JSON.stringify({ intent: { ...base, expires_at: '2030-01-01T00:00:00' } })],
    [
      'an end on a day that is not',
      JSON.stringify({ intent: { ...base, expires_at: '2030-02-30T00:00:00Z' } }),
    ],
    ['an end as a number', JSON.stringify({ intent: { ...base, expires_at: 1_900_000_000 } })],
    ['an end that passed', JSON.stringify({ intent: { ...base, expires_at: '2020-01-01T00:00:00Z' } })],
    ['__proto__', `{"intent":{"__proto__":{"goal":"x"}}}`],
    ['a lone surrogate', '{"intent":{"goal":"\\ud800"}}'],
    ['a text', '"intent"'],
    ['null', 'null'],
    [
      'a resource that is not in it',
      JSON.stringify({ intent: { ...base, resources: ['https://mail.example.com'] } }),
    ],
  ])('%s is invalid_request', async (_name, mission_intent) => {
    const form = creation(await sortie.evidence({ run: crypto.randomUUID() }), { mission_intent });
    const { status, body } = await sortie.token(await newKey(), form);
    expect([status, body.error, body.access_token]).toEqual([400, 'invalid_request', undefined]);
    expectNoInternals(JSON.stringify(body));
  });

  test('evidence inside the envelope has its own error', async () => {
    for (const mission_intent of [
      JSON.stringify({ intent: base, evidence: 'x' }),
      JSON.stringify({ intent: { ...base, evidence: 'x' } }),
    ]) {
      const { body } = await sortie.token(await newKey(), creation('x', { mission_intent }));
      expect(body.error).toBe('invalid_mission_intent_evidence');
    }
  });
});

describe('JSON bodies', () => {
  test.each([
    ['not JSON', '{', JSON_TYPE],
    ['a repeated key', '{"intent":1,"intent":2}', JSON_TYPE],
    ['an unknown member', '{"surprise":1}', JSON_TYPE],
    ['a list', '[]', JSON_TYPE],
    ['deep', `${'['.repeat(5000)}${']'.repeat(5000)}`, JSON_TYPE],
    ['many members', `[${'1,'.repeat(20_000)}1]`, JSON_TYPE],
    ['another content type', '{}', FORM],
    ['huge', `"${'x'.repeat(200_000)}"`, JSON_TYPE],
    ['a number beyond exactness', '{"intent":9007199254740993}', JSON_TYPE],
    ['evidence of an unknown type', '{"evidence":{"type":"x","token":"y"},"intent":{}}', JSON_TYPE],
  ])('%s at /missions is a problem document', async (_name, body, headers) => {
    const answer = await send(`${sortie.url}/missions`, body, headers);
    expect(answer.status).toBe(400);
    expect(answer.headers.get('content-type')).toBe('application/problem+json');
    expect(JSON.parse(answer.text)).toMatchObject({
      type: 'urn:sortie:problem:invalid_request',
      status: 400,
    });
    expectNoInternals(answer.text);
  });
});

describe('requests', () => {
  test('huge headers are refused without an answer from inside', async () => {
    const answer = await new Promise<string>((resolve) => {
      const { hostname, port } = new URL(sortie.url);
      const socket = connect(Number(port), hostname, () =>
        socket.write(`POST /token HTTP/1.1\r\nHost: x\r\nDPoP: ${'x'.repeat(60_000)}\r\n\r\n`),
      );
      let text = '';
      socket.on('data', (chunk: Buffer) => (text += chunk.toString()));
      socket.on('close', () => resolve(text));
      socket.on('error', () => resolve(text));
    });
    expect(answer).toMatch(/^HTTP\/1.1 431 /);
    expectNoInternals(answer);
  });

  test.each([
    ['GET', '/token'],
    ['PUT', '/token'],
    ['GET', '/nowhere'],
    ['GET', '/%ff'],
    ['GET', '/status-lists/%E0%A4%A'],
    ['GET', '/missions/a/b'],
    ['POST', '//token'],
    ['GET', '/admin/v1/missions/../tokens'],
    ['DELETE', '/jwks'],
    ['POST', '/TOKEN'],
    ['POST', '/Revoke'],
  ])('%s %s finds nothing and shows nothing', async (method, path) => {
    const response = await fetch(`${sortie.url}${path}`, { method });
    const text = await response.text();
    expect([400, 401, 404]).toContain(response.status);
    expect(response.headers.get('x-powered-by')).toBeNull();
    expectNoInternals(text);
  });
});
