/** The evidence parser under noise: bounded runs, no crash, no hang, no outbound fetch, one constant answer. */
import fc from 'fast-check';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { AttesterConfigInput } from '../../src/attesters/config.ts';
import type { EgressRequest } from '../../src/attesters/egress.ts';
import type { AttestationRegistry } from '../../src/attesters/registry.ts';
import { Denied } from '../../src/domain/denial.ts';
import { ENROLLED_ISSUER, ENROLLED_TYP, X509_SVID_TYP } from '../../src/domain/evidence.ts';
import type { Evidence, EvidenceType } from '../../src/ports.ts';
import { attestation, BROKER, JKT, NOW } from './support/evidence.ts';
import { makeKey, signWith, type TestKey } from './support/issuer.ts';

const TYPES: readonly EvidenceType[] = [
  'urn:ietf:params:oauth:token-type:jwt',
  'urn:sortie:token-type:x509-svid',
  'urn:sortie:token-type:aws-caller-identity',
];
const ISSUER = 'https://issuer.example.com';
const SEED = 20_261_122;
const BOUND = { numRuns: 1_500, interruptAfterTimeLimit: 10_000, seed: SEED } as const;

let key: TestKey;
let registry: AttestationRegistry;
let fetched: EgressRequest[];
beforeAll(async () => {
  key = await makeKey('k');
  const jwks = { keys: [key.jwk] };
  const rules = [{ name: 'r', match: { sub: 'never/matched' }, agent: 'x', instance: 'x' }];
  registry = attestation(
    [
      { kind: 'oidc', name: 'oidc', issuer: ISSUER, jwks, rules },
      { kind: 'github-actions', name: 'github', jwks, rules: [{ name: 'r', match: { repository_id: '1' } }] },
      { kind: 'gitlab', name: 'gitlab', jwks, rules: [{ name: 'r', match: { project_id: '1' } }] },
      {
        kind: 'kubernetes',
        name: 'k8s',
        issuer: 'https://k8s',
        jwks,
        rules: [{ name: 'r', match: { namespace: 'x' } }],
      },
      { kind: 'enrolled', name: 'enrolled' },
      {
        kind: 'spiffe',
        name: 'mesh',
        trust_domain: 'example.org',
        bundle: { file: '/nonexistent' },
        rules: [{ name: 'r', match: { path: 'x' } }],
      },
      {
        kind: 'aws-caller-identity',
        name: 'aws',
        regions: ['eu-west-1'],
        rules: [{ name: 'r', match: { account: '1' } }],
      },
    ] as AttesterConfigInput[],
    {
      fetch: async (request) => {
        fetched.push(request);
        throw new Error('no network');
      },
    },
  );
});
beforeEach(() => {
  fetched = [];
});

/** Accepted, or the one constant refusal; anything else fails the property. */
async function isRefused(evidence: Evidence): Promise<boolean> {
  try {
    await registry.appraise(evidence, { jkt: JKT, now: NOW });
    return false;
  } catch (error) {
    expect(error).toBeInstanceOf(Denied);
    expect((error as Denied).denial).toEqual({ tag: 'invalid_evidence' });
    expect((error as Denied).message).toBe('invalid_evidence');
    expect((error as Denied).private_reason.length).toBeLessThan(300);
    return true;
  }
}

const encode = (value: unknown) =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
const type = fc.constantFrom(...TYPES);
const noise = fc.oneof(
  fc.string({ maxLength: 200 }),
  fc.string({ unit: 'binary', maxLength: 100 }),
  fc.json({ maxDepth: 4 }),
);
const header = fc.oneof(
  fc.record(
    {
      alg: fc.oneof(fc.constantFrom('ES256', 'RS256', 'none', 'HS256', 'EdDSA'), fc.anything()),
      typ: fc.oneof(fc.constantFrom('JWT', ENROLLED_TYP, X509_SVID_TYP), fc.anything()),
      kid: fc.oneof(fc.constantFrom('k', '__proto__', JKT), fc.anything()),
      x5c: fc.oneof(fc.array(fc.base64String({ maxLength: 60 }), { maxLength: 7 }), fc.anything()),
      crit: fc.anything(),
    },
    { requiredKeys: ['alg'] },
  ),
  noise,
);
const claim = fc.oneof(
  fc.anything({ maxDepth: 2 }),
  fc.constantFrom(NOW, NOW + 60, BROKER, [BROKER], `${BROKER}#jkt=${JKT}`),
);
const payload = fc.oneof(
  fc.record(
    {
      iss: fc.oneof(
        fc.constantFrom(
          ISSUER,
          ENROLLED_ISSUER,
          'https://k8s',
          'https://gitlab.com',
          'https://token.actions.githubusercontent.com',
        ),
        claim,
      ),
      sub: fc.oneof(
        fc.constantFrom('spiffe://example.org/a', 'system:serviceaccount:a:b', 'repo:a@1/b@2:x'),
        claim,
      ),
      aud: claim,
      exp: claim,
      iat: claim,
      nbf: claim,
      jti: claim,
      cnf: fc.oneof(fc.record({ jkt: fc.constantFrom(JKT, '') }), claim),
      'kubernetes.io': claim,
    },
    { requiredKeys: [] },
  ),
  noise,
);
const safely = (value: unknown): unknown => {
  try {
    JSON.stringify(value);
    return value;
  } catch {
    return 'cannot be JSON';
  }
};

describe('whatever is presented as evidence', () => {
  it('as noise, is refused constantly and fetches nothing', async () => {
    await fc.assert(
      fc.asyncProperty(type, noise, async (type, token) => {
        expect(await isRefused({ type, token })).toBe(true);
      }),
      BOUND,
    );
    expect(fetched).toEqual([]);
  });

  it('as a JWS of arbitrary parts, is refused constantly and fetches nothing', async () => {
    await fc.assert(
      fc.asyncProperty(type, header, payload, noise, async (type, header, payload, signature) => {
        const parts = [safely(header), safely(payload), signature].map((part) => encode(part ?? ''));
        expect(await isRefused({ type, token: parts.join('.') })).toBe(true);
      }),
      BOUND,
    );
    expect(fetched).toEqual([]);
  });

  it('as arbitrary claims under a good signature, is refused constantly and fetches nothing', async () => {
    await fc.assert(
      fc.asyncProperty(payload, async (payload) => {
        const value = safely(payload);
        const claims = typeof value === 'object' && value !== null && !Array.isArray(value) ? value : {};
        const token = await signWith(key, JSON.parse(JSON.stringify(claims)));
        expect(await isRefused({ type: TYPES[0] as EvidenceType, token })).toBe(true);
      }),
      { ...BOUND, numRuns: 400 },
    );
    expect(fetched).toEqual([]);
  });

  it('as an arbitrary signed AWS request, reaches no host but STS', async () => {
    const text = fc.oneof(
      fc.string({ maxLength: 60 }),
      fc.constantFrom('20261122T000000Z', BROKER, JKT, 'eu-west-1'),
    );
    const request = fc.record({
      region: fc.oneof(fc.constantFrom('eu-west-1', 'eu-west-1.evil.example', '../x'), text),
      headers: fc.dictionary(
        fc.oneof(fc.constantFrom('authorization', 'x-amz-date', 'x-sortie-issuer', 'x-sortie-jkt'), text),
        text,
        { maxKeys: 7 },
      ),
    });
    await fc.assert(
      fc.asyncProperty(fc.oneof(request, fc.anything({ maxDepth: 2 })), async (value) => {
        expect(await isRefused({ type: TYPES[2] as EvidenceType, token: encode(safely(value) ?? '') })).toBe(
          true,
        );
      }),
      BOUND,
    );
    expect(fetched.filter(({ url }) => url !== 'https://sts.eu-west-1.amazonaws.com/')).toEqual([]);
  });

  it('never makes explain throw or quote it', async () => {
    await fc.assert(
      fc.asyncProperty(type, header, payload, async (type, header, payload) => {
        const token = `${encode(safely(header) ?? '')}.${encode(safely(payload) ?? '')}.c2VjcmV0LXNpZ25hdHVyZQ`;
        const told = await registry.explain({ type, token }, { now: NOW });
        expect(told.accepted).toBe(false);
        expect(JSON.stringify(told)).not.toContain('c2VjcmV0LXNpZ25hdHVyZQ');
      }),
      { ...BOUND, numRuns: 500 },
    );
  });
});
