/** What every {@link Store} guarantees about verifiers' reports. Called as the other conformance suite. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ReportRecord, type Store, type Write, WriteConflict } from '../../src/ports.ts';
import type { StoreFactory } from './conformance.ts';
import { NOW } from './records.ts';

const ERP = 'https://erp.example.com';
const MAIL = 'https://mail.example.com';
const DAY = 86_400;

let made = 0;

function report(over: Partial<ReportRecord> = {}): ReportRecord {
  made++;
  const digest = Buffer.alloc(16);
  digest.writeUInt32BE(made);
  return {
    id: `dec_${digest.toString('base64url')}`,
    kind: 'decisions',
    verifier_id: 'erp',
    instance_id: 'p1',
    audience: ERP,
    received_at: NOW,
    bundle_version: null,
    count: 1,
    denials: 0,
    missions: ['msn_a'],
    body: JSON.stringify([{ n: made, text: 'naïve ✓' }]),
    ...over,
  };
}

function insert(record: ReportRecord, lost = 0, dropped = { foreign: 0, malformed: 0 }): Write {
  return { kind: 'insert_report', report: record, dropped, lost };
}

export function reportConformance(name: string, factory: StoreFactory): void {
  describe(`${name} keeps verifiers' reports`, () => {
    let store: Store;
    beforeEach(async () => {
      store = await factory.open();
    });
    afterEach(() => factory.dispose());

    it('gives back every member, also after it was opened again', async () => {
      const one = report({ bundle_version: 'v1', count: 3, denials: 2, missions: ['msn_a', 'msn_b'] });
      await store.atomically([insert(one)]);
      expect(await store.report(one.id)).toEqual({ ...one, missions: [] });
      const again = await factory.reopen(store);
      expect(await again.report(one.id)).toEqual({ ...one, missions: [] });
      for (const id of ['dec_', 'dec_AAAA', 'msn_a', '', `${one.id}A`, report().id])
        expect(await again.report(id)).toBeNull();
    });

    it('keeps a batch once, and counts it once', async () => {
      const one = report();
      await store.atomically([insert(one, 5)]);
      const failure = await store.atomically([insert(one, 9)]).catch((cause: unknown) => cause);
      expect(failure).toBeInstanceOf(WriteConflict);
      expect((failure as WriteConflict).conflict).toBe('repeated');
      expect(await store.reportSources()).toMatchObject([{ batches: 1, events: 1, lost: 5 }]);
    });

    it('adds up what each process reported, lost and had dropped', async () => {
      await store.atomically([
        insert(report({ count: 4 }), 3, { foreign: 1, malformed: 2 }),
        insert(report({ count: 6, received_at: NOW + 9 }), 7, { foreign: 10, malformed: 0 }),
        insert(report({ instance_id: 'p2' }), 1),
      ]);
      expect(await store.reportSources()).toEqual([
        {
          verifier_id: 'erp',
          instance_id: 'p1',
          batches: 2,
          events: 10,
          dropped_foreign: 11,
          dropped_malformed: 2,
          lost: 7,
          last_at: NOW + 9,
        },
        expect.objectContaining({ instance_id: 'p2', batches: 1, lost: 1 }),
      ]);
    });

    it('finds them by mission, audience, denials and kind, newest first, page by page', async () => {
      const all = [
        report({ missions: ['msn_a', 'msn_b'] }),
        report({ missions: ['msn_b'], denials: 1 }),
        report({ missions: ['msn_a'], audience: MAIL, denials: 2 }),
        report({ missions: ['msn_a'], kind: 'observations' }),
      ];
      await store.atomically(all.map((one) => insert(one)));
      const found = async (query: Omit<Parameters<Store['reports']>[0], 'kind' | 'limit'>, limit = 10) =>
        (await store.reports({ kind: 'decisions', limit, ...query })).map((one) =>
          all.findIndex(({ id }) => id === one.report.id),
        );
      expect(await found({})).toEqual([2, 1, 0]);
      expect(await found({ mission_id: 'msn_a' })).toEqual([2, 0]);
      expect(await found({ mission_id: 'msn_a', audience: ERP })).toEqual([0]);
      expect(await found({ with_denials: true })).toEqual([2, 1]);
      expect(await found({ audience: MAIL })).toEqual([2]);
      expect(await found({ mission_id: 'msn_none' })).toEqual([]);
      const [newest] = await store.reports({ kind: 'decisions', limit: 1 });
      expect(await found({ before: newest?.position ?? 0 })).toEqual([1, 0]);
      expect(await store.reports({ kind: 'observations', limit: 10 })).toHaveLength(1);
    });

    it('removes what is older than it is kept, with its index, and not more than a bounded number a call', async () => {
      const old = Array.from({ length: 70 }, () => report());
      const young = report({ received_at: NOW + DAY });
      await store.atomically([...old, young].map((one) => insert(one)));
      const keep = {
        missions_seconds: DAY,
        credentials_seconds: DAY,
        audit_seconds: DAY,
        reports_seconds: DAY,
      };
      const first = await store.prune(NOW + DAY + 1, keep);
      expect(first.removed).toBeGreaterThan(0);
      expect(await store.reports({ kind: 'decisions', limit: 64 })).not.toHaveLength(1);
      for (let pass = 0; pass < 10; pass++) await store.prune(NOW + DAY + 1, keep);
      const left = await store.reports({ kind: 'decisions', mission_id: 'msn_a', limit: 64 });
      expect(left.map((one) => one.report.id)).toEqual([young.id]);
      expect(await store.prune(NOW + DAY + 1, keep)).toEqual({ removed: 0 });
    });
  });
}
