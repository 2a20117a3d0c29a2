import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SignJWT } from 'jose';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { AttesterConfigInput } from '../../src/attesters/config.ts';
import { parseBundle } from '../../src/attesters/spiffe/bundle.ts';
import { parseSpiffeId } from '../../src/attesters/spiffe/id.ts';
import { X509_SVID_TYP } from '../../src/domain/evidence.ts';
import {
  basicConstraints,
  CLIENT_AUTH,
  CRL_SIGN,
  DIGITAL_SIGNATURE,
  type Extension,
  extendedKeyUsage,
  KEY_CERT_SIGN,
  keyUsage,
  type Made,
  makeCertificate,
  nameConstraints,
  SERVER_AUTH,
  unknownExtension,
  uriNames,
} from './support/certificate.ts';
import { attestation, BROKER, JKT, jwt, NOW, OTHER_JKT, refusalOf } from './support/evidence.ts';
import { type LocalIssuer, makeKey, signWith, startIssuer, type TestKey } from './support/issuer.ts';
import { startWorkloadEmulator, type WorkloadEmulator } from './support/workload-emulator.ts';

const ID = 'spiffe://example.org/ns/payments/sa/reconciler';
let key: TestKey;
let root: Made;
let endpoint: LocalIssuer;
let extra: Record<string, unknown>;
const context = { jkt: JKT, now: NOW };

const authority = (subject: string, over: Partial<Parameters<typeof makeCertificate>[0]> = {}) =>
  makeCertificate({
    subject,
    not_before: NOW - 86_400,
    not_after: NOW + 86_400,
    extensions: [
      basicConstraints(true),
      keyUsage(KEY_CERT_SIGN | CRL_SIGN),
      uriNames('spiffe://example.org'),
    ],
    ...over,
  });
const bundleText = () =>
  JSON.stringify({
    keys: [
      { ...key.jwk, use: 'jwt-svid' },
      {
        kty: 'EC',
        crv: 'P-256',
        x: 'AA',
        y: 'AA',
        use: 'x509-svid',
        x5c: [root.der.toString('base64'), 'ignored'],
      },
      { kty: 'XYZ', use: 'jwt-svid', kid: 'unknown types are ignored' },
      { ...key.jwk, use: 'future-svid' },
    ],
    ...extra,
  });

beforeAll(async () => {
  key = await makeKey('jwt-1');
  root = authority('root');
  endpoint = await startIssuer();
});
beforeEach(() => {
  extra = { spiffe_sequence: 12, spiffe_refresh_hint: 300 };
  endpoint.requests.length = 0;
  endpoint.answer = (_request, response) => response.end(bundleText());
});
afterAll(() => endpoint.close());

const config = (over: object = {}): AttesterConfigInput =>
  ({
    kind: 'spiffe',
    name: 'mesh',
    trust_domain: 'example.org',
    bundle: { https_web: `${endpoint.url}/bundle` },
    allow_private_addresses: true,
    rules: [{ name: 'payments', match: { spiffe_id: 'spiffe://example.org/ns/payments/sa/*' } }],
    ...over,
  }) as AttesterConfigInput;
const claims = (over: Record<string, unknown> = {}) => ({
  sub: ID,
  aud: [BROKER],
  exp: NOW + 300,
  iat: NOW,
  ...over,
});

describe('a SPIFFE ID', () => {
  it.each([
    'spiffe://staging.example.com/payments/mysql',
    'spiffe://k8s-west.example.com/ns/staging/sa/default',
    'spiffe://example.com/9eebccd2-12bf-40a6-b262-65fe0487d453',
  ])('may be %s', (text) => expect(parseSpiffeId(text)?.id).toBe(text));

  it.each([
    'spiffe://example.org',
    'spiffe://example.org/',
    'spiffe:///path',
    'SPIFFE://example.org/a',
    'http://example.org/a',
    'spiffe://Example.org/a',
    'spiffe://user@example.org/a',
    'spiffe://example.org:8443/a',
    'spiffe://example.org/a/',
    'spiffe://example.org//a',
    'spiffe://example.org/a/../b',
    'spiffe://example.org/./a',
    'spiffe://example.org/a?q',
    'spiffe://example.org/a#f',
    'spiffe://example.org/%61',
    'spiffe://example.org/ä',
    `spiffe://example.org/${'a'.repeat(2_048)}`,
    `spiffe://${'a'.repeat(256)}/a`,
  ])('is never %s', (text) => expect(parseSpiffeId(text)).toBeNull());
});

describe('a JWT-SVID', () => {
  it('is appraised by the bundle of the trust domain in sub', async () => {
    const registry = attestation([config()]);
    expect(await registry.appraise(jwt(await signWith(key, claims())), context)).toMatchObject({
      agent: 'spiffe/example.org/ns%2Fpayments%2Fsa%2Freconciler',
      tier: 'reusable',
      attester: 'mesh',
    });
    const bound = await signWith(key, claims({ aud: [`${BROKER}#jkt=${JKT}`] }), { typ: 'JOSE' });
    expect(await registry.appraise(jwt(bound), context)).toMatchObject({ tier: 'bound', bound_jkt: JKT });
    expect(await refusalOf(registry.appraise(jwt(bound), { ...context, jkt: OTHER_JKT }))).toContain(
      'wrong_key',
    );
  });

  it('needs no iat, but then an exp within the longest age', async () => {
    const registry = attestation([config()]);
    const without = await signWith(key, claims({ iat: undefined }));
    expect((await registry.appraise(jwt(without), context)).expires_at).toBe(NOW + 300);
    const endless = await signWith(key, claims({ iat: undefined, exp: NOW + 86_400 }));
    expect(await refusalOf(registry.appraise(jwt(endless), context))).toContain('not_yet_valid');
  });

  it('can make an agent of its path segments', async () => {
    const rules = [
      {
        name: 'ns',
        match: { '/segments/0': 'ns', '/segments/2': 'sa' },
        agent: 'k8s/{/segments/1}/{/segments/3}',
      },
    ];
    const registry = attestation([config({ rules })]);
    expect((await registry.appraise(jwt(await signWith(key, claims())), context)).agent).toBe(
      'k8s/payments/reconciler',
    );
  });

  const refused: [string, Record<string, unknown>, object, string][] = [
    ['another trust domain', { sub: 'spiffe://evil.example/ns/payments/sa/x' }, {}, 'unknown_issuer'],
    [
      'a trust domain that only begins alike',
      { sub: 'spiffe://example.org.evil/ns/payments/sa/x' },
      {},
      'unknown_issuer',
    ],
    ['a trust domain with a port', { sub: 'spiffe://example.org:1/a' }, {}, 'unknown_issuer'],
    ['the trust domain itself', { sub: 'spiffe://example.org' }, {}, 'platform_refused'],
    [
      'a path with a dot segment',
      { sub: 'spiffe://example.org/ns/x/../payments/sa/y' },
      {},
      'platform_refused',
    ],
    ['another workload', { sub: 'spiffe://example.org/ns/other/sa/x' }, {}, 'no_rule_matched'],
    ['no audience', { aud: undefined }, {}, 'claim_missing'],
    ['several audiences', { aud: [BROKER, 'other'] }, {}, 'wrong_audience'],
    ['no expiry', { exp: undefined }, {}, 'claim_missing'],
    ['an expired SVID', { exp: NOW - 60, iat: NOW - 90 }, {}, 'expired'],
    ['another typ', {}, { typ: 'at+jwt' }, 'header_refused'],
    ['a header that the specification does not name', {}, { x5t: 'x' }, 'header_refused'],
    ['a key under another kid', {}, { kid: 'jwt-2' }, 'key_unknown'],
  ];
  it.each(refused)('is refused with %s', async (_name, over, header, code) => {
    const registry = attestation([config()]);
    expect(
      await refusalOf(registry.appraise(jwt(await signWith(key, claims(over), header)), context)),
    ).toContain(code);
  });

  it('is never signed with EdDSA', async () => {
    const ed = await makeKey('ed', 'EdDSA');
    extra = { keys: [{ ...ed.jwk, use: 'jwt-svid' }] };
    const registry = attestation([config()]);
    expect(await refusalOf(registry.appraise(jwt(await signWith(ed, claims())), context))).toContain(
      'algorithm_refused',
    );
  });

  it('is not verified with keys meant for other uses', async () => {
    const other = await makeKey('other');
    extra = {
      keys: [
        { ...key.jwk, use: 'jwt-svid' },
        { ...other.jwk, use: 'x509-svid' },
        { ...other.jwk, use: 'sig' },
      ],
    };
    const registry = attestation([config()]);
    expect(await refusalOf(registry.appraise(jwt(await signWith(other, claims())), context))).toContain(
      'key_unknown',
    );
  });

  it('goes to the trust domain’s attester, whatever iss it names', async () => {
    const registry = attestation([
      config(),
      {
        kind: 'oidc',
        name: 'oidc',
        issuer: 'https://oidc.example',
        jwks: { keys: [key.jwk as never] },
        rules: [{ name: 'x', match: { sub: '*' }, agent: 'x', instance: 'x' }],
      },
    ]);
    const token = await signWith(key, claims({ iss: 'https://oidc.example' }));
    expect((await registry.appraise(jwt(token), context)).attester).toBe('mesh');
  });
});

describe('an X509-SVID', () => {
  const leafExtensions = (...over: Extension[]) => [
    basicConstraints(false),
    keyUsage(DIGITAL_SIGNATURE),
    extendedKeyUsage(SERVER_AUTH, CLIENT_AUTH),
    uriNames(ID),
    ...over,
  ];
  const leafOf = (issuer: Made, over: Partial<Parameters<typeof makeCertificate>[0]> = {}) =>
    makeCertificate({
      subject: 'workload',
      issuer,
      not_before: NOW - 60,
      not_after: NOW + 3_600,
      extensions: leafExtensions(),
      ...over,
    });
  const replaced = (extension: Extension) =>
    leafExtensions().map((old) => (old.id === extension.id ? extension : old));
  const proof = (
    chain: Made[],
    over: Record<string, unknown> = {},
    header: object = {},
    signer?: KeyObject,
  ) =>
    new SignJWT({ sub: ID, aud: BROKER, iat: NOW, exp: NOW + 60, jti: 'j1', cnf: { jkt: JKT }, ...over })
      .setProtectedHeader({
        alg: 'ES256',
        typ: X509_SVID_TYP,
        x5c: chain.map((made) => made.der.toString('base64')),
        ...header,
      })
      .sign(signer ?? (chain[0] as Made).private_key);
  const svid = (token: string) => ({ type: 'urn:sortie:token-type:x509-svid' as const, token });
  const appraise = async (token: string | Promise<string>, ctx = context) =>
    attestation([config()]).appraise(svid(await token), ctx);

  it('is bound to the key that its proof names, once, up to a minute', async () => {
    expect(await appraise(proof([leafOf(root)]))).toMatchObject({
      agent: 'spiffe/example.org/ns%2Fpayments%2Fsa%2Freconciler',
      tier: 'bound',
      bound_jkt: JKT,
      once: expect.stringMatching(/^mesh\.[0-9A-F:]+\.j1$/),
      expires_at: NOW + 70,
    });
  });

  it('may have intermediates', async () => {
    const middle = authority('middle', { issuer: root });
    const lower = authority('lower', { issuer: middle });
    expect((await appraise(proof([leafOf(lower), lower, middle]))).tier).toBe('bound');
    expect(await refusalOf(appraise(proof([leafOf(lower), middle, lower])))).toContain('did not sign');
    expect(await refusalOf(appraise(proof([leafOf(lower), lower])))).toContain('does not end');
  });

  it('wants a proof for this broker, this key and this minute', async () => {
    const chain = [leafOf(root)];
    expect(await refusalOf(appraise(proof(chain), { ...context, jkt: OTHER_JKT }))).toContain('wrong_key');
    expect(await refusalOf(appraise(proof(chain, { aud: 'https://other.example' })))).toContain(
      'wrong_audience',
    );
    expect(await refusalOf(appraise(proof(chain, { exp: NOW + 61 })))).toContain('too_old');
    expect(await refusalOf(appraise(proof(chain, { jti: undefined })))).toContain('claim_missing');
    expect(await refusalOf(appraise(proof(chain, {}, { typ: 'JWT' })))).toContain('header_refused');
    expect(
      await refusalOf(appraise(proof(chain, { sub: 'spiffe://example.org/ns/payments/sa/admin' }))),
    ).toContain('certificate_refused');
    expect(await refusalOf(appraise(proof(chain, {}, {}, leafOf(root).private_key)))).toContain(
      'bad_signature',
    );
  });

  it('is refused where it is not a leaf as specified', async () => {
    const wrong: [Extension[], RegExp][] = [
      [replaced(basicConstraints(true)), /authority/],
      [replaced(keyUsage(DIGITAL_SIGNATURE | KEY_CERT_SIGN)), /may sign/],
      [replaced(keyUsage(DIGITAL_SIGNATURE | CRL_SIGN)), /may sign/],
      [replaced(keyUsage(0x20)), /digitalSignature/],
      [leafExtensions().filter((extension) => extension.id !== '2.5.29.15'), /digitalSignature/],
      [replaced(extendedKeyUsage(SERVER_AUTH)), /extended key usage/],
      [replaced(uriNames(ID, 'spiffe://example.org/other')), /URI name/],
      [replaced(uriNames('spiffe://example.org/other', ID)), /URI name/],
      [replaced(uriNames('https://example.org/x')), /URI name/],
      [leafExtensions().filter((extension) => extension.id !== '2.5.29.17'), /URI name/],
      [leafExtensions(unknownExtension(true)), /not understood/],
      [leafExtensions(uriNames(ID)), /not a certificate/],
    ];
    for (const [extensions, reason] of wrong) {
      expect(await refusalOf(appraise(proof([leafOf(root, { extensions })])))).toMatch(reason);
    }
    const harmless = leafOf(root, { extensions: leafExtensions(unknownExtension(false)) });
    expect((await appraise(proof([harmless]))).tier).toBe('bound');
  });

  it('is refused with a chain that does not hold', async () => {
    const stranger = authority('root');
    const expired = authority('old', { issuer: root, not_after: NOW - 60 });
    const noCa = leafOf(root, { subject: 'leafca' });
    const unsigning = authority('u', {
      issuer: root,
      extensions: [basicConstraints(true), keyUsage(DIGITAL_SIGNATURE)],
    });
    const short = authority('short', {
      issuer: root,
      extensions: [basicConstraints(true, 0), keyUsage(KEY_CERT_SIGN)],
    });
    const below = authority('below', { issuer: short });
    const cases: [Made[], RegExp][] = [
      [[leafOf(stranger)], /does not end/],
      [[leafOf(stranger), stranger], /does not end/],
      [[leafOf(expired), expired], /expired/],
      [[leafOf(noCa), noCa], /no authority/],
      [[leafOf(unsigning), unsigning], /keyCertSign/],
      [[leafOf(below), below, short], /longer than/],
      [[leafOf(root, { not_after: NOW - 60 })], /expired/],
      [[leafOf(root, { not_before: NOW + 60 })], /not valid yet/],
      [[leafOf(root, { weak: true })], /algorithm/],
    ];
    for (const [chain, reason] of cases) expect(await refusalOf(appraise(proof(chain)))).toMatch(reason);
    expect((await appraise(proof([leafOf(short), short]))).tier).toBe('bound');
  });

  it('stays within the name constraints of its authorities', async () => {
    const constrained = (extension: Extension) =>
      authority('constrained', {
        issuer: root,
        extensions: [basicConstraints(true), keyUsage(KEY_CERT_SIGN), extension],
      });
    const refused = [
      nameConstraints(['other.org']),
      nameConstraints([], ['example.org']),
      nameConstraints(['.example.org']),
      nameConstraints(['example.org'], [], 0x82),
    ];
    for (const extension of refused) {
      const middle = constrained(extension);
      expect(await refusalOf(appraise(proof([leafOf(middle), middle])))).toMatch(
        /permitted|excluded|not supported/,
      );
    }
    const middle = constrained(nameConstraints(['example.org'], ['other.org']));
    expect((await appraise(proof([leafOf(middle), middle]))).tier).toBe('bound');
  });

  it('with a chain that is too long, empty, not base64, or no certificate at all', async () => {
    const leaf = leafOf(root);
    const text = leaf.der.toString('base64');
    for (const x5c of [
      [],
      [text, text, text, text, text, text],
      [`${text}\n`],
      [1],
      ['AAAA'],
      'x',
      [leaf.der.toString('base64url')],
    ]) {
      expect(await refusalOf(appraise(proof([leaf], {}, { x5c: x5c as string[] })))).toMatch(
        /header_refused|certificate_refused/,
      );
    }
  });

  it('brings no key whose verification would be the attack', async () => {
    const rsa = generateKeyPairSync('rsa', { modulusLength: 1_024 }).privateKey;
    const weak = leafOf(root, { key: rsa });
    expect(await refusalOf(appraise(proof([weak], {}, {}, leafOf(root).private_key)))).toContain(
      'kind or size',
    );
  });

  it('survives the rotation of its authority', async () => {
    const registry = attestation([config()]);
    await registry.appraise(svid(await proof([leafOf(root)])), context);
    root = authority('root-2');
    extra = { spiffe_sequence: 13 };
    expect((await registry.appraise(svid(await proof([leafOf(root)], { jti: 'j2' })), context)).tier).toBe(
      'bound',
    );
  });
});

describe('a bundle', () => {
  it('whose sequence goes back changes nothing', async () => {
    const registry = attestation([config()]);
    const first = jwt(await signWith(key, claims({ exp: NOW + 3_000 })));
    await registry.appraise(first, context);
    const old = await makeKey('old');
    extra = { spiffe_sequence: 11, keys: [{ ...old.jwk, use: 'jwt-svid' }] };
    expect(await refusalOf(registry.appraise(jwt(await signWith(old, claims())), context))).toContain(
      'key_unknown',
    );
    await registry.appraise(first, { ...context, now: NOW + 400 });
    // The refresh in the background has ended before the next test counts requests.
    await registry.warm(NOW + 400);
  });

  it('is refreshed as its hint says', async () => {
    extra = { spiffe_sequence: 1, spiffe_refresh_hint: 60 };
    const registry = attestation([config()]);
    const evidence = jwt(await signWith(key, claims({ exp: NOW + 3_000 })));
    await registry.appraise(evidence, context);
    await registry.appraise(evidence, { ...context, now: NOW + 20 });
    expect(endpoint.requests).toHaveLength(1);
    await registry.appraise(evidence, { ...context, now: NOW + 61 });
    expect(endpoint.requests).toHaveLength(2);
  });

  it('may be a file', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'bundle-'));
    await writeFile(join(folder, 'b.json'), bundleText());
    const registry = attestation([config({ bundle: { file: join(folder, 'b.json') } })]);
    expect((await registry.appraise(jwt(await signWith(key, claims())), context)).attester).toBe('mesh');
    await rm(folder, { recursive: true });
  });

  it('without one usable key is refused', () => {
    expect(() => parseBundle('{"keys":[]}')).toThrow(/no usable key/);
    expect(() => parseBundle('{}')).toThrow(/not a SPIFFE bundle/);
    const { kid: _kid, ...anonymous } = key.jwk;
    expect(() => parseBundle(JSON.stringify({ keys: [{ ...anonymous, use: 'jwt-svid' }] }))).toThrow(
      /no usable key/,
    );
  });
});

describe('the Workload API (emulator)', () => {
  let agent: WorkloadEmulator;
  beforeAll(async () => {
    agent = await startWorkloadEmulator();
  });
  afterAll(() => agent.close());
  beforeEach(() => {
    agent.answer = null;
    agent.jwt_bundles = {
      'spiffe://example.org': JSON.stringify({ keys: [{ ...key.jwk, use: 'jwt-svid' }] }),
    };
    agent.x509_bundles = { 'spiffe://example.org': Buffer.concat([root.der, authority('second').der]) };
  });
  const viaSocket = (over: object = {}) =>
    attestation([config({ bundle: { workload_api: `unix://${agent.socket}` }, timeout_ms: 300, ...over })]);

  it('gives the bundles of the trust domain', async () => {
    expect((await viaSocket().appraise(jwt(await signWith(key, claims())), context)).attester).toBe('mesh');
    expect(agent.calls.toSorted()).toEqual(['FetchJWTBundles', 'FetchX509Bundles']);
  });

  it('gives nothing of another trust domain', async () => {
    agent.jwt_bundles = { 'spiffe://other.org': JSON.stringify({ keys: [{ ...key.jwk, use: 'jwt-svid' }] }) };
    expect(await refusalOf(viaSocket().appraise(jwt(await signWith(key, claims())), context))).toContain(
      'key_unknown',
    );
  });

  it('that is silent, broken, huge or refusing lets nothing in', async () => {
    const evidence = jwt(await signWith(key, claims()));
    const answers: NonNullable<WorkloadEmulator['answer']>[] = [
      () => {},
      (stream) => stream.respond({ ':status': 200, 'grpc-status': '7' }, { endStream: true }),
      (stream) => {
        stream.respond({ ':status': 200 });
        stream.end(Buffer.from([0, 0xff, 0xff, 0xff, 0xff, 1]));
      },
      (stream) => {
        stream.respond({ ':status': 200 });
        stream.end(Buffer.from([0, 0, 0, 0, 3, 0x0a, 0x7f, 0x00]));
      },
      (stream) => {
        stream.respond({ ':status': 200 });
        stream.end(Buffer.from([1, 0, 0, 0, 0]));
      },
      (stream) => stream.close(),
    ];
    for (const answer of answers) {
      agent.answer = answer;
      expect(await refusalOf(viaSocket().appraise(evidence, context))).toContain('keys_unavailable');
    }
    const dead = viaSocket({ bundle: { workload_api: 'unix:///nonexistent/agent.sock' } });
    expect(await refusalOf(dead.appraise(evidence, context))).toContain('ENOENT');
  });
});
