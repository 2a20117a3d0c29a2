/**
 * A database that came back from a backup has forgotten revocations (wire profile 3). What it last knew is kept in
 * a small file beside it, which must not be backed up with it: a database behind its mark, or without one, was
 * restored. Then the epoch rises, every mission in it ends, and nothing is issued until a person has looked at the
 * block list.
 */
import type { Committed, Mark, MarkKeeper, Ports, Write } from '../ports.ts';
import { BROKER_REASON, lastTokenEnd } from './lifecycle.ts';

const UNCONFIRMED = 'restore_unconfirmed';
export const RESTORED = `${BROKER_REASON} the database was restored from a backup`;

/** What is needed before there are keys: the keys' own records must not hide that a database is new. */
type Ground = Pick<Ports, 'store' | 'clock' | 'policy'>;

/** Call before anything is written or served. @returns whether a restored backup was found now */
export async function recognizeRestore(ports: Ground, keeper: MarkKeeper): Promise<boolean> {
  const here = await markOf(ports);
  const kept = keeper.read();
  const fresh = kept === null && here.audit_seq === 0;
  const behind =
    kept !== null &&
    (here.epoch < kept.epoch || here.feed_seq < kept.feed_seq || here.audit_seq < kept.audit_seq);
  if (fresh || (kept !== null && !behind)) {
    keeper.write(here);
    return false;
  }
  const now = ports.clock.now();
  const { issuer } = ports.policy();
  const epoch = Math.max(here.epoch, kept?.epoch ?? 0) + 1;
  const writes: Write[] = [
    { kind: 'set_meta', key: 'epoch', value: String(epoch) },
    { kind: 'set_meta', key: UNCONFIRMED, value: '1' },
    {
      kind: 'transition_all',
      selector: { kind: 'issuer', key: issuer },
      event: 'revoke',
      at: now,
      reason: RESTORED,
    },
    {
      kind: 'append_feed',
      entry: {
        ts: now,
        kind: 'issuer',
        key: issuer,
        effect: 'deny',
        issued_before: Math.ceil(now),
        not_after: lastTokenEnd(ports, now),
        reason_code: 'restored_backup',
      },
      to: 'all',
    },
    {
      kind: 'append_audit',
      record: {
        ts: now,
        event: 'store.restored',
        actor: 'broker',
        mission_id: null,
        details: { epoch, found: { ...here }, expected: kept === null ? null : { ...kept } },
      },
    },
  ];
  await ports.store.atomically(writes);
  keeper.write(await markOf(ports));
  return true;
}

/** Whether a person still has to look at the block list before anything is issued. */
export async function restoreUnconfirmed(ports: Ground): Promise<boolean> {
  return (await ports.store.meta(UNCONFIRMED)) === '1';
}

export async function confirmRestore(ports: Ports, actor: string, reason: string): Promise<void> {
  const now = ports.clock.now();
  await ports.store.atomically([
    { kind: 'set_meta', key: UNCONFIRMED, value: '0' },
    {
      kind: 'append_audit',
      record: { ts: now, event: 'store.restore_confirmed', actor, mission_id: null, details: { reason } },
    },
  ]);
}

/**
 * Follows commits: at once where a revocation is in them, else by the caller's timer. A mark behind the database is
 * harmless; one ahead of it never happens, because commits are durable before they are told.
 */
export function followMark(ports: Ground, keeper: MarkKeeper, first: Mark): { flush(): void } {
  let mark = first;
  let kept = first;
  const keep = () => {
    if (kept === mark) return;
    keeper.write(mark);
    kept = mark;
  };
  ports.store.onCommit((committed: Committed) => {
    const feed_seq = committed.feed.at(-1)?.seq ?? mark.feed_seq;
    const audit_seq = committed.audit.at(-1)?.seq ?? mark.audit_seq;
    if (feed_seq === mark.feed_seq && audit_seq === mark.audit_seq) return;
    mark = { epoch: mark.epoch, feed_seq, audit_seq };
    if (committed.feed.length > 0) keep();
  });
  return { flush: keep };
}

export async function markOf(ports: Ground): Promise<Mark> {
  const { epoch, seq } = await ports.store.feedHead();
  const audit_seq = (await ports.store.auditSegments()).at(-1)?.last_seq ?? 0;
  return { epoch, feed_seq: seq, audit_seq };
}
