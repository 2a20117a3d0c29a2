import * as fc from 'fast-check';
import { describe } from 'vitest';
import { kubernetesToken } from '../../../../src/domain/authority/types/kubernetes_token.ts';
import { keepsTheLaws } from './laws.ts';

const entries = fc.record(
  {
    type: fc.constant('kubernetes_token'),
    cluster: fc.constant('a'),
    namespace: fc.constantFrom('jobs', 'jobs', 'web'),
    service_account: fc.constant('migrator'),
    audiences: fc.uniqueArray(fc.constantFrom('https://a', 'https://b', 'https://c'), { minLength: 1 }),
    max_ttl_seconds: fc.constantFrom(60, 600),
  },
  { requiredKeys: ['type', 'cluster', 'namespace', 'service_account', 'audiences'] },
);
const good = {
  type: 'kubernetes_token',
  cluster: 'a',
  namespace: 'jobs',
  service_account: 'migrator.v2',
  audiences: ['https://kubernetes.default.svc'],
};

describe('kubernetes_token', () => {
  keepsTheLaws({
    type: kubernetesToken,
    entries,
    good,
    optional: ['max_ttl_seconds'],
    bad: [
      [{ cluster: 'https://elsewhere' }, 'entry.cluster'],
      [{ namespace: '../kube-system' }, 'entry.namespace'],
      [{ namespace: 'jobs/secrets' }, 'entry.namespace'],
      [{ namespace: 'Jobs' }, 'entry.namespace'],
      [{ service_account: '..' }, 'entry.service_account'],
      [{ service_account: 'a?x=1' }, 'entry.service_account'],
      [{ audiences: [] }, 'entry.audiences'],
      [{ audiences: ['https://a', 'https://a'] }, 'entry.audiences'],
    ],
  });
});
