/** What the broker keeps of observations: bounded, by tree, and unknown where it was lost. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Mission } from '../../src/domain/mission.ts';
import type { ObservationReport } from '../../src/domain/reports.ts';
import { createProvenance, OBSERVATION_WAIT_MS, type Provenance } from '../../src/operations/provenance.ts';
import type { Ports, VerifierPolicy } from '../../src/ports.ts';
import { creation, newKey, startBroker, type TestBroker } from '../support/broker.ts';

let sortie: TestBroker;
let ports: Ports;
let erp: VerifierPolicy;
beforeAll(async () => {
  sortie = await startBroker();
  ({ ports } = sortie.broker);
  const found = ports.policy().verifiers.find(({ id }) => id === 'erp');
  if (found === undefined) throw new Error('no verifier');
  erp = found;
});
afterAll(() => sortie.close());

async function mission(): Promise<Mission> {
  const key = await newKey();
  const { body } = await sortie.token(key, creation(await sortie.evidence({ run: crypto.randomUUID() })));
  const found = await ports.store.mission(body.mission_id);
  if (found === null) throw new Error('no mission');
  return found;
}

const report = (id: string, origin: string, count: number, from = 0): ObservationReport => ({
  mission_id: id,
  jti: 'jti',
  seq: 1,
  origin,
  field: '*',
  digests: Array.from({ length: count }, (_, n) => (from + n).toString(16).padStart(12, '0')),
});

async function take(provenance: Provenance, id: string, ...reports: ObservationReport[]) {
  const trees = await provenance.trees([id]);
  if (reports.some(({ origin }) => origin === 'text')) await ports.store.atomically([{ kind: 'taint', id }]);
  return { trees, unsettled: provenance.take(trees, erp, reports) };
}

describe('memory of all trees', () => {
  it('stays within its bound, and drops the tree that was silent the longest', async () => {
    const provenance = createProvenance(ports, 20_000);
    const missions = await Promise.all(Array.from({ length: 8 }, mission));
    for (const { id } of missions) await take(provenance, id, report(id, 'text', 300));
    expect(provenance.bytes).toBeLessThanOrEqual(20_000);
    expect(provenance.size).toBeGreaterThan(0);
    expect(provenance.size).toBeLessThan(8);
  });

  it('knows that it forgot: a tainted tree that was dropped settles nothing when it comes back', async () => {
    const provenance = createProvenance(ports, 6_000);
    const [lost, other] = [await mission(), await mission()];
    await take(provenance, lost.id, report(lost.id, 'text', 1), report(lost.id, 'echo', 5));
    expect((await provenance.tree(lost)).shared.lossy).toBe(false);
    await take(provenance, other.id, report(other.id, 'text', 400));
    const again = await provenance.tree({ ...lost, tainted: true });
    expect(again.shared.lossy).toBe(true);
  });

  it('loses nothing but proof of a tree in which nothing untrusted was read', async () => {
    const provenance = createProvenance(ports, 6_000);
    const [clean, other] = [await mission(), await mission()];
    await take(provenance, clean.id, report(clean.id, 'ambiguous', 5));
    await take(provenance, other.id, report(other.id, 'text', 400));
    const again = await provenance.tree(clean);
    expect(again.shared).toMatchObject({ lossy: false, parts: new Map() });
  });

  it('dropped while a report was on its way, a tree does not come back as if nothing had been', async () => {
    const provenance = createProvenance(ports, 6_000);
    const [held, other] = [await mission(), await mission()];
    const trees = await provenance.trees([held.id]);
    await take(provenance, other.id, report(other.id, 'text', 400));
    const heir = await provenance.tree(held);
    expect(heir.shared.lossy).toBe(false);
    await ports.store.atomically([{ kind: 'taint', id: held.id }]);
    provenance.take(trees, erp, [report(held.id, 'text', 1), report(held.id, 'echo', 5)]);
    expect(heir.shared.lossy).toBe(true);
    await take(provenance, other.id, report(other.id, 'text', 400, 1000));
    expect((await provenance.tree({ ...held, tainted: true })).shared.lossy).toBe(true);
  });

  it('of a tree that ended is given back', async () => {
    const provenance = createProvenance(ports);
    const { id } = await mission();
    await take(provenance, id, report(id, 'text', 10));
    expect(provenance.size).toBe(1);
    await sortie.admin('POST', `/missions/${id}/revoke`, { reason: 'over' });
    await expect.poll(() => provenance.size).toBe(0);
    expect(provenance.bytes).toBe(0);
    expect((await provenance.trees([id])).size).toBe(0);
  });

  it('of another process is not known: what was tainted before settles nothing', async () => {
    const tainted = await mission();
    await ports.store.atomically([{ kind: 'taint', id: tainted.id }]);
    const clean = await mission();
    const restarted = createProvenance(ports);
    expect((await restarted.tree({ ...tainted, tainted: true })).shared.lossy).toBe(true);
    expect((await restarted.tree(clean)).shared.lossy).toBe(false);
    expect(restarted.epoch).not.toBe(createProvenance(ports).epoch);
  });
});

describe('waiting', () => {
  it('ends with what is learned, and with time', async () => {
    const provenance = createProvenance(ports);
    const held = await mission();
    const tree = await provenance.tree(held);
    const heard = provenance.news(tree, OBSERVATION_WAIT_MS);
    await take(provenance, held.id, report(held.id, 'ambiguous', 1));
    expect(await heard).toBe(true);
    expect(await provenance.news(tree, 1)).toBe(false);
  });

  it('is for few at once: who comes on top is not kept', async () => {
    const provenance = createProvenance(ports);
    const tree = await provenance.tree(await mission());
    const many = Array.from({ length: 8 }, () => provenance.news(tree, 60_000));
    expect(await provenance.news(tree, 60_000)).toBe(false);
    provenance.taint(tree);
    expect(await Promise.all(many)).toStrictEqual(many.map(() => true));
  });
});
