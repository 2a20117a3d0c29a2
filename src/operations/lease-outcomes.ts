/**
 * What became of provider credentials, as an admin needs to know it: how long one still works, and what a person
 * could do where the counterpart would not take a revocation. Read from the audit, which has every attempt.
 */
import type { JsonObject } from '../domain/json.ts';
import type { LeaseRecord, Ports } from '../ports.ts';

export interface LeaseOutcome {
  readonly lease: LeaseRecord;
  /** Seconds and why, as last said by the provider; null where nothing was tried. */
  readonly residual: JsonObject | null;
  /** What a person could do instead; only for a revocation that failed. */
  readonly alternative: JsonObject | null;
}

const EVENTS = ['lease.revocation_failed', 'lease.revoked', 'lease.expired'];
const RECORDS = 200;
const MISSIONS = 50;
const POLL_MS = 25;

export async function leaseOutcomes(ports: Ports, mission_id: string): Promise<readonly LeaseOutcome[]> {
  const leases = await ports.store.leases(mission_id);
  if (leases.length === 0) return [];
  const records = await Promise.all(
    EVENTS.map((event) =>
      ports.store.auditRecords({ mission_id, event, limit: RECORDS, newest_first: true }),
    ),
  );
  const said = new Map<string, JsonObject>();
  for (const { details } of records.flat().sort((a, b) => a.seq - b.seq))
    said.set(String(details['lease']), details);
  return leases.map((lease) => {
    const details = said.get(lease.id);
    const open = lease.ended_at === null;
    return {
      lease,
      residual: (details?.['residual'] as JsonObject | undefined) ?? null,
      alternative: (open && (details?.['alternative'] as JsonObject | undefined)) || null,
    };
  });
}

/** Open leases are revoked beside the answer to a revocation: most are gone in a moment, and the rest can be named. */
export async function settledLeases(
  ports: Ports,
  mission_ids: readonly string[],
  wait_ms: number,
): Promise<readonly LeaseOutcome[]> {
  const ids = mission_ids.slice(0, MISSIONS);
  if (ports.providers.size === 0) return [];
  const tried = async () => {
    const leases = (await Promise.all(ids.map((id) => ports.store.leases(id)))).flat();
    // Whatever happens to a mission puts this to 0, and whoever looked at the lease puts it ahead.
    return leases.every(({ ended_at, next_at }) => ended_at !== null || next_at > 0);
  };
  for (let waited = 0; waited < wait_ms && !(await tried()); waited += POLL_MS)
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  return (await Promise.all(ids.map((id) => leaseOutcomes(ports, id)))).flat();
}
