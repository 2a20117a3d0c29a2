/** The GitHub App as which the broker asks: its JWT (RS256, minutes to live) and the three calls that it needs. */

import { createPrivateKey, type KeyObject, sign } from 'node:crypto';
import type { JsonObject } from '../../domain/json.ts';
import { type HttpAnswer, objectOf, send } from '../http.ts';
import { ProviderFault } from '../provider.ts';

export const PROVIDER = 'github_installation_token';

export interface GithubApp {
  /** As entries name it. */
  readonly name: string;
  /** `https://api.github.com`, or `https://<host>/api/v3` of an Enterprise Server. */
  readonly api_url: string;
  /** Client id or app id: who the JWT says it is. */
  readonly app_id: string;
  /** RSA, PEM. */
  readonly private_key: string;
  readonly ca?: string;
  readonly timeout_ms: number;
}

/** GitHub's clock may be behind ours. */
const BACKDATED_SECONDS = 60;
/** GitHub takes at most ten minutes after its own now. */
const JWT_SECONDS = 540;
const MIN_MODULUS_BITS = 2048;
/** Tokens have no fixed form or length; this is what a header takes. */
const MAX_TOKEN = 4096;

export interface GithubClient {
  readonly app: GithubApp;
  /** @returns GitHub's answer, judged by nobody yet. @throws ProviderFault */
  createToken(installation_id: number, asked: JsonObject, now: number): Promise<JsonObject>;
  /** Ends `token` by itself; true if it was dead already. @throws ProviderFault */
  revokeToken(token: string): Promise<boolean>;
}

/** @throws Error naming the app and no part of its key */
export function openApp(app: GithubApp): GithubClient {
  const key = keyOf(app);

  function appJwt(now: number): string {
    const iat = Math.floor(now) - BACKDATED_SECONDS;
    const parts = [
      { alg: 'RS256', typ: 'JWT' },
      { iss: app.app_id, iat, exp: Math.floor(now) + JWT_SECONDS },
    ].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'));
    const signed = parts.join('.');
    return `${signed}.${sign('sha256', Buffer.from(signed), key).toString('base64url')}`;
  }

  function call(
    method: string,
    path: string,
    bearer: string,
    step: string,
    body?: JsonObject,
  ): Promise<HttpAnswer> {
    return send({
      provider: PROVIDER,
      step,
      url: `${app.api_url}${path}`,
      method,
      headers: {
        accept: 'application/vnd.github+json',
        authorization: `Bearer ${bearer}`,
        // Requests without one are refused.
        'user-agent': 'sortie',
        'x-github-api-version': '2022-11-28',
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      timeout_ms: app.timeout_ms,
      ...(app.ca === undefined ? {} : { ca: app.ca }),
    });
  }

  return {
    app,
    async createToken(installation_id, asked, now) {
      const step = 'creating a token';
      const path = `/app/installations/${installation_id}/access_tokens`;
      const answer = await call('POST', path, appJwt(now), step, asked);
      if (answer.status === 201) return objectOf(PROVIDER, answer.body, step);
      if (answer.status === 404)
        throw new ProviderFault(PROVIDER, 'misconfigured', `${step}: the app has no such installation`);
      if (answer.status === 422)
        throw new ProviderFault(
          PROVIDER,
          'misconfigured',
          `${step}: the installation does not have these repositories and permissions`,
        );
      throw faultOf(answer, step);
    },
    async revokeToken(token) {
      const answer = await call('DELETE', '/installation/token', token, 'revoking');
      // 401 is what GitHub says to a token that was revoked or has expired.
      if (answer.status === 204 || answer.status === 401) return answer.status === 401;
      throw faultOf(answer, 'revoking');
    },
  };
}

/** The token of an answer, whatever else is wrong with it: what exists must be revocable. */
export function tokenIn(answer: JsonObject): string | null {
  const token = answer['token'];
  return typeof token === 'string' && token.length <= MAX_TOKEN && /^[\x21-\x7e]+$/.test(token)
    ? token
    : null;
}

function keyOf({ name, private_key }: GithubApp): KeyObject {
  let key: KeyObject | null = null;
  try {
    key = createPrivateKey(private_key);
  } catch {
    // Whatever the library says of it is not repeated.
  }
  if (key?.asymmetricKeyType !== 'rsa' || (key.asymmetricKeyDetails?.modulusLength ?? 0) < MIN_MODULUS_BITS)
    throw new Error(`providers.github ${name}: private_key must be an RSA key in PEM, of 2048 bits or more`);
  return key;
}

function faultOf({ status, headers }: HttpAnswer, step: string): ProviderFault {
  // A spent rate limit answers 403 or 429 and says so in a header.
  const spent = headers['retry-after'] !== undefined || headers['x-ratelimit-remaining'] === '0';
  if (status === 429 || status >= 500 || (status === 403 && spent))
    return new ProviderFault(PROVIDER, 'unavailable', `${step}: status ${status}`);
  if (status === 401 || status === 403)
    return new ProviderFault(PROVIDER, 'refused', `${step}: status ${status}`);
  return new ProviderFault(PROVIDER, 'unexpected_answer', `${step}: status ${status}`);
}
