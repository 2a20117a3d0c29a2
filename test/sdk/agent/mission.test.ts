import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DEFAULT_BACKOFF } from '../../../src/sdk/agent/backoff.ts';
import { BrokerClient } from '../../../src/sdk/agent/broker-client.ts';
import {
  type Agent,
  AttestationFailed,
  BrokerUnavailable,
  MissionDenied,
  MissionEnded,
  type NarrowedEvent,
} from '../../../src/sdk/agent/index.ts';
import { generateProofKey } from '../../../src/sdk/agent/proof-key.ts';
import { DEFAULT_RUNTIME } from '../../../src/sdk/agent/runtime.ts';
import { ERP, MAIL, startBroker, type TestBroker } from '../../support/broker.ts';
import { agentAt, claimsOf, evidenceOf, JWT_EVIDENCE, thrownBy, until } from './support.ts';

let sortie: TestBroker;
beforeAll(async () => {
  sortie = await startBroker();
});
afterAll(() => sortie.close());

const TASK = { goal: 'Reconcile Q3 invoices', resources: [ERP, MAIL], lifetime_seconds: 3600 };
const approve = { amount: { amount: '20.00', currency: 'EUR' } };

async function withAgent(work: (agent: Agent) => Promise<void>, options = {}): Promise<void> {
  const agent = await agentAt(sortie, options);
  try {
    await work(agent);
  } finally {
    agent.close();
  }
}

describe('declaring', () => {
  test('gives a manifest that says what is held and what was cut, and no value', () =>
    withAgent(async (agent) => {
      const mission = await agent.declare({
        ...TASK,
        authorization_details: [
          { type: 'mission_resource_access', resource: ERP, actions: ['invoices.read', 'users.delete'] },
          { type: 'mission_resource_access', resource: MAIL, actions: ['messages.send'] },
        ],
      });
      expect(mission.state).toBe('active');
      expect(mission.version).toBe(1);
      expect(mission.credentials.map(({ audience }) => audience).sort()).toEqual([ERP, MAIL].sort());
      expect(mission.narrowed.map(({ rule }) => rule).join()).toContain('template invoices@1');
      const token = await mission.token(ERP);
      const shown = `${JSON.stringify(mission)} ${inspect(mission, { depth: 9, showHidden: true })}`;
      expect(shown).toContain(mission.id);
      expect(shown).not.toContain(token);
      expect(shown).not.toContain(token.split('.')[2] ?? '');
    }));

  test('binds the mission to a key that cannot be exported', () =>
    withAgent(async (agent) => {
      const mission = await agent.declare(TASK);
      expect(claimsOf(await mission.token(ERP))['cnf']).toEqual({ jkt: agent.jkt });
    }));

  test('a repeated declaration is the same mission', async () => {
    const pair = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, false, [
      'sign',
      'verify',
    ]);
    const declaration = {
      goal: 'Reconcile',
      resources: [ERP],
      expires_at: new Date(Date.now() + 600_000),
      creation_request_id: 'run-17',
    };
    // The process crashed after it declared, and starts again with its key.
    await withAgent(
      async (first) =>
        withAgent(
          async (second) => {
            const one = await first.declare(declaration);
            expect((await second.declare(declaration)).id).toBe(one.id);
          },
          { key: pair },
        ),
      { key: pair },
    );
  });

  test('an answer that was lost does not make a second mission', async () => {
    let lost = 0;
    await withAgent(
      async (agent) => {
        const mission = await agent.declare({ ...TASK, goal: 'Lost answer' });
        expect(lost).toBe(1);
        const page = await sortie.admin('GET', '/missions?q=Lost%20answer');
        expect((page.body['items'] as { id: string }[]).map(({ id }) => id)).toEqual([mission.id]);
      },
      {
        fetch: async (url: string, init: RequestInit) => {
          const answer = await fetch(url, init);
          if (answer.status !== 201 || lost > 0) return answer;
          lost += 1;
          throw new TypeError('fetch failed');
        },
      },
    );
  });

  test('a refusal tells the reason', () =>
    withAgent(async (agent) => {
      const denied = await thrownBy(() =>
        agent.declare({
          ...TASK,
          authorization_details: [
            { type: 'mission_resource_access', resource: ERP, actions: ['users.delete'] },
          ],
        }),
      );
      expect(denied).toBeInstanceOf(MissionDenied);
      expect(denied['code']).toBe('out_of_template_ceiling');
      expect(denied['error']).toBe('invalid_authorization_details');
    }));

  test('needs exactly one end', () =>
    withAgent(async (agent) => {
      await expect(agent.declare({ goal: 'x', resources: [ERP] })).rejects.toThrow(TypeError);
      const twice = { goal: 'x', resources: [ERP], lifetime_seconds: 60, creation_request_id: 'a' };
      await expect(agent.declare(twice)).rejects.toThrow('expires_at');
    }));

  test('never sends evidence in clear text to another machine', async () => {
    await expect(agentAt(sortie, { issuer: 'http://broker.example.com' })).rejects.toThrow('https');
    await expect(agentAt(sortie, { issuer: `${sortie.url}/` })).rejects.toThrow('trailing slash');
  });
});

describe('asking locally', () => {
  test('decides as the guard does, and says why not', () =>
    withAgent(async (agent) => {
      const mission = await agent.declare(TASK);
      const at = { resource: ERP, context: approve };
      expect(mission.can('invoices.approve', {}, at)).toBe(true);
      const dear = { resource: ERP, context: { amount: { amount: '501.00', currency: 'EUR' } } };
      expect(mission.can('invoices.approve', {}, dear)).toBe(false);
      expect(mission.whyNot('invoices.approve', {}, dear)).toMatchObject({
        code: 'constraint_violated',
        key: 'max_amount',
      });
      expect(mission.whyNot('users.delete', {}, at)).toMatchObject({ code: 'action_not_covered' });
      expect(() => mission.can('invoices.read')).toThrow('several resources');
      mission.close();
      expect(mission.whyNot('invoices.approve', {}, at)).toEqual({ code: 'mission_over' });
    }));
});

describe('tokens', () => {
  test('are cached, and renewed ahead of their end by one request with fresh evidence', async () => {
    const evidence = evidenceOf(sortie);
    await withAgent(
      async (agent) => {
        const mission = await agent.declare(TASK);
        const first = await mission.token(ERP);
        expect(await mission.token(ERP)).toBe(first);
        expect(evidence.presented).toBe(1);
        const renewed: string[] = [];
        mission.on('renewed', ({ resource }) => renewed.push(resource));
        const started = sortie.clock.ahead;
        sortie.clock.ahead += 250;
        // Still good for 50 s: nobody waits, and a hundred callers make one request.
        const answers = await Promise.all(Array.from({ length: 100 }, () => mission.token(ERP)));
        expect(new Set(answers)).toEqual(new Set([first]));
        await until(() => renewed.length > 0, 'the renewal');
        const second = await mission.token(ERP);
        expect(second).not.toBe(first);
        expect(evidence.presented).toBe(2);
        expect(claimsOf(second)['iat']).toBeGreaterThan(claimsOf(first)['iat'] as number);
        sortie.clock.ahead = started;
      },
      { evidence },
    );
  });

  test('that have run out are waited for, by one request', async () => {
    const evidence = evidenceOf(sortie);
    await withAgent(
      async (agent) => {
        const mission = await agent.declare(TASK);
        const first = await mission.token(ERP);
        sortie.clock.ahead += 310;
        const answers = new Set(await Promise.all(Array.from({ length: 20 }, () => mission.token(ERP))));
        expect(answers.size).toBe(1);
        expect(answers.has(first)).toBe(false);
        expect(evidence.presented).toBe(2);
      },
      { evidence },
    );
  });

  test('of an undeclared resource are not asked for', () =>
    withAgent(async (agent) => {
      const mission = await agent.declare({ ...TASK, resources: [ERP] });
      await expect(mission.token(MAIL)).rejects.toThrow(TypeError);
    }));
});

describe('the life of a mission', () => {
  test('containment is seen after the renewal, and only there is it told', () =>
    withAgent(async (agent) => {
      const mission = await agent.declare(TASK);
      const at = { resource: ERP, context: approve };
      const events: NarrowedEvent[] = [];
      mission.on('narrowed', (event) => events.push(event));
      const contained = await sortie.admin('POST', `/missions/${mission.id}/contain`, {
        reason: 'approvals look odd',
        remove: [{ action: 'invoices.approve' }],
      });
      expect(contained.status).toBe(200);
      expect(mission.can('invoices.approve', {}, at)).toBe(true);
      sortie.clock.ahead += 310;
      await mission.token(ERP);
      expect(mission.can('invoices.approve', {}, at)).toBe(false);
      expect(mission.can('invoices.read', {}, at)).toBe(true);
      expect(mission.version).toBe(2);
      expect(events).toHaveLength(1);
      expect(JSON.stringify(events[0]?.before.authority)).toContain('invoices.approve');
      expect(JSON.stringify(events[0]?.authority)).not.toContain('invoices.approve');
    }));

  test('an audience with nothing left is refused there, and the rest goes on', () =>
    withAgent(async (agent) => {
      const mission = await agent.declare(TASK);
      await sortie.admin('POST', `/missions/${mission.id}/contain`, {
        reason: 'no mail',
        remove: [{ audience: MAIL }],
      });
      sortie.clock.ahead += 310;
      const denied = await thrownBy(() => mission.token(MAIL));
      expect(denied).toBeInstanceOf(MissionDenied);
      expect(denied['code']).toBe('authority_contained');
      expect(await mission.token(ERP)).toContain('.');
      expect(mission.can('messages.send', {}, { resource: MAIL })).toBe(false);
    }));

  test('a revoked mission ends with a typed error, once and for all', () =>
    withAgent(async (agent) => {
      const mission = await agent.declare(TASK);
      const ends: string[] = [];
      mission.on('ended', ({ why }) => ends.push(why));
      await sortie.admin('POST', `/missions/${mission.id}/revoke`, { reason: 'incident' });
      sortie.clock.ahead += 310;
      const ended = await thrownBy(() => mission.token(ERP));
      expect(ended).toBeInstanceOf(MissionEnded);
      expect(ended['code']).toBe('mission_revoked');
      expect(mission.state).toBe('revoked');
      await expect(mission.token(MAIL)).rejects.toThrow(MissionEnded);
      await expect(mission.fetch(`${ERP}/invoices`)).rejects.toThrow(MissionEnded);
      expect(mission.can('invoices.read', {}, { resource: ERP, context: approve })).toBe(false);
      expect(ends).toEqual(['mission_revoked']);
    }));

  test('a suspended mission is refused and lives on when it is resumed', () =>
    withAgent(async (agent) => {
      const mission = await agent.declare(TASK);
      await sortie.admin('POST', `/missions/${mission.id}/suspend`, { reason: 'look first' });
      sortie.clock.ahead += 310;
      expect((await thrownBy(() => mission.token(ERP)))['code']).toBe('mission_suspended');
      expect(mission.state).toBe('suspended');
      await sortie.admin('POST', `/missions/${mission.id}/resume`, { reason: 'fine' });
      expect(await mission.token(ERP)).toContain('.');
      expect(mission.state).toBe('active');
    }));

  test('completing ends it at the broker', () =>
    withAgent(async (agent) => {
      const mission = await agent.declare(TASK);
      const ends: string[] = [];
      mission.on('ended', ({ why }) => ends.push(why));
      await mission.complete();
      await mission.complete();
      expect(mission.state).toBe('completed');
      expect(ends).toEqual(['mission_completed']);
      const record = await sortie.admin('GET', `/missions/${mission.id}`);
      expect(record.body['state']).toBe('completed');
    }));

  test('its end by the clock is final without a word from the broker', () =>
    withAgent(async (agent) => {
      const mission = await agent.declare({ ...TASK, lifetime_seconds: 60 });
      sortie.clock.ahead += 61;
      expect(mission.state).toBe('expired');
      expect((await thrownBy(() => mission.token(ERP)))['code']).toBe('mission_expired');
    }));
});

describe('possession', () => {
  test('a stolen token and a stolen mission id are worth nothing with another key', () =>
    withAgent(async (owner) => {
      const mission = await owner.declare(TASK);
      const stolen = await mission.token(ERP);
      const thief = new BrokerClient({
        issuer: sortie.url,
        key: await generateProofKey(globalThis.crypto),
        evidence: evidenceOf(sortie),
        runtime: { ...DEFAULT_RUNTIME, now: () => sortie.clock.now() },
        backoff: DEFAULT_BACKOFF,
        timeout_ms: 5000,
      });
      for (const attempt of [
        () => thief.renew(mission.id, ERP),
        () => thief.manifest(mission.id, stolen),
        () => thief.complete(mission.id, stolen),
      ]) {
        const denied = await thrownBy(attempt);
        expect(denied).toBeInstanceOf(MissionDenied);
        // The answer for an unknown mission: not even its state is told.
        expect(denied).toMatchObject({ error: 'invalid_grant', mission_error: null });
      }
      await mission.refresh();
      expect(mission.state).toBe('active');
    }));
});

describe('attestation', () => {
  test('evidence that the broker does not accept is a typed error', async () => {
    await withAgent(
      async (agent) => {
        const failed = await thrownBy(() => agent.declare(TASK));
        expect(failed).toBeInstanceOf(AttestationFailed);
        expect(failed['code']).toBe('evidence_refused');
      },
      { evidence: async () => ({ type: JWT_EVIDENCE, token: await sortie.evidence({}, -600) }) },
    );
  });

  test('a source that fails shows its fault and not what it held', async () => {
    const secret = `eyJhbGciOiJFUzI1NiJ9.${'c2VjcmV0'.repeat(20)}.sig`;
    await withAgent(
      async (agent) => {
        const failed = await thrownBy(() => agent.declare(TASK));
        expect(failed).toBeInstanceOf(AttestationFailed);
        expect(failed.message).toContain('cannot read /var/run/secrets/token');
        expect(`${inspect(failed, { depth: 9 })}${JSON.stringify(failed)}`).not.toContain('c2VjcmV0c2VjcmV0');
      },
      {
        evidence: async () => {
          throw new Error(`cannot read /var/run/secrets/token: got ${secret}`);
        },
      },
    );
  });
});

describe('a broker that is not there', () => {
  test('is tried a bounded number of times, Retry-After honoured', async () => {
    let attempts = 0;
    await withAgent(
      async (agent) => {
        const failed = await thrownBy(() => agent.declare(TASK));
        expect(failed).toBeInstanceOf(BrokerUnavailable);
        expect(failed).toMatchObject({ attempts: 4, status: 503, retry_after_seconds: 0 });
        expect(attempts).toBe(4);
      },
      {
        fetch: async () => {
          attempts += 1;
          return new Response('{"error":"temporarily_unavailable"}', {
            status: 503,
            headers: { 'retry-after': '0' },
          });
        },
      },
    );
  });

  test('that asks for a long pause is not asked again', async () => {
    let attempts = 0;
    await withAgent(
      async (agent) => {
        const failed = await thrownBy(() => agent.declare(TASK));
        expect(failed).toMatchObject({ attempts: 1, retry_after_seconds: 120 });
        expect(attempts).toBe(1);
      },
      {
        fetch: async () => {
          attempts += 1;
          return new Response('', { status: 503, headers: { 'retry-after': '120' } });
        },
      },
    );
  });

  test('does not get evidence sent on by a redirect', async () => {
    const urls: string[] = [];
    await withAgent(
      async (agent) => {
        expect(await thrownBy(() => agent.declare(TASK))).toBeInstanceOf(BrokerUnavailable);
        expect(new Set(urls)).toEqual(new Set([`${sortie.url}/missions`]));
      },
      {
        fetch: async (url: string, init: RequestInit) => {
          urls.push(url);
          expect(init.redirect).toBe('manual');
          return new Response('', { status: 307, headers: { location: 'https://evil.example/missions' } });
        },
      },
    );
  });

  test('comes back while the token still works: nobody notices', async () => {
    let down = false;
    let refused = 0;
    await withAgent(
      async (agent) => {
        const mission = await agent.declare(TASK);
        let renewed = false;
        mission.on('renewed', () => {
          renewed = true;
        });
        const first = await mission.token(ERP);
        down = true;
        sortie.clock.ahead += 250;
        expect(await mission.token(ERP)).toBe(first);
        await until(() => refused >= 4, 'every attempt failed');
        down = false;
        // The next attempt is after a pause of at most a second.
        sortie.clock.ahead += 2;
        await until(() => renewed, 'a renewal');
        expect(await mission.token(ERP)).not.toBe(first);
      },
      {
        fetch: async (url: string, init: RequestInit) => {
          if (!down) return fetch(url, init);
          refused += 1;
          throw new TypeError('fetch failed');
        },
      },
    );
  });
});
