/** Each platform's evidence is fetched from an emulated platform and appraised by the broker's own attesters. */
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AttesterConfigInput } from '../../../../src/attesters/config.ts';
import {
  collectEvidence,
  explainEvidence,
  makeEnrolmentKey,
  NoEvidenceError,
  type Surroundings,
} from '../../../../src/sdk/agent/evidence/index.ts';
import { realSurroundings } from '../../../../src/sdk/agent/evidence/surroundings.ts';
import { workloadSocket } from '../../../../src/sdk/agent/evidence/workload-api.ts';
import {
  basicConstraints,
  DIGITAL_SIGNATURE,
  ipNames,
  KEY_CERT_SIGN,
  keyUsage,
  makeCertificate,
  uriNames,
} from '../../../attesters/support/certificate.ts';
import { attestation, BROKER, JKT, NOW, OTHER_JKT, refusalOf } from '../../../attesters/support/evidence.ts';
import { makeKey, signWith, type TestKey } from '../../../attesters/support/issuer.ts';
import {
  startWorkloadEmulator,
  type WorkloadEmulator,
} from '../../../attesters/support/workload-emulator.ts';

const target = { audience: BROKER, jkt: JKT, now: NOW };
const BOUND = `${BROKER}#jkt=${JKT}`;
let folder: string;
let key: TestKey;
let agent: WorkloadEmulator;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'evidence-'));
  key = await makeKey('k', 'RS256');
  agent = await startWorkloadEmulator();
});
afterAll(async () => {
  await agent.close();
  await rm(folder, { recursive: true });
});

/** A machine with this environment, these files, and these local endpoints. */
function machine(
  env: Record<string, string>,
  answer: (
    url: URL,
    headers: Record<string, string>,
    method: string,
  ) => string | null | Promise<string | null> = () => null,
  files: Record<string, string> = {},
): Surroundings & { readonly asked: string[] } {
  const asked: string[] = [];
  return {
    env,
    asked,
    readFile: async (path) => files[path] ?? readFile(path, 'utf8'),
    postTrusting: realSurroundings().postTrusting,
    fetch: (async (input: string, init: RequestInit) => {
      asked.push(input);
      expect(init.redirect).toBe('error');
      const body = await answer(
        new URL(input),
        (init.headers ?? {}) as Record<string, string>,
        init.method ?? 'GET',
      );
      return body === null ? new Response('no', { status: 404 }) : new Response(body);
    }) as typeof fetch,
  };
}
const issued = (aud: string, over: Record<string, unknown>) =>
  signWith(key, { aud, iat: NOW, exp: NOW + 300, ...over });
const jwks = () => ({ keys: [key.jwk as Record<string, string>] });
const appraise = (config: object, evidence: { type: string; token: string }, jkt = JKT, fetch?: never) =>
  attestation([{ name: 'a', ...config } as AttesterConfigInput], fetch ? { fetch } : {}).appraise(
    evidence as never,
    { jkt, now: NOW },
  );

describe('evidence is found and fetched', () => {
  it('in GitHub Actions, bound to the key', async () => {
    const iss = 'https://token.actions.githubusercontent.com';
    const around = machine(
      {
        ACTIONS_ID_TOKEN_REQUEST_URL: 'https://run.example/token?api=1',
        ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'request-secret',
      },
      async (url, headers) => {
        if (headers['authorization'] !== 'Bearer request-secret' || url.searchParams.get('api') !== '1')
          return null;
        const claims = {
          iss,
          sub: 'repo:o/r:ref:refs/heads/main',
          repository_id: '7',
          repository_owner_id: '6',
          run_id: '1',
          run_attempt: '1',
          ref_protected: 'true',
        };
        return JSON.stringify({ value: await issued(url.searchParams.get('audience') ?? '', claims) });
      },
    );
    const evidence = await collectEvidence(target, { surroundings: around });
    expect(evidence).toMatchObject({ kind: 'github-actions', bound: true });
    const config = {
      kind: 'github-actions',
      jwks: jwks(),
      rules: [{ name: 'r', match: { repository_id: '7' } }],
    };
    expect(await appraise(config, evidence)).toMatchObject({ agent: 'github/6/7', tier: 'bound' });
    expect(await refusalOf(appraise(config, evidence, OTHER_JKT))).toContain('wrong_key');
  });

  it('in a GitLab job, from its id_token', async () => {
    const token = await issued(BROKER, { iss: 'https://gitlab.com' });
    const around = machine({ GITLAB_CI: 'true', SORTIE_ID_TOKEN: token });
    expect(await collectEvidence(target, { surroundings: around })).toMatchObject({
      kind: 'gitlab',
      token,
      bound: false,
    });
  });

  it('in a Kubernetes pod, from its projected token', async () => {
    const token = await issued(BROKER, { iss: 'https://k8s' });
    const around = machine({}, undefined, { '/var/run/secrets/sortie/token': `${token}\n` });
    expect(await collectEvidence(target, { surroundings: around })).toMatchObject({
      kind: 'kubernetes',
      token,
    });
  });

  it('in a Kubernetes pod that may ask for tokens (emulator): bound to the key and the pod', async () => {
    const now = Math.floor(Date.now() / 1000);
    const server_key = makeCertificate({
      subject: 'api',
      not_before: now - 60,
      not_after: now + 3_600,
      extensions: [basicConstraints(true), ipNames('127.0.0.1')],
    });
    const pem = (label: string, der: Buffer) =>
      `-----BEGIN ${label}-----\n${der.toString('base64')}\n-----END ${label}-----\n`;
    const bound = {
      namespace: 'payments',
      pod: { name: 'reconciler-1', uid: 'pod-1' },
      serviceaccount: { name: 'reconciler', uid: 'sa-1' },
    };
    const iss = 'https://kubernetes.default.svc';
    const sub = 'system:serviceaccount:payments:reconciler';
    const own = await issued('https://api', { iss, sub, 'kubernetes.io': bound });
    const asked: unknown[] = [];
    let status = 201;
    const api = createServer(
      {
        key: server_key.private_key.export({ type: 'pkcs8', format: 'pem' }),
        cert: pem('CERTIFICATE', server_key.der),
      },
      async (request, response) => {
        let text = '';
        for await (const chunk of request) text += chunk;
        const { spec } = JSON.parse(text);
        asked.push([request.url, request.headers.authorization, spec]);
        const token = await issued(spec.audiences[0], { iss, sub, 'kubernetes.io': bound });
        response.writeHead(status).end(JSON.stringify({ status: { token } }));
      },
    );
    await new Promise<void>((resolve) => api.listen(0, '127.0.0.1', resolve));
    const env = {
      SORTIE_TOKEN_REQUEST: 'true',
      KUBERNETES_SERVICE_HOST: '127.0.0.1',
      KUBERNETES_SERVICE_PORT: String((api.address() as AddressInfo).port),
    };
    const folder = '/var/run/secrets/kubernetes.io/serviceaccount';
    const files = {
      [`${folder}/token`]: `${own}\n`,
      [`${folder}/ca.crt`]: pem('CERTIFICATE', server_key.der),
    };
    const evidence = await collectEvidence(target, { surroundings: machine(env, undefined, files) });
    expect(evidence).toMatchObject({ kind: 'kubernetes-bound', bound: true });
    expect(asked).toEqual([
      [
        '/api/v1/namespaces/payments/serviceaccounts/reconciler/token',
        `Bearer ${own}`,
        {
          audiences: [BOUND],
          expirationSeconds: 600,
          boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: 'reconciler-1', uid: 'pod-1' },
        },
      ],
    ]);
    const config = {
      kind: 'kubernetes',
      issuer: iss,
      jwks: jwks(),
      rules: [{ name: 'r', match: { namespace: 'payments' } }],
    };
    expect(await appraise(config, evidence)).toMatchObject({
      agent: 'k8s/payments/reconciler',
      tier: 'bound',
    });

    status = 403;
    await expect(collectEvidence(target, { surroundings: machine(env, undefined, files) })).rejects.toThrow(
      /answered 403/,
    );
    // A server with another certificate is not the API server: the pod's own token is not sent to it.
    asked.length = 0;
    const stranger = makeCertificate({
      subject: 'api',
      not_before: now - 60,
      not_after: now + 3_600,
      extensions: [basicConstraints(true), ipNames('127.0.0.1')],
    });
    const wrong = { ...files, [`${folder}/ca.crt`]: pem('CERTIFICATE', stranger.der) };
    await expect(collectEvidence(target, { surroundings: machine(env, undefined, wrong) })).rejects.toThrow(
      /did not answer/,
    );
    expect(asked).toEqual([]);
    api.closeAllConnections();
    await new Promise((resolve) => api.close(resolve));
  });

  it('on AWS with outbound federation, bound to the key', async () => {
    const iss = 'https://abc123.tokens.sts.global.api.aws';
    let body = '';
    const around: Surroundings = {
      ...machine({
        SORTIE_AWS_EVIDENCE: 'web-identity',
        AWS_REGION: 'eu-west-1',
        AWS_ACCESS_KEY_ID: 'ASIAEXAMPLEEXAMPLE12',
        AWS_SECRET_ACCESS_KEY: 's',
      }),
      fetch: (async (url: string, init: RequestInit) => {
        if (!url.startsWith('https://sts.eu-west-1.amazonaws.com/'))
          return new Response('no', { status: 404 });
        body = String(init.body);
        const token = await issued(new URLSearchParams(body).get('Audience.member.1') ?? '', {
          iss,
          sub: 'arn:aws:iam::123456789012:role/R',
          'https://sts.amazonaws.com/': { aws_account: '123456789012' },
        });
        return new Response(
          `<GetWebIdentityTokenResponse><GetWebIdentityTokenResult><WebIdentityToken>${token}</WebIdentityToken></GetWebIdentityTokenResult></GetWebIdentityTokenResponse>`,
        );
      }) as typeof fetch,
    };
    const evidence = await collectEvidence(target, { surroundings: around });
    expect(evidence).toMatchObject({ kind: 'aws-web-identity', bound: true });
    expect(Object.fromEntries(new URLSearchParams(body))).toMatchObject({
      Action: 'GetWebIdentityToken',
      SigningAlgorithm: 'ES384',
    });
    const config = {
      kind: 'aws-web-identity',
      issuer: iss,
      jwks: jwks(),
      rules: [{ name: 'r', match: { account: '123456789012' } }],
    };
    expect(await appraise(config, evidence)).toMatchObject({ tier: 'bound' });
  });

  it('on Google Compute Engine, bound to the key', async () => {
    const around = machine({}, async (url, headers) => {
      if (url.host !== '169.254.169.254' || headers['metadata-flavor'] !== 'Google') return null;
      if (url.pathname.endsWith('/instance/id')) return '123';
      if (url.searchParams.get('format') !== 'full') return null;
      const google = { compute_engine: { project_number: 42, instance_id: '123' } };
      return issued(url.searchParams.get('audience') ?? '', {
        iss: 'https://accounts.google.com',
        sub: '99',
        google,
      });
    });
    const evidence = await collectEvidence(target, { surroundings: around });
    const config = { kind: 'gcp', jwks: jwks(), rules: [{ name: 'r', match: { project_number: '42' } }] };
    expect(await appraise(config, evidence)).toMatchObject({ agent: 'gcp/42/99', tier: 'bound' });
  });

  it('on Azure, by instance metadata and by identity endpoint', async () => {
    const imds = machine({ SORTIE_AZURE_RESOURCE: 'api://sortie' }, async (url, headers) => {
      if (headers['metadata'] !== 'true') return null;
      if (url.pathname === '/metadata/instance/compute/vmId') return 'vm-1';
      return url.searchParams.get('resource') === 'api://sortie'
        ? JSON.stringify({ access_token: 'a.b.c' })
        : null;
    });
    expect(await collectEvidence(target, { surroundings: imds })).toMatchObject({
      kind: 'azure',
      token: 'a.b.c',
    });
    const env = {
      SORTIE_AZURE_RESOURCE: 'api://sortie',
      IDENTITY_ENDPOINT: 'http://127.0.0.1:4/msi/token',
      IDENTITY_HEADER: 'h',
    };
    const app = machine(env, (url, headers) =>
      headers['x-identity-header'] === 'h' && url.port === '4'
        ? JSON.stringify({ access_token: 'd.e.f' })
        : null,
    );
    expect((await collectEvidence(target, { surroundings: app, kind: 'azure' })).token).toBe('d.e.f');
  });

  it('on AWS, from environment, container endpoint and instance metadata, without sending anything to STS', async () => {
    const keys = JSON.stringify({ AccessKeyId: 'ASIAEXAMPLEEXAMPLE12', SecretAccessKey: 's', Token: 't' });
    const machines = [
      machine({
        AWS_REGION: 'eu-west-1',
        AWS_ACCESS_KEY_ID: 'ASIAEXAMPLEEXAMPLE12',
        AWS_SECRET_ACCESS_KEY: 's',
        AWS_SESSION_TOKEN: 't',
      }),
      machine({ AWS_REGION: 'eu-west-1', AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: '/v2/creds' }, (url) =>
        url.href === 'http://169.254.170.2/v2/creds' ? keys : null,
      ),
      machine(
        {
          AWS_REGION: 'eu-west-1',
          AWS_CONTAINER_CREDENTIALS_FULL_URI: 'http://169.254.170.23/v1/credentials',
          AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: '/token',
        },
        (_url, headers) => (headers['authorization'] === 'pod-token' ? keys : null),
        { '/token': 'pod-token\n' },
      ),
      machine({ AWS_DEFAULT_REGION: 'eu-west-1' }, (url, headers, method) => {
        if (url.pathname === '/latest/api/token') return method === 'PUT' ? 'imds-session' : null;
        if (headers['x-aws-ec2-metadata-token'] !== 'imds-session') return null;
        return url.pathname.endsWith('/security-credentials/') ? 'my-role' : keys;
      }),
    ];
    for (const around of machines) {
      const { type, token } = await collectEvidence(target, { surroundings: around, kind: 'aws' });
      expect(type).toBe('urn:sortie:token-type:aws-caller-identity');
      const { region, headers } = JSON.parse(Buffer.from(token, 'base64url').toString());
      expect(region).toBe('eu-west-1');
      expect(headers).toMatchObject({
        'x-sortie-issuer': BROKER,
        'x-sortie-jkt': JKT,
        'x-amz-security-token': 't',
      });
      expect(around.asked.join()).not.toContain('amazonaws');
    }
  });

  it('never sends container credentials’ token to a host of the environment’s choosing', async () => {
    const around = machine({
      AWS_REGION: 'eu-west-1',
      AWS_CONTAINER_CREDENTIALS_FULL_URI: 'http://evil.example/creds',
      AWS_CONTAINER_AUTHORIZATION_TOKEN: 'secret',
    });
    await expect(collectEvidence(target, { surroundings: around, kind: 'aws' })).rejects.toThrow(
      NoEvidenceError,
    );
    expect(around.asked.join()).not.toContain('evil.example');
  });

  it('from a SPIFFE agent (emulator): a JWT-SVID whose audience binds the key', async () => {
    const svidKey = await makeKey('jwt');
    const spiffe_id = 'spiffe://example.org/ns/payments';
    agent.jwt_svid = async (audience) => ({
      spiffe_id,
      token: await signWith(svidKey, { sub: spiffe_id, aud: [audience], exp: NOW + 300 }),
    });
    agent.jwt_bundles = {
      'spiffe://example.org': JSON.stringify({ keys: [{ ...svidKey.jwk, use: 'jwt-svid' }] }),
    };
    const socket = `unix://${agent.socket}`;
    const evidence = await collectEvidence(target, {
      surroundings: machine({ SPIFFE_ENDPOINT_SOCKET: socket }),
    });
    const config = {
      kind: 'spiffe',
      trust_domain: 'example.org',
      bundle: { workload_api: socket },
      rules: [{ name: 'r', match: { path: '*/payments' } }],
    };
    expect(await appraise(config, evidence)).toMatchObject({ tier: 'bound', bound_jkt: JKT });
    agent.jwt_svid = null;
    const refused = collectEvidence(target, { surroundings: machine({ SPIFFE_ENDPOINT_SOCKET: socket }) });
    await expect(refused).rejects.toThrow('spiffe: Workload API FetchJWTSVID: refused with gRPC status 7');
  });

  it('from a SPIFFE agent (emulator): a proof by an X509-SVID', async () => {
    const now = Math.floor(Date.now() / 1000);
    const life = { not_before: now - 60, not_after: now + 3_600 };
    const root = makeCertificate({
      subject: 'r',
      ...life,
      extensions: [basicConstraints(true), keyUsage(KEY_CERT_SIGN)],
    });
    const middle = makeCertificate({
      subject: 'm',
      issuer: root,
      ...life,
      extensions: [basicConstraints(true), keyUsage(KEY_CERT_SIGN)],
    });
    const spiffe_id = 'spiffe://example.org/ns/payments';
    const leaf = makeCertificate({
      subject: 'l',
      issuer: middle,
      ...life,
      extensions: [keyUsage(DIGITAL_SIGNATURE), uriNames(spiffe_id)],
    });
    agent.x509_svid = {
      spiffe_id,
      chain: Buffer.concat([leaf.der, middle.der]),
      private_key: leaf.private_key.export({ type: 'pkcs8', format: 'der' }),
    };
    agent.x509_bundles = { 'spiffe://example.org': root.der };
    agent.jwt_bundles = {};
    const socket = `unix://${agent.socket}`;
    const evidence = await collectEvidence(
      { ...target, now },
      { surroundings: machine({ SPIFFE_ENDPOINT_SOCKET: socket }), kind: 'spiffe-x509' },
    );
    const config = {
      kind: 'spiffe',
      name: 'a',
      trust_domain: 'example.org',
      bundle: { workload_api: socket },
      rules: [{ name: 'r', match: { path: '*/payments' } }],
    };
    const registry = attestation([config as AttesterConfigInput]);
    expect(await registry.appraise(evidence as never, { jkt: JKT, now })).toMatchObject({
      tier: 'bound',
      attester: 'a',
    });
  });

  it('on an enrolled machine: a proof signed by the key, which only its owner may read', async () => {
    const path = join(folder, 'keys', 'key.json');
    const { jwk, jkt } = await makeEnrolmentKey(path);
    expect(jwk.d).toBeUndefined();
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    await expect(makeEnrolmentKey(path)).rejects.toThrow(/EEXIST/);
    const evidence = await collectEvidence(target, { surroundings: machine({ SORTIE_KEY_FILE: path }) });
    const record = {
      id: 'enr_1',
      agent: 'laptop/a',
      jkt,
      jwk: jwk as Record<string, string>,
      created_by: 'x',
      created_at: 0,
      expires_at: NOW + 1,
      revoked_at: null,
    };
    const registry = attestation([{ kind: 'enrolled', name: 'e' }], { keys: [record] });
    expect(await registry.appraise(evidence as never, { jkt: JKT, now: NOW })).toMatchObject({
      agent: 'laptop/a',
      bound_jkt: JKT,
    });
  });

  it('from a plain file, before everything else', async () => {
    await writeFile(join(folder, 'token'), 'a.b.c\n');
    const around = machine({
      SORTIE_EVIDENCE_FILE: join(folder, 'token'),
      GITLAB_CI: '1',
      SORTIE_ID_TOKEN: 'x',
    });
    expect(await collectEvidence(target, { surroundings: around })).toMatchObject({
      kind: 'file',
      token: 'a.b.c',
    });
  });

  it('nowhere: the error says what to set', async () => {
    await expect(collectEvidence(target, { surroundings: machine({}) })).rejects.toThrow(
      /SORTIE_EVIDENCE_FILE/,
    );
    await expect(collectEvidence(target, { surroundings: machine({}), kind: 'vax' })).rejects.toThrow(
      /one of file, enrolled/,
    );
  });
});

describe('explain', () => {
  it('tells what was found and what the evidence says of itself, never the token or a secret', async () => {
    const token = await issued(BOUND, {
      iss: 'https://token.actions.githubusercontent.com',
      sub: 'SECRET-SUB',
    });
    const around = machine(
      {
        ACTIONS_ID_TOKEN_REQUEST_URL: 'https://run.example/token',
        ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'request-secret',
        GITLAB_CI: '1',
        SORTIE_ID_TOKEN: 'other.jwt.token',
      },
      () => JSON.stringify({ value: token }),
    );
    const told = await explainEvidence(target, { surroundings: around });
    expect(told).toMatchObject({
      chosen: 'github-actions',
      bound: true,
      claims: { iss: 'https://token.actions.githubusercontent.com', aud: BOUND, exp: NOW + 300 },
      failure: null,
    });
    expect(told.looked.filter(({ found }) => found).map(({ kind }) => kind)).toEqual(
      expect.arrayContaining(['github-actions', 'gitlab']),
    );
    const text = JSON.stringify(told);
    for (const secret of ['request-secret', 'SECRET-SUB', 'other.jwt.token', ...token.split('.')])
      expect(text).not.toContain(secret);
  });

  it('tells why a platform gave nothing, without its answer', async () => {
    const around = machine(
      {
        ACTIONS_ID_TOKEN_REQUEST_URL: 'https://run.example/token',
        ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'request-secret',
      },
      () => '{"error":"SECRET"',
    );
    const told = await explainEvidence(target, { surroundings: around, kind: 'github-actions' });
    expect(told).toMatchObject({
      chosen: 'github-actions',
      claims: null,
      failure: 'the platform answered no JSON',
    });
  });
});

describe('the address of a Workload API', () => {
  it('is an absolute Unix path, never a network address', () => {
    expect(workloadSocket('unix:///run/spire/agent.sock')).toBe('/run/spire/agent.sock');
    expect(workloadSocket('unix:/run/spire/agent.sock')).toBe('/run/spire/agent.sock');
    for (const address of [undefined, '', 'tcp://127.0.0.1:1', 'unix:relative', '/run/x'])
      expect(workloadSocket(address)).toBeNull();
  });
});
