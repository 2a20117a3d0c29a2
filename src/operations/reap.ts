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

/** One bounded pass over what policy no longer keeps. */
export async function prune(ports: Ports, keep: RetentionPolicy): Promise<number> {
  return (await ports.store.prune(ports.clock.now(), keep)).removed;
}
