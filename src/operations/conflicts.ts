/** What a refused write means to the one who asked. */
import { Denied, malformed } from '../domain/denial.ts';
import { type Ports, type Write, WriteConflict } from '../ports.ts';

/** Spaces of single-use ids, so that a proof's `jti` never collides with an evidence's. */
export const ONCE_PROOF = 'dpop';
export const ONCE_EVIDENCE = 'evidence';
/** Delegation grants: one redemption each. */
export const ONCE_GRANT = 'delegation';

/**
 * `atomically`, with the conflicts that a caller of the token endpoint can cause turned into denials.
 * `wrong_version` passes through: the operation reads again and retries.
 */
export async function commit(ports: Ports, writes: readonly Write[]): Promise<void> {
  try {
    await ports.store.atomically(writes);
  } catch (cause) {
    if (!(cause instanceof WriteConflict)) throw cause;
    throw denialOf(cause, writes[cause.index]) ?? cause;
  }
}

function denialOf(conflict: WriteConflict, write: Write | undefined): Denied | null {
  switch (conflict.conflict) {
    case 'replayed':
      if (write?.kind === 'use_once' && write.space === ONCE_GRANT)
        return new Denied({ tag: 'unknown_mission' }, 'the delegation grant was redeemed before');
      return write?.kind === 'use_once' && write.space === ONCE_PROOF
        ? new Denied({
            tag: 'invalid_dpop_proof',
            detail: 'this proof was used before: make a new one for each request',
          })
        : new Denied({ tag: 'invalid_evidence' }, 'single-use evidence was presented twice');
    case 'evidence_pinned':
      return new Denied({ tag: 'invalid_evidence' }, 'reusable evidence was presented with a second key');
    case 'blocked':
      return new Denied({ tag: 'access_denied', reason: 'blocked' });
    case 'max_active_reached':
      return new Denied({ tag: 'access_denied', reason: 'max_active_reached' });
    case 'fan_out_reached':
      return new Denied({
        tag: 'access_denied',
        reason: 'delegation_not_permitted',
        detail: 'a mission above has as many missions below it as its template allows',
      });
    case 'rate_limited':
      return new Denied({ tag: 'access_denied', reason: 'dispatch_rate' });
    case 'derivations_exhausted':
      return new Denied({ tag: 'dead_mission', error: 'derivations_exhausted' });
    case 'mission_not_found':
      return new Denied({ tag: 'unknown_mission' });
    case 'mission_not_active':
    case 'tree_changed':
    case 'wrong_version':
    // Somebody else's token took it meanwhile: the operation looks at what is left.
    case 'limit_exhausted':
    case 'duplicate':
    case 'slot_taken':
      return null;
    case 'wrong_state':
    case 'same_person':
    case 'repeated':
      return malformed(conflict.conflict);
  }
}
