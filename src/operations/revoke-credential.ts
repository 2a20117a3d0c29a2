/**
 * `POST /admin/v1/revocations` by `credential`: one thing that was handed out ends, and its mission goes on. The agent
 * can have it made anew while the mission has the authority for it; containing the mission takes that away.
 */
import { Denied } from '../domain/denial.ts';
import { rfc3339 } from '../domain/reader.ts';
import type { CredentialRecord, LeaseRecord, Ports, Provider } from '../ports.ts';
import { WriteConflict } from '../ports.ts';
import type { Intervention } from './lifecycle.ts';
import { leaseRecord, OPEN, tendNow } from './tend-leases.ts';

export interface CredentialRevocation extends Intervention {
  readonly credential_id: string;
  readonly dry_run: boolean;
}

export interface RevokedCredential {
  readonly mission_id: string;
  readonly type: string;
  readonly target: string;
  /** The last moment at which it can still work. */
  readonly works_until: string;
  readonly why: string;
}

/** The lease of a provider's credential; null for a token and for what nobody knows. */
export async function leaseOfCredential(
  ports: Ports,
  credential_id: string,
): Promise<{ readonly credential: CredentialRecord; readonly lease: LeaseRecord } | null> {
  const credential = await ports.store.credential(credential_id);
  if (credential === null) return null;
  const leases = await ports.store.leases(credential.mission_id);
  const lease = leases.find((one) => one.credential_id === credential_id);
  return lease === undefined ? null : { credential, lease };
}

/**
 * Recorded first, then tried at once; a counterpart that does not answer is tried again until it does.
 * @throws Denied `not_found`, `conflict` where it is over already
 */
export async function revokeCredential(
  ports: Ports,
  { credential_id, dry_run, actor, reason, event_id }: CredentialRevocation,
): Promise<RevokedCredential> {
  const now = ports.clock.now();
  const found = await leaseOfCredential(ports, credential_id);
  if (found === null) throw new Denied({ tag: 'not_found' });
  const { credential, lease } = found;
  const answer = { mission_id: lease.mission_id, type: lease.type, target: lease.target };
  const provider = ports.providers.get(lease.type);
  if (dry_run) return { ...answer, ...residualOf(provider, credential, now) };
  try {
    await ports.store.atomically([
      ...(event_id === undefined
        ? []
        : [
            {
              kind: 'insert_event_id',
              event_id: `credential:${credential_id}:${event_id}`,
              at: now,
            } as const,
          ]),
      {
        kind: 'update_lease',
        id: lease.id,
        from: ['live'],
        set: { state: 'revoking', next_at: 0 },
      },
      leaseRecord('revocation', actor, lease.mission_id, now, {
        selector: { kind: 'credential', key: credential_id },
        reason,
      }),
    ]);
  } catch (cause) {
    if (!(cause instanceof WriteConflict)) throw cause;
    // On its way already, or since a moment: it needs no second word.
    if (cause.conflict !== 'repeated' && !OPEN.includes(lease.state))
      throw new Denied({ tag: 'conflict', detail: `this credential is ${lease.state} already` });
  }
  // Not waited for: the keeper goes on with it, and the caller looks at what became of it.
  void tendNow(ports, lease.mission_id, [lease.id]).catch(() => undefined);
  return { ...answer, ...residualOf(provider, credential, now) };
}

function residualOf(
  provider: Provider | undefined,
  { expires_at }: CredentialRecord,
  now: number,
): Pick<RevokedCredential, 'works_until' | 'why'> {
  if (provider === undefined)
    return { works_until: rfc3339(expires_at), why: 'this broker has no provider for it any more' };
  const { seconds, why } = provider.residual(expires_at, now);
  return { works_until: rfc3339(Math.min(expires_at, now + seconds)), why };
}
