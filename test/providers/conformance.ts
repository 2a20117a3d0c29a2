/**
 * What every credential provider keeps, run against its counterpart. A provider's own test file brings up the
 * counterpart, says how to look at it, and calls {@link conforms}.
 */
import { randomBytes } from 'node:crypto';
import { createServer, type Server } from 'node:net';
import { expect, it } from 'vitest';
import {
  type AuthorityEntry,
  type ProviderEntry,
  parseAuthoritySet,
} from '../../src/domain/authority/index.ts';
import { Denied } from '../../src/domain/denial.ts';
import type { JsonObject, JsonValue } from '../../src/domain/json.ts';
import type { Issued, LeaseRequest, Provider, Revocation } from '../../src/providers/provider.ts';
import { ProviderFault } from '../../src/providers/provider.ts';

export interface Counterpart<E extends ProviderEntry> {
  readonly provider: Provider<E>;
  /** An entry that the counterpart can serve. */
  readonly entry: JsonObject;
  /** The same for something that is not configured. */
  readonly unconfigured: JsonObject;
  /** What the broker itself logs in with. */
  readonly broker_secrets: readonly string[];
  /** Whether what was delivered works at the counterpart now. */
  works(deliver: JsonObject): Promise<boolean>;
  /** What a recorded revocation has beyond the plan, where the plan alone asks the counterpart nothing. */
  readonly recorded?: Revocation;
  /** The parts of what was delivered that nobody else may see. */
  secrets(deliver: JsonObject): readonly string[];
  /** How many credentials of ours live at the counterpart; null where nobody can count them. */
  alive(): Promise<number | null>;
  /** The same provider for a counterpart at this loopback port. */
  at(port: number): Provider<E>;
  /** The same provider with a login that the counterpart refuses, and that login's secret. */
  refused?(): { readonly provider: Provider<E>; readonly secret: string };
  /** Seconds of the shortest life worth waiting for; null where the counterpart has none in a test's time. */
  readonly short_life_seconds: number | null;
  /** False where a counterpart makes nothing dead, only denied: a credential of the same mission dies with it. */
  readonly leases_are_independent: boolean;
  /** False for an emulator that does not enforce: only the calls are judged, not their effect. */
  readonly enforces: boolean;
}

export function leaseRequest<E extends ProviderEntry>(
  entry: JsonObject,
  seconds = 1200,
  mission = `msn_${randomBytes(16).toString('base64url')}`,
): LeaseRequest<E> {
  const [parsed] = parseAuthoritySet([entry as JsonValue], 'entry') as readonly AuthorityEntry[];
  return {
    lease_id: `lse_${randomBytes(16).toString('base64url')}`,
    mission: { id: mission, agent: 'k8s/payments/reconciler' },
    entry: parsed as unknown as E,
    not_after: Date.now() / 1000 + seconds,
  };
}

/** Issues as the broker does, and remembers what was recorded on the way. */
export async function issued<E extends ProviderEntry>(
  provider: Provider<E>,
  request: LeaseRequest<E>,
): Promise<Issued & { readonly recorded: readonly Revocation[] }> {
  const now = Date.now() / 1000;
  const recorded: Revocation[] = [provider.plan(request, now)];
  const answer = await provider.issue(request, {
    now,
    async record(revocation) {
      recorded.push(revocation);
    },
  });
  return { ...answer, recorded };
}

const now = () => Date.now() / 1000;

async function faultOf(work: Promise<unknown>): Promise<ProviderFault> {
  const outcome = await work.then(
    () => null,
    (cause: unknown) => cause,
  );
  expect(outcome).toBeInstanceOf(ProviderFault);
  return outcome as ProviderFault;
}

function expectNoSecret(fault: ProviderFault, secrets: readonly string[]): void {
  const shown = [fault.message, fault.stack ?? '', JSON.stringify(fault), String(fault.cause ?? '')].join(
    '\n',
  );
  for (const secret of secrets) expect(shown.includes(secret)).toBe(false);
}

/** A counterpart that accepts and never says a word. */
export async function silentServer(): Promise<{ readonly port: number; close(): Promise<void> }> {
  const sockets = new Set<import('node:net').Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.resume();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    port: address.port,
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
}

/** @param counterpart asked in each test, after the file's own hooks started it */
export function conforms<E extends ProviderEntry>(counterpart: () => Counterpart<E>): void {
  it('serves a type that policy knows, and says what it can give', () => {
    const { provider, entry } = counterpart();
    expect(provider.entry.type).toBe(provider.type);
    expect(entry['type']).toBe(provider.type);
    expect(parseAuthoritySet([entry as JsonValue], 'entry')).toHaveLength(1);
    expect(provider.ttl.min_seconds).toBeGreaterThan(0);
    expect(provider.ttl.max_seconds).toBeGreaterThanOrEqual(provider.ttl.min_seconds);
    expect(provider.target(leaseRequest<E>(entry).entry)).not.toBe('');
  });

  it('parses strictly: nothing unknown, nothing of another kind, nothing missing that it needs', () => {
    const { provider, entry } = counterpart();
    const parses = (value: JsonObject) => {
      try {
        parseAuthoritySet([value], 'entry');
        return true;
      } catch (cause) {
        expect(cause).toBeInstanceOf(Denied);
        return false;
      }
    };
    expect(parses(entry)).toBe(true);
    for (const unknown of ['admin', 'Role', 'actions', '__proto__x', ''])
      if (!Object.hasOwn(entry, unknown)) expect(parses({ ...entry, [unknown]: 'x' })).toBe(false);
    const bounds = ['max_ttl_seconds'];
    for (const name of [...Object.keys(entry), ...bounds]) {
      for (const other of [null, {}, [], '', -1, 0, 1.5, [null], [[]], [{}]])
        expect(parses({ ...entry, [name]: other }), `${name}: ${JSON.stringify(other)}`).toBe(false);
      const { [name]: left_out, ...rest } = entry;
      // Whatever may be left out bounds: the entry without it must not be within the entry with it.
      if (left_out !== undefined && name !== 'type' && parses(rest)) {
        const refusal = provider.entry.within(rest as unknown as E, entry as unknown as E);
        expect(refusal, name).not.toBeNull();
      }
    }
  });

  it('covers itself and what is shorter, never what is longer (all of it: test/domain/authority/types)', () => {
    const { provider, entry } = counterpart();
    const parsed = (more: JsonObject) => provider.entry.parse({ ...entry, ...more }, 'entry');
    const [minute, hour] = [parsed({ max_ttl_seconds: 60 }), parsed({ max_ttl_seconds: 3600 })];
    expect(provider.entry.within(hour, hour)).toBeNull();
    expect(provider.entry.within(minute, hour)).toBeNull();
    expect(provider.entry.within(hour, minute)).not.toBeNull();
    expect(provider.entry.within(minute, parsed({}))).toBeNull();
    if (entry['max_ttl_seconds'] === undefined)
      expect(provider.entry.within(parsed({}), minute)).not.toBeNull();
  });

  it('gives no more than its maximum, no more than the entry allows, and serves a mission that ends soon', async () => {
    const { provider, entry } = counterpart();
    const { max_seconds } = provider.ttl;
    for (const [asked, life, most] of [
      [entry, max_seconds + 86_400, max_seconds],
      [{ ...entry, max_ttl_seconds: 30 }, 1200, 30],
      [entry, 5, 5],
    ] as const) {
      const from = now();
      const request = leaseRequest<E>(asked, life);
      const { expires_at, revocation } = await issued(provider, request);
      expect(expires_at).toBeLessThanOrEqual(Math.min(request.not_after, from + most + 2));
      expect(expires_at).toBeGreaterThan(from);
      await provider.revoke(revocation, now());
    }
  });

  it('plans without asking anyone, the same each time, and refuses what is not configured', () => {
    const { provider, entry, unconfigured } = counterpart();
    const request = leaseRequest<E>(entry);
    const at = now();
    expect(provider.plan(request, at)).toEqual(provider.plan(request, at));
    expect(() => provider.plan(leaseRequest<E>(unconfigured), at)).toThrow(Denied);
  });

  it('issues what works, never outlives the mission, and ends at a revocation', async () => {
    const { provider, entry, works, alive, enforces } = counterpart();
    const before = await alive();
    const request = leaseRequest<E>(entry);
    const { deliver, expires_at, revocation } = await issued(provider, request);
    expect(await works(deliver)).toBe(true);
    expect(expires_at).toBeLessThanOrEqual(request.not_after);
    expect(expires_at).toBeGreaterThan(now());
    const residual = await provider.revoke(revocation, now());
    expect(residual.seconds).toBeGreaterThanOrEqual(0);
    expect(residual.why).not.toBe('');
    if (enforces) expect(await works(deliver)).toBe(false);
    expect(await alive()).toBe(before);
  });

  it('keeps what the client gets apart from what revocation needs', async () => {
    const { provider, entry, secrets, broker_secrets } = counterpart();
    const { deliver, recorded, revocation } = await issued(provider, leaseRequest<E>(entry));
    const kept = JSON.stringify([...recorded, revocation]);
    expect(secrets(deliver).length).toBeGreaterThan(0);
    for (const secret of [...secrets(deliver), ...broker_secrets]) {
      expect(secret.length).toBeGreaterThan(7);
      expect(kept.includes(secret)).toBe(false);
    }
    expect(JSON.parse(JSON.stringify(revocation))).toEqual(revocation);
    await provider.revoke(revocation, now());
  });

  it('revokes again, and twice at once, as if once', async () => {
    const { provider, entry, works, enforces } = counterpart();
    const { deliver, revocation } = await issued(provider, leaseRequest<E>(entry));
    await Promise.all([provider.revoke(revocation, now()), provider.revoke(revocation, now())]);
    await provider.revoke(revocation, now());
    if (enforces) expect(await works(deliver)).toBe(false);
  });

  it('revokes what was planned and never issued, and what is long over', async () => {
    const { provider, entry, alive } = counterpart();
    const before = await alive();
    const plan = provider.plan(leaseRequest<E>(entry), now());
    await provider.revoke(plan, now());
    await provider.revoke(plan, now(), 'mission');
    await provider.revoke(plan, now() + 10 * 86_400);
    expect(await alive()).toBe(before);
  });

  it('never touches another lease', async () => {
    const { provider, entry, works, leases_are_independent } = counterpart();
    const mission = `msn_${randomBytes(16).toString('base64url')}`;
    const one = await issued(provider, leaseRequest<E>(entry, 1200, mission));
    const other = await issued(
      provider,
      leaseRequest<E>(entry, 1200, leases_are_independent ? mission : undefined),
    );
    await provider.revoke(one.revocation, now());
    expect(await works(other.deliver)).toBe(true);
    await provider.revoke(other.revocation, now());
  });

  it('ends by itself when its time is over', async ({ skip }) => {
    const { provider, entry, works, short_life_seconds } = counterpart();
    if (short_life_seconds === null) return skip('this counterpart has no life short enough to wait for');
    const { deliver, revocation, expires_at } = await issued(
      provider,
      leaseRequest<E>(entry, short_life_seconds),
    );
    expect(await works(deliver)).toBe(true);
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, expires_at - now()) * 1000 + 1100));
    expect(await works(deliver)).toBe(false);
    await provider.revoke(revocation, now());
  });

  it('states a residual for a manifest without asking anyone', () => {
    const { provider } = counterpart();
    const at = now();
    const residual = provider.residual(at + 600, at);
    expect(residual.seconds).toBeGreaterThanOrEqual(0);
    expect(residual.seconds).toBeLessThanOrEqual(600);
    expect(residual.why).not.toBe('');
  });

  it('leaves nothing behind when the record cannot be written', async () => {
    const { provider, entry, alive } = counterpart();
    const before = await alive();
    const request = leaseRequest<E>(entry);
    const plan = provider.plan(request, now());
    const outcome = await provider
      .issue(request, { now: now(), record: () => Promise.reject(new Error('disk full')) })
      .then(
        () => 'issued' as const,
        () => 'failed' as const,
      );
    // A provider that needs no second record may well succeed; the broker then undoes it by the plan.
    if (outcome === 'issued') await provider.revoke(plan, now());
    expect(await alive()).toBe(before);
  });

  it('gives up on a counterpart that never answers, and says that it may try again', async () => {
    const { entry, at, broker_secrets, recorded } = counterpart();
    const silent = await silentServer();
    const provider = at(silent.port);
    try {
      const request = leaseRequest<E>(entry);
      const plan = { ...provider.plan(request, now()), ...recorded };
      for (const work of [() => issued(provider, request), () => provider.revoke(plan, now())]) {
        const fault = await faultOf(work());
        expect(['timeout', 'unavailable']).toContain(fault.code);
        expect(fault.retry).toBe(true);
        expectNoSecret(fault, broker_secrets);
      }
    } finally {
      await silent.close();
      await provider.close();
    }
  });

  it('says that nobody is there', async () => {
    const { entry, at, broker_secrets, recorded } = counterpart();
    const gone = await silentServer();
    await gone.close();
    const provider = at(gone.port);
    const request = leaseRequest<E>(entry);
    const plan = { ...provider.plan(request, now()), ...recorded };
    for (const work of [() => issued(provider, request), () => provider.revoke(plan, now())]) {
      const fault = await faultOf(work());
      expect(fault.code).toBe('unavailable');
      expectNoSecret(fault, broker_secrets);
    }
    await provider.close();
  });

  it('never shows its own login when that is refused', async ({ skip }) => {
    const { entry, refused } = counterpart();
    if (refused === undefined) return skip('this counterpart cannot refuse a login');
    const { provider, secret } = refused();
    const fault = await faultOf(issued(provider, leaseRequest<E>(entry)));
    expect(fault.code).toBe('refused');
    expect(fault.retry).toBe(false);
    expectNoSecret(fault, [secret]);
    await provider.close();
  });
}
