/** One S3 request with AWS Signature Version 4, so that a test needs no S3 client. */
import { createHash, createHmac } from 'node:crypto';

export interface S3Keys {
  readonly access_key_id: string;
  readonly secret_access_key: string;
  readonly session_token?: string;
}

/** @returns the status and the body */
export async function s3(
  endpoint: string,
  keys: S3Keys,
  method: string,
  path: string,
  body = '',
): Promise<{ readonly status: number; readonly body: string }> {
  const url = new URL(path, endpoint);
  const time = new Date().toISOString().replaceAll(/[-:]/g, '').replace(/\.\d+/, '');
  const scope = `${time.slice(0, 8)}/us-east-1/s3/aws4_request`;
  const payload = sha256(body);
  const headers: Record<string, string> = {
    host: url.host,
    'x-amz-content-sha256': payload,
    'x-amz-date': time,
    ...(keys.session_token === undefined ? {} : { 'x-amz-security-token': keys.session_token }),
  };
  const names = Object.keys(headers).sort();
  const canonical = [
    method,
    url.pathname,
    url.searchParams.toString(),
    ...names.map((name) => `${name}:${headers[name]}`),
    '',
    names.join(';'),
    payload,
  ].join('\n');
  const to_sign = ['AWS4-HMAC-SHA256', time, scope, sha256(canonical)].join('\n');
  const key = scope
    .split('/')
    .reduce<Buffer | string>((parent, part) => hmac(parent, part), `AWS4${keys.secret_access_key}`);
  const { host: _host, ...sent } = headers;
  const answer = await fetch(url, {
    method,
    headers: {
      ...sent,
      authorization: `AWS4-HMAC-SHA256 Credential=${keys.access_key_id}/${scope}, SignedHeaders=${names.join(';')}, Signature=${hmac(key, to_sign).toString('hex')}`,
    },
    ...(body === '' ? {} : { body }),
  });
  return { status: answer.status, body: await answer.text() };
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function hmac(key: Buffer | string, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}
