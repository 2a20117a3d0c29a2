/**
 * AuthZEN 1.0 evaluation: the broker's word on one call, judged against the store and not against a cache. Guards
 * ask it for `consequential` actions; gateways and engines that speak AuthZEN ask it for everything. Without a
 * valid, fresh proof it permits nothing and moves no counter (wire profile 3).
 */
import { type CallContext, compile, permits } from '../domain/authority/index.ts';
import { Denied } from '../domain/denial.ts';
import type { JsonObject } from '../domain/json.ts';
import { type Ports, type TokenClaims, type VerifierPolicy, type Write, WriteConflict } from '../ports.ts';
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
}

export interface Evaluation {
  readonly decision: boolean;
  /** A stable code; for the verifier's log and, where the profile allows it, the agent. */
  readonly reason: string;
  /** Whose call it was, if it was permitted. */
  readonly caller?: { readonly mission_id: string; readonly client_id: string };
}

/** Proofs seen at evaluations are remembered apart from those at the token endpoint. */
const SPACE = 'evaluation';

/**
 * Never throws for a bad token or proof: that is a denial.
 * @param spent proofs of one boxcar: several questions about one call share its proof
 */
export async function evaluate(
  ports: Ports,
  verifier: VerifierPolicy,
  request: EvaluationRequest,
  spent: Set<string> = new Set(),
): Promise<Evaluation> {
  const now = ports.clock.now();
  const judged = await judge(ports, verifier, request, spent, now);
  const permitted = judged.refused === null;
  const record: Write = {
    kind: 'append_audit',
    record: {
      ts: now,
      event: permitted ? 'call.permitted' : 'call.refused',
      actor: `verifier:${verifier.id}`,
      mission_id: judged.claims?.mission.id ?? null,
      details: {
        action: request.action,
        resource: request.resource,
        audience: verifier.audience,
        reason: judged.refused ?? 'permitted',
        ...(judged.claims && { jti: judged.claims.jti }),
      },
    },
  };
  try {
    // The proof is spent, the mission seen alive and the decision on record in one transaction: what is revoked
    // between the look and the write is refused. Strangers' calls move nothing.
    if (judged.writes.length > 0) await ports.store.atomically([...judged.writes, record]);
  } catch (cause) {
    if (!(cause instanceof WriteConflict)) throw cause;
    return { decision: false, reason: cause.conflict === 'replayed' ? 'proof_replayed' : 'mission_changed' };
  }
  return {
    decision: permitted,
    reason: judged.refused ?? 'permitted',
    ...(permitted &&
      judged.claims && {
        caller: { mission_id: judged.claims.mission.id, client_id: judged.claims.client_id },
      }),
  };
}

interface Judged {
  readonly refused: string | null;
  readonly claims: TokenClaims | null;
  readonly writes: readonly Write[];
}

async function judge(
  ports: Ports,
  verifier: VerifierPolicy,
  request: EvaluationRequest,
  spent: Set<string>,
  now: number,
): Promise<Judged> {
  const refuse = (refused: string): Judged => ({ refused, claims: null, writes: [] });
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
  const refusal = await refusalOf(ports, verifier, request, claims, now);
  if (refusal === null)
    for (const id of claims.mission.path) writes.push({ kind: 'require_active', id, at: now });
  return { refused: refusal, claims, writes };
}

async function refusalOf(
  ports: Ports,
  verifier: VerifierPolicy,
  request: EvaluationRequest,
  claims: TokenClaims,
  now: number,
): Promise<string | null> {
  const dead = await tokenRefusal(ports, claims, now);
  if (dead !== null) return dead;
  // The broker counts no calls: whoever asks it for everything would spend an allotment without end.
  if (claims.limits !== undefined && verifier.processes === undefined) return 'rules_unenforceable';
  const refused = permits(
    compile(claims.authorization_details),
    {
      action: request.action,
      resource: request.resource,
      parameters: request.parameters,
      context: request.context,
    },
    now,
  );
  return refused === null ? null : refused.code;
}
