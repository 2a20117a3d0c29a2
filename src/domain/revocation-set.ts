/**
 * What a guard knows of revocations and how sure it is of it: entries, position in the feed, age (wire profile 3).
 * Pure: `now` is an argument, in seconds. A check costs one lookup a key and allocates nothing unless it denies.
 */
import { KeyedHash } from './keyed-hash.ts';
import type { JsonAct } from './mission.ts';
import type { FeedEntry, FeedHeartbeat, FeedKind, FeedReason, FeedSnapshot } from './revocation.ts';
import { kindNumber, RevocationTable } from './revocation-table.ts';

/** What can be revoked about a token. */
export interface RevocableToken {
  readonly iss: string;
  /** Key id of the signature, from the protected header. */
  readonly kid: string;
  readonly jti: string;
  /** Whole seconds (the guard refuses a token with a fraction). */
  readonly iat: number;
  readonly sub: string;
  readonly client_id: string;
  readonly act?: JsonAct;
  readonly cnf?: { readonly jkt: string };
  /** Tokens of this profile carry none; introspection may know it. */
  readonly instance?: string;
  readonly mission: {
    readonly id: string;
    readonly version: number;
    readonly path: readonly string[];
    readonly template: { readonly id: string; readonly version: string };
    readonly attester: string;
    readonly rule: string;
  };
}

/** A token's keys, hashed once. Valid for the set that made it, across snapshots. */
export interface RevocationKeys {
  readonly iat: number;
  readonly version: number;
  readonly kinds: readonly FeedKind[];
  /** Two words a key, in the order of `kinds`. */
  readonly words: Uint32Array;
}

/** Why a token is refused. */
export interface Revocation {
  readonly effect: 'deny' | 'narrow';
  readonly kind: FeedKind;
  readonly reason_code: FeedReason;
}

/**
 * What became of something read from the feed.
 * `gap`: something was missed, take a snapshot. `rollback`: older than what was seen before; deny and alarm.
 */
export type FeedOutcome = 'applied' | 'repeated' | 'gap' | 'rollback';

export class RevocationSet {
  readonly #hash: KeyedHash;
  #table: RevocationTable;
  #epoch = -1;
  #seq = -1;
  /** The newest broker time that was vouched for, and when it arrived here. */
  #ts = Number.NEGATIVE_INFINITY;
  #first_ts = Number.NEGATIVE_INFINITY;
  #received_at = Number.NEGATIVE_INFINITY;
  #max_token_seconds = 0;
  #complete = false;
  #revision = 0;

  /** @param seed two random 32-bit numbers, see {@link KeyedHash}. */
  constructor(seed: readonly [number, number]) {
    this.#hash = new KeyedHash(seed);
    this.#table = new RevocationTable(this.#hash);
  }

  get epoch(): number {
    return this.#epoch;
  }

  /** Last seq seen: what `Last-Event-ID` and the acknowledgement say. */
  get seq(): number {
    return this.#seq;
  }

  /** Longest `exp - iat` for which entries are kept; a longer token is refused. */
  get max_token_seconds(): number {
    return this.#max_token_seconds;
  }

  /** `false` until a first snapshot, and from a gap or a rollback until the next one. */
  get complete(): boolean {
    return this.#complete;
  }

  /** Rises with every change of what is denied. */
  get revision(): number {
    return this.#revision;
  }

  /** Entries and bytes held. */
  get footprint(): { readonly entries: number; readonly bytes: number } {
    return { entries: this.#table.size, bytes: this.#table.bytes };
  }

  /** Replaces everything. Never accepts a lower epoch, or a lower seq within the epoch. */
  load(snapshot: FeedSnapshot, now: number): FeedOutcome {
    if (this.#behind(snapshot)) return this.#distrust('rollback');
    const table = new RevocationTable(this.#hash);
    table.reserve(snapshot.entries.length);
    for (const entry of snapshot.entries) table.put(entry, now);
    this.#table = table;
    this.#max_token_seconds = snapshot.max_token_seconds;
    this.#epoch = snapshot.epoch;
    this.#seq = snapshot.seq;
    this.#complete = true;
    this.#revision++;
    this.#vouch(snapshot.ts, now);
    return 'applied';
  }

  /** Applies the next entry of the stream, sent under `epoch`. */
  apply(epoch: number, entry: FeedEntry, now: number): FeedOutcome {
    // Out of order or replayed: an old lift must not undo a newer denial.
    if (this.#behind({ epoch, seq: entry.seq })) return this.#distrust('rollback');
    if (!this.#complete || epoch !== this.#epoch) return this.#distrust('gap');
    if (entry.seq === this.#seq) return 'repeated';
    if (entry.prev !== this.#seq) return this.#distrust('gap');
    this.#table.put(entry, now);
    this.#seq = entry.seq;
    this.#revision++;
    return 'applied';
  }

  /** Takes note that the broker vouched for this position at `ts`. */
  heartbeat(beat: FeedHeartbeat, now: number): FeedOutcome {
    if (this.#behind(beat)) return this.#distrust('rollback');
    if (!this.#complete || beat.epoch !== this.#epoch || beat.seq !== this.#seq) return this.#distrust('gap');
    // A replayed heartbeat vouches for nothing new.
    if (beat.ts <= this.#ts) return 'repeated';
    this.#vouch(beat.ts, now);
    return 'applied';
  }

  /**
   * Seconds since the broker last vouched for what is held; infinite before the first snapshot. The larger of the
   * broker's and the local measure, so that a clock behind the broker's cannot stretch the bound.
   */
  age(now: number): number {
    return Math.max(now - this.#ts, now - this.#received_at, 0);
  }

  /** When the broker vouched for the first time, by its own clock: whoever holds the set was there by then. */
  get vouched_since(): number {
    return this.#first_ts;
  }

  /** The newest time of the broker that was vouched for, by its own clock; -Infinity before the first. */
  get vouched_until(): number {
    return this.#ts;
  }

  /** `true` if what is held must not be relied on: incomplete, or older than the bound. */
  stale(now: number, max_staleness_seconds: number): boolean {
    // Written so that a NaN is stale too.
    return !this.#complete || !(this.age(now) <= max_staleness_seconds);
  }

  /** Hashes a token's keys once; {@link judge} takes the result at each call. */
  keysOf(token: RevocableToken): RevocationKeys {
    const kinds: FeedKind[] = [];
    const words: number[] = [];
    const add = (kind: FeedKind, key: string): void => {
      this.#hash.of(kindNumber(kind), key);
      kinds.push(kind);
      words.push(this.#hash.low, this.#hash.high);
    };
    const { mission } = token;
    add('mission', mission.id);
    add('token', token.jti);
    for (const member of new Set([mission.id, ...mission.path])) add('mission_tree', member);
    for (const agent of agentsOf(token)) add('agent', agent);
    if (token.instance !== undefined) add('instance', token.instance);
    add('template', mission.template.id);
    add('template', `${mission.template.id}@${mission.template.version}`);
    add('attester', mission.attester);
    add('rule', mission.rule);
    if (token.cnf !== undefined) add('agent_key', token.cnf.jkt);
    add('signing_key', token.kid);
    add('issuer', token.iss);
    return { iat: token.iat, version: mission.version, kinds, words: Uint32Array.from(words) };
  }

  /** Whether something that is held refuses the token. Says nothing about age: ask {@link stale} first. */
  judge(keys: RevocationKeys): Revocation | null {
    const { words, kinds, iat } = keys;
    const table = this.#table;
    for (let index = 0; index < kinds.length; index++) {
      const at = table.find(words[index * 2] ?? 0, words[index * 2 + 1] ?? 0);
      if (at < 0) continue;
      const kind = kinds[index] ?? 'mission';
      if (table.denies(at, iat)) return { effect: 'deny', kind, reason_code: table.reasonAt(at) };
      if (kind === 'mission' && table.narrows(at, keys.version))
        return { effect: 'narrow', kind, reason_code: 'admin_contained' };
    }
    return null;
  }

  /** The feed said something that cannot be enforced: nothing is certain until the next snapshot. */
  doubt(): void {
    this.#complete = false;
  }

  /** Gives back memory of entries that no living token can match. About 0.3 µs an entry, at once. */
  drop(now: number): void {
    this.#table.drop(now);
  }

  #behind(position: { readonly epoch: number; readonly seq: number }): boolean {
    return position.epoch < this.#epoch || (position.epoch === this.#epoch && position.seq < this.#seq);
  }

  /** What was seen before stays the floor: only a snapshot at or above it makes the set complete again. */
  #distrust(outcome: 'gap' | 'rollback'): FeedOutcome {
    this.#complete = false;
    return outcome;
  }

  #vouch(ts: number, now: number): void {
    if (this.#first_ts === Number.NEGATIVE_INFINITY) this.#first_ts = ts;
    this.#ts = Math.max(this.#ts, ts);
    this.#received_at = now;
  }
}

/** Every agent named by a token: `sub`, `client_id` and each `act.sub`. */
function agentsOf(token: RevocableToken): ReadonlySet<string> {
  const agents = new Set([token.sub, token.client_id]);
  for (let act = token.act; act !== undefined; act = act.act) agents.add(act.sub);
  return agents;
}
