/**
 * A service account token for an audience of the workload's choosing (TokenRequest, authentication.k8s.io/v1), bound to
 * the pod that asks: a projected volume has one audience for all its keys, this names the key.
 */
import { isJsonObject, type JsonValue } from '../../../domain/json.ts';
import type { Surroundings } from './surroundings.ts';

const OWN = '/var/run/secrets/kubernetes.io/serviceaccount';
/** The shortest that the API server grants. */
const TOKEN_SECONDS = 600;

/** @throws Error that names the API server's status and no token */
export async function requestToken(around: Surroundings, audience: string): Promise<string> {
  const [own, ca] = await Promise.all([around.readFile(`${OWN}/token`), around.readFile(`${OWN}/ca.crt`)]);
  const { namespace, service_account, pod, pod_uid } = identityOf(own.trim());
  const { KUBERNETES_SERVICE_HOST: host = '', KUBERNETES_SERVICE_PORT: port = '443' } = around.env;
  const authority = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
  const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${service_account}/token`;
  const { status, text } = await around.postTrusting(`https://${authority}${path}`, {
    ca,
    headers: { authorization: `Bearer ${own.trim()}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      spec: {
        audiences: [audience],
        expirationSeconds: TOKEN_SECONDS,
        boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: pod, uid: pod_uid },
      },
    }),
  });
  if (status !== 201 && status !== 200) {
    throw new Error(
      `the API server answered ${status}: the service account may need "create" on serviceaccounts/token`,
    );
  }
  const token = member(member(parse(text), 'status'), 'token');
  if (typeof token !== 'string') throw new Error('the API server answered without a token');
  return token;
}

/** What the pod's own token says of it. It is not verified here: it only fills in the request. */
function identityOf(token: string) {
  const claims = parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8'));
  const bound = member(claims, 'kubernetes.io');
  const [namespace, service_account, pod, pod_uid] = [
    member(bound, 'namespace'),
    member(member(bound, 'serviceaccount'), 'name'),
    member(member(bound, 'pod'), 'name'),
    member(member(bound, 'pod'), 'uid'),
  ].map((value) => (typeof value === 'string' && /^[a-z0-9][a-z0-9.-]*$/.test(value) ? value : null));
  if (!namespace || !service_account || !pod || !pod_uid) throw new Error('the pod’s own token names no pod');
  return { namespace, service_account, pod, pod_uid };
}

function parse(text: string): JsonValue {
  try {
    return JSON.parse(text) as JsonValue;
  } catch {
    throw new Error('not JSON');
  }
}

function member(value: JsonValue | undefined, name: string): JsonValue | undefined {
  return isJsonObject(value) ? value[name] : undefined;
}
