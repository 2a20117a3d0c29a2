/** Sealing and verifying the audit chain. */
import { sealPayload } from '../domain/audit.ts';
import type { JsonObject } from '../domain/json.ts';
import { type Ports, WriteConflict } from '../ports.ts';

export const AUDIT_SEAL_TYP = 'sortie-audit-seal+jwt';

/** A segment is closed at this age, however few its records: a quiet broker seals too. */
const SEGMENT_MAX_SECONDS = 3600;

/** Closes the open segment once its first record is old enough. */
export async function closeOldSegment(ports: Ports): Promise<void> {
  const open = (await ports.store.auditSegments()).find((segment) => segment.closed_at === null);
  if (!open || open.last_seq < open.first_seq) return;
  const [first] = await ports.store.auditRecords({ after_seq: open.first_seq - 1, limit: 1 });
  const now = ports.clock.now();
  if (!first || now - first.ts < SEGMENT_MAX_SECONDS) return;
  try {
    await ports.store.atomically([{ kind: 'close_audit_segment', at: now }]);
  } catch (cause) {
    // It filled up meanwhile.
    if (!(cause instanceof WriteConflict)) throw cause;
  }
}

/** Signs every closed segment that has no seal yet. @returns how many */
export async function sealAudit(ports: Ports): Promise<number> {
  let sealed = 0;
  for (const segment of await ports.store.auditSegments()) {
    if (segment.closed_at === null || segment.seal !== null) continue;
    const now = ports.clock.now();
    const seal = await ports.tokens.sign(AUDIT_SEAL_TYP, 'ES256', {
      iss: ports.policy().issuer,
      iat: Math.floor(now),
      ...(sealPayload(segment) as unknown as JsonObject),
    });
    try {
      await ports.store.atomically([
        { kind: 'seal_audit_segment', segment: segment.segment, sealed_at: now, seal },
      ]);
      sealed++;
    } catch (cause) {
      if (!(cause instanceof WriteConflict)) throw cause;
    }
  }
  return sealed;
}
