/** Everything that the stages read. Changed only by the feed client (bundle, revocations), never by a call's content. */
import { randomBytes } from 'node:crypto';
import { type Bundle, CONSEQUENTIAL } from '../../domain/bundle.ts';
import { RevocationSet } from '../../domain/revocation-set.ts';
import type { ReportedVerdict } from '../../domain/verdict-report.ts';
import { Allotments } from './allotments.ts';
import { AuthorityPool } from './authority-pool.ts';
import type { GuardedCall } from './call.ts';
import type { GuardDenial } from './denial.ts';
import { type KeyRing, keyRing } from './keys.ts';
import { ProofKeys } from './proof-keys.ts';
import { ReplayMemory } from './replay-memory.ts';
import type { VerifiedToken } from './token.ts';
import { TokenCache } from './token-cache.ts';

/** A proof's `iat` may be this far from the verifier's clock, both ways. */
export const PROOF_WINDOW_SECONDS = 60;

/** Rules over what a mission did before, and where values came from. Synchronous; null lets the call go on. */
export interface SequenceJudge {
  judge(call: GuardedCall, token: VerifiedToken, labels: readonly string[], now: number): GuardDenial | null;
  /** What must be known of the token's mission first; null where nothing is missing. Never rejects. */
  prepare?(token: VerifiedToken, call: GuardedCall): Promise<GuardDenial | null> | null;
  /** The call with what is known of its values' origins, for `origin` constraints. */
  locate?(call: GuardedCall, token: VerifiedToken): GuardedCall;
  /** Takes what {@link judge} found in this turn, if there is anything to tell of it; a second time, null. */
  takeVerdict?(): ReportedVerdict | null;
  /** Digests of where a permitted effect went, for the history of its template. */
  taught?(call: GuardedCall, token: VerifiedToken): readonly string[];
  /**
   * Takes what {@link judge} left open in this turn: where it is not null, its result is the judgement. Never rejects.
   */
  settle?(): Promise<Settled> | null;
  /** Whether the broker has judged this call in full already: its proof is spent there. */
  answered?(call: GuardedCall): boolean;
  /** The call was permitted by every stage. */
  permitted?(call: GuardedCall, token: VerifiedToken): void;
  /** Takes in the answer of a permitted call; null where answers are of no interest. */
  openAnswer?(call: GuardedCall, token: VerifiedToken): AnswerReader | null;
}

/** A judgement that waited. */
export interface Settled {
  readonly denial: GuardDenial | null;
  readonly verdict: ReportedVerdict | null;
}

/** Reads an answer on its way out. Each method returns before the bytes that it was given are released. */
export interface AnswerReader {
  /** `plain` is false where the bytes are compressed or otherwise coded: then they are unknown. */
  begin(content_type: string | undefined, plain: boolean): void;
  write(chunk: Uint8Array): void;
  /** The last bytes. */
  finish(chunk: Uint8Array): void;
  /** Also after a connection that broke. Twice is once. */
  end(): void;
  /** What must settle before anything given so far is released; null: nothing. A rejection: it never may be. */
  held(): Promise<void> | null;
}

export interface GuardLimits {
  /** Verified tokens held. Default 16,384. */
  readonly tokens?: number;
  /** Verified tokens of one mission held. Default 32. */
  readonly tokens_per_mission?: number;
  /** Proofs remembered in two minutes; more are refused. Default 1,572,864: above what one core can verify. */
  readonly proofs?: number;
  /** Imported proof keys held. Default 16,384. */
  readonly proof_keys?: number;
  /** Different authority sets held compiled. Default 4,096. */
  readonly authorities?: number;
  /** Tokens with an allotment counted at once. Default 65,536. */
  readonly allotments?: number;
}

export interface StateOptions {
  readonly issuer: string;
  readonly audience: string;
  readonly started_at: number;
  /** Processes of this verifier that share each token's allotment. */
  readonly processes: number;
  readonly sequence: SequenceJudge | null;
  readonly limits: GuardLimits;
  /** A token named a key that is not held. Must return at once; keys are fetched off the call path. */
  readonly onUnknownKey: () => void;
}

const NO_LABELS: readonly string[] = Object.freeze([]);

export class GuardState {
  readonly issuer: string;
  readonly audience: string;
  readonly revocations: RevocationSet;
  readonly tokens: TokenCache;
  readonly proofs: ReplayMemory;
  readonly proof_keys: ProofKeys;
  readonly allotments: Allotments;
  readonly authorities: AuthorityPool;
  readonly sequence: SequenceJudge | null;
  readonly onUnknownKey: () => void;
  #bundle: Bundle | null = null;
  #keys: KeyRing = new Map();
  #labels: ReadonlyMap<string, readonly string[]> = new Map();
  #consequential: ReadonlySet<string> = new Set();

  constructor(options: StateOptions) {
    const { limits } = options;
    this.issuer = options.issuer;
    this.audience = options.audience;
    this.sequence = options.sequence;
    this.onUnknownKey = options.onUnknownKey;
    this.revocations = new RevocationSet(seed());
    this.tokens = new TokenCache({
      tokens: limits.tokens ?? 16_384,
      tokens_per_mission: limits.tokens_per_mission ?? 32,
    });
    this.proofs = new ReplayMemory(seed(), 2 * PROOF_WINDOW_SECONDS, limits.proofs ?? 1_572_864);
    this.proof_keys = new ProofKeys(limits.proof_keys ?? 16_384);
    this.authorities = new AuthorityPool(limits.authorities ?? 4_096);
    this.allotments = new Allotments(
      // By the broker's clock too: where it runs ahead, tokens from before a crash would look younger than this process.
      () => Math.max(options.started_at, this.revocations.vouched_since),
      // Of this verifier as its operator says, and of all verifiers of the audience as the broker knows them.
      () => Math.max(options.processes, this.#bundle?.processes ?? 1),
      limits.allotments ?? 65_536,
    );
  }

  get bundle(): Bundle | null {
    return this.#bundle;
  }

  get keys(): KeyRing {
    return this.#keys;
  }

  labelsOf(action: string): readonly string[] {
    return this.#labels.get(action) ?? NO_LABELS;
  }

  /** Whether the bundle wants the broker's word on every call of this action. */
  isConsequential(action: string): boolean {
    return this.#consequential.has(action);
  }

  /** Puts a verified bundle in force. What was verified by a key that is gone is forgotten. */
  install(bundle: Bundle): void {
    this.#bundle = bundle;
    this.#keys = keyRing(bundle.keys);
    this.#labels = new Map(bundle.actions.map(({ name, labels }) => [name, labels]));
    this.#consequential = new Set(
      bundle.actions.filter(({ labels }) => labels.includes(CONSEQUENTIAL)).map(({ name }) => name),
    );
    this.tokens.retain((token) => this.#keys.has(token.kid));
  }
}

function seed(): readonly [number, number] {
  const bytes = randomBytes(8);
  return [bytes.readUInt32LE(0), bytes.readUInt32LE(4)];
}
