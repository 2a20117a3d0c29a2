/**
 * What a process that counts tells of tokens that are over: how much it spent of each (docs/authority.md, Limits). A
 * statement covers every token of its audience that the run could have spent of: what it does not name, it spent
 * nothing of, and never will.
 */
import { malformed } from './denial.ts';
import { isJsonObject, type JsonValue } from './json.ts';
import type { CountedControl } from './limits.ts';

/** Tokens named in one statement at most; a process that has more to tell makes several. */
export const STATEMENT_TOKENS = 500;
const ID_MAX = 128;

export interface Spent {
  readonly jti: string;
  readonly max_calls: number;
  /** Bytes; may pass the process's part, by what was counted when it was already gone. */
  readonly max_egress_volume: number;
}

/** Of one run of one process. Times are the broker's, seconds since the epoch. */
export interface Statement {
  /** Drawn anew whenever the process starts: a run that crashed is never spoken for by the next. */
  readonly run_id: string;
  /** It spends nothing of tokens issued at or before this. */
  readonly since: number;
  /** The newest time of the broker that it had heard when it made this statement: it was running then. */
  readonly alive_at: number;
  /** It speaks of tokens that end after this ... */
  readonly from: number;
  /** ... and until this; it spends nothing of them any more. */
  readonly through: number;
  readonly spent: readonly Spent[];
}

/** An allotment that is open for settlement. */
export interface OpenAllotment {
  readonly jti: string;
  readonly control: CountedControl;
  readonly amount: number;
  readonly processes: number;
  /** Seconds. */
  readonly expires_at: number;
}

/** What one run gives back of one allotment. */
export interface Credit {
  readonly jti: string;
  readonly control: CountedControl;
  /** 0 where its part was spent: then only its word is taken note of. */
  readonly amount: number;
}

/** @throws Denied `invalid_request` naming the member */
export function readStatement(body: JsonValue): Statement {
  if (!isJsonObject(body)) throw malformed('a statement is an object');
  const { run_id, since, alive_at, from, through, spent, ...more } = body;
  const [unknown] = Object.keys(more);
  if (unknown !== undefined) throw malformed(`a statement has no member ${unknown}`);
  if (!isId(run_id)) throw malformed(`run_id must be text of 1 to ${ID_MAX} characters`);
  if (!isTime(since) || !isTime(alive_at) || !isTime(from) || !isTime(through))
    throw malformed('since, alive_at, from and through must be seconds since the epoch');
  if (!(from < through)) throw malformed('from must be before through');
  if (!Array.isArray(spent) || spent.length > STATEMENT_TOKENS)
    throw malformed(`spent must be a list of at most ${STATEMENT_TOKENS}`);
  const seen = new Set<string>();
  const read = spent.map((item): Spent => {
    if (!isJsonObject(item) || !isId(item['jti'])) throw malformed('spent must name tokens by jti');
    const { jti, max_calls = 0, max_egress_volume = 0 } = item;
    if (!isCount(max_calls) || !isCount(max_egress_volume)) throw malformed('what was spent must be counts');
    // Of two words on one token the smaller would be a gift.
    if (seen.has(jti as string)) throw malformed('spent names a token twice');
    seen.add(jti as string);
    return { jti: jti as string, max_calls, max_egress_volume };
  });
  return { run_id, since, alive_at, from, through, spent: read };
}

/** What a run did not spend of its part; a part that was passed gives nothing back. */
export function creditsOf(statement: Statement, open: readonly OpenAllotment[]): readonly Credit[] {
  const spent = new Map(statement.spent.map((item) => [item.jti, item]));
  return open.map(({ jti, control, amount, processes }) => {
    const part = Math.floor(amount / processes);
    const used = spent.get(jti)?.[control] ?? 0;
    return { jti, control, amount: Math.max(0, part - used) };
  });
}

function isId(value: JsonValue | undefined): value is string {
  return typeof value === 'string' && value.length > 0 && value.length <= ID_MAX;
}

function isTime(value: JsonValue | undefined): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0;
}

function isCount(value: JsonValue | undefined): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
