/** What recurring missions teach: through a real broker and real guards, over weeks, and with those who would poison it. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { historyDigest } from '../../src/behaviour/history.ts';
import { createHistoryLearner, learnFrom } from '../../src/operations/history.ts';
import { creation, ERP, MAIL, newKey } from '../support/broker.ts';
import {
  ACTIONS,
  type Agent,
  ATTACKER,
  NEEDS,
  type Offices,
  openOffices,
  POISON,
} from '../support/offices.ts';

const DAY = 86_400;
const WEEKLY = 'weekly@partner.example';
const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';

let offices: Offices;
let viewer = '';
beforeAll(async () => {
  const delegation = { max_depth: 1, allowed_delegates: [{ sub_profile: 'ai_agent' }] };
  offices = await openOffices({
    ceiling: [ERP, MAIL].map((resource) => ({
      type: 'mission_resource_access',
      resource,
      actions: Object.keys(ACTIONS),
      delegation,
    })),
    behaviour: { history: 'all' },
  });
  // Before the weeks pass: the bootstrap token lives an hour.
  viewer = await offices.sortie.adminToken('viewer', 'vera');
});
afterAll(() => offices.close());

/** A mission that a launcher declared for an agent: a child of its own. */
async function launched(goal: string, name: string): Promise<Agent> {
  const { sortie } = offices;
  const launcher = await newKey();
  const ends = new Date((sortie.clock.now() + 3600) * 1000).toISOString();
  const above = await sortie.token(
    launcher,
    creation(await sortie.evidence({ run: randomUUID() }), {
      mission_intent: JSON.stringify({ intent: { goal: 'Launch', resources: [ERP], expires_at: ends } }),
    }),
  );
  const expires_at = new Date((sortie.clock.now() + 1800) * 1000).toISOString();
  const reserved = await sortie.token(launcher, {
    grant_type: EXCHANGE,
    subject_token: above.body.access_token,
    subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    child_actor: JSON.stringify({ sub: `agents/${name}` }),
    mission_intent: JSON.stringify({
      intent: {
        goal,
        resources: [ERP],
        expires_at,
        needs: [{ resource: ERP, actions: NEEDS, why: 'every week' }],
      },
    }),
  });
  const key = await newKey();
  const run = randomUUID();
  const { status, body } = await sortie.token(key, {
    grant_type: EXCHANGE,
    subject_token: await sortie.evidence({ sub: name, run }),
    subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    resource: ERP,
    delegation: reserved.body.access_token,
  });
  expect(body.error_description ?? status).toBe(200);
  return { key, run, mission_id: body.mission_id, token: body.access_token, audience: ERP };
}

const guard = () => offices.guard(ERP, { now: () => offices.sortie.clock.now() });

/** Plays one mission to its end. @returns what it taught */
async function week(
  name: string,
  { goal = `Send the weekly report to ${WEEKLY}`, to = [WEEKLY] as string[], end = true } = {},
): Promise<{ permitted: boolean[]; taught: readonly string[]; agent: Agent }> {
  const erp = await guard();
  const agent = await launched(goal, name);
  await offices.call(erp, agent, 'inbox.list', {}, POISON);
  const permitted: boolean[] = [];
  for (const one of to) permitted.push((await offices.call(erp, agent, 'mail.send', { to: one })).permitted);
  await erp.close();
  if (end) {
    const { status } = await offices.sortie.holder(
      agent.key,
      'POST',
      `/missions/${agent.mission_id}/complete`,
      {
        token: agent.token,
      },
    );
    expect(status).toBe(204);
  }
  return { permitted, taught: await learnFrom(offices.sortie.broker.ports, agent.mission_id), agent };
}

const scope = (name: string) => ({ template_id: 'invoices', agent: `agents/${name}`, audience: ERP });
const learned = async (name: string) =>
  (await offices.sortie.broker.ports.store.history(scope(name))).learned;

describe('recurring missions', () => {
  test('five clean ones on different days vouch, after a week of quarantine and not before; a sixth may be vague', async () => {
    const { clock, broker } = offices.sortie;
    const began = clock.ahead;
    for (let run = 0; run < 5; run++) {
      const vague = await week('weekly', { goal: 'Send the weekly report', end: false });
      expect(vague.permitted, `run ${run}`).toEqual([false]);
      const { permitted, taught } = await week('weekly');
      expect({ permitted, taught }).toEqual({ permitted: [true], taught: [ERP] });
      clock.ahead += 2 * DAY;
    }
    const sixth = await week('weekly', { goal: 'Send the weekly report', to: [WEEKLY, ATTACKER] });
    expect(sixth.permitted).toEqual([true, false]);
    // Refused something: it taught nothing, and what history vouched for did not teach itself.
    expect(sixth.taught).toEqual([]);
    expect((await learned('weekly')).size).toBe(1);
    // Another agent of the same template has a past of its own.
    expect((await week('other', { goal: 'Send the weekly report' })).permitted).toEqual([false]);
    // The digest is of this template, agent and audience: nobody else's key gives it.
    const [digest] = (await learned('weekly')).keys();
    expect(historyDigest(broker.ports.historyKey(scope('weekly')), `v:${WEEKLY}`)).toBe(digest);
    expect(historyDigest(broker.ports.historyKey(scope('other')), `v:${WEEKLY}`)).not.toBe(digest);
    expect(
      historyDigest(broker.ports.historyKey({ ...scope('weekly'), audience: MAIL }), `v:${WEEKLY}`),
    ).not.toBe(digest);

    const forget = {
      template: 'invoices',
      agent: 'agents/weekly',
      since: new Date((clock.now() - clock.ahead + began - DAY) * 1000).toISOString(),
      reason: 'incident 7',
    };
    expect((await offices.sortie.as(viewer, 'POST', '/history/forget', forget)).status).toBe(403);
    const { body } = await offices.sortie.admin('POST', '/history/forget', forget);
    expect(body['items']).toMatchObject([{ agent: 'agents/weekly', destinations: 0 }]);
    expect((await week('weekly', { goal: 'Send the weekly report' })).permitted).toEqual([false]);
    const [record] = await broker.ports.store.auditRecords({ event: 'history.forgotten', limit: 1 });
    expect(record).toMatchObject({ actor: 'admin:alice', details: { reason: 'incident 7' } });
  });
});

test('the broker learns by itself, once the guards have had time to tell', async () => {
  const learner = createHistoryLearner(offices.sortie.broker.ports);
  const erp = await guard();
  const agent = await launched(`Send the weekly report to ${WEEKLY}`, 'tended');
  await offices.call(erp, agent, 'mail.send', { to: WEEKLY });
  await erp.close();
  await offices.sortie.holder(agent.key, 'POST', `/missions/${agent.mission_id}/complete`, {
    token: agent.token,
  });
  await learner.tend();
  expect((await learned('tended')).size).toBe(0);
  offices.sortie.clock.ahead += 11;
  await learner.tend();
  expect((await learned('tended')).size).toBe(1);
});

describe('a mission that would poison the past', () => {
  test('teaches nothing where it was refused anything', async () => {
    expect(await week('refused', { to: [WEEKLY, ATTACKER] })).toMatchObject({
      permitted: [true, false],
      taught: [],
    });
  });

  test('teaches nothing where it did not complete', async () => {
    expect((await week('unfinished', { end: false })).taught).toEqual([]);
  });

  test('teaches nothing where the agent declared it itself', async () => {
    const erp = await guard();
    const agent = await offices.agent({ goal: `Send it to ${ATTACKER}` });
    expect((await offices.call(erp, agent, 'mail.send', { to: ATTACKER })).permitted).toBe(true);
    await erp.close();
    await offices.sortie.holder(agent.key, 'POST', `/missions/${agent.mission_id}/complete`, {
      token: agent.token,
    });
    expect(await learnFrom(offices.sortie.broker.ports, agent.mission_id)).toEqual([]);
  });

  test('teaches once, however often it is looked at', async () => {
    const { agent, taught } = await week('once');
    expect(taught).toEqual([ERP]);
    const before = await learned('once');
    expect(await learnFrom(offices.sortie.broker.ports, agent.mission_id)).toEqual([]);
    expect(await learned('once')).toEqual(before);
  });

  test('teaches nothing that a verifier only says: every use needs the proof of its call and its own token', async () => {
    const agent = await launched(`Send the weekly report to ${WEEKLY}`, 'invented');
    const jti = (
      JSON.parse(Buffer.from(agent.token.split('.')[1] ?? '', 'base64url').toString()) as { jti: string }
    ).jti;
    const digest = historyDigest(offices.sortie.broker.ports.historyKey(scope('invented')), `v:${ATTACKER}`);
    const proof = await offices.sortie.proof(agent.key, 'POST', `${ERP}/mail.send`, {
      ath: 'x',
      nonce: undefined,
    });
    const event = {
      ts: offices.sortie.clock.now(),
      jti,
      mission_id: agent.mission_id,
      action: 'mail.send',
      resource: ERP,
      labels: ['effect'],
      decision: 'permit',
      reason: 'permitted',
      latency_us: 1,
      destinations: [digest],
    };
    const response = await fetch(`${offices.sortie.url}/events`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${await offices.sortie.assertion('erp')}`,
        'content-type': 'application/json',
      },
      body: JSON.stringify({
        batch_id: randomUUID(),
        events: [
          { ...event, seq: 1 },
          { ...event, seq: 2, proof },
          { ...event, seq: 3, proof, access_token: agent.token },
        ],
      }),
    });
    expect(await response.json()).toMatchObject({ accepted: 3 });
    await offices.sortie.holder(agent.key, 'POST', `/missions/${agent.mission_id}/complete`, {
      token: agent.token,
    });
    expect(await learnFrom(offices.sortie.broker.ports, agent.mission_id)).toEqual([]);
    expect((await learned('invented')).size).toBe(0);
  });

  test('a template without history tells guards none, and learns none', async () => {
    const plain = await openOffices();
    try {
      const agent = await plain.agent();
      const response = await fetch(`${plain.sortie.url}/verifier/missions/${agent.mission_id}`, {
        headers: { authorization: `Bearer ${await plain.sortie.assertion('erp')}` },
      });
      expect(await response.json()).not.toHaveProperty('history');
    } finally {
      await plain.close();
    }
  });
});
