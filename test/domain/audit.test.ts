import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type ChainedRecord,
  type ChainedSegment,
  chain,
  GENESIS_HASH,
  sealPayload,
  verifyChain,
} from '../../src/domain/audit.ts';

/** A chain of segments with the given numbers of records. */
function chainOf(...sizes: readonly number[]): { records: ChainedRecord[]; segments: ChainedSegment[] } {
  const records: ChainedRecord[] = [];
  const segments: ChainedSegment[] = [];
  let hash = GENESIS_HASH;
  for (const [at, size] of sizes.entries()) {
    const segment = at + 1;
    const first_seq = records.length + 1;
    const previous_hash = hash;
    for (let made = 0; made < size; made += 1) {
      const seq = records.length + 1;
      const record = {
        seq,
        segment,
        ts: 1_790_000_000 + seq / 4,
        event: 'token.minted',
        actor: 'agent',
        mission_id: seq % 2 === 0 ? null : `msn_${seq}`,
        details: { z: seq, a: ['ü'] },
      };
      hash = chain(hash, record);
      records.push({ ...record, hash });
    }
    segments.push({ segment, first_seq, last_seq: records.length, previous_hash, head_hash: hash });
  }
  return { records, segments };
}

describe('the audit chain', () => {
  it('gives the same hash whatever the order of members', () => {
    const record = { seq: 1, segment: 1, ts: 1, event: 'e', actor: 'a', mission_id: null };
    const one = chain(GENESIS_HASH, { ...record, details: { a: 1, b: { c: 2, d: 3 } } });
    const other = chain(GENESIS_HASH, { ...record, details: { b: { d: 3, c: 2 }, a: 1 } });
    expect(one).toBe(other);
    expect(one).toMatch(/^sha-256:[A-Za-z0-9_-]{43}$/);
  });

  it('is pinned: changing how it hashes would orphan every stored log', () => {
    const record = { seq: 1, segment: 1, ts: 1.5, event: 'e', actor: 'a', mission_id: null, details: {} };
    expect(chain(GENESIS_HASH, record)).toBe('sha-256:FmH_2a7SycgSEDi2cPh0Gx_22PNISb8q9Ox7t6nG1ZA');
  });

  it('verifies what was chained, pruned segments included', () => {
    const { records, segments } = chainOf(3, 1, 4);
    expect(verifyChain(records, segments)).toMatchObject({ ok: true, records: 8 });
    const kept = records.filter(({ segment }) => segment !== 2);
    expect(verifyChain(kept, segments, new Set([2]))).toMatchObject({ ok: true, records: 7 });
    expect(verifyChain([], [])).toMatchObject({ ok: true, records: 0 });
  });

  it('notices a changed, missing, repeated, moved or added record, and where', () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 4 });
    const tampering = fc.constantFrom('change', 'remove', 'repeat', 'swap', 'add', 'cut', 'time', 'mission');
    fc.assert(
      fc.property(sizes, tampering, fc.nat(), (lengths, how, where) => {
        const { records, segments } = chainOf(...lengths);
        const at = where % records.length;
        const victim = records[at];
        const other = records[at === 0 ? 1 : at - 1];
        if (victim === undefined) throw new Error('no record');
        const forged = [...records];
        if (how === 'change') forged[at] = { ...victim, actor: 'someone else' };
        else if (how === 'time') forged[at] = { ...victim, ts: victim.ts + 1 };
        else if (how === 'mission') forged[at] = { ...victim, mission_id: 'msn_other' };
        else if (how === 'remove') forged.splice(at, 1);
        else if (how === 'repeat') forged.splice(at, 0, victim);
        else if (how === 'cut') forged.length = records.length - 1;
        else if (how === 'add') forged.push({ ...victim, seq: records.length + 1 });
        else {
          if (other === undefined) return;
          forged[at] = other;
          forged[at === 0 ? 1 : at - 1] = victim;
        }
        const result = verifyChain(forged, segments);
        expect(result.ok).toBe(false);
        if (!result.ok && how !== 'add' && how !== 'cut')
          expect(result.first_bad).toBeLessThanOrEqual(at + 1);
      }),
    );
  });

  it('notices a rewritten tail, even where it is chained consistently, by the segment it no longer meets', () => {
    const { segments } = chainOf(2, 2);
    const forged = chainOf(2, 3);
    expect(verifyChain(forged.records, segments).ok).toBe(false);
    const [first] = segments;
    if (first === undefined) throw new Error('no segment');
    expect(verifyChain(forged.records, [first]).ok).toBe(false);
  });

  it('notices segments that were left out or do not meet', () => {
    const { records, segments } = chainOf(2, 2, 2);
    const [first, second, third] = segments;
    if (first === undefined || second === undefined || third === undefined) throw new Error('no segment');
    const without = records.filter(({ segment }) => segment !== 2);
    expect(verifyChain(without, [first, third]).ok).toBe(false);
    expect(
      verifyChain(without, [first, { ...second, head_hash: GENESIS_HASH }, third], new Set([2])).ok,
    ).toBe(false);
    expect(verifyChain(records, [second, third]).ok).toBe(false);
  });

  it('seals exactly the bounds and hashes', () => {
    const { segments } = chainOf(1);
    const [segment] = segments;
    if (segment === undefined) throw new Error('no segment');
    expect(sealPayload({ ...segment, ...{ seal: 'x', sealed_at: 1 } })).toEqual(segment);
  });
});
