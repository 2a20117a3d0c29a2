/**
 * One call under a mission: the token and a proof go to the declared resource and nowhere else. A denial before the
 * call is repeated at most once with a nonce and once with a renewed token; whatever else comes back is the caller's.
 */
import { isAtOrBelow, normalResource } from '../../domain/authority/index.ts';
import { retryAfterSeconds } from './backoff.ts';
import { CallDenied } from './errors.ts';
import { readDenial, wantsNonce } from './guard-answer.ts';
import type { HeldToken } from './held-tokens.ts';
import { type ProofKey, prove } from './proof-key.ts';
import type { Runtime } from './runtime.ts';

const LOOPBACK = new Set(['127.0.0.1', '[::1]', 'localhost']);

export interface GuardedFetchParts {
  readonly runtime: Runtime;
  readonly key: ProofKey;
  /** Declared resources. */
  readonly resources: readonly string[];
  /** Nonces by origin; grows with declared origins only. */
  readonly nonces: Map<string, string>;
  readonly token: (audience: string, refused?: HeldToken) => Promise<HeldToken>;
  readonly denied: (denial: CallDenied) => void;
}

/** @throws CallDenied, and whatever getting a token throws; TypeError for a request that must not be sent */
export async function guardedFetch(
  parts: GuardedFetchParts,
  target: string | URL,
  init: RequestInit,
): Promise<Response> {
  const url = new URL(target);
  const method = (init.method ?? 'GET').toUpperCase();
  const call = { method, url: `${url.origin}${url.pathname}` };
  const audience = audienceOf(parts.resources, url);
  if (audience === null) throw new CallDenied(unsent('resource_undeclared', 'with_new_mission'), call);
  if (url.protocol !== 'https:' && !LOOPBACK.has(url.hostname))
    throw new CallDenied(unsent('insecure_origin', 'never'), call);
  if (init.redirect === 'follow')
    throw new TypeError('a redirect is never followed with a token: read the location and decide');
  const headers = new Headers(init.headers);
  if (headers.has('authorization') || headers.has('dpop'))
    throw new TypeError('authorization and dpop headers are set by mission.fetch');

  let token = await parts.token(audience);
  const may = { nonce: isRepeatable(init.body), renew: isRepeatable(init.body) };
  for (;;) {
    const response = await send(parts, url, method, init, headers, token);
    if (may.nonce && wantsNonce(response)) {
      may.nonce = false;
      discard(response);
      continue;
    }
    const denial = await readDenial(
      response,
      retryAfterSeconds(response.headers.get('retry-after'), parts.runtime.now()),
    );
    if (denial === null) return response;
    discard(response);
    const denied = new CallDenied(denial, call);
    if (denial.retry === 'renew' && may.renew) {
      may.renew = false;
      token = await parts.token(audience, token);
      continue;
    }
    parts.denied(denied);
    throw denied;
  }
}

async function send(
  parts: GuardedFetchParts,
  url: URL,
  method: string,
  init: RequestInit,
  given: Headers,
  token: HeldToken,
): Promise<Response> {
  const { runtime, nonces } = parts;
  const headers = new Headers(given);
  headers.set('authorization', `${token.token_type} ${token.value}`);
  if (token.token_type === 'DPoP') {
    const nonce = nonces.get(url.origin);
    headers.set(
      'dpop',
      await prove(parts.key, {
        method,
        url: url.href,
        access_token: token.value,
        now: runtime.now(),
        jti: runtime.crypto.randomUUID(),
        ...(nonce !== undefined && { nonce }),
      }),
    );
  }
  const response = await runtime.fetch(url.href, {
    ...init,
    method,
    headers,
    redirect: init.redirect === 'error' ? 'error' : 'manual',
  });
  const nonce = response.headers.get('dpop-nonce');
  if (nonce !== null) nonces.set(url.origin, nonce);
  return response;
}

/** The declared resource that a URL is at or below, the closest one; null sends nothing. */
function audienceOf(resources: readonly string[], url: URL): string | null {
  // User information and forms that two readers resolve differently have no normal form.
  const target = normalResource(
    `${url.protocol}//${url.username === '' && url.password === '' ? '' : '@'}${url.host}${url.pathname}`,
  );
  if (target === null) return null;
  let closest: string | null = null;
  for (const resource of resources) {
    const normal = normalResource(resource);
    if (normal === null || !isAtOrBelow(target, normal)) continue;
    if (closest === null || resource.length > closest.length) closest = resource;
  }
  return closest;
}

/** A stream can be read once. */
function isRepeatable(body: RequestInit['body']): boolean {
  return (
    body === undefined ||
    body === null ||
    typeof body === 'string' ||
    body instanceof URLSearchParams ||
    body instanceof ArrayBuffer ||
    ArrayBuffer.isView(body) ||
    body instanceof Blob ||
    body instanceof FormData
  );
}

/** Gives the connection back; the call does not wait for it. */
function discard(response: Response): void {
  response.body?.cancel().catch(() => undefined);
}

function unsent(code: string, retry: 'never' | 'with_new_mission') {
  return { status: null, code, retry, rule: null, wanted: null, allowed: null, retry_after_seconds: null };
}
