/** The story, step by step. Each step checks what it tells: a step that does not hold ends the demo. */
import { randomUUID } from 'node:crypto';
import { generateProofKey, prove } from '../src/sdk/agent/proof-key.ts';
import { runToEnd } from './children.ts';
import type { Narrator } from './narrator.ts';
import type { AgentOrder, CallReport, WatchReport } from './orders.ts';
import type { Scene } from './scene.ts';

interface Declared {
  readonly manifest: {
    readonly id: string;
    readonly expires_at: string;
    readonly narrowed: readonly { wanted: Entry; granted: Entry | null; reason: string; rule: string }[];
    readonly credentials: readonly { audience: string; residual_after_revoke_seconds: number }[];
  };
  readonly took_ms: number;
  readonly evidence_ms: number;
}

interface Entry {
  readonly resource?: string;
  readonly actions?: readonly string[];
  readonly constraints?: Readonly<Record<string, unknown>>;
}

type Record_ = Record<string, unknown>;

/** @throws Error that says which step did not hold */
export async function tell(scene: Scene, narrator: Narrator): Promise<void> {
  const ask = <T>(order: AgentOrder): Promise<T> => Promise.race([scene.agent.ask<T>(order), scene.failed]);
  const declared = await declaration(scene, narrator, ask);
  const mission_id = declared.manifest.id;
  await permitted(scene, narrator, ask);
  await overreach(scene, narrator, ask);
  await containment(scene, narrator, ask, mission_id);
  await kill(scene, narrator, ask, mission_id);
  await audit(scene, narrator);
}

type Ask = <T>(order: AgentOrder) => Promise<T>;

async function declaration(scene: Scene, narrator: Narrator, ask: Ask): Promise<Declared> {
  const { erp_url, mail_url } = scene;
  const type = 'mission_resource_access' as const;
  const declared = await ask<Declared>({
    do: 'declare',
    declaration: {
      goal: 'Reconcile the Q3 invoices and tell the suppliers',
      resources: [erp_url, mail_url],
      lifetime_seconds: 900,
      authorization_details: [
        { type, resource: erp_url, actions: ['invoices.read'] },
        {
          type,
          resource: erp_url,
          actions: ['invoices.approve'],
          constraints: { max_amount: { amount: '5000.00', currency: 'EUR' } },
        },
        { type, resource: erp_url, actions: ['payroll.export'] },
        { type, resource: mail_url, actions: ['messages.send'] },
      ],
    },
  });
  const { manifest } = declared;
  const { body: mission } = await scene.admin('GET', `/missions/${manifest.id}`);

  narrator.chapter('Attested: the agent holds no key to anything');
  narrator.say("its platform's issuer signs what it is", declared.evidence_ms);
  narrator.good(`the broker knows it as ${mission['agent']}, instance ${mission['instance']}`);
  narrator.say(`attester ${mission['attester']}, rule ${mission['rule']}, tier ${mission['tier']}`);
  check(mission['agent'] === 'platform/reconciler', 'the evidence names the agent');
  narrator.fact('attested', {
    agent: mission['agent'],
    instance: mission['instance'],
    tier: mission['tier'],
    evidence_ms: declared.evidence_ms,
  });

  narrator.chapter('A mission: asked, narrowed, granted');
  narrator.good(`one request, a token for each of ${manifest.credentials.length} services`, declared.took_ms);
  narrator.say(`ends ${manifest.expires_at}, bound to a key that cannot leave the agent`);
  for (const { wanted, granted, rule } of manifest.narrowed) {
    narrator.refused(`asked ${spoken(wanted)}: got ${granted === null ? 'nothing' : bounds(granted)}`);
    narrator.say(`by ${rule}`);
  }
  check(manifest.narrowed.length === 3, 'three wishes are narrowed');
  check(
    manifest.narrowed.some(({ granted }) => granted === null),
    'one wish is refused whole',
  );
  narrator.fact('mission_granted', {
    mission_id: manifest.id,
    took_ms: declared.took_ms,
    credentials: manifest.credentials.length,
    narrowed: manifest.narrowed.map(({ reason, rule }) => ({ reason, rule })),
  });
  return declared;
}

async function permitted(scene: Scene, narrator: Narrator, ask: Ask): Promise<void> {
  narrator.chapter('Calls: each service checks every one itself, without asking anybody');
  const calls: [string, Extract<AgentOrder, { do: 'call' }>][] = [
    ['read invoice 17', { do: 'call', method: 'GET', url: `${scene.erp_url}/invoices/17` }],
    [
      'approve invoice 17, 120.00 EUR',
      { do: 'call', method: 'POST', url: `${scene.erp_url}/invoices/17/approve` },
    ],
    [
      'mail billing@acme.example.com',
      {
        do: 'call',
        method: 'POST',
        url: `${scene.mail_url}/messages`,
        body: { to: 'billing@acme.example.com', subject: 'Invoice 17 is approved' },
      },
    ],
  ];
  const times: number[] = [];
  for (const [what, order] of calls) {
    const report = await ask<CallReport>(order);
    check(report.error === null && (report.status ?? 500) < 300, `${what} is permitted`, report);
    times.push(report.ended_at - report.started_at);
    narrator.good(what, times.at(-1));
  }
  const again: number[] = [];
  for (let round = 0; round < 20; round++) {
    const report = await ask<CallReport>({ do: 'call', method: 'GET', url: `${scene.erp_url}/invoices/17` });
    check(report.error === null, 'a repeated call is permitted', report);
    again.push(report.ended_at - report.started_at);
  }
  narrator.say('the same again, 20 times: median, proof and network included', median(again));
  narrator.fact('calls_permitted', {
    calls: calls.length,
    first_ms: times,
    repeated_median_ms: median(again),
  });
}

async function overreach(scene: Scene, narrator: Narrator, ask: Ask): Promise<void> {
  const { erp_url } = scene;
  narrator.chapter('Overreach: what the agent is told, and what others see');
  const foreseen = await ask<Record_ | null>({
    do: 'can',
    action: 'invoices.approve',
    resource: erp_url,
    context: { amount: { amount: '900.00', currency: 'EUR' } },
  });
  check(foreseen?.['code'] === 'constraint_violated', 'the agent can tell beforehand', foreseen);
  narrator.say("approve invoice 18, 900.00 EUR: the agent's can() says no, it tries anyway");
  const dear = await ask<CallReport>({ do: 'call', method: 'POST', url: `${erp_url}/invoices/18/approve` });
  check(dear.error?.['code'] === 'constraint_violated', 'the dear invoice is refused', dear);
  narrator.refused(
    `told: ${dear.error?.['code']}, ${dear.error?.['rule']}, retry ${dear.error?.['retry']}`,
    dear.ended_at - dear.started_at,
  );

  const stolen = await ask<string>({ do: 'leak', resource: erp_url });
  const theft = await useStolen(stolen, `${erp_url}/invoices/17`);
  check(theft.code === 'proof_invalid', 'a stolen token is refused', theft);
  const seen = JSON.parse((await scene.erp.line('not by the key')).slice('denied '.length)) as Record_;
  narrator.say('its token leaks into a log; somebody else tries it with a key of theirs');
  narrator.refused(`told: ${theft.code}`, theft.took_ms);
  narrator.say(`the ERP's own log: ${seen['private_reason']}`);

  const refused = await thrown(() =>
    ask({
      do: 'declare',
      declaration: {
        goal: 'Export the payroll',
        resources: [erp_url],
        lifetime_seconds: 600,
        authorization_details: [
          { type: 'mission_resource_access', resource: erp_url, actions: ['payroll.export'] },
        ],
      },
    }),
  );
  check(refused['code'] === 'out_of_template_ceiling', 'the second mission is refused', refused);
  const { body } = await scene.admin('GET', '/audit?event=exchange.refused&newest_first=true&limit=1');
  const [record] = body['items'] as { actor: string; details: Record_ }[];
  check(record?.actor === 'platform/reconciler', 'the refusal is on record', record);
  narrator.say('it declares another mission: the payroll');
  narrator.refused(`told: ${refused['code']}`);
  narrator.say(`on record: ${record?.actor}, ${record?.details['instance']}, "${goalOf(record?.details)}"`);
  narrator.fact('overreach_denied', {
    told: { code: dear.error?.['code'], rule: dear.error?.['rule'], retry: dear.error?.['retry'] },
    stolen_token: { told: theft.code, seen_by_the_owner: seen['private_reason'] },
    second_mission: { told: refused['code'], on_record: record?.actor },
  });
}

async function containment(scene: Scene, narrator: Narrator, ask: Ask, mission_id: string): Promise<void> {
  narrator.chapter('Contained: one action is taken away, the mission goes on');
  const contained = await scene.admin('POST', `/missions/${mission_id}/contain`, {
    reason: 'approvals look odd',
    remove: [{ action: 'invoices.approve' }],
  });
  narrator.good('admin: no more invoices.approve', contained.answered_at - contained.asked_at);
  const approve = await untilRefused(ask, scene);
  check(approve.report.error?.['code'] === 'action_not_covered', 'the approval is refused', approve.report);
  check(approve.renewed > 0, 'the token was renewed on the way');
  narrator.refused(
    'next approve: must renew, attests again, gets less, is denied',
    approve.report.ended_at - approve.report.started_at,
  );
  const read = await ask<CallReport>({ do: 'call', method: 'GET', url: `${scene.erp_url}/invoices/19` });
  check(read.error === null, 'reading goes on', read);
  narrator.good('read invoice 19 goes on', read.ended_at - read.started_at);
  const { version } = await ask<{ version: number }>({ do: 'status' });
  check(version === 2, 'the agent sees version 2 of its mission');
  narrator.fact('contained', {
    answer_ms: contained.answered_at - contained.asked_at,
    felt_ms: approve.report.ended_at - contained.answered_at,
    permitted_after_the_answer: approve.permitted,
    renewed: approve.renewed,
    told: approve.report.error?.['code'],
    version,
  });
}

async function kill(scene: Scene, narrator: Narrator, ask: Ask, mission_id: string): Promise<void> {
  narrator.chapter('Killed: the blast radius first, then the mission');
  const selector = { kind: 'mission_tree', key: mission_id };
  const reason = 'incident 4711';
  const preview = await scene.admin('POST', '/revocations', { selector, reason, dry_run: true });
  const credentials = preview.body['credentials'] as { target: string; count: number; works_until: string }[];
  check(preview.body['missions'] === 1, 'the preview shows one mission', preview.body);
  narrator.say(
    `dry run: ${preview.body['missions']} mission, ${sum(credentials)} tokens at ${credentials.length} services`,
    preview.answered_at - preview.asked_at,
  );
  narrator.say(`a service cut off from the broker could accept one until ${credentials[0]?.works_until}`);

  // The agent calls without a pause while the admin kills.
  const watching = ask<WatchReport>({ do: 'watch', url: `${scene.erp_url}/invoices/19`, max_ms: 8000 });
  await pause(150);
  const killed = await scene.admin('POST', '/revocations', {
    selector,
    reason,
    bulk_token: preview.body['bulk_token'],
  });
  const { permitted: before, refused } = await watching;
  const verifiers = killed.body['verifiers'] as { verifier_id: string; acknowledged_at: number | null }[];
  const late = before.filter((started_at) => started_at > killed.answered_at).length;
  narrator.good(
    'admin: revoke; answered when durable and acknowledged',
    killed.answered_at - killed.asked_at,
  );
  check(verifiers.length === 2, 'both services are named', verifiers);
  for (const { verifier_id, acknowledged_at } of verifiers)
    if (acknowledged_at === null) narrator.say(`${verifier_id} had not acknowledged yet`);
    else narrator.say(`${verifier_id} enforces it after`, acknowledged_at * 1000 - killed.asked_at);
  check(refused.error?.['code'] === 'mission_revoked', 'the next call is refused', refused);
  narrator.refused(
    `the agent never paused: ${before.length} calls went through, then ${refused.error?.['code']}`,
  );
  narrator.say('from the request to the first refused call', refused.ended_at - killed.asked_at);
  const after = refused.ended_at - killed.answered_at;
  narrator.say(after > 0 ? 'from the answer to it' : 'it came before the answer, by', Math.abs(after));
  narrator.say(`calls begun after the answer and permitted: ${late}`);
  const end = await thrown(() => ask({ do: 'refresh' }));
  const { ended } = await ask<{ ended: string | null }>({ do: 'status' });
  check(ended === 'mission_revoked', 'the agent knows that its mission is over', { ended, end });
  narrator.refused(`the agent tries to renew: ${String(end['name'] ?? 'MissionEnded')}, ${ended}`);
  narrator.fact('killed', {
    blast_radius: { missions: preview.body['missions'], credentials },
    answer_ms: killed.answered_at - killed.asked_at,
    verifiers: verifiers.map(({ verifier_id, acknowledged_at }) => ({
      verifier_id,
      enforced_ms: acknowledged_at === null ? null : acknowledged_at * 1000 - killed.asked_at,
    })),
    first_refusal_after_request_ms: refused.ended_at - killed.asked_at,
    first_refusal_after_answer_ms: after,
    permitted_after_answer: late,
    told: refused.error?.['code'],
    ended,
  });
}

async function audit(scene: Scene, narrator: Narrator): Promise<void> {
  narrator.chapter('The record');
  const code = await scene.endBroker();
  check(code === 0, `the broker ends cleanly (${code})`);
  const started = performance.now();
  const verdict = await runToEnd(['bin/sortie.cjs', 'audit', 'verify', '--config', scene.config_file]);
  check(verdict.code === 0, `the audit chain verifies: ${verdict.out}`);
  narrator.good(verdict.out, performance.now() - started);
  narrator.fact('audit_verified', { verdict: verdict.out });
}

/** Approvals until the containment is felt; each that still passed is counted, not hidden. */
async function untilRefused(ask: Ask, scene: Scene) {
  let renewed = 0;
  for (let permitted = 0; permitted < 200; permitted++) {
    const report = await ask<CallReport>({
      do: 'call',
      method: 'POST',
      url: `${scene.erp_url}/invoices/19/approve`,
    });
    renewed += report.renewed;
    if (report.error !== null) return { report, permitted, renewed };
  }
  throw new Error('the containment was never felt');
}

/** Somebody else's process: the token, and a key of their own. */
async function useStolen(token: string, url: string): Promise<{ code: string; took_ms: number }> {
  const key = await generateProofKey(globalThis.crypto);
  const proof = await prove(key, {
    method: 'GET',
    url,
    access_token: token,
    now: Date.now() / 1000,
    jti: randomUUID(),
  });
  const started = performance.now();
  const answer = await fetch(url, { headers: { authorization: `DPoP ${token}`, dpop: proof } });
  const { mission_denial } = (await answer.json()) as { mission_denial?: string };
  return { code: String(mission_denial), took_ms: performance.now() - started };
}

async function thrown(work: () => Promise<unknown>): Promise<Record_> {
  try {
    await work();
  } catch (cause) {
    if (cause instanceof Error && 'wire' in cause) return cause.wire as Record_;
    throw cause;
  }
  return {};
}

function check(holds: boolean, what: string, found?: unknown): asserts holds {
  if (!holds)
    throw new Error(`${what}: did not hold${found === undefined ? '' : `: ${JSON.stringify(found)}`}`);
}

function spoken(entry: Entry): string {
  return `${(entry.actions ?? []).join(', ')} ${bounds(entry)}`.trim();
}

function bounds({ constraints = {} }: Entry): string {
  const spokenBounds = Object.entries(constraints).map(([key, value]) =>
    key === 'max_amount'
      ? `up to ${(value as { amount: string }).amount} ${(value as { currency: string }).currency}`
      : `${key} ${String(value)}`,
  );
  return spokenBounds.join(', ');
}

function goalOf(details: Record_ | undefined): string {
  return String((details?.['asked'] as Record_ | undefined)?.['goal']);
}

function sum(credentials: readonly { count: number }[]): number {
  return credentials.reduce((total, { count }) => total + count, 0);
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
