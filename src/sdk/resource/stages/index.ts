/** The stages of a check, in the order of wire profile 3. The list is the whole control flow: read it first. */
import type { GuardedCall } from '../call.ts';
import type { GuardDenial } from '../denial.ts';
import type { GuardState } from '../state.ts';
import type { VerifiedToken } from '../token.ts';
import { authority } from './authority.ts';
import { lifetime } from './lifetime.ts';
import { limits } from './limits.ts';
import { mission } from './mission.ts';
import { proof } from './proof.ts';
import { revocation } from './revocation.ts';
import { sequence } from './sequence.ts';

/** Null goes on. Synchronous, no network, and nothing allocated unless it denies. */
export type Stage = (
  call: GuardedCall,
  token: VerifiedToken,
  state: GuardState,
  now: number,
) => GuardDenial | null;

export interface NamedStage {
  readonly name: string;
  readonly judge: Stage;
}

/** Whether the token is alive and in the right hands; after `credential` (scheme, signature, claims) has found it. */
export const ALIVE_STAGES: readonly NamedStage[] = [
  { name: 'lifetime', judge: lifetime },
  { name: 'proof', judge: proof },
  { name: 'revocation', judge: revocation },
  { name: 'mission', judge: mission },
];

/** All of a check. */
export const STAGES: readonly NamedStage[] = [
  ...ALIVE_STAGES,
  { name: 'authority', judge: authority },
  { name: 'sequence', judge: sequence },
  { name: 'limits', judge: limits },
];
