/**
 * kill -9 at random points of bundles: whatever is at the counterparts afterwards belongs to a recorded lease of a
 * live mission. SORTIE_CRASHES sets how often; the long run is 500.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newKey } from '../support/broker.ts';
import { type BundleBroker, type BundleManifest, credentialOf, startBundle } from '../support/bundle.ts';
import { postgresBinaries } from '../support/postgres.ts';

const CRASHES = Number(process.env['SORTIE_CRASHES'] ?? 8);
const LANES = 4;
const bin = postgresBinaries();
if (bin === null && process.env['CI'] === 'true')
  throw new Error('CI needs PostgreSQL: install the postgresql package');
if (bin === null)
  process.stderr.write('SKIPPED: bundles under kill -9, because PostgreSQL is not installed here\n');

describe.skipIf(bin === null)('a broker that is killed while it makes bundles', () => {
  let bundle: BundleBroker;
  beforeAll(async () => {
    bundle = await startBundle(bin ?? '');
  }, 120_000);
  afterAll(() => bundle?.close());

  async function spawnBroker(): Promise<ChildProcess> {
    const child = spawn(process.execPath, ['test/support/broker-process.ts', bundle.broker.config_path], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await new Promise<void>((resolve, reject) => {
      child.stdout?.once('data', () => resolve());
      child.once('exit', (code) => reject(new Error(`the broker ended with ${code}`)));
    });
    return child;
  }

  it(
    'leaves nothing that no record knows, and everything that it answered',
    async () => {
      const key = await newKey();
      await bundle.broker.broker.close();
      const answered: BundleManifest[] = [];
      let broken = 0;
      for (let crash = 0; crash < CRASHES; crash++) {
        const child = await spawnBroker();
        const gone = new Promise((resolve) => child.once('exit', resolve));
        const lanes = Array.from({ length: LANES }, async () => {
          try {
            for (;;) {
              const { status, body } = await bundle.declare(key);
              if (status === 201) answered.push(body);
            }
          } catch {
            // The connection broke: the broker is gone, and this bundle was not answered.
            broken++;
          }
        });
        // A bundle takes some tens of milliseconds: any point of one may be hit.
        await new Promise((resolve) => setTimeout(resolve, 100 + Math.random() * 150));
        child.kill('SIGKILL');
        await gone;
        await Promise.all(lanes);
      }
      expect(broken).toBe(CRASHES * LANES);
      expect(answered.length).toBeGreaterThan(0);

      // The first minute after the last crash, without waiting for it: both clocks go ahead.
      bundle.broker.clock.ahead += 61;
      bundle.vault.advance(61);
      await bundle.broker.restart();
      const { store } = bundle.broker.broker.ports;
      for (let attempt = 0; attempt < 200; attempt++) {
        const now = bundle.broker.clock.now();
        const due = await Promise.all(
          ['postgres_role', 'vault_secret'].map((type) => store.leasesDue(type, now, 1000)),
        );
        if (due.flat().length === 0) break;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }

      const live = { postgres_role: [] as string[], vault_secret: 0 };
      for (let cursor: string | undefined; ; ) {
        const page = await store.missions({ limit: 500, ...(cursor !== undefined && { cursor }) });
        for (const mission of page.items)
          for (const lease of await store.leases(mission.id)) {
            expect(['live', 'revoked']).toContain(lease.state);
            if (lease.state !== 'live') continue;
            expect(mission.state).toBe('active');
            if (lease.type === 'vault_secret') live.vault_secret++;
            else live.postgres_role.push(String(lease.revocation['role']));
          }
        if (page.next_cursor === null) break;
        cursor = page.next_cursor;
      }
      expect(await bundle.roles()).toEqual(live.postgres_role.sort());
      expect(bundle.vault.alive()).toBe(live.vault_secret);
      for (const manifest of answered) {
        expect(await bundle.postgresWorks(credentialOf(manifest, 'postgres_role'))).toBe(true);
        expect(bundle.vaultWorks(credentialOf(manifest, 'vault_secret'))).toBe(true);
      }
    },
    120_000 + CRASHES * 5000,
  );
});
