/** The guard against the real broker, over real sockets: what was minted is permitted, what was ended is not. */
import { exportJWK, SignJWT } from 'jose';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { accessTokenHash } from '../../../src/domain/dpop.ts';
import type { JsonObject } from '../../../src/domain/json.ts';
import { createGuard, type RunningGuard } from '../../../src/sdk/resource/create-guard.ts';
import type { Verdict } from '../../../src/sdk/resource/guard.ts';
import { creation, ERP, type KeyHolder, newKey, startBroker, type TestBroker } from '../../support/broker.ts';
import { until } from './broker-double.ts';

let sortie: TestBroker;
const guards: RunningGuard[] = [];
let alarms: string[] = [];

beforeAll(async () => {
  sortie = await startBroker();
});
afterEach(async () => {
  for (const guard of guards.splice(0)) await guard.close();
  alarms = [];
});
afterAll(() => sortie.close());

async function guarded(instance_id: string): Promise<RunningGuard> {
  const jwk = (await exportJWK(sortie.verifierKeys.erp.privateKey)) as JsonObject;
  const running = createGuard({
    issuer: sortie.url,
    audience: ERP,
    verifier: { id: 'erp', private_key_jwk: jwk },
    instance_id,
    onAlarm: (kind, why) => alarms.push(`${kind}: ${why}`),
    events: 'none',
  });
  guards.push(running);
  await running.ready;
  return running;
}

interface Held {
  readonly key: KeyHolder;
  readonly token: string;
  readonly mission_id: string;
}

async function mission(): Promise<Held> {
  const key = await newKey();
  const { status, body } = await sortie.token(
    key,
    creation(await sortie.evidence({ run: crypto.randomUUID() })),
  );
  expect(status).toBe(200);
  return { key, token: body.access_token, mission_id: body.mission_id };
}

async function check(running: RunningGuard, held: Held, action = 'invoices.read'): Promise<Verdict> {
  const url = `${ERP}/invoices/1`;
  const proof = await new SignJWT({
    jti: crypto.randomUUID(),
    htm: 'GET',
    htu: url,
    iat: Math.floor(Date.now() / 1000),
    ath: accessTokenHash(held.token),
  })
    .setProtectedHeader({ alg: 'ES256', typ: 'dpop+jwt', jwk: held.key.jwk as JsonObject })
    .sign(held.key.privateKey);
  return running.guard.check({
    authorization: `DPoP ${held.token}`,
    proof,
    method: 'GET',
    url,
    action,
    resource: ERP,
    parameters: {},
    context: { amount: { amount: '20.00', currency: 'EUR' } },
  });
}

/** Ends a mission; the answer names the processes that enforce it by now. */
async function revoke(held: Held): Promise<{ enforced: string[] }> {
  const selector = { kind: 'mission', key: held.mission_id };
  const { status, body } = await sortie.admin('POST', '/revocations', { selector, reason: 'test' });
  expect(status).toBe(200);
  const verifiers = body['verifiers'] as { instance_id: string; acknowledged_at: number | null }[];
  const enforced = verifiers.filter(({ acknowledged_at }) => acknowledged_at !== null);
  return { enforced: enforced.map(({ instance_id }) => instance_id).sort() };
}

const code = (verdict: Verdict) => (verdict.permitted ? 'permitted' : verdict.code);

/** Waits until the guard says this of the mission. */
async function becomes(running: RunningGuard, held: Held, wanted: string, action?: string): Promise<void> {
  let last = '';
  for (let turn = 0; turn < 500 && last !== wanted; turn++) {
    last = code(await check(running, held, action));
    if (last !== wanted) await new Promise((resolve) => setTimeout(resolve, 5));
  }
  expect(last).toBe(wanted);
}

describe('guard and broker', () => {
  it('a minted token is permitted what was granted and nothing else', async () => {
    const running = await guarded('one');
    const held = await mission();
    expect(code(await check(running, held))).toBe('permitted');
    expect(code(await check(running, held, 'invoices.delete'))).toBe('action_not_covered');
    expect(alarms).toStrictEqual([]);
  });

  it('a revoked mission is refused everywhere once the answer names the acknowledgements', async () => {
    const pair = [await guarded('one'), await guarded('two')] as const;
    const held = await mission();
    for (const running of pair) expect(code(await check(running, held))).toBe('permitted');
    await until(() => pair.every((running) => running.health().ready), 'both ready');
    const { enforced } = await revoke(held);
    expect(enforced).toStrictEqual(['one', 'two']);
    for (const running of pair) expect(code(await check(running, held))).toBe('mission_revoked');
  });

  it('a suspended mission is refused and passes again when it is resumed', async () => {
    const running = await guarded('one');
    const held = await mission();
    await sortie.admin('POST', `/missions/${held.mission_id}/suspend`, { reason: 'look' });
    await becomes(running, held, 'mission_suspended');
    await sortie.admin('POST', `/missions/${held.mission_id}/resume`, { reason: 'fine' });
    await becomes(running, held, 'permitted');
  });

  it('a guard that starts later knows what happened before', async () => {
    const held = await mission();
    const early = await guarded('early');
    expect(code(await check(early, held))).toBe('permitted');
    await sortie.admin('POST', `/missions/${held.mission_id}/revoke`, { reason: 'test' });
    const late = await guarded('late');
    expect(code(await check(late, held))).toBe('mission_revoked');
  });

  it('a restart of the broker is survived: no gap, no rollback, nothing missed', async () => {
    const running = await guarded('one');
    const [kept, ended] = [await mission(), await mission()];
    expect(code(await check(running, kept))).toBe('permitted');
    await sortie.restart();
    expect(code(await check(running, kept))).toBe('permitted');
    await sortie.admin('POST', `/missions/${ended.mission_id}/revoke`, { reason: 'test' });
    await becomes(running, ended, 'mission_revoked');
    expect(code(await check(running, kept))).toBe('permitted');
    expect(alarms).toStrictEqual([]);
  });

  it('a restart of the broker under load: no guard denies a call meanwhile', async () => {
    const guards = [await guarded('one'), await guarded('two'), await guarded('three')];
    const held = await Promise.all(Array.from({ length: 5 }, mission));
    let over = false;
    const verdicts: string[] = [];
    const calls = guards.map(async (running) => {
      for (let turn = 0; !over && turn < 20_000; turn++)
        verdicts.push(code(await check(running, held[turn % held.length] as Held)));
    });
    // Agents go on asking for missions all the while; those that meet the restart are told to come back.
    const mints = Array.from({ length: 4 }, async () => {
      for (let turn = 0; !over && turn < 2000; turn++) await mission().catch(() => undefined);
    });
    await new Promise((resolve) => setTimeout(resolve, 300));
    await sortie.restart();
    await until(
      () => guards.every((running) => running.health().revocation_age_seconds < 1.5),
      'all fresh again',
    );
    over = true;
    await Promise.all([...calls, ...mints]);
    expect(verdicts.length).toBeGreaterThan(100);
    expect([...new Set(verdicts)]).toStrictEqual(['permitted']);
    expect(alarms).toStrictEqual([]);
  });

  it('twenty revocations among a thousand checks: none is permitted once its answer was acknowledged', async () => {
    const running = await guarded('racer');
    const victims = await Promise.all(Array.from({ length: 20 }, mission));
    const bystander = await mission();
    for (const victim of victims) expect(code(await check(running, victim))).toBe('permitted');
    const enforced = new Set<string>();
    const revoked = Promise.all(
      victims.map(async (victim, turn) => {
        await new Promise((resolve) => setTimeout(resolve, turn * 10));
        if ((await revoke(victim)).enforced.includes('racer')) enforced.add(victim.mission_id);
      }),
    );
    let done = false;
    void revoked.finally(() => {
      done = true;
    });
    let checks = 0;
    while (!done || checks < 1000) {
      const victim = victims[checks % victims.length] as Held;
      const was_enforced = enforced.has(victim.mission_id);
      const verdict = code(await check(running, victim));
      if (was_enforced) expect(verdict).toBe('mission_revoked');
      checks++;
    }
    await revoked;
    for (const victim of victims) await becomes(running, victim, 'mission_revoked');
    expect(code(await check(running, bystander))).toBe('permitted');
    expect(enforced.size).toBeGreaterThan(0);
    expect(alarms).toStrictEqual([]);
  });

  it('the broker shows the process and that it is current', async () => {
    await guarded('shown');
    let row: Record<string, unknown> | undefined;
    for (let turn = 0; turn < 200 && row?.['current'] !== true; turn++) {
      const { body } = await sortie.admin('GET', '/verifiers');
      row = (body['items'] as Record<string, unknown>[]).find((item) => item['instance_id'] === 'shown');
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    expect(row).toMatchObject({ verifier_id: 'erp', audience: ERP, connected: true, current: true });
  });
});
