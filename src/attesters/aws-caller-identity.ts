/**
 * AWS workloads without outbound federation: a GetCallerIdentity request that the workload signed (SigV4) and the
 * broker sends to STS, which answers whose signature it is.
 *
 * What the workload gives is headers and a region, nothing more: method, address and body are the broker's own, so no
 * evidence can make it call anything else. The signature must cover the broker's issuer and the thumbprint of the
 * agent's key: the request is useless to another broker, and to another key.
 *
 *     base64url(JSON {"region": "eu-west-1", "headers": {"authorization": "AWS4-HMAC-SHA256 ...", "x-amz-date": "...",
 *       "x-amz-security-token": "...", "x-sortie-issuer": "...", "x-sortie-jkt": "..."}})
 */
import { Denied } from '../domain/denial.ts';
import {
  AWS_CALLER_IDENTITY_BODY,
  AWS_ISSUER_HEADER,
  AWS_JKT_HEADER,
  isThumbprint,
} from '../domain/evidence.ts';
import { isJsonObject, type JsonObject, type JsonValue, parseJson } from '../domain/json.ts';
import type { CompiledTrustRule } from '../domain/trust.ts';
import {
  type Appraisal,
  type AppraisalContext,
  type Attester,
  digestOf,
  type ParsedEvidence,
  Refusal,
} from './attester.ts';
import { requireKey } from './claims.ts';
import type { Egress, EgressAnswer } from './egress.ts';
import { readFlatXml } from './xml.ts';

export interface AwsCallerIdentityOptions {
  readonly name: string;
  readonly audience: string;
  /** Regions whose STS may be asked. */
  readonly regions: readonly string[];
  readonly max_age_seconds: number;
  readonly leeway_seconds: number;
  readonly timeout_ms: number;
  readonly fetch: Egress;
  readonly rules: readonly CompiledTrustRule[];
}

const TYPE = 'urn:sortie:token-type:aws-caller-identity';
const CONTENT_TYPE = 'application/x-www-form-urlencoded; charset=utf-8';
/** The only headers that are forwarded. */
const ALLOWED = ['authorization', 'x-amz-date', 'x-amz-security-token', AWS_ISSUER_HEADER, AWS_JKT_HEADER];
const MUST_BE_SIGNED = ['content-type', 'host', 'x-amz-date', AWS_ISSUER_HEADER, AWS_JKT_HEADER];
const MAX_ANSWER_BYTES = 16_384;
const MAX_EVIDENCE_CHARACTERS = 16_384;

export function awsCallerIdentityAttester(options: AwsCallerIdentityOptions): Attester {
  return {
    name: options.name,
    kind: 'aws-caller-identity',
    type: TYPE,
    // The evidence names no issuer: its type alone chooses.
    issuers: [TYPE],
    trust_domain: null,
    rules: options.rules,
    appraise: (evidence, context) => appraise(options, evidence, context),
  };
}

async function appraise(
  options: AwsCallerIdentityOptions,
  evidence: ParsedEvidence,
  context: AppraisalContext,
): Promise<Appraisal> {
  const { region, headers } = readEvidence(evidence.token);
  if (!options.regions.includes(region))
    throw new Refusal('wrong_issuer', 'not a region of the configuration');
  const host = stsHost(region);
  const signature = readAuthorization(headers['authorization'] ?? '');
  checkScope(signature, headers, region);
  const signed_at = readAmzDate(headers['x-amz-date'] ?? '');
  if (signed_at > context.now + options.leeway_seconds)
    throw new Refusal('not_yet_valid', 'signed in the future');
  const expires_at = signed_at + options.max_age_seconds;
  if (context.now >= expires_at + options.leeway_seconds) throw new Refusal('expired', 'signed too long ago');
  if (headers[AWS_ISSUER_HEADER] !== options.audience)
    throw new Refusal('wrong_audience', 'signed for another broker');
  const bound_jkt = headers[AWS_JKT_HEADER] ?? '';
  if (!isThumbprint(bound_jkt))
    throw new Refusal('claim_missing', `${AWS_JKT_HEADER} is not a key thumbprint`);
  requireKey(bound_jkt, context);
  return {
    claims: await ask(options, host, headers),
    tier: 'bound',
    degraded: false,
    // Of what was signed: spaces in a header must not make new evidence of old.
    digest: digestOf(`${signature.credential} ${signature.signed_headers.join(';')} ${signature.signature}`),
    bound_jkt,
    expires_at,
    once: null,
    identity: null,
  };
}

/* ---------------------------------------------------------------- the signed request */

function readEvidence(token: string): { region: string; headers: Readonly<Record<string, string>> } {
  const malformed = (detail: string) => new Refusal('evidence_malformed', detail);
  if (token.length > MAX_EVIDENCE_CHARACTERS)
    throw new Refusal('evidence_too_large', 'larger than a signed request');
  const bytes = Buffer.from(token, 'base64url');
  if (bytes.toString('base64url') !== token) throw malformed('not base64url');
  let value: JsonValue;
  try {
    value = parseJson(bytes.toString('utf8'), { max_depth: 3, max_members: 32 });
  } catch (error) {
    throw malformed(error instanceof Denied ? error.private_reason : 'not JSON');
  }
  if (!isJsonObject(value)) throw malformed('not a JSON object');
  const { region, headers, ...rest } = value;
  if (typeof region !== 'string' || !isJsonObject(headers) || Object.keys(rest).length > 0) {
    throw malformed('exactly region and headers are wanted');
  }
  for (const [name, text] of Object.entries(headers)) {
    if (!ALLOWED.includes(name)) throw malformed('a header is not one of those that are forwarded');
    // Visible ASCII and space: no line can be smuggled into the request.
    if (typeof text !== 'string' || !/^[\x20-\x7e]{1,8192}$/.test(text))
      throw malformed('a header is not plain text');
  }
  return { region, headers: headers as Readonly<Record<string, string>> };
}

interface Authorization {
  readonly credential: string;
  readonly signed_headers: readonly string[];
  readonly signature: string;
}

/** `AWS4-HMAC-SHA256 Credential=..., SignedHeaders=..., Signature=...`, each once. */
function readAuthorization(text: string): Authorization {
  const [scheme, rest] = [text.slice(0, text.indexOf(' ')), text.slice(text.indexOf(' ') + 1)];
  const parts = new Map(
    rest.split(',').map((part) => {
      const [name = '', value = ''] = part.trim().split('=', 2);
      return [name, value];
    }),
  );
  const signature = parts.get('Signature') ?? '';
  if (scheme !== 'AWS4-HMAC-SHA256' || parts.size !== 3 || !/^[0-9a-f]{64}$/.test(signature)) {
    throw new Refusal('evidence_malformed', 'authorization is not a SigV4 signature');
  }
  return {
    credential: parts.get('Credential') ?? '',
    signed_headers: (parts.get('SignedHeaders') ?? '').split(';'),
    signature,
  };
}

function checkScope(
  signature: Authorization,
  headers: Readonly<Record<string, string>>,
  region: string,
): void {
  const [key_id, date, scope_region, service, end, more] = signature.credential.split('/');
  const sound =
    /^[A-Z0-9]{16,128}$/.test(key_id ?? '') &&
    date === (headers['x-amz-date'] ?? '').slice(0, 8) &&
    scope_region === region &&
    service === 'sts' &&
    end === 'aws4_request' &&
    more === undefined;
  if (!sound)
    throw new Refusal('evidence_malformed', 'the credential scope is not of STS, this region and this day');
  const names = [
    ...MUST_BE_SIGNED,
    ...(headers['x-amz-security-token'] === undefined ? [] : ['x-amz-security-token']),
  ];
  const covered = signature.signed_headers;
  if (!names.every((name) => covered.includes(name)) || covered.length !== names.length) {
    throw new Refusal('evidence_malformed', `the signature must cover exactly ${names.join(', ')}`);
  }
}

/** `YYYYMMDD'T'HHMMSS'Z'`, to seconds. */
function readAmzDate(text: string): number {
  const parts = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(text);
  const [, year, month, day, hour, minute, second] = parts ?? [];
  const seconds = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`) / 1000;
  if (!Number.isFinite(seconds)) throw new Refusal('evidence_malformed', 'x-amz-date is not a date');
  return seconds;
}

/** STS of a region. The region came through the configuration's list. */
function stsHost(region: string): string {
  return `sts.${region}.amazonaws.com${region.startsWith('cn-') ? '.cn' : ''}`;
}

/* ---------------------------------------------------------------- the answer */

const RESULT = 'GetCallerIdentityResponse/GetCallerIdentityResult';

async function ask(
  options: AwsCallerIdentityOptions,
  host: string,
  headers: Readonly<Record<string, string>>,
): Promise<JsonObject> {
  const answer = await post(options, host, headers);
  if (answer.status >= 500 || answer.status === 429) {
    throw new Refusal('platform_unavailable', `STS answered ${answer.status}`);
  }
  if (answer.status !== 200) throw new Refusal('platform_refused', `STS answered ${answer.status}`);
  const answered = readFlatXml(answer.body);
  if (answered === null) throw new Refusal('platform_unavailable', 'STS answered no XML of this call');
  const [arn, account, user_id] = ['Arn', 'Account', 'UserId'].map(
    (name) => answered.get(`${RESULT}/${name}`) ?? '',
  );
  return identityClaims(arn ?? '', account ?? '', user_id ?? '');
}

async function post(
  options: AwsCallerIdentityOptions,
  host: string,
  headers: Readonly<Record<string, string>>,
): Promise<EgressAnswer> {
  try {
    return await options.fetch({
      url: `https://${host}/`,
      method: 'POST',
      headers: { ...headers, 'content-type': CONTENT_TYPE, accept: 'text/xml' },
      body: AWS_CALLER_IDENTITY_BODY,
      max_bytes: MAX_ANSWER_BYTES,
      timeout_ms: options.timeout_ms,
      allow_private_addresses: false,
    });
  } catch (error) {
    throw new Refusal(
      'platform_unavailable',
      error instanceof Error ? error.message : 'STS cannot be reached',
    );
  }
}

/**
 * `arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION` or `arn:aws:iam::ACCOUNT:user/NAME`, with the unique id (`AROA...`)
 * that a role made anew under an old name does not have.
 */
function identityClaims(arn: string, account: string, user_id: string): JsonObject {
  const [prefix, partition, service, , arn_account, resource, more] = arn.split(':');
  const [principal_id = '', session] = user_id.split(':', 2);
  const sound =
    prefix === 'arn' &&
    partition?.startsWith('aws') === true &&
    (service === 'sts' || service === 'iam') &&
    /^\d{12}$/.test(account) &&
    arn_account === account &&
    more === undefined &&
    /^[A-Z0-9]{12,128}$/.test(principal_id);
  if (!sound || resource === undefined)
    throw new Refusal('platform_refused', 'STS named no principal of its account');
  const [kind = '', ...path] = resource.split('/');
  const name = (kind === 'assumed-role' ? path[0] : path.at(-1)) ?? '';
  return { arn, account, user_id, principal_id, principal_type: kind, name, ...(session ? { session } : {}) };
}
