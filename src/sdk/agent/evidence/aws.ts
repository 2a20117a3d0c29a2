/**
 * Evidence on AWS: finds the workload's credentials and signs with them (SigV4), either a GetCallerIdentity request that
 * the broker will send, or a call for a JWT. The credentials never leave the process.
 */
import { createHash, createHmac } from 'node:crypto';
import { AWS_CALLER_IDENTITY_BODY, AWS_ISSUER_HEADER, AWS_JKT_HEADER } from '../../../domain/evidence.ts';
import { isJsonObject } from '../../../domain/json.ts';
import { readText, type Surroundings } from './surroundings.ts';

export interface AwsCredentials {
  readonly access_key_id: string;
  readonly secret_access_key: string;
  readonly session_token: string | null;
}

const CONTENT_TYPE = 'application/x-www-form-urlencoded; charset=utf-8';
const METADATA = 'http://169.254.169.254/latest';
const CONTAINER_HOST = 'http://169.254.170.2';
/** Hosts besides loopback to which the container agents of ECS and EKS may point. */
const CONTAINER_HOSTS = [
  '169.254.170.2',
  '169.254.170.23',
  '[fd00:ec2::23]',
  '127.0.0.1',
  'localhost',
  '[::1]',
];

/**
 * Environment, then container endpoint, then instance metadata (IMDSv2).
 * @returns null where the workload has no AWS credentials
 */
export async function findAwsCredentials(around: Surroundings): Promise<AwsCredentials | null> {
  const { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN } = around.env;
  if (AWS_ACCESS_KEY_ID && AWS_SECRET_ACCESS_KEY) {
    return {
      access_key_id: AWS_ACCESS_KEY_ID,
      secret_access_key: AWS_SECRET_ACCESS_KEY,
      session_token: AWS_SESSION_TOKEN ?? null,
    };
  }
  const container = containerAddress(around);
  if (container !== null) {
    const { AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: file, AWS_CONTAINER_AUTHORIZATION_TOKEN: token } =
      around.env;
    const authorization = file ? (await around.readFile(file)).trim() : token;
    return readCredentials(
      await readText(around, container, authorization ? { headers: { authorization } } : {}),
    );
  }
  return instanceCredentials(around);
}

function containerAddress(around: Surroundings): string | null {
  const { AWS_CONTAINER_CREDENTIALS_RELATIVE_URI: relative, AWS_CONTAINER_CREDENTIALS_FULL_URI: full } =
    around.env;
  if (relative) return CONTAINER_HOST + relative;
  if (!full || !URL.canParse(full)) return null;
  const { protocol, hostname } = new URL(full);
  return protocol === 'https:' || CONTAINER_HOSTS.includes(hostname) ? full : null;
}

async function instanceCredentials(around: Surroundings): Promise<AwsCredentials | null> {
  try {
    const session = await readText(around, `${METADATA}/api/token`, {
      method: 'PUT',
      headers: { 'x-aws-ec2-metadata-token-ttl-seconds': '60' },
    });
    const headers = { 'x-aws-ec2-metadata-token': session };
    const path = `${METADATA}/meta-data/iam/security-credentials/`;
    const role = (await readText(around, path, { headers })).trim();
    return readCredentials(await readText(around, path + encodeURIComponent(role), { headers }));
  } catch {
    return null;
  }
}

function readCredentials(text: string): AwsCredentials | null {
  const value: unknown = JSON.parse(text);
  if (!isJsonObject(value)) return null;
  const { AccessKeyId, SecretAccessKey, Token } = value;
  if (typeof AccessKeyId !== 'string' || typeof SecretAccessKey !== 'string') return null;
  return {
    access_key_id: AccessKeyId,
    secret_access_key: SecretAccessKey,
    session_token: typeof Token === 'string' ? Token : null,
  };
}

/**
 * The evidence: a signed request for this broker and this key. It is the broker that sends it.
 * @param now seconds since the epoch
 */
export function signCallerIdentity(
  credentials: AwsCredentials,
  request: { readonly region: string; readonly audience: string; readonly jkt: string; readonly now: number },
): string {
  const { region, audience, jkt, now } = request;
  const extra = { [AWS_ISSUER_HEADER]: audience, [AWS_JKT_HEADER]: jkt };
  const {
    host: _host,
    'content-type': _type,
    ...headers
  } = signSts(credentials, { region, now, body: AWS_CALLER_IDENTITY_BODY, extra });
  return Buffer.from(JSON.stringify({ region, headers })).toString('base64url');
}

/**
 * A JWT that AWS signs for one audience (outbound federation must be on for the account).
 * @throws Error that holds neither token nor credentials
 */
export async function fetchWebIdentityToken(
  around: Surroundings,
  credentials: AwsCredentials,
  request: { readonly region: string; readonly audience: string; readonly now: number },
): Promise<string> {
  const { region, audience, now } = request;
  const body = new URLSearchParams({
    Action: 'GetWebIdentityToken',
    Version: '2011-06-15',
    'Audience.member.1': audience,
    DurationSeconds: '300',
    SigningAlgorithm: 'ES384',
  }).toString();
  const { host: _host, ...headers } = signSts(credentials, { region, now, body, extra: {} });
  const answer = await readText(around, `https://${stsHost(region)}/`, { method: 'POST', headers, body });
  const [, after = ''] = answer.split('<WebIdentityToken>');
  const end = after.indexOf('</WebIdentityToken>');
  if (end < 1) throw new Error('STS answered without a token');
  return after.slice(0, end).trim();
}

function stsHost(region: string): string {
  return `sts.${region}.amazonaws.com${region.startsWith('cn-') ? '.cn' : ''}`;
}

/** Headers of a POST to STS, signed (AWS Signature Version 4). */
function signSts(
  credentials: AwsCredentials,
  request: {
    readonly region: string;
    readonly now: number;
    readonly body: string;
    readonly extra: Readonly<Record<string, string>>;
  },
): Record<string, string> {
  const { region } = request;
  const date = new Date(request.now * 1000).toISOString().replace(/[-:]|\.\d{3}/g, '');
  const scope = `${date.slice(0, 8)}/${region}/sts/aws4_request`;
  const signed: Record<string, string> = {
    'content-type': CONTENT_TYPE,
    host: stsHost(region),
    'x-amz-date': date,
    ...(credentials.session_token === null ? {} : { 'x-amz-security-token': credentials.session_token }),
    ...request.extra,
  };
  const names = Object.keys(signed).sort();
  const canonical = [
    'POST',
    '/',
    '',
    ...names.map((name) => `${name}:${signed[name]}`),
    '',
    names.join(';'),
    sha256(request.body),
  ].join('\n');
  const to_sign = ['AWS4-HMAC-SHA256', date, scope, sha256(canonical)].join('\n');
  const key = [date.slice(0, 8), region, 'sts', 'aws4_request'].reduce<Buffer>(
    (key, part) => hmac(key, part),
    Buffer.from(`AWS4${credentials.secret_access_key}`),
  );
  return {
    ...signed,
    authorization: `AWS4-HMAC-SHA256 Credential=${credentials.access_key_id}/${scope}, SignedHeaders=${names.join(';')}, Signature=${hmac(key, to_sign).toString('hex')}`,
  };
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}
