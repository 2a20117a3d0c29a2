/**
 * `aws_session`: temporary credentials of a role, cut down by a session policy, marked with the mission, and
 * revoked by denying that mark on the role. A regional session is one entry; a mission may have several.
 */

import {
  AssumeRoleCommand,
  AssumeRoleWithWebIdentityCommand,
  type Credentials,
  STSClient,
} from '@aws-sdk/client-sts';
import { type AwsSession, awsSession } from '../../domain/authority/types/aws_session.ts';
import { Denied } from '../../domain/denial.ts';
import type { JsonObject, JsonValue } from '../../domain/json.ts';
import { rfc3339 } from '../../domain/reader.ts';
import { endOf } from '../lifetime.ts';
import {
  type IssueContext,
  type Issued,
  type LeaseRequest,
  type Provider,
  ProviderFault,
  type Residual,
  type Revocation,
} from '../provider.ts';
import { DenyLists } from './deny-list.ts';
import { LEASE_TAG, type Mark, MISSION_TAG, sourceIdentity } from './deny-policy.ts';
import { faultOf, PROVIDER } from './faults.ts';
import { compileSessionPolicy } from './policy.ts';

export interface AwsRole {
  readonly arn: string;
  readonly login:
    | { readonly kind: 'assume_role'; readonly external_id?: string }
    | {
        /** The broker's own JWT: no key of AWS is kept anywhere to issue with. */
        readonly kind: 'web_identity';
        /** Must be a reserved audience. */
        readonly audience: string;
        readonly issuer: string;
        sign(claims: JsonObject): Promise<string>;
      };
  /** The role's MaxSessionDuration; at most an hour where roles are chained. */
  readonly max_session_seconds: number;
  /** STS's floor. */
  readonly min_session_seconds: number;
}

export interface AwsSessionOptions {
  readonly region: string;
  /** Other than AWS's own, for what speaks its language. */
  readonly sts_endpoint?: string;
  readonly iam_endpoint?: string;
  /** The broker's own; null for the SDK's chain (instance, pod or web identity). */
  readonly credentials: {
    readonly access_key_id: string;
    readonly secret_access_key: string;
    readonly session_token?: string;
  } | null;
  readonly roles: readonly AwsRole[];
  /** What sessions are denied by. The role's trust policy must allow it: sts:TagSession or sts:SetSourceIdentity. */
  readonly mark: Mark;
  /** Inline policy of the roles that this broker, and nobody else, writes. */
  readonly deny_policy_name: string;
  readonly deny_policy_max_characters: number;
  /** How long a change of a role's policy may take to be in force everywhere. */
  readonly propagation_seconds: number;
  readonly timeout_ms: number;
}

export interface AwsSessions extends Provider<AwsSession> {
  denyOlder: NonNullable<Provider<AwsSession>['denyOlder']>;
}

/** Clocks differ: what is denied is denied this much longer than its session policy allows anything. */
const SLACK_SECONDS = 60;
const CLAIM_TAGS = 'https://aws.amazon.com/tags';
const CLAIM_SOURCE_IDENTITY = 'https://aws.amazon.com/source_identity';

export function createAwsSessions(options: AwsSessionOptions): AwsSessions {
  const roles = new Map(options.roles.map((role) => [role.arn, role]));
  const { timeout_ms, propagation_seconds } = options;
  const shared = clientConfig(options);
  const sts = new STSClient({
    ...shared,
    ...(options.sts_endpoint === undefined ? {} : { endpoint: options.sts_endpoint }),
  });
  const deny_lists = new DenyLists({
    client: { ...shared, ...(options.iam_endpoint === undefined ? {} : { endpoint: options.iam_endpoint }) },
    policy_name: options.deny_policy_name,
    mark: options.mark,
    max_characters: options.deny_policy_max_characters,
    timeout_ms,
  });

  /** Until when the mission's authority lasts, and how long a session STS is asked for. */
  function life(request: LeaseRequest<AwsSession>, role: AwsRole, now: number) {
    const until = endOf(request, now, role.max_session_seconds);
    const duration = Math.max(
      role.min_session_seconds,
      Math.min(role.max_session_seconds, until - Math.floor(now)),
    );
    return { until, duration };
  }

  function roleOf(arn: string): AwsRole {
    const role = roles.get(arn);
    if (role === undefined)
      throw new Denied({
        tag: 'invalid_authorization_details',
        detail: `aws_session: the role ${arn} is not configured`,
      });
    return role;
  }

  async function assume(
    request: LeaseRequest<AwsSession>,
    role: AwsRole,
    policy: string,
    duration: number,
    now: number,
  ): Promise<Credentials> {
    const { lease_id, mission } = request;
    const session = {
      RoleArn: role.arn,
      RoleSessionName: lease_id,
      Policy: policy,
      DurationSeconds: duration,
    };
    const tags = {
      [MISSION_TAG]: mission.id,
      [LEASE_TAG]: lease_id,
      'sortie-agent': tagValue(mission.agent),
    };
    const abort = { abortSignal: AbortSignal.timeout(timeout_ms) };
    try {
      if (role.login.kind === 'web_identity') {
        const iat = Math.floor(now);
        const token = await role.login.sign({
          iss: role.login.issuer,
          sub: mission.agent,
          aud: role.login.audience,
          iat,
          nbf: iat,
          exp: iat + SLACK_SECONDS,
          jti: lease_id,
          ...(options.mark === 'session_tag'
            ? {
                [CLAIM_TAGS]: {
                  principal_tags: Object.fromEntries(
                    Object.entries(tags).map(([key, value]) => [key, [value]]),
                  ),
                  transitive_tag_keys: [MISSION_TAG, LEASE_TAG],
                },
              }
            : { [CLAIM_SOURCE_IDENTITY]: sourceIdentity(mission.id, lease_id) }),
        });
        const command = new AssumeRoleWithWebIdentityCommand({ ...session, WebIdentityToken: token });
        return requireCredentials((await sts.send(command, abort)).Credentials);
      }
      const command = new AssumeRoleCommand({
        ...session,
        ...(role.login.external_id === undefined ? {} : { ExternalId: role.login.external_id }),
        ...(options.mark === 'session_tag'
          ? {
              Tags: Object.entries(tags).map(([Key, Value]) => ({ Key, Value })),
              TransitiveTagKeys: [MISSION_TAG, LEASE_TAG],
            }
          : { SourceIdentity: sourceIdentity(mission.id, lease_id) }),
      });
      return requireCredentials((await sts.send(command, abort)).Credentials);
    } catch (cause) {
      throw faultOf(cause, 'assuming the role', timeout_ms);
    }
  }

  function residualAt(expires_at: number, now: number): Residual {
    const seconds = Math.max(0, Math.min(propagation_seconds, Math.ceil(expires_at - now)));
    return { seconds, why: `IAM takes up to ${propagation_seconds} s to deny a session everywhere` };
  }

  return {
    type: 'aws_session',
    entry: awsSession,
    gap: 'tag-deny',
    ttl: {
      min_seconds: 1,
      max_seconds: Math.max(1, ...options.roles.map((role) => role.max_session_seconds)),
    },
    target: (entry) => entry.role,

    plan(request, now) {
      const role = roleOf(request.entry.role);
      const { until } = life(request, role, now);
      compileSessionPolicy(request.entry, until);
      return {
        role: role.arn,
        mission_id: request.mission.id,
        lease_id: request.lease_id,
        works_until: until,
        ends_at: until + SLACK_SECONDS,
      };
    },

    async issue(request: LeaseRequest<AwsSession>, { now }: IssueContext): Promise<Issued> {
      const revocation = this.plan(request, now);
      const role = roleOf(request.entry.role);
      const { until, duration } = life(request, role, now);
      const policy = compileSessionPolicy(request.entry, until);
      const credentials = await assume(request, role, policy, duration, now);
      const session_end = Math.floor((credentials.Expiration?.getTime() ?? 0) / 1000);
      const expires_at = Math.min(until, session_end);
      const regions = request.entry['regions'];
      return {
        deliver: {
          access_key_id: credentials.AccessKeyId ?? '',
          secret_access_key: credentials.SecretAccessKey ?? '',
          session_token: credentials.SessionToken ?? '',
          expiration: rfc3339(expires_at),
          role: role.arn,
          ...(regions === undefined ? {} : { regions }),
        },
        revocation,
        expires_at,
      };
    },

    async revoke(revocation, now, reach = 'lease') {
      const { role, mission_id, lease_id, works_until, ends_at } = readRevocation(revocation);
      const id = reach === 'mission' ? mission_id : lease_id;
      // The session's own policy allows nothing any more: room on the list is for those that would go on.
      if (works_until <= now) return { seconds: 0, why: 'the session was over' };
      try {
        await deny_lists.deny(role, { kind: reach, id, ends_at }, now);
      } catch (cause) {
        throw cause instanceof ProviderFault && cause.code === 'deny_list_full'
          ? fullOf(role, works_until, now, propagation_seconds)
          : cause;
      }
      return residualAt(works_until, now);
    },

    residual: residualAt,

    async denyOlder(role, issued_before, now, dry_run = false) {
      const { max_session_seconds } = roleOf(role);
      const ends_at = issued_before + max_session_seconds + SLACK_SECONDS;
      if (!dry_run) await deny_lists.denyOlder(role, issued_before, ends_at, now);
      return residualAt(ends_at, now);
    },

    async close() {
      sts.destroy();
      deny_lists.close();
    },
  };
}

interface ClientOptions {
  readonly region: string;
  readonly maxAttempts: number;
  readonly credentials?: {
    readonly accessKeyId: string;
    readonly secretAccessKey: string;
    readonly sessionToken?: string;
  };
}

function clientConfig({ region, credentials }: AwsSessionOptions): ClientOptions {
  return {
    region,
    maxAttempts: 2,
    ...(credentials === null
      ? {}
      : {
          credentials: {
            accessKeyId: credentials.access_key_id,
            secretAccessKey: credentials.secret_access_key,
            ...(credentials.session_token === undefined ? {} : { sessionToken: credentials.session_token }),
          },
        }),
  };
}

function requireCredentials(credentials: Credentials | undefined): Credentials {
  if (
    !credentials?.AccessKeyId ||
    !credentials.SecretAccessKey ||
    !credentials.SessionToken ||
    credentials.Expiration === undefined
  )
    throw new ProviderFault(PROVIDER, 'unexpected_answer', 'assuming the role: no complete credentials');
  return credentials;
}

function readRevocation(revocation: Revocation): {
  readonly role: string;
  readonly mission_id: string;
  readonly lease_id: string;
  readonly works_until: number;
  readonly ends_at: number;
} {
  const { role, mission_id, lease_id, works_until, ends_at }: { [member: string]: JsonValue | undefined } =
    revocation;
  if (
    typeof role !== 'string' ||
    typeof mission_id !== 'string' ||
    typeof lease_id !== 'string' ||
    typeof works_until !== 'number' ||
    typeof ends_at !== 'number'
  )
    throw new ProviderFault(PROVIDER, 'misconfigured', 'the lease does not say what to deny');
  return { role, mission_id, lease_id, works_until, ends_at };
}

/** A session tag takes letters, digits, spaces and `_.:/=+-@`, at most 256; it is for people, not for policy. */
function tagValue(text: string): string {
  return [...text.slice(0, 256)]
    .map((letter) => (/^[A-Za-z0-9 _.:/=+@-]$/.test(letter) ? letter : '_'))
    .join('');
}

function fullOf(role: string, ends_at: number, now: number, propagation_seconds: number): ProviderFault {
  return new ProviderFault(PROVIDER, 'deny_list_full', 'the deny policy on the role has no room', {
    retry: true,
    residual: {
      seconds: Math.ceil(ends_at - now),
      why: 'the session works until its own end unless it is denied',
    },
    alternative: {
      kind: 'deny_older_sessions',
      role,
      issued_before: rfc3339(now),
      effective_within_seconds: propagation_seconds,
      command: `sortie aws deny-older ${role} --dry-run`,
      blast_radius: 'every session of this role that was issued before, also those of other missions',
    },
  });
}
