/** SPIFFE IDs (SPIFFE-ID specification, section 2). Pure. */

export interface SpiffeId {
  readonly id: string;
  readonly trust_domain: string;
  /** Path segments, at least one. */
  readonly segments: readonly string[];
}

const MAX_ID_CHARACTERS = 2_048;
const MAX_TRUST_DOMAIN_CHARACTERS = 255;
const TRUST_DOMAIN = /^[a-z0-9._-]+$/;
const SEGMENT = /^[A-Za-z0-9._-]+$/;

/**
 * A workload's id: `spiffe://trust-domain/path`, in its only spelling. No user, port, query, fragment, percent
 * encoding, empty or dot segments, and no bare trust domain, which names a signing authority.
 * @returns null for anything else
 */
export function parseSpiffeId(text: string): SpiffeId | null {
  if (text.length > MAX_ID_CHARACTERS || !text.startsWith('spiffe://')) return null;
  const [trust_domain = '', ...segments] = text.slice('spiffe://'.length).split('/');
  if (!isTrustDomain(trust_domain) || segments.length === 0) return null;
  const sound = segments.every((segment) => SEGMENT.test(segment) && segment !== '.' && segment !== '..');
  return sound ? { id: text, trust_domain, segments } : null;
}

export function isTrustDomain(text: string): boolean {
  return text.length <= MAX_TRUST_DOMAIN_CHARACTERS && TRUST_DOMAIN.test(text);
}

/** What trust rules may match of a SPIFFE ID. */
export function spiffeClaims(id: SpiffeId) {
  return {
    spiffe_id: id.id,
    trust_domain: id.trust_domain,
    path: id.segments.join('/'),
    segments: id.segments,
  };
}
