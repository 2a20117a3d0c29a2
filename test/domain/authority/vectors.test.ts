/** Runs docs/vectors/authority.json, which other implementations run too. */
import { describe, expect, it } from 'vitest';
import vectors from '../../../docs/vectors/authority.json' with { type: 'json' };
import {
  type AuthoritySet,
  type Call,
  compile,
  instantMicros,
  intersect,
  normalResource,
  parseAuthoritySet,
  permits,
  within,
} from '../../../src/domain/authority/index.ts';
import { Denied } from '../../../src/domain/denial.ts';
import { parseJson } from '../../../src/domain/json.ts';

const read = (value: unknown): AuthoritySet => parseAuthoritySet(value, 'x');
const titled = <T extends { group?: string; name?: string }>(list: readonly T[]) =>
  list.map((one) => ({
    ...one,
    title: [one.group, one.name].filter((word) => word !== undefined).join(': '),
  }));

describe('resources', () => {
  it.each(vectors.resources)('$resource becomes $normal', ({ resource, normal }) => {
    expect(normalResource(resource)).toBe(normal);
    if (normal !== null) expect(normalResource(normal)).toBe(normal);
  });
});

describe('parse', () => {
  it.each(titled(vectors.parse))('$title', ({ value, accepted, path }) => {
    const text = JSON.stringify(value);
    let detail = 'accepted';
    try {
      expect(read(parseJson(text, { max_bytes: 1_000_000 }))).toEqual(value);
    } catch (error) {
      if (!(error instanceof Denied) || error.denial.tag !== 'invalid_authorization_details') throw error;
      detail = error.denial.detail;
    }
    expect(detail.split(': ')[0]).toBe(accepted ? 'accepted' : path);
    if (!accepted) expect(detail.length).toBeGreaterThan((path ?? '').length + 8);
  });
});

describe('a refusal', () => {
  it('says what is wrong and what would be accepted', () => {
    const details = vectors.parse
      .filter(({ accepted }) => !accepted)
      .map(({ name, value }) => `${name} -> ${problem(value)}`);
    expect(details.join('\n')).toMatchSnapshot();
  });
});

function problem(value: unknown): string {
  try {
    read(value);
    return 'accepted';
  } catch (error) {
    return error instanceof Denied && 'detail' in error.denial
      ? (error.denial.detail ?? '').replace(/known are .*/, 'known are ...')
      : String(error);
  }
}

describe('within', () => {
  it.each(titled(vectors.within))('$title', ({ a, b, within: expected, refusal }) => {
    const found = within(read(a), read(b));
    expect(found.ok).toBe(expected);
    if (!found.ok) {
      const { code, entry, key } = found.refusal;
      expect({ code, entry, ...(key === undefined ? {} : { key }) }).toEqual(refusal);
    }
  });
});

describe('intersect', () => {
  it.each(titled(vectors.intersect))('$title', ({ wanted, ceiling, granted, narrowed }) => {
    const found = intersect(read(wanted), read(ceiling));
    expect(found.granted).toEqual(granted);
    expect(found.narrowed).toEqual(
      narrowed.map((cut) => ({
        wanted: wanted[cut.wanted],
        granted: cut.granted === null ? null : granted[cut.granted],
        reason: cut.reason,
        rule: cut.rule,
      })),
    );
  });
});

describe('permits', () => {
  it.each(titled(vectors.permits))('$title', ({ set, call, now, permitted, refusal }) => {
    const found = permits(compile(read(set)), call as unknown as Call, instantMicros(now) / 1_000_000);
    expect(found === null).toBe(permitted);
    if (found !== null) expect(found).toMatchObject(refusal ?? {});
    if (found !== null && refusal?.entry === undefined) expect(found.entry).toBeUndefined();
  });
});
