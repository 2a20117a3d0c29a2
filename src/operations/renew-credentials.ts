/**
 * `POST /missions/{id}/credentials`: provider credentials made anew before they end (wire profile 2). Renewing is
 * re-attesting, as at `/token`: fresh evidence of the mission's instance and a proof by its key, no token needed. The
 * agent keeps what it has until everything that it asked for is live, then that ends; or nothing changes.
 */
import { type ProviderEntry, within } from '../domain/authority/index.ts';
import { Denied, malformed } from '../domain/denial.ts';
import { canonicalize } from '../domain/json.ts';
import type { Mission } from '../domain/mission.ts';
import { type Evidence, type LeaseRecord, type Ports, type Write, WriteConflict } from '../ports.ts';
import { commit } from './conflicts.ts';
import { possession, selectorsOf } from './create-mission.ts';
import { ownMission } from './holder.ts';
import {
  carriedEntries,
  issueLeases,
  type LiveLease,
  type PlannedLease,
  planLeases,
  takeOver,
} from './leases.ts';
import { awake } from './lifecycle.ts';
import { type DeliveredValue, type Manifest, manifestOf } from './manifest.ts';
import { scarcest } from './purse.ts';
import { type AttestedAgent, asAttested } from './refusals.ts';

/** Other requests of the mission may come between look and write; each time around sees what they did. */
const RETRIES = 8;
/** A mission has at most so many provider entries that anybody would renew at once. */
export const MAX_RENEWED = 64;

/** Type of the credential record of a token. */
const TOKEN = 'jwt';

export interface RenewalRequest {
  readonly mission_id: string;
  /**
   * Credential ids as the manifest shows them; distinct, at most {@link MAX_RENEWED}. None: the mission is attested
   * again and nothing is replaced, which is how one without any token stays alive and is looked at.
   */
  readonly ids: readonly string[];
  readonly evidence: Evidence;
}

/**
 * @returns the manifest, with values for exactly the credentials that take the place of those asked for
 * @throws Denied
 */
export async function renewCredentials(
  ports: Ports,
  request: RenewalRequest,
  proof: { readonly header: string | undefined; readonly url: string },
): Promise<Manifest> {
  return asAttested(ports, request.evidence, proof, { mission_id: request.mission_id }, async (agent) => {
    const { mission, planned, replaced } = await takeTurn(ports, request, agent);
    const live = await issueLeases(ports, mission, planned, { replaced });
    return answer(ports, mission, request.ids, live);
  });
}

interface Turn {
  readonly mission: Mission;
  /** In the order of the ids. */
  readonly planned: readonly PlannedLease[];
  readonly replaced: readonly LeaseRecord[];
}

/** Judges and records: afterwards nobody else makes these credentials. */
async function takeTurn(
  ports: Ports,
  request: RenewalRequest,
  { evidence, proof, now }: AttestedAgent,
): Promise<Turn> {
  for (let attempt = 1; ; attempt++) {
    const stored = await ownMission(ports, request.mission_id, evidence, proof, 'renewal');
    const { mission, writes: waking } = awake(ports, stored, true, now);
    const leases = await ports.store.leases(mission.id);
    const entries = await renewable(ports, mission, leases, request.ids);
    const planned = planLeases(ports, mission, entries, now);
    const before = takeOver(mission, leases, entries, now);
    const { id, version } = mission;
    const counted = Math.max(1, entries.length);
    try {
      await commit(ports, [
        ...possession(evidence, proof),
        { kind: 'require_unblocked', selectors: selectorsOf(mission), at: now },
        ...mission.path
          .filter((ancestor) => ancestor !== id)
          .map((ancestor): Write => ({ kind: 'require_active', id: ancestor, at: now })),
        ...waking,
        // Each credential counts, as each token does; without any, it is still a renewal.
        ...Array.from(
          { length: counted },
          (): Write => ({ kind: 'derive', id, at: now, version, attested: true }),
        ),
        ...before.writes,
        ...planned.map(({ write }) => write),
      ]);
    } catch (cause) {
      if (!(cause instanceof WriteConflict)) throw cause;
      if (attempt >= RETRIES)
        throw new Denied({
          tag: 'conflict',
          detail: 'credentials of this mission are being made by other requests: ask again',
        });
      continue;
    }
    return {
      mission: { ...mission, derivations: mission.derivations + counted, last_attested_at: now },
      planned,
      replaced: before.replaced,
    };
  }
}

/**
 * The entries of the named credentials, in their order. A credential that ended (at its own end, or because its
 * mission was silent) may be renewed, and so may one that was renewed before: the answer to that may have been lost.
 */
async function renewable(
  ports: Ports,
  mission: Mission,
  leases: readonly LeaseRecord[],
  ids: readonly string[],
): Promise<readonly ProviderEntry[]> {
  const carried = carriedEntries(mission);
  const entries: ProviderEntry[] = [];
  const seen = new Set<string>();
  for (const id of ids) {
    const credential = await ports.store.credential(id);
    const lease = leases.find(({ credential_id }) => credential_id === id);
    if (credential?.mission_id === mission.id && credential.type === TOKEN)
      throw malformed('ids has one of a token: tokens are renewed at /token; here only what a provider made');
    // One body for ids of others and for ids of nobody. Without its credential, a lease was never live.
    if (credential === null || lease === undefined)
      throw malformed('ids has one that is no credential of this mission');
    if (!within([lease.entry], carried).ok)
      throw new Denied({
        tag: 'invalid_authorization_details',
        reason: 'authority_contained',
        detail: `the mission does not have this ${lease.type} any more`,
      });
    const key = canonicalize(lease.entry);
    if (seen.has(key))
      throw malformed('ids names the same credential twice: one took the place of the other');
    seen.add(key);
    entries.push(lease.entry);
  }
  return entries;
}

async function answer(
  ports: Ports,
  mission: Mission,
  ids: readonly string[],
  live: readonly LiveLease[],
): Promise<Manifest> {
  const values = live.map(({ credential, deliver }, at): readonly [string, DeliveredValue] => {
    const replaces = ids[at];
    return [credential.id, { value: deliver, ...(replaces !== undefined && { replaces }) }];
  });
  return manifestOf(
    ports,
    mission,
    await ports.store.credentials(mission.id),
    new Map(values),
    await scarcest(ports, mission),
    ports.clock.now(),
  );
}
