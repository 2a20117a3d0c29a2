/** What the AWS clients' errors mean here. Their messages quote requests, so that only their names go on. */

import { ProviderFault, type ProviderFaultCode } from '../provider.ts';
import { SMALLER } from './policy.ts';

export const PROVIDER = 'aws_session';

const CODES: Readonly<Record<string, readonly [ProviderFaultCode, string]>> = {
  PackedPolicyTooLargeException: ['inexpressible', `the session policy is too large when packed; ${SMALLER}`],
  PackedPolicyTooLarge: ['inexpressible', `the session policy is too large when packed; ${SMALLER}`],
  MalformedPolicyDocumentException: [
    'inexpressible',
    'the session policy names something that AWS does not accept',
  ],
  MalformedPolicyDocument: ['inexpressible', 'the session policy names something that AWS does not accept'],
  RegionDisabledException: ['misconfigured', 'STS is not enabled in this region'],
  NoSuchEntityException: ['misconfigured', 'the role does not exist'],
  NoSuchEntity: ['misconfigured', 'the role does not exist'],
};

export function faultOf(cause: unknown, step: string, timeout_ms: number): ProviderFault {
  if (cause instanceof ProviderFault) return cause;
  const name = cause instanceof Error ? cause.name : '';
  const known = CODES[name];
  if (known !== undefined) return new ProviderFault(PROVIDER, known[0], `${step}: ${known[1]}`);
  if (name === 'AbortError' || name === 'TimeoutError')
    return new ProviderFault(PROVIDER, 'timeout', `${step}: no answer within ${timeout_ms} ms`);
  const status = statusOf(cause);
  if (status === null) return new ProviderFault(PROVIDER, 'unavailable', `${step}: no connection`);
  if (status === 429 || status >= 500 || name.startsWith('Throttling'))
    return new ProviderFault(PROVIDER, 'unavailable', `${step}: status ${status}`);
  if (status >= 400)
    return new ProviderFault(PROVIDER, 'refused', `${step}: ${wordOf(name)} (status ${status})`);
  return new ProviderFault(PROVIDER, 'unexpected_answer', `${step}: status ${status}`);
}

/** AWS has a name for it, others only the status. If it is the role that is absent, the write after it says so. */
export function isAbsent(cause: unknown): boolean {
  const name = cause instanceof Error ? cause.name : '';
  return name === 'NoSuchEntityException' || name === 'NoSuchEntity' || statusOf(cause) === 404;
}

export function isFull(cause: unknown): boolean {
  return (
    cause instanceof Error && (cause.name === 'LimitExceededException' || cause.name === 'LimitExceeded')
  );
}

function statusOf(cause: unknown): number | null {
  if (!(cause instanceof Error) || !('$metadata' in cause)) return null;
  const { $metadata } = cause as { readonly $metadata?: { readonly httpStatusCode?: number } };
  return $metadata?.httpStatusCode ?? null;
}

/** An error's name comes from the answer: shown only where it is one plain word. */
function wordOf(name: string): string {
  return name.length <= 64 && [...name].every((letter) => /^[A-Za-z]$/.test(letter))
    ? name || 'refused'
    : 'refused';
}
