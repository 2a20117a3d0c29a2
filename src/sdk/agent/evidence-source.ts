/** Evidence for one presentation: whatever source the agent was given, bounded in time, its faults made safe to show. */
import { AttestationFailed } from './errors.ts';
import { redacted, spokenFault } from './redact.ts';

/** Evidence as presented (wire profile 2.1). */
export interface PresentedEvidence {
  /** A subject token type, such as `urn:ietf:params:oauth:token-type:jwt`. */
  readonly type: string;
  readonly token: string;
}

/** What a source may need to make evidence for this broker and this key. */
export interface EvidenceRequest {
  /** The broker: the audience that evidence must name. */
  readonly issuer: string;
  /** RFC 7638 thumbprint of the agent's key. */
  readonly jkt: string;
  /** For platforms that let a workload choose its audience: names broker and key, so that a copy is worthless. */
  readonly bound_audience: string;
}

/**
 * Called for each presentation, because renewing is attesting again: answer with fresh evidence, not with a kept copy.
 * Without one, `connect` asks the platform that this process runs on.
 */
export type EvidenceSource = (request: EvidenceRequest) => Promise<PresentedEvidence>;

/** Our own sources say what to do; those of others are named, too. */
function faultOf(cause: unknown): string {
  return cause instanceof Error && cause.name === 'NoEvidenceError'
    ? redacted(cause.message)
    : spokenFault(cause);
}

/** A source that hangs must not hang the mission. */
const SOURCE_TIMEOUT_MS = 30_000;

/** @throws AttestationFailed whose message holds nothing of the evidence */
export async function presentEvidence(
  source: EvidenceSource,
  request: EvidenceRequest,
): Promise<PresentedEvidence> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('no answer in time')), SOURCE_TIMEOUT_MS);
  });
  let presented: PresentedEvidence;
  try {
    presented = await Promise.race([source(request), late]);
  } catch (cause) {
    throw new AttestationFailed('evidence_source', `no evidence could be had: ${faultOf(cause)}`);
  } finally {
    clearTimeout(timer);
  }
  if (typeof presented?.type !== 'string' || typeof presented.token !== 'string' || presented.token === '')
    throw new AttestationFailed('evidence_source', 'the evidence source must answer {type, token}');
  // Files that platforms project often end in a newline.
  return { type: presented.type, token: presented.token.trim() };
}
