import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AttesterConfigInput } from '../../src/attesters/config.ts';
import type { AttestationRegistry } from '../../src/attesters/registry.ts';
import { attestation, BROKER, JKT, jwt, NOW, OTHER_JKT, refusalOf } from './support/evidence.ts';
import { type LocalIssuer, makeKey, signWith, startIssuer, type TestKey } from './support/issuer.ts';

let key: TestKey;
let issuer: LocalIssuer;
beforeAll(async () => {
  key = await makeKey('platform-1', 'RS256');
  issuer = await startIssuer(key);
});
afterAll(() => issuer.close());

type Claims = Record<string, unknown>;
const times = { iat: NOW - 5, nbf: NOW - 5, exp: NOW + 300 };

/** One platform: a configuration, a token of its documented shape, and what must be refused of it. */
interface Platform {
  readonly config: () => Record<string, unknown>;
  readonly token: () => Claims;
  readonly agent: string;
  readonly instance: string;
  /** Name of the attack, changed claims, code of the refusal. */
  readonly refused: readonly (readonly [string, (claims: Claims) => Claims, string])[];
}

const change = (over: Claims) => (claims: Claims) => ({ ...claims, ...over });
const inside = (member: string, over: Claims) => (claims: Claims) => ({
  ...claims,
  [member]: { ...(claims[member] as Claims), ...over },
});

const k8sBound = {
  namespace: 'payments',
  node: { name: 'node-1', uid: '5ab8c2c1-6c5a-4f0e-9a8e-3b0a4b1f0001' },
  pod: { name: 'reconciler-7d9', uid: '0f3c2d9e-3c1b-4f57-8f3a-90e7d1a40002' },
  serviceaccount: { name: 'reconciler', uid: '7c1f7a55-9d3e-49c4-8c5b-6a2f1e5d0003' },
  warnafter: NOW + 3_000,
};
const AWS = 'https://sts.amazonaws.com/';
const TENANT = '72f988bf-86f1-41af-91ab-2d7cd011db47';

const platforms: Record<string, Platform> = {
  kubernetes: {
    config: () => ({
      kind: 'kubernetes',
      issuer: issuer.url,
      rules: [
        {
          name: 'reconciler',
          match: {
            namespace: 'payments',
            service_account: 'reconciler',
            service_account_uid: k8sBound.serviceaccount.uid,
          },
        },
      ],
    }),
    token: () => ({
      aud: [BROKER],
      ...times,
      exp: NOW + 3_600,
      iss: issuer.url,
      jti: 'c9b3a0b6-0000-4000-8000-000000000000',
      'kubernetes.io': k8sBound,
      sub: 'system:serviceaccount:payments:reconciler',
    }),
    agent: 'k8s/payments/reconciler',
    instance: `k8s/${k8sBound.pod.uid}`,
    refused: [
      [
        'a neighbour namespace',
        (c) => ({
          ...inside('kubernetes.io', { namespace: 'mallory' })(c),
          sub: 'system:serviceaccount:mallory:reconciler',
        }),
        'no_rule_matched',
      ],
      [
        'another service account',
        (c) => ({
          ...inside('kubernetes.io', { serviceaccount: { name: 'other', uid: 'x' } })(c),
          sub: 'system:serviceaccount:payments:other',
        }),
        'no_rule_matched',
      ],
      [
        'a service account made anew under the old name',
        inside('kubernetes.io', { serviceaccount: { name: 'reconciler', uid: 'new' } }),
        'no_rule_matched',
      ],
      ['a token that is bound to no pod', inside('kubernetes.io', { pod: undefined }), 'no_rule_matched'],
      ['a legacy token without bound claims', change({ 'kubernetes.io': undefined }), 'platform_refused'],
      [
        'a sub that disagrees with the bound claims',
        change({ sub: 'system:serviceaccount:payments:admin' }),
        'platform_refused',
      ],
      [
        'a namespace with a delimiter inside',
        (c) => ({
          ...inside('kubernetes.io', { namespace: 'payments/x' })(c),
          sub: 'system:serviceaccount:payments/x:reconciler',
        }),
        'no_rule_matched',
      ],
    ],
  },
  'github-actions': {
    config: () => ({
      kind: 'github-actions',
      issuer: issuer.url,
      rules: [
        {
          name: 'deploy',
          match: {
            repository_id: '74',
            repository_owner_id: '65',
            environment: 'prod',
            job_workflow_ref: 'octo-org/octo-repo/.github/workflows/deploy.yml@refs/heads/main',
          },
        },
      ],
    }),
    token: () => ({
      jti: 'example-id',
      sub: 'repo:octo-org/octo-repo:environment:prod',
      environment: 'prod',
      aud: BROKER,
      ref: 'refs/heads/main',
      sha: 'example-sha',
      repository: 'octo-org/octo-repo',
      repository_owner: 'octo-org',
      actor_id: '12',
      repository_visibility: 'private',
      repository_id: '74',
      repository_owner_id: '65',
      run_id: '1001',
      run_number: '10',
      run_attempt: '2',
      runner_environment: 'github-hosted',
      actor: 'octocat',
      workflow: 'deploy',
      head_ref: '',
      base_ref: '',
      event_name: 'push',
      ref_type: 'branch',
      ref_protected: 'true',
      job_workflow_ref: 'octo-org/octo-repo/.github/workflows/deploy.yml@refs/heads/main',
      iss: issuer.url,
      ...times,
    }),
    agent: 'github/65/74',
    instance: 'github/1001/2',
    refused: [
      [
        'the same names with other ids: a repository that took over the old name',
        change({ repository_id: '999' }),
        'no_rule_matched',
      ],
      ['another owner of the same name', change({ repository_owner_id: '666' }), 'no_rule_matched'],
      ['an unprotected ref', change({ ref_protected: 'false', ref: 'refs/heads/x' }), 'no_rule_matched'],
      [
        'another workflow of the repository',
        change({ job_workflow_ref: 'octo-org/octo-repo/.github/workflows/evil.yml@refs/heads/main' }),
        'no_rule_matched',
      ],
      [
        'the workflow as of another branch',
        change({ job_workflow_ref: 'octo-org/octo-repo/.github/workflows/deploy.yml@refs/heads/x' }),
        'no_rule_matched',
      ],
      ['another environment', change({ environment: 'staging' }), 'no_rule_matched'],
      ['no environment', change({ environment: undefined }), 'no_rule_matched'],
      ['a pull request', change({ event_name: 'pull_request' }), 'platform_refused'],
      [
        "a fork's pull request in the base repository",
        change({ event_name: 'pull_request_target' }),
        'platform_refused',
      ],
      [
        'an immutable sub with the ids of another repository',
        change({ sub: 'repo:octo-org@65/octo-repo@75:environment:prod' }),
        'platform_refused',
      ],
      [
        'an immutable sub with the ids of another owner',
        change({ sub: 'repo:octo-org@66/octo-repo@74:environment:prod' }),
        'platform_refused',
      ],
    ],
  },
  gitlab: {
    config: () => ({
      kind: 'gitlab',
      issuer: issuer.url,
      rules: [
        { name: 'release', match: { project_id: '22', namespace_id: '72', environment: 'production' } },
      ],
    }),
    token: () => ({
      namespace_id: '72',
      namespace_path: 'my-group',
      project_id: '22',
      project_path: 'my-group/my-project',
      user_id: '1',
      user_login: 'sample-user',
      user_email: 'sample-user@example.com',
      pipeline_id: '574',
      pipeline_source: 'push',
      job_id: '302',
      ref: 'main',
      ref_type: 'branch',
      ref_path: 'refs/heads/main',
      ref_protected: 'true',
      groups_direct: ['mygroup/mysubgroup'],
      environment: 'production',
      environment_protected: 'true',
      deployment_tier: 'production',
      runner_id: 1,
      runner_environment: 'self-hosted',
      sha: '714a629c0b401fdce83e847fc9589983fc6f46bc',
      project_visibility: 'public',
      ci_config_ref_uri: `${new URL(issuer.url).host}/my-group/my-project//.gitlab-ci.yml@refs/heads/main`,
      ci_config_sha: '714a629c0b401fdce83e847fc9589983fc6f46bc',
      jti: '235b3a54-b797-45c7-ae9a-f72d7bc6ef5b',
      iss: issuer.url,
      ...times,
      sub: 'project_path:my-group/my-project:ref_type:branch:ref:main',
      aud: BROKER,
    }),
    agent: 'gitlab/72/22',
    instance: 'gitlab/574/302',
    refused: [
      ['a fork of the project', change({ project_id: '23', namespace_id: '80' }), 'no_rule_matched'],
      ['a project that took over the path', change({ project_id: '99' }), 'no_rule_matched'],
      ['an unprotected ref', change({ ref_protected: 'false' }), 'no_rule_matched'],
      ['an empty word on protection', change({ ref_protected: '' }), 'no_rule_matched'],
      ['a merge request pipeline', change({ pipeline_source: 'merge_request_event' }), 'platform_refused'],
      [
        "a fork's pipeline that runs in the parent project",
        change({ job_project_id: '80' }),
        'platform_refused',
      ],
      [
        'a pipeline definition of a fork',
        (c) => ({ ...c, ci_config_ref_uri: String(c['ci_config_ref_uri']).replace('my-group', 'mallory') }),
        'platform_refused',
      ],
      [
        'a pipeline definition of another ref',
        (c) => ({ ...c, ci_config_ref_uri: String(c['ci_config_ref_uri']).replace('main', 'evil') }),
        'platform_refused',
      ],
      [
        'a pipeline definition from elsewhere',
        change({ ci_config_ref_uri: 'https://evil.example/ci.yml' }),
        'platform_refused',
      ],
      ['another environment', change({ environment: 'review/x' }), 'no_rule_matched'],
    ],
  },
  gcp: {
    config: () => ({
      kind: 'gcp',
      issuer: issuer.url,
      rules: [
        {
          name: 'batch',
          match: { project_number: '739419398126', service_account_id: '112010400000000710080' },
        },
      ],
    }),
    token: () => ({
      iss: issuer.url,
      ...times,
      exp: NOW + 3_600,
      aud: BROKER,
      sub: '112010400000000710080',
      azp: '112010400000000710080',
      email: 'batch@my-project.iam.gserviceaccount.com',
      email_verified: true,
      google: {
        compute_engine: {
          project_id: 'my-project',
          project_number: 739419398126,
          zone: 'us-west1-a',
          instance_id: '152986662232938449',
          instance_name: 'example',
          instance_creation_timestamp: 1_552_507_000,
          instance_confidentiality: 1,
          license_id: ['1000204'],
        },
      },
    }),
    agent: 'gcp/739419398126/112010400000000710080',
    instance: 'gcp/152986662232938449',
    refused: [
      [
        'a neighbour project',
        (c) => ({ ...c, google: { compute_engine: { project_number: 1, instance_id: '1' } } }),
        'no_rule_matched',
      ],
      ['another service account', change({ sub: '9', azp: '9' }), 'no_rule_matched'],
      ['an identity token without the machine', change({ google: undefined }), 'no_rule_matched'],
      [
        'the project number as a float',
        (c) => ({ ...c, google: { compute_engine: { project_number: 739419398126.5, instance_id: '1' } } }),
        'no_rule_matched',
      ],
    ],
  },
  azure: {
    config: () => ({
      kind: 'azure',
      tenant_id: TENANT,
      audience: 'api://sortie',
      jwks: { keys: [key.jwk] },
      rules: [{ name: 'worker', match: { oid: '8f2c2a10-0000-4000-8000-000000000001' } }],
    }),
    token: () => ({
      aud: 'api://sortie',
      iss: `https://sts.windows.net/${TENANT}/`,
      ...times,
      exp: NOW + 86_400,
      aio: 'E2NgYPj',
      appid: '2c1f0000-0000-4000-8000-000000000002',
      appidacr: '2',
      idp: `https://sts.windows.net/${TENANT}/`,
      oid: '8f2c2a10-0000-4000-8000-000000000001',
      rh: '0.AQ',
      sub: '8f2c2a10-0000-4000-8000-000000000001',
      tid: TENANT,
      uti: 'u',
      ver: '1.0',
      xms_mirid:
        '/subscriptions/11110000-0000-4000-8000-000000000003/resourcegroups/rg/providers/Microsoft.Compute/virtualMachines/vm-1',
    }),
    agent: `azure/${TENANT}/8f2c2a10-0000-4000-8000-000000000001`,
    instance: `azure/${TENANT}/8f2c2a10-0000-4000-8000-000000000001`,
    refused: [
      [
        'a neighbour tenant by issuer',
        change({ iss: 'https://sts.windows.net/00000000-0000-4000-8000-000000000000/' }),
        'unknown_issuer',
      ],
      [
        'a neighbour tenant by tid',
        change({ tid: '00000000-0000-4000-8000-000000000000' }),
        'platform_refused',
      ],
      ['another identity', change({ oid: 'x' }), 'no_rule_matched'],
      ['a user with delegated rights', change({ scp: 'user_impersonation' }), 'platform_refused'],
      ['an application that is no managed identity', change({ xms_mirid: undefined }), 'platform_refused'],
    ],
  },
  'aws-web-identity': {
    config: () => ({
      kind: 'aws-web-identity',
      issuer: issuer.url,
      rules: [
        {
          name: 'job',
          match: { account: '123456789012', role: 'arn:aws:iam::123456789012:role/DataProcessingRole' },
        },
      ],
    }),
    token: () => ({
      iss: issuer.url,
      aud: BROKER,
      sub: 'arn:aws:iam::123456789012:role/DataProcessingRole',
      ...times,
      exp: NOW + 900,
      jti: 'xyz123-def456-ghi789-jkl012',
      [AWS]: {
        aws_account: '123456789012',
        source_region: 'us-east-1',
        org_id: 'o-abc1234567',
        ou_path: 'o-a1b2c3d4e5/r-ab12/ou-ab12-11111111/ou-ab12-22222222/',
        principal_tags: { environment: 'production' },
        ec2_source_instance_arn: 'arn:aws:ec2:us-east-1:123456789012:instance/i-abc123',
        request_tags: { 'job-id': 'job-2024-001' },
      },
    }),
    agent: 'aws/123456789012/arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2FDataProcessingRole',
    instance: 'aws/arn%3Aaws%3Aec2%3Aus-east-1%3A123456789012%3Ainstance%2Fi-abc123',
    refused: [
      ['another role', change({ sub: 'arn:aws:iam::123456789012:role/Other' }), 'no_rule_matched'],
      [
        'a neighbour account',
        (c) => ({
          ...inside(AWS, { aws_account: '999999999999' })(c),
          sub: 'arn:aws:iam::999999999999:role/DataProcessingRole',
        }),
        'no_rule_matched',
      ],
      [
        'a role of another account than stated',
        change({ sub: 'arn:aws:iam::999999999999:role/DataProcessingRole' }),
        'platform_refused',
      ],
      ['a token without AWS’s own claims', change({ [AWS]: undefined }), 'platform_refused'],
      [
        'a role with a path that only ends alike',
        change({ sub: 'arn:aws:iam::123456789012:role/x/DataProcessingRole' }),
        'no_rule_matched',
      ],
    ],
  },
};

describe.each(Object.entries(platforms))('%s', (kind, platform) => {
  let registry: AttestationRegistry;
  const config = (over: object = {}) =>
    ({ name: 'p', allow_private_addresses: true, ...platform.config(), ...over }) as AttesterConfigInput;
  const appraise = async (claims: Claims, jkt = JKT, now = NOW) =>
    registry.appraise(jwt(await signWith(key, claims)), { jkt, now });
  const audience = () => (kind === 'azure' ? 'api://sortie' : BROKER);
  beforeAll(() => {
    registry = attestation([config()]);
  });

  it('accepts a token of the documented shape', async () => {
    expect(await appraise(platform.token())).toMatchObject({
      agent: platform.agent,
      instance: platform.instance,
      tier: 'reusable',
      attester: 'p',
    });
  });

  it('binds it to a key by its audience, and refuses a second key', async () => {
    const bound = { ...platform.token(), aud: `${audience()}#jkt=${JKT}` };
    expect(await appraise(bound)).toMatchObject({ tier: 'bound', bound_jkt: JKT });
    expect(await refusalOf(appraise(bound, OTHER_JKT))).toContain('wrong_key');
  });

  it('tells another instance by its name', async () => {
    const other: Record<string, (claims: Claims) => Claims> = {
      kubernetes: inside('kubernetes.io', { pod: { name: 'reconciler-8', uid: 'another-pod' } }),
      'github-actions': change({ run_id: '1002' }),
      gitlab: change({ job_id: '303' }),
      gcp: (c) => ({ ...c, google: { compute_engine: { project_number: 739419398126, instance_id: '2' } } }),
      azure: change({}),
      'aws-web-identity': inside(AWS, {
        ec2_source_instance_arn: 'arn:aws:ec2:us-east-1:123456789012:instance/i-2',
      }),
    };
    const { instance, agent } = await appraise(other[kind]?.(platform.token()) ?? {});
    expect(agent).toBe(platform.agent);
    if (kind !== 'azure') expect(instance).not.toBe(platform.instance);
  });

  it.each([
    ['another audience', { aud: 'https://other.example.com' }, 'wrong_audience'],
    ['another issuer', { iss: 'https://evil.example.com' }, 'unknown_issuer'],
    ['an expired token', { iat: NOW - 500, exp: NOW - 200 }, 'expired'],
    ['an early token', { nbf: NOW + 500 }, 'not_yet_valid'],
    ['a token older than the platform lets them be', { iat: NOW - 100_000 }, 'too_old'],
  ])('refuses %s', async (_name, over, code) => {
    expect(await refusalOf(appraise({ ...platform.token(), ...over }))).toContain(code);
  });

  it.each(platform.refused)('refuses %s', async (_name, bend, code) => {
    expect(await refusalOf(appraise(bend(platform.token())))).toContain(code);
  });

  it('refuses a token of the right shape by another signer', async () => {
    const other = await makeKey('platform-1', 'RS256');
    const forged = await signWith(other, platform.token());
    expect(await refusalOf(registry.appraise(jwt(forged), { jkt: JKT, now: NOW }))).toContain(
      'bad_signature',
    );
  });

  it('wants a rule on an immutable claim, never on sub alone', () => {
    // With gcp, sub is the immutable id: the e-mail address is the name there.
    const match = kind === 'gcp' ? { email: 'x' } : { sub: String(platform.token()['sub']) };
    const rules = [{ name: 'sub', match }];
    expect(() => attestation([config({ rules })])).toThrow(/names alone can be taken over/);
  });
});

const configured = (kind: string, over: object = {}) =>
  attestation([
    {
      name: 'p',
      allow_private_addresses: true,
      ...platforms[kind]?.config(),
      ...over,
    } as AttesterConfigInput,
  ]);

describe('presets', () => {
  it('accept both formats of the GitHub subject', async () => {
    const { token } = platforms['github-actions'] as Platform;
    const registry = configured('github-actions');
    const immutable = { ...token(), sub: 'repo:octo-org@65/octo-repo@74:environment:prod' };
    const evidence = jwt(await signWith(key, immutable));
    expect((await registry.appraise(evidence, { jkt: JKT, now: NOW })).agent).toBe('github/65/74');
  });

  it('follow a repository through a rename: the ids stay', async () => {
    const { token } = platforms['github-actions'] as Platform;
    const rules = [{ name: 'any', match: { repository_id: '74' } }];
    const registry = configured('github-actions', { rules });
    const renamed = {
      ...token(),
      repository: 'octo-org/new-name',
      sub: 'repo:octo-org/new-name:environment:prod',
    };
    const evidence = jwt(await signWith(key, renamed));
    expect((await registry.appraise(evidence, { jkt: JKT, now: NOW })).agent).toBe('github/65/74');
  });

  it('let in pull requests and unprotected refs only where the configuration says so', async () => {
    const { token } = platforms['github-actions'] as Platform;
    const rules = [{ name: 'pr', match: { repository_id: '74', ref_protected: 'false' } }];
    const registry = configured('github-actions', { rules, allow_pull_requests: true });
    const pull = { ...token(), event_name: 'pull_request', ref_protected: 'false' };
    expect((await registry.appraise(jwt(await signWith(key, pull)), { jkt: JKT, now: NOW })).rule).toBe('pr');
  });

  it('where strangers share the issuer, a wildcard is no anchor', () => {
    const rules = [{ name: 'all', match: { repository_id: '*' } }];
    const config = { kind: 'github-actions', name: 'p', rules } as AttesterConfigInput;
    expect(() => attestation([config])).toThrow(/as exact text/);
  });

  it('never trust what the workload chose itself', () => {
    const rules = [
      { name: 'tags', match: { account: '1', '/https:~1~1sts.amazonaws.com~1/request_tags/team': 'ops' } },
    ];
    const config = {
      kind: 'aws-web-identity',
      name: 'p',
      issuer: 'https://x.example',
      rules,
    } as AttesterConfigInput;
    expect(() => attestation([config])).toThrow(/the workload itself chooses/);
  });

  it('need three lines of configuration', async () => {
    const registry = attestation([
      {
        kind: 'kubernetes',
        name: 'k8s',
        issuer: issuer.url,
        allow_private_addresses: true,
        rules: [{ name: 'all', match: { namespace: '*' } }],
      },
    ]);
    const { token, agent } = platforms['kubernetes'] as Platform;
    const evidence = jwt(await signWith(key, token()));
    expect((await registry.appraise(evidence, { jkt: JKT, now: NOW })).agent).toBe(agent);
  });
});
