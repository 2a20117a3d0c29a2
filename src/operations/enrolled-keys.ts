/** Keys of machines without a platform identity: listed, and revoked with everything that they hold. */
import { Denied } from '../domain/denial.ts';
import { type Ports, WriteConflict } from '../ports.ts';
import { type RevocationAnswer, revoke } from './revoke.ts';

/**
 * Revokes an enrolled key: it attests no more, its missions end, verifiers refuse its tokens.
 * @throws Denied `not_found`, `conflict` if it was revoked before
 */
export async function revokeEnrolledKey(
  ports: Ports,
  id: string,
  by: { readonly actor: string; readonly reason: string },
): Promise<RevocationAnswer> {
  const key = (await ports.store.enrolledKeys()).find((candidate) => candidate.id === id);
  if (!key) throw new Denied({ tag: 'not_found' });
  const now = ports.clock.now();
  try {
    await ports.store.atomically([
      { kind: 'revoke_enrolled_key', id, at: now },
      {
        kind: 'append_audit',
        record: {
          ts: now,
          event: 'key.unenrolled',
          actor: by.actor,
          mission_id: null,
          details: { key_id: id, agent: key.agent, jkt: key.jkt, reason: by.reason },
        },
      },
    ]);
  } catch (cause) {
    if (!(cause instanceof WriteConflict)) throw cause;
    throw new Denied({ tag: 'conflict', detail: 'the key was revoked before' });
  }
  return revoke(ports, {
    ...by,
    selector: { kind: 'agent_key', key: key.jkt },
    dry_run: false,
    // The key's record refuses it already; a block would only be one more thing to lift.
    allow_new: true,
  });
}
