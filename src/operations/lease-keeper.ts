/** Runs the loop over due leases: every second, at once when a mission changed, never twice beside itself. */
import type { Ports } from '../ports.ts';
import { tendLeases } from './leases.ts';

/** A pass that looked at this many may have left some. */
const FULL_PASS = 200;

export interface LeaseKeeper {
  /** One round until nothing is due; a round that is asked for during one follows it. */
  tend(): Promise<void>;
  /** Begins nothing more, and waits for the pass under way: what it does not get to is due again after a start. */
  stop(): Promise<void>;
}

export function createLeaseKeeper(ports: Ports): LeaseKeeper {
  let running: Promise<void> | null = null;
  let again = false;
  let stopped = false;

  async function round(): Promise<void> {
    do {
      again = false;
      while (!stopped && (await tendLeases(ports)) === FULL_PASS);
    } while (again && !stopped);
  }

  return {
    tend() {
      if (stopped) return Promise.resolve();
      if (running !== null) {
        again = true;
        return running;
      }
      running = round().finally(() => {
        running = null;
      });
      return running;
    },
    async stop() {
      stopped = true;
      await running;
    },
  };
}
