/**
 * Provider credentials of a mission: recorded before they exist, issued all or none, and revoked whenever the
 * mission no longer carries them. One loop judges every lease that is due, whatever made it due: a mission that
 * ended, was suspended or contained, a lease at its end, a crash in the middle, or a revocation that failed.
 */
import {
  type AuthoritySet,
  effective,
  isResourceAccess,
  type ProviderEntry,
  within,
} from '../domain/authority/index.ts';
import { Denied } from '../domain/denial.ts';
import type { JsonObject } from '../domain/json.ts';
import { type Mission, stateAt } from '../domain/mission.ts';
import {
  type CredentialRecord,
  type Issued,
  type LeaseRecord,
  type LeaseRequest,
  type LeaseState,
  type Ports,
  type Provider,
  ProviderFault,
  type Write,
  WriteConflict,
} from '../ports.ts';

/** An issue that takes longer than this has failed, whatever it says later. */
const PENDING_SECONDS = 45;
const FIRST_RETRY_SECONDS = 1;
const LAST_RETRY_SECONDS = 300;
const BATCH = 200;
const AT_ONCE = 16;
const OPEN: readonly LeaseState[] = ['pending', 'live', 'revoking'];

export interface PlannedLease {
  readonly lease: LeaseRecord;
  readonly provider: Provider;
  readonly write: Write;
}

/** A lease that is live, with what its client gets once. */
export interface LiveLease {
  readonly lease_id: string;
  readonly credential: CredentialRecord;
  readonly deliver: JsonObject;
}

/**
 * One pending lease for each provider entry that the mission has now; asks nobody.
 * @throws Denied for what a provider cannot express, or a type that this broker has no provider for
 */
export function planLeases(ports: Ports, mission: Mission, now: number): PlannedLease[] {
  return effective(mission.authority, mission.containments)
    .filter((entry): entry is ProviderEntry => !isResourceAccess(entry))
    .map((entry) => {
      const provider = ports.providers.get(entry.type);
      if (provider === undefined)
        throw new Denied({
          tag: 'invalid_authorization_details',
          detail: `this broker hands out no ${entry.type}`,
        });
      const id = ports.chance.id('lse');
      const request = requestOf(id, mission, entry);
      const lease: LeaseRecord = {
        id,
        mission_id: mission.id,
        credential_id: ports.chance.id('cred'),
        type: entry.type,
        target: provider.target(entry),
        state: 'pending',
        entry,
        revocation: provider.plan(request, now),
        created_at: now,
        expires_at: mission.expires_at,
        next_at: now + PENDING_SECONDS,
        attempts: 0,
        last_error: null,
        ended_at: null,
      };
      return { lease, provider, write: { kind: 'insert_lease', lease } };
    });
}

/**
 * Issues all at once. If one fails, every one of them is revoked before this throws, as far as counterparts
 * answer; what is left is tried again by {@link tendLeases}.
 * @throws Denied `provider_failed` naming the provider
 */
export async function issueLeases(
  ports: Ports,
  mission: Mission,
  planned: readonly PlannedLease[],
): Promise<readonly LiveLease[]> {
  const outcomes = await Promise.allSettled(planned.map((one) => issueOne(ports, mission, one)));
  const failed = outcomes.findIndex((outcome) => outcome.status === 'rejected');
  if (failed === -1)
    return outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
  const ids = planned.map(({ lease }) => lease.id);
  await giveUp(ports, mission.id, ids);
  const outcome = outcomes[failed];
  const cause: unknown = outcome?.status === 'rejected' ? outcome.reason : null;
  const type = planned[failed]?.lease.type ?? 'provider';
  if (cause instanceof ProviderFault)
    throw new Denied({ tag: 'provider_failed', provider: type, retry: cause.retry }, cause.message);
  // The mission changed while its credentials were made: none of them was delivered.
  if (cause instanceof WriteConflict)
    throw new Denied({ tag: 'provider_failed', provider: type, retry: true }, cause.conflict);
  throw cause;
}

async function issueOne(ports: Ports, mission: Mission, planned: PlannedLease): Promise<LiveLease> {
  const { lease, provider } = planned;
  const pending: readonly LeaseState[] = ['pending'];
  const issued = await provider.issue(requestOf(lease.id, mission, lease.entry), {
    now: ports.clock.now(),
    async record(revocation) {
      await ports.store.atomically([
        { kind: 'update_lease', id: lease.id, from: pending, set: { revocation } },
      ]);
    },
  });
  const now = ports.clock.now();
  const credential: CredentialRecord = {
    id: lease.credential_id,
    mission_id: mission.id,
    type: lease.type,
    target: lease.target,
    jkt: mission.jkt,
    issued_at: now,
    expires_at: issued.expires_at,
    revoked_at: null,
  };
  try {
    await ports.store.atomically(activation(mission, lease, issued, credential));
  } catch (cause) {
    // Not recorded as live: it must not live. If this fails, the pending lease still says what to revoke.
    await provider.revoke(issued.revocation, now).catch(() => undefined);
    throw cause;
  }
  return { lease_id: lease.id, credential, deliver: issued.deliver };
}

/** A lease becomes live only under the mission as it was judged; any change in between fails it. */
function activation(
  mission: Mission,
  { id, type, target }: LeaseRecord,
  { revocation, expires_at }: Issued,
  credential: CredentialRecord,
): Write[] {
  const at = credential.issued_at;
  return [
    { kind: 'require_active', id: mission.id, at, version: mission.version },
    {
      kind: 'update_lease',
      id,
      from: ['pending'],
      set: { state: 'live', revocation, expires_at, next_at: expires_at },
    },
    { kind: 'insert_credential', credential },
    record('lease.live', mission.agent, mission.id, at, {
      lease: id,
      credential: credential.id,
      type,
      target,
    }),
  ];
}

/** Revokes what the mission had before `live`; what cannot be revoked now is tried again later. */
export async function replaceLeases(
  ports: Ports,
  mission_id: string,
  live: readonly LiveLease[],
): Promise<void> {
  const kept = new Set(live.map(({ lease_id }) => lease_id));
  const before = (await ports.store.leases(mission_id)).filter(
    (lease) => lease.state === 'live' && !kept.has(lease.id),
  );
  await giveUp(
    ports,
    mission_id,
    before.map((lease) => lease.id),
  );
}

/** Marks leases as to be revoked and tries at once. */
async function giveUp(ports: Ports, mission_id: string, ids: readonly string[]): Promise<void> {
  for (const id of ids)
    await quietly(
      ports.store.atomically([
        { kind: 'update_lease', id, from: OPEN, set: { state: 'revoking', next_at: 0 } },
      ]),
    );
  const leases = (await ports.store.leases(mission_id)).filter((lease) => ids.includes(lease.id));
  await Promise.all(leases.filter((lease) => OPEN.includes(lease.state)).map((lease) => tend(ports, lease)));
}

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

async function tend(ports: Ports, lease: LeaseRecord): Promise<void> {
  const now = ports.clock.now();
  const mission = await ports.store.mission(lease.mission_id);
  const state = mission === null ? 'revoked' : stateAt(mission, now);
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
    const gone = lease.state === 'live' && lease.expires_at <= now ? 'expired' : 'revoked';
    await quietly(
      ports.store.atomically([
        { kind: 'update_lease', id, from: OPEN, set: { state: gone, ended_at } },
        ...(credential !== null && credential.revoked_at === null && gone === 'revoked'
          ? [{ kind: 'revoke_credential', id: credential.id, at: ended_at } as const]
          : []),
        record(`lease.${gone}`, 'broker', mission_id, ended_at, {
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
      record('lease.revocation_failed', 'broker', lease.mission_id, now, {
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

function requestOf(lease_id: string, mission: Mission, entry: ProviderEntry): LeaseRequest {
  return {
    lease_id,
    mission: { id: mission.id, agent: mission.agent },
    entry,
    not_after: mission.expires_at,
  };
}

function record(event: string, actor: string, mission_id: string, ts: number, details: JsonObject): Write {
  return { kind: 'append_audit', record: { ts, event, actor, mission_id, details } };
}

/** Somebody else may have moved the lease between the look and the write; that is fine. */
async function quietly(work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch (cause) {
    if (!(cause instanceof WriteConflict)) throw cause;
  }
}
