/**
 * Evidence of what this process is, found by itself: the agent names the broker and its key, and gets what the place
 * it runs in can give.
 *
 *     const evidence = await collectEvidence({ audience: 'https://broker.example.com', jkt, now: Date.now() / 1000 });
 *     // evidence.type, evidence.token: subject_token_type and subject_token of POST /token
 */

import {
  type CollectedEvidence,
  type EvidencePlatform,
  type EvidenceRequest,
  PLATFORMS,
} from './platforms.ts';
import { realSurroundings, type Surroundings } from './surroundings.ts';

export { discardEnrolmentKey, type EnrolmentKey, makeEnrolmentKey } from './enrolled-key.ts';
export type { CollectedEvidence, EvidencePlatform, EvidenceRequest } from './platforms.ts';
export type { Surroundings } from './surroundings.ts';

export interface EvidenceOptions {
  /**
   * Only this kind: `file`, `enrolled`, `spiffe`, `spiffe-x509`, `github-actions`, `gitlab`, `kubernetes-bound`,
   * `kubernetes`, `gcp`, `azure`, `aws-web-identity`, `aws`.
   */
  readonly kind?: string;
  readonly surroundings?: Surroundings;
}

export interface FoundEvidence extends CollectedEvidence {
  readonly kind: string;
  /** Whether the evidence names the key. */
  readonly bound: boolean;
}

/** What was looked for, what was found, and what the evidence says of itself. Holds no token and no secret. */
export interface EvidenceExplanation {
  readonly looked: readonly { readonly kind: string; readonly found: boolean; readonly detail: string }[];
  readonly chosen: string | null;
  readonly bound: boolean;
  /** For a JWT: its public claims. */
  readonly claims: { readonly iss?: string; readonly aud?: string; readonly exp?: number } | null;
  /** Why the evidence could not be collected; null if it was. */
  readonly failure: string | null;
}

/** No platform was recognised, or the chosen one gave nothing. The message says what to set. */
export class NoEvidenceError extends Error {
  readonly code = 'no_evidence';

  constructor(message: string) {
    super(message);
    this.name = 'NoEvidenceError';
  }
}

const HINT =
  'no evidence found: set SORTIE_EVIDENCE_FILE to a token file, mount a projected service account token at /var/run/secrets/sortie/token, or enrol this machine';

/**
 * Fresh evidence for one broker and one key; call it for every renewal.
 * @throws NoEvidenceError
 */
export async function collectEvidence(
  request: EvidenceRequest,
  options: EvidenceOptions = {},
): Promise<FoundEvidence> {
  const around = options.surroundings ?? realSurroundings();
  const platform = await findPlatform(around, options.kind);
  if (platform === null) throw new NoEvidenceError(HINT);
  try {
    return { kind: platform.kind, bound: platform.bound, ...(await platform.collect(around, request)) };
  } catch (error) {
    throw new NoEvidenceError(`${platform.kind}: ${error instanceof Error ? error.message : 'failed'}`);
  }
}

/** As {@link collectEvidence}, telling every step instead of the token. Looks in every place. */
export async function explainEvidence(
  request: EvidenceRequest,
  options: EvidenceOptions = {},
): Promise<EvidenceExplanation> {
  const around = options.surroundings ?? realSurroundings();
  const candidates = candidatesOf(options.kind);
  const looked = await Promise.all(
    candidates.map(async (platform) => {
      const found = await platform.find(around);
      return { kind: platform.kind, found: found !== null, detail: found ?? 'not here' };
    }),
  );
  const platform = candidates.find((_, index) => looked[index]?.found) ?? null;
  if (platform === null) return { looked, chosen: null, bound: false, claims: null, failure: HINT };
  const { kind, bound } = platform;
  try {
    const { type, token } = await platform.collect(around, request);
    const claims = type === 'urn:ietf:params:oauth:token-type:jwt' ? publicClaims(token) : null;
    return { looked, chosen: kind, bound, claims, failure: null };
  } catch (error) {
    const failure = error instanceof Error ? error.message : 'failed';
    return { looked, chosen: kind, bound, claims: null, failure };
  }
}

async function findPlatform(
  around: Surroundings,
  kind: string | undefined,
): Promise<EvidencePlatform | null> {
  for (const platform of candidatesOf(kind)) {
    if ((await platform.find(around)) !== null) return platform;
  }
  return null;
}

function candidatesOf(kind: string | undefined): readonly EvidencePlatform[] {
  if (kind === undefined) return PLATFORMS;
  const candidates = PLATFORMS.filter((platform) => platform.kind === kind);
  if (candidates.length > 0) return candidates;
  throw new NoEvidenceError(
    `unknown kind of evidence; one of ${PLATFORMS.map((platform) => platform.kind).join(', ')}`,
  );
}

/** Issuer, audience and expiry: enough to see a wrong audience, and nothing that identifies anyone. */
function publicClaims(token: string): EvidenceExplanation['claims'] {
  try {
    const payload = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8'));
    const { iss, aud, exp } = payload as Record<string, unknown>;
    const audience = Array.isArray(aud) ? aud.join(' ') : aud;
    return {
      ...(typeof iss === 'string' ? { iss } : {}),
      ...(typeof audience === 'string' ? { aud: audience } : {}),
      ...(typeof exp === 'number' ? { exp } : {}),
    };
  } catch {
    return null;
  }
}
