/**
 * A trust domain's bundle (SPIFFE Trust Domain and Bundle, section 4): keys for JWT-SVIDs and authorities for
 * X509-SVIDs, from a file, an https_web endpoint, or the Workload API.
 */

import { isJsonObject } from '../../domain/json.ts';
import { fetchJwtBundles, fetchX509Bundles } from '../../sdk/agent/evidence/workload-api.ts';
import { type Egress, readCapped } from '../egress.ts';
import {
  type Fetched,
  getDocument,
  type KeySourceLimits,
  MAX_JWKS_BYTES,
  type PublicKey,
  type Refreshed,
  type RemoteKeysOptions,
  readEntries,
  readJson,
  refreshed,
} from '../jwks.ts';
import { type Certificate, parseCertificate } from './certificate.ts';
import { splitCertificates } from './der.ts';

export interface Bundle {
  readonly jwt_keys: readonly PublicKey[];
  readonly authorities: readonly Certificate[];
  /** `spiffe_sequence`, or null. */
  readonly sequence: number | null;
  /** `spiffe_refresh_hint`, seconds, or null. */
  readonly refresh_hint_seconds: number | null;
}

/** Refreshing more often than this is an endpoint's mistake, not a hint. */
const MIN_REFRESH_SECONDS = 10;
const MAX_AUTHORITIES = 100;

/** @throws Error unless at least one key or authority is usable */
export function parseBundle(text: string): Bundle {
  const document = readJson(text);
  const entries = isJsonObject(document) ? document['keys'] : undefined;
  if (!isJsonObject(document) || !Array.isArray(entries))
    throw new Error('not a SPIFFE bundle: it has no list "keys"');
  // Without a kid a JWT-SVID cannot name its key (JWT-SVID section 6.1).
  const jwt_keys = readEntries(entries, ['jwt-svid']).filter(
    (key) => key.kid !== null && key.use === 'jwt-svid',
  );
  const authorities = entries
    .filter((entry) => isJsonObject(entry) && entry['use'] === 'x509-svid')
    .map((entry) => {
      const [certificate] = isJsonObject(entry) && Array.isArray(entry['x5c']) ? entry['x5c'] : [];
      return typeof certificate === 'string' ? Buffer.from(certificate, 'base64') : null;
    });
  return bundleOf(
    jwt_keys,
    authorities.filter((der) => der !== null),
    whole(document['spiffe_sequence']),
    whole(document['spiffe_refresh_hint']),
  );
}

function bundleOf(
  jwt_keys: readonly PublicKey[],
  ders: readonly Buffer[],
  sequence: number | null,
  refresh_hint_seconds: number | null,
): Bundle {
  if (ders.length > MAX_AUTHORITIES) throw new Error(`a bundle has at most ${MAX_AUTHORITIES} authorities`);
  const authorities = ders.map(parseCertificate).filter((certificate) => certificate.ca);
  if (jwt_keys.length === 0 && authorities.length === 0) throw new Error('no usable key in the bundle');
  return { jwt_keys, authorities, sequence, refresh_hint_seconds };
}

function whole(value: unknown): number | null {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : null;
}

/**
 * Keeps a bundle fresh: no older than its refresh hint, and never one whose sequence goes back, which would bring
 * withdrawn keys to life again.
 */
export function bundleSource(
  name: string,
  load: () => Promise<Bundle>,
  limits: KeySourceLimits,
): Refreshed<Bundle> {
  let highest: number | null = null;
  const ordered = async (): Promise<Fetched<Bundle>> => {
    const bundle = await load();
    if (highest !== null && (bundle.sequence === null || bundle.sequence < highest)) {
      throw new Error('the bundle’s sequence went back');
    }
    highest = bundle.sequence;
    const hint = bundle.refresh_hint_seconds;
    return hint === null
      ? { value: bundle }
      : { value: bundle, max_age_seconds: Math.max(hint, MIN_REFRESH_SECONDS) };
  };
  return refreshed(name, ordered, limits);
}

/** The `https_web` profile: Web PKI says who the endpoint is, the configuration whose bundle it serves. */
export function loadBundleEndpoint(fetch: Egress, url: string, options: RemoteKeysOptions) {
  return async (): Promise<Bundle> => parseBundle(await getDocument(fetch, url, options));
}

export function loadBundleFile(path: string) {
  return async (): Promise<Bundle> => parseBundle(await readCapped(path, MAX_JWKS_BYTES));
}

/** From the local SPIFFE agent: whoever may open the socket's path in the configuration is trusted to be it. */
export function loadWorkloadBundle(socket: string, trust_domain: string, timeout_ms: number) {
  return async (): Promise<Bundle> => {
    const [jwt, x509] = await Promise.all([
      fetchJwtBundles(socket, { timeout_ms }),
      fetchX509Bundles(socket, { timeout_ms }),
    ]);
    const id = `spiffe://${trust_domain}`;
    const keys = jwt.get(id);
    const certificates = x509.get(id);
    const entries = keys === undefined ? { keys: [] } : readJson(keys.toString('utf8'));
    return bundleOf(
      readEntries(isJsonObject(entries) && Array.isArray(entries['keys']) ? entries['keys'] : [], [
        'jwt-svid',
        'sig',
      ]),
      certificates === undefined ? [] : splitCertificates(certificates),
      null,
      null,
    );
  };
}
