/** People's and machines' access to the admin API: random tokens, stored hashed, each with one role. */
import { createHash } from 'node:crypto';
import { Denied, malformed } from '../domain/denial.ts';
import { type AdminRole, type AdminTokenRecord, type Ports, WriteConflict } from '../ports.ts';

const RANK: Record<AdminRole, number> = { viewer: 0, responder: 1, admin: 2 };
/** Recognizable, so that scanners find a leaked one. */
const PREFIX = 'sortie_adm_';
const BOOTSTRAP_SECONDS = 3600;

export interface IssuedAdminToken {
  readonly record: AdminTokenRecord;
  /** Shown once. */
  readonly token: string;
}

function digestOf(token: string): string {
  return createHash('sha256').update(token).digest('base64url');
}

/**
 * @throws Denied `unauthenticated` for every token that is not live (one answer), `forbidden` for a lesser role
 */
export async function authenticateAdmin(
  ports: Ports,
  authorization: string | undefined,
  needs: { readonly role: AdminRole; readonly bootstrap: boolean },
): Promise<AdminTokenRecord> {
  const token = authorization?.startsWith('Bearer ') ? authorization.slice(7) : null;
  if (token === null || !token.startsWith(PREFIX) || token.length > 128)
    throw new Denied({ tag: 'unauthenticated' });
  // A lookup by digest of 256 random bits leaks nothing through its timing.
  const record = await ports.store.adminToken(digestOf(token));
  const now = ports.clock.now();
  if (
    record === null ||
    record.revoked_at !== null ||
    (record.expires_at !== null && record.expires_at <= now)
  )
    throw new Denied({ tag: 'unauthenticated' });
  // A bootstrap token makes the first admin and nothing else.
  if (record.bootstrap && !needs.bootstrap) throw new Denied({ tag: 'forbidden', needs: needs.role });
  if (RANK[record.role] < RANK[needs.role]) throw new Denied({ tag: 'forbidden', needs: needs.role });
  return record;
}

/** @param by the admin who asks; a bootstrap token is spent by this and may only make an `admin` */
export async function issueAdminToken(
  ports: Ports,
  request: { readonly name: string; readonly role: AdminRole; readonly expires_at: number | null },
  by: Pick<AdminTokenRecord, 'id' | 'name' | 'bootstrap'> | null,
): Promise<IssuedAdminToken> {
  if (by?.bootstrap && request.role !== 'admin') throw new Denied({ tag: 'forbidden', needs: 'admin' });
  const now = ports.clock.now();
  // A bootstrap token spent on a dead one would lock everybody out.
  if (request.expires_at !== null && request.expires_at <= now) throw malformed('expires_at has passed');
  const issued = make(ports, { ...request, bootstrap: false });
  try {
    await ports.store.atomically([
      ...(by?.bootstrap ? [{ kind: 'revoke_admin_token', id: by.id, at: now } as const] : []),
      { kind: 'insert_admin_token', token: issued.record },
      {
        kind: 'append_audit',
        record: {
          ts: now,
          event: 'admin_token.issued',
          actor: by === null ? 'broker' : `admin:${by.name}`,
          mission_id: null,
          details: { id: issued.record.id, name: request.name, role: request.role },
        },
      },
    ]);
  } catch (cause) {
    // Two uses of one bootstrap token raced: it works once.
    if (cause instanceof WriteConflict) throw new Denied({ tag: 'unauthenticated' });
    throw cause;
  }
  return issued;
}

/** @throws Denied `not_found` */
export async function revokeAdminToken(ports: Ports, id: string, actor: string): Promise<void> {
  const now = ports.clock.now();
  try {
    await ports.store.atomically([
      { kind: 'revoke_admin_token', id, at: now },
      {
        kind: 'append_audit',
        record: { ts: now, event: 'admin_token.revoked', actor, mission_id: null, details: { id } },
      },
    ]);
  } catch (cause) {
    if (cause instanceof WriteConflict) throw new Denied({ tag: 'not_found' });
    throw cause;
  }
}

/** While there is no admin: a token that creates the first one, good for an hour and once. Null if there is one. */
export async function issueBootstrapToken(ports: Ports): Promise<IssuedAdminToken | null> {
  const now = ports.clock.now();
  const tokens = await ports.store.adminTokens();
  const live = tokens.filter((token) => token.revoked_at === null && (token.expires_at ?? now + 1) > now);
  if (live.some((token) => !token.bootstrap)) return null;
  const issued = make(ports, {
    name: 'bootstrap',
    role: 'admin',
    expires_at: now + BOOTSTRAP_SECONDS,
    bootstrap: true,
  });
  await ports.store.atomically([
    // One at a time: an older one in a forgotten file dies here.
    ...live.map((token) => ({ kind: 'revoke_admin_token', id: token.id, at: now }) as const),
    { kind: 'insert_admin_token', token: issued.record },
    {
      kind: 'append_audit',
      record: {
        ts: now,
        event: 'admin_token.bootstrap',
        actor: 'broker',
        mission_id: null,
        details: { id: issued.record.id },
      },
    },
  ]);
  return issued;
}

function make(
  ports: Ports,
  request: {
    readonly name: string;
    readonly role: AdminRole;
    readonly expires_at: number | null;
    readonly bootstrap: boolean;
  },
): IssuedAdminToken {
  const token = `${PREFIX}${ports.chance.bytes(32).toString('base64url')}`;
  return {
    token,
    record: {
      id: ports.chance.id('adm'),
      name: request.name,
      token_digest: digestOf(token),
      role: request.role,
      bootstrap: request.bootstrap,
      created_at: ports.clock.now(),
      expires_at: request.expires_at,
      revoked_at: null,
    },
  };
}
