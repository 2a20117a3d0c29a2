/** The manifest's authority, as far as this build of the SDK understands it. */
import {
  type AuthoritySet,
  type CompiledAuthority,
  compile,
  isResourceAccess,
} from '../../domain/authority/index.ts';

/**
 * Entries of a kind that this SDK does not know yet are left out: `can` then says no where the guard may say yes,
 * never the other way round.
 */
export function understood(authority: AuthoritySet): CompiledAuthority {
  return compile(
    authority.filter((entry) => {
      if (!isResourceAccess(entry)) return false;
      try {
        compile([entry]);
        return true;
      } catch {
        return false;
      }
    }),
  );
}
