/** `GET /verifier/bundle`: what a guard needs besides revocations, versioned and signed (wire profile 3). */
import { createHash } from 'node:crypto';
import type { Catalogue } from '../behaviour/catalogue.ts';
import { type DeliveredCatalogue, deliverCatalogue } from '../behaviour/delivery.ts';
import { BUNDLE_TYP } from '../domain/bundle.ts';
import { Denied } from '../domain/denial.ts';
import { canonicalize, type JsonObject } from '../domain/json.ts';
import { type Counting, countingAt } from '../domain/limits.ts';
import type { Ports, VerifierPolicy } from '../ports.ts';
import { countersOf } from './purse.ts';

export interface SignedBundle {
  /** Digest of the content; also the ETag. Decisions name it. */
  readonly version: string;
  readonly jws: string;
}

const DELIVERED = new WeakMap<Catalogue, DeliveredCatalogue>();

/** Once for each catalogue: the content is asked for more often than it changes. */
function delivered(catalogue: Catalogue): DeliveredCatalogue {
  const known = DELIVERED.get(catalogue) ?? deliverCatalogue(catalogue);
  DELIVERED.set(catalogue, known);
  return known;
}

/** The content without its signature: equal configurations and keys give equal versions. */
export function bundleContent(
  ports: Ports,
  audience_uri: string,
): { readonly version: string; readonly content: JsonObject } {
  const policy = ports.policy();
  const audience = policy.audience(audience_uri);
  if (audience === null) throw new Denied({ tag: 'not_found' });
  const content: JsonObject = {
    iss: policy.issuer,
    aud: audience.resource,
    keys: ports.tokens.jwks().keys,
    actions: audience.actions.map(({ name, labels }) => ({ name, labels })),
    sinks: [],
    field_trust: [],
    ...(audience.catalogue !== undefined && delivered(audience.catalogue)),
    sequence_rules: [],
    max_staleness_seconds: audience.max_staleness_seconds,
    max_token_seconds: policy.max_token_seconds,
    ...countedBy(countingAt(audience.resource, countersOf(policy))),
  };
  const version = createHash('sha256').update(canonicalize(content)).digest('base64url').slice(0, 22);
  return { version, content };
}

/** Where only the broker counts, a guard that runs all the same takes part with the one that it is. */
function countedBy(counting: Counting | null): { readonly processes: number; readonly counting?: true } {
  if (counting === null || counting.processes === 0) return { processes: 1 };
  return { processes: counting.processes, counting: true };
}

/** One signature per version and hour, however many verifiers ask. */
export function createBundles(ports: Ports): (verifier: VerifierPolicy) => Promise<SignedBundle> {
  const signed = new Map<string, { readonly until: number; readonly bundle: SignedBundle }>();
  return async (verifier) => {
    const now = ports.clock.now();
    const { version, content } = bundleContent(ports, verifier.audience);
    const known = signed.get(verifier.audience);
    if (known && known.bundle.version === version && known.until > now) return known.bundle;
    const claims = { ...content, version, iat: Math.floor(now) };
    const bundle = { version, jws: await ports.tokens.sign(BUNDLE_TYP, 'ES256', claims) };
    signed.set(verifier.audience, { until: now + 3600, bundle });
    return bundle;
  };
}
