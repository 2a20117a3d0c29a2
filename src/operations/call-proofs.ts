/**
 * Whether a reported call was really made by the holder of the mission's key: its DPoP proof, checked after the fact.
 * A verifier that invents denials or effects has no such proof, and one proof stands behind one event.
 *
 * The token itself is not known here, so that `ath` is not checked: a proof shows that this key called this audience
 * at about this time.
 */
import { createHash } from 'node:crypto';
import { Denied } from '../domain/denial.ts';
import { normalizeTarget, readProof } from '../domain/dpop.ts';
import type { DecisionEvent, ProofState } from '../domain/reports.ts';
import type { Ports } from '../ports.ts';

/** Verifications a second and verifier: a tenth of a core. What comes on top is kept, and counts for display only. */
const CHECKED_PER_SECOND = 1000;
/** Verifications before everybody else gets a turn of the event loop. */
const TURN = 16;
/** An older event proves nothing: the memory of proofs is shorter. */
const MAX_AGE_SECONDS = 600;
const MAX_AHEAD_SECONDS = 60;
/** Two of these are kept, so that no proof comes twice while its event could still count. */
const GENERATION_SECONDS = MAX_AGE_SECONDS + 2 * MAX_AHEAD_SECONDS;
const GENERATION_PROOFS = 100_000;

export interface CallProofs {
  /** @param jkt the key of the mission that the event's token was minted for */
  judge(event: DecisionEvent, verifier_id: string, jkt: string, now: number): Promise<ProofState>;
}

export function createCallProofs(ports: Ports): CallProofs {
  const budgets = new Map<string, { second: number; left: number }>();
  const used = createOnceMemory();
  let in_turn = 0;

  function spend(verifier_id: string, now: number): boolean {
    const second = Math.floor(now);
    let budget = budgets.get(verifier_id);
    if (budget?.second !== second) {
      budget = { second, left: CHECKED_PER_SECOND };
      budgets.set(verifier_id, budget);
    }
    return budget.left-- > 0;
  }

  return {
    async judge(event, verifier_id, jkt, now) {
      if (event.proof === undefined) return 'absent';
      if (event.ts < now - MAX_AGE_SECONDS || event.ts > now + MAX_AHEAD_SECONDS) return 'invalid';
      try {
        const { claims } = readProof(event.proof);
        const { htm, htu, ath } = claims;
        if (typeof htm !== 'string' || typeof htu !== 'string' || typeof ath !== 'string') return 'invalid';
        if (isElsewhere(ports, htu, verifier_id)) return 'invalid';
        if (!spend(verifier_id, now)) return 'unchecked';
        if (++in_turn % TURN === 0) await new Promise((turn) => setImmediate(turn));
        const proof = await ports.proofs.verify(event.proof, {
          method: htm,
          url: htu,
          nonce: 'absent',
          now: event.ts,
        });
        if (proof.jkt !== jkt) return 'invalid';
        return used.add(`${jkt}.${proof.jti}`, now) ? 'valid' : 'repeated';
      } catch (cause) {
        if (cause instanceof Denied) return 'invalid';
        throw cause;
      }
    },
  };
}

/** A proof made for the broker, or for an audience of somebody else, does not speak of a call here. */
function isElsewhere(ports: Ports, htu: string, verifier_id: string): boolean {
  const target = normalizeTarget(htu);
  if (target === null) return true;
  const { issuer, audiences, verifiers } = ports.policy();
  const own = verifiers.find(({ id }) => id === verifier_id)?.audience;
  const below = (base: string) => target === base || target.startsWith(`${base}/`);
  if (own !== undefined && below(own)) return false;
  return below(issuer) || audiences.some(({ resource }) => resource !== own && below(resource));
}

/** Says once for each id that it is new; when it is full, for none. Bounded by number and by time. */
function createOnceMemory() {
  let young = new Set<number>();
  let old = new Set<number>();
  let since = 0;
  return {
    add(id: string, now: number): boolean {
      if (now - since > GENERATION_SECONDS) {
        old = now - since > 2 * GENERATION_SECONDS ? new Set() : young;
        young = new Set();
        since = now;
      }
      // 48 bits: two ids that meet cost a proof, they never make one.
      const key = createHash('sha256').update(id).digest().readUIntBE(0, 6);
      if (young.has(key) || old.has(key) || young.size >= GENERATION_PROOFS) return false;
      young.add(key);
      return true;
    },
  };
}
