import { createHash, createHmac } from 'node:crypto';
import { beforeEach, describe, expect, it } from 'vitest';
import type { AttesterConfigInput } from '../../src/attesters/config.ts';
import type { EgressRequest } from '../../src/attesters/egress.ts';
import { readFlatXml } from '../../src/attesters/xml.ts';
import { type AwsCredentials, signCallerIdentity } from '../../src/sdk/agent/evidence/aws.ts';
import { attestation, BROKER, JKT, NOW, OTHER_JKT, refusalOf } from './support/evidence.ts';

const credentials: AwsCredentials = {
  access_key_id: 'ASIAEXAMPLEEXAMPLE12',
  secret_access_key: 'secret/example+key',
  session_token: 'session-token==',
};
const answerOf = (arn: string, account: string, user: string) =>
  `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <GetCallerIdentityResult>
    <Arn>${arn}</Arn>
    <UserId>${user}</UserId>
    <Account>${account}</Account>
  </GetCallerIdentityResult>
  <ResponseMetadata>
    <RequestId>01234567-89ab-cdef-0123-456789abcdef</RequestId>
  </ResponseMetadata>
</GetCallerIdentityResponse>
`;

/** An emulator of STS written from the public SigV4 description: it recomputes the signature over what arrives. */
let requests: EgressRequest[];
let answer: { status: number; body: string } | null;
const sts = async (request: EgressRequest) => {
  requests.push(request);
  if (answer) return { ...answer, headers: {} };
  const headers: Record<string, string> = { ...request.headers, host: new URL(request.url).host };
  const [, scope = '', names = '', signature = ''] =
    /^AWS4-HMAC-SHA256 Credential=[A-Z0-9]+\/(\S+), SignedHeaders=(\S+), Signature=(\S+)$/.exec(
      headers['authorization'] ?? '',
    ) ?? [];
  const hash = (text: string) => createHash('sha256').update(text).digest('hex');
  const canonical = `POST\n/\n\n${names
    .split(';')
    .map((name) => `${name}:${headers[name]}\n`)
    .join('')}\n${names}\n${hash(request.body ?? '')}`;
  const text = `AWS4-HMAC-SHA256\n${headers['x-amz-date']}\n${scope}\n${hash(canonical)}`;
  let key: Buffer = Buffer.from(`AWS4${credentials.secret_access_key}`);
  for (const part of [...scope.split('/'), text]) key = createHmac('sha256', key).update(part).digest();
  if (key.toString('hex') !== signature) return { status: 403, headers: {}, body: '<ErrorResponse/>' };
  const arn = 'arn:aws:sts::123456789012:assumed-role/reconciler/i-0abc';
  return { status: 200, headers: {}, body: answerOf(arn, '123456789012', 'AROAEXAMPLEEXAMPLE:i-0abc') };
};
beforeEach(() => {
  requests = [];
  answer = null;
});

const config = (over: object = {}): AttesterConfigInput =>
  ({
    kind: 'aws-caller-identity',
    name: 'aws',
    regions: ['eu-west-1', 'us-east-1'],
    rules: [
      {
        name: 'reconciler',
        match: { account: '123456789012', principal_type: 'assumed-role', name: 'reconciler' },
      },
    ],
    ...over,
  }) as AttesterConfigInput;
const registry = (over: object = {}) => attestation([config(over)], { fetch: sts });
const evidence = (token: string) => ({ type: 'urn:sortie:token-type:aws-caller-identity' as const, token });
const sign = (over: Partial<Parameters<typeof signCallerIdentity>[1]> = {}) =>
  signCallerIdentity(credentials, { region: 'eu-west-1', audience: BROKER, jkt: JKT, now: NOW - 2, ...over });
const appraise = (token: string, jkt = JKT, by = registry()) =>
  by.appraise(evidence(token), { jkt, now: NOW });
/** Changes the request after it was signed. */
const bend = (
  token: string,
  change: (request: { region: string; headers: Record<string, string> }) => unknown,
) =>
  Buffer.from(JSON.stringify(change(JSON.parse(Buffer.from(token, 'base64url').toString())))).toString(
    'base64url',
  );

describe('a signed GetCallerIdentity request', () => {
  it('is sent to the fixed host of its region with the broker’s own method and body', async () => {
    expect(await appraise(sign())).toMatchObject({
      agent: 'aws/123456789012/reconciler',
      instance: 'aws/AROAEXAMPLEEXAMPLE%3Ai-0abc',
      tier: 'bound',
      bound_jkt: JKT,
      expires_at: NOW + 298,
    });
    expect(requests).toMatchObject([
      {
        url: 'https://sts.eu-west-1.amazonaws.com/',
        method: 'POST',
        body: 'Action=GetCallerIdentity&Version=2011-06-15',
        allow_private_addresses: false,
      },
    ]);
    expect(Object.keys(requests[0]?.headers ?? {}).toSorted()).toEqual([
      'accept',
      'authorization',
      'content-type',
      'x-amz-date',
      'x-amz-security-token',
      'x-sortie-issuer',
      'x-sortie-jkt',
    ]);
  });

  it('serves one broker and one key', async () => {
    expect(await refusalOf(appraise(sign(), OTHER_JKT))).toContain('wrong_key');
    expect(await refusalOf(appraise(sign({ audience: 'https://other.example.com' })))).toContain(
      'wrong_audience',
    );
    const rebound = bend(sign(), (request) => ({
      ...request,
      headers: { ...request.headers, 'x-sortie-jkt': OTHER_JKT },
    }));
    expect(await refusalOf(appraise(rebound, OTHER_JKT))).toContain('STS answered 403');
    const readdressed = bend(sign({ audience: 'https://evil.example' }), (request) => ({
      ...request,
      headers: { ...request.headers, 'x-sortie-issuer': BROKER },
    }));
    expect(await refusalOf(appraise(readdressed))).toContain('STS answered 403');
  });

  it('is fresh', async () => {
    expect(await refusalOf(appraise(sign({ now: NOW - 400 })))).toContain('expired');
    expect(await refusalOf(appraise(sign({ now: NOW + 60 })))).toContain('not_yet_valid');
    expect(requests).toEqual([]);
  });

  it('has one digest however its header is spelled', async () => {
    const token = sign();
    const spaced = bend(token, (request) => ({
      ...request,
      headers: {
        ...request.headers,
        authorization: (request.headers['authorization'] ?? '').replaceAll(', ', ','),
      },
    }));
    answer = {
      status: 200,
      body: answerOf(
        'arn:aws:sts::123456789012:assumed-role/reconciler/i',
        '123456789012',
        'AROAEXAMPLEEXAMPLE:i',
      ),
    };
    expect((await appraise(spaced)).digest).toBe((await appraise(token)).digest);
  });

  type Request = { region: string; headers: Record<string, string> };
  const header = (name: string, value: string) => (request: Request) => ({
    ...request,
    headers: { ...request.headers, [name]: value },
  });
  const attacks: [string, (request: Request) => unknown, string][] = [
    ['a region that is not configured', (r) => ({ ...r, region: 'ap-south-1' }), 'wrong_issuer'],
    ['a region that is a host', (r) => ({ ...r, region: 'evil.example/#' }), 'wrong_issuer'],
    ['an address of its own', (r) => ({ ...r, url: 'https://evil.example/' }), 'evidence_malformed'],
    ['a body of its own', (r) => ({ ...r, body: 'Action=AssumeRole' }), 'evidence_malformed'],
    ['a method of its own', (r) => ({ ...r, method: 'GET' }), 'evidence_malformed'],
    ['a header beyond the list', header('x-amz-target', 'x'), 'evidence_malformed'],
    ['a Host header', header('host', 'evil.example'), 'evidence_malformed'],
    ['a header in other case', header('Authorization', 'x'), 'evidence_malformed'],
    ['a smuggled line', header('x-sortie-issuer', `${BROKER}\r\nx-evil: 1`), 'evidence_malformed'],
    [
      'a header that is a list',
      (r) => ({ ...r, headers: { ...r.headers, 'x-amz-date': ['a', 'b'] } }),
      'evidence_malformed',
    ],
    [
      'no signature',
      (r) => ({ ...r, headers: { ...r.headers, authorization: undefined } }),
      'evidence_malformed',
    ],
    ['another scheme', header('authorization', 'Bearer x'), 'evidence_malformed'],
    [
      'a signature that does not cover the key',
      (r) => ({
        ...r,
        headers: {
          ...r.headers,
          authorization: (r.headers['authorization'] ?? '').replace(';x-sortie-jkt', ''),
        },
      }),
      'must cover',
    ],
    [
      'a signature that does not cover the issuer',
      (r) => ({
        ...r,
        headers: {
          ...r.headers,
          authorization: (r.headers['authorization'] ?? '').replace(';x-sortie-issuer', ''),
        },
      }),
      'must cover',
    ],
    [
      'a signature for another service',
      (r) => ({
        ...r,
        headers: { ...r.headers, authorization: (r.headers['authorization'] ?? '').replace('/sts/', '/s3/') },
      }),
      'scope',
    ],
    [
      'a signature of another day',
      (r) => ({
        ...r,
        headers: {
          ...r.headers,
          authorization: (r.headers['authorization'] ?? '').replace(/\/\d{8}\//, '/20200101/'),
        },
      }),
      'scope',
    ],
    ['a date that is none', header('x-amz-date', '99999999T999999Z'), 'evidence_malformed'],
    ['no headers', (r) => ({ region: r.region }), 'evidence_malformed'],
    ['a list', () => [], 'evidence_malformed'],
  ];
  it.each(attacks)('with %s is refused before anything is sent', async (_name, change, code) => {
    expect(await refusalOf(appraise(bend(sign(), change)))).toContain(code);
    expect(requests).toEqual([]);
  });

  it('that is not base64url of strict JSON is refused', async () => {
    const twice = Buffer.from('{"region":"eu-west-1","region":"eu-west-1","headers":{}}').toString(
      'base64url',
    );
    for (const token of ['', '{}', '!!', 'e30=', twice, Buffer.alloc(20_000).toString('base64url')]) {
      expect(await refusalOf(appraise(token))).toMatch(/evidence_malformed|evidence_too_large/);
    }
  });

  it('lets nothing in by what STS should not answer', async () => {
    const good = answerOf(
      'arn:aws:sts::123456789012:assumed-role/reconciler/i',
      '123456789012',
      'AROAEXAMPLEEXAMPLE:i',
    );
    const answers: [number, string, RegExp][] = [
      [302, good, /platform_refused/],
      [403, good, /platform_refused/],
      [500, good, /platform_unavailable/],
      [200, '', /platform_unavailable/],
      [200, '<html><body>hi</body></html>', /platform_refused/],
      [200, good.replace('<Arn>', '<!-- <Arn>x</Arn> --><Arn>'), /platform_unavailable/],
      [200, good.replace('<Arn>', '<![CDATA[x]]><Arn>'), /platform_unavailable/],
      [200, `<!DOCTYPE x [<!ENTITY a "b">]>${good}`, /platform_unavailable/],
      [200, good.replace('reconciler', 'x&amp;reconciler'), /platform_unavailable/],
      [
        200,
        good.replace('</Arn>', '</Arn><Arn>arn:aws:sts::999999999999:assumed-role/admin/i</Arn>'),
        /platform_unavailable/,
      ],
      [200, good.replace('<Account>123456789012', '<Account>999999999999'), /platform_refused/],
      [200, good.replace('AROAEXAMPLEEXAMPLE', ''), /platform_refused/],
      [200, good + good, /platform_unavailable/],
      [200, good.slice(0, -30), /platform_unavailable/],
    ];
    for (const [status, body, reason] of answers) {
      answer = { status, body };
      expect(await refusalOf(appraise(sign()))).toMatch(reason);
    }
  });

  it('stands for roles, users and root apart', async () => {
    const rules = [
      { name: 'all', match: { account: '123456789012' }, agent: 'aws/{account}/{principal_type}/{name}' },
    ];
    const agentOf = async (arn: string, user: string) => {
      answer = { status: 200, body: answerOf(arn, '123456789012', user) };
      return (await appraise(sign(), JKT, registry({ rules }))).agent;
    };
    expect(await agentOf('arn:aws:sts::123456789012:assumed-role/r/s', 'AROAEXAMPLEEXAMPLE:s')).toBe(
      'aws/123456789012/assumed-role/r',
    );
    expect(await agentOf('arn:aws:iam::123456789012:user/path/r', 'AIDAEXAMPLEEXAMPLE')).toBe(
      'aws/123456789012/user/r',
    );
    answer = {
      status: 200,
      body: answerOf('arn:aws:iam::123456789012:root', '123456789012', '123456789012'),
    };
    expect(await refusalOf(appraise(sign(), JKT, registry({ rules })))).toContain('no_rule_matched');
  });

  it('wants a rule on an account or a unique id', () => {
    expect(() => registry({ rules: [{ name: 'x', match: { name: 'reconciler' } }] })).toThrow(/taken over/);
  });
});

describe('strict XML', () => {
  it('reads nested elements with text and nothing else', () => {
    expect(readFlatXml('<?xml version="1.0"?>\n<a xmlns="x"><b>1</b><c><d></d></c></a>\n')).toEqual(
      new Map([
        ['a/b', '1'],
        ['a/c/d', ''],
      ]),
    );
    for (const text of [
      '<a>',
      '<a></b>',
      'x<a></a>',
      '<a></a><b></b>',
      '<a>t<b></b></a>',
      '<a><b></b>t</a>',
      '<a/>',
      '<a x="1"></a>',
      '<a><b>1</b><b>2</b></a>',
      '<a><?p?></a>',
      '<a>&lt;</a>',
      '<a>></a>',
      '<'.repeat(10_000),
      '<a>'.repeat(10_000),
      '',
      ' ',
    ]) {
      expect(readFlatXml(text)).toBeNull();
    }
  });
});
