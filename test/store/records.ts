/** Records for store tests: complete, valid, and different from each other only where a test says so. */
import type { Mission } from '../../src/domain/mission.ts';
import type {
  AuditRecord,
  CredentialRecord,
  Selector,
  SigningKeyRecord,
  TemplateRecord,
  Write,
} from '../../src/ports.ts';

export const NOW = 1_790_000_000;

let slots = 0;
let ids = 0;

export function nextId(prefix: string): string {
  ids += 1;
  return `${prefix}_${String(ids).padStart(22, '0')}`;
}

export function mission(over: Partial<Mission> = {}): Mission {
  const id = over.id ?? nextId('msn');
  slots += 1;
  return {
    id,
    state: 'active',
    version: 1,
    created_at: NOW,
    expires_at: NOW + 3600,
    state_since: NOW,
    state_reason: null,
    sub: 'k8s/payments/reconciler',
    agent: 'k8s/payments/reconciler',
    instance: `pod-${id}`,
    jkt: `jkt-${id}`,
    parent_id: null,
    path: [id],
    act: null,
    attester: 'cluster-a',
    rule: 'payments',
    tier: 'reusable',
    evidence_digest: 'sha-256:evidence',
    template: { id: 'reconcile', version: '3', hash: 'sha-256:template' },
    policy_version: 'sha-256:policy',
    intent: {
      goal: 'Reconcile the invoices of March',
      resources: ['https://erp.example.com'],
      expires_at: '2026-09-22T00:00:00Z',
      purpose: 'finance',
    },
    proposal: null,
    authority: [
      {
        type: 'mission_resource_access',
        resource: 'https://erp.example.com',
        actions: ['invoices.read'],
      },
    ] as unknown as Mission['authority'],
    containments: [],
    intent_hash: 'sha-256:intent',
    proposal_hash: null,
    authority_hash: 'sha-256:authority',
    status_list: 1,
    status_index: slots,
    derivations: 0,
    max_derivations: null,
    declared_by: 'agent',
    tainted: false,
    attest_every_seconds: 600,
    last_attested_at: NOW,
    token_ttl_seconds: 300,
    creation_request_id: null,
    creation_fingerprint: null,
    ...over,
  };
}

/** A child of `parent` with its own key and instance. */
export function child(parent: Mission, over: Partial<Mission> = {}): Mission {
  const id = over.id ?? nextId('msn');
  return mission({
    id,
    sub: parent.sub,
    agent: 'k8s/payments/helper',
    act: { sub: 'k8s/payments/helper' },
    parent_id: parent.id,
    path: [...parent.path, id],
    ...over,
  });
}

export function credential(mission_id: string, over: Partial<CredentialRecord> = {}): CredentialRecord {
  return {
    id: nextId('cred'),
    mission_id,
    type: 'jwt',
    target: 'https://erp.example.com',
    jkt: `jkt-${mission_id}`,
    issued_at: NOW,
    expires_at: NOW + 300,
    revoked_at: null,
    ...over,
  };
}

export function template(over: Partial<TemplateRecord> = {}): TemplateRecord {
  return {
    id: 'reconcile',
    version: '1',
    hash: 'sha-256:t1',
    document: { id: 'reconcile', version: '1', ceiling: [] } as unknown as TemplateRecord['document'],
    imported_by: 'admin:ann',
    imported_at: NOW,
    approved_by: null,
    approved_at: null,
    review_due_at: null,
    ...over,
  };
}

export function signingKey(over: Partial<SigningKeyRecord> = {}): SigningKeyRecord {
  return {
    kid: nextId('kid'),
    alg: 'ES256',
    jwk: { kty: 'EC', crv: 'P-256', x: 'x', y: 'y' },
    sealed: 'c2VhbGVk',
    created_at: NOW,
    active_from: NOW,
    active_until: NOW + 86_400,
    retired_at: NOW + 90_000,
    revoked_at: null,
    ...over,
  };
}

export function audit(
  event: string,
  mission_id: string | null = null,
  over: Partial<AuditRecord> = {},
): Write {
  return {
    kind: 'append_audit',
    record: { ts: NOW, event, actor: 'broker', mission_id, details: { b: 1, a: 'é' }, ...over },
  };
}

export function deny(selector: Selector, to: 'minted' | 'all' = 'minted', ts = NOW): Write {
  return {
    kind: 'append_feed',
    to,
    entry: {
      ts,
      kind: selector.kind,
      key: selector.key,
      effect: 'deny',
      issued_before: ts,
      not_after: ts + 360,
      reason_code: 'admin_revoked',
    },
  };
}
