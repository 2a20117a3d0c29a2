/** How long to wait before asking again: bounded, growing, and spread, so that a fleet does not come back as one. */

export interface Backoff {
  readonly base_ms: number;
  readonly max_ms: number;
  /** Attempts in all, the first included. */
  readonly attempts: number;
  /** A longer `Retry-After` is reported, not waited for. */
  readonly longest_retry_after_seconds: number;
}

export const DEFAULT_BACKOFF: Backoff = {
  base_ms: 100,
  max_ms: 5000,
  attempts: 4,
  longest_retry_after_seconds: 10,
};

/** Milliseconds before attempt `attempt + 1`; null where `Retry-After` asks for more than is waited. */
export function delayBefore(
  backoff: Backoff,
  attempt: number,
  retry_after_seconds: number | null,
  random: number,
): number | null {
  const spread = Math.min(backoff.max_ms, backoff.base_ms * 2 ** (attempt - 1)) * (0.5 + random / 2);
  if (retry_after_seconds === null) return spread;
  if (retry_after_seconds > backoff.longest_retry_after_seconds) return null;
  // Never earlier than asked.
  return retry_after_seconds * 1000 + spread / 4;
}

/** `Retry-After` in seconds (RFC 9110 section 10.2.3): a count or a date. Null where there is none that can be read. */
export function retryAfterSeconds(header: string | null, now: number): number | null {
  if (header === null || header.length > 64) return null;
  const text = header.trim();
  if (text !== '' && [...text].every((digit) => digit >= '0' && digit <= '9')) return Number(text);
  const date = Date.parse(text);
  return Number.isNaN(date) ? null : Math.max(0, date / 1000 - now);
}
