/**
 * Forward-auth (wire profile 3): a gateway asks for each request of an API that has no guard of its own. What the
 * request was is told by the gateway alone, and believed only after it authenticated.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { type DenialCode, denied, type GuardDenial, type Retry } from '../domain/call-denial.ts';
import { type GatewayMap, mapRequest, pathOf } from '../domain/gateway.ts';
import { isJsonObject, parseJson } from '../domain/json.ts';
import type { Ports, VerifierPolicy } from '../ports.ts';
import { evaluate } from './evaluate.ts';
import type { CallBehaviour } from './judge-behaviour.ts';

/** Where a gateway says what the request was. One place each: a client's own header of another kind is never read. */
export const GATEWAY_KINDS = ['nginx', 'caddy', 'traefik', 'envoy'] as const;
export type GatewayKind = (typeof GATEWAY_KINDS)[number];

export interface Gateway {
  readonly id: string;
  readonly kind: GatewayKind;
  /** What agents call it: scheme, host, port and any path before the routes'; no trailing slash. */
  readonly base_url: string;
  /** SHA-256 of the shared secret. */
  readonly secret_digest: Buffer;
  readonly routes: GatewayMap;
  /** As whom it judges: its audience, and its name in the audit chain. */
  readonly verifier: VerifierPolicy;
}

/** The request as the gateway told it. */
export interface ForwardedRequest {
  readonly method: string | undefined;
  /** Raw target: path and query as on the request line. */
  readonly target: string | undefined;
  readonly authorization: string | undefined;
  readonly proof: string | undefined;
}

export type ForwardVerdict =
  | { readonly permitted: true; readonly mission_id: string; readonly client_id: string }
  | { readonly permitted: false; readonly denial: GuardDenial; readonly scheme: 'DPoP' | 'Bearer' };

const AUTHORIZATION_MAX = 16_384;
const NO_GATEWAY = Buffer.alloc(32);

/** What is kept of a gateway's secret. */
export function secretDigest(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}

/** Constant time in the secret; an unknown gateway is told nothing else than a wrong secret. */
export function authenticateGateway(
  gateway: Gateway | undefined,
  secret: string | undefined,
): Gateway | null {
  const holds = timingSafeEqual(secretDigest(secret ?? ''), gateway?.secret_digest ?? NO_GATEWAY);
  return gateway !== undefined && secret !== undefined && holds ? gateway : null;
}

/** Never throws for what an agent sent: that is a denial. */
export async function forwardAuth(
  ports: Ports,
  behaviour: CallBehaviour,
  gateway: Gateway,
  request: ForwardedRequest,
): Promise<ForwardVerdict> {
  const presented = readAuthorization(request.authorization);
  if ('code' in presented) return refuse(presented.code);
  const { scheme, token } = presented;
  const { method, target } = request;
  // The gateway is configured wrongly, or somebody in between took its headers away.
  if (method === undefined || target === undefined) return refuse('route_unmapped', scheme);
  const match = mapRequest(gateway.routes, method, target);
  if (!match.ok)
    return refuse(match.reason === 'target_refused' ? 'resource_refused' : 'route_unmapped', scheme);
  const evaluation = await evaluate(ports, behaviour, gateway.verifier, {
    subject: null,
    scheme,
    action: match.action,
    resource: match.resource,
    access_token: token,
    ...(request.proof !== undefined && { proof: request.proof }),
    method,
    url: gateway.base_url + pathOf(target),
    parameters: match.parameters,
    context: {},
  });
  if (evaluation.decision && evaluation.caller) return { permitted: true, ...evaluation.caller };
  const { reason, retry } = evaluation;
  if (reason === 'proof_invalid' && request.proof === undefined) return refuse('proof_missing', scheme);
  return refuse(codeOf(reason, token, ports.clock.now()), scheme, retry);
}

function refuse(code: DenialCode, scheme: 'DPoP' | 'Bearer' = 'DPoP', retry?: Retry): ForwardVerdict {
  return { permitted: false, denial: denied(code, retry === undefined ? {} : { retry }), scheme };
}

function readAuthorization(
  value: string | undefined,
): { readonly scheme: 'DPoP' | 'Bearer'; readonly token: string } | { readonly code: DenialCode } {
  if (value === undefined || value === '') return { code: 'credentials_missing' };
  if (value.length > AUTHORIZATION_MAX) return { code: 'credentials_too_large' };
  const space = value.indexOf(' ');
  const name = value.slice(0, Math.max(0, space)).toLowerCase();
  const scheme = name === 'dpop' ? 'DPoP' : name === 'bearer' ? 'Bearer' : null;
  const token = value.slice(space + 1);
  if (scheme === null || token === '' || token.includes(' ') || token.includes(','))
    return { code: 'credentials_malformed' };
  return { scheme, token };
}

/** Codes of the evaluation are the guard's, but for the race that it lost and for age, which the guard tells apart. */
function codeOf(reason: string, token: string, now: number): DenialCode {
  if (reason === 'mission_changed') return 'mission_revoked';
  if (reason === 'token_invalid' && hasExpired(token, now)) return 'token_expired';
  return reason as DenialCode;
}

/** By what the token says of itself: whoever presents it knows as much. */
function hasExpired(token: string, now: number): boolean {
  try {
    const claims = parseJson(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8'));
    return isJsonObject(claims) && typeof claims['exp'] === 'number' && claims['exp'] <= now;
  } catch {
    return false;
  }
}
