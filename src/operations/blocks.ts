/** Blocks: refusals of attestation, creation and renewal that hold until lifted (wire profile 4). */
import { Denied, malformed } from '../domain/denial.ts';
import type { BlockRecord, Ports, Selector } from '../ports.ts';
import { WriteConflict } from '../ports.ts';
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
  await ports.store.atomically([
    { kind: 'insert_block', block: record },
    feedDeny(ports, request.selector, now, 'blocked'),
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
  try {
    await ports.store.atomically([
      { kind: 'lift_block', id, at: now },
      {
        kind: 'append_feed',
        entry: {
          ts: now,
          // As it was denied: a mission is blocked with everything below it.
          kind: record.selector.kind === 'mission' ? 'mission_tree' : record.selector.kind,
          key: record.selector.key,
          effect: 'lift',
          not_after: lastTokenEnd(ports, now),
          reason_code: 'unblocked',
        },
        to: 'minted',
      },
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
