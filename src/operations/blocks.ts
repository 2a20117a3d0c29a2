/** Blocks: refusals of attestation, creation and renewal that hold until lifted (wire profile 4). */
import { Denied, malformed } from '../domain/denial.ts';
import { stateAt } from '../domain/mission.ts';
import type { FeedKind } from '../domain/revocation.ts';
import { type BlockRecord, type Ports, type Selector, type Write, WriteConflict } from '../ports.ts';
import { lastTokenEnd } from './lifecycle.ts';
import { feedDeny } from './revoke.ts';

/** @throws Denied `invalid_request` */
export async function block(
  ports: Ports,
  request: {
    readonly selector: Selector;
    readonly until: number | null;
    readonly reason: string;
    readonly actor: string;
  },
): Promise<BlockRecord> {
  const now = ports.clock.now();
  if (request.selector.kind === 'token') throw malformed('a token is revoked, not blocked');
  if (request.until !== null && request.until <= now) throw malformed('until has passed');
  const record: BlockRecord = {
    id: ports.chance.id('blk'),
    selector: request.selector,
    until: request.until,
    reason: request.reason,
    created_by: request.actor,
    created_at: now,
    lifted_at: null,
  };
  const named = await missionsByInstance(ports, request.selector, now);
  await ports.store.atomically([
    { kind: 'insert_block', block: record },
    feedDeny(ports, request.selector, now, 'blocked'),
    ...named.map((id) => feedDeny(ports, { kind: 'mission_tree', key: id }, now, 'blocked')),
    {
      kind: 'append_audit',
      record: {
        ts: now,
        event: 'block.created',
        actor: request.actor,
        mission_id: null,
        details: {
          block: record.id,
          selector: { ...record.selector },
          reason: record.reason,
          until: record.until,
        },
      },
    },
  ]);
  return record;
}

/** @throws Denied `not_found`, `conflict` */
export async function unblock(ports: Ports, id: string, actor: string, reason: string): Promise<void> {
  const now = ports.clock.now();
  const record = await ports.store.block(id);
  if (record === null) throw new Denied({ tag: 'not_found' });
  const lifts = await lift(ports, record, now);
  try {
    await ports.store.atomically([
      { kind: 'lift_block', id, at: now },
      ...lifts,
      {
        kind: 'append_audit',
        record: {
          ts: now,
          event: 'block.lifted',
          actor,
          mission_id: null,
          details: { block: id, selector: { ...record.selector }, reason },
        },
      },
    ]);
  } catch (cause) {
    if (!(cause instanceof WriteConflict)) throw cause;
    throw new Denied({ tag: 'conflict', detail: 'the block was lifted before' });
  }
}

/** No token tells its instance: guards are told of its missions. Empty for every other kind. */
async function missionsByInstance(ports: Ports, selector: Selector, now: number): Promise<readonly string[]> {
  return selector.kind === 'instance' ? (await ports.store.blastRadius(selector, now)).mission_ids : [];
}

/**
 * What undoes the block's denial at guards, and no other: neither that of a second block, nor of a revocation, nor
 * of a mission that was suspended or ended meanwhile.
 */
async function lift(ports: Ports, record: BlockRecord, now: number): Promise<Write[]> {
  const { kind, key } = record.selector;
  const same = (selector: Selector) => selector.kind === kind && selector.key === key;
  if ((await ports.store.blocks(now)).some(({ id, selector }) => id !== record.id && same(selector)))
    return [];
  const entry = (lifted: FeedKind, of: string, bound: { readonly issued_before?: number }): Write => ({
    kind: 'append_feed',
    entry: {
      ts: now,
      kind: lifted,
      key: of,
      effect: 'lift',
      ...bound,
      not_after: lastTokenEnd(ports, now),
      reason_code: 'unblocked',
    },
    to: 'minted',
  });
  switch (kind) {
    case 'mission':
    case 'mission_tree':
      return (await isActive(ports, key, now)) ? [entry('mission_tree', key, {})] : [];
    case 'agent_key':
      return [entry(kind, key, {})];
    case 'instance': {
      const missions = await missionsByInstance(ports, record.selector, now);
      const active = await Promise.all(missions.map((id) => isActive(ports, id, now)));
      return [
        entry(kind, key, { issued_before: Math.ceil(record.created_at) }),
        ...missions.filter((_id, at) => active[at]).map((id) => entry('mission_tree', id, {})),
      ];
    }
    default:
      // What was issued before the block stays refused: among it may be what a revocation ended. Live missions renew.
      return [entry(kind, key, { issued_before: Math.ceil(record.created_at) })];
  }
}

async function isActive(ports: Ports, id: string, now: number): Promise<boolean> {
  const mission = await ports.store.mission(id);
  return mission !== null && stateAt(mission, now) === 'active';
}
