/** Who may ask about tokens: registered verifiers, each for its own audience only (wire profile 3). */
import { createHash } from 'node:crypto';
import { Denied } from '../domain/denial.ts';
import type { Ports, VerifierPolicy } from '../ports.ts';

/** A verified assertion is remembered until it ends, so that a busy verifier costs one hash a request. */
const REMEMBERED = 10_000;

export interface VerifierAuthentication {
  /** @throws Denied `invalid_client`, one answer for every cause */
  authenticate(assertion: string | undefined): Promise<VerifierPolicy>;
}

export interface ClientAssertions {
  /** The verifier whose key signed it and when it ends, or null. */
  verify(
    assertion: string,
    now: number,
  ): Promise<{ readonly verifier: VerifierPolicy; readonly expires_at: number } | null>;
}

export function createVerifierAuthentication(
  ports: Ports,
  assertions: ClientAssertions,
): VerifierAuthentication {
  const remembered = new Map<string, { readonly verifier: VerifierPolicy; readonly expires_at: number }>();
  return {
    async authenticate(assertion) {
      if (assertion === undefined || assertion.length > 8192) throw new Denied({ tag: 'invalid_client' });
      const now = ports.clock.now();
      const digest = createHash('sha256').update(assertion).digest('base64url');
      const known = remembered.get(digest);
      // Registration may have changed since: a verifier that was taken out stops at once.
      if (known && known.expires_at > now && ports.policy().verifiers.includes(known.verifier))
        return known.verifier;
      const verified = await assertions.verify(assertion, now);
      if (verified === null) throw new Denied({ tag: 'invalid_client' });
      if (remembered.size >= REMEMBERED) {
        const oldest = remembered.keys().next();
        if (!oldest.done) remembered.delete(oldest.value);
      }
      remembered.set(digest, verified);
      return verified.verifier;
    },
  };
}
