/**
 * AuthZEN 1.0 evaluation: the broker's word on one call, judged against the store and not against a cache. Guards
 * ask it for `consequential` actions; gateways and engines that speak AuthZEN ask it for everything. Without a
 * valid, fresh proof it permits nothing and moves no counter (wire profile 3).
 */

import { type Verdict, verdictHash } from '../behaviour/verdict.ts';
import { type CallContext, compile, permits } from '../domain/authority/index.ts';
import { Denied } from '../domain/denial.ts';
import type { JsonObject } from '../domain/json.ts';
import { verdictReport } from '../domain/verdict-report.ts';
import {
  type Conflict,
  type Ports,
  type TokenClaims,
  type VerifierPolicy,
  type Write,
  WriteConflict,
} from '../ports.ts';
import { bundleContent } from './bundle.ts';
import { countCall } from './count-call.ts';
import {
  type BehaviourWish,
  type CallBehaviour,
  type CallJudgement,
  FULL_JUDGEMENT,
} from './judge-behaviour.ts';
import { tokenRefusal } from './liveness.ts';
import { TOKEN_TYP } from './mint.ts';

export interface EvaluationRequest {
  /** Null where the caller knows no mission but the token's own. */
  readonly subject: { readonly type: 'mission'; readonly id: string } | null;
  readonly action: string;
  readonly resource: string;
  readonly access_token: string;
  /** How the token was presented, where the caller knows: a bound token is never a bearer token. */
  readonly scheme?: 'DPoP' | 'Bearer';
  /** Required for a bound token: the DPoP proof of the call itself. */
  readonly proof?: string;
  /** Of the call, as the verifier saw it. */
  readonly method?: string;
  readonly url?: string;
  readonly parameters: JsonObject;
  readonly context: CallContext;
  /** Default: judged in full, and answers that nobody inspects taint. */
  readonly behaviour?: BehaviourWish;
}

export interface Evaluation {
  readonly decision: boolean;
  /** A stable code; for the verifier's log and, where the profile allows it, the agent. */
  readonly reason: string;
  /** What the agent may do about a denial by the behaviour rules, and all that it may learn of it. */
  readonly retry?: 'never' | 'with_new_mission';
  /** Origins by which `origin` constraints permitted it: of this call's own values, to who asked. */
  readonly origins?: NonNullable<CallContext['origins']>;
  /** Whose call it was, if it was permitted. */
  readonly caller?: { readonly mission_id: string; readonly client_id: string };
}

/** Proofs seen at evaluations are remembered apart from those at the token endpoint. */
const SPACE = 'evaluation';

/** As often as that a call is judged anew because something was read meanwhile; then it is refused. */
const ROUNDS = 3;

/**
 * Never throws for a bad token or proof: that is a denial.
 * @param spent proofs of one boxcar: several questions about one call share its proof
 */
export async function evaluate(
  ports: Ports,
  behaviour: CallBehaviour,
  verifier: VerifierPolicy,
  request: EvaluationRequest,
  spent: Set<string> = new Set(),
): Promise<Evaluation> {
  const now = ports.clock.now();
  const judged = await judge(ports, behaviour, verifier, request, spent, now);
  const { claims } = judged;
  // Strangers' calls move nothing.
  if (claims === null) return { decision: false, reason: judged.refused ?? 'token_invalid' };
  let { outcome } = judged;
  let writes = judged.writes;
  let decision_id = '';
  for (let round = 0; ; round++) {
    const record = recordOf(ports, verifier, request, claims, outcome, now);
    try {
      // The proof is spent, the mission seen alive and the decision on record in one transaction: what is revoked
      // between the look and the write is refused.
      const { audit } = await ports.store.atomically([...writes, ...outcome.writes, record]);
      decision_id = `dec_${audit.at(-1)?.seq}`;
    } catch (cause) {
      if (!(cause instanceof WriteConflict)) throw cause;
      return {
        decision: false,
        reason: REASONS.get(cause.conflict) ?? 'mission_changed',
      };
    }
    // Something was read while the decision became durable: what was released by then must have been known.
    if (outcome.refused !== null || outcome.open?.outdated !== true) break;
    writes = [];
    outcome = round < ROUNDS ? await outcomeOf(claims, request, outcome.open, now) : OUTDATED;
  }
  const { refused, open, verdict } = outcome;
  if (refused === null) open?.keep();
  const wish = request.behaviour ?? FULL_JUDGEMENT;
  if (verdict !== null && wish.mode !== 'off')
    behaviour.tell({
      verifier,
      mission_id: claims.mission.id,
      jti: claims.jti,
      proven: claims.cnf !== undefined,
      decision_id,
      at: now,
      mode: wish.mode,
      verdict,
    });
  if (refused === null)
    return {
      decision: true,
      reason: 'permitted',
      caller: { mission_id: claims.mission.id, client_id: claims.client_id },
      ...(outcome.origins !== undefined && { origins: outcome.origins }),
    };
  const retry = refused === BEHAVIOUR_DENIED ? verdict?.agent?.retry : undefined;
  return { decision: false, reason: refused, ...(retry !== undefined && { retry }) };
}

/** What came between the look and the write, where it has a name. */
const REASONS: ReadonlyMap<Conflict, string> = new Map([
  ['replayed', 'proof_replayed'],
  ['limit_exhausted', 'limit_exhausted'],
]);

const BEHAVIOUR_DENIED = 'behaviour_denied';

/** What is said to one call, on what was known when it was judged. */
interface Outcome {
  readonly refused: string | null;
  readonly verdict: Verdict | null;
  readonly open: CallJudgement | null;
  /** Beside the proof and the record. */
  readonly writes: readonly Write[];
  readonly origins?: NonNullable<CallContext['origins']>;
}

const OUTDATED: Outcome = { refused: 'mission_changed', verdict: null, open: null, writes: [] };

function recordOf(
  ports: Ports,
  verifier: VerifierPolicy,
  request: EvaluationRequest,
  claims: TokenClaims,
  { refused, verdict, open }: Outcome,
  now: number,
): Write {
  const judged = verdict?.record;
  return {
    kind: 'append_audit',
    record: {
      ts: now,
      event: refused === null ? 'call.permitted' : 'call.refused',
      actor: `verifier:${verifier.id}`,
      mission_id: claims.mission.id,
      details: {
        action: request.action,
        resource: request.resource,
        audience: verifier.audience,
        reason: refused ?? 'permitted',
        jti: claims.jti,
        ...(judged?.rule != null && {
          rule: judged.rule,
          catalogue_version: judged.catalogue_version,
          rules_version: judged.rules_version,
          bundle_version: bundleContent(ports, verifier.audience).version,
          verdict: verdictHash(judged),
          found: verdictReport({
            record: judged,
            enforced: refused === BEHAVIOUR_DENIED,
            evidence: open?.evidence ?? null,
          }),
        }),
      },
    },
  };
}

interface Judged {
  /** Null where the token or the proof is bad: then nothing is written. */
  readonly claims: TokenClaims | null;
  readonly refused: string | null;
  readonly outcome: Outcome;
  /** The proof, spent. */
  readonly writes: readonly Write[];
}

async function judge(
  ports: Ports,
  behaviour: CallBehaviour,
  verifier: VerifierPolicy,
  request: EvaluationRequest,
  spent: Set<string>,
  now: number,
): Promise<Judged> {
  const refuse = (refused: string): Judged => ({ refused, claims: null, outcome: OUTDATED, writes: [] });
  const claims = await ports.tokens.verify(request.access_token, TOKEN_TYP, now);
  if (claims === null || claims.aud !== verifier.audience) return refuse('token_invalid');
  if (request.subject !== null && request.subject.id !== claims.mission.id) return refuse('token_invalid');
  if (request.scheme !== undefined && (claims.cnf === undefined) !== (request.scheme === 'Bearer'))
    return refuse('scheme_mismatch');
  const writes: Write[] = [];
  if (claims.cnf !== undefined) {
    if (request.method === undefined || request.url === undefined) return refuse('proof_missing');
    try {
      const proof = await ports.proofs.verify(request.proof, {
        method: request.method,
        url: request.url,
        access_token: request.access_token,
        nonce: 'absent',
        now,
      });
      if (proof.jkt !== claims.cnf.jkt) return refuse('proof_invalid');
      const id = `${proof.jkt}.${proof.jti}`;
      if (!spent.has(id))
        writes.push({ kind: 'use_once', space: SPACE, id, expires_at: proof.remember_until });
      spent.add(id);
    } catch (cause) {
      if (cause instanceof Denied) return refuse('proof_invalid');
      throw cause;
    }
  }
  const dead = await tokenRefusal(ports, claims, now);
  const open =
    dead === null
      ? await behaviour.open(claims, verifier, request, request.behaviour ?? FULL_JUDGEMENT)
      : null;
  const outcome =
    dead === null
      ? await outcomeOf(claims, request, open, now)
      : { refused: dead, verdict: null, open: null, writes: [] };
  if (outcome.refused !== null) return { claims, refused: outcome.refused, outcome, writes };
  // Spent once a call, however often the call is judged anew.
  const counted = await countCall(ports, verifier, claims, request);
  if (counted.refused === null)
    return { claims, refused: null, outcome, writes: [...writes, ...counted.writes] };
  return { claims, refused: counted.refused, outcome: { ...outcome, ...counted }, writes };
}

/** Authority and behaviour of a call by a living token in the right hands. */
async function outcomeOf(
  claims: TokenClaims,
  request: EvaluationRequest,
  open: CallJudgement | null,
  now: number,
): Promise<Outcome> {
  const call = { action: request.action, resource: request.resource, parameters: request.parameters };
  // First behaviour, which may wait: what arrived meanwhile counts for origins as well. It is told only if it counts.
  const verdict = (await open?.settled()) ?? null;
  const context = open?.withOrigins(request.context) ?? request.context;
  const refused = permits(compile(claims.authorization_details), { ...call, context }, now);
  if (refused !== null) return { refused: refused.code, verdict: null, open, writes: [] };
  const enforced = (request.behaviour ?? FULL_JUDGEMENT).mode === 'enforce';
  if (verdict?.decision === 'deny' && enforced)
    return { refused: BEHAVIOUR_DENIED, verdict, open, writes: [] };
  const writes: Write[] = claims.mission.path.map((id) => ({ kind: 'require_active', id, at: now }));
  if (open?.taints === true) writes.push({ kind: 'taint', id: claims.mission.id });
  // Where nothing was limited by origin, the context is the request's own.
  const origins = context === request.context ? undefined : context.origins;
  return { refused: null, verdict, open, writes, ...(origins !== undefined && { origins }) };
}
