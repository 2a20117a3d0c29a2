/**
 * kill -9 at random points of bundles. After each restart, once a minute has passed, whatever is at the counterparts
 * belongs to a recorded live mission, and whatever was answered still works. SORTIE_CRASHES sets how often; the long
 * run is 500. PostgreSQL is real; Vault is the emulator; AWS is moto, where a session ends by being denied.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pythonHas } from '../foreign/python.ts';
import { ERP, type KeyHolder, newKey } from '../support/broker.ts';
import { type BundleBroker, type BundleManifest, credentialOf, startBundle } from '../support/bundle.ts';
import { postgresFor } from '../support/postgres.ts';

const CRASHES = Number(process.env['SORTIE_CRASHES'] ?? 6);
/** Where a long run says how far it is; a file. */
const PROGRESS = process.env['SORTIE_CRASHES_PROGRESS'];
const LANES = 4;
/** Of the broker's and of Vault's clock, between a restart and the look at the counterparts. */
const MINUTE = 60;
const MISSION_SECONDS = 240;
const bin = postgresFor('bundles under kill -9');

interface LeaseRow {
  readonly id: string;
  readonly mission_id: string;
  readonly type: string;
  /** 0 pending, 1 live, 2 revoking, 3 revoked, 4 expired. */
  readonly state: number;
  readonly expires_at: number;
  readonly role: string | null;
  readonly works_until: number | null;
  /** 0 active. */
  readonly mission_state: number;
  readonly mission_ends: number;
}

const denials = new Set<string>();
/** What a whole run saw. */
const counts = {
  kills: 0,
  answered: 0,
  renewed: 0,
  interrupted: 0,
  refused: 0,
  /** Credentials at PostgreSQL and Vault right after a kill that no live lease stood for. */
  half_made: 0,
  /** Sessions whose denial was needed. */
  denied: 0,
};

describe.skipIf(bin === null || !pythonHas('bundles under kill -9', 'moto.server'))(
  'a broker that is killed while it makes bundles',
  () => {
    let bundle: BundleBroker;
    let key: KeyHolder;
    let database: Database.Database;
    beforeAll(async () => {
      bundle = await startBundle(bin ?? '', { aws: true, timeout: '10s', min_session: '12h' });
      key = await newKey();
      await bundle.broker.broker.close();
      database = new Database(join(bundle.broker.folder, 'sortie.db'), { readonly: true });
    }, 180_000);
    afterAll(async () => {
      database?.close();
      await bundle?.close();
    });

    async function spawnBroker(): Promise<ChildProcess> {
      const child = spawn(
        process.execPath,
        ['test/support/broker-process.ts', bundle.broker.config_path, String(bundle.broker.clock.ahead)],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      );
      await new Promise<void>((resolve, reject) => {
        child.stdout?.once('data', () => resolve());
        child.once('exit', (code) => reject(new Error(`the broker ended with ${code}`)));
      });
      return child;
    }

    /** Those that are not over, and AWS sessions that would go on. */
    function leases(): LeaseRow[] {
      return database
        .prepare<[number], LeaseRow>(
          `select l.id, l.mission_id, l.type, l.state, l.expires_at,
             l.revocation ->> 'role' as role, l.revocation ->> 'works_until' as works_until,
             m.state as mission_state, m.expires_at as mission_ends
           from leases l join missions m on m.id = l.mission_id
           where l.state < 3 or l.revocation ->> 'works_until' > ?`,
        )
        .all(bundle.broker.clock.now());
    }

    /** Carried by a recorded live mission. */
    const stands = (lease: LeaseRow, now: number) =>
      lease.state === 1 && lease.mission_state === 0 && lease.mission_ends > now && lease.expires_at > now;

    /** Until the broker has nothing left to do about leases. */
    async function quiet(): Promise<LeaseRow[]> {
      for (let attempt = 0; ; attempt++) {
        const all = leases();
        const now = bundle.broker.clock.now();
        if (all.every((lease) => lease.state > 2 || stands(lease, now))) return all;
        if (attempt === 600) throw new Error(`leases do not settle: ${JSON.stringify(all.slice(-8))}`);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }

    const standing = (all: readonly LeaseRow[], type: string) => {
      const now = bundle.broker.clock.now();
      return all.filter((lease) => lease.type === type && stands(lease, now));
    };

    async function halfMade(): Promise<number> {
      const all = leases();
      const known = new Set(standing(all, 'postgres_role').map(({ role }) => role));
      const roles = (await bundle.roles()).filter((role) => !known.has(role)).length;
      return roles + Math.max(0, bundle.vault.alive() - standing(all, 'vault_secret').length);
    }

    async function inspect(answered: readonly BundleManifest[]): Promise<void> {
      const all = await quiet();
      expect(await bundle.roles()).toEqual(
        standing(all, 'postgres_role')
          .map(({ role }) => role)
          .sort(),
      );
      expect(bundle.vault.alive()).toBe(standing(all, 'vault_secret').length);
      expect(bundle.vault.leases()).toBe(standing(all, 'vault_secret').length);
      const denied = new Set(await bundle.aws.denied());
      const now = bundle.broker.clock.now();
      for (const lease of all) {
        if (lease.type !== 'aws_session') continue;
        const dead = denied.has(lease.id) || denied.has(lease.mission_id);
        // Denied, or ended by its own policy; and nobody's who may have it.
        if (stands(lease, now)) expect(dead).toBe(false);
        else if (Number(lease.works_until) > now) {
          expect(dead).toBe(true);
          denials.add(lease.id);
          counts.denied = denials.size;
        }
      }
      for (const manifest of answered) {
        expect(await bundle.postgresWorks(credentialOf(manifest, 'postgres_role'))).toBe(true);
        expect(bundle.vaultWorks(credentialOf(manifest, 'vault_secret'))).toBe(true);
        const live = standing(all, 'aws_session').filter(
          ({ mission_id }) => mission_id === manifest.mission.id,
        );
        expect(live).toHaveLength(2);
      }
    }

    /** What a bundle takes here and now, milliseconds: kills come anywhere in one. */
    let taken = 400;

    async function bundlesUntilKilled(child: ChildProcess): Promise<readonly BundleManifest[]> {
      const gone = new Promise((resolve) => child.once('exit', resolve));
      const answered = new Set<BundleManifest>();
      const lane = async (_: unknown, at: number) => {
        try {
          for (;;) {
            const from = performance.now();
            const ends = new Date((bundle.broker.clock.now() + MISSION_SECONDS) * 1000).toISOString();
            const { status, body, instance } = await bundle.declare(key, {
              intent: { goal: 'Reconcile', resources: [ERP], expires_at: ends },
            });
            if (status !== 201) {
              counts.refused++;
              continue;
            }
            answered.add(body);
            counts.answered++;
            taken = 0.8 * taken + 0.2 * (performance.now() - from);
            // Every other lane renews what it got; until that is answered, it cannot know which of them live.
            if (at % 2 === 1) continue;
            answered.delete(body);
            const ids = body.credentials.filter(({ type }) => type !== 'jwt').map(({ id }) => id);
            const renewed = await bundle.renew(key, body.mission.id, ids, instance);
            if (renewed.status !== 200) {
              counts.refused++;
              continue;
            }
            counts.renewed++;
            const credentials = renewed.body.credentials.filter(({ value }) => value !== undefined);
            answered.add({ ...renewed.body, credentials });
          }
        } catch {
          // The connection broke: the broker is gone, and this bundle was not answered.
          counts.interrupted++;
        }
      };
      const lanes = Array.from({ length: LANES }, lane);
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 3 * taken));
      child.kill('SIGKILL');
      await gone;
      await Promise.all(lanes);
      if (answered.size === 0) taken = Math.min(4000, taken * 1.5);
      counts.kills++;
      return [...answered];
    }

    it(
      'leaves nothing that no record knows, and everything that it answered',
      async () => {
        let answered: readonly BundleManifest[] = [];
        // On a machine so slow that nothing was answered yet, a few more.
        for (let crash = 0; crash < CRASHES || (counts.answered === 0 && crash < 3 * CRASHES); crash++) {
          const child = await spawnBroker();
          await inspect(answered);
          answered = await bundlesUntilKilled(child);
          counts.half_made += await halfMade();
          bundle.advance(MINUTE);
          if (PROGRESS !== undefined) appendFileSync(PROGRESS, `${JSON.stringify(counts)}\n`);
        }
        const last = await spawnBroker();
        const gone = new Promise((resolve) => last.once('exit', resolve));
        await inspect(answered);
        last.kill('SIGTERM');
        await gone;
        expect(counts.kills).toBeGreaterThanOrEqual(CRASHES);
        expect(counts.interrupted).toBe(counts.kills * LANES);
        expect(counts.answered).toBeGreaterThan(0);
        await bundle.broker.restart();
      },
      180_000 + CRASHES * 60_000,
    );
  },
);
