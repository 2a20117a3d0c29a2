/** What must hold of every token of a platform beyond patterns: relations between claims. Pure. */
import { isJsonObject, type JsonObject, type JsonValue } from '../../domain/json.ts';
import { Refusal } from '../attester.ts';
import { AWS_CLAIMS } from './platforms.ts';
import type { PlatformCheck } from './preset.ts';

const refuse = (detail: string) => new Refusal('platform_refused', detail);

/** `sub` must say what the structured claims say: a token whose parts disagree is not one of this platform. */
export const checkKubernetes: PlatformCheck = (claims) => {
  const bound = claims['kubernetes.io'];
  if (!isJsonObject(bound))
    throw refuse('not a bound service account token: it has no "kubernetes.io" claim');
  const { namespace, serviceaccount } = bound;
  const name = isJsonObject(serviceaccount) ? serviceaccount['name'] : undefined;
  if (claims['sub'] !== `system:serviceaccount:${text(namespace)}:${text(name)}`) {
    throw refuse('sub is not the service account of the "kubernetes.io" claim');
  }
};

/** Events that strangers start, or whose runs take in what they wrote, in the base repository with its ids. */
const STRANGERS_EVENTS = [
  'pull_request',
  'pull_request_target',
  'pull_request_review',
  'pull_request_review_comment',
  'issue_comment',
  'issues',
  'discussion',
  'discussion_comment',
];

/**
 * Pull requests stay out unless the configuration lets them in. In the immutable `sub`
 * (`repo:owner@id/name@id:...`, default since July 2026) the ids must be those of the claims.
 */
export function checkGithub(allow_pull_requests: boolean): PlatformCheck {
  return (claims) => {
    const event = text(claims['event_name']);
    if (!allow_pull_requests && STRANGERS_EVENTS.includes(event)) {
      throw refuse('the run was started by a pull request, an issue or a comment');
    }
    const [kind, path = ''] = text(claims['sub']).split(':', 2);
    if (kind !== 'repo' || !path.includes('@')) return;
    const [owner = '', repository = ''] = path.split('/', 2);
    const same =
      owner.split('@').at(-1) === text(claims['repository_owner_id']) &&
      repository.split('@').at(-1) === text(claims['repository_id']);
    if (!same) throw refuse('the ids in sub are not those of the claims');
  };
}

/**
 * Fork pipelines told apart: merge requests stay out unless let in; the job must run in the project that the token
 * names; and the pipeline definition must come from that project at that ref.
 */
export function checkGitlab(issuer: string, allow_merge_requests: boolean): PlatformCheck {
  const host = new URL(issuer).host;
  return (claims) => {
    const source = text(claims['pipeline_source']);
    if (
      !allow_merge_requests &&
      (source === 'merge_request_event' || source === 'external_pull_request_event')
    ) {
      throw refuse('the pipeline was started by a merge request');
    }
    const runs_in = claims['job_project_id'];
    if (runs_in !== undefined && runs_in !== null && text(runs_in) !== text(claims['project_id'])) {
      throw refuse('the job runs in another project than the token names');
    }
    const definition = claims['ci_config_ref_uri'];
    if (definition === undefined || definition === null) return;
    const from = `${host}/${text(claims['project_path'])}//`;
    const at = `@${text(claims['ref_path'])}`;
    if (typeof definition !== 'string' || !definition.startsWith(from) || !definition.endsWith(at)) {
      throw refuse('the pipeline definition is not that of the project and ref');
    }
  };
}

/** A managed identity of the configured tenant, acting for itself: never a user, never another tenant. */
export function checkAzure(tenant_id: string): PlatformCheck {
  return (claims) => {
    if (claims['tid'] !== tenant_id) throw refuse('tid is not the configured tenant');
    // Delegated tokens carry scopes of a user; a managed identity never does.
    if (claims['scp'] !== undefined || claims['idtyp'] === 'user') throw refuse('the token acts for a user');
    if (typeof claims['xms_mirid'] !== 'string') throw refuse('not a managed identity: no xms_mirid');
  };
}

/** The account of the role's ARN must be the account that AWS states. */
export const checkAws: PlatformCheck = (claims) => {
  const stated = claims[AWS_CLAIMS];
  if (!isJsonObject(stated)) throw refuse(`no "${AWS_CLAIMS}" claim`);
  const [arn, partition, service, , account] = text(claims['sub']).split(':');
  if (
    arn !== 'arn' ||
    !partition?.startsWith('aws') ||
    service !== 'iam' ||
    account !== text(stated['aws_account'])
  ) {
    throw refuse('sub is not an IAM principal of the stated account');
  }
};

/** Where the role was used: EC2 instance, else Lambda function, else the role itself. Under `/sortie/source`. */
export function withAwsSource(claims: JsonObject): JsonObject {
  const stated = claims[AWS_CLAIMS];
  const { ec2_source_instance_arn, lambda_source_function_arn } = isJsonObject(stated) ? stated : {};
  const source = ec2_source_instance_arn ?? lambda_source_function_arn ?? claims['sub'] ?? null;
  return { ...claims, sortie: { source } };
}

function text(value: JsonValue | undefined): string {
  return typeof value === 'string' ? value : typeof value === 'number' ? String(value) : '';
}
