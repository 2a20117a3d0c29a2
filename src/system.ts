/** Time and chance of the machine, behind the ports that everything else takes them from. */
import { randomBytes, randomInt } from 'node:crypto';
import type { Chance, Clock } from './ports.ts';

const CHANCE_POOL = 8192;

export const systemClock: Clock = { now: () => Date.now() / 1000 };

/** The system's randomness, drawn in larger pieces: one call into the kernel costs more than sixteen bytes. */
export const systemChance: Chance = (() => {
  let pool = Buffer.alloc(0);
  let used = 0;
  const draw = (length: number): Buffer => {
    if (length > CHANCE_POOL / 4) return randomBytes(length);
    if (used + length > pool.length) {
      pool = randomBytes(CHANCE_POOL);
      used = 0;
    }
    const drawn = pool.subarray(used, used + length);
    used += length;
    return drawn;
  };
  return {
    id: (prefix) => `${prefix}_${draw(16).toString('base64url')}`,
    // A copy: a caller that keeps or clears its bytes must not touch what is drawn next.
    bytes: (length) => Buffer.from(draw(length)),
    integer: (below) => randomInt(below),
  };
})();
