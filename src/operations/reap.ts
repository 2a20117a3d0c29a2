/** What the clock does to missions: ends those whose time is over, suspends those that fell silent. */

import { Denied } from '../domain/denial.ts';
import type { Ports, RetentionPolicy } from '../ports.ts';
import { intervene, SILENT } from './lifecycle.ts';

const BATCH = 500;

/**
 * One pass, bounded. A late pass never extends a life: expiry is judged by the clock at every use, and this
 * only tidies the record (and, for silent missions, closes what would otherwise stay open).
 * @returns how many missions were touched
 */
export async function reap(ports: Ports): Promise<number> {
  const due = await ports.store.missionsDue(ports.clock.now(), BATCH);
  const ended = due.expired.map((id) => quietly(end(ports, id, 'expire')));
  const suspended = due.silent.map((id) => quietly(end(ports, id, 'suspend')));
  await Promise.all([...ended, ...suspended]);
  return due.expired.length + due.silent.length;
}

async function end(ports: Ports, id: string, event: 'expire' | 'suspend'): Promise<void> {
  const by =
    event === 'expire'
      ? { actor: 'broker', reason: 'the mission reached its end' }
      : { actor: 'broker', reason: SILENT };
  await intervene(ports, id, event, by, event === 'expire' ? 'expired' : 'attestation_overdue');
}

/** Somebody else may have ended it between the look and the write; that is fine. */
async function quietly(work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (cause) {
    if (!(cause instanceof Denied)) throw cause;
  }
}

/** Passes of one call: each is bounded, and between two of them the writer does what else there is. */
const PASSES = 100;

/** What policy no longer keeps goes, also where more came in since the last call than one pass takes. */
export async function prune(ports: Ports, keep: RetentionPolicy): Promise<number> {
  let total = 0;
  for (let pass = 0; pass < PASSES; pass++) {
    const { removed } = await ports.store.prune(ports.clock.now(), keep);
    total += removed;
    if (removed === 0) break;
  }
  return total;
}
