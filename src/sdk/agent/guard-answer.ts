/** What a resource server's guard answered, read from the challenge and the problem (wire profile 2.7, RFC 9449 7.1). */
import { isJsonObject, type JsonValue, parseJson } from '../../domain/json.ts';
import type { CallRefusal, Retry } from './errors.ts';
import { readText } from './runtime.ts';

const RETRIES: readonly Retry[] = ['never', 'after', 'renew', 'with_new_mission'];
const PROBLEM_MAX_BYTES = 65_536;
const CHALLENGE_MAX_LENGTH = 4096;

/** `true` if the server asks for the same request with its nonce. */
export function wantsNonce(response: Response): boolean {
  return (
    (response.status === 401 || response.status === 400) &&
    response.headers.has('dpop-nonce') &&
    challengeOf(response).get('error') === 'use_dpop_nonce'
  );
}

/**
 * The refusal of a guard, or null for every other answer, whose body is then still unread: an application's own 403 is
 * the application's business.
 */
export async function readDenial(
  response: Response,
  retry_after_seconds: number | null,
): Promise<CallRefusal | null> {
  if (response.status !== 401 && response.status !== 403 && response.status !== 503) return null;
  const challenge = challengeOf(response);
  const problem = await problemOf(response);
  const code = problem['mission_denial'] ?? challenge.get('mission_denial') ?? challenge.get('error');
  if (typeof code !== 'string') return null;
  // A server without Sortie's guard says only that the token is no good: a new one is worth one attempt (RFC 6750 3.1).
  const retry =
    problem['retry'] ?? challenge.get('retry') ?? (code === 'invalid_token' ? 'renew' : undefined);
  return {
    status: response.status,
    code,
    retry: RETRIES.find((known) => known === retry) ?? 'never',
    rule: typeof problem['rule'] === 'string' ? problem['rule'] : null,
    wanted: problem['wanted'] ?? null,
    allowed: problem['allowed'] ?? null,
    retry_after_seconds,
  };
}

async function problemOf(response: Response): Promise<Readonly<Record<string, JsonValue>>> {
  if (!response.headers.get('content-type')?.startsWith('application/problem+json')) return {};
  try {
    const problem = parseJson(await readText(response.clone(), PROBLEM_MAX_BYTES));
    return isJsonObject(problem) ? problem : {};
  } catch {
    return {};
  }
}

/** The parameters of the DPoP challenge, or of the Bearer one where there is none (RFC 9110 section 11.6.1). */
function challengeOf(response: Response): ReadonlyMap<string, string> {
  const header = response.headers.get('www-authenticate') ?? '';
  const found = new Map<string, string>();
  if (header.length > CHALLENGE_MAX_LENGTH) return found;
  const start = startOf(header, 'dpop ') ?? startOf(header, 'bearer ');
  if (start === null) return found;
  let at = start;
  while (at < header.length) {
    const equals = header.indexOf('=', at);
    if (equals === -1) break;
    const name = header.slice(at, equals).replaceAll(',', ' ').trim().toLowerCase();
    // A name with a space in it is the scheme of the next challenge.
    if (name.includes(' ')) break;
    let value = '';
    at = equals + 1;
    if (header[at] === '"') {
      for (at++; at < header.length && header[at] !== '"'; at++) {
        if (header[at] === '\\') at++;
        value += header[at] ?? '';
      }
      at++;
    } else {
      const comma = header.indexOf(',', at);
      const end = comma === -1 ? header.length : comma;
      value = header.slice(at, end).trim();
      at = end;
    }
    if (!found.has(name)) found.set(name, value);
  }
  return found;
}

/** Where the parameters of a scheme begin: at the start of the header, or after another challenge. */
function startOf(header: string, scheme: string): number | null {
  const lower = header.toLowerCase();
  if (lower.startsWith(scheme)) return scheme.length;
  const at = lower.indexOf(`, ${scheme}`);
  return at === -1 ? null : at + 2 + scheme.length;
}
