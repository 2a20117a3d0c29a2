/**
 * `POST /admin/v1/revocations`: end everything that a selector names, with the blast radius shown first, and
 * with what cannot be killed stated (wire profile 4).
 */
import { createHash } from 'node:crypto';
import { Denied, malformed } from '../domain/denial.ts';
import { rfc3339 } from '../domain/reader.ts';
import type { FeedKind, FeedReason } from '../domain/revocation.ts';
import {
  type BlastRadius,
  type BlockRecord,
  type Committed,
  type Ports,
  type Selector,
  type Write,
  WriteConflict,
} from '../ports.ts';
import { type Intervention, lastTokenEnd } from './lifecycle.ts';
import { leaseOfCredential, revokeCredential } from './revoke-credential.ts';

/** Revoking one of these without a block would let the next attestation undo it. */
const BLOCKING: readonly Selector['kind'][] = [
  'agent',
  'instance',
  'agent_key',
  'rule',
  'attester',
  'template',
];

/**
 * Kinds whose missions are named in the feed one by one: no token tells its instance, and the denial of a key is
 * lifted whole when the key may begin again.
 */
export const NAMED_ONE_BY_ONE: readonly Selector['kind'][] = ['instance', 'agent_key'];

/** `credential`: one of a provider's, or a token by its `jti`; it ends no mission and blocks nothing. */
export type RevocationSelector = Selector | { readonly kind: 'credential'; readonly key: string };

export interface RevocationRequest extends Intervention {
  readonly selector: RevocationSelector;
  readonly dry_run: boolean;
  /** Do not block what would match in future. */
  readonly allow_new: boolean;
  /** From a dry run: the answer tells apart what was born since. */
  readonly bulk_token?: string;
}

export interface Residual {
  readonly type: string;
  readonly target: string;
  readonly count: number;
  /** The last moment at which one of them can still work, at a verifier cut off from the feed. */
  readonly works_until: string;
  readonly why: string;
}

export interface RevocationAnswer {
  readonly dry_run: boolean;
  readonly selector: RevocationSelector;
  readonly missions: number;
  /** At most 1,000 of them. */
  readonly mission_ids: readonly string[];
  /** Matching missions that a preview did not show; they are ended too. */
  readonly born_since_preview: readonly string[];
  readonly credentials: readonly Residual[];
  readonly bulk_token?: string;
  readonly block?: BlockRecord;
  /** Feed position at which this is enforced. */
  readonly seq: number | null;
  /** Audiences that were told; null for all of them. */
  readonly audiences: readonly string[] | null;
  /** Whose provider credential it was, for the selector `credential`. */
  readonly mission_id?: string;
}

/** @throws Denied `not_found`, `conflict`, `invalid_request` */
export async function revoke(ports: Ports, request: RevocationRequest): Promise<RevocationAnswer> {
  const { selector } = request;
  if (selector.kind !== 'credential' && selector.kind !== 'token') return revokeAll(ports, request, selector);
  const { key } = selector;
  if ((await leaseOfCredential(ports, key)) === null) {
    const answer = await revokeAll(ports, request, { kind: 'token', key });
    return { ...answer, selector };
  }
  if (selector.kind === 'token')
    throw malformed('this is a credential of a provider: revoke it by the selector credential');
  const { mission_id, ...residual } = await revokeCredential(ports, { ...request, credential_id: key });
  return {
    dry_run: request.dry_run,
    selector,
    missions: 0,
    mission_ids: [],
    born_since_preview: [],
    credentials: [{ ...residual, count: 1 }],
    seq: null,
    audiences: [],
    mission_id,
  };
}

async function revokeAll(
  ports: Ports,
  request: RevocationRequest,
  selector: Selector,
): Promise<RevocationAnswer> {
  const now = ports.clock.now();
  const radius = await ports.store.blastRadius(selector, now);
  const answer = {
    dry_run: request.dry_run,
    selector,
    missions: radius.missions,
    mission_ids: radius.mission_ids.slice(0, 1000),
    credentials: residuals(ports, radius, now),
  };
  if (request.dry_run)
    return {
      ...answer,
      born_since_preview: [],
      bulk_token: bulkToken(selector, radius, now),
      seq: null,
      audiences: [],
    };
  const one = selector.kind === 'mission' || selector.kind === 'mission_tree';
  if (one && (await ports.store.mission(selector.key)) === null) throw new Denied({ tag: 'not_found' });
  const previewed = request.bulk_token === undefined ? null : readBulkToken(request.bulk_token, selector);

  const block: BlockRecord | null =
    BLOCKING.includes(selector.kind) && !request.allow_new
      ? {
          id: ports.chance.id('blk'),
          selector,
          until: null,
          reason: request.reason,
          created_by: request.actor,
          created_at: now,
          lifted_at: null,
        }
      : null;
  const writes: Write[] = [
    ...(request.event_id === undefined
      ? []
      : [{ kind: 'insert_event_id', event_id: eventIdOf(selector, request.event_id), at: now } as const]),
    ...(block ? [{ kind: 'insert_block', block } as const] : []),
    ...(selector.kind === 'token'
      ? [{ kind: 'revoke_credential', id: selector.key, at: now } as const]
      : [{ kind: 'transition_all', selector, event: 'revoke', at: now, reason: request.reason } as const]),
    feedDeny(ports, selector, now),
    ...(NAMED_ONE_BY_ONE.includes(selector.kind) ? denyEach(ports, radius.mission_ids, now) : []),
    {
      kind: 'append_audit',
      record: {
        ts: now,
        event: 'revocation',
        actor: request.actor,
        mission_id: selector.kind === 'mission' || selector.kind === 'mission_tree' ? selector.key : null,
        details: {
          selector: { ...selector },
          reason: request.reason,
          missions: radius.missions,
          block: block?.id ?? null,
        },
      },
    },
  ];
  try {
    const committed = await ports.store.atomically(writes);
    const feed = [...committed.feed];
    const late = NAMED_ONE_BY_ONE.includes(selector.kind)
      ? committed.changed_missions.filter((id) => !radius.mission_ids.includes(id))
      : [];
    // Born between the look and the commit.
    if (late.length > 0) feed.push(...(await ports.store.atomically(denyEach(ports, late, now))).feed);
    return {
      ...answer,
      missions: Math.max(radius.missions, committed.changed_missions.length),
      mission_ids: committed.changed_missions.slice(0, 1000),
      born_since_preview:
        previewed === null
          ? []
          : committed.changed_missions.filter((id) => !previewed.has(shortDigest(id))).slice(0, 1000),
      seq: feed.at(-1)?.seq ?? null,
      audiences: audiencesOf(feed),
      ...(block && { block }),
    };
  } catch (cause) {
    if (!(cause instanceof WriteConflict)) throw cause;
    if (cause.conflict === 'repeated') return { ...answer, born_since_preview: [], seq: null, audiences: [] };
    if (selector.kind === 'token') throw new Denied({ tag: 'not_found' });
    throw new Denied({ tag: 'conflict', detail: cause.conflict });
  }
}

function denyEach(ports: Ports, mission_ids: readonly string[], now: number): Write[] {
  return mission_ids.map((key) => feedDeny(ports, { kind: 'mission_tree', key }, now));
}

/** Null for all. */
function audiencesOf(feed: Committed['feed']): readonly string[] | null {
  const named = new Set<string>();
  for (const { audiences } of feed) {
    if (audiences === null) return null;
    for (const audience of audiences) named.add(audience);
  }
  return [...named];
}

/** One id repeated for another target is another revocation: it must not be swallowed. */
function eventIdOf(selector: Selector, event_id: string): string {
  return `revocation:${JSON.stringify([selector.kind, selector.key, event_id])}`;
}

/** The feed's denial for a selector. */
export function feedDeny(
  ports: Ports,
  selector: Selector,
  now: number,
  reason_code: FeedReason = 'admin_revoked',
): Write {
  // Ending a mission ends what is below it, and only `mission_tree` reaches the tokens of children.
  const kind = selector.kind === 'mission' ? 'mission_tree' : selector.kind;
  const always: readonly FeedKind[] = ['mission', 'mission_tree', 'agent_key', 'token'];
  return {
    kind: 'append_feed',
    entry: {
      ts: now,
      kind,
      key: selector.key,
      effect: 'deny',
      // Kinds that name something that goes on existing refuse only what was issued until now.
      ...(!always.includes(selector.kind) && { issued_before: Math.ceil(now) }),
      not_after: lastTokenEnd(ports, now),
      reason_code,
    },
    to: 'minted',
  };
}

function residuals(ports: Ports, radius: BlastRadius, now: number): Residual[] {
  return radius.credentials.map(({ type, target, count, last_expires_at }) => {
    const provider = ports.providers.get(type);
    if (provider !== undefined) {
      const { seconds, why } = provider.residual(last_expires_at, now);
      return { type, target, count, works_until: rfc3339(Math.min(last_expires_at, now + seconds)), why };
    }
    const staleness = ports.policy().audience(target)?.max_staleness_seconds ?? 0;
    return {
      type,
      target,
      count,
      works_until: rfc3339(Math.min(last_expires_at, now + staleness)),
      why: 'only at a verifier that is cut off from the feed; connected verifiers deny when they acknowledge',
    };
  });
}

/** Pins a preview without storing it: digests of the mission ids that were shown. */
function bulkToken(selector: Selector, radius: BlastRadius, now: number): string {
  const pinned = { selector, at: Math.floor(now), missions: radius.mission_ids.map(shortDigest) };
  return Buffer.from(JSON.stringify(pinned)).toString('base64url');
}

function readBulkToken(token: string, selector: Selector): ReadonlySet<string> {
  try {
    const pinned = JSON.parse(Buffer.from(token, 'base64url').toString()) as {
      selector: Selector;
      missions: string[];
    };
    if (pinned.selector.kind === selector.kind && pinned.selector.key === selector.key)
      return new Set(pinned.missions);
  } catch {
    // Falls through to the refusal.
  }
  throw malformed('bulk_token is not from a dry run of this selector');
}

function shortDigest(id: string): string {
  return createHash('sha256').update(id).digest('base64url').slice(0, 11);
}
