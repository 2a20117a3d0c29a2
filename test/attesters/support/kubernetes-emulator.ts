/**
 * An emulator of the two Kubernetes API calls that the broker makes, written from the public API reference
 * (authentication.k8s.io/v1 TokenReview, core/v1 Pod). It is not a Kubernetes API server.
 */
import { decodeJwt } from 'jose';
import { type LocalIssuer, startIssuer } from './issuer.ts';

export interface KubernetesEmulator {
  readonly url: string;
  readonly reviews: { token: string; audiences: string[]; authorization: string | undefined }[];
  /** Tokens are good while their pod's uid is in here. */
  readonly pods: Map<string, { uid: string; serviceAccountName: string; deleting?: boolean; phase?: string }>;
  /** Changes the status of a review. */
  bend: ((status: Record<string, unknown>) => Record<string, unknown>) | null;
  /** Answers every call with this HTTP status. */
  fail: number | null;
  readonly server: LocalIssuer;
  close(): Promise<void>;
}

export async function startKubernetesEmulator(): Promise<KubernetesEmulator> {
  const server = await startIssuer();
  const emulator: KubernetesEmulator = {
    url: server.url,
    reviews: [],
    pods: new Map(),
    bend: null,
    fail: null,
    server,
    close: () => server.close(),
  };
  server.answer = (request, response) => {
    const reply = (status: number, body: unknown) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    if (emulator.fail !== null) return reply(emulator.fail, { kind: 'Status' });
    if (request.method === 'GET') {
      const [, namespace, name] =
        /^\/api\/v1\/namespaces\/([^/]+)\/pods\/([^/]+)$/.exec(request.url ?? '') ?? [];
      const pod = emulator.pods.get(`${namespace}/${name}`);
      if (!pod) return reply(404, { kind: 'Status', code: 404 });
      return reply(200, {
        kind: 'Pod',
        metadata: {
          name,
          namespace,
          uid: pod.uid,
          ...(pod.deleting ? { deletionTimestamp: '2026-01-01T00:00:00Z' } : {}),
        },
        spec: { serviceAccountName: pod.serviceAccountName },
        status: { phase: pod.phase ?? 'Running' },
      });
    }
    let text = '';
    request.on('data', (chunk) => {
      text += chunk;
    });
    request.on('end', () => {
      const { spec } = JSON.parse(text) as { spec: { token: string; audiences: string[] } };
      emulator.reviews.push({ ...spec, authorization: request.headers.authorization });
      const claims = decodeJwt(spec.token) as {
        aud: string[];
        sub: string;
        'kubernetes.io': {
          serviceaccount: { uid: string };
          pod: { name: string; uid: string };
          namespace: string;
        };
      };
      const bound = claims['kubernetes.io'];
      const alive = emulator.pods.get(`${bound.namespace}/${bound.pod.name}`)?.uid === bound.pod.uid;
      const status = alive
        ? {
            authenticated: true,
            audiences: spec.audiences.filter((audience) => claims.aud.includes(audience)),
            user: {
              username: claims.sub,
              uid: bound.serviceaccount.uid,
              groups: ['system:serviceaccounts'],
              extra: {
                'authentication.kubernetes.io/pod-name': [bound.pod.name],
                'authentication.kubernetes.io/pod-uid': [bound.pod.uid],
              },
            },
          }
        : { authenticated: false, error: 'pod is gone' };
      reply(201, { kind: 'TokenReview', status: emulator.bend?.(status) ?? status });
    });
  };
  return emulator;
}
