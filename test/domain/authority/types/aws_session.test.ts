import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { awsSession } from '../../../../src/domain/authority/types/aws_session.ts';
import { keepsTheLaws } from './laws.ts';

const some = (values: readonly string[]) =>
  fc.uniqueArray(fc.constantFrom(...values), { minLength: 1, maxLength: 3 });
const entries = fc.record(
  {
    type: fc.constant('aws_session'),
    role: fc.constantFrom(
      'arn:aws:iam::123456789012:role/a',
      'arn:aws:iam::123456789012:role/a',
      'arn:aws:iam::123456789012:role/b',
    ),
    statements: fc.array(
      fc.record({
        actions: some(['s3:GetObject', 's3:PutObject', 'logs:PutLogEvents']),
        resources: some([
          '*',
          'arn:aws:s3:::b/*',
          'arn:aws:s3:::b/x/*',
          'arn:aws:s3:::b/x/y',
          'arn:aws:s3:::b',
        ]),
      }),
      { minLength: 1, maxLength: 3 },
    ),
    regions: some(['eu-central-1', 'eu-west-1']),
    max_ttl_seconds: fc.constantFrom(900, 3600),
  },
  { requiredKeys: ['type', 'role', 'statements'] },
);
const good = {
  type: 'aws_session',
  role: 'arn:aws:iam::123456789012:role/path/data',
  statements: [{ actions: ['s3:GetObject'], resources: ['arn:aws:s3:::bucket/reports/*'] }],
};
const statement = (change: object) => ({ statements: [{ ...good.statements[0], ...change }] });
const resource = (arn: string) =>
  [statement({ resources: [arn] }), 'entry.statements[0].resources[0]'] as const;
const action = (name: string) => [statement({ actions: [name] }), 'entry.statements[0].actions[0]'] as const;

describe('aws_session', () => {
  keepsTheLaws({
    type: awsSession,
    entries,
    good,
    optional: ['regions', 'max_ttl_seconds'],
    bad: [
      [{ role: 'data' }, 'entry.role'],
      [{ role: 'arn:aws:iam::123456789012:user/data' }, 'entry.role'],
      [{ role: 'arn:aws:iam::*:role/data' }, 'entry.role'],
      [{ statements: [] }, 'entry.statements'],
      action('s3:*'),
      action('s3:Get*'),
      action('*'),
      action('GetObject'),
      resource('arn:aws:s3:::bucket/rep*'),
      resource('arn:aws:s3:::buck?t/reports'),
      resource('arn:aws:s3:::*/reports/*'),
      // A policy variable of AWS.
      resource(`arn:aws:s3:::bucket/$${'{'}aws:username}`),
      resource('arn:aws:s3:*'),
      resource('bucket/reports'),
      [statement({ effect: ['Allow'] }), 'entry.statements[0].effect'],
      [
        { statements: [{ actions: ['s3:GetObject'], not_resources: ['*'] }] },
        'entry.statements[0].not_resources',
      ],
      [{ regions: [] }, 'entry.regions'],
      [{ regions: ['eu-*'] }, 'entry.regions[0]'],
    ],
  });

  it('says why an amount or a recipient cannot be bounded here', () => {
    const constraints = { max_amount: { amount: '500.00', currency: 'EUR' } };
    expect(() => awsSession.parse({ ...good, constraints }, 'entry')).toThrow(
      expect.objectContaining({
        denial: {
          tag: 'invalid_authorization_details',
          detail: 'entry.constraints: a session policy cannot express these; bound actions and resources',
        },
      }),
    );
  });

  it('is never covered by several statements together', () => {
    const split = awsSession.parse(
      {
        ...good,
        statements: [
          { actions: ['s3:GetObject'], resources: ['arn:aws:s3:::a/*'] },
          { actions: ['s3:PutObject'], resources: ['arn:aws:s3:::b/*'] },
        ],
      },
      'entry',
    );
    const crossed = awsSession.parse({ ...good, ...statement({ resources: ['arn:aws:s3:::b/*'] }) }, 'entry');
    expect(awsSession.within(crossed, split)).toMatchObject({ code: 'member_broader', key: 'statements' });
  });
});
