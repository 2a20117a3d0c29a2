/**
 * `kubernetes_token`: the TokenRequest API, bound to a Secret that exists for the lease alone. The Secret's name
 * is known before anything exists, and deleting it ends the token: the API server checks the bound object.
 */

import { createHash } from 'node:crypto';
import { type KubernetesToken, kubernetesToken } from '../../domain/authority/types/kubernetes_token.ts';
import { Denied } from '../../domain/denial.ts';
import { isJsonObject, type JsonObject } from '../../domain/json.ts';
import { rfc3339 } from '../../domain/reader.ts';
import { objectOf, send } from '../http.ts';
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

export interface KubernetesCluster {
  /** As entries name it. */
  readonly name: string;
  /** Base URL of the API server. */
  readonly url: string;
  readonly ca?: string;
  /** The broker's own token, asked for at each request: mounted ones are rotated. */
  readonly token: () => string;
  readonly timeout_ms: number;
}

export interface KubernetesTokenOptions {
  readonly clusters: readonly KubernetesCluster[];
}

const PROVIDER = 'kubernetes_token';
/** The API's own floor; what must end earlier is ended by deleting the Secret. */
const MIN_SECONDS = 600;
const MAX_SECONDS = 86_400;
/** How long an API server may go on taking a token that it authenticated a moment ago. */
const CACHE_SECONDS = 10;

/** Name of the Secret of a lease. */
export function secretNameOf(lease_id: string): string {
  return `sortie-${createHash('sha256').update(lease_id).digest('hex').slice(0, 40)}`;
}

export function createKubernetesTokens(options: KubernetesTokenOptions): Provider<KubernetesToken> {
  const clusters = new Map(options.clusters.map((cluster) => [cluster.name, cluster]));

  async function call(
    cluster: KubernetesCluster,
    method: string,
    path: string,
    step: string,
    body?: JsonObject,
  ): Promise<{ readonly status: number; readonly object: JsonObject }> {
    const answer = await send({
      provider: PROVIDER,
      step,
      url: `${cluster.url}/api/v1/namespaces/${path}`,
      method,
      headers: {
        accept: 'application/json',
        authorization: `Bearer ${cluster.token()}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      timeout_ms: cluster.timeout_ms,
      ...(cluster.ca === undefined ? {} : { ca: cluster.ca }),
    });
    if (answer.status === 404) return { status: 404, object: {} };
    if (answer.status === 429 || answer.status >= 500)
      throw new ProviderFault(PROVIDER, 'unavailable', `${step}: status ${answer.status}`);
    if (answer.status >= 400)
      throw new ProviderFault(PROVIDER, 'refused', `${step}: status ${answer.status}`);
    return { status: answer.status, object: objectOf(PROVIDER, answer.body, step) };
  }

  function residual(expires_at: number, now: number): Residual {
    return {
      seconds: Math.max(0, Math.min(CACHE_SECONDS, Math.ceil(expires_at - now))),
      why: 'the API server remembers authenticated tokens for a moment; who checks signatures alone sees no revocation',
    };
  }

  async function remove(revocation: Revocation): Promise<void> {
    const { cluster: name, namespace, secret } = revocation;
    const cluster = typeof name === 'string' ? clusters.get(name) : undefined;
    if (cluster === undefined || typeof namespace !== 'string' || typeof secret !== 'string')
      throw new ProviderFault(PROVIDER, 'misconfigured', 'the lease names a cluster that is not configured');
    await call(cluster, 'DELETE', `${namespace}/secrets/${secret}`, 'deleting the bound object');
  }

  return {
    type: 'kubernetes_token',
    entry: kubernetesToken,
    gap: 'pre-named',
    ttl: { min_seconds: 1, max_seconds: MAX_SECONDS },
    target: (entry) => `${entry.cluster}/${entry.namespace}/${entry.service_account}`,

    plan({ entry, lease_id }) {
      if (!clusters.has(entry.cluster))
        throw new Denied({
          tag: 'invalid_authorization_details',
          detail: `kubernetes_token: there is no cluster "${entry.cluster}"`,
        });
      return { cluster: entry.cluster, namespace: entry.namespace, secret: secretNameOf(lease_id) };
    },

    async issue(request: LeaseRequest<KubernetesToken>, { now }: IssueContext): Promise<Issued> {
      const { entry, mission } = request;
      const revocation = this.plan(request, now);
      const cluster = clusters.get(entry.cluster);
      if (cluster === undefined) throw new ProviderFault(PROVIDER, 'misconfigured', 'no such cluster');
      const until = endOf(request, now, MAX_SECONDS);
      try {
        const name = secretNameOf(request.lease_id);
        const made = await call(cluster, 'POST', `${entry.namespace}/secrets`, 'making the bound object', {
          apiVersion: 'v1',
          kind: 'Secret',
          metadata: {
            name,
            labels: { 'app.kubernetes.io/managed-by': 'sortie', 'sortie/mission': mission.id },
          },
        });
        const uid = isJsonObject(made.object['metadata']) ? made.object['metadata']['uid'] : undefined;
        if (typeof uid !== 'string')
          throw new ProviderFault(
            PROVIDER,
            'misconfigured',
            'making the bound object: there is no such namespace',
          );
        const path = `${entry.namespace}/serviceaccounts/${entry.service_account}/token`;
        const { object } = await call(cluster, 'POST', path, 'requesting a token', {
          apiVersion: 'authentication.k8s.io/v1',
          kind: 'TokenRequest',
          spec: {
            audiences: entry.audiences,
            expirationSeconds: Math.max(MIN_SECONDS, until - Math.floor(now)),
            boundObjectRef: { apiVersion: 'v1', kind: 'Secret', name, uid },
          },
        });
        const status = isJsonObject(object['status']) ? object['status'] : {};
        const { token, expirationTimestamp } = status;
        if (typeof token !== 'string' || typeof expirationTimestamp !== 'string')
          throw new ProviderFault(
            PROVIDER,
            'misconfigured',
            'requesting a token: there is no such service account',
          );
        const expires_at = Math.min(until, Math.floor(Date.parse(expirationTimestamp) / 1000));
        const { namespace, audiences } = entry;
        return {
          deliver: { server: cluster.url, namespace, audiences, token, expires_at: rfc3339(expires_at) },
          revocation,
          expires_at,
        };
      } catch (cause) {
        // Without its Secret no token of this lease works; if this fails, the pending lease says what to delete.
        await remove(revocation).catch(() => undefined);
        throw cause;
      }
    },

    async revoke(revocation, now) {
      await remove(revocation);
      return residual(now + CACHE_SECONDS, now);
    },

    residual,

    close: async () => {},
  };
}
