/** Runs the loops over due leases: every second, at once when a mission changed, never one beside itself. */
import { ENTRY_TYPES } from '../domain/authority/entry_types.ts';
import type { Ports } from '../ports.ts';
import { tendLeases } from './tend-leases.ts';

export interface LeaseKeeper {
  /** One round for each type until nothing is due; a round that is asked for during one follows it. */
  tend(): Promise<void>;
  /** Begins nothing more, and waits for the passes under way: what they do not get to is due again after a start. */
  stop(): Promise<void>;
}

interface Loop {
  running: Promise<void> | null;
  again: boolean;
}

export function createLeaseKeeper(ports: Ports): LeaseKeeper {
  // Every type, served or not: a lease whose provider was taken out of the configuration fails where all can see.
  const loops = new Map<string, Loop>(ENTRY_TYPES.map(({ type }) => [type, { running: null, again: false }]));
  let stopped = false;

  async function round(type: string, loop: Loop): Promise<void> {
    do {
      loop.again = false;
      while (!stopped && (await tendLeases(ports, type)));
    } while (loop.again && !stopped);
  }

  function tendOne(type: string, loop: Loop): Promise<void> {
    if (stopped) return Promise.resolve();
    if (loop.running !== null) {
      loop.again = true;
      return loop.running;
    }
    loop.running = round(type, loop).finally(() => {
      loop.running = null;
    });
    return loop.running;
  }

  return {
    // Not waited for together: a slow counterpart must not keep the others from their next round.
    tend: async () => void (await Promise.all([...loops].map(([type, loop]) => tendOne(type, loop)))),
    async stop() {
      stopped = true;
      await Promise.all([...loops.values()].map((loop) => loop.running));
    },
  };
}
