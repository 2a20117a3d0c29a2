/** A mission's agent, its sub-agent and a thief, at a real broker. */
import { inspect } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { passOnReading, takeUp } from '../../../examples/warehouse.ts';
import { type Agent, MissionDenied, MissionEnded } from '../../../src/sdk/agent/index.ts';
import { ERP, MAIL, startBroker, TEMPLATE, type TestBroker } from '../../support/broker.ts';
import { agentAt, claimsOf, evidenceOf, thrownBy } from './support.ts';

const delegation = { max_depth: 1, allowed_delegates: [{ sub_profile: 'ai_agent' }] };
const READ = { type: 'mission_resource_access', resource: ERP, actions: ['invoices.read'] } as const;

let sortie: TestBroker;
const agents: Agent[] = [];
beforeAll(async () => {
  sortie = await startBroker({
    template: {
      ceiling: [
        { ...READ, delegation },
        { ...READ, actions: ['journal.write'] },
        ...TEMPLATE.ceiling.slice(2),
      ],
    },
  });
});
afterAll(async () => {
  for (const agent of agents) agent.close();
  await sortie.close();
});

let run = 0;
async function agentNamed(sub: string): Promise<Agent> {
  run += 1;
  const agent = await agentAt(sortie, { evidence: evidenceOf(sortie, { sub, run: `delegation-${run}` }) });
  agents.push(agent);
  return agent;
}

const parentMission = async () =>
  (await agentNamed('reconciler')).declare({
    goal: 'Reconcile',
    resources: [ERP, MAIL],
    lifetime_seconds: 1200,
  });
const CHILD = { to: 'agents/reader', goal: 'Read invoice 7', resources: [ERP], lifetime_seconds: 600 };

test('a child gets a strict subset, under its own key, below its parent', async () => {
  const parent = await parentMission();
  const grant = await parent.delegate(CHILD);
  const reader = await agentNamed('reader');
  const child = await reader.activate(grant);
  expect(child.id).toBe(grant.mission_id);
  expect(child.can('invoices.read')).toBe(true);
  expect(child.can('journal.write')).toBe(false);
  expect(claimsOf(await child.token(ERP))).toMatchObject({
    sub: 'agents/reconciler',
    client_id: 'agents/reader',
    cnf: { jkt: reader.jkt },
    mission: { path: [parent.id, child.id] },
  });
});

test('the example passes reading on, and its sub-agent takes it up', async () => {
  const grant = await passOnReading(await parentMission(), ERP, 'agents/reader');
  const child = await takeUp(await agentNamed('reader'), grant);
  expect(child.can('invoices.read')).toBe(true);
  expect(child.whyNot('journal.write')).toMatchObject({ code: 'action_not_covered' });
});

test('the grant travels as text, and is not in logs', async () => {
  const parent = await parentMission();
  const grant = await parent.delegate({ ...CHILD, authorization_details: [{ ...READ }] });
  const signature = grant.value.split('.')[2] ?? '';
  for (const shown of [JSON.stringify(grant), inspect(grant, { depth: 9, showHidden: true }), `${grant}`])
    expect(shown).not.toContain(signature);
  const child = await (await agentNamed('reader')).activate(grant.value);
  expect(child.state).toBe('active');
  const renewed = await (async () => {
    sortie.clock.ahead += 310;
    return child.token(ERP);
  })();
  expect(claimsOf(renewed)['act']).toMatchObject({ sub: 'agents/reader' });
});

test('a grant is worth nothing to another agent, to the parent, and a second time', async () => {
  const parent = await parentMission();
  const grant = await parent.delegate(CHILD);
  const thief = await thrownBy(async () => (await agentNamed('thief')).activate(grant));
  expect(thief).toBeInstanceOf(MissionDenied);
  expect(thief['code']).toBe('invalid_grant');
  await (await agentNamed('reader')).activate(grant);
  const again = await thrownBy(async () => (await agentNamed('reader')).activate(grant));
  expect(again).toBeInstanceOf(MissionDenied);
  expect(again['code']).toBe('invalid_grant');
  await expect((await agentNamed('reader')).activate('not.a.grant')).rejects.toThrow(
    'not a delegation grant',
  );
});

test('what may not be passed on is refused to the parent', async () => {
  const parent = await parentMission();
  const mail = await thrownBy(() => parent.delegate({ ...CHILD, resources: [MAIL] }));
  expect(mail['code']).toBe('delegation_not_permitted');
  const journal = await thrownBy(() =>
    parent.delegate({ ...CHILD, authorization_details: [{ ...READ, actions: ['journal.write'] }] }),
  );
  expect(journal['code']).toBe('not_strict_subset');
});

test('a child ends with its parent', async () => {
  const parent = await parentMission();
  const child = await (await agentNamed('reader')).activate(await parent.delegate(CHILD));
  await parent.complete();
  await expect(parent.delegate(CHILD)).rejects.toThrow(MissionEnded);
  await child.refresh();
  expect(child.state).toBe('revoked');
  await expect(child.token(ERP)).rejects.toThrow(MissionEnded);
});
