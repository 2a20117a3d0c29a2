import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { JsonObject } from '../../../src/domain/json.ts';
import {
  type Denial,
  denies,
  type Mark,
  sizeOf,
  withDenials,
  withOlderDenied,
} from '../../../src/providers/aws/deny-policy.ts';

const NOW = 1_795_320_000;
const mission = (id: string, ends_at = NOW + 1000): Denial => ({ kind: 'mission', id, ends_at });
const lease = (id: string, ends_at = NOW + 1000): Denial => ({ kind: 'lease', id, ends_at });
const statements = (document: JsonObject) => document['Statement'] as readonly JsonObject[];

describe('the deny policy', () => {
  it('denies everything to sessions of a mission, and to one session', () => {
    const document = withDenials(null, [mission('msn_a'), lease('lse_b')], 'session_tag', NOW);
    expect(document).toEqual({
      Version: '2012-10-17',
      Statement: [
        {
          Sid: `SortieMissionsUntil${NOW + 1800}`,
          Effect: 'Deny',
          Action: '*',
          Resource: '*',
          Condition: { StringEquals: { 'aws:PrincipalTag/sortie-mission': ['msn_a'] } },
        },
        {
          Sid: `SortieLeasesUntil${NOW + 1800}`,
          Effect: 'Deny',
          Action: '*',
          Resource: '*',
          Condition: { StringEquals: { 'aws:PrincipalTag/sortie-lease': ['lse_b'] } },
        },
      ],
    });
  });

  it('does the same by source identity', () => {
    const document = withDenials(null, [mission('msn_a'), lease('lse_b')], 'source_identity', NOW);
    expect(statements(document).map(({ Condition }) => Condition)).toEqual([
      { StringLike: { 'aws:SourceIdentity': ['msn_a.*'] } },
      { StringLike: { 'aws:SourceIdentity': ['*.lse_b'] } },
    ]);
    expect(denies(document, mission('msn_a'), NOW)).toBe(true);
    expect(denies(document, lease('lse_b'), NOW)).toBe(true);
  });

  const denials = fc.array(
    fc.record({
      kind: fc.constantFrom('mission' as const, 'lease' as const),
      id: fc.constantFrom('id_a', 'id_b', 'id_c'),
      ends_at: fc.integer({ min: NOW - 2000, max: NOW + 8000 }),
    }),
    { maxLength: 6 },
  );
  const marks = fc.constantFrom<Mark>('session_tag', 'source_identity');

  it('holds whatever was added until its session is over, and nothing that was not', () => {
    fc.assert(
      fc.property(
        denials,
        denials,
        marks,
        fc.integer({ min: 0, max: 9000 }),
        (first, second, mark, later) => {
          const at = NOW + later;
          const document = withDenials(withDenials(null, first, mark, NOW), second, mark, at);
          for (const denial of first)
            if (denial.ends_at > at) expect(denies(document, denial, at)).toBe(true);
          for (const denial of second)
            if (denial.ends_at > at) expect(denies(document, denial, at)).toBe(true);
          for (const kind of ['mission', 'lease'] as const)
            for (const id of ['id_a', 'id_b', 'id_c']) {
              const added = [...first, ...second].some((denial) => denial.kind === kind && denial.id === id);
              if (!added) expect(denies(document, { kind, id, ends_at: 0 }, at)).toBe(false);
            }
          // Read back from IAM and written again, it is the same.
          const copy = JSON.parse(JSON.stringify(document)) as JsonObject;
          expect(withDenials(copy, second, mark, at)).toEqual(document);
        },
      ),
    );
  });

  it('lets what is over leave', () => {
    const many = Array.from({ length: 100 }, (_, n) => mission(`msn_${n}`, NOW + 60));
    const document = withDenials(null, many, 'session_tag', NOW);
    const later = withDenials(document, [], 'session_tag', NOW + 2000);
    expect(statements(later)).toEqual([]);
  });

  it('keeps statements that are not its own', () => {
    const foreign = { Sid: 'Somebody', Effect: 'Deny', Action: 's3:*', Resource: '*' };
    const document = withDenials(
      { Version: '2012-10-17', Statement: [foreign] },
      [mission('msn_a')],
      'session_tag',
      NOW,
    );
    expect(statements(document)[0]).toEqual(foreign);
    expect(statements(withDenials(document, [], 'session_tag', NOW + 9000))).toEqual([foreign]);
  });

  it('has room for some three hundred missions of a role at once', () => {
    const ids = (count: number) =>
      Array.from({ length: count }, (_, n) => mission(`msn_${String(n).padStart(22, '0')}`));
    expect(sizeOf(withDenials(null, ids(330), 'session_tag', NOW))).toBeLessThanOrEqual(10_240);
    expect(sizeOf(withDenials(null, ids(350), 'session_tag', NOW))).toBeGreaterThan(10_240);
  });

  it('can deny every older session instead, which stays until the longest of them is over', () => {
    const document = withOlderDenied(null, NOW - 0.5, NOW + 3660, 'session_tag', NOW);
    expect(statements(document)).toEqual([
      {
        Sid: `SortieOlderUntil${NOW + 3660}`,
        Effect: 'Deny',
        Action: '*',
        Resource: '*',
        Condition: {
          DateLessThan: { 'aws:TokenIssueTime': new Date(NOW * 1000).toISOString().replace('.000', '') },
        },
      },
    ]);
    const with_more = withDenials(document, [mission('msn_a', NOW + 9000)], 'session_tag', NOW);
    expect(statements(with_more)).toHaveLength(2);
    expect(statements(withDenials(with_more, [], 'session_tag', NOW + 3661))).toHaveLength(1);
  });

  it('makes room where it must, and only of what it covers', () => {
    const many = Array.from({ length: 40 }, (_, n) => mission(`msn_${n}`, NOW + 100 + n * 300));
    const full = withDenials(null, many, 'session_tag', NOW);
    const whole = withOlderDenied(full, NOW, NOW + 3660, 'session_tag', NOW, 10_240);
    for (const denial of many) expect(denies(whole, denial, NOW)).toBe(true);
    const cut = withOlderDenied(full, NOW, NOW + 3660, 'session_tag', NOW, 900);
    expect(sizeOf(cut)).toBeLessThanOrEqual(900);
    expect(JSON.stringify(cut)).toContain('aws:TokenIssueTime');
    // Those that end last were issued last, and stay longest.
    expect(denies(cut, mission('msn_0'), NOW)).toBe(false);
    expect(denies(cut, mission('msn_39'), NOW)).toBe(true);
  });

  it('repeated much later it lets nothing go that was denied since, and denies nothing newer', () => {
    const since = withDenials(null, [mission('msn_new', NOW + 3000)], 'session_tag', NOW);
    const again = withOlderDenied(since, NOW - 600, NOW + 3060, 'session_tag', NOW, 10);
    expect(denies(again, mission('msn_new'), NOW)).toBe(true);
    expect(JSON.stringify(again)).toContain(new Date((NOW - 600) * 1000).toISOString().slice(0, 19));
    // Long over: there is nothing to say.
    expect(statements(withOlderDenied(null, NOW - 9000, NOW - 5000, 'session_tag', NOW))).toEqual([]);
  });

  it('only ever widens', () => {
    const wide = withOlderDenied(null, NOW, NOW + 3660, 'session_tag', NOW);
    expect(withOlderDenied(wide, NOW - 900, NOW + 2760, 'session_tag', NOW)).toEqual(wide);
  });
});
