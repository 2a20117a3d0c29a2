/**
 * The other half of a lease's life: one loop judges every lease that is due, whatever made it due: a mission that
 * ended, was suspended or contained, a lease at its end, one that was replaced, a crash in the middle, or a
 * revocation that failed.
 */
import { type AuthoritySet, effective, within } from '../domain/authority/index.ts';
import type { JsonObject } from '../domain/json.ts';
import { type Mission, type MissionState, stateAt } from '../domain/mission.ts';
import {
  type LeaseRecord,
  type LeaseState,
  type Ports,
  ProviderFault,
  type Write,
  WriteConflict,
} from '../ports.ts';

/** An issue that takes longer than this has failed, whatever it says later. */
export const PENDING_SECONDS = 45;
/** Not gone yet. */
export const OPEN: readonly LeaseState[] = ['pending', 'live', 'revoking'];
const FIRST_RETRY_SECONDS = 1;
const LAST_RETRY_SECONDS = 300;
const BATCH = 200;
const AT_ONCE = 16;

/**
 * One bounded pass over what is due of one type. Failures wait longer each time, and a counterpart that does not
 * answer holds up no other type.
 * @returns whether there may be more
 */
export async function tendLeases(ports: Ports, type: string): Promise<boolean> {
  const due = await ports.store.leasesDue(type, ports.clock.now(), BATCH);
  const queue = [...due];
  const work = async () => {
    for (let lease = queue.shift(); lease !== undefined; lease = queue.shift()) await tend(ports, lease);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return due.length === BATCH;
}

/** Tends those of the given leases that are not gone, now, whenever they would be due. */
export async function tendNow(ports: Ports, mission_id: string, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return;
  const leases = (await ports.store.leases(mission_id)).filter(({ id }) => ids.includes(id));
  await Promise.all(leases.filter(({ state }) => OPEN.includes(state)).map((lease) => tend(ports, lease)));
}

async function tend(ports: Ports, lease: LeaseRecord): Promise<void> {
  const now = ports.clock.now();
  const mission = await ports.store.mission(lease.mission_id);
  const state = mission === null ? 'revoked' : await standingOf(ports, mission, now);
  if (lease.state === 'live' && state === 'active' && mission !== null && lease.expires_at > now) {
    const carried: AuthoritySet = effective(mission.authority, mission.containments);
    if (within([lease.entry], carried).ok)
      return quietly(
        ports.store.atomically([
          { kind: 'update_lease', id: lease.id, from: ['live'], set: { next_at: lease.expires_at } },
        ]),
      );
  }
  // Being issued now, under a mission that wants it: its own turn has not come.
  if (lease.state === 'pending' && state === 'active' && lease.created_at + PENDING_SECONDS > now)
    return quietly(
      ports.store.atomically([
        {
          kind: 'update_lease',
          id: lease.id,
          from: ['pending'],
          set: { next_at: lease.created_at + PENDING_SECONDS },
        },
      ]),
    );
  await revokeLease(ports, lease, state === 'active' || state === 'suspended' ? 'lease' : 'mission');
}

/** A mission below one that is suspended may do nothing, and holds nothing. */
async function standingOf(ports: Ports, mission: Mission, now: number): Promise<MissionState> {
  const state = stateAt(mission, now);
  if (state !== 'active') return state;
  for (const id of mission.path) {
    const above = id === mission.id ? mission : await ports.store.mission(id);
    if (above === null || stateAt(above, now) !== 'active') return 'suspended';
  }
  return state;
}

async function revokeLease(ports: Ports, lease: LeaseRecord, reach: 'lease' | 'mission'): Promise<void> {
  const { id, type, mission_id } = lease;
  const now = ports.clock.now();
  try {
    const provider = ports.providers.get(type);
    if (provider === undefined)
      throw new ProviderFault(type, 'misconfigured', 'this broker has no provider for it any more');
    const residual = await provider.revoke(lease.revocation, now, reach);
    const ended_at = ports.clock.now();
    const credential = await ports.store.credential(lease.credential_id);
    // Never live: a request that makes it may still be on its way to a counterpart that was slow to answer. It is
    // revoked once more when none can be.
    const again_at = lease.created_at + PENDING_SECONDS;
    if (credential === null && again_at > now) {
      await quietly(
        ports.store.atomically([
          { kind: 'update_lease', id, from: OPEN, set: { state: 'revoking', next_at: again_at } },
        ]),
      );
      return;
    }
    const gone = lease.state === 'live' && lease.expires_at <= now ? 'expired' : 'revoked';
    await quietly(
      ports.store.atomically([
        { kind: 'update_lease', id, from: OPEN, set: { state: gone, ended_at } },
        ...(credential !== null && credential.revoked_at === null && gone === 'revoked'
          ? [{ kind: 'revoke_credential', id: credential.id, at: ended_at } as const]
          : []),
        leaseRecord(`lease.${gone}`, 'broker', mission_id, ended_at, {
          lease: id,
          type,
          residual: { ...residual },
        }),
      ]),
    );
  } catch (cause) {
    await recordFailure(ports, lease, cause);
  }
}

/** Stays visible: state, attempts and the last error are in the record, and each failure in the audit. */
async function recordFailure(ports: Ports, lease: LeaseRecord, cause: unknown): Promise<void> {
  const now = ports.clock.now();
  const attempts = lease.attempts + 1;
  const wait = Math.min(LAST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2 ** Math.min(attempts - 1, 16));
  const fault = cause instanceof ProviderFault ? cause : null;
  const last_error = fault === null ? 'failed' : `${fault.code}: ${fault.detail}`;
  await quietly(
    ports.store.atomically([
      {
        kind: 'update_lease',
        id: lease.id,
        from: OPEN,
        set: { state: 'revoking', attempts, last_error, next_at: now + wait },
      },
      leaseRecord('lease.revocation_failed', 'broker', lease.mission_id, now, {
        lease: lease.id,
        type: lease.type,
        attempts,
        error: last_error,
        ...(fault?.residual ? { residual: { ...fault.residual } } : {}),
        ...(fault?.alternative ? { alternative: fault.alternative } : {}),
      }),
    ]),
  );
}

export function leaseRecord(
  event: string,
  actor: string,
  mission_id: string,
  ts: number,
  details: JsonObject,
): Write {
  return { kind: 'append_audit', record: { ts, event, actor, mission_id, details } };
}

/** Somebody else may have moved the lease between the look and the write; that is fine. */
export async function quietly(work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch (cause) {
    if (!(cause instanceof WriteConflict)) throw cause;
  }
}
