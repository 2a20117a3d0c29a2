/** What people are shown: words, findings and refusals by name. An approver who is told less approves more. */
import { describe, expect, it } from 'vitest';
import {
  intersectActions,
  isFamily,
  isLiteralAction,
  reduceActions,
  uncoveredAction,
} from '../../../src/domain/authority/actions.ts';
import { spokenDelegation } from '../../../src/domain/authority/explain_delegation.ts';
import {
  type AuthoritySet,
  catalogueOf,
  diff,
  explain,
  lint,
  parseAuthoritySet,
  resolveIncludes,
  within,
} from '../../../src/domain/authority/index.ts';
import {
  isPlainText,
  readCount,
  readList,
  readText,
  readTexts,
  shown,
} from '../../../src/domain/authority/parse.ts';
import type { Denied } from '../../../src/domain/denial.ts';
import type { JsonObject, JsonValue } from '../../../src/domain/json.ts';

const ERP = 'https://erp.example.com/';
const access = (more: JsonObject = {}): JsonObject => ({
  type: 'mission_resource_access',
  resource: ERP,
  actions: ['a.read'],
  ...more,
});
const set = (...entries: JsonObject[]): AuthoritySet => parseAuthoritySet(entries, 'x');
function refusal(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    return (error as Denied).private_reason;
  }
  return 'accepted';
}

describe('words', () => {
  const plain = '; with no further bounds; not to be passed on to a child mission.';

  it('name every action and whom it may be passed on to', () => {
    expect(explain(set(access({ actions: ['a.read'] })))).toStrictEqual([`Allows a.read at ${ERP}${plain}`]);
    expect(explain(set(access({ actions: ['a.read', 'b.*'] })))).toStrictEqual([
      `Allows a.read and every action under b at ${ERP}${plain}`,
    ]);
    expect(
      explain(set(access({ actions: ['a.read', 'b.read', 'c.read'], resource_match: 'prefix' }))),
    ).toStrictEqual([`Allows a.read, b.read and c.read at ${ERP} and everything below it${plain}`]);
    expect(explain([])).toStrictEqual(['Allows nothing.']);
    for (const [delegation, words] of [
      [{ max_depth: 1 }, 'may be passed on one level deep to whoever policy lets in'],
      [{ max_depth: 2, allowed_delegates: [{ sub: 'a' }] }, 'may be passed on up to 2 levels deep to a'],
      [
        { max_depth: 1, allowed_delegates: [{ sub: 'a', sub_profile: 'p' }, { sub_profile: 'q' }] },
        'may be passed on one level deep to a that is any p or any q',
      ],
    ] as const)
      expect(spokenDelegation(delegation)).toBe(words);
  });

  it('say what changed and why', () => {
    const change = diff(set(access()), set(access({ actions: ['a.read', 'b.read'] })));
    expect(change.widened[0]?.text).toBe(
      `New: Allows a.read and b.read at ${ERP}${plain} (action_not_covered actions "b.read"; the other side has ["a.read"])`,
    );
    expect(change.narrowed).toStrictEqual([]);
    expect(diff(set(access()), [])).toMatchObject({ equivalent: false, widened: [] });
    const missing = diff(set(access({ constraints: { tenant: 'acme' } })), set(access()));
    expect(missing.widened[0]?.text).toContain('(constraint_missing tenant; the other side has "acme")');
  });
});

describe('findings', () => {
  const catalogue = catalogueOf([{ resource: ERP, actions: { 'a.read': {}, 'b.read': {} } }]);
  const found = (...entries: JsonObject[]) => lint(set(...entries), 2_000_000_000, catalogue);

  it('are none for a plain entry', () => {
    expect(found(access())).toStrictEqual([]);
    expect(found(access(), access({ actions: ['b.read'] }))).toStrictEqual([]);
    expect(
      found(access({ constraints: { tenant: 'acme' }, actions: ['a.*'], resource_match: 'prefix' })),
    ).toStrictEqual([]);
  });

  it('are told by entry, rule and what is wrong', () => {
    for (const [entries, wanted] of [
      [
        [access({ actions: ['a.*', 'b.*'], resource_match: 'prefix' })],
        [[0, 'error', 'allows_everything', 'Allows a.*, b.* on the whole host without any bound.']],
      ],
      [
        [access({ resource_match: 'prefix' })],
        [[0, 'warning', 'unbounded', 'A whole host or a whole family of actions has no constraint.']],
      ],
      [
        [access({ actions: ['a.*'] })],
        [[0, 'warning', 'unbounded', 'A whole host or a whole family of actions has no constraint.']],
      ],
      [[access({ resource: `${ERP}a`, resource_match: 'prefix' })], []],
      [
        [access(), access()],
        [[1, 'warning', 'redundant', 'Another entry of this ceiling allows all of this.']],
      ],
      [
        [access(), access({ actions: ['a.read', 'b.read'] })],
        [[0, 'warning', 'redundant', 'Another entry of this ceiling allows all of this.']],
      ],
      [
        [
          access({
            constraints: {
              time_window: { not_before: '2020-01-01T00:00:00Z', not_after: '2021-01-01T00:00:00Z' },
            },
          }),
        ],
        [[0, 'error', 'window_past', 'The time window is over: this entry allows nothing.']],
      ],
      [
        [access({ actions: ['c.read'] })],
        [
          [
            0,
            'error',
            'allows_nothing',
            'The audience has none of these actions: this entry allows nothing.',
          ],
        ],
      ],
      [
        [access({ actions: ['c.read', 'a.read', 'd.*'] })],
        [
          [0, 'warning', 'unbounded', 'A whole host or a whole family of actions has no constraint.'],
          [0, 'warning', 'unknown_action', 'The audience has no action c.read.'],
          [0, 'warning', 'unknown_action', 'The audience has no action d.*.'],
        ],
      ],
      [
        [access({ resource: 'https://crm.example.com/' })],
        [[0, 'error', 'unknown_audience', 'https://crm.example.com/ belongs to no registered audience.']],
      ],
      [
        [access({ delegation: { max_depth: 1 } })],
        [
          [
            0,
            'warning',
            'open_delegation',
            'May be passed on to anyone that policy lets in: name allowed_delegates.',
          ],
        ],
      ],
      [
        [access({ constraints: { parameters: { p: { not_one_of: [1] } } } })],
        [
          [
            0,
            'warning',
            'excluding_list',
            'parameters.p lists what is refused; a list of what is allowed is safer.',
          ],
        ],
      ],
    ] as const)
      expect(
        found(...entries).map(({ entry, severity, rule, text }) => [entry, severity, rule, text]),
        JSON.stringify(entries),
      ).toStrictEqual(wanted);
    expect(lint([], 0)).toStrictEqual([
      {
        rule: 'allows_nothing',
        severity: 'error',
        text: 'The ceiling is empty: no mission can be dispatched.',
      },
    ]);
  });

  it('of a provider entry are those about whom it is passed on to', () => {
    const secret = { type: 'vault_secret', server: 'main', role: 'r', paths: ['kv/a'] };
    expect(found(secret)).toStrictEqual([]);
    expect(found({ ...secret, delegation: { max_depth: 1 } })).toMatchObject([
      { rule: 'open_delegation', entry: 0 },
    ]);
  });
});

describe('a refusal', () => {
  it('names the types that are known', () => {
    expect(refusal(() => set(access({ type: 'money' })))).toBe(
      'x[0].type: unknown type "money"; known are mission_resource_access, aws_session, github_installation_token, kubernetes_token, postgres_role, vault_secret',
    );
    expect(refusal(() => set(access({ type: 1 })))).toContain('x[0].type: unknown type; known are ');
  });

  it('of a comparison says what either side has', () => {
    const to = (max_depth: number) => access({ delegation: { max_depth } });
    expect(within(set(to(2)), set(to(1)))).toStrictEqual({
      ok: false,
      refusal: {
        code: 'delegation_broader',
        key: 'delegation',
        value: { max_depth: 2 },
        allowed: { max_depth: 1 },
        entry: 0,
      },
    });
    expect(within(set(to(1)), set(access()))).toStrictEqual({
      ok: false,
      refusal: { code: 'delegation_broader', key: 'delegation', value: { max_depth: 1 }, entry: 0 },
    });
    expect(
      within(set(access({ resource: 'urn:a', resource_match: 'exact' })), set(access({ resource: 'urn:a' })))
        .ok,
    ).toBe(true);
    expect(refusal(() => set(access({ resource: 'urn:a', resource_match: 'prefix' })))).toBe(
      'x[0].resource_match: only a hierarchical URI can be a prefix',
    );
  });

  it('of an include says what it lacks', () => {
    const include = { actions: [{ include: { family: 'a.*' } }] } as unknown as JsonObject;
    expect(refusal(() => resolveIncludes([access(include)], null, 'c'))).toBe(
      'c[0].actions: an include needs the configuration with the audiences',
    );
  });
});

describe('texts of authority', () => {
  it('have no control character and no stray space', () => {
    for (const text of ['\u0000', '\u001f', 'a\u007fb', 'a\u0080b', 'a\u009fb', ' a', 'a ', '\ud800', 'a\nb'])
      expect(isPlainText(text), JSON.stringify(text)).toBe(false);
    for (const text of ['a b', 'a~b', 'a\u00a0b', 'é', '😀']) expect(isPlainText(text)).toBe(true);
    expect(refusal(() => readText('a\nb', 'p'))).toBe(
      'p: holds a control character, a stray space or a lone surrogate',
    );
    expect(refusal(() => readText('', 'p'))).toBe('p: must have 1 to 256 characters');
    expect(refusal(() => readText('a'.repeat(257), 'p'))).toBe('p: must have 1 to 256 characters');
    expect(refusal(() => readText('a'.repeat(256), 'p'))).toBe('accepted');
    expect(refusal(() => readText(1, 'p'))).toBe('p: must be a string');
    expect(shown(`"${'\n'}${'k'.repeat(80)}`)).toBe(`\\"\\n${'k'.repeat(62)}`);
  });

  it('in lists are distinct, and counts are whole', () => {
    expect(refusal(() => readTexts(['a', 'a'], 'p', 2))).toBe('p: holds a repeated value');
    expect(refusal(() => readTexts(['a', 'b', 'c'], 'p', 2))).toBe('p: must have at most 2 elements');
    expect(readTexts(['a', 'b'], 'p', 2)).toStrictEqual(['a', 'b']);
    expect(refusal(() => readList([], 'p', 2, () => 1))).toBe('p: must not be empty');
    expect(refusal(() => readList('ab', 'p', 2, () => 1))).toBe('p: must be a list');
    for (const value of [0, 3, 1.5, '1', null])
      expect(refusal(() => readCount(value, 'p', 1, 2))).toBe('p: must be a whole number from 1 to 2');
    expect([readCount(1, 'p', 1, 2), readCount(2, 'p', 1, 2)]).toStrictEqual([1, 2]);
  });
});

describe('actions', () => {
  it('are literal or a family, never both and never less', () => {
    for (const text of ['', '.', '*', '.*', 'a.', '.a', 'a..b', 'a b', 'a'.repeat(129)]) {
      expect(isLiteralAction(text), text).toBe(false);
      expect(isFamily(text), text).toBe(false);
    }
    expect([isLiteralAction('a.b'), isFamily('a.b')]).toStrictEqual([true, false]);
    expect([isLiteralAction('a.*'), isFamily('a.*')]).toStrictEqual([false, true]);
    expect(refusal(() => set(access({ actions: [1] as JsonValue })))).toContain('x[0].actions[0]: ');
  });

  it('of both lists are each named once, as few as can be', () => {
    expect(intersectActions(['a.*', 'b.*'], ['a.x', 'b.y', 'a.x', 'c.z'])).toStrictEqual(['a.x', 'b.y']);
    expect(intersectActions(['a.x'], ['a.*', 'b.*'])).toStrictEqual(['a.x']);
    expect(intersectActions(['a.*'], ['a.b.*', 'a.b.c'])).toStrictEqual(['a.b.*']);
    expect(reduceActions(['a.b', 'a.*', 'c.d', 'c.*', 'e.f'])).toStrictEqual(['a.*', 'c.*', 'e.f']);
    expect(reduceActions(['a.b', 'c.d'])).toStrictEqual(['a.b', 'c.d']);
    expect(uncoveredAction(['a.b', 'c.d'], ['a.*', 'c.*'])).toBeNull();
    expect(uncoveredAction(['a.b', 'cx.d'], ['a.*', 'c.*'])).toBe('cx.d');
    expect(uncoveredAction(['a.*'], ['a.b'])).toBe('a.*');
  });
});
