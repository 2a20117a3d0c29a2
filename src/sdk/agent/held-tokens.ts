/** The access tokens of one mission, by audience. */
import { Kept, type Perishable } from './kept.ts';

export interface HeldToken extends Perishable {
  readonly audience: string;
  readonly value: string;
  readonly token_type: 'DPoP' | 'Bearer';
  /** Of the mission when it was minted. */
  readonly version: number;
}

export class HeldTokens extends Kept<HeldToken> {
  /** Any bound token that still works, to speak about the mission with. */
  live(): HeldToken | null {
    for (const token of this.working()) if (token.token_type === 'DPoP') return token;
    return null;
  }
}
