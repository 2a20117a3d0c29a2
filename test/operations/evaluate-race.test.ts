/** The broker's word on a call, and a mission that is marked while it is given. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type EvaluationRequest, evaluate } from '../../src/operations/evaluate.ts';
import { createCallBehaviour } from '../../src/operations/judge-behaviour.ts';
import { createProvenance } from '../../src/operations/provenance.ts';
import type { Ports, VerifierPolicy } from '../../src/ports.ts';
import { type Agent, ATTACKER, MARIA, openTwoAudiences } from '../sdk/resource/two-audiences.ts';
import { MAIL } from '../support/broker.ts';

let two: Awaited<ReturnType<typeof openTwoAudiences>>;
beforeAll(async () => {
  two = await openTwoAudiences();
});
afterAll(() => two.close());

async function question(held: Agent, to: string): Promise<EvaluationRequest> {
  const { proof, method, url } = await two.callOf(held, MAIL, 'letter.register', { to });
  return {
    subject: null,
    action: 'letter.register',
    resource: MAIL,
    access_token: held.tokens[MAIL],
    proof,
    method,
    url,
    parameters: { to },
    context: {},
    behaviour: { mode: 'enforce', answers_inspected: true },
  };
}

/** A broker that marks a mission in the moment between judging a call and having the decision on disk. */
async function marking(held: Agent, times: number) {
  const { ports } = two.sortie.broker;
  const provenance = createProvenance(ports);
  const mission = await ports.store.mission(held.mission_id);
  const verifier = ports.policy().verifiers.find(({ id }) => id === 'mail') as VerifierPolicy;
  if (mission === null) throw new Error('no mission');
  const tree = await provenance.tree(mission);
  let left = times;
  const events: string[] = [];
  const moved: Ports = {
    ...ports,
    store: {
      ...ports.store,
      async atomically(writes) {
        if (left-- > 0) provenance.taint(tree);
        for (const write of writes) if (write.kind === 'append_audit') events.push(write.record.event);
        return ports.store.atomically(writes);
      },
    },
  };
  const behaviour = createCallBehaviour(moved, provenance, () => Buffer.alloc(32, 1));
  return {
    ask: async (to: string) => evaluate(moved, behaviour, verifier, await question(held, to)),
    events,
  };
}

test('a decision that became durable while the mission was marked is made again before it is answered', async () => {
  const { ask, events } = await marking(await two.agent(), 1);
  expect(await ask(ATTACKER)).toStrictEqual({
    decision: false,
    reason: 'behaviour_denied',
    retry: 'with_new_mission',
  });
  // Both are on record: what was thought first, and what was said.
  expect(events).toStrictEqual(['call.permitted', 'call.refused']);
});

test('and stands where the mission names the destination itself', async () => {
  const { ask } = await marking(await two.agent(), 1);
  expect(await ask(MARIA)).toMatchObject({ decision: true });
});

test('without a mark the same call is permitted: only the mark made the difference', async () => {
  const { ask, events } = await marking(await two.agent(), 0);
  expect(await ask(ATTACKER)).toMatchObject({ decision: true });
  expect(events).toStrictEqual(['call.permitted']);
});
