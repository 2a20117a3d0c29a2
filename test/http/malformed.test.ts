/** Bad input gets a clear error: never a fault of ours, never a token, never a stack. */
import { request } from 'node:http';
import { connect } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { creation, ERP, inAnHour, intent, newKey, startBroker, type TestBroker } from '../support/broker.ts';

let sortie: TestBroker;
beforeAll(async () => {
  sortie = await startBroker();
});
afterAll(() => sortie.close());

async function send(
  path: string,
  body: string | Uint8Array<ArrayBuffer> | URLSearchParams,
  headers: Record<string, string> = {},
  method = 'POST',
) {
  const response = await fetch(`${sortie.url}${path}`, { method, headers, body });
  const text = await response.text();
  return { status: response.status, text, headers: response.headers };
}

const FORM = { 'content-type': 'application/x-www-form-urlencoded' };
const JSON_TYPE = { 'content-type': 'application/json' };

/** What no answer may ever show. */
function expectNoInternals(text: string): void {
  expect(text).not.toMatch(/\n\s+at |node_modules|node:internal|\.ts\b|SQLITE|Error:|\/work\/|\/tmp\//);
}

async function refusedForm(form: string | URLSearchParams, error = 'invalid_request') {
  const answer = await send('/token', form, FORM);
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
    const answer = await send('/token', new TextEncoder().encode('grant_type=x'), headers);
    expect(answer.status).toBe(400);
    expect(JSON.parse(answer.text)).toMatchObject({ error: 'invalid_request' });
  });

  test('bytes that are not UTF-8 are refused, plain and percent-encoded', async () => {
    const raw = await send('/token', new Uint8Array([0x61, 0x3d, 0xff, 0xfe]), FORM);
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
    ['delegation', { delegation: 'x' }, 'access_denied'],
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
      const answer = await send('/token', `a=${'x'.repeat(size)}`, FORM);
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
    const answer = await send('/token', 'x', { ...FORM, 'content-encoding': 'gzip' });
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
    const answer = await send('/missions', body, headers);
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

describe('anything at all', () => {
  const word = fc.oneof(
    fc.string({ maxLength: 30 }),
    fc.string({ unit: 'binary', maxLength: 30 }),
    fc.constantFrom(...Object.values(creation('x')), ERP, 'null', '[]', '{}', '[{}]', '{"intent":{}}'),
    fc.json({ maxDepth: 3 }),
  );
  const names = fc.constantFrom(
    'grant_type subject_token subject_token_type mission_intent mission_id authorization_details resource template_id creation_request_id narrowing child_actor delegation client_id requested_token_type'.split(
      ' ',
    ),
  );
  const name = names.chain((known) =>
    fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...known) }, { weight: 1, arbitrary: fc.string() }),
  );

  test('never makes /token fault, mint or tell', async () => {
    const key = await newKey();
    await sortie.token(key, creation('x'));
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(name, word), { maxLength: 12 }),
        fc.boolean(),
        async (pairs, whole) => {
          const form = new URLSearchParams(pairs);
          // Half of them are good requests with one thing changed, and a good proof: they get far.
          if (whole) {
            const good = new URLSearchParams(creation('e30.e30.AA'));
            for (const [changed, value] of pairs.slice(0, 1)) good.set(changed, value);
            for (const known of [...form.keys()]) form.delete(known);
            for (const [known, value] of good) form.set(known, value);
          }
          const answer = await send('/token', form, {
            dpop: await sortie.proof(key, 'POST', `${sortie.url}/token`),
          });
          expect(answer.status).toBe(400);
          expect(answer.text).not.toContain('"access_token"');
          expectNoInternals(answer.text);
        },
      ),
      { numRuns: 150, seed: 4 },
    );
  });

  test('attested agents asking for anything never make it fault', async () => {
    const key = await newKey();
    const evidence = await sortie.evidence({ run: 'fuzz' });
    await fc.assert(
      fc.asyncProperty(
        fc.jsonValue({ maxDepth: 4 }),
        fc.jsonValue({ maxDepth: 3 }),
        async (details, extra) => {
          const form = creation(evidence, {
            authorization_details: JSON.stringify([
              {
                type: 'mission_resource_access',
                resource: ERP,
                actions: ['invoices.read'],
                constraints: details,
              },
            ]),
            mission_intent: intent({ success_criteria: extra }),
          });
          const { status, body } = await sortie.token(key, form);
          expect([200, 400]).toContain(status);
          expectNoInternals(JSON.stringify(body.error_description ?? ''));
        },
      ),
      { numRuns: 80, seed: 5 },
    );
  });

  test('random bytes at every route never fault', async () => {
    const routes = sortie.broker.routes.filter((route) => route.method === 'POST');
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...routes),
        fc.uint8Array({ maxLength: 200 }),
        fc.constantFrom(FORM, JSON_TYPE, {}),
        async (route, bytes, headers) => {
          const answer = await send(route.path.replaceAll(/\{\w+\}/g, 'x'), bytes, headers);
          expect(answer.status).toBeLessThan(500);
          expect(answer.headers.get('cache-control')).toBe('no-store');
          expectNoInternals(answer.text);
        },
      ),
      { numRuns: 150, seed: 6 },
    );
  });
});
