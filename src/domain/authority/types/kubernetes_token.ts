/** `kubernetes_token`: a token of one service account, for these audiences, bound to an object that is deleted. */

import type { JsonObject } from '../../json.ts';
import type { EntryType } from '../entry_type.ts';
import type { ProviderEntry } from '../model.ts';
import { badAuthority, member, readObject, readText, readTexts } from '../parse.ts';
import { boundsRefusal, readBounds, TTL_BOUND, tightestBounds } from './bounds.ts';
import { commonTexts, differingName, listRefusal, readName } from './names.ts';

export const KUBERNETES_TOKEN = 'kubernetes_token';

export interface KubernetesToken extends ProviderEntry {
  readonly type: 'kubernetes_token';
  /** Name of a configured cluster. */
  readonly cluster: string;
  readonly namespace: string;
  readonly service_account: string;
  /** Never left out: the default audience is the API server itself, which is a right of its own. */
  readonly audiences: readonly string[];
}

const NAMES = ['cluster', 'namespace', 'service_account'] as const;
const MEMBERS = ['type', ...NAMES, 'audiences', 'max_ttl_seconds'];
const MAX_AUDIENCES = 8;

export const kubernetesToken: EntryType<KubernetesToken> = {
  type: KUBERNETES_TOKEN,

  parse(value, path) {
    const object = readObject(value, path, MEMBERS);
    readName(member(object, 'cluster'), `${path}.cluster`);
    readLabel(member(object, 'namespace'), `${path}.namespace`, 63, false);
    readLabel(member(object, 'service_account'), `${path}.service_account`, 253, true);
    readTexts(member(object, 'audiences'), `${path}.audiences`, MAX_AUDIENCES);
    readBounds(object, path, TTL_BOUND);
    return object as unknown as KubernetesToken;
  },

  within: (a, b) =>
    differingName(a, b, NAMES) ?? listRefusal(a, b, 'audiences') ?? boundsRefusal(a, b, TTL_BOUND),

  intersect(a, b) {
    const refusal = differingName(a, b, NAMES);
    if (refusal !== null) return { refusal };
    const audiences = commonTexts(a, b, 'audiences') ?? [];
    if (audiences.length === 0)
      return {
        refusal: { code: 'member_broader', key: 'audiences', value: a.audiences, allowed: b.audiences },
      };
    return { entry: write(a, audiences, tightestBounds(a, b, TTL_BOUND)) };
  },

  normalize: (entry) => write(entry, [...entry.audiences].sort(), tightestBounds(entry, entry, TTL_BOUND)),

  resourceOf: (entry) => `kubernetes://${entry.cluster}/${entry.namespace}/${entry.service_account}`,

  describe: (entry) =>
    `Allows a token of service account ${entry.namespace}/${entry.service_account} on ${entry.cluster} for ${entry.audiences.join(', ')}.`,
};

/** A DNS label, or a subdomain of such: what Kubernetes takes as a name, and nothing that changes a path. */
function readLabel(value: unknown, path: string, max: number, dots: boolean): string {
  const text = readText(value, path, max);
  const labels = dots ? text.split('.') : [text];
  const plain = labels.every(
    (label) =>
      label !== '' &&
      !label.startsWith('-') &&
      !label.endsWith('-') &&
      [...label].every((character) => /^[a-z0-9-]$/.test(character)),
  );
  if (!plain) throw badAuthority(path, 'must be a name as Kubernetes takes it');
  return text;
}

function write(entry: KubernetesToken, audiences: readonly string[], bounds: JsonObject): KubernetesToken {
  const { cluster, namespace, service_account } = entry;
  return { type: KUBERNETES_TOKEN, cluster, namespace, service_account, audiences, ...bounds };
}
