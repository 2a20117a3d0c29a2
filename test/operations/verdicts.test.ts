/**
 * What verdicts do by themselves, end to end: a real broker, real guards of two audiences, and verifiers that lie.
 */
import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { accessTokenHash } from '../../src/domain/dpop.ts';
import type { RunningGuard } from '../../src/sdk/resource/create-guard.ts';
import { ERP, MAIL, newKey } from '../support/broker.ts';
import { type Agent, ATTACKER, type Offices, openOffices, POISON } from '../support/offices.ts';

let offices: Offices;
const guards: RunningGuard[] = [];
beforeAll(async () => {
  offices = await openOffices();
});
afterEach(async () => {
  for (const guard of guards.splice(0)) await guard.close();
});
afterAll(() => offices.close());

async function guard(audience: typeof ERP | typeof MAIL, options = {}): Promise<RunningGuard> {
  const running = await offices.guard(audience, options);
  guards.push(running);
  return running;
}

async function until<T>(look: () => Promise<T | null | undefined | false>): Promise<T> {
  for (let tries = 0; tries < 200; tries++) {
    const found = await look();
    if (found !== null && found !== undefined && found !== false) return found;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error('it never came');
}

interface AuditRow {
  readonly event: string;
  readonly actor: string;
  readonly details: Record<string, unknown>;
}

async function audit(mission_id: string, event = 'behaviour.verdict'): Promise<AuditRow[]> {
  const rows = (await offices.mission(mission_id))['audit'] as AuditRow[];
  return rows.filter((row) => row.event === event);
}

const answered = (mission_id: string, count = 1) =>
  until(async () => {
    const rows = await audit(mission_id);
    return rows.length >= count ? rows : null;
  });

/** A hijacked agent's stray effect at an office: refused inline, and its verdict sent. */
async function stray(running: RunningGuard, agent: Agent): Promise<void> {
  expect(await offices.call(running, agent, 'inbox.list', {}, POISON)).toMatchObject({ permitted: true });
  expect(await offices.call(running, agent, 'mail.forward', { to: ATTACKER })).toMatchObject({
    permitted: false,
    code: 'behaviour_denied',
  });
}

const state = async (id: string) => (await offices.mission(id))['state'];

describe('a hijacked agent', () => {
  test('is refused, its mission suspended by the broker in the same second, denied everywhere, and explained', async () => {
    const [erp, mail] = [await guard(ERP), await guard(MAIL)];
    const agent = await offices.agent();
    const there = (await offices.again(agent, MAIL)).agent;
    expect(await offices.call(mail, there, 'contacts.list')).toMatchObject({ permitted: true });
    await stray(erp, agent);
    await until(async () => (await state(agent.mission_id)) === 'suspended');
    const [suspended] = await audit(agent.mission_id, 'mission.suspended');
    expect(suspended).toMatchObject({ actor: 'behaviour' });
    for (const [running, held] of [
      [erp, agent],
      [mail, there],
    ] as const)
      await until(async () => {
        const verdict = await offices.call(running, held, 'contacts.list');
        return !verdict.permitted;
      });
    expect(await offices.again(agent)).toMatchObject({ status: 400, error: 'mission_suspended' });
    // The verifier's own word came as well, and took nothing away that a resume would not give back.
    const rows = await answered(agent.mission_id, 2);
    expect(
      rows.find(({ details }) => details['verifier'] === 'erp' && details['proven_at'])?.details['does'],
    ).toBe('none');
    expect(await audit(agent.mission_id, 'mission.contained')).toEqual([]);
    const judged = rows.find(({ details }) => details['judged_by'] === 'broker');
    const explained = await offices.sortie.admin(
      'GET',
      `/decisions/${String(judged?.details['decision'])}/explain`,
    );
    expect(explained.body['verdict']).toMatchObject({
      replay: 'same',
      followed: [{ details: { does: 'suspend' } }],
    });
    expect(
      offices.sortie.log.some((line) => line.includes(agent.mission_id) && line.includes('suspended')),
    ).toBe(true);
  });
});

describe("one verifier's word", () => {
  test('takes its own audience from the mission, and no more: the mission lives elsewhere', async () => {
    const [erp, mail] = [await guard(ERP), await guard(MAIL)];
    const agent = await offices.agent();
    await lie('erp', agent, {});
    const [row] = await answered(agent.mission_id);
    expect(row).toMatchObject({
      actor: 'behaviour',
      details: { verifier: 'erp', audience: ERP, rule: 'stray_effect', asked: 'suspend', does: 'contain' },
    });
    expect(await state(agent.mission_id)).toBe('active');
    const [contained] = await audit(agent.mission_id, 'mission.contained');
    expect(contained).toMatchObject({ actor: 'behaviour' });
    // The decision that it names explains itself.
    const decision = String(row?.details['decision']);
    expect(String(contained?.details['reason'])).toContain(decision);
    const explained = await offices.sortie.admin('GET', `/decisions/${decision}/explain`);
    expect(explained.body['decision']).toMatchObject({
      reason: 'behaviour_denied',
      proof: 'valid',
      verdict: { record: { rule: 'stray_effect', catalogue_version: '1' }, enforced: true },
    });
    expect(JSON.stringify(explained.body)).not.toContain('attacker');
    // Token and proof are checked once and not kept.
    expect(JSON.stringify(explained.body)).not.toContain(agent.token);
    // What it still holds is refused at once, and what it gets anew has nothing here.
    await until(async () => {
      const verdict = await offices.call(erp, agent, 'contacts.list');
      return !verdict.permitted && verdict.code !== 'behaviour_denied';
    });
    expect(await offices.again(agent)).toMatchObject({ status: 400 });
    const elsewhere = await offices.again(agent, MAIL);
    expect(elsewhere.status).toBe(200);
    expect(await offices.call(mail, elsewhere.agent, 'contacts.list')).toMatchObject({ permitted: true });
  });

  test('names the bundle that judged', async () => {
    const erp = await guard(ERP);
    const agent = await offices.agent();
    await stray(erp, agent);
    await until(async () => (await state(agent.mission_id)) === 'suspended');
    await erp.close();
    const { body } = await offices.sortie.admin(
      'GET',
      `/decisions?mission_id=${agent.mission_id}&decision=deny`,
    );
    const told = body['items'] as { judged_by: string; bundle_version: string }[];
    expect(new Set(told.map(({ judged_by }) => judged_by))).toEqual(new Set(['broker', 'verifier']));
    for (const { bundle_version } of told) expect(bundle_version).toBe(erp.health().bundle_version);
  });

  test('however often it is said, is one action', async () => {
    const agent = await offices.agent();
    await Promise.all(Array.from({ length: 20 }, () => lie('erp', agent, {})));
    await allAnswered();
    const after = await offices.mission(agent.mission_id);
    expect(after['version']).toBe(2);
    expect(await audit(agent.mission_id)).toHaveLength(1);
    expect(await audit(agent.mission_id, 'mission.contained')).toHaveLength(1);
  });
});

describe("the broker's own judgement", () => {
  test('suspends at once, and a person sees why', async () => {
    const erp = await guard(ERP);
    const agent = await offices.agent();
    expect(await offices.call(erp, agent, 'inbox.list', {}, POISON)).toMatchObject({ permitted: true });
    expect(await evaluated(agent, 'mail.forward', { to: ATTACKER })).toMatchObject({ decision: false });
    await until(async () => (await state(agent.mission_id)) === 'suspended');
    const [row] = await audit(agent.mission_id);
    expect(row?.details).toMatchObject({ judged_by: 'broker', asked: 'suspend', does: 'suspend' });
    const { body } = await offices.sortie.admin(
      'GET',
      `/decisions/${String(row?.details['decision'])}/explain`,
    );
    expect(body['verdict']).toMatchObject({ enforced: true });
    expect((body['verdict'] as { says: string[] }).says[0]).toContain('stray_effect');
    expect(JSON.stringify(body)).not.toContain('attacker');
    await until(async () => !(await offices.call(erp, agent, 'contacts.list')).permitted);
    expect(await offices.again(agent)).toMatchObject({ status: 400, error: 'mission_suspended' });
  });

  test('does nothing to a mission that a person only just resumed, until something new happens', async () => {
    const agent = await offices.agent();
    const erp = await guard(ERP);
    await offices.call(erp, agent, 'inbox.list', {}, POISON);
    await evaluated(agent, 'mail.forward', { to: ATTACKER });
    await until(async () => (await state(agent.mission_id)) === 'suspended');
    await offices.sortie.admin('POST', `/missions/${agent.mission_id}/resume`, { reason: 'checked' });
    await allAnswered();
    expect(await state(agent.mission_id)).toBe('active');
    const fresh = (await offices.again(agent)).agent;
    await evaluated(fresh, 'mail.forward', { to: ATTACKER });
    await until(async () => (await state(agent.mission_id)) === 'suspended');
  });
});

/** AuthZEN: a decision point asks for the broker's word on a call. */
async function evaluated(agent: Agent, action: string, parameters: Record<string, unknown>) {
  const response = await fetch(`${offices.sortie.url}/access/v1/evaluation`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${await offices.sortie.assertion('erp')}`,
      'content-type': 'application/json',
    },
    body: JSON.stringify({
      subject: { type: 'mission', id: agent.mission_id },
      action: { name: action },
      resource: { type: 'audience', id: agent.audience },
      context: {
        access_token: agent.token,
        dpop: await proofOf(agent, agent.audience),
        method: 'POST',
        url: `${agent.audience}/mail.forward`,
        parameters,
      },
    }),
  });
  return (await response.json()) as Record<string, unknown>;
}

/** Everything reported so far is answered: a later report by the same broker is answered after it. */
async function allAnswered(): Promise<void> {
  const marker = await offices.agent();
  await lie('erp', marker, {});
  await answered(marker.mission_id);
}

describe("two audiences' word", () => {
  test('suspends the mission; every guard denies, and it cannot renew', async () => {
    const [erp, mail] = [await guard(ERP), await guard(MAIL)];
    const agent = await offices.agent();
    await lie('erp', agent, {});
    await answered(agent.mission_id);
    // Narrowed: the other office's token is renewed first.
    const there = (await offices.again(agent, MAIL)).agent;
    await lie('mail', there, {});
    await until(async () => (await state(agent.mission_id)) === 'suspended');
    const [row] = await audit(agent.mission_id, 'mission.suspended');
    expect(row).toMatchObject({ actor: 'behaviour' });
    await until(async () => !(await offices.call(mail, there, 'contacts.list')).permitted);
    expect(await offices.call(erp, agent, 'contacts.list')).toMatchObject({ permitted: false });
    expect(await offices.again(agent, MAIL)).toMatchObject({ status: 400, error: 'mission_suspended' });
  });

  test('a person resumes it: the same events never suspend it again, new ones do', async () => {
    const agent = await offices.agent();
    await lie('erp', agent, {});
    await answered(agent.mission_id);
    // Narrowed: the other office's token is renewed first.
    const there = (await offices.again(agent, MAIL)).agent;
    await lie('mail', there, {});
    await until(async () => (await state(agent.mission_id)) === 'suspended');
    const old = await offices.sortie.admin('GET', `/decisions?mission_id=${agent.mission_id}&decision=deny`);
    expect(old.body['items']).not.toEqual([]);
    const resumed = await offices.sortie.admin('POST', `/missions/${agent.mission_id}/resume`, {
      reason: 'checked',
    });
    expect(resumed.status).toBe(200);
    // A restart forgets what is in memory, and nothing that counts.
    const before = (await audit(agent.mission_id)).length;
    const replayed = await lie('erp', agent, {
      proof: await proofOf(agent, ERP, { iat: Math.floor(offices.sortie.clock.now()) - 5 }),
    });
    expect(replayed).toMatchObject({ accepted: 1, proven: 1 });
    await allAnswered();
    expect(await state(agent.mission_id)).toBe('active');
    expect(await audit(agent.mission_id)).toHaveLength(before);
    offices.sortie.clock.ahead += 2;
    try {
      await lie('erp', agent, {});
      await answered(agent.mission_id, before + 1);
      expect(await state(agent.mission_id)).toBe('active');
      await lie('mail', there, {});
      await until(async () => (await state(agent.mission_id)) === 'suspended');
    } finally {
      offices.sortie.clock.ahead = 0;
    }
  });

  test('is not shed by falling silent: who was suspended so does not wake up by evidence', async () => {
    const agent = await offices.agent();
    const there = (await offices.again(agent, MAIL)).agent;
    await lie('erp', agent, {});
    await answered(agent.mission_id);
    const { ports } = offices.sortie.broker;
    const { SILENT, intervene } = await import('../../src/operations/lifecycle.ts');
    await intervene(
      ports,
      agent.mission_id,
      'suspend',
      { actor: 'broker', reason: SILENT },
      'attestation_overdue',
    );
    await lie('mail', there, {});
    await answered(agent.mission_id, 2);
    expect(await offices.again(agent, MAIL)).toMatchObject({ status: 400, error: 'mission_suspended' });
    expect((await offices.mission(agent.mission_id))['state_reason']).toContain('stray_effect');
  });
});

async function proofOf(
  agent: Agent,
  audience: string,
  claims: Record<string, unknown> = {},
): Promise<string> {
  return offices.sortie.proof(agent.key, 'POST', `${audience}/mail.forward`, {
    ath: accessTokenHash(agent.token),
    nonce: undefined,
    ...claims,
  });
}

let seq = 0;
/** A denial as a verifier tells it, true or not. */
async function eventOf(agent: Agent, over: Record<string, unknown> = {}): Promise<Record<string, unknown>> {
  const jti = (
    JSON.parse(Buffer.from(agent.token.split('.')[1] ?? '', 'base64url').toString()) as { jti: string }
  ).jti;
  return {
    ts: offices.sortie.clock.now(),
    jti,
    mission_id: agent.mission_id,
    seq: ++seq,
    action: 'mail.forward',
    resource: agent.audience,
    labels: ['effect', 'external'],
    decision: 'deny',
    reason: 'behaviour_denied',
    outcome: 'refused',
    latency_us: 9,
    proof: await proofOf(agent, agent.audience),
    access_token: agent.token,
    verdict: {
      seq: 1,
      decision: 'deny',
      rule: 'stray_effect',
      findings: [
        {
          rule: 'stray_effect',
          mode: 'deny',
          parameter: '',
          kind: 'action',
          origins: [],
          declared_sources: [],
          value_digest: '',
        },
      ],
      response: 'suspend',
      tainted: true,
      detour: true,
      memory: { values: 3, overflow: false },
      catalogue_version: '1',
      history_version: null,
      rules_version: '1',
      enforced: true,
    },
    ...over,
  };
}

async function lie(verifier: 'erp' | 'mail', agent: Agent, over: Record<string, unknown>) {
  return report(verifier, [await eventOf(agent, over)]);
}

async function report(
  verifier: 'erp' | 'mail',
  events: readonly unknown[],
): Promise<Record<string, unknown>> {
  const response = await fetch(`${offices.sortie.url}/events`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${await offices.sortie.assertion(verifier)}`,
      'content-type': 'application/json',
    },
    body: JSON.stringify({ batch_id: randomUUID(), instance_id: 'p1', lost: 0, events }),
  });
  return (await response.json()) as Record<string, unknown>;
}

/** Whether anything was done to a mission by a verdict, once everything reported is answered. */
async function untouched(mission_id: string): Promise<void> {
  await allAnswered();
  const mission = await offices.mission(mission_id);
  expect(mission).toMatchObject({ state: 'active', version: 1 });
  expect(await audit(mission_id)).toEqual([]);
}

describe('a verifier that lies', () => {
  test("cannot touch a stranger's mission", async () => {
    const agent = await offices.agent({ audience: MAIL });
    expect(await lie('erp', agent, {})).toMatchObject({ accepted: 0, dropped: { foreign: 1 } });
    await untouched(agent.mission_id);
  });

  test("does nothing without the proof of a call, nor with another key's, nor without the token", async () => {
    const agent = await offices.agent();
    const other = { ...agent, key: await newKey() };
    await lie('erp', agent, { proof: undefined });
    await lie('erp', agent, { proof: await proofOf(other, ERP) });
    await lie('erp', agent, { access_token: undefined });
    await lie('erp', agent, { access_token: `${agent.token}x` });
    await lie('erp', agent, { proof: await proofOf(agent, MAIL) });
    await untouched(agent.mission_id);
  });

  test('cannot hang a call of one mission on another of the same key', async () => {
    const first = await offices.agent();
    const second = await offices.agent({ key: first.key, run: first.run });
    // The proof is of a call under the first; the second shares its key and audience.
    const stolen = await proofOf(first, ERP);
    expect(await lie('erp', second, { proof: stolen })).toMatchObject({ accepted: 1, proven: 0 });
    expect(await lie('erp', second, { proof: stolen, access_token: first.token })).toMatchObject({
      proven: 0,
    });
    await untouched(second.mission_id);
  });

  test('cannot use one proof twice, and cannot lend it to another', async () => {
    const agent = await offices.agent();
    const there = (await offices.again(agent, MAIL)).agent;
    const proof = await proofOf(agent, ERP);
    await lie('erp', agent, { proof });
    await answered(agent.mission_id);
    expect(await lie('mail', there, { proof })).toMatchObject({ accepted: 1, proven: 0 });
    expect(await lie('erp', agent, { proof })).toMatchObject({ accepted: 1, proven: 0 });
    await allAnswered();
    expect(await state(agent.mission_id)).toBe('active');
    expect(await audit(agent.mission_id)).toHaveLength(1);
  });

  test('alone never suspends, whatever it says and however often, also after a restart', async () => {
    const agent = await offices.agent();
    await report(
      'erp',
      await Promise.all(
        Array.from({ length: 50 }, (_, index) =>
          eventOf(agent, { verdict: undefined, seq: 9000 + index }).then(async (event) => ({
            ...event,
            verdict: ((await eventOf(agent)) as { verdict: object }).verdict,
          })),
        ),
      ),
    );
    await answered(agent.mission_id);
    await offices.sortie.restart();
    await lie('erp', agent, {});
    await allAnswered();
    expect(await offices.mission(agent.mission_id)).toMatchObject({ state: 'active', version: 2 });
    expect(await audit(agent.mission_id)).toHaveLength(1);
  });

  test('cannot ask for more than the template says, and what it only observed asks for nothing', async () => {
    const [observed, harmless, odd] = [await offices.agent(), await offices.agent(), await offices.agent()];
    const { verdict } = (await eventOf(observed)) as { verdict: Record<string, unknown> };
    await lie('erp', observed, { verdict: { ...verdict, enforced: false } });
    // `unproven_sink` has no response in this template, whatever a verifier writes beside it.
    const [finding] = verdict['findings'] as Record<string, unknown>[];
    await lie('erp', harmless, {
      verdict: {
        ...verdict,
        rule: 'unproven_sink',
        findings: [{ ...finding, rule: 'unproven_sink' }],
        response: 'revoke',
      },
    });
    expect(await lie('erp', odd, { verdict: { ...verdict, rule: 'free prose of mine' } })).toMatchObject({
      accepted: 0,
      dropped: { malformed: 1 },
    });
    for (const { mission_id } of [observed, harmless, odd]) await untouched(mission_id);
  });
});

describe('a guard that observes', () => {
  test('refuses nothing, records what it would have, and nothing follows', async () => {
    const erp = await guard(ERP, { behaviour: 'observe' });
    const agent = await offices.agent();
    await offices.call(erp, agent, 'inbox.list', {}, POISON);
    expect(await offices.call(erp, agent, 'mail.forward', { to: ATTACKER })).toMatchObject({
      permitted: true,
    });
    const found = await until(async () => {
      const { body } = await offices.sortie.admin('GET', `/decisions?mission_id=${agent.mission_id}`);
      return (body['items'] as Record<string, unknown>[]).find(({ action }) => action === 'mail.forward');
    });
    expect(found).toMatchObject({
      decision: 'permit',
      verdict: { record: { decision: 'deny', rule: 'stray_effect' }, enforced: false },
    });
    await untouched(agent.mission_id);
  });
});
