/**
 * Random authority over a small world: few names, close bounds, so that entries often overlap, nest or equal
 * each other, which is where an algebra goes wrong.
 */
import * as fc from 'fast-check';
import type { AuthorityEntry, AuthoritySet, Call } from '../../../src/domain/authority/index.ts';
import { parseAuthoritySet } from '../../../src/domain/authority/index.ts';
import { Denied } from '../../../src/domain/denial.ts';
import type { JsonObject, JsonValue } from '../../../src/domain/json.ts';

/** Cases a property runs; set SORTIE_PROPERTY_RUNS=1000000 for the long run. */
export const RUNS = Number(process.env['SORTIE_PROPERTY_RUNS'] ?? 1000);

const instants = [
  '2026-07-01T00:00:00Z',
  '2026-07-01T02:00:00+02:00',
  '2026-08-01T00:00:00.000001Z',
  '2026-09-30T23:59:59Z',
  '2026-12-31T23:59:59Z',
];
const domains = ['example', 'b.example', 'a.b.example', 'B.Example', 'xb.example', 'other.test'];
const amounts = ['0', '499.99', '500', '500.00', '0500.0', '500.000000000000000001', '1000'];
const scalars: readonly JsonValue[] = ['a', 'ab', 'ab/c', 'b', '5', '5.0', '10', 5, 10, true, null];

const someOf = (values: readonly string[]) => fc.uniqueArray(fc.constantFrom(...values), { minLength: 1 });
const values = fc.uniqueArray(fc.constantFrom(...scalars), { minLength: 1, maxLength: 4 });
const strings = fc.uniqueArray(fc.constantFrom('a', 'ab', 'ab/c', 'b', '5'), { minLength: 1, maxLength: 3 });
const numbers = fc.uniqueArray(fc.constantFrom(5, 7, 10), { minLength: 1 });

const flatPredicate: fc.Arbitrary<JsonObject> = fc.record(
  {
    exact: fc.constantFrom(...scalars),
    one_of: values,
    not_one_of: fc.oneof(strings, numbers),
    range: fc.oneof(
      fc.record({ min: fc.constantFrom(0, 5, 7), max: fc.constantFrom(7, 10) }, { requiredKeys: [] }),
      fc.record(
        { min: fc.constantFrom('-1', '5', '5.00'), max: fc.constantFrom('5', '10.0') },
        { requiredKeys: [] },
      ),
    ),
    prefix: fc.constantFrom('a', 'ab', 'ab/', 'b'),
  },
  { requiredKeys: [] },
);

const listPredicate: fc.Arbitrary<JsonObject> = fc.record(
  {
    subset: fc.oneof(values, fc.constant([])),
    contains: values,
    all: flatPredicate,
    any: fc.oneof(flatPredicate, fc.array(flatPredicate, { minLength: 1, maxLength: 2 })),
    exact: fc.constantFrom<JsonValue>(['a'], ['a', 'b'], [5], []),
    one_of: fc.constantFrom<JsonValue>([['a'], ['a', 'b']], [[5], ['a']]),
  },
  { requiredKeys: [] },
);

const origin: fc.Arbitrary<JsonObject> = fc.record(
  {
    in: someOf(['template', 'mission', 'trusted', 'untrusted']),
    from: fc.uniqueArray(
      fc.constantFrom<JsonValue>(
        { action: 'invoices.read', field: 'iban' },
        { action: 'crm.read', field: 'iban' },
      ),
      { minLength: 1 },
    ),
  },
  { requiredKeys: [] },
);

export const parameter: fc.Arbitrary<JsonObject> = fc
  .tuple(
    fc.oneof({ weight: 3, arbitrary: flatPredicate }, { weight: 2, arbitrary: listPredicate }),
    fc.option(origin, { nil: undefined, freq: 4 }),
  )
  .map(([predicate, from]) => (from === undefined ? predicate : { ...predicate, origin: from }));

/** By key: candidates for the value of each constraint kind; some are refused, which the readers filter out. */
export const constraintValues: Readonly<Record<string, fc.Arbitrary<JsonValue>>> = {
  tenant: fc.constantFrom('acme', 'other'),
  allowed_tools: someOf(['t1', 't2', 't3']),
  regions: someOf(['eu', 'us']),
  data_classification: someOf(['public', 'internal', 'secret']),
  max_amount: fc.record({
    amount: fc.constantFrom(...amounts),
    currency: fc.constantFrom('EUR', 'EUR', 'USD'),
  }),
  recipient_domain: fc.constantFrom(...domains),
  resource_issued_after: fc.constantFrom(...instants),
  resource_issued_before: fc.constantFrom(...instants),
  time_window: fc.record(
    { not_before: fc.constantFrom(...instants), not_after: fc.constantFrom(...instants) },
    { requiredKeys: [] },
  ),
};

const constraints: Readonly<Record<string, fc.Arbitrary<JsonValue>>> = {
  ...constraintValues,
  parameters: fc
    .record({ p: parameter, q: parameter }, { requiredKeys: [] })
    .map((found) => found as unknown as JsonValue),
};

/** Up to two keys: with all of them, nothing ever compares. */
const fewConstraints: fc.Arbitrary<JsonObject> = fc
  .uniqueArray(fc.constantFrom(...Object.keys(constraints)), { maxLength: 2 })
  .chain((keys) => fc.record(Object.fromEntries(keys.map((key) => [key, candidates(key)]))));

function candidates(key: string): fc.Arbitrary<JsonValue> {
  return constraints[key] ?? fc.constant(null);
}

export const resources = [
  'https://erp.example.com',
  'https://ERP.example.com:443/',
  'https://erp.example.com/a',
  'https://erp.example.com/a/',
  'https://erp.example.com/a/b',
  'https://erp.example.com/ab',
  'https://erp.example.com/%61/b',
  'https://crm.example.com/a',
];
const actions = ['i.read', 'i.write', 'i.*', 'i.q.*', 'i.q.read', 'ix.read', 'j.post', 'j.*'];

const delegation = fc.record(
  {
    max_depth: fc.integer({ min: 1, max: 3 }),
    allowed_delegates: fc.uniqueArray(
      fc.constantFrom<JsonValue>(
        { sub: 'a' },
        { sub: 'b' },
        { sub_profile: 'ai_agent' },
        { sub: 'a', sub_profile: 'ai_agent' },
      ),
      { minLength: 1, maxLength: 3 },
    ),
  },
  { requiredKeys: ['max_depth'] },
);

const rawEntry: fc.Arbitrary<JsonObject> = fc
  .record(
    {
      resource: fc.constantFrom(...resources),
      resource_match: fc.constantFrom('exact', 'prefix'),
      actions: fc.uniqueArray(fc.constantFrom(...actions), { minLength: 1, maxLength: 4 }),
      constraints: fewConstraints,
      delegation,
    },
    { requiredKeys: ['resource', 'actions'] },
  )
  .map((found) => {
    const { constraints: bounds, ...rest } = found;
    const kept = bounds === undefined || Object.keys(bounds).length === 0 ? {} : { constraints: bounds };
    return { type: 'mission_resource_access', ...rest, ...kept } as unknown as JsonObject;
  });

/** True for what the reader accepts; any error but a refusal is a bug and escapes. */
export function isAccepted(read: () => unknown): boolean {
  try {
    read();
    return true;
  } catch (error) {
    if (error instanceof Denied) return false;
    throw error;
  }
}

export const entry: fc.Arbitrary<AuthorityEntry> = rawEntry
  .filter((raw) => isAccepted(() => parseAuthoritySet([raw], 'x')))
  .map((raw) => raw as unknown as AuthorityEntry);

export const set: fc.Arbitrary<AuthoritySet> = fc.array(entry, { maxLength: 4 });

export const now_seconds = fc.constantFrom(
  Date.UTC(2026, 6, 1) / 1000,
  Date.UTC(2026, 7, 1) / 1000,
  Date.UTC(2026, 8, 30, 23, 59, 59) / 1000,
  Date.UTC(2027, 0, 1) / 1000,
);

const parameterValue = fc.oneof(
  fc.constantFrom(...scalars),
  fc.uniqueArray(fc.constantFrom(...scalars), { maxLength: 3 }),
  fc.constantFrom<JsonValue>(7, 7.5, '7', 'ab/../x', { a: 1 }),
);

const fact = fc.record(
  {
    origin: fc.constantFrom('template', 'mission', 'trusted', 'untrusted'),
    from: fc.constantFrom({ action: 'invoices.read', field: 'iban' }, { action: 'crm.read', field: 'iban' }),
  },
  { requiredKeys: ['origin'] },
);

export const call: fc.Arbitrary<Call> = fc
  .record({
    action: fc.constantFrom('i.read', 'i.write', 'i.q.read', 'i.q.z', 'ix.read', 'j.post', 'i.*'),
    resource: fc.constantFrom(...resources, 'https://erp.example.com/a/./b', 'https://erp.example.com/a/x@y'),
    parameters: fc.record({ p: parameterValue, q: parameterValue }, { requiredKeys: [] }),
    context: fc.record(
      {
        tenant: fc.constantFrom('acme', 'other'),
        tool: fc.constantFrom('t1', 't2', 't3'),
        region: fc.constantFrom('eu', 'us', 'ap'),
        data_classification: fc.oneof(
          fc.constantFrom('public', 'secret'),
          fc.uniqueArray(fc.constantFrom('public', 'internal', 'secret'), { maxLength: 2 }),
        ),
        amount: fc.record({
          amount: fc.constantFrom(...amounts, '-1', '1e2'),
          currency: fc.constantFrom('EUR', 'EUR', 'USD'),
        }),
        recipients: fc.uniqueArray(
          fc.constantFrom('example', 'x@b.example', 'y@A.B.example', 'z@xb.example', 'a@b@example'),
          { maxLength: 2 },
        ),
        resource_issued_at: fc.constantFrom(...instants, '2026-02-30T00:00:00Z'),
        origins: fc.record(
          { p: fc.oneof(fact, fc.array(fact, { maxLength: 2 })), q: fact },
          { requiredKeys: [] },
        ),
      },
      { requiredKeys: [] },
    ),
  })
  .map((found) => found as unknown as Call);
