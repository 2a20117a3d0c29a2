/**
 * Where evidence comes from, one platform each: how to tell that it is here, and how to get evidence for one broker
 * and one key. Where the platform lets the workload choose its audience, the audience binds the key.
 */
import { boundAudience } from '../../../domain/evidence.ts';
import { isJsonObject } from '../../../domain/json.ts';
import { fetchWebIdentityToken, findAwsCredentials, signCallerIdentity } from './aws.ts';
import { keyFileIsPrivate, signEnrolledEvidence } from './enrolled-key.ts';
import { requestToken } from './kubernetes-token.ts';
import { readText, type Surroundings } from './surroundings.ts';
import { signSvidProof } from './svid-proof.ts';
import { fetchJwtSvid, fetchX509Svid, workloadSocket } from './workload-api.ts';

export interface EvidenceRequest {
  /** The broker's issuer. */
  readonly audience: string;
  /** Thumbprint of the key that proves possession to the broker. */
  readonly jkt: string;
  /** Seconds since the epoch. */
  readonly now: number;
}

export interface CollectedEvidence {
  /** `subject_token_type`. */
  readonly type:
    | 'urn:ietf:params:oauth:token-type:jwt'
    | 'urn:sortie:token-type:x509-svid'
    | 'urn:sortie:token-type:aws-caller-identity';
  readonly token: string;
}

export interface EvidencePlatform {
  readonly kind: string;
  /** Whether its evidence names the key, so that a thief of it gains nothing. */
  readonly bound: boolean;
  /** A sentence on what was found, or null if this is another place. May ask a local endpoint; never throws. */
  find(around: Surroundings): Promise<string | null>;
  /** @throws Error whose message holds no token */
  collect(around: Surroundings, request: EvidenceRequest): Promise<CollectedEvidence>;
}

const METADATA = 'http://169.254.169.254';
const WORKLOAD_TIMEOUT_MS = 5_000;

/** The first that is found wins; those that need a network probe come last. */
export const PLATFORMS: readonly EvidencePlatform[] = [
  {
    kind: 'file',
    bound: false,
    find: async ({ env }) => (env['SORTIE_EVIDENCE_FILE'] ? 'SORTIE_EVIDENCE_FILE names a token file' : null),
    collect: async (around) => jwt(await around.readFile(around.env['SORTIE_EVIDENCE_FILE'] ?? '')),
  },
  {
    kind: 'enrolled',
    bound: true,
    find: async (around) => {
      const path = keyFile(around);
      return path !== null && (await keyFileIsPrivate(path).catch(() => false))
        ? `an enrolled key in ${path}`
        : null;
    },
    collect: async (around, request) =>
      jwt(await signEnrolledEvidence(around, keyFile(around) ?? '', request)),
  },
  {
    kind: 'spiffe',
    bound: true,
    find: async ({ env }) =>
      workloadSocket(env['SPIFFE_ENDPOINT_SOCKET']) === null
        ? null
        : 'SPIFFE_ENDPOINT_SOCKET names a Workload API',
    collect: async ({ env }, { audience, jkt }) => {
      const socket = workloadSocket(env['SPIFFE_ENDPOINT_SOCKET']) ?? '';
      const options = { timeout_ms: WORKLOAD_TIMEOUT_MS };
      return jwt((await fetchJwtSvid(socket, boundAudience(audience, jkt), options)).token);
    },
  },
  {
    // For trust domains without JWT-SVIDs; asked for by its kind, since the one above is found first.
    kind: 'spiffe-x509',
    bound: true,
    find: async ({ env }) =>
      workloadSocket(env['SPIFFE_ENDPOINT_SOCKET']) === null
        ? null
        : 'SPIFFE_ENDPOINT_SOCKET names a Workload API',
    collect: async ({ env }, target) => {
      const socket = workloadSocket(env['SPIFFE_ENDPOINT_SOCKET']) ?? '';
      const svid = await fetchX509Svid(socket, { timeout_ms: WORKLOAD_TIMEOUT_MS });
      return { type: 'urn:sortie:token-type:x509-svid', token: await signSvidProof(svid, target) };
    },
  },
  {
    kind: 'github-actions',
    bound: true,
    find: async ({ env }) => {
      if (env['ACTIONS_ID_TOKEN_REQUEST_URL'] && env['ACTIONS_ID_TOKEN_REQUEST_TOKEN'])
        return 'a GitHub Actions job';
      return null;
    },
    collect: async (around, { audience, jkt }) => {
      const url = new URL(around.env['ACTIONS_ID_TOKEN_REQUEST_URL'] ?? '');
      url.searchParams.set('audience', boundAudience(audience, jkt));
      const authorization = `Bearer ${around.env['ACTIONS_ID_TOKEN_REQUEST_TOKEN']}`;
      return jwt(member(await readText(around, url.href, { headers: { authorization } }), 'value'));
    },
  },
  {
    kind: 'gitlab',
    bound: false,
    find: async ({ env }) =>
      env['GITLAB_CI'] && env['SORTIE_ID_TOKEN'] ? 'a GitLab job with the id_token SORTIE_ID_TOKEN' : null,
    collect: async ({ env }) => jwt(env['SORTIE_ID_TOKEN'] ?? ''),
  },
  {
    kind: 'kubernetes-bound',
    bound: true,
    find: async ({ env }) =>
      env['SORTIE_TOKEN_REQUEST'] && env['KUBERNETES_SERVICE_HOST']
        ? 'a Kubernetes API server that may be asked for tokens (SORTIE_TOKEN_REQUEST)'
        : null,
    collect: async (around, { audience, jkt }) =>
      jwt(await requestToken(around, boundAudience(audience, jkt))),
  },
  {
    kind: 'kubernetes',
    bound: false,
    find: async (around) => {
      const path = projectedToken(around);
      const there = await around.readFile(path).then(
        () => true,
        () => false,
      );
      return there ? `a projected service account token in ${path}` : null;
    },
    collect: async (around) => jwt(await around.readFile(projectedToken(around))),
  },
  {
    kind: 'gcp',
    bound: true,
    find: async (around) => {
      const answer = await probe(around, `${METADATA}/computeMetadata/v1/instance/id`, {
        'metadata-flavor': 'Google',
      });
      return answer === null ? null : 'a Google Compute Engine metadata server';
    },
    collect: async (around, { audience, jkt }) => {
      const query = new URLSearchParams({ audience: boundAudience(audience, jkt), format: 'full' });
      const url = `${METADATA}/computeMetadata/v1/instance/service-accounts/default/identity?${query}`;
      return jwt(await readText(around, url, { headers: { 'metadata-flavor': 'Google' } }));
    },
  },
  {
    kind: 'azure',
    bound: false,
    find: async (around) => {
      if (!around.env['SORTIE_AZURE_RESOURCE']) return null;
      if (around.env['IDENTITY_ENDPOINT'] && around.env['IDENTITY_HEADER'])
        return 'an Azure managed identity endpoint';
      const url = `${METADATA}/metadata/instance/compute/vmId?api-version=2021-02-01&format=text`;
      return (await probe(around, url, { metadata: 'true' })) === null
        ? null
        : 'an Azure instance metadata service';
    },
    collect: async (around) => {
      const {
        IDENTITY_ENDPOINT: endpoint,
        IDENTITY_HEADER: secret,
        SORTIE_AZURE_RESOURCE: resource = '',
      } = around.env;
      const own = endpoint !== undefined && secret !== undefined;
      const url = new URL(own ? endpoint : `${METADATA}/metadata/identity/oauth2/token`);
      url.searchParams.set('api-version', own ? '2019-08-01' : '2018-02-01');
      url.searchParams.set('resource', resource);
      const headers: Record<string, string> = own ? { 'x-identity-header': secret } : { metadata: 'true' };
      return jwt(member(await readText(around, url.href, { headers }), 'access_token'));
    },
  },
  {
    kind: 'aws-web-identity',
    bound: true,
    find: async (around) => {
      if (around.env['SORTIE_AWS_EVIDENCE'] !== 'web-identity' || region(around) === null) return null;
      const credentials = await findAwsCredentials(around).catch(() => null);
      return credentials === null ? null : `AWS outbound federation in ${region(around)}`;
    },
    collect: async (around, { audience, jkt, now }) => {
      const credentials = await findAwsCredentials(around);
      if (credentials === null) throw new Error('the AWS credentials are gone');
      const wanted = { region: region(around) ?? '', audience: boundAudience(audience, jkt), now };
      return jwt(await fetchWebIdentityToken(around, credentials, wanted));
    },
  },
  {
    kind: 'aws',
    bound: true,
    find: async (around) => {
      if (region(around) === null) return null;
      const credentials = await findAwsCredentials(around).catch(() => null);
      return credentials === null ? null : `AWS credentials in ${region(around)}`;
    },
    collect: async (around, request) => {
      const credentials = await findAwsCredentials(around);
      if (credentials === null) throw new Error('the AWS credentials are gone');
      const signed = signCallerIdentity(credentials, { region: region(around) ?? '', ...request });
      return { type: 'urn:sortie:token-type:aws-caller-identity', token: signed };
    },
  },
];

/** A token that starts its life as a file may end in a line feed; a JWS never does. */
function jwt(token: string): CollectedEvidence {
  const trimmed = token.trim();
  if (trimmed === '') throw new Error('the platform gave an empty token');
  return { type: 'urn:ietf:params:oauth:token-type:jwt', token: trimmed };
}

function keyFile({ env }: Surroundings): string | null {
  const home = env['HOME'];
  return env['SORTIE_KEY_FILE'] ?? (home ? `${home}/.config/sortie/key.json` : null);
}

function projectedToken({ env }: Surroundings): string {
  return env['SORTIE_TOKEN_FILE'] ?? '/var/run/secrets/sortie/token';
}

function region({ env }: Surroundings): string | null {
  return env['AWS_REGION'] ?? env['AWS_DEFAULT_REGION'] ?? null;
}

async function probe(
  around: Surroundings,
  url: string,
  headers: Record<string, string>,
): Promise<string | null> {
  return readText(around, url, { headers }).catch(() => null);
}

/** A text member of a JSON answer, which is not quoted if it is not there. */
function member(text: string, name: string): string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error('the platform answered no JSON');
  }
  const token = isJsonObject(value) ? value[name] : undefined;
  if (typeof token !== 'string') throw new Error(`the platform answered without "${name}"`);
  return token;
}
