/** The platforms' tokens as their public documentation describes them. */
import type { Preset } from './preset.ts';

/** Bound service account tokens (projected volumes). One issuer a cluster. */
export const KUBERNETES: Preset = {
  algorithms: ['RS256', 'ES256', 'ES384', 'ES512'],
  max_age_seconds: 3_660,
  aliases: {
    namespace: '/kubernetes.io/namespace',
    service_account: '/kubernetes.io/serviceaccount/name',
    service_account_uid: '/kubernetes.io/serviceaccount/uid',
    pod: '/kubernetes.io/pod/name',
    pod_uid: '/kubernetes.io/pod/uid',
    node: '/kubernetes.io/node/name',
    node_uid: '/kubernetes.io/node/uid',
  },
  anchors: ['namespace', 'service_account_uid'],
  shared_issuer: false,
  implied: { pod_uid: '*' },
  agent: 'k8s/{namespace}/{service_account}',
  instance: 'k8s/{pod_uid}',
};

export const GITHUB_ISSUER = 'https://token.actions.githubusercontent.com';
/** GitHub Actions. Everybody's issuer; ids are for ever, names are not. */
export const GITHUB: Preset = {
  algorithms: ['RS256'],
  max_age_seconds: 900,
  aliases: {},
  anchors: ['repository_id', 'repository_owner_id'],
  shared_issuer: true,
  implied: { ref_protected: 'true' },
  agent: 'github/{repository_owner_id}/{repository_id}',
  instance: 'github/{run_id}/{run_attempt}',
};

export const GITLAB_ISSUER = 'https://gitlab.com';
/** GitLab CI/CD id_tokens, of gitlab.com or an own instance. */
export const GITLAB: Preset = {
  algorithms: ['RS256'],
  max_age_seconds: 86_400,
  aliases: {},
  anchors: ['project_id', 'namespace_id'],
  shared_issuer: true,
  implied: { ref_protected: 'true' },
  agent: 'gitlab/{namespace_id}/{project_id}',
  instance: 'gitlab/{pipeline_id}/{job_id}',
};

export const GCP_ISSUER = 'https://accounts.google.com';
/** Compute Engine instance identity tokens, format=full. */
export const GCP: Preset = {
  algorithms: ['RS256'],
  max_age_seconds: 3_660,
  aliases: {
    project_id: '/google/compute_engine/project_id',
    project_number: '/google/compute_engine/project_number',
    zone: '/google/compute_engine/zone',
    instance_id: '/google/compute_engine/instance_id',
    instance_name: '/google/compute_engine/instance_name',
    service_account_id: '/sub',
  },
  anchors: ['project_number', 'project_id', 'service_account_id', 'azp'],
  shared_issuer: true,
  implied: { instance_id: '*' },
  agent: 'gcp/{project_number}/{service_account_id}',
  instance: 'gcp/{instance_id}',
};

/** Managed identities of one Microsoft Entra tenant. */
export const AZURE: Preset = {
  algorithms: ['RS256'],
  max_age_seconds: 90_000,
  aliases: {},
  anchors: ['oid', 'xms_mirid'],
  shared_issuer: true,
  implied: {},
  agent: 'azure/{tid}/{oid}',
  instance: 'azure/{tid}/{oid}',
};

/** Where AWS puts its own claims in a GetWebIdentityToken JWT. */
export const AWS_CLAIMS = 'https://sts.amazonaws.com/';
const AWS_POINTER = '/https:~1~1sts.amazonaws.com~1';
/** AWS outbound identity federation. One issuer an account. */
export const AWS: Preset = {
  algorithms: ['RS256', 'ES384'],
  max_age_seconds: 3_660,
  aliases: {
    role: '/sub',
    account: `${AWS_POINTER}/aws_account`,
    org_id: `${AWS_POINTER}/org_id`,
    ou_path: `${AWS_POINTER}/ou_path`,
    region: `${AWS_POINTER}/source_region`,
    ec2_instance: `${AWS_POINTER}/ec2_source_instance_arn`,
    lambda_function: `${AWS_POINTER}/lambda_source_function_arn`,
  },
  anchors: ['account'],
  shared_issuer: true,
  implied: {},
  agent: 'aws/{account}/{role}',
  instance: 'aws/{/sortie/source}',
  chosen_by_workload: [`${AWS_POINTER}/request_tags`],
};

/** SVIDs of one trust domain: the SPIFFE ID is all there is, and the trust domain answers for it. */
export const SPIFFE: Preset = {
  algorithms: [],
  max_age_seconds: 3_660,
  aliases: {},
  anchors: ['spiffe_id', 'path', '/segments/0', '/segments/1', '/segments/2', '/segments/3'],
  shared_issuer: false,
  implied: {},
  agent: 'spiffe/{trust_domain}/{path}',
  instance: 'spiffe/{trust_domain}/{path}',
};

/** Principals that STS names for a signed GetCallerIdentity request. Every AWS account's signatures end here. */
export const AWS_CALLER: Preset = {
  algorithms: [],
  max_age_seconds: 300,
  aliases: {},
  anchors: ['account', 'principal_id'],
  shared_issuer: true,
  implied: {},
  agent: 'aws/{account}/{name}',
  instance: 'aws/{user_id}',
};
