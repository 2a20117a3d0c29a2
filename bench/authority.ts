/**
 * Cost of the authority algebra: `node bench/authority.ts` prints one JSON line a figure. Inputs are fresh for
 * every call. `ratio` is against JSON.parse of the same call, because machines differ.
 */

import {
  type AuthoritySet,
  type Call,
  compile,
  intersect,
  permits,
  within,
} from '../src/domain/authority/index.ts';
import { parseJson } from '../src/domain/json.ts';

const NOW_SECONDS = Date.UTC(2026, 7, 1) / 1000;
const ROUNDS = 7;

/** The `index`th entry: one action of its own and one that all share, under four constraints. */
function entry(index: number) {
  return {
    type: 'mission_resource_access' as const,
    resource: 'https://erp.example.com',
    resource_match: 'prefix' as const,
    actions: [`ledger${index}.post`, 'journal.post'],
    constraints: {
      tenant: `tenant-${index}`,
      max_amount: { amount: '500.00', currency: 'EUR' },
      recipient_domain: 'example.com',
      parameters: { account: { one_of: ['acct_1', 'acct_2'] }, lines: { range: { max: 100 } } },
    },
  };
}

function setOf(size: number): AuthoritySet {
  return Array.from({ length: size }, (_, index) => entry(index));
}

/** The last entry is the one that permits: the others are found first and refused by their tenant. */
function callText(size: number, round: number): string {
  return JSON.stringify({
    action: 'journal.post',
    resource: `https://erp.example.com/journals/${round % 1000}`,
    parameters: { account: 'acct_2', lines: round % 100 },
    context: {
      tenant: `tenant-${size - 1}`,
      amount: { amount: `${round % 500}.00`, currency: 'EUR' },
      recipients: ['books@mail.example.com'],
    },
  });
}

/** Median nanoseconds of one `work`, over rounds of `count`. */
function measure(count: number, work: (index: number) => void): number {
  const rounds: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const start = process.hrtime.bigint();
    for (let index = 0; index < count; index++) work(index);
    rounds.push(Number(process.hrtime.bigint() - start) / count);
  }
  return rounds.sort((a, b) => a - b)[Math.floor(ROUNDS / 2)] ?? Number.NaN;
}

function print(figure: string, value: number, unit: string, ratio: number, against: string): void {
  const line = {
    figure,
    value: Number(value.toPrecision(3)),
    unit,
    ratio: Number(ratio.toPrecision(3)),
    against,
  };
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

const texts = Array.from({ length: 2000 }, (_, round) => callText(1, round));
const parse_ns = measure(50_000, (index) => {
  JSON.parse(texts[index % texts.length] ?? '');
});

for (const size of [1, 10, 100]) {
  const authority = compile(setOf(size));
  const calls = Array.from({ length: 2000 }, (_, round) => JSON.parse(callText(size, round)) as Call);
  let permitted = 0;
  const total = 100_000;
  const ns = measure(total, (index) => {
    const call = calls[index % calls.length];
    if (call !== undefined && permits(authority, call, NOW_SECONDS) === null) permitted++;
  });
  if (permitted !== total * ROUNDS) throw new Error('a call that should pass was refused');
  print(`permits_ns_${size}`, ns, 'ns', ns / parse_ns, 'JSON.parse of the call');
}

const ten = setOf(10);
const ten_again = JSON.parse(JSON.stringify(ten)) as AuthoritySet;
const within_us = measure(2000, () => within(ten, ten_again)) / 1000;
print('within_us', within_us, 'us', (within_us * 1000) / parse_ns, 'JSON.parse of a call; 10 entries in 10');

const intersect_us = measure(1000, () => intersect(ten, ten_again)) / 1000;
print(
  'intersect_us',
  intersect_us,
  'us',
  (intersect_us * 1000) / parse_ns,
  'JSON.parse of a call; 10 by 10 entries',
);

const compile_us = measure(2000, () => compile(ten)) / 1000;
print('compile_us', compile_us, 'us', (compile_us * 1000) / parse_ns, 'JSON.parse of a call; 10 entries');

const strict_ns = measure(50_000, (index) => {
  parseJson(texts[index % texts.length] ?? '');
});
print('parse_json_ns', strict_ns, 'ns', strict_ns / parse_ns, 'JSON.parse of the same text');
