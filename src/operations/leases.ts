/**
 * Provider credentials of a mission: recorded before they exist, and issued all or none. At any time at most one
 * lease for each entry of a mission is on its way, and at most one is live: who makes it anew takes over whatever
 * an earlier request was still making, and ends the one that was live in the transaction that makes the new one so.
 */
import { createHash } from 'node:crypto';
import {
  type AuthoritySet,
  effective,
  isResourceAccess,
  type ProviderEntry,
} from '../domain/authority/index.ts';
import { Denied } from '../domain/denial.ts';
import { canonicalize, type JsonObject } from '../domain/json.ts';
import { type Mission, missionError, stateAt } from '../domain/mission.ts';
import {
  type CredentialRecord,
  type Issued,
  type LeaseRecord,
  type LeaseRequest,
  type Ports,
  type Provider,
  ProviderFault,
  type Write,
  WriteConflict,
} from '../ports.ts';
import { leaseRecord, OPEN, PENDING_SECONDS, quietly, tendNow } from './tend-leases.ts';

/**
 * How often one credential of a mission may be made anew: five times, then every ten seconds. Each time costs a
 * counterpart something that stays for a while, such as room in the list of denied AWS sessions.
 */
const REPLACEMENT = { interval_seconds: 10, burst: 5 } as const;
/**
 * Whoever issued a set that failed undoes it, after its mission was ended: one denial of a mission takes less room in
 * the list of denied AWS sessions than one of each lease. If it dies first, they are due after this.
 */
const UNDO_SECONDS = 10;
/** Activation looks again when something that it replaces ended by itself meanwhile. */
const ACTIVATION_RETRIES = 5;

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

/** What a set of planned leases takes the place of. */
export interface Takeover {
  /** To be committed before the leases are inserted, in their group. */
  readonly writes: readonly Write[];
  /** Live until the new ones are. */
  readonly replaced: readonly LeaseRecord[];
}

export function providerEntries(authority: AuthoritySet): readonly ProviderEntry[] {
  return authority.filter((entry): entry is ProviderEntry => !isResourceAccess(entry));
}

/** What the mission may hold at providers now. */
export function carriedEntries(mission: Mission): readonly ProviderEntry[] {
  return providerEntries(effective(mission.authority, mission.containments));
}

/**
 * One pending lease for each entry; asks nobody.
 * @throws Denied for what a provider cannot express, or a type that this broker has no provider for
 */
export function planLeases(
  ports: Ports,
  mission: Mission,
  entries: readonly ProviderEntry[],
  now: number,
): PlannedLease[] {
  return entries.map((entry) => {
    const provider = ports.providers.get(entry.type);
    if (provider === undefined)
      throw new Denied({
        tag: 'invalid_authorization_details',
        detail: `this broker hands out no ${entry.type}`,
      });
    const id = ports.chance.id('lse');
    const lease: LeaseRecord = {
      id,
      mission_id: mission.id,
      credential_id: ports.chance.id('cred'),
      type: entry.type,
      target: provider.target(entry),
      state: 'pending',
      entry,
      revocation: provider.plan(requestOf(id, mission, entry), now),
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
 * Makes room for new leases of these entries. Conflict `wrong_version` on commit if another request did the same
 * meanwhile: look again.
 */
export function takeOver(
  mission: Mission,
  leases: readonly LeaseRecord[],
  entries: readonly ProviderEntry[],
  now: number,
): Takeover {
  const open = leases.filter(({ state }) => state === 'pending' || state === 'live');
  const keys = new Set(entries.map((entry) => canonicalize(entry)));
  const same = open.filter(({ entry }) => keys.has(canonicalize(entry)));
  return {
    writes: [
      { kind: 'require_open_leases', mission_id: mission.id, ids: open.map(({ id }) => id) },
      ...same
        .filter(({ state }) => state === 'pending')
        .map(
          ({ id, created_at }): Write => ({
            kind: 'update_lease',
            id,
            from: ['pending'],
            // Whoever makes it finds out and undoes it; if nobody lives to do so, its time comes.
            set: { state: 'revoking', next_at: created_at + PENDING_SECONDS },
          }),
        ),
      ...[...keys].map(
        (key): Write => ({
          kind: 'take_rate',
          key: `credential:${mission.id}:${createHash('sha256').update(key).digest('base64url')}`,
          at: now,
          ...REPLACEMENT,
        }),
      ),
    ],
    replaced: same.filter(({ state }) => state === 'live'),
  };
}

export interface IssueTerms {
  /** Live until these are, and not a moment longer. */
  readonly replaced?: readonly LeaseRecord[];
  /** Ends what is worth nothing without these, before they are undone; not called where another request goes on. */
  readonly abandon?: () => Promise<void>;
}

/**
 * Issues all at once; they become live in one transaction, in which what they replace stops being so. If one fails,
 * every one of them is revoked before this throws, as far as counterparts answer, what is left is tried again, and
 * what they were to replace goes on.
 * @throws Denied `provider_failed` naming the provider; `conflict` where another request took over; `dead_mission`
 */
export async function issueLeases(
  ports: Ports,
  mission: Mission,
  planned: readonly PlannedLease[],
  terms: IssueTerms = {},
): Promise<readonly LiveLease[]> {
  if (planned.length === 0) return [];
  const replaced = terms.replaced ?? [];
  const outcomes = await Promise.allSettled(planned.map((one) => issueOne(ports, mission, one)));
  const made = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
  const failed = outcomes.findIndex(({ status }) => status === 'rejected');
  const outcome: PromiseSettledResult<Made> | undefined = outcomes[failed];
  try {
    if (outcome?.status === 'rejected') throw outcome.reason;
    await activate(ports, mission, made, replaced);
  } catch (cause) {
    await mark(ports, made, planned);
    const type = planned[Math.max(0, failed)]?.lease.type ?? 'provider';
    const refused = await refusal(ports, mission, planned, replaced, type, cause);
    const goes_on = refused instanceof Denied && refused.denial.tag === 'conflict';
    try {
      if (!goes_on) await terms.abandon?.();
    } finally {
      await tendNow(ports, mission.id, idsOf(planned));
    }
    throw refused;
  }
  // Not live any more on record; now they end.
  await tendNow(
    ports,
    mission.id,
    replaced.map(({ id }) => id),
  );
  return made.map(({ lease, credential, issued }) => ({
    lease_id: lease.id,
    credential,
    deliver: issued.deliver,
  }));
}

function idsOf(planned: readonly PlannedLease[]): readonly string[] {
  return planned.map(({ lease }) => lease.id);
}

interface Made {
  readonly lease: LeaseRecord;
  readonly provider: Provider;
  readonly issued: Issued;
  readonly credential: CredentialRecord;
}

async function issueOne(ports: Ports, mission: Mission, { lease, provider }: PlannedLease): Promise<Made> {
  const issued = await provider.issue(requestOf(lease.id, mission, lease.entry), {
    now: ports.clock.now(),
    async record(revocation) {
      await ports.store.atomically([
        { kind: 'update_lease', id: lease.id, from: ['pending'], set: { revocation } },
      ]);
    },
  });
  const credential: CredentialRecord = {
    id: lease.credential_id,
    mission_id: mission.id,
    type: lease.type,
    target: lease.target,
    jkt: mission.jkt,
    issued_at: ports.clock.now(),
    expires_at: issued.expires_at,
    revoked_at: null,
  };
  return { lease, provider, issued, credential };
}

/** Leases become live only under the mission as it was judged; any change in between fails them all. */
async function activate(
  ports: Ports,
  mission: Mission,
  made: readonly Made[],
  replaced: readonly LeaseRecord[],
): Promise<void> {
  const ids = new Set(replaced.map(({ id }) => id));
  for (let attempt = 1; ; attempt++) {
    const at = ports.clock.now();
    const before =
      ids.size === 0
        ? []
        : (await ports.store.leases(mission.id)).filter(({ id, state }) => ids.has(id) && state === 'live');
    const writes: Write[] = [
      // Also what is above it: nobody would look at what became live below a suspended mission.
      ...mission.path.map(
        (id): Write => ({
          kind: 'require_active',
          id,
          at,
          ...(id === mission.id && { version: mission.version }),
        }),
      ),
      ...made.flatMap((one) => liveWrites(mission, one, at)),
    ];
    const first = writes.length;
    writes.push(
      ...before.map(
        ({ id }): Write => ({
          kind: 'update_lease',
          id,
          from: ['live'],
          set: { state: 'revoking', next_at: 0 },
        }),
      ),
    );
    try {
      await ports.store.atomically(writes);
      return;
    } catch (cause) {
      const ended = cause instanceof WriteConflict && cause.index >= first;
      if (!ended || attempt >= ACTIVATION_RETRIES) throw cause;
    }
  }
}

function liveWrites(mission: Mission, { lease, issued, credential }: Made, at: number): Write[] {
  const { id, type, target } = lease;
  const { revocation, expires_at } = issued;
  return [
    {
      kind: 'update_lease',
      id,
      from: ['pending'],
      set: { state: 'live', revocation, expires_at, next_at: expires_at },
    },
    { kind: 'insert_credential', credential },
    leaseRecord('lease.live', mission.agent, mission.id, at, {
      lease: id,
      credential: credential.id,
      type,
      target,
    }),
  ];
}

/** A set that failed is to be revoked, on record; where the store does not take that, it is revoked here and now. */
async function mark(ports: Ports, made: readonly Made[], planned: readonly PlannedLease[]): Promise<void> {
  const now = ports.clock.now();
  try {
    for (const id of idsOf(planned))
      await quietly(
        ports.store.atomically([
          { kind: 'update_lease', id, from: OPEN, set: { state: 'revoking', next_at: now + UNDO_SECONDS } },
        ]),
      );
  } catch (cause) {
    // If this fails as well, each pending lease says what to revoke.
    await Promise.allSettled(made.map(({ provider, issued }) => provider.revoke(issued.revocation, now)));
    throw cause;
  }
}

/** What to answer instead of credentials. A mission that changed while they were made got none of them. */
async function refusal(
  ports: Ports,
  mission: Mission,
  planned: readonly PlannedLease[],
  replaced: readonly LeaseRecord[],
  type: string,
  cause: unknown,
): Promise<unknown> {
  const current = await ports.store.mission(mission.id);
  const state = current === null ? 'revoked' : stateAt(current, ports.clock.now());
  if (state !== 'active') return new Denied({ tag: 'dead_mission', error: missionError(state) });
  const known = new Set([...idsOf(planned), ...replaced.map(({ id }) => id)]);
  const keys = new Set(planned.map(({ lease }) => canonicalize(lease.entry)));
  const superseded = (await ports.store.leases(mission.id)).some(
    ({ id, state: lives, entry }) =>
      (lives === 'pending' || lives === 'live') && !known.has(id) && keys.has(canonicalize(entry)),
  );
  if (superseded)
    return new Denied({
      tag: 'conflict',
      detail: 'these credentials were asked for again while they were made: the later request has them',
    });
  if (cause instanceof ProviderFault)
    return new Denied({ tag: 'provider_failed', provider: type, retry: cause.retry }, cause.message);
  if (cause instanceof WriteConflict)
    return new Denied({ tag: 'provider_failed', provider: type, retry: true }, cause.conflict);
  return cause;
}

function requestOf(lease_id: string, mission: Mission, entry: ProviderEntry): LeaseRequest {
  return {
    lease_id,
    mission: { id: mission.id, agent: mission.agent },
    entry,
    not_after: mission.expires_at,
  };
}
