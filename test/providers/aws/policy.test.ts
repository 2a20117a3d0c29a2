import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type AwsSession, awsSession } from '../../../src/domain/authority/types/aws_session.ts';
import { compileSessionPolicy } from '../../../src/providers/aws/policy.ts';

const UNTIL = 1_795_320_000;
const entry = (change: object = {}): AwsSession =>
  awsSession.parse(
    {
      type: 'aws_session',
      role: 'arn:aws:iam::123456789012:role/data',
      statements: [{ actions: ['s3:GetObject'], resources: ['arn:aws:s3:::bucket/reports/*'] }],
      ...change,
    },
    'entry',
  );

interface Statement {
  readonly Effect: string;
  readonly Action: readonly string[];
  readonly Resource: readonly string[];
  readonly Condition: unknown;
}
const compiled = (one: AwsSession) =>
  (JSON.parse(compileSessionPolicy(one, UNTIL)) as { readonly Statement: readonly Statement[] }).Statement;

describe('the session policy compiler', () => {
  it('says exactly the entry, and when it ends', () => {
    expect(compileSessionPolicy(entry({ regions: ['eu-central-1', 'eu-west-1'] }), UNTIL)).toBe(
      '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetObject"],"Resource":["arn:aws:s3:::bucket/reports/*"],"Condition":{"DateLessThan":{"aws:CurrentTime":"2026-11-22T04:00:00Z"},"StringEquals":{"aws:RequestedRegion":["eu-central-1","eu-west-1"]}}}]}',
    );
  });

  it('never allows a pair that the entry does not name, and always ends', () => {
    const some = (values: readonly string[]) =>
      fc.uniqueArray(fc.constantFrom(...values), { minLength: 1, maxLength: 2 });
    const statements = fc.array(
      fc.record({
        actions: some(['s3:GetObject', 's3:PutObject', 'logs:PutLogEvents']),
        resources: some(['*', 'arn:aws:s3:::b/*', 'arn:aws:s3:::b/x']),
      }),
      { minLength: 1, maxLength: 3 },
    );
    fc.assert(
      fc.property(statements, (given) => {
        const all = compiled(entry({ statements: given }));
        for (const { Effect, Action, Resource, Condition } of all) {
          expect(Effect).toBe('Allow');
          expect(Condition).toEqual({ DateLessThan: { 'aws:CurrentTime': '2026-11-22T04:00:00Z' } });
          const alone = entry({ statements: [{ actions: Action, resources: Resource }] });
          expect(awsSession.within(alone, entry({ statements: given }))).toBeNull();
        }
        const whole = entry({
          statements: all.map(({ Action, Resource }) => ({ actions: Action, resources: Resource })),
        });
        expect(awsSession.within(entry({ statements: given }), whole)).toBeNull();
      }),
    );
  });

  it('refuses what STS would not take, and says what to do', () => {
    const resources = Array.from(
      { length: 60 },
      (_, n) => `arn:aws:s3:::bucket/reports/2026/${n}/file.parquet`,
    );
    expect(() =>
      compileSessionPolicy(entry({ statements: [{ actions: ['s3:GetObject'], resources }] }), UNTIL),
    ).toThrow(
      expect.objectContaining({
        denial: {
          tag: 'invalid_authorization_details',
          detail: expect.stringMatching(
            /has \d+ characters and STS takes 2048; ask for fewer resources .* split/,
          ),
        },
      }),
    );
  });
});
