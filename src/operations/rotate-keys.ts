/** Replaces the signing keys by command; in an emergency the old ones die at once, at every verifier. */
import type { Ports, Write } from '../ports.ts';
import { lastTokenEnd } from './lifecycle.ts';

export interface Rotated {
  readonly created: readonly string[];
  readonly revoked: readonly string[];
  /** Feed position at which the revoked ones are refused; null if none is. */
  readonly seq: number | null;
}

/** What rotation needs of the keys (`keys/signing-keys.ts`). */
export interface RotatingKeys {
  rotate(now: number, emergency: boolean, denialOf: (kid: string) => Write): Promise<Rotated>;
}

/** A key cache that never asks again cannot be told; a day is longer than any that refreshes. */
const KEY_CACHE_SECONDS = 86_400;

export async function rotateKeys(
  ports: Ports,
  keys: RotatingKeys,
  emergency: boolean,
  actor: string,
): Promise<Rotated> {
  const now = ports.clock.now();
  const rotated = await keys.rotate(now, emergency, (kid) => ({
    kind: 'append_feed',
    entry: {
      ts: now,
      kind: 'signing_key',
      key: kid,
      effect: 'deny',
      not_after: lastTokenEnd(ports, now) + KEY_CACHE_SECONDS,
      reason_code: 'key_rotated',
    },
    to: 'all',
  }));
  await ports.store.atomically([
    {
      kind: 'append_audit',
      record: {
        ts: now,
        event: 'key.rotated',
        actor,
        mission_id: null,
        details: { created: [...rotated.created], revoked: [...rotated.revoked], emergency },
      },
    },
  ]);
  return rotated;
}
