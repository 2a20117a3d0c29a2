/**
 * What appraising evidence costs, by kind: microseconds of CPU of this process, everything from the text off the
 * socket to agent and instance. `ratio` is to the raw signature verifications that the kind cannot do without, of
 * the same bytes by the same keys in the same run. Kinds that ask a platform are answered from memory: their
 * figure is the broker's own share. Prints one JSON line a figure.
 */
import {
  generateKeyPairSync,
  type KeyObject,
  randomUUID,
  sign as signBytes,
  verify as verifyBytes,
  X509Certificate,
} from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type AttesterConfigInput, attesterConfigSchema } from '../src/attesters/config.ts';
import { createAttestation } from '../src/attesters/create.ts';
import type { Egress } from '../src/attesters/egress.ts';
import { thumbprint } from '../src/attesters/enrolment.ts';
import { ENROLLED_ISSUER, ENROLLED_TYP, X509_SVID_TYP } from '../src/domain/evidence.ts';
import type { JsonObject } from '../src/domain/json.ts';
import type { EvidenceType } from '../src/ports.ts';
import { signCallerIdentity } from '../src/sdk/agent/evidence/aws.ts';
import {
  basicConstraints,
  DIGITAL_SIGNATURE,
  KEY_CERT_SIGN,
  keyUsage,
  type Made,
  makeCertificate,
  uriNames,
} from '../test/attesters/support/certificate.ts';

const BROKER = 'https://broker.example.com';
const NOW = Math.floor(Date.now() / 1000);
const JKT = 'A'.repeat(43);
const TOKENS = 200;
/** Times that a round goes through the tokens. */
const PASSES = 5;
const ROUNDS = 9;
const WARM_UP_ROUNDS = 3;
const JWT: EvidenceType = 'urn:ietf:params:oauth:token-type:jwt';

interface Key {
  readonly alg: 'ES256' | 'RS256' | 'Ed25519';
  readonly private_key: KeyObject;
  readonly public_key: KeyObject;
  readonly jwk: JsonObject;
}

function makeKey(alg: Key['alg']): Key {
  const pair =
    alg === 'RS256'
      ? generateKeyPairSync('rsa', { modulusLength: 2048 })
      : alg === 'ES256'
        ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
        : generateKeyPairSync('ed25519');
  const jwk = { ...(pair.publicKey.export({ format: 'jwk' }) as JsonObject), kid: alg, alg };
  return { alg, private_key: pair.privateKey, public_key: pair.publicKey, jwk };
}

function sign(key: Key, claims: JsonObject, header: JsonObject = {}): string {
  const part = (value: JsonObject) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const input = `${part({ alg: key.alg, typ: 'JWT', kid: key.alg, ...header })}.${part(claims)}`;
  const bytes = Buffer.from(input);
  const signature =
    key.alg === 'RS256'
      ? signBytes('sha256', bytes, key.private_key)
      : key.alg === 'ES256'
        ? signBytes('sha256', bytes, { key: key.private_key, dsaEncoding: 'ieee-p1363' })
        : signBytes(null, bytes, key.private_key);
  return `${input}.${signature.toString('base64url')}`;
}

/** The verification that no appraisal can do without: signed bytes and signature are at hand. */
function rawVerification(key: Key, token: string): () => boolean {
  const cut = token.lastIndexOf('.');
  const bytes = Buffer.from(token.slice(0, cut));
  const signature = Buffer.from(token.slice(cut + 1), 'base64url');
  if (key.alg === 'RS256') return () => verifyBytes('sha256', bytes, key.public_key, signature);
  if (key.alg === 'Ed25519') return () => verifyBytes(null, bytes, key.public_key, signature);
  return () => verifyBytes('sha256', bytes, { key: key.public_key, dsaEncoding: 'ieee-p1363' }, signature);
}

async function cpuMicroseconds(count: number, work: (index: number) => unknown): Promise<number> {
  const before = process.cpuUsage();
  for (let index = 0; index < count; index++) await work(index);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / count;
}

/** The same without waiting for anything. */
function cpuMicrosecondsSync(count: number, work: (index: number) => unknown): number {
  const before = process.cpuUsage();
  for (let index = 0; index < count; index++) work(index);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / count;
}

const median = (values: readonly number[]) =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;

interface Kind {
  readonly name: string;
  readonly config: AttesterConfigInput;
  readonly type?: EvidenceType;
  readonly token: () => string;
  /** Raw verifications of one token; none where the platform verifies. */
  readonly raw?: (token: string) => () => boolean;
  readonly against?: string;
  readonly fetch?: Egress;
  readonly enrolled?: Key;
  /** Tokens made; more than the attester remembers chains, where every chain must be new to it. */
  readonly tokens?: number;
}

async function run(kind: Kind): Promise<void> {
  const { enrolled } = kind;
  const jkt = enrolled ? (thumbprint(enrolled.jwk) ?? '') : '';
  const record = enrolled && {
    id: 'enr_1',
    agent: 'laptop/a',
    jkt,
    jwk: enrolled.jwk,
    created_by: 'bench',
    created_at: NOW,
    expires_at: NOW + 600,
    revoked_at: null,
  };
  const registry = createAttestation([attesterConfigSchema.parse(kind.config)], {
    issuer: BROKER,
    store: { enrolledKey: async () => record ?? null },
    ...(kind.fetch ? { fetch: kind.fetch } : {}),
  });
  const tokens = Array.from({ length: kind.tokens ?? TOKENS }, () => Buffer.from(kind.token()));
  const raws = tokens.map((token) => kind.raw?.(token.toString('latin1')));
  const type = kind.type ?? JWT;
  const whole: number[] = [];
  const raw: number[] = [];
  const count = Math.max(TOKENS * PASSES, tokens.length);
  for (let round = 0; round < WARM_UP_ROUNDS + ROUNDS; round++) {
    // Fresh strings, as an HTTP parser makes them.
    const took = await cpuMicroseconds(count, (index) =>
      registry.appraise(
        { type, token: tokens[index % tokens.length]?.toString('latin1') ?? '' },
        { jkt: JKT, now: NOW },
      ),
    );
    const bare = kind.raw ? cpuMicrosecondsSync(count, (index) => raws[index % tokens.length]?.()) : 0;
    if (round < WARM_UP_ROUNDS) continue;
    whole.push(took);
    raw.push(bare);
  }
  registry.close();
  const line = {
    figure: `attest_us_${kind.name}`,
    value: Math.round(median(whole) * 10) / 10,
    unit: 'us',
    ...(kind.raw
      ? {
          ratio: Math.round((median(whole) / median(raw)) * 100) / 100,
          against: kind.against ?? `raw verification, ${Math.round(median(raw) * 10) / 10} us`,
        }
      : {}),
  };
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

/* ---------------------------------------------------------------- the kinds */

const es256 = makeKey('ES256');
const rs256 = makeKey('RS256');
const ed25519 = makeKey('Ed25519');
const jwks = (key: Key) => ({ keys: [key.jwk as Record<string, string>] });
const times = { iat: NOW - 5, nbf: NOW - 5, exp: NOW + 300 };
const raw = (key: Key) => (token: string) => rawVerification(key, token);
const oidc = (key: Key): Kind => ({
  name: `oidc_${key.alg.toLowerCase()}`,
  config: {
    kind: 'oidc',
    name: 'oidc',
    issuer: 'https://issuer.example.com',
    algorithms: [key.alg],
    jwks: jwks(key),
    rules: [{ name: 'r', match: { sub: 'svc/*' }, agent: 'ci/{sub}', instance: '{jti}' }],
  },
  token: () =>
    sign(key, { iss: 'https://issuer.example.com', sub: 'svc/x', aud: BROKER, ...times, jti: randomUUID() }),
  raw: raw(key),
});

const kubernetesToken = () =>
  sign(rs256, {
    aud: [BROKER],
    ...times,
    iss: 'https://kubernetes.default.svc',
    jti: randomUUID(),
    'kubernetes.io': {
      namespace: 'payments',
      node: { name: 'node-1', uid: randomUUID() },
      pod: { name: 'reconciler-1', uid: randomUUID() },
      serviceaccount: { name: 'reconciler', uid: randomUUID() },
      warnafter: NOW + 100,
    },
    sub: 'system:serviceaccount:payments:reconciler',
  });
const kubernetes: Kind = {
  name: 'kubernetes',
  config: {
    kind: 'kubernetes',
    name: 'k8s',
    issuer: 'https://kubernetes.default.svc',
    jwks: jwks(rs256),
    rules: [{ name: 'r', match: { namespace: 'payments', service_account: 'reconciler' } }],
  },
  token: kubernetesToken,
  raw: raw(rs256),
};

const github: Kind = {
  name: 'github_actions',
  config: {
    kind: 'github-actions',
    name: 'github',
    jwks: jwks(rs256),
    rules: [{ name: 'r', match: { repository_id: '74', environment: 'prod' } }],
  },
  token: () =>
    sign(rs256, {
      iss: 'https://token.actions.githubusercontent.com',
      sub: 'repo:octo-org@65/octo-repo@74:environment:prod',
      aud: BROKER,
      ...times,
      jti: randomUUID(),
      environment: 'prod',
      ref: 'refs/heads/main',
      repository: 'octo-org/octo-repo',
      repository_id: '74',
      repository_owner_id: '65',
      run_id: String(Math.floor(Math.random() * 1e9)),
      run_attempt: '1',
      event_name: 'push',
      ref_protected: 'true',
      job_workflow_ref: 'octo-org/octo-repo/.github/workflows/deploy.yml@refs/heads/main',
    }),
  raw: raw(rs256),
};

const gitlab: Kind = {
  name: 'gitlab',
  config: {
    kind: 'gitlab',
    name: 'gitlab',
    jwks: jwks(rs256),
    rules: [{ name: 'r', match: { project_id: '22' } }],
  },
  token: () =>
    sign(rs256, {
      iss: 'https://gitlab.com',
      aud: BROKER,
      ...times,
      jti: randomUUID(),
      namespace_id: '72',
      project_id: '22',
      project_path: 'g/p',
      pipeline_id: '574',
      pipeline_source: 'push',
      job_id: String(Math.floor(Math.random() * 1e9)),
      ref_path: 'refs/heads/main',
      ref_protected: 'true',
      ci_config_ref_uri: 'gitlab.com/g/p//.gitlab-ci.yml@refs/heads/main',
    }),
  raw: raw(rs256),
};

const gcp: Kind = {
  name: 'gcp',
  config: {
    kind: 'gcp',
    name: 'gcp',
    jwks: jwks(rs256),
    rules: [{ name: 'r', match: { project_number: '7394' } }],
  },
  token: () =>
    sign(rs256, {
      iss: 'https://accounts.google.com',
      aud: BROKER,
      ...times,
      sub: '1120104',
      azp: '1120104',
      google: {
        compute_engine: { project_number: 7394, instance_id: String(Math.floor(Math.random() * 1e9)) },
      },
    }),
  raw: raw(rs256),
};

const TENANT = '72f988bf-86f1-41af-91ab-2d7cd011db47';
const azure: Kind = {
  name: 'azure',
  config: {
    kind: 'azure',
    name: 'azure',
    tenant_id: TENANT,
    audience: 'api://sortie',
    jwks: jwks(rs256),
    rules: [{ name: 'r', match: { oid: 'object' } }],
  },
  token: () =>
    sign(rs256, {
      iss: `https://sts.windows.net/${TENANT}/`,
      aud: 'api://sortie',
      ...times,
      oid: 'object',
      tid: TENANT,
      uti: randomUUID(),
      xms_mirid: '/subscriptions/s/resourcegroups/rg/providers/Microsoft.Compute/virtualMachines/vm-1',
    }),
  raw: raw(rs256),
};

const awsIssuer = 'https://abc123.tokens.sts.global.api.aws';
const awsWebIdentity: Kind = {
  name: 'aws_web_identity',
  config: {
    kind: 'aws-web-identity',
    name: 'aws',
    issuer: awsIssuer,
    jwks: jwks(rs256),
    rules: [{ name: 'r', match: { account: '123456789012' } }],
  },
  token: () =>
    sign(rs256, {
      iss: awsIssuer,
      aud: BROKER,
      ...times,
      sub: 'arn:aws:iam::123456789012:role/Reconciler',
      jti: randomUUID(),
      'https://sts.amazonaws.com/': {
        aws_account: '123456789012',
        org_id: 'o-1',
        source_region: 'eu-west-1',
      },
    }),
  raw: raw(rs256),
};

const caller: Kind = {
  name: 'aws_caller_identity',
  type: 'urn:sortie:token-type:aws-caller-identity',
  config: {
    kind: 'aws-caller-identity',
    name: 'sts',
    regions: ['eu-west-1'],
    rules: [{ name: 'r', match: { account: '123456789012' } }],
  },
  token: () =>
    signCallerIdentity(
      { access_key_id: 'ASIAEXAMPLEEXAMPLE12', secret_access_key: randomUUID(), session_token: randomUUID() },
      { region: 'eu-west-1', audience: BROKER, jkt: JKT, now: NOW },
    ),
  fetch: async () => ({
    status: 200,
    headers: {},
    body: '<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:sts::123456789012:assumed-role/r/s</Arn><UserId>AROAEXAMPLEEXAMPLE:s</UserId><Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>',
  }),
};

const enrolled: Kind = {
  name: 'enrolled',
  config: { kind: 'enrolled', name: 'laptops' },
  enrolled: es256,
  token: () =>
    sign(
      es256,
      { iss: ENROLLED_ISSUER, aud: BROKER, iat: NOW, exp: NOW + 60, jti: randomUUID(), cnf: { jkt: JKT } },
      { typ: ENROLLED_TYP, kid: thumbprint(es256.jwk) ?? '' },
    ),
  raw: raw(es256),
};

const folder = mkdtempSync(join(tmpdir(), 'attest-'));
const life = { not_before: NOW - 60, not_after: NOW + 3600 };
const authority = [basicConstraints(true), keyUsage(KEY_CERT_SIGN)];
const root = makeCertificate({ subject: 'root', ...life, extensions: authority });
const middle = makeCertificate({ subject: 'middle', issuer: root, ...life, extensions: authority });
const spiffe_id = 'spiffe://example.org/ns/payments/sa/reconciler';
const makeLeaf = () =>
  makeCertificate({
    subject: 'leaf',
    issuer: middle,
    key: es256.private_key,
    ...life,
    extensions: [keyUsage(DIGITAL_SIGNATURE), uriNames(spiffe_id)],
  });
const bundle = join(folder, 'bundle.json');
writeFileSync(
  bundle,
  JSON.stringify({
    keys: [
      { ...es256.jwk, use: 'jwt-svid' },
      { kty: 'EC', use: 'x509-svid', x5c: [root.der.toString('base64')] },
    ],
  }),
);
const spiffe: AttesterConfigInput = {
  kind: 'spiffe',
  name: 'mesh',
  trust_domain: 'example.org',
  bundle: { file: bundle },
  rules: [{ name: 'r', match: { spiffe_id } }],
};
const jwtSvid: Kind = {
  name: 'jwt_svid',
  config: spiffe,
  token: () => sign(es256, { sub: spiffe_id, aud: [BROKER], ...times, jti: randomUUID() }),
  raw: raw(es256),
};
/** `leafOf` gives the leaf of each proof: one for all (renewals), or a fresh one each time (first contact). */
function x509Svid(name: string, leafOf: () => Made, against: string): Kind {
  const issuers = [middle, root].map((made) => new X509Certificate(made.der).publicKey);
  return {
    name,
    type: 'urn:sortie:token-type:x509-svid',
    config: spiffe,
    token: () =>
      sign(
        es256,
        { sub: spiffe_id, aud: BROKER, iat: NOW, exp: NOW + 60, jti: randomUUID(), cnf: { jkt: JKT } },
        { typ: X509_SVID_TYP, x5c: [leafOf(), middle].map((made) => made.der.toString('base64')) },
      ),
    raw: (token) => {
      const proof = rawVerification(es256, token);
      const { x5c } = JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString()) as {
        x5c: string[];
      };
      const chain = x5c.map((text) => new X509Certificate(Buffer.from(text, 'base64')));
      return () => proof() && chain.every((made, index) => made.verify(issuers[index] ?? made.publicKey));
    },
    against,
  };
}
const sameLeaf = makeLeaf();
const x509Known = x509Svid(
  'x509_svid',
  () => sameLeaf,
  'raw verification of the proof and of two certificates',
);
/** More leaves than chains are remembered: every one is new to the attester. */
const x509Fresh: Kind = {
  ...x509Svid('x509_svid_first', makeLeaf, 'raw verification of the proof and of two certificates'),
  tokens: 1_200,
};

for (const kind of [
  oidc(es256),
  oidc(rs256),
  oidc(ed25519),
  kubernetes,
  github,
  gitlab,
  gcp,
  azure,
  awsWebIdentity,
  jwtSvid,
  x509Known,
  enrolled,
  caller,
]) {
  await run(kind);
}
await run(x509Fresh);
rmSync(folder, { recursive: true });
