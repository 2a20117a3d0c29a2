/**
 * How the rules look at values. Everything they learn of one goes through here, so that a recorder can write down
 * digests in place of values, and a replay can judge from what was written down.
 */
import { skeleton } from './forms.ts';
import { type DigestKey, keyedDigest } from './memory.ts';
import { ownerWords } from './mission.ts';
import { type ScanVisitor, scanText } from './scan.ts';
import { type Destination, destinationsOf, type SinkKind } from './values.ts';

export interface ValueReader {
  digest(key: DigestKey, text: string): string;
  /** Null where the value cannot be read as destinations. */
  destinations(kind: SinkKind, value: unknown): readonly Destination[] | null;
  /** Words of a destination's form by which a mission may name its owner. */
  owners(form: string): readonly string[];
  scan(text: string, visit: ScanVisitor): void;
  /** The whole text in the form in which texts are compared, where it is more than one word. */
  phrase(text: string): string | null;
}

const MAX_SCANNED_CHARS = 65_536;

export const PLAIN_READER: ValueReader = {
  digest: keyedDigest,
  destinations: destinationsOf,
  owners: ownerWords,
  scan: (text, visit) => {
    scanText(text, visit, { max_chars: MAX_SCANNED_CHARS });
  },
  phrase: (text) => {
    const whole = skeleton(text);
    return whole?.includes(' ') ? whole : null;
  },
};
