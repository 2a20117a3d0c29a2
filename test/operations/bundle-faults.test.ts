/**
 * One JWT, two AWS sessions, one Vault secret and one PostgreSQL role by one call; then every counterpart made to
 * fail in turn, before, during and after issue. Nothing is left behind, as the counterparts themselves say: roles in
 * pg_roles, tokens and leases in the Vault emulator, denials at moto, which like AWS cannot end a session.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Provider, ProviderFault, type Store, type Write } from '../../src/ports.ts';
import { openSqliteStore } from '../../src/store/sqlite.ts';
import { pythonHas } from '../foreign/python.ts';
import { newKey } from '../support/broker.ts';
import {
  AWS_WEB_ENTRY,
  type BundleAnswer,
  type BundleBroker,
  type BundleCredential,
  credentialOf,
  FULL_BUNDLE,
  startBundle,
  TOKEN_ENTRY,
} from '../support/bundle.ts';
import type { Fault } from '../support/faulty-proxy.ts';
import { postgresFor } from '../support/postgres.ts';

const bin = postgresFor('faults of bundles');

describe.skipIf(bin === null || !pythonHas('faults of bundles', 'moto.server'))('a full bundle', () => {
  let bundle: BundleBroker;
  let storeFails: ((write: Write) => boolean) | null = null;

  beforeAll(async () => {
    bundle = await startBundle(bin ?? '', {
      aws: true,
      faults: true,
      openStore: async (options) => failing(await openSqliteStore(options)),
    });
  }, 180_000);
  afterEach(async () => {
    storeFails = null;
    for (const proxy of Object.values(bundle.faults)) proxy.fail(null);
  });
  afterAll(() => bundle?.close());

  /** A disk that is full, or gone, for writes of a kind. */
  function failing(store: Store): Store {
    return {
      ...store,
      async atomically(writes) {
        if (storeFails !== null && writes.some(storeFails)) throw new Error('database or disk is full');
        return store.atomically(writes);
      },
    };
  }

  const sessions = ({ credentials }: BundleAnswer['body']) =>
    credentials.filter(({ type }) => type === 'aws_session');
  const regionsOf = ({ value }: BundleCredential) => (value as { readonly regions: string[] }).regions;
  const leaseOf = (arn: string | null) => arn?.split('/').at(-1) ?? '';

  /** Of everything there is, what works at its counterpart. */
  async function working({ mission: { id }, credentials }: BundleAnswer['body']): Promise<readonly string[]> {
    const denied = await bundle.aws.denied();
    const works = async (credential: BundleCredential): Promise<boolean> => {
      switch (credential.type) {
        case 'jwt':
          return (await bundle.broker.introspect(String(credential.value)))['active'] === true;
        case 'postgres_role':
          return bundle.postgresWorks(credential);
        case 'vault_secret':
          return bundle.vaultWorks(credential);
        default: {
          // moto enforces no policy: what it knows of the session, and what the role denies, is all there is.
          const lease = leaseOf(await bundle.aws.callerOf(credential.value));
          return lease !== '' && !denied.includes(lease) && !denied.includes(id);
        }
      }
    };
    const judged = await Promise.all(
      credentials.map(async (credential) => ((await works(credential)) ? credential.type : null)),
    );
    return judged.filter((type) => type !== null).sort();
  }
  async function declared(more: Record<string, unknown> = {}): Promise<BundleAnswer['body']> {
    const { status, body } = await bundle.declare(await newKey(), more);
    expect(status).toBe(201);
    return body;
  }

  async function end(mission_id: string): Promise<void> {
    await bundle.broker.admin('POST', `/missions/${mission_id}/revoke`, { reason: 'incident' });
    await bundle.settled(mission_id);
  }

  it('comes by one call, and every part works where it belongs', async () => {
    const body = await declared();
    expect(body.credentials.map(({ type }) => type).sort()).toEqual([
      'aws_session',
      'aws_session',
      'jwt',
      'postgres_role',
      'vault_secret',
    ]);
    expect(sessions(body).flatMap(regionsOf).sort()).toEqual(['eu-central-1', 'us-east-1']);
    expect(await working(body)).toEqual([
      'aws_session',
      'aws_session',
      'jwt',
      'postgres_role',
      'vault_secret',
    ]);
    await end(body.mission.id);
  });

  it('ends whole by one revocation, and what cannot be ended was said before', async () => {
    const body = await declared();
    for (const session of sessions(body)) {
      expect(session.residual_after_revoke_seconds).toBe(60);
      expect(session.residual_reason).toContain('IAM takes up to 60 s');
    }
    await end(body.mission.id);
    expect(await working(body)).toEqual([]);
    expect(await bundle.roles()).toEqual([]);
    expect(bundle.vault.alive()).toBe(0);
    expect(bundle.vault.leases()).toBe(0);
    expect(await bundle.aws.denied()).toContain(body.mission.id);
    // And is said again where it was done.
    const { body: audit } = await bundle.broker.admin(
      'GET',
      `/audit?event=lease.revoked&mission_id=${body.mission.id}`,
    );
    const residuals = (audit['items'] as { details: { type: string; residual: { seconds: number } } }[])
      .filter(({ details }) => details.type === 'aws_session')
      .map(({ details }) => details.residual.seconds);
    expect(residuals).toEqual([60, 60]);
  });

  it("takes an AWS session with the broker's own JWT along, which nobody else sees", async () => {
    const body = await declared({
      authorization_details: [TOKEN_ENTRY, AWS_WEB_ENTRY, ...FULL_BUNDLE.slice(3)],
    });
    const [session, ...more] = sessions(body);
    expect(more).toEqual([]);
    const arn = await bundle.aws.callerOf(session?.value);
    expect(arn).toContain(':assumed-role/web/lse_');
    expect(JSON.stringify(body).match(/eyJ[\w-]+\.eyJ/g)).toHaveLength(1);
    await end(body.mission.id);
    expect(await bundle.aws.denied('web')).toContain(body.mission.id);
  });

  it('keeps the two regions apart: renewing one leaves the other', async () => {
    const key = await newKey();
    const { body, instance } = await bundle.declare(key);
    const [one, other] = sessions(body);
    const renewed = await bundle.renew(key, body.mission.id, [String(one?.id)], instance);
    expect(renewed.status).toBe(200);
    const fresh = renewed.body.credentials.filter(({ value }) => value !== undefined);
    expect(fresh).toHaveLength(1);
    expect(fresh.flatMap(regionsOf)).toEqual(sessions(body).slice(0, 1).flatMap(regionsOf));
    const denied = await bundle.aws.denied();
    expect(denied).toContain(leaseOf(await bundle.aws.callerOf(one?.value)));
    expect(denied).not.toContain(leaseOf(await bundle.aws.callerOf(other?.value)));
    expect(denied).not.toContain(leaseOf(await bundle.aws.callerOf(fresh[0]?.value)));
    await end(body.mission.id);
  });

  type Counterpart = 'postgres' | 'vault' | 'sts';
  const TYPE = { postgres: 'postgres_role', vault: 'vault_secret', sts: 'aws_session' } as const;
  const FAULTS: readonly [string, Counterpart, Fault][] = [
    ['before: PostgreSQL refuses the connection', 'postgres', { kind: 'refuse' }],
    ['before: PostgreSQL never hears BEGIN', 'postgres', { kind: 'hang', at: 'BEGIN' }],
    ['during: PostgreSQL hangs over CREATE ROLE', 'postgres', { kind: 'hang', at: 'CREATE ROLE' }],
    [
      'during: PostgreSQL breaks off after CREATE ROLE',
      'postgres',
      { kind: 'cut_answer', at: 'CREATE ROLE' },
    ],
    ['during: PostgreSQL hangs over GRANT', 'postgres', { kind: 'hang', at: 'GRANT SELECT' }],
    ['after: PostgreSQL commits, and its answer is lost', 'postgres', { kind: 'lose_answer', at: 'COMMIT' }],
    [
      'after: PostgreSQL commits, and the connection breaks',
      'postgres',
      { kind: 'cut_answer', at: 'COMMIT' },
    ],
    [
      'late: PostgreSQL hears COMMIT when all have gone',
      'postgres',
      { kind: 'late', at: 'COMMIT', seconds: 5 },
    ],
    ['before: Vault refuses the connection', 'vault', { kind: 'refuse' }],
    ['before: Vault hangs over the login', 'vault', { kind: 'hang', at: 'auth/jwt/login' }],
    ['before: Vault answers the login with 500', 'vault', { kind: 'error', at: 'auth/jwt/login' }],
    ['during: Vault logs in, and its answer is lost', 'vault', { kind: 'lose_answer', at: 'auth/jwt/login' }],
    [
      'late: Vault hears the login when all have gone',
      'vault',
      { kind: 'late', at: 'auth/jwt/login', seconds: 5 },
    ],
    ['during: Vault hangs over the prolongation', 'vault', { kind: 'hang', at: 'renew-self' }],
    ['during: Vault answers the prolongation with 500', 'vault', { kind: 'error', at: 'renew-self' }],
    ['during: Vault prolongs, and its answer is lost', 'vault', { kind: 'cut_answer', at: 'renew-self' }],
    ['during: Vault answers the secret with 500', 'vault', { kind: 'error', at: 'database/creds' }],
    [
      'after: Vault makes the secret, and its answer is lost',
      'vault',
      { kind: 'lose_answer', at: 'database/creds' },
    ],
    ['before: STS refuses the connection', 'sts', { kind: 'refuse' }],
    ['during: STS answers with 500', 'sts', { kind: 'error', at: 'Action=AssumeRole' }],
    ['during: STS hangs', 'sts', { kind: 'hang', at: 'Action=AssumeRole' }],
    ['during: STS hangs over one region only', 'sts', { kind: 'hang', at: 'us-east-1%22' }],
    [
      'after: STS makes the session, and its answer is lost',
      'sts',
      { kind: 'lose_answer', at: 'Action=AssumeRole' },
    ],
    [
      'after: STS makes the session, and the connection breaks',
      'sts',
      { kind: 'cut_answer', at: 'Action=AssumeRole' },
    ],
  ];

  it.each(FAULTS)('leaves nothing behind; %s', async (_what, counterpart, fault) => {
    const denied_before = new Set(await bundle.aws.denied());
    const missions_before = await allMissions();
    bundle.faults[counterpart].fail(fault);
    const { status, body } = await bundle.declare(await newKey());
    expect(bundle.faults[counterpart].struck()).toBeGreaterThan(0);
    expect(status).toBe(503);
    expect(body.detail).toContain(TYPE[counterpart]);
    bundle.faults[counterpart].fail(null);
    if (fault.kind === 'late') await new Promise((resolve) => setTimeout(resolve, fault.seconds * 1000));
    // The first minute, without waiting for it.
    bundle.advance(60);

    const [mission] = (await allMissions()).filter((id) => !missions_before.includes(id));
    const stored = await bundle.broker.broker.ports.store.mission(String(mission));
    expect(stored?.state).toBe('revoked');
    const leases = await bundle.settled(String(mission));
    expect(leases.map(({ state }) => state)).toEqual(['revoked', 'revoked', 'revoked', 'revoked']);
    expect(await bundle.roles()).toEqual([]);
    expect(bundle.vault.alive()).toBe(0);
    expect(bundle.vault.leases()).toBe(0);
    // Whether a session was made or not, it is denied: by the mission, which takes the least room on the role.
    const denied = (await bundle.aws.denied()).filter((id) => !denied_before.has(id));
    expect(denied).toEqual([mission]);
    const credentials = await bundle.broker.broker.ports.store.credentials(String(mission));
    expect(credentials.filter(({ type }) => type !== 'jwt')).toEqual([]);
  });

  async function allMissions(): Promise<readonly string[]> {
    const { items } = await bundle.broker.broker.ports.store.missions({ limit: 200 });
    return items.map(({ id }) => id);
  }

  it('leaves nothing behind; PostgreSQL answers with an error', async () => {
    await bundle.database.query('ALTER ROLE sortie_broker NOCREATEROLE');
    const { status, body } = await bundle.declare(await newKey());
    await bundle.database.query('ALTER ROLE sortie_broker CREATEROLE');
    expect(status).toBe(503);
    expect(body.detail).toContain('postgres_role');
    expect(await bundle.roles()).toEqual([]);
    expect(bundle.vault.alive()).toBe(0);
    expect(bundle.vault.leases()).toBe(0);
  });

  it.each<[string, (write: Write) => boolean]>([
    ['the activation', ({ kind }) => kind === 'insert_credential'],
    ['what would revoke it', (write) => write.kind === 'update_lease' && write.set.revocation !== undefined],
    // Neither that it is live nor that it is to be revoked can be written: the counterparts are told all the same.
    ['anything of a lease', ({ kind }) => kind === 'update_lease'],
  ])('leaves nothing behind; the store refuses %s', async (_what, refuses) => {
    const missions_before = await allMissions();
    // The token's own record is made with the mission: only what comes after it fails.
    storeFails = (write) =>
      refuses(write) && !(write.kind === 'insert_credential' && write.credential.type === 'jwt');
    const { status } = await bundle.declare(await newKey());
    expect(status).toBe(503);
    expect(await bundle.roles()).toEqual([]);
    expect(bundle.vault.alive()).toBe(0);
    expect(bundle.vault.leases()).toBe(0);
    storeFails = null;
    bundle.advance(60);
    const [mission] = (await allMissions()).filter((id) => !missions_before.includes(id));
    // What could not be written is found by its time.
    for (let attempt = 0; attempt < 100; attempt++) {
      const leases = await bundle.leases(String(mission));
      if (leases.every(({ state }) => state === 'revoked')) break;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    expect((await bundle.leases(String(mission))).map(({ state }) => state)).toEqual(
      Array.from({ length: 4 }, () => 'revoked'),
    );
    const denied = await bundle.aws.denied();
    const leases = (await bundle.leases(String(mission))).filter(({ type }) => type === 'aws_session');
    for (const { id } of leases) expect(denied.includes(id) || denied.includes(String(mission))).toBe(true);
  });

  it('leaves nothing behind; a counterpart acts long after it was told to undo it', async () => {
    const providers = bundle.broker.broker.ports.providers as Map<string, Provider>;
    const real = providers.get('postgres_role');
    if (real === undefined) throw new Error('no provider');
    let acted: Promise<unknown> = Promise.resolve();
    providers.set('postgres_role', {
      ...real,
      async issue(request, context) {
        // The request waits somewhere on the way, and goes on when the broker has given up and revoked.
        acted = new Promise((resolve) => setTimeout(resolve, 1500)).then(() => real.issue(request, context));
        throw new ProviderFault('postgres_role', 'timeout', 'no answer');
      },
    });
    const missions_before = await allMissions();
    const { status } = await bundle.declare(await newKey());
    providers.set('postgres_role', real);
    expect(status).toBe(503);
    await acted;
    expect(await bundle.roles()).toHaveLength(1);
    bundle.advance(60);
    const [mission] = (await allMissions()).filter((id) => !missions_before.includes(id));
    await bundle.settled(String(mission));
    expect(await bundle.roles()).toEqual([]);
  });

  it('a counterpart that cannot be told to revoke is told when it comes back', async () => {
    const body = await declared();
    bundle.faults.postgres.fail({ kind: 'refuse' });
    bundle.faults.vault.fail({ kind: 'refuse' });
    await bundle.broker.admin('POST', `/missions/${body.mission.id}/revoke`, { reason: 'incident' });
    for (let attempt = 0; attempt < 200; attempt++) {
      const leases = await bundle.leases(body.mission.id);
      if (leases.filter(({ attempts }) => attempts > 0).length === 2) break;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const shown = await bundle.leases(body.mission.id);
    expect(
      shown
        .filter(({ state }) => state === 'revoking')
        .map(({ type }) => type)
        .sort(),
    ).toEqual(['postgres_role', 'vault_secret']);
    // The sessions were not held up by the others.
    expect(await bundle.aws.denied()).toContain(body.mission.id);
    expect(await bundle.roles()).toHaveLength(1);
    bundle.faults.postgres.fail(null);
    bundle.faults.vault.fail(null);
    await bundle.settled(body.mission.id);
    expect(await working(body)).toEqual([]);
    expect(await bundle.roles()).toEqual([]);
  });

  it('still works whole after all of that', async () => {
    const body = await declared();
    expect(await working(body)).toHaveLength(5);
    expect(credentialOf(body, 'postgres_role').residual_after_revoke_seconds).toBe(0);
    await end(body.mission.id);
  });
});
