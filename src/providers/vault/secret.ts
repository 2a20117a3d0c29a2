/**
 * `vault_secret`: dynamic secrets, read under a service token that exists for this lease. The token is born
 * with a minute to live; its accessor is recorded; only then is it prolonged to the mission's end. Revoking the
 * accessor takes the token and every secret that was read under it.
 */

import { type VaultSecret, vaultSecret } from '../../domain/authority/types/vault_secret.ts';
import { Denied } from '../../domain/denial.ts';
import { isJsonObject, type JsonObject } from '../../domain/json.ts';
import { rfc3339 } from '../../domain/reader.ts';
import { endOf } from '../lifetime.ts';
import {
  type IssueContext,
  type Issued,
  type LeaseRequest,
  type Provider,
  ProviderFault,
  type Residual,
  type Revocation,
} from '../provider.ts';
import { faultOf, openVault, PROVIDER, type VaultAddress, type VaultClient, VaultStatus } from './client.ts';
import { type VaultLogin, VaultLogins, type VaultToken } from './logins.ts';

export interface VaultServer extends VaultAddress {
  /** As entries name it. */
  readonly name: string;
  readonly login: VaultLogin;
}

export interface VaultSecretOptions {
  readonly servers: readonly VaultServer[];
}

/** What a token may live before it is recorded. Roles of JWT logins must have a `token_ttl` of at most this. */
export const PROBATION_SECONDS = 60;
const MAX_SECONDS = 7 * 86_400;
const GONE: Residual = {
  seconds: 0,
  why: 'the token and every secret read under it are revoked before this answers',
};

interface Opened {
  readonly server: VaultServer;
  readonly logins: VaultLogins;
}

export function createVaultSecrets(options: VaultSecretOptions): Provider<VaultSecret> {
  const servers = new Map<string, Opened>(
    options.servers.map((server) => [server.name, { server, logins: new VaultLogins(server, server.login) }]),
  );

  function open(name: unknown): Opened {
    const opened = typeof name === 'string' ? servers.get(name) : undefined;
    if (opened === undefined)
      throw new ProviderFault(PROVIDER, 'misconfigured', 'the lease names a server that is not configured');
    return opened;
  }

  return {
    type: 'vault_secret',
    entry: vaultSecret,
    gap: 'probation',
    ttl: { min_seconds: 1, max_seconds: MAX_SECONDS },
    target: (entry) => `${entry.server}/${entry.role}`,

    plan({ entry }, now) {
      if (!servers.has(entry.server))
        throw new Denied({
          tag: 'invalid_authorization_details',
          detail: `vault_secret: there is no server "${entry.server}"`,
        });
      return { server: entry.server, accessor: null, planned_at: Math.floor(now) };
    },

    async issue(request: LeaseRequest<VaultSecret>, context: IssueContext): Promise<Issued> {
      const { entry, lease_id, mission } = request;
      const { server, logins } = open(entry.server);
      const token = await logins.forLease(
        entry.role,
        { lease_id, mission_id: mission.id, agent: mission.agent },
        PROBATION_SECONDS,
        context.now,
      );
      const client = openVault(server, token.token);
      const revocation: Revocation = {
        server: entry.server,
        accessor: token.accessor,
        planned_at: Math.floor(context.now),
      };
      try {
        requireProbation(token);
        await context.record(revocation);
        const until = endOf(request, context.now, MAX_SECONDS);
        const life = await prolong(client, Math.max(1, until - Math.ceil(context.now)));
        const secrets = await readAll(client, entry, life);
        const ends = [life, ...secrets.map((secret) => secret.ttl_seconds)].map((ttl) =>
          Math.floor(context.now + ttl),
        );
        const expires_at = Math.min(until, ...ends);
        return {
          deliver: { secrets: secrets.map(({ shown }) => shown), expires_at: rfc3339(expires_at) },
          revocation,
          expires_at,
        };
      } catch (cause) {
        // On probation or not, nothing of a failed issue stays; if this fails too, the lease is still pending.
        await client.write('auth/token/revoke-self', {}, 'revoking').catch(() => undefined);
        throw cause instanceof VaultStatus ? faultOf(cause, 'issuing') : cause;
      }
    },

    async revoke(revocation, now) {
      const { logins } = open(revocation['server']);
      const accessor = revocation['accessor'];
      if (typeof accessor !== 'string') return onProbation(revocation, now);
      try {
        await revokeAccessor(await logins.own(now), accessor);
      } catch (cause) {
        if (!(cause instanceof VaultStatus) || cause.status !== 403) throw faultOf(cause, 'revoking');
        // The broker's own token was revoked or expired early: once more with a new one.
        try {
          await revokeAccessor(await logins.own(now, true), accessor);
        } catch (again) {
          throw faultOf(again, 'revoking');
        }
      }
      return GONE;
    },

    residual: () => GONE,

    close: async () => {},
  };
}

/** Nobody knows an accessor: if there ever was a token, it was never prolonged. */
function onProbation(revocation: Revocation, now: number): Residual {
  const planned_at = revocation['planned_at'];
  const end = (typeof planned_at === 'number' ? planned_at : now) + 2 * PROBATION_SECONDS;
  return {
    seconds: Math.max(0, Math.ceil(end - now)),
    why: 'a token that was never recorded was never delivered, and ends within its probation',
  };
}

function requireProbation(token: VaultToken): void {
  if (token.ttl_seconds > 0 && token.ttl_seconds <= PROBATION_SECONDS) return;
  throw new ProviderFault(
    PROVIDER,
    'misconfigured',
    `the role's tokens must be born with a life of at most ${PROBATION_SECONDS} s (token_ttl) and be renewable`,
  );
}

/** @returns seconds that the token has now; Vault gives less than asked where `token_max_ttl` is less */
async function prolong(client: VaultClient, seconds: number): Promise<number> {
  try {
    const { auth } = await client.write('auth/token/renew-self', { increment: `${seconds}s` }, 'prolonging');
    const life = isJsonObject(auth) ? auth['lease_duration'] : undefined;
    if (typeof life === 'number' && life > 0) return Math.min(life, seconds);
  } catch (cause) {
    throw faultOf(cause, 'prolonging the token');
  }
  throw new ProviderFault(PROVIDER, 'misconfigured', 'the token cannot be prolonged');
}

interface ReadSecret {
  readonly shown: JsonObject;
  readonly ttl_seconds: number;
}

async function readAll(
  client: VaultClient,
  entry: VaultSecret,
  life: number,
): Promise<readonly ReadSecret[]> {
  const secrets: ReadSecret[] = [];
  for (const path of entry.paths) secrets.push(await readOne(client, path, life, entry.wrap_ttl_seconds));
  return secrets;
}

async function readOne(
  client: VaultClient,
  path: string,
  life: number,
  wrap_ttl_seconds: number | undefined,
): Promise<ReadSecret> {
  const step = `reading ${path}`;
  try {
    const answer = await client.read(path, step);
    const { lease_id, data } = answer;
    // What has no lease is a stored value: it would go on working after every revocation.
    if (typeof lease_id !== 'string' || lease_id === '' || !isJsonObject(data))
      throw new ProviderFault(
        PROVIDER,
        'misconfigured',
        `${step}: not a dynamic secret, so it cannot be revoked`,
      );
    const ttl_seconds = await leaseLife(client, answer, lease_id, life);
    if (wrap_ttl_seconds === undefined) return { shown: { path, data }, ttl_seconds };
    const { wrap_info } = await client.write('sys/wrapping/wrap', data, 'wrapping', {
      'X-Vault-Wrap-TTL': `${wrap_ttl_seconds}s`,
    });
    if (!isJsonObject(wrap_info) || typeof wrap_info['token'] !== 'string')
      throw new ProviderFault(PROVIDER, 'unexpected_answer', 'wrapping: no wrapping token');
    return { shown: { path, wrapping_token: wrap_info['token'], wrap_ttl_seconds }, ttl_seconds };
  } catch (cause) {
    throw faultOf(cause, step);
  }
}

/** A lease that is shorter than the mission is prolonged as far as its mount allows. */
async function leaseLife(
  client: VaultClient,
  answer: JsonObject,
  lease_id: string,
  life: number,
): Promise<number> {
  const given = typeof answer['lease_duration'] === 'number' ? answer['lease_duration'] : 0;
  if (given >= life || answer['renewable'] !== true) return given;
  try {
    const renewed = await client.write(
      'sys/leases/renew',
      { lease_id, increment: life },
      'prolonging a lease',
    );
    return typeof renewed['lease_duration'] === 'number' ? renewed['lease_duration'] : given;
  } catch (cause) {
    // Not allowed to, or not that long: the secret ends earlier, and says so.
    if (cause instanceof VaultStatus && cause.status < 500) return given;
    throw cause;
  }
}

async function revokeAccessor(client: VaultClient, accessor: string): Promise<void> {
  try {
    await client.write('auth/token/revoke-accessor', { accessor }, 'revoking');
  } catch (cause) {
    // An accessor that is not known any more: the token is gone, which is what was asked for.
    if (cause instanceof VaultStatus && (cause.status === 404 || cause.unknown_accessor)) return;
    throw cause;
  }
}
