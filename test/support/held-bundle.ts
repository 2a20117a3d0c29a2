/** A bundle that an agent holds, its renewal, and providers and counterparts that wait where a race needs them to. */
import { expect } from 'vitest';
import type { Provider } from '../../src/ports.ts';
import { type KeyHolder, newKey } from './broker.ts';
import {
  type BundleAnswer,
  type BundleBroker,
  type BundleCredential,
  type BundleManifest,
  credentialOf,
} from './bundle.ts';

export interface Held {
  readonly key: KeyHolder;
  readonly instance: string;
  readonly body: BundleManifest;
  /** Of the mission. */
  readonly id: string;
  readonly postgres: BundleCredential;
  readonly vault: BundleCredential;
}

export async function held(bundle: BundleBroker, more: Record<string, unknown> = {}): Promise<Held> {
  const key = await newKey();
  const { status, body, instance } = await bundle.declare(key, more);
  expect(status).toBe(201);
  const [postgres, vault] = [credentialOf(body, 'postgres_role'), credentialOf(body, 'vault_secret')];
  return { key, instance, body, id: body.mission.id, postgres, vault };
}

export function renew(
  bundle: BundleBroker,
  { key, id, instance }: Held,
  ids: readonly string[],
): Promise<BundleAnswer> {
  return bundle.renew(key, id, ids, instance);
}

/** What an answer has the value of. */
export function valued({ credentials }: BundleManifest): BundleCredential[] {
  return credentials.filter(({ value }) => value !== undefined);
}

/** Types of the mission's live leases, in order. */
export async function liveTypes(bundle: BundleBroker, mission_id: string): Promise<readonly string[]> {
  const leases = await bundle.leases(mission_id);
  return leases
    .filter(({ state }) => state === 'live')
    .map(({ type }) => type)
    .sort();
}

/** At PostgreSQL or Vault. */
export async function works(bundle: BundleBroker, credential: BundleCredential): Promise<boolean> {
  return credential.type === 'postgres_role'
    ? bundle.postgresWorks(credential)
    : bundle.vaultWorks(credential);
}

/** Ends whatever a test left. */
export async function endAll(bundle: BundleBroker): Promise<void> {
  const { body } = await bundle.broker.admin('GET', '/missions?state=active&limit=100');
  for (const { id } of body['items'] as { id: string }[])
    await bundle.broker.admin('POST', `/missions/${id}/revoke`, { reason: 'test over' });
}

export interface Gate {
  /** Somebody waits at it. */
  readonly arrival: Promise<void>;
  release(): void;
}

function gate(): Gate & { readonly pass: () => Promise<void> } {
  const arrived = Promise.withResolvers<void>();
  const released = Promise.withResolvers<void>();
  return {
    arrival: arrived.promise,
    release: () => released.resolve(),
    async pass() {
      arrived.resolve();
      await released.promise;
    },
  };
}

/** Holds every request to a path of the Vault emulator until it is released, which then fails it. */
export function holdAndFail(bundle: BundleBroker, path: string): Gate {
  const { pass, ...held_back } = gate();
  bundle.vault.interfere(path, (_request, response) => {
    void pass().then(() => {
      response.statusCode = 500;
      response.end('{}');
    });
  });
  return held_back;
}

/** Holds every credential of a type back when its counterpart has made it, until it is released. */
export function holdMade(bundle: BundleBroker, type: string): Gate {
  const { pass, ...held_back } = gate();
  const providers = bundle.broker.broker.ports.providers as Map<string, Provider>;
  const real = providers.get(type);
  if (real === undefined) throw new Error(`no provider of ${type}`);
  providers.set(type, {
    ...real,
    async issue(request, context) {
      const issued = await real.issue(request, context);
      await pass();
      return issued;
    },
  });
  return {
    ...held_back,
    release() {
      providers.set(type, real);
      held_back.release();
    },
  };
}
