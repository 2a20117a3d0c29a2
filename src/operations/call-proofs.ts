/**
 * Whether a reported call was really made by the holder of the mission's key: its DPoP proof, checked after the fact.
 * A verifier that invents denials or effects has no such proof, and one proof stands behind one event.
 *
 * Of most calls the token is not known here, so that `ath` is not checked: a proof shows that this key called this
 * audience at about this time. Where a verdict asks for more than its denial, the event brings the token along, and
 * the proof must be for exactly this token of this mission: one made under another mission of the same key, or for
 * another audience, counts for nothing. Hashes of all tokens are not kept instead: that is a write for each token
 * minted, for a question that is asked of one in many thousands.
 */
import { createHash } from 'node:crypto';
import { Denied } from '../domain/denial.ts';
import { normalizeTarget, readProof } from '../domain/dpop.ts';
import type { DecisionEvent, ProofState } from '../domain/reports.ts';
import type { Ports } from '../ports.ts';
import { TOKEN_TYP } from './mint.ts';

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
  judge(event: DecisionEvent, verifier_id: string, jkt: string, now: number): Promise<JudgedProof>;
}

export interface JudgedProof {
  readonly proof: ProofState;
  /** When it was made, seconds by the agent's clock, for a valid one that names the event's own token. */
  readonly proven_at: number | null;
}

const say = (proof: ProofState, proven_at: number | null = null): JudgedProof => ({ proof, proven_at });

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
      if (event.proof === undefined) return say('absent');
      if (event.ts < now - MAX_AGE_SECONDS || event.ts > now + MAX_AHEAD_SECONDS) return say('invalid');
      try {
        const { claims } = readProof(event.proof);
        const { htm, htu, ath } = claims;
        if (typeof htm !== 'string' || typeof htu !== 'string' || typeof ath !== 'string')
          return say('invalid');
        if (isElsewhere(ports, htu, verifier_id)) return say('invalid');
        if (!spend(verifier_id, now)) return say('unchecked');
        const named = await isOwnToken(ports, event, now);
        if (named === false) return say('invalid');
        if (++in_turn % TURN === 0) await new Promise((turn) => setImmediate(turn));
        const proof = await ports.proofs.verify(event.proof, {
          method: htm,
          url: htu,
          ...(event.access_token !== undefined && { access_token: event.access_token }),
          nonce: 'absent',
          now: event.ts,
        });
        if (proof.jkt !== jkt) return say('invalid');
        if (!used.add(`${jkt}.${proof.jti}`, now)) return say('repeated');
        return say('valid', named === true ? proof.iat : null);
      } catch (cause) {
        if (cause instanceof Denied) return say('invalid');
        throw cause;
      }
    },
  };
}

/** Whether the token that the event brings is the one that it speaks of; null where it brings none. */
async function isOwnToken(ports: Ports, event: DecisionEvent, now: number): Promise<boolean | null> {
  if (event.access_token === undefined) return null;
  const claims = await ports.tokens.verify(event.access_token, TOKEN_TYP, now);
  return claims !== null && claims.jti === event.jti && claims.mission.id === event.mission_id;
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
