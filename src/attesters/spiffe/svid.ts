/** SPIFFE evidence: JWT-SVIDs, and proofs signed by the key of an X509-SVID. One trust domain each. */
import { X509_SVID_TYP } from '../../domain/evidence.ts';
import type { CompiledTrustRule } from '../../domain/trust.ts';
import {
  type Appraisal,
  type AppraisalContext,
  type Attester,
  digestOf,
  type ParsedEvidence,
  Refusal,
} from '../attester.ts';
import { checkAudience, checkTimes, type TimeLimits } from '../claims.ts';
import { checkSelfSigned } from '../enrolled.ts';
import { pickKey, type Refreshed } from '../jwks.ts';
import { type Algorithm, type CompactJws, verifyJws } from '../jws.ts';
import { checkTyp, requireJws } from '../oidc.ts';
import { type Recent, recent } from '../recent.ts';
import type { Bundle } from './bundle.ts';
import { type Certificate, MAX_CHAIN, parseCertificate, verifyChain } from './certificate.ts';
import { parseSpiffeId, type SpiffeId, spiffeClaims } from './id.ts';

export interface SpiffeOptions {
  readonly name: string;
  readonly trust_domain: string;
  readonly audience: string;
  readonly times: TimeLimits;
  readonly bundle: Refreshed<Bundle>;
  readonly rules: readonly CompiledTrustRule[];
}

/** JWT-SVID section 2.1: no EdDSA. */
const SVID_ALGORITHMS: readonly Algorithm[] = [
  'ES256',
  'ES384',
  'ES512',
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
];
const SVID_HEADERS = ['alg', 'kid', 'typ'];

/** Attester of JWT-SVIDs. */
export function jwtSvidAttester(options: SpiffeOptions): Attester {
  return {
    ...common(options),
    type: 'urn:ietf:params:oauth:token-type:jwt',
    appraise: (evidence, context) => appraiseJwtSvid(options, evidence, context),
  };
}

/** A chain that held under one bundle, and the seconds between which it does. */
interface VerifiedChain {
  readonly leaf: Certificate;
  readonly bundle: Bundle;
  readonly from: number;
  readonly until: number;
}

/** An SVID lives for an hour and renews its missions often: its chain is verified once for each bundle. */
const MAX_REMEMBERED_CHAINS = 1_000;

/** Attester of JWTs signed by an X509-SVID's key, with its chain in `x5c`. */
export function x509SvidAttester(options: SpiffeOptions): Attester {
  const verified = recent<VerifiedChain>(MAX_REMEMBERED_CHAINS);
  return {
    ...common(options),
    type: 'urn:sortie:token-type:x509-svid',
    appraise: (evidence, context) => appraiseX509Svid(options, verified, evidence, context),
  };
}

function common(options: SpiffeOptions) {
  return {
    name: options.name,
    kind: 'spiffe',
    issuers: [],
    trust_domain: options.trust_domain,
    rules: options.rules,
    warm: (now: number) => options.bundle.warm(now),
  };
}

async function appraiseJwtSvid(
  options: SpiffeOptions,
  evidence: ParsedEvidence,
  context: AppraisalContext,
): Promise<Appraisal> {
  const jws = requireJws(evidence);
  const { claims } = jws;
  const id = spiffeIdOf(options, jws);
  checkTyp(jws, ['jose']);
  const extra = Object.keys(jws.header).find((member) => !SVID_HEADERS.includes(member));
  if (extra !== undefined)
    throw new Refusal('header_refused', 'a JWT-SVID has no header but alg, kid and typ');
  if (!SVID_ALGORITHMS.includes(jws.alg))
    throw new Refusal('algorithm_refused', `${jws.alg} is not for JWT-SVIDs`);
  const bound_jkt = checkAudience(claims, options.audience, context);
  const expires_at = checkTimes(claims, context.now, { ...options.times, iat_optional: true });
  verifyJws(jws, SVID_ALGORITHMS, await jwtKey(options, jws, context.now));
  return {
    // A SPIFFE ID is all that the specification vouches for; other claims stay out of its way.
    claims: { ...claims, ...spiffeClaims(id) },
    tier: bound_jkt === null ? 'reusable' : 'bound',
    degraded: false,
    digest: jws.digest,
    bound_jkt,
    expires_at,
    once: null,
    identity: null,
  };
}

async function jwtKey(options: SpiffeOptions, jws: CompactJws, now: number) {
  try {
    return pickKey((await options.bundle.current(now)).jwt_keys, jws.kid, jws.alg);
  } catch (error) {
    if (!(error instanceof Refusal) || error.code !== 'key_unknown') throw error;
    return pickKey((await options.bundle.again(now)).jwt_keys, jws.kid, jws.alg);
  }
}

async function appraiseX509Svid(
  options: SpiffeOptions,
  verified: Recent<VerifiedChain>,
  evidence: ParsedEvidence,
  context: AppraisalContext,
): Promise<Appraisal> {
  const jws = requireJws(evidence);
  if (jws.typ !== X509_SVID_TYP) throw new Refusal('header_refused', `typ must be ${X509_SVID_TYP}`);
  const id = spiffeIdOf(options, jws);
  const { bound_jkt, expires_at, jti } = checkSelfSigned(
    jws.claims,
    { audience: options.audience, leeway_seconds: options.times.leeway_seconds },
    context,
  );
  const x5c = readX5c(jws);
  const name = digestOf(x5c.join(' '));
  const bundle = await options.bundle.current(context.now);
  const known = verified.get(name);
  const holds = known?.bundle === bundle && context.now >= known.from && context.now < known.until;
  const chain = holds ? [known.leaf] : x5c.map((text) => parseCertificate(Buffer.from(text, 'base64')));
  const [leaf] = chain;
  if (leaf?.uris.length !== 1 || leaf.uris[0] !== id.id) {
    throw new Refusal('certificate_refused', 'the leaf’s only URI name must be the SPIFFE ID in sub');
  }
  // The proof's own signature first: it costs one verification, a chain several.
  verifyJws(jws, SVID_ALGORITHMS, leaf.x509.publicKey);
  if (!holds) verified.set(name, await verifyUnder(options, chain, leaf, bundle, context.now));
  return {
    claims: spiffeClaims(id),
    tier: 'bound',
    degraded: false,
    digest: jws.digest,
    bound_jkt,
    expires_at: Math.min(expires_at, leaf.not_after),
    once: `${leaf.x509.fingerprint256}.${jti}`,
    identity: null,
  };
}

/** Under the bundle at hand; if that does not hold, under a fresh one: the authority may have rotated. */
async function verifyUnder(
  options: SpiffeOptions,
  chain: readonly Certificate[],
  leaf: Certificate,
  bundle: Bundle,
  now: number,
): Promise<VerifiedChain> {
  const at = { now, leeway_seconds: options.times.leeway_seconds };
  try {
    return { leaf, bundle, ...verifyChain(chain, bundle.authorities, options.trust_domain, at) };
  } catch (error) {
    if (!(error instanceof Refusal) || error.code !== 'certificate_refused') throw error;
    const again = await options.bundle.again(now);
    return { leaf, bundle: again, ...verifyChain(chain, again.authorities, options.trust_domain, at) };
  }
}

function spiffeIdOf(options: SpiffeOptions, jws: CompactJws): SpiffeId {
  const { sub } = jws.claims;
  const id = typeof sub === 'string' ? parseSpiffeId(sub) : null;
  if (id === null) throw new Refusal('platform_refused', 'sub is not a workload’s SPIFFE ID');
  if (id.trust_domain !== options.trust_domain) throw new Refusal('wrong_issuer', 'another trust domain');
  return id;
}

/** RFC 7515 section 4.1.6: base64 (not base64url) of DER, leaf first. */
function readX5c(jws: CompactJws): readonly string[] {
  const { x5c } = jws.header;
  if (!Array.isArray(x5c) || x5c.length === 0 || x5c.length > MAX_CHAIN) {
    throw new Refusal('header_refused', `x5c holds 1 to ${MAX_CHAIN} certificates`);
  }
  return x5c.map((entry) => {
    if (typeof entry !== 'string' || Buffer.from(entry, 'base64').toString('base64') !== entry) {
      throw new Refusal('header_refused', 'x5c is not base64 of DER');
    }
    return entry;
  });
}
