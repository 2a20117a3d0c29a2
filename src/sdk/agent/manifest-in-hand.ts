/** What the broker last said of a mission, and what changed with it. */
import type { CompiledAuthority } from '../../domain/authority/index.ts';
import { rfc3339 } from '../../domain/reader.ts';
import type { HeldToken } from './held-tokens.ts';
import { understood } from './local-authority.ts';
import type { NarrowedEvent } from './mission-events.ts';
import type { ManifestAnswer } from './wire.ts';

export interface ManifestChange {
  /** Null where the mission has no less than before. */
  readonly narrowed: NarrowedEvent | null;
  /** It was suspended before. */
  readonly resumed: boolean;
}

export class ManifestInHand {
  #manifest: ManifestAnswer;
  #authority: CompiledAuthority;

  constructor(manifest: ManifestAnswer) {
    this.#manifest = manifest;
    this.#authority = understood(manifest.authority);
  }

  get now(): ManifestAnswer {
    return this.#manifest;
  }

  get authority(): CompiledAuthority {
    return this.#authority;
  }

  /** Null for one that is older than what is in hand. */
  take(manifest: ManifestAnswer): ManifestChange | null {
    const before = this.#manifest;
    if (manifest.version < before.version) return null;
    this.#manifest = manifest;
    this.#authority = understood(manifest.authority);
    const less =
      JSON.stringify(before.authority) !== JSON.stringify(manifest.authority) ||
      manifest.expires_at < before.expires_at;
    return {
      narrowed:
        manifest.version > before.version && less ? { ...shown(manifest), before: shown(before) } : null,
      resumed: before.state !== 'active' && manifest.state === 'active',
    };
  }

  suspended(): void {
    this.#manifest = { ...this.#manifest, state: 'suspended' };
  }

  /** @param exp seconds since the epoch */
  replaceToken({ id, audience }: HeldToken, exp: number): void {
    const credentials = this.#manifest.credentials.map((held) =>
      held.type === 'jwt' && held.audience === audience ? { ...held, id, expires_at: rfc3339(exp) } : held,
    );
    this.#manifest = { ...this.#manifest, credentials };
  }
}

function shown({ version, authority, expires_at }: ManifestAnswer) {
  return { version, authority, expires_at: rfc3339(expires_at) };
}
