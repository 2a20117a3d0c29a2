import { randomBytes } from 'node:crypto';
import { parseCatalogue } from '../src/behaviour/catalogue.ts';
import { judge } from '../src/behaviour/engine.ts';
import { digestKey } from '../src/behaviour/memory.ts';
import { beginMission, type DeclaredMission } from '../src/behaviour/mission.ts';
import type { Context } from '../src/behaviour/proof.ts';
import { DEFAULT_RULES } from '../src/behaviour/rules.ts';
import type { JsonValue } from '../src/domain/json.ts';

/**
 * Behaviour figures: `{"figure","value","unit","ratio","against"}`, one JSON line each. Rates are per CPU-second of
 * this process with all its threads; every input is fresh.
 */

const catalogue = parseCatalogue({
  audience: 'bench',
  version: '1',
  fields: [
    { field: 'sender', trust: 'counterparty', kind: 'mail', author: true },
    { field: 'recipients', trust: 'counterparty', kind: 'mail' },
    { field: 'id', trust: 'system', kind: 'id' },
    { field: 'email', trust: 'system', kind: 'mail' },
    { field: 'name', trust: 'system', kind: 'name' },
    { field: 'subject', trust: 'third_party' },
    { field: 'body', trust: 'third_party' },
  ],
  actions: {
    'contacts.list': { labels: ['read'] },
    'inbox.list': { labels: ['read'] },
    'page.get': {
      labels: ['read', 'external'],
      sinks: [{ parameter: 'url', kind: 'url' }],
      names_one_object: true,
    },
    'invoice.send': {
      labels: ['effect', 'external', 'consequential'],
      sinks: [
        { parameter: 'to', kind: 'mail' },
        { parameter: 'account', kind: 'account' },
        { parameter: 'portal', kind: 'url' },
      ],
    },
  },
});

function mission(n: number): DeclaredMission {
  return {
    mission_id: `msn_${n}`,
    texts: [
      `Send the open invoices of customer ${n} to billing${n}@customer${n}.example, pay DE8937040044053201${1000 + (n % 9000)} ` +
        `and file them at https://portal.example/customers/${n}. Ask Maria Keller where something is unclear.`,
    ],
    actions: [
      { action: 'inbox.list', parameters: {}, sources: [] },
      { action: 'contacts.list', parameters: {}, sources: [] },
      { action: 'invoice.send', parameters: {}, sources: [{ action: 'contacts.list' }] },
    ],
    template_values: [],
    born_tainted: false,
  };
}

function inbox(n: number, records: number, words: number): JsonValue {
  return Array.from({ length: records }, (_, i) => ({
    id: `mail-${n}-${i}`,
    sender: `person${i}.${n}@partner${i % 40}.example`,
    recipients: ['me@company.example'],
    subject: `Question ${i} about the order of last month`,
    body: 'Dear colleague, thank you for the quick answer to our question about the delivery. '.repeat(words),
  }));
}

function cpuSeconds(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const used = process.cpuUsage(before);
  return (used.user + used.system) / 1e6;
}

function print(figure: string, value: number, unit: string, against: string, aim: number): void {
  const rounded = Math.round(value * 100) / 100;
  process.stdout.write(
    JSON.stringify({
      figure,
      value: rounded,
      unit,
      ratio: Math.round((rounded / aim) * 100) / 100,
      against,
    }) + '\n',
  );
}

function context(): Context {
  return { catalogue, rules: DEFAULT_RULES, key: digestKey(randomBytes(32)) };
}

function guardedEffects(): void {
  const shared = context();
  const calls = 60_000;
  const start = judge(
    beginMission(mission(7), shared.key),
    { type: 'answer', call: { action: 'inbox.list', parameters: {} }, body: inbox(7, 12, 3) },
    shared,
  ).state;
  const inputs = Array.from({ length: calls }, (_, i) => ({
    action: 'invoice.send',
    parameters: {
      to: 'billing7@customer7.example',
      account: 'DE89 3704 0044 0532 011007',
      portal: `https://portal.example/customers/7/${i}`,
    },
  }));
  let permitted = 0;
  const run = (from: number, to: number): void => {
    let state = start;
    for (const call of inputs.slice(from, to)) {
      const step = judge(state, { type: 'call', call }, shared);
      if (step.verdict?.decision === 'permit') permitted++;
      // A fresh mission now and then: one agent does not send sixty thousand invoices.
      state = permitted % 50 === 0 ? start : step.state;
    }
  };
  run(0, 10_000);
  const seconds = cpuSeconds(() => run(10_000, calls));
  if (permitted !== calls)
    throw new Error(`expected every effect to be permitted, ${permitted} of ${calls} were`);
  print(
    'guarded effect, three sinks, tainted mission',
    (calls - 10_000) / seconds,
    'calls/s/core',
    'aim 50,000',
    50_000,
  );
}

function inspection(figure: string, bodies: readonly JsonValue[], action: string): void {
  const shared = context();
  const bytes = bodies.reduce<number>((sum, body) => sum + Buffer.byteLength(JSON.stringify(body)), 0);
  const call = { action, parameters: {} };
  const start = beginMission(mission(3), shared.key);
  for (const body of bodies.slice(0, 20)) judge(start, { type: 'answer', call, body }, shared);
  const seconds = cpuSeconds(() => {
    for (const body of bodies) judge(start, { type: 'answer', call, body }, shared);
  });
  print(figure, bytes / 1e6 / seconds, 'MB/s/core', 'aim 50', 50);
}

function memoryPerMission(): void {
  const sizes: number[] = [];
  for (let n = 0; n < 2000; n++) {
    const shared = context();
    let state = beginMission(mission(n), shared.key);
    const records = 1 + (n % 24);
    state = judge(
      state,
      { type: 'answer', call: { action: 'inbox.list', parameters: {} }, body: inbox(n, records, 2) },
      shared,
    ).state;
    sizes.push(state.memory.slots.length);
  }
  sizes.sort((a, b) => a - b);
  print('bytes of provenance per live mission, median', sizes[1000] ?? 0, 'bytes', 'limit 2,048', 2048);
  print(
    'bytes of provenance per live mission, p99',
    sizes[1980] ?? 0,
    'bytes',
    'limit 2,048 at the median',
    2048,
  );
}

guardedEffects();
inspection(
  'response inspection, listing of mails',
  Array.from({ length: 200 }, (_, n) => inbox(n, 100, 20)),
  'inbox.list',
);
inspection(
  'response inspection, one long text',
  Array.from(
    { length: 30 },
    (_, n) =>
      `Page ${n}. ` + 'The quick brown fox jumps over the lazy dog near the river bank. '.repeat(14_000),
  ),
  'page.get',
);
inspection(
  'response inspection, dense values (read up to the bound)',
  Array.from({ length: 30 }, (_, n) =>
    Array.from(
      { length: 4000 },
      (_, i) => `see https://host${i}.example/p/${n} or ask user${i}@mail${n}.example today`,
    ).join('\n'),
  ),
  'page.get',
);
memoryPerMission();
