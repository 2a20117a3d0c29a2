/** When a provider's credential ends: the earliest of the mission, the entry's bound and the provider's maximum. */

import type { JsonObject } from '../domain/json.ts';
import type { LeaseRequest } from './provider.ts';

/** Seconds since the epoch, whole: rounded down, so that nothing outlives its mission by a fraction. */
export function endOf(request: LeaseRequest, now: number, max_seconds: number): number {
  const bound = (request.entry as JsonObject)['max_ttl_seconds'];
  const ttl = Math.min(max_seconds, typeof bound === 'number' ? bound : max_seconds);
  return Math.floor(Math.min(request.not_after, now + ttl));
}
