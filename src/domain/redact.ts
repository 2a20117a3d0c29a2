/**
 * Keeps secrets out of what is written down. Requests put tokens in wrong places, and a refusal that names the
 * place may quote them: in logs and audit records, anything as long and as dense as a credential is blanked.
 */

/** Longer than any id of ours (26), shorter than any token (43 and more). */
const DENSE = /[A-Za-z0-9_-]{32,}/g;

/** `text` with every run that could be a credential replaced. Linear. */
export function redacted(text: string): string {
  return text.replace(DENSE, '[redacted]');
}
