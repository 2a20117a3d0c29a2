/**
 * Authority sets, parsed and compiled once for all tokens that carry the same one: renewals of a mission, and most
 * missions of a template. Compiled authority is by far the largest part of a held token.
 */
import { createHash } from 'node:crypto';
import {
  type AuthoritySet,
  type CompiledAuthority,
  compile,
  parseAuthoritySet,
} from '../../domain/authority/index.ts';
import type { JsonValue } from '../../domain/json.ts';

export interface PooledAuthority {
  readonly set: AuthoritySet;
  readonly compiled: CompiledAuthority;
}

export class AuthorityPool {
  readonly #capacity: number;
  readonly #sets = new Map<string, PooledAuthority>();

  /** @param capacity different sets held; a token keeps its own even after it left the pool. */
  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** @throws Denied for a set that this build does not understand in full */
  get(value: JsonValue | undefined): PooledAuthority {
    // A strong digest: two sets that met here would exchange authority.
    const key = createHash('sha256')
      .update(JSON.stringify(value ?? null))
      .digest('base64');
    const held = this.#sets.get(key);
    if (held !== undefined) return held;
    const set = parseAuthoritySet(value, 'authorization_details');
    const pooled = { set, compiled: compile(set) };
    if (this.#sets.size >= this.#capacity) {
      const oldest = this.#sets.keys().next();
      if (!oldest.done) this.#sets.delete(oldest.value);
    }
    this.#sets.set(key, pooled);
    return pooled;
  }
}
