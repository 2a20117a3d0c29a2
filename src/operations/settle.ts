/**
 * `POST /settlements`: what processes that count tell of tokens that are over. What they did not spend goes back to the
 * purses that it came from, for the same audience (docs/authority.md, Limits).
 */
import { malformed } from '../domain/denial.ts';
import type { JsonValue } from '../domain/json.ts';
import { creditsOf, readStatement } from '../domain/settlement.ts';
import { type Ports, type VerifierPolicy, WriteConflict } from '../ports.ts';

/** Allotments in one write: the writer is never held up for long. */
const CHUNK = 500;

export interface Settled {
  /** Allotments that the statement was taken note of for. */
  readonly settled: number;
  /** The run had told of these before; nothing is given back twice. */
  readonly repeated: boolean;
}

/** @throws Denied `invalid_request` for what is no statement, or of a verifier that is not registered to count */
export async function settle(ports: Ports, verifier: VerifierPolicy, body: JsonValue): Promise<Settled> {
  const statement = readStatement(body);
  const { id: verifier_id, audience } = verifier;
  if (verifier.processes === undefined) throw malformed('this verifier is not registered to count');
  const now = ports.clock.now();
  const { run_id, since, through } = statement;
  // Only tokens that were minted while it ran: of later ones another process may have taken its place.
  const until = Math.min(statement.alive_at, now);
  let settled = 0;
  for (let from = statement.from; from < through; ) {
    const open = await ports.store.openAllotments({ audience, from, through, since, until, limit: CHUNK });
    const last = open.at(-1);
    // Nothing that could be credited is nothing that could be credited twice.
    if (last === undefined) break;
    const reached = open.length < CHUNK ? through : last.expires_at;
    const credits = creditsOf(statement, open);
    try {
      await ports.store.atomically([
        {
          kind: 'settle_allotments',
          verifier_id,
          audience,
          run_id,
          from,
          through: reached,
          at: now,
          credits,
        },
      ]);
    } catch (cause) {
      if (!(cause instanceof WriteConflict) || cause.conflict !== 'repeated') throw cause;
      return { settled, repeated: true };
    }
    settled += credits.length;
    from = reached;
  }
  return { settled, repeated: false };
}
