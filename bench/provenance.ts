/**
 * What the broker keeps of where values came from, for each live mission: bytes, and what taking in a report and judging
 * with it cost. Missions as in the behaviour bench, each observed at two audiences.
 */
import { parseCatalogue } from '../src/behaviour/catalogue.ts';
import { judge } from '../src/behaviour/engine.ts';
import { digestKey } from '../src/behaviour/memory.ts';
import { beginMission, type MissionState } from '../src/behaviour/mission.ts';
import { type Observation, observationsSince } from '../src/behaviour/observe.ts';
import { DEFAULT_RULES } from '../src/behaviour/rules.ts';
import { bytesOf, NOTHING_SHARED, observe, type SharedProvenance, viewOf } from '../src/behaviour/shared.ts';
import type { JsonValue } from '../src/domain/json.ts';
import { print } from './support.ts';

const MISSIONS = 4000;
const LIMIT_BYTES = 2048;

const catalogue = parseCatalogue({
  audience: 'office',
  version: '1',
  fields: [
    { field: 'sender', trust: 'counterparty', kind: 'mail', author: true },
    { field: 'recipients', trust: 'counterparty', kind: 'mail' },
    { field: 'id', trust: 'system', kind: 'id' },
    { field: 'email', trust: 'system', kind: 'mail' },
    { field: 'subject', trust: 'third_party' },
    { field: 'body', trust: 'third_party' },
  ],
  actions: {
    'contacts.list': { labels: ['read'] },
    'inbox.list': { labels: ['read'] },
    'mail.send': { labels: ['effect', 'external'], sinks: [{ parameter: 'to', kind: 'mail' }] },
  },
});
const ACTIONS = ['inbox.list', 'contacts.list', 'mail.send'];

function begun(n: number, key: ReturnType<typeof digestKey>): MissionState {
  return beginMission(
    {
      mission_id: `msn_${n}`,
      texts: [
        `Send the open invoices of customer ${n} to billing${n}@customer${n}.example. Ask Maria where something is unclear.`,
      ],
      actions: ACTIONS.map((action) => ({ action, parameters: {}, sources: [] })),
      template_values: [],
      born_tainted: false,
    },
    key,
  );
}

function inbox(n: number, records: number): JsonValue {
  return Array.from({ length: records }, (_, i) => ({
    id: `mail-${n}-${i}`,
    sender: `person${i}.${n}@partner${i % 40}.example`,
    recipients: ['me@company.example'],
    subject: `Question ${i} about the order of last month`,
    body: 'Dear colleague, thank you for the quick answer to our question about the delivery. '.repeat(2),
  }));
}

interface Reported {
  readonly n: number;
  readonly key: ReturnType<typeof digestKey>;
  readonly reports: readonly (readonly [audience: string, observations: readonly Observation[]])[];
}

function reported(n: number): Reported {
  const key = digestKey(Buffer.from(String(n).padStart(32, '0')));
  const context = { catalogue, rules: DEFAULT_RULES, key };
  const answer = (action: string, body: JsonValue): MissionState =>
    judge(begun(n, key), { type: 'answer', call: { action, parameters: {} }, body }, context).state;
  const mails = answer('inbox.list', inbox(n, 1 + (n % 24)));
  const people = answer('contacts.list', [{ email: `kim${n}@office.example` }]);
  return {
    n,
    key,
    reports: [
      ['https://mail.example', observationsSince(null, mails)],
      ['https://people.example', observationsSince(null, people)],
    ],
  };
}

function taken({ n, reports }: Reported): SharedProvenance {
  let shared = NOTHING_SHARED;
  for (const [audience, observations] of reports)
    shared = observe(shared, { mission_id: `msn_${n}`, audience, catalogue }, observations).shared;
  return shared;
}

function cpuSeconds(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const used = process.cpuUsage(before);
  return (used.user + used.system) / 1e6;
}

const missions = Array.from({ length: MISSIONS }, (_, n) => reported(n));
for (const mission of missions.slice(0, 500)) taken(mission);
const collect = (globalThis as { gc?: () => void }).gc ?? (() => {});
collect();
const before = process.memoryUsage();
const kept: SharedProvenance[] = [];
const seconds = cpuSeconds(() => {
  for (const mission of missions) kept.push(taken(mission));
});
collect();
const after = process.memoryUsage();
const sizes = kept.map(bytesOf).sort((a, b) => a - b);
const at = (share: number) => sizes[Math.floor(sizes.length * share)] ?? Number.NaN;
const held = after.heapUsed + after.arrayBuffers - before.heapUsed - before.arrayBuffers;
print(
  'provenance at the broker, a live mission at two audiences, median',
  at(0.5),
  'bytes',
  at(0.5) / LIMIT_BYTES,
  'limit 2,048',
);
print(
  'provenance at the broker, a live mission at two audiences, p99',
  at(0.99),
  'bytes',
  at(0.99) / LIMIT_BYTES,
  'limit 2,048 at the median',
);
print(
  'heap held for it, on average',
  held / MISSIONS,
  'bytes',
  held / MISSIONS / LIMIT_BYTES,
  'limit 2,048 at the median',
);
print('reports taken in', (2 * MISSIONS) / seconds, 'reports/s/core');

const elsewhere = () => catalogue;
let permitted = 0;
const judging = cpuSeconds(() => {
  for (const [index, { n, key }] of missions.entries()) {
    const view = viewOf(
      kept[index] ?? NOTHING_SHARED,
      begun(n, key),
      'https://mail.example',
      true,
      elsewhere,
      () => null,
    );
    const call = { action: 'mail.send', parameters: { to: `kim${n}@office.example` } };
    const context = { catalogue, rules: DEFAULT_RULES, key, elsewhere: view.elsewhere };
    if (judge(view.state, { type: 'call', call }, context).verdict?.decision === 'permit') permitted++;
  }
});
if (permitted !== MISSIONS)
  throw new Error(`${MISSIONS - permitted} were refused what another audience vouches for`);
print(
  'effect judged with what another audience observed, declaration read anew',
  MISSIONS / judging,
  'calls/s/core',
);
