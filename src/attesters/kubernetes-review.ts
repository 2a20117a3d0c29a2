/**
 * Kubernetes, live: the API server itself is asked whether a service account token is good now (TokenReview,
 * authentication.k8s.io/v1), for this audience, and whether the pod it is bound to still runs.
 *
 * A token outlives its pod by up to an hour; only this check ends with the pod. When the API server cannot be
 * asked, the offline check of the signature may stand in for it, marked as degraded: a trust rule admits that only
 * by naming the lower tier itself. When the API server says no, nothing stands in.
 */
import { isJsonObject, type JsonObject, type JsonValue, parseJson } from '../domain/json.ts';
import {
  type Appraisal,
  type AppraisalContext,
  type Attester,
  type ParsedEvidence,
  Refusal,
} from './attester.ts';
import { type Egress, type EgressAnswer, readCapped } from './egress.ts';
import { requireJws } from './oidc.ts';

export interface KubernetesReviewOptions {
  /** Address of the API server. */
  readonly api_server: string;
  /** The broker's own service account token, read anew for each call. */
  readonly token_file: string;
  readonly ca_file: string | null;
  readonly check_pod: boolean;
  readonly audience: string;
  readonly allow_private_addresses: boolean;
  readonly timeout_ms: number;
  readonly fetch: Egress;
}

const MAX_ANSWER_BYTES = 262_144;
const POD_UID = 'authentication.kubernetes.io/pod-uid';

/** The offline attester with the live check on top. */
export function reviewedKubernetes(offline: Attester, options: KubernetesReviewOptions): Attester {
  return { ...offline, appraise: (evidence, context) => appraise(offline, options, evidence, context) };
}

async function appraise(
  offline: Attester,
  options: KubernetesReviewOptions,
  evidence: ParsedEvidence,
  context: AppraisalContext,
): Promise<Appraisal> {
  // First what costs the API server nothing: a stranger's text never reaches it.
  const appraisal = await offline.appraise(evidence, context);
  const audience = appraisal.bound_jkt === null ? options.audience : singleAudience(evidence);
  try {
    await review(options, evidence.token, audience, appraisal.claims);
    if (options.check_pod) await checkPod(options, appraisal.claims);
  } catch (error) {
    if (!(error instanceof Refusal) || error.code !== 'platform_unavailable') throw error;
    return { ...appraisal, tier: 'reusable', degraded: true };
  }
  return { ...appraisal, tier: appraisal.bound_jkt === null ? 'live' : 'bound' };
}

async function review(
  options: KubernetesReviewOptions,
  token: string,
  audience: string,
  claims: JsonObject,
): Promise<void> {
  const answer = await call(options, 'POST', '/apis/authentication.k8s.io/v1/tokenreviews', {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenReview',
    spec: { token, audiences: [audience] },
  });
  if (answer.status !== 201 && answer.status !== 200)
    throw unavailable(`TokenReview answered ${answer.status}`);
  const status = member(parseAnswer(answer), 'status');
  const user = member(status, 'user');
  if (!isJsonObject(status) || status['authenticated'] !== true)
    throw refused('the API server does not know this token');
  // An API server that ignores audiences answers without them: that is no check of the audience.
  const audiences = status['audiences'];
  if (!Array.isArray(audiences) || !audiences.includes(audience))
    throw refused('reviewed for another audience');
  if (member(user, 'username') !== claims['sub']) throw refused('reviewed as another user');
  const bound = claims['kubernetes.io'];
  if (member(user, 'uid') !== member(member(bound, 'serviceaccount'), 'uid')) {
    throw refused('the service account was made anew since');
  }
  const pods = member(member(user, 'extra'), POD_UID);
  const pod_uid = member(member(bound, 'pod'), 'uid');
  if (!Array.isArray(pods) || pods.length !== 1 || pods[0] !== pod_uid)
    throw refused('reviewed for another pod');
}

/** The pod of the token exists, is the same one, belongs to the service account, and is not on its way out. */
async function checkPod(options: KubernetesReviewOptions, claims: JsonObject): Promise<void> {
  const bound = claims['kubernetes.io'];
  const namespace = segment(member(bound, 'namespace'));
  const name = segment(member(member(bound, 'pod'), 'name'));
  const answer = await call(options, 'GET', `/api/v1/namespaces/${namespace}/pods/${name}`);
  if (answer.status === 404) throw refused('the pod is gone');
  if (answer.status !== 200) throw unavailable(`the pod's record answered ${answer.status}`);
  const pod = parseAnswer(answer);
  const metadata = member(pod, 'metadata');
  if (member(metadata, 'uid') !== member(member(bound, 'pod'), 'uid')) throw refused('the pod was replaced');
  if (member(metadata, 'deletionTimestamp') !== undefined) throw refused('the pod is being deleted');
  if (member(member(pod, 'spec'), 'serviceAccountName') !== member(member(bound, 'serviceaccount'), 'name')) {
    throw refused('the pod runs as another service account');
  }
  const phase = member(member(pod, 'status'), 'phase');
  if (phase !== 'Running' && phase !== 'Pending') throw refused('the pod no longer runs');
}

async function call(
  options: KubernetesReviewOptions,
  method: 'GET' | 'POST',
  path: string,
  body?: JsonObject,
): Promise<EgressAnswer> {
  try {
    const own = (await readCapped(options.token_file, 65_536)).trim();
    return await options.fetch({
      url: options.api_server.replace(/\/$/, '') + path,
      method,
      headers: { authorization: `Bearer ${own}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      max_bytes: MAX_ANSWER_BYTES,
      timeout_ms: options.timeout_ms,
      allow_private_addresses: options.allow_private_addresses,
      ...(options.ca_file === null ? {} : { ca: await readCapped(options.ca_file, 262_144) }),
    });
  } catch (error) {
    throw unavailable(error instanceof Error ? error.message : 'the API server cannot be reached');
  }
}

function parseAnswer(answer: EgressAnswer): JsonValue {
  try {
    return parseJson(answer.body, { max_bytes: MAX_ANSWER_BYTES, max_depth: 32 });
  } catch {
    throw unavailable('the API server answered no JSON');
  }
}

/** The audience of a token that was already checked to have exactly one. */
function singleAudience(evidence: ParsedEvidence): string {
  const aud = requireJws(evidence).claims['aud'];
  return String(Array.isArray(aud) ? aud[0] : aud);
}

/** A Kubernetes name as a path segment (RFC 1123 labels and dots); anything else never reaches an address. */
function segment(value: JsonValue | undefined): string {
  if (typeof value !== 'string' || !/^[a-z0-9][a-z0-9.-]{0,252}$/.test(value))
    throw refused('not a Kubernetes name');
  return value;
}

function member(value: JsonValue | undefined, name: string): JsonValue | undefined {
  return isJsonObject(value) && Object.hasOwn(value, name) ? value[name] : undefined;
}

const refused = (detail: string) => new Refusal('platform_refused', detail);
const unavailable = (detail: string) => new Refusal('platform_unavailable', detail);
