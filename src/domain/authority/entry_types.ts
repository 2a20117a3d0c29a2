/** Every type of authority entry that this build knows. Any other is refused, whoever asks. */

import type { EntryType } from './entry_type.ts';
import type { AuthorityEntry } from './model.ts';
import { badAuthority, shown } from './parse.ts';
import { resourceAccess } from './resource_access.ts';
import { awsSession } from './types/aws_session.ts';
import { githubInstallationToken } from './types/github_installation_token.ts';
import { kubernetesToken } from './types/kubernetes_token.ts';
import { postgresRole } from './types/postgres_role.ts';
import { vaultSecret } from './types/vault_secret.ts';
import { withDelegation } from './types/with_delegation.ts';

export const ENTRY_TYPES: readonly EntryType<AuthorityEntry>[] = [
  resourceAccess,
  withDelegation(awsSession),
  withDelegation(githubInstallationToken),
  withDelegation(kubernetesToken),
  withDelegation(postgresRole),
  withDelegation(vaultSecret),
] as readonly EntryType<AuthorityEntry>[];

const BY_TYPE: ReadonlyMap<string, EntryType<AuthorityEntry>> = new Map(
  ENTRY_TYPES.map((entry_type) => [entry_type.type, entry_type]),
);

/** @throws Denied `invalid_authorization_details` for a type that is not known */
export function entryType(type: unknown, path: string): EntryType<AuthorityEntry> {
  const found = typeof type === 'string' ? BY_TYPE.get(type) : undefined;
  if (found === undefined) {
    const named = typeof type === 'string' ? ` "${shown(type)}"` : '';
    throw badAuthority(`${path}.type`, `unknown type${named}; known are ${[...BY_TYPE.keys()].join(', ')}`);
  }
  return found;
}
