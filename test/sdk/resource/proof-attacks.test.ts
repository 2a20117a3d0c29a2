import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import {
  agentKey,
  Bench,
  call,
  encode,
  issuerKey,
  jktOf,
  jws,
  mint,
  NOW,
  outcome,
  pair,
  prove,
  URL_OF_CALL,
} from './support.ts';

const token = mint();
const verdict = (proof: string | undefined) => outcome(new Bench().ready().check({ token, proof }));

describe('a proof', () => {
  it('works by ES256 and Ed25519 keys', () => {
    for (const alg of ['ES256', 'Ed25519'] as const) {
      const by = pair(alg, 'agent');
      const bound = mint({ cnf: { jkt: jktOf(by) } });
      const bench = new Bench().ready();
      expect(outcome(bench.check({ token: bound, proof: prove(bound, { by }) }))).toBe('permitted');
      expect(outcome(bench.check({ token: bound, proof: prove(bound, { by }) }))).toBe('permitted');
    }
  });

  it('works once', () => {
    const bench = new Bench().ready();
    const proof = prove(token);
    expect(outcome(bench.check({ token, proof }))).toBe('permitted');
    const replay = bench.check({ token, proof });
    expect(replay.permitted || [replay.code, replay.error]).toStrictEqual([
      'proof_replayed',
      'invalid_dpop_proof',
    ]);
  });

  it('works once for the key, whichever of its tokens it comes with', () => {
    const bench = new Bench().ready();
    const jti = randomUUID();
    const other = mint();
    expect(outcome(bench.check({ token, proof: prove(token, { claims: { jti } }) }))).toBe('permitted');
    expect(outcome(bench.check({ token: other, proof: prove(other, { claims: { jti } }) }))).toBe(
      'proof_replayed',
    );
    const by = pair('ES256', 'agent-2');
    const elsewhere = mint({ cnf: { jkt: jktOf(by) } });
    expect(outcome(bench.check({ token: elsewhere, proof: prove(elsewhere, { by, claims: { jti } }) }))).toBe(
      'permitted',
    );
  });

  it('is remembered for as long as it could be accepted', () => {
    const bench = new Bench().ready();
    // Sixty seconds ahead: acceptable for two minutes.
    const proof = prove(token, { claims: { iat: NOW + 60 } });
    expect(outcome(bench.check({ token, proof }))).toBe('permitted');
    for (const later of [1, 30, 59, 90, 119, 120]) {
      bench.now = NOW + later;
      bench.beat();
      bench.check({ token, proof: prove(token, { claims: { iat: bench.now } }) });
      expect(outcome(bench.check({ token, proof }))).toBe('proof_replayed');
    }
    bench.now = NOW + 121;
    bench.beat();
    expect(outcome(bench.check({ token, proof }))).toBe('proof_invalid');
  });

  it('a full memory accepts no proof at all', () => {
    const bench = new Bench({ limits: { proofs: 2 } }).ready();
    expect(outcome(bench.check({ token }))).toBe('permitted');
    expect(outcome(bench.check({ token }))).toBe('permitted');
    expect(outcome(bench.check({ token }))).toBe('proof_memory_full');
  });

  it('an unverified proof takes no place in the memory', () => {
    const bench = new Bench({ limits: { proofs: 1 } }).ready();
    const thief = pair('ES256', 'thief');
    for (let turn = 0; turn < 5; turn++)
      expect(outcome(bench.check({ token, proof: prove(token, { by: thief }) }))).toBe('proof_invalid');
    expect(outcome(bench.check({ token }))).toBe('permitted');
  });
});

describe('attacks on the proof', () => {
  it('missing, twice, not a JWS, too long', () => {
    expect(verdict(undefined)).toBe('proof_missing');
    expect(verdict(`${prove(token)}, ${prove(token)}`)).toBe('proof_invalid');
    for (const bad of ['', 'x', '..', 'a.b', 'a.b.c.d', 'A'.repeat(5000)])
      expect(verdict(bad)).toBe('proof_invalid');
  });

  it('by another key, in each disguise', () => {
    const thief = pair('ES256', 'thief');
    expect(verdict(prove(token, { by: thief }))).toBe('proof_invalid');
    // The right key shown, signed by the wrong one.
    const { kty, crv, x, y } = agentKey.jwk as Record<string, string>;
    expect(verdict(prove(token, { by: thief, header: { jwk: { kty, crv, x, y } } }))).toBe('proof_invalid');
    expect(verdict(prove(token, { by: issuerKey }))).toBe('proof_invalid');
  });

  it('by another key after the right one was held', () => {
    const bench = new Bench().ready();
    const thief = pair('ES256', 'thief');
    expect(outcome(bench.check({ token }))).toBe('permitted');
    const good = prove(token).split('.')[0] as string;
    const payload = prove(token, { by: thief }).split('.')[1] as string;
    const forged = jws({}, {}, thief).split('.')[2] as string;
    expect(outcome(bench.check({ token, proof: `${good}.${payload}.${forged}` }))).toBe('proof_invalid');
  });

  it('headers: type, algorithm, private key, embedded extras', () => {
    const { kty, crv, x, y } = agentKey.jwk as Record<string, string>;
    const jwk = { kty, crv, x, y };
    for (const header of [
      { typ: 'JWT' },
      { typ: undefined },
      { alg: 'none' },
      { alg: 'HS256' },
      { alg: 'ES384' },
      { alg: 'EdDSA' },
      { jwk: undefined },
      { jwk: { ...jwk, d: 'AAAA' } },
      { jwk: { kty: 'oct', k: 'AAAA' } },
      { kid: 'agent' },
      { crit: ['x'], x: 1 },
      { jku: 'http://127.0.0.1/' },
    ])
      expect(verdict(prove(token, { header }))).toBe('proof_invalid');
  });

  it('claims: another method, target, time, token', () => {
    for (const claims of [
      { htm: 'POST' },
      { htm: 'get' },
      { htm: undefined },
      { htu: 'https://mail.example.com/invoices/1' },
      { htu: `${URL_OF_CALL}/` },
      { htu: 'http://erp.example.com/invoices/1' },
      { htu: 'https://erp.example.com:8443/invoices/1' },
      { htu: 'https://x@erp.example.com/invoices/1' },
      { htu: 'https://erp.example.com/x/../invoices/1' },
      { htu: 'https://erp.example.com/x/%2e%2e/invoices/1' },
      { htu: 'https://erp.example.com\\invoices\\1' },
      { htu: undefined },
      { iat: NOW - 61 },
      { iat: NOW + 61 },
      { iat: `${NOW}` },
      { iat: undefined },
      { jti: 'short' },
      { jti: undefined },
      { jti: 'x'.repeat(300) },
      { ath: undefined },
      { ath: 'AAAA' },
    ])
      expect(verdict(prove(token, { claims }))).toBe('proof_invalid');
  });

  it('a proof for one token does not carry another of the same key', () => {
    expect(outcome(new Bench().ready().check({ token: mint(), proof: prove(token) }))).toBe('proof_invalid');
  });

  it('a repeated member is refused, not decided', () => {
    const [head, payload] = prove(token).split('.') as [string, string];
    const text = Buffer.from(payload, 'base64url').toString().replace('"htm":', '"htm":"POST","htm":');
    const twice = jws(JSON.parse(Buffer.from(head, 'base64url').toString()), text, agentKey);
    expect(encode(text)).toBe(twice.split('.')[1]);
    expect(verdict(twice)).toBe('proof_invalid');
  });

  it('target forms that are equal are accepted', () => {
    for (const htu of [
      `${URL_OF_CALL}?page=2`,
      `${URL_OF_CALL}#top`,
      'HTTPS://ERP.example.com:443/invoices/1',
      'https://erp.example.com/%69nvoices/1',
    ])
      expect(verdict(prove(token, { claims: { htu } }))).toBe('permitted');
  });

  it('the query of the request itself is not part of the target', () => {
    expect(outcome(new Bench().ready().check({ token, url: `${URL_OF_CALL}?page=2` }))).toBe('permitted');
    expect(call(token).url).toBe(URL_OF_CALL);
  });
});
