/** Evidence for one presentation: whatever source the agent was given, bounded in time, its faults made safe to show. */
import { AttestationFailed } from './errors.ts';
import type { EvidenceRequest } from './evidence/index.ts';
import { spokenFault } from './redact.ts';

/** Evidence as presented (wire profile 2.1). */
export interface PresentedEvidence {
  /** A subject token type, such as `urn:ietf:params:oauth:token-type:jwt`. */
  readonly type: string;
  readonly token: string;
}

/**
 * Called for each presentation, because renewing is attesting again: answer with fresh evidence, not with a kept copy.
 * `collectEvidence` is one.
 */
export type EvidenceCallback = (request: EvidenceRequest) => Promise<PresentedEvidence>;

/** A source that hangs must not hang the mission. */
const SOURCE_TIMEOUT_MS = 30_000;

/** @throws AttestationFailed whose message holds nothing of the evidence */
export async function present(
  evidence: EvidenceCallback,
  request: EvidenceRequest,
): Promise<PresentedEvidence> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('no answer in time')), SOURCE_TIMEOUT_MS);
  });
  let presented: PresentedEvidence;
  try {
    presented = await Promise.race([evidence(request), late]);
  } catch (cause) {
    throw new AttestationFailed('evidence_source', `no evidence could be had: ${spokenFault(cause)}`);
  } finally {
    clearTimeout(timer);
  }
  if (typeof presented?.type !== 'string' || typeof presented.token !== 'string' || presented.token === '')
    throw new AttestationFailed('evidence_source', 'the evidence source must answer {type, token}');
  // Files that platforms project often end in a newline.
  return { type: presented.type, token: presented.token.trim() };
}
