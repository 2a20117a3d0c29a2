/** Provider credentials as a program holds them, from a real broker and an emulated Vault. */
import { format, inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type Agent,
  BrokerUnavailable,
  MissionDenied,
  MissionEnded,
  reveal,
  type VaultSecretValue,
} from '../../../src/sdk/agent/index.ts';
import { ERP, MAIL } from '../../support/broker.ts';
import { type BrokerWithSecrets, startWithSecrets } from './secrets.ts';
import { agentAt, evidenceOf, thrownBy, until } from './support.ts';

let world: BrokerWithSecrets;
beforeAll(async () => {
  world = await startWithSecrets(600);
});
afterAll(() => world.close());

const TASK = { goal: 'Copy the orders', resources: [ERP, MAIL], lifetime_seconds: 3000 };

const ONE_ATTEMPT = { backoff: { attempts: 1 } };

let run = 0;
async function withAgent(work: (agent: Agent) => Promise<void>, options = {}): Promise<void> {
  run += 1;
  const agent = await agentAt(world.sortie, {
    evidence: evidenceOf(world.sortie, { run: `credentials-${run}` }),
    ...options,
  });
  try {
    await work(agent);
  } finally {
    agent.close();
  }
}

function loginOf(value: VaultSecretValue): { username: string; password: string } {
  return value.secrets[0]?.data as { username: string; password: string };
}

function works(value: VaultSecretValue): boolean {
  const { username, password } = loginOf(value);
  return world.vault.login(username, password);
}

describe('a provider credential', () => {
  test('is found by type and target, typed, and works', () =>
    withAgent(async (agent) => {
      const mission = await agent.declare(TASK);
      const secret = mission.credential('vault_secret', 'main/reader');
      expect(mission.held).toEqual([secret]);
      expect(mission.credentials).toContainEqual(secret.toJSON());
      expect(secret.residual_after_revoke_seconds).toBe(0);
      expect(works(await secret.value())).toBe(true);
      expect(() => mission.credential('vault_secret', 'main/writer')).toThrow('no vault_secret');
      expect(() => mission.credential('postgres_role')).toThrow(TypeError);
    }));

  test('is not in logs, JSON or errors, whatever of it is printed', () =>
    withAgent(async (agent) => {
      const mission = await agent.declare(TASK);
      const secret = mission.credential('vault_secret');
      const value = await secret.value();
      const { password } = loginOf(value);
      expect(password.length).toBeGreaterThan(8);
      const parts: unknown[] = [agent, mission, secret, value, value.secrets, value.secrets[0]];
      for (const part of [...parts, { nested: parts }]) {
        const shown = [
          JSON.stringify(part),
          inspect(part, { depth: 12, showHidden: true }),
          format('%s %j %o', part, part, part),
        ].join(' ');
        expect(shown).not.toContain(password);
      }
      expect(`${value}`).toBe('[redacted]');
      // On purpose, it can be had.
      expect(JSON.stringify(reveal(value))).toContain(password);
    }));

  test('that is used is renewed ahead of its end, told, and the value before stops working', () =>
    withAgent(async (agent) => {
      const mission = await agent.declare(TASK);
      const secret = mission.credential('vault_secret');
      const first = await secret.value();
      const first_id = secret.id;
      const replaced: string[] = [];
      mission.on('replaced', ({ credential, before_id }) => {
        expect(credential).toBe(secret);
        replaced.push(before_id);
      });
      world.ahead(520);
      // Still good: whoever asks now gets it at once, and the next is on its way.
      expect(await secret.value()).toBe(first);
      await until(() => replaced.length > 0, 'the renewal');
      expect(replaced).toEqual([first_id]);
      const second = await secret.value();
      expect(loginOf(second)).not.toEqual(loginOf(first));
      expect(secret.id).not.toBe(first_id);
      expect(mission.credentials.map(({ id }) => id)).toContain(secret.id);
      expect(works(second)).toBe(true);
      await until(() => !works(first), 'the first one is revoked');
    }));

  test('that has ended is waited for, by one request however many ask', () => {
    const evidence = evidenceOf(world.sortie, { run: 'ended' });
    return withAgent(
      async (agent) => {
        const mission = await agent.declare(TASK);
        const secret = mission.credential('vault_secret');
        const first = await secret.value();
        const presented = evidence.presented;
        world.ahead(700);
        const values = await Promise.all(Array.from({ length: 20 }, () => secret.value()));
        expect(new Set(values).size).toBe(1);
        expect(loginOf(values[0] ?? first)).not.toEqual(loginOf(first));
        expect(evidence.presented).toBe(presented + 1);
      },
      { evidence },
    );
  });

  test('for a program that can take no other is not renewed under its feet', () => {
    const evidence = evidenceOf(world.sortie, { run: 'fixed' });
    return withAgent(
      async (agent) => {
        const mission = await agent.declare(TASK);
        const secret = mission.credential('vault_secret');
        const first = await secret.value({ keep: false });
        world.ahead(550);
        expect(await secret.value({ keep: false })).toBe(first);
        await new Promise((resolve) => setTimeout(resolve, 300));
        expect(works(first)).toBe(true);
      },
      { evidence },
    );
  });

  test('ends with its mission', () =>
    withAgent(async (agent) => {
      const mission = await agent.declare(TASK);
      const secret = mission.credential('vault_secret');
      const value = await secret.value();
      await mission.complete();
      const over = await thrownBy(() => secret.value());
      expect(over).toBeInstanceOf(MissionEnded);
      expect(over['code']).toBe('mission_completed');
      await until(() => !works(value), 'it is revoked at its provider');
    }));

  test('that was revoked with a suspension is not given out, and is replaced after the resumption', () =>
    withAgent(async (agent) => {
      const mission = await agent.declare(TASK);
      const secret = mission.credential('vault_secret');
      const first = await secret.value();
      await world.sortie.admin('POST', `/missions/${mission.id}/suspend`, { reason: 'look first' });
      await until(() => !works(first), 'the suspension revokes it');
      await mission.refresh();
      expect(mission.state).toBe('suspended');
      const denied = await thrownBy(() => secret.value());
      expect(denied).toBeInstanceOf(MissionDenied);
      expect(denied['code']).toBe('mission_suspended');
      await world.sortie.admin('POST', `/missions/${mission.id}/resume`, { reason: 'fine' });
      await mission.refresh();
      expect(mission.state).toBe('active');
      expect(works(await secret.value())).toBe(true);
    }));

  test('that a containment took away is gone, and the rest of the mission goes on', () =>
    withAgent(async (agent) => {
      const mission = await agent.declare(TASK);
      const secret = mission.credential('vault_secret');
      const value = await secret.value();
      const contained = await world.sortie.admin('POST', `/missions/${mission.id}/contain`, {
        reason: 'no database',
        remove: [{ type: 'vault_secret' }],
      });
      expect(contained.status).toBe(200);
      await until(() => !works(value), 'it is revoked at its provider');
      await mission.refresh();
      expect((await thrownBy(() => secret.value()))['code']).toBe('authority_contained');
      expect(await mission.token(ERP)).toContain('.');
    }));

  test('whose renewal fails is told, and the one in hand goes on working', () =>
    withAgent(async (agent) => {
      const mission = await agent.declare(TASK);
      const secret = mission.credential('vault_secret');
      const first = await secret.value();
      const failed: string[] = [];
      mission.on('renewal_failed', ({ what, error }) => failed.push(`${what}: ${error.name}`));
      world.vault.interfere('database/', (_, response) => void response.writeHead(403).end('{}'));
      world.ahead(520);
      expect(await secret.value()).toBe(first);
      await until(() => failed.length > 0, 'the failure');
      world.vault.interfere(null);
      expect(failed[0]).toContain('vault_secret main/reader: BrokerUnavailable');
      expect(works(await secret.value())).toBe(true);
    }, ONE_ATTEMPT));

  test('that could not be made is named', () =>
    withAgent(async (agent) => {
      world.vault.interfere('database/', (_, response) => void response.writeHead(403).end('{}'));
      const refused = await thrownBy(() => agent.declare(TASK));
      world.vault.interfere(null);
      expect(refused).toBeInstanceOf(BrokerUnavailable);
      expect(refused.message).toContain('vault_secret could not be handed out');
    }, ONE_ATTEMPT));
});

describe('a mission that holds credentials of other systems and not one token', () => {
  const VAULT = 'https://vault.example.com';
  const tokenless = (agent: Agent) =>
    agent.declare({
      goal: 'Read a secret',
      resources: [VAULT],
      lifetime_seconds: 3000,
      authorization_details: [
        { type: 'vault_secret', server: 'main', role: 'reader', paths: ['database/creds/readonly'] },
      ],
    });

  test('is looked at and completed', () =>
    withAgent(async (agent) => {
      const mission = await tokenless(agent);
      const value = await mission.credential('vault_secret').value();
      await mission.refresh();
      expect(mission.state).toBe('active');
      await expect(mission.token(VAULT)).rejects.toThrow(MissionDenied);
      await mission.complete();
      expect(mission.state).toBe('completed');
      await until(() => !works(value), 'it is revoked');
    }));

  test('learns that it was revoked', () =>
    withAgent(async (agent) => {
      const mission = await tokenless(agent);
      await world.sortie.admin('POST', `/missions/${mission.id}/revoke`, { reason: 'incident' });
      await expect(mission.refresh()).rejects.toThrow(MissionEnded);
      expect(mission.state).toBe('revoked');
    }));
});

test('a sub-agent gets its own credential of another system, which ends with the parent', () =>
  withAgent(async (coordinator) => {
    const parent = await coordinator.declare(TASK);
    const own = await parent.credential('vault_secret').value();
    const grant = await parent.delegate({
      to: 'agents/reader',
      goal: 'Read a secret',
      resources: [ERP],
      lifetime_seconds: 600,
    });
    await withAgent(
      async (reader) => {
        const child = await reader.activate(grant);
        const value = await child.credential('vault_secret').value();
        expect(loginOf(value)).not.toEqual(loginOf(own));
        expect(works(value)).toBe(true);
        expect(await child.token(ERP)).toContain('.');
        await parent.complete();
        await until(() => !works(value) && !works(own), 'both are revoked');
      },
      { evidence: evidenceOf(world.sortie, { sub: 'reader', run: 'sub-agent' }) },
    );
  }));
