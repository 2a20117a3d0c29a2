/** Signing keys: sealed at rest, published before and after they sign, dead at once in an emergency. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createLocalJWKSet, jwtVerify } from 'jose';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createSeal, generateKek } from '../../src/keys/seal.ts';
import { verifyAudit } from '../../src/store/audit-verify.ts';
import { creation, intent, newKey, startBroker, type TestBroker } from '../support/broker.ts';
import { read } from '../support/tokens.ts';

describe('the seal', () => {
  const seal = createSeal(generateKek());

  test('opens what it sealed, for that purpose alone', () => {
    const sealed = seal.seal(Buffer.from('private'), 'a');
    expect(seal.open(sealed, 'a').toString()).toBe('private');
    expect(() => seal.open(sealed, 'b')).toThrow();
    expect(() => createSeal(generateKek()).open(sealed, 'a')).toThrow();
  });

  test('notices any change of a byte', () => {
    const sealed = Buffer.from(seal.seal(Buffer.from('private'), 'a'), 'base64url');
    for (let at = 0; at < sealed.length; at++) {
      const changed = Buffer.from(sealed);
      changed[at] = (changed[at] ?? 0) ^ 1;
      expect(() => seal.open(changed.toString('base64url'), 'a')).toThrow();
    }
    for (const short of ['', 'AAAA', sealed.subarray(0, 27).toString('base64url')])
      expect(() => seal.open(short, 'a')).toThrow();
  });

  test('never seals alike, and derives by purpose', () => {
    expect(seal.seal(Buffer.from('x'), 'a')).not.toBe(seal.seal(Buffer.from('x'), 'a'));
    expect(seal.derive('one')).not.toEqual(seal.derive('two'));
  });

  test('refuses a key of another length without repeating it', () => {
    for (const bad of ['', 'c2hvcnQ=', 'A'.repeat(100)]) {
      expect(() => createSeal(bad)).toThrow(/must be 32 bytes/);
      if (bad !== '') expect(() => createSeal(bad)).not.toThrow(new RegExp(bad));
    }
  });
});

describe('the broker’s keys', () => {
  let sortie: TestBroker;
  beforeEach(async () => {
    sortie = await startBroker({
      config: (base) => ({ keys: { ...(base['keys'] as object), rotate_every: '1d', publish_ahead: '1h' } }),
    });
  });
  afterEach(() => sortie.close());

  const token = async () => {
    const { body } = await sortie.token(
      await newKey(),
      creation(await sortie.evidence({ run: crypto.randomUUID() }), {
        mission_intent: intent({ expires_at: '2090-01-01T00:00:00Z' }),
      }),
    );
    return body.access_token;
  };
  const jwks = async () =>
    (await (await fetch(`${sortie.url}/jwks`)).json()) as { keys: Record<string, string>[] };
  const kids = async () => (await jwks()).keys.map(({ kid }) => kid);
  const kidOf = (jwt: string) => String(read(jwt).header['kid']);
  const tend = () => sortie.broker.ports.tokens as unknown as { tend(now: number): Promise<void> };

  test('show no private part and lie sealed in the database', async () => {
    for (const key of (await jwks()).keys)
      for (const secret of ['d', 'p', 'q', 'dp', 'dq', 'qi', 'k']) expect(key).not.toHaveProperty(secret);
    const [record] = await sortie.broker.ports.store.signingKeys();
    const kek = readFileSync(`${sortie.folder}/kek`, 'utf8');
    const opened = createSeal(kek)
      .open(record?.sealed ?? '', `signing-key:${record?.kid}`)
      .toString();
    const { d } = JSON.parse(opened) as { d: string };
    for (const name of ['sortie.db', 'sortie.db-wal']) {
      const file = `${sortie.folder}/${name}`;
      if (existsSync(file)) expect(readFileSync(file, 'latin1')).not.toContain(d);
    }
    expect(sortie.log.join('')).not.toContain(d);
  });

  test('are the same after a restart, and nothing starts with another key-encryption key', async () => {
    const jwt = await token();
    await sortie.restart();
    expect(await kids()).toContain(kidOf(jwt));
    expect((await sortie.introspect(jwt))['active']).toBe(true);
    const kek = readFileSync(`${sortie.folder}/kek`);
    writeFileSync(`${sortie.folder}/kek`, generateKek());
    await expect(sortie.restart()).rejects.toThrow();
    writeFileSync(`${sortie.folder}/kek`, kek);
    await sortie.restart().catch(() => undefined);
  });

  test('rotate on schedule with overlap: published ahead, signing then, verifying until the last token ended', async () => {
    const first = await token();
    sortie.clock.ahead = 86_400 - 3000;
    await tend().tend(sortie.clock.now());
    const ahead = await kids();
    expect(ahead).toHaveLength(2);
    const next = ahead.find((kid) => kid !== kidOf(first));
    expect(kidOf(await token())).toBe(kidOf(first));

    sortie.clock.ahead = 86_400 - 20;
    const last = await token();
    expect(kidOf(last)).toBe(kidOf(first));
    sortie.clock.ahead = 86_400 + 20;
    await tend().tend(sortie.clock.now());
    const after = await token();
    expect(kidOf(after)).toBe(next);
    // The last token of the old key still verifies everywhere.
    expect((await sortie.introspect(last))['active']).toBe(true);
    await jwtVerify(last, createLocalJWKSet(await jwks()), {
      currentDate: new Date(sortie.clock.now() * 1000),
    });

    sortie.clock.ahead = 86_400 + 900 + 301 + 20;
    await tend().tend(sortie.clock.now());
    expect(await kids()).not.toContain(kidOf(first));
  });

  test('survive a long sleep: a broker that was off past the schedule signs again', async () => {
    sortie.clock.ahead = 10 * 86_400;
    await sortie.restart();
    const jwt = await token();
    expect((await sortie.introspect(jwt))['active']).toBe(true);
    expect(await kids()).toContain(kidOf(jwt));
  });

  test('rotate by command without breaking one token', async () => {
    const before = await token();
    const { status, body } = await sortie.admin('POST', '/keys/rotate', {});
    expect([status, body['revoked'], body['seq']]).toEqual([200, [], null]);
    expect(await kids()).toEqual(expect.arrayContaining([kidOf(before), ...(body['created'] as string[])]));
    expect((await sortie.introspect(before))['active']).toBe(true);
    // Published first; verifiers have an hour to fetch it.
    expect(kidOf(await token())).toBe(kidOf(before));
    sortie.clock.ahead = 3601;
    expect(kidOf(await token())).toBe((body['created'] as string[])[0]);
  });

  test('die at once in an emergency: introspection, key set and feed say so, and a restart forgets nothing', async () => {
    const stolen = await token();
    const { body } = await sortie.admin('POST', '/keys/rotate', { emergency: true });
    expect(body['revoked']).toContain(kidOf(stolen));
    expect(body['seq']).toEqual(expect.any(Number));
    const dead = async () => {
      expect(await sortie.introspect(stolen)).toEqual({ active: false });
      expect(await kids()).not.toContain(kidOf(stolen));
      const snapshot = await fetch(`${sortie.url}/revocations`, {
        headers: { authorization: `Bearer ${await sortie.assertion('mail')}` },
      });
      const { entries } = (await snapshot.json()) as { entries: Record<string, unknown>[] };
      expect(entries).toEqual([
        expect.objectContaining({
          kind: 'signing_key',
          key: kidOf(stolen),
          effect: 'deny',
          reason_code: 'key_rotated',
          seq: body['seq'],
        }),
      ]);
      expect(entries[0]).not.toHaveProperty('issued_before');
    };
    await dead();
    const fresh = await token();
    expect((await sortie.introspect(fresh))['active']).toBe(true);
    await sortie.restart();
    await dead();
    expect(await verifyAudit(sortie.broker.ports.store, async () => true)).toMatchObject({ ok: true });
    const { body: audit } = await sortie.admin('GET', '/audit?event=key.rotated');
    expect(audit['items']).toEqual([expect.objectContaining({ actor: 'admin:alice' })]);
  });

  test('another role cannot rotate them', async () => {
    const responder = await sortie.adminToken('responder', 'rob');
    expect((await sortie.as(responder, 'POST', '/keys/rotate', { emergency: true })).status).toBe(403);
  });
});
