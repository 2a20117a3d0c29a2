/** Verifies a stored audit log page by page, in memory that does not grow with the log. */
import {
  type ChainPosition,
  GENESIS_HASH,
  verifyRecords,
  verifySegmentBounds,
  verifySegmentEnd,
} from '../domain/audit.ts';
import type { AuditSegment, Store } from '../ports.ts';

const PAGE = 500;

export interface AuditVerdict {
  readonly ok: boolean;
  /** Records whose hash was checked. */
  readonly records: number;
  readonly segments: number;
  /** The first seq at which the chain does not hold. */
  readonly first_bad?: number;
}

/**
 * Walks the whole chain from its first segment. A pruned segment is crossed only by a seal that verifies: its
 * records cannot speak for it any more.
 * @param verifySeal whether `segment.seal` is the broker's JWS over exactly `sealPayload(segment)`
 */
export async function verifyAudit(
  store: Pick<Store, 'auditRecords' | 'auditSegments'>,
  verifySeal: (segment: AuditSegment) => Promise<boolean>,
): Promise<AuditVerdict> {
  // Segments first: records that are appended meanwhile lie beyond their bounds and are left for the next run.
  const segments = await store.auditSegments();
  let position: ChainPosition = { next_seq: 1, hash: GENESIS_HASH };
  let records = 0;
  let expected = 1;
  for (const [walked, segment] of segments.entries()) {
    const bad = { ok: false, records, segments: walked, first_bad: position.next_seq };
    if (segment.segment !== expected || !verifySegmentBounds(position, segment)) return bad;
    if (segment.seal !== null && !(await verifySeal(segment))) return bad;
    expected += 1;
    if (segment.pruned_at !== null) {
      if (segment.seal === null) return bad;
      position = { next_seq: segment.last_seq + 1, hash: segment.head_hash };
      continue;
    }
    while (position.next_seq <= segment.last_seq) {
      const limit = Math.min(PAGE, segment.last_seq - position.next_seq + 1);
      const page = await store.auditRecords({ after_seq: position.next_seq - 1, limit });
      const check = verifyRecords(position, segment.segment, page);
      records += check.records;
      if (!check.ok) return { ...bad, records, first_bad: check.first_bad };
      if (page.length === 0) return { ...bad, records, first_bad: position.next_seq };
      position = check.position;
    }
    if (!verifySegmentEnd(position, segment)) return { ...bad, records, first_bad: segment.last_seq };
  }
  return { ok: true, records, segments: segments.length };
}
