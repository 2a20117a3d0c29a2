/** What the routes of the admin API share. */

import type { z } from 'zod';
import { malformed } from '../../../domain/denial.ts';
import { instant } from '../../../domain/reader.ts';
import type { RevocationFeed } from '../../../feed/feed.ts';
import { settledLeases } from '../../../operations/lease-outcomes.ts';
import type { Ports } from '../../../ports.ts';
import type { Incoming, RouteDescription } from '../../route.ts';
import { problemSchema } from '../../schemas.ts';
import { leaseView } from '../../views.ts';

/** Verifiers acknowledge in milliseconds; one that does not is reported, not waited for. */
const ACKNOWLEDGEMENT_WAIT_MS = 500;

export const responses = (
  status: number,
  description: string,
  schema?: z.ZodType,
): RouteDescription['responses'] => ({
  [status]: { description, ...(schema && { schema }) },
  400: { description: 'Malformed', schema: problemSchema },
  401: { description: 'No live admin token', schema: problemSchema },
  403: { description: 'The role is not enough', schema: problemSchema },
  404: { description: 'No such object', schema: problemSchema },
  409: { description: 'Wrong state or version', schema: problemSchema },
});

/** @throws Denied `invalid_request` */
export function time(value: string | undefined, at: string): number | undefined {
  if (value === undefined) return undefined;
  const seconds = instant(value);
  if (seconds === null) throw malformed(`${at} must be an RFC 3339 time with an offset`);
  return seconds;
}

export function actorOf(incoming: Incoming): string {
  return `admin:${incoming.admin?.name ?? 'unknown'}`;
}

/** Durable by now; a moment's wait lets the answer say who already enforces it. */
export async function enforcedBy(
  feed: RevocationFeed,
  told: { readonly seq: number | null; readonly audiences: readonly string[] | null },
): Promise<readonly unknown[]> {
  return told.seq === null ? [] : feed.acknowledgements(told.seq, told.audiences, ACKNOWLEDGEMENT_WAIT_MS);
}

/** Provider credentials are revoked beside the answer; one that is slow or fails is reported, not waited for. */
export async function leasesAfter(ports: Ports, mission_ids: readonly string[]): Promise<readonly unknown[]> {
  return (await settledLeases(ports, mission_ids, ACKNOWLEDGEMENT_WAIT_MS)).map(leaseView);
}
