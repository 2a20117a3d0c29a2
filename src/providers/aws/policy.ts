/**
 * From an entry to the session policy that STS intersects with the role: exactly these actions on exactly
 * these resources, until the mission's end, in these regions. Pure; what has no place in it is refused.
 */

import type { AwsSession } from '../../domain/authority/types/aws_session.ts';
import { Denied } from '../../domain/denial.ts';
import { rfc3339 } from '../../domain/reader.ts';

/** STS takes this many characters of plain text; its packed form has a limit of its own. */
export const MAX_POLICY_CHARACTERS = 2048;

/**
 * Compact JSON. The end is always inside the policy: STS knows no session shorter than 15 minutes, and counts
 * from when it gets round to it.
 * @param until seconds since the epoch, whole
 * @throws Denied `invalid_authorization_details` if it is larger than STS takes
 */
export function compileSessionPolicy(entry: AwsSession, until: number): string {
  const regions = entry['regions'];
  const policy = JSON.stringify({
    Version: '2012-10-17',
    Statement: entry.statements.map(({ actions, resources }) => ({
      Effect: 'Allow',
      Action: actions,
      Resource: resources,
      Condition: {
        DateLessThan: { 'aws:CurrentTime': rfc3339(until) },
        ...(Array.isArray(regions) ? { StringEquals: { 'aws:RequestedRegion': regions } } : {}),
      },
    })),
  });
  if (policy.length > MAX_POLICY_CHARACTERS)
    throw new Denied({
      tag: 'invalid_authorization_details',
      detail: `aws_session: its session policy has ${policy.length} characters and STS takes ${MAX_POLICY_CHARACTERS}; ${SMALLER}`,
    });
  return policy;
}

/** What to do about a policy that is too large, also when only the packed form is. */
export const SMALLER =
  'ask for fewer resources (one that ends in "/*" covers many), or split them over several aws_session entries';
