/** kill -9 in the middle of a thousand mints: what was answered holds, what was not is either whole or absent. */
import { type ChildProcess, spawn } from 'node:child_process';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { verifyAudit } from '../../src/store/audit-verify.ts';
import { creation, newKey, startBroker, type TestBroker } from '../support/broker.ts';
import { read } from '../support/tokens.ts';

let sortie: TestBroker;
beforeAll(async () => {
  sortie = await startBroker({
    config: { overload: { concurrent_exchanges: 1000, concurrent_per_instance: 1000 } },
  });
});
afterAll(() => sortie.close());

async function spawnBroker(): Promise<ChildProcess> {
  const child = spawn(process.execPath, ['test/support/broker-process.ts', sortie.config_path], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await new Promise<void>((resolve, reject) => {
    child.stdout?.once('data', () => resolve());
    child.once('exit', (code) => reject(new Error(`the broker ended with ${code}`)));
  });
  return child;
}

test('every answered mission and every answered revocation holds, and the audit chain verifies', async () => {
  // The first admin and the first nonce, from a broker in this process that then makes room for the other.
  await sortie.admin('GET', '/missions');
  await sortie.broker.close();
  const child = await spawnBroker();
  const key = await newKey();
  const evidence = await sortie.evidence({ run: 'crash' }, 3000);
  await sortie.token(key, creation('x'));
  const minted: string[] = [];
  const revoked: string[] = [];
  let refused = 0;
  let begun = 0;
  const deadline = Date.now() + 20_000;
  const lane = async () => {
    while (begun < 1000 && Date.now() < deadline) {
      begun++;
      try {
        const { status, body } = await sortie.token(key, creation(evidence));
        if (status !== 200) {
          refused++;
          continue;
        }
        minted.push(body.access_token);
        if (minted.length % 3 === 0) {
          const ended = await sortie.admin('POST', `/missions/${body.mission_id}/revoke`, {
            reason: 'every third',
          });
          if (ended.status === 200) revoked.push(body.mission_id);
        }
      } catch {
        // The broker is gone: this one was not answered.
        return;
      }
      if (minted.length >= 300 && !child.killed) child.kill('SIGKILL');
    }
  };
  await Promise.all(Array.from({ length: 16 }, lane));
  expect(child.killed).toBe(true);
  expect(begun).toBeLessThan(1000);
  expect(refused).toBe(0);
  expect(minted.length).toBeGreaterThanOrEqual(300);
  expect(revoked.length).toBeGreaterThan(50);

  await sortie.restart();
  const { store } = sortie.broker.ports;
  for (const token of minted) {
    const { claims } = read(token);
    const mission = await store.mission(claims.mission.id);
    const credential = await store.credential(claims.jti);
    expect(mission?.jkt).toBe(key.jkt);
    expect(credential?.mission_id).toBe(claims.mission.id);
    const ended = revoked.includes(claims.mission.id);
    if (ended) expect(mission?.state).toBe('revoked');
    expect((await sortie.introspect(token))['active']).toBe(mission?.state === 'active');
  }
  // What is stored is whole: no mission without its credential and its record.
  const created = await store.auditRecords({ event: 'mission.created', limit: 2000 });
  const recorded = new Set(created.map(({ mission_id }) => mission_id));
  for (let cursor: string | undefined; ; ) {
    const page = await store.missions({ limit: 500, ...(cursor !== undefined && { cursor }) });
    for (const mission of page.items) {
      expect(recorded.has(mission.id)).toBe(true);
      expect(await store.credentials(mission.id)).toHaveLength(1);
    }
    if (page.next_cursor === null) break;
    cursor = page.next_cursor;
  }
  expect(await verifyAudit(store, async () => true)).toMatchObject({ ok: true });
  // The feed still tells verifiers of each.
  const response = await fetch(`${sortie.url}/revocations`, {
    headers: { authorization: `Bearer ${await sortie.assertion()}` },
  });
  const { entries } = (await response.json()) as { entries: { key: string; effect: string }[] };
  const denied = new Set(entries.filter(({ effect }) => effect === 'deny').map(({ key: id }) => id));
  for (const id of revoked) expect(denied.has(id)).toBe(true);
});
