import { describe, expect, test } from 'vitest';
import { permits } from '../../../src/domain/authority/index.ts';
import { DEFAULT_BACKOFF, delayBefore, retryAfterSeconds } from '../../../src/sdk/agent/backoff.ts';
import { readDenial } from '../../../src/sdk/agent/guard-answer.ts';
import { connect } from '../../../src/sdk/agent/index.ts';
import { understood } from '../../../src/sdk/agent/local-authority.ts';
import { redacted, spokenFault } from '../../../src/sdk/agent/redact.ts';
import { readManifest, readRefusal, readTokenFacts } from '../../../src/sdk/agent/wire.ts';

describe('waiting for the broker', () => {
  test('grows, is spread, and is bounded', () => {
    const waits = [1, 2, 3, 4, 5, 6, 7, 8].map(
      (attempt) => delayBefore(DEFAULT_BACKOFF, attempt, null, 1) ?? 0,
    );
    expect(waits.slice(0, 3)).toEqual([100, 200, 400]);
    expect(Math.max(...waits)).toBe(DEFAULT_BACKOFF.max_ms);
    expect(delayBefore(DEFAULT_BACKOFF, 1, null, 0)).toBe(50);
  });

  test('is never shorter than Retry-After, and not done when that is long', () => {
    expect(delayBefore(DEFAULT_BACKOFF, 1, 3, 0)).toBeGreaterThanOrEqual(3000);
    expect(delayBefore(DEFAULT_BACKOFF, 1, 3600, 0)).toBeNull();
  });

  test('reads both forms of Retry-After, and neither nonsense nor the past', () => {
    const now = Date.parse('2026-11-22T03:00:00Z') / 1000;
    expect(retryAfterSeconds('7', now)).toBe(7);
    expect(retryAfterSeconds('Sun, 22 Nov 2026 03:00:30 GMT', now)).toBe(30);
    expect(retryAfterSeconds('Sun, 22 Nov 2026 02:00:00 GMT', now)).toBe(0);
    for (const nonsense of [null, '', 'soon', '-1e9x', '9'.repeat(80)])
      expect(retryAfterSeconds(nonsense, now)).toBeNull();
  });
});

describe('messages of other people', () => {
  test('keep their words and lose whatever could be a credential', () => {
    const jwt = `eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9.${'eyJzdWIiOiJhIn0'.repeat(4)}.${'c2ln'.repeat(20)}`;
    const told = redacted(`cannot read /var/run/secrets/kubernetes.io/serviceaccount/token: got ${jwt}`);
    expect(told).toContain('/var/run/secrets/kubernetes.io/serviceaccount/token');
    expect(told).toContain('[redacted]');
    for (const part of jwt.split('.')) expect(told).not.toContain(part);
    expect(redacted('x'.repeat(100_000)).length).toBeLessThan(400);
  });

  test('of what is no error are not shown at all', () => {
    expect(spokenFault('secret')).not.toContain('secret');
    expect(spokenFault(Object.assign(new Error('no file'), { code: 'ENOENT' }))).toBe(
      'Error ENOENT: no file',
    );
  });
});

describe('answers', () => {
  test('of another shape than promised are faults, not defaults', () => {
    for (const text of ['', '[]', '{"mission":{}}', '{"mission":{"id":"a"},"mission":{"id":"b"}}'])
      expect(() => readManifest(text)).toThrow('unexpected answer');
    expect(() => readTokenFacts('opaque')).toThrow('unexpected answer');
  });

  test('that refuse are read in both styles', () => {
    expect(readRefusal(400, '{"error":"invalid_grant","mission_error":"mission_revoked"}')).toMatchObject({
      error: 'invalid_grant',
      mission_error: 'mission_revoked',
    });
    const problem = {
      type: 'urn:sortie:problem:access_denied',
      mission_denial_reason: 'blocked',
      detail: 'd',
    };
    expect(readRefusal(403, JSON.stringify(problem))).toMatchObject({
      error: 'access_denied',
      reason: 'blocked',
      description: 'd',
    });
    expect(readRefusal(502, '<html>')).toBeNull();
  });
});

describe('challenges', () => {
  const denialOf = (header: string, body: string | null = null, type = 'application/problem+json') =>
    readDenial(
      new Response(body, { status: 401, headers: { 'www-authenticate': header, 'content-type': type } }),
      null,
    );

  test('are read with quotes, escapes and commas inside', async () => {
    const header = 'DPoP realm="a, \\"b\\"", error="insufficient_scope", mission_denial="x", retry="after"';
    expect(await denialOf(header)).toMatchObject({ code: 'x', retry: 'after' });
  });

  test('of servers without a guard ask for one renewal where the token is no good', async () => {
    expect(await denialOf('Bearer error="invalid_token"')).toMatchObject({ retry: 'renew' });
    expect(await denialOf('Bearer realm="x"')).toBeNull();
    expect(await denialOf('Basic realm="x"')).toBeNull();
  });

  test('and problems that are hostile deny nothing more and crash nothing', async () => {
    expect(await denialOf(`DPoP ${'a="b", '.repeat(5000)}`)).toBeNull();
    expect(await denialOf('DPoP error="x"', `{"mission_denial":${'['.repeat(1000)}`)).toMatchObject({
      code: 'x',
    });
    expect(await denialOf('DPoP error="x"', 'y'.repeat(100_000))).toMatchObject({ code: 'x' });
    expect(await denialOf('DPoP mission_denial="a", retry="always"')).toMatchObject({ retry: 'never' });
  });
});

test('authority of a kind that this build does not know never permits', () => {
  const type = 'mission_resource_access';
  const resource = 'https://erp.example.com';
  const compiled = understood([
    { type, resource, actions: ['a.read'], constraints: { phase_of_moon: 'full' } },
    { type: 'future_thing', anything: 1 },
    { type, resource, actions: ['b.read'] },
  ]);
  const call = (action: string) => permits(compiled, { action, resource, parameters: {}, context: {} }, 0);
  expect(call('a.read')).not.toBeNull();
  expect(call('b.read')).toBeNull();
});

test('a key of another kind is refused before anything is sent', async () => {
  const pair = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-384' }, false, [
    'sign',
    'verify',
  ]);
  await expect(connect({ issuer: 'https://broker.example.com', key: pair })).rejects.toThrow('P-256');
});
