/** `POST /revoke` (RFC 7009): a holder gives back a token, with a proof by the key that the token is bound to. */
import { Denied } from '../domain/denial.ts';
import { type Ports, WriteConflict } from '../ports.ts';
import { spend } from './create-mission.ts';
import { lastTokenEnd } from './lifecycle.ts';
import { TOKEN_TYP } from './mint.ts';

/**
 * Unknown, expired, foreign and already revoked tokens are answered alike: with success (RFC 7009 section 2.2),
 * so that the answer tells a thief nothing.
 * @throws Denied `invalid_dpop_proof`, `use_dpop_nonce`
 */
export async function revokeToken(
  ports: Ports,
  token: string,
  proof: { readonly header: string | undefined; readonly url: string },
): Promise<void> {
  const now = ports.clock.now();
  const verified = await ports.proofs.verify(proof.header, { method: 'POST', url: proof.url, now });
  const claims = await ports.tokens.verify(token, TOKEN_TYP, now);
  if (claims?.cnf?.jkt !== verified.jkt) return;
  try {
    await ports.store.atomically([
      spend(verified),
      { kind: 'revoke_credential', id: claims.jti, at: now },
      {
        kind: 'append_feed',
        entry: {
          ts: now,
          kind: 'token',
          key: claims.jti,
          effect: 'deny',
          not_after: lastTokenEnd(ports, now),
          reason_code: 'holder_revoked',
        },
        to: 'minted',
      },
      {
        kind: 'append_audit',
        record: {
          ts: now,
          event: 'token.revoked',
          actor: claims.client_id,
          mission_id: claims.mission.id,
          details: { jti: claims.jti, by: 'holder' },
        },
      },
    ]);
  } catch (cause) {
    if (!(cause instanceof WriteConflict)) throw cause;
    if (cause.conflict === 'replayed')
      throw new Denied({
        tag: 'invalid_dpop_proof',
        detail: 'this proof was used before: make a new one for each request',
      });
  }
}
