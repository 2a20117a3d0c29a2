/**
 * The inline policy that keeps revoked sessions out of a role: STS has no revocation, but whatever a session
 * does is judged by the role's policies at that moment. Pure: one document in, the next one out.
 *
 * Statements carry their own end in the Sid, so that the document alone says what may leave it.
 */

import { isJsonObject, type JsonObject, type JsonValue } from '../../domain/json.ts';
import { instant, rfc3339 } from '../../domain/reader.ts';

/** How sessions are told apart: by session tags, or by what STS calls the source identity. */
export type Mark = 'session_tag' | 'source_identity';

export const MISSION_TAG = 'sortie-mission';
export const LEASE_TAG = 'sortie-lease';

/** The source identity of a session: at most 64 of `[A-Za-z0-9_+=,.@-]`. */
export function sourceIdentity(mission_id: string, lease_id: string): string {
  return `${mission_id}.${lease_id}`;
}

/** Ends are rounded up to this, so that many denials share one statement. */
const BUCKET_SECONDS = 900;
const KINDS = {
  mission: { sid: 'SortieMissionsUntil', tag: MISSION_TAG },
  lease: { sid: 'SortieLeasesUntil', tag: LEASE_TAG },
} as const;
type Kind = keyof typeof KINDS;
const OLDER = 'SortieOlderUntil';

export interface Denial {
  /** `mission`: every session of it. `lease`: one session, so that the mission may get another. */
  readonly kind: Kind;
  readonly id: string;
  /** Seconds since the epoch; when the last such session is over by itself. */
  readonly ends_at: number;
}

/**
 * The document with `denials` added and everything left out that is over at `now`. Statements that are not
 * ours are kept as they are. Adding twice is adding once; a later end replaces an earlier one.
 */
export function withDenials(
  document: JsonObject | null,
  denials: readonly Denial[],
  mark: Mark,
  now: number,
): JsonObject {
  const contents = read(document, now);
  for (const { kind, id, ends_at } of denials) {
    const end = Math.ceil(ends_at / BUCKET_SECONDS) * BUCKET_SECONDS;
    const ends = contents.ends[kind];
    if (end > now) ends.set(id, Math.max(end, ends.get(id) ?? 0));
  }
  return write(contents, mark);
}

/** Denials of sessions that may be this young stay on the list: STS's clock may be ahead of ours. */
const SKEW_SECONDS = 60;

/**
 * The document with every session denied that was issued before `issued_before`, whoever's it is. An earlier such
 * denial is only ever widened. Where that leaves more than `room` characters, denials that it covers leave the
 * document, those that would end first before others.
 * @param issued_before seconds since the epoch, rounded up: STS tells the second of an issue
 * @param ends_at when the longest session of the role that was issued before is over
 */
export function withOlderDenied(
  document: JsonObject | null,
  issued_before: number,
  ends_at: number,
  mark: Mark,
  now: number,
  room = Number.POSITIVE_INFINITY,
): JsonObject {
  const contents = read(document, now);
  if (ends_at <= now) return write(contents, mark);
  const before = Math.max(Math.ceil(issued_before), ...contents.older.map(issuedBeforeIn));
  const end = Math.max(Math.ceil(ends_at), ...contents.older.map((one) => endOf(one)));
  const statement: JsonObject = {
    Sid: `${OLDER}${end}`,
    ...DENY,
    Condition: { DateLessThan: { 'aws:TokenIssueTime': rfc3339(before) } },
  };
  const next = { ...contents, older: [statement] };
  let written = write(next, mark);
  // Said again later, it says nothing of what was issued since.
  if (before < now - SKEW_SECONDS) return written;
  const all = (['mission', 'lease'] as const).flatMap((kind) => [...next.ends[kind].values()]);
  for (const first of [...new Set(all)].sort((a, b) => a - b)) {
    if (sizeOf(written) <= room) break;
    for (const ids of Object.values(next.ends))
      for (const [id, until] of ids) if (until === first) ids.delete(id);
    written = write(next, mark);
  }
  return written;
}

/** What IAM counts against 10,240 a role: characters without white space, of which compact JSON has none. */
export function sizeOf(document: JsonObject): number {
  return JSON.stringify(document).length;
}

/** Whether the document denies this at `now`. */
export function denies(document: JsonObject | null, { kind, id }: Denial, now: number): boolean {
  return read(document, now).ends[kind].has(id);
}

const DENY = { Effect: 'Deny', Action: '*', Resource: '*' } as const;

interface Contents {
  readonly foreign: readonly JsonValue[];
  readonly older: readonly JsonValue[];
  /** Id to the end of its denial. */
  readonly ends: Readonly<Record<Kind, Map<string, number>>>;
}

function read(document: JsonObject | null, now: number): Contents {
  const statements = document?.['Statement'];
  const foreign: JsonValue[] = [];
  const older: JsonValue[] = [];
  const ends = { mission: new Map<string, number>(), lease: new Map<string, number>() };
  for (const statement of Array.isArray(statements) ? (statements as readonly JsonValue[]) : []) {
    const sid = isJsonObject(statement) ? statement['Sid'] : undefined;
    const kind = (['mission', 'lease'] as const).find((one) => endIn(sid, KINDS[one].sid) !== null);
    const end = endIn(sid, kind === undefined ? OLDER : KINDS[kind].sid);
    if (end === null) foreign.push(statement);
    else if (end <= now) continue;
    else if (kind === undefined) older.push(statement);
    else for (const id of idsIn(statement)) ends[kind].set(id, end);
  }
  return { foreign, older, ends };
}

function endOf(statement: JsonValue): number {
  return endIn(isJsonObject(statement) ? statement['Sid'] : undefined, OLDER) ?? 0;
}

/** Seconds; 0 where it cannot be read. */
function issuedBeforeIn(statement: JsonValue): number {
  const condition = isJsonObject(statement) ? statement['Condition'] : undefined;
  const dates = isJsonObject(condition) ? condition['DateLessThan'] : undefined;
  const time = isJsonObject(dates) ? dates['aws:TokenIssueTime'] : undefined;
  return (typeof time === 'string' && instant(time)) || 0;
}

function endIn(sid: JsonValue | undefined, prefix: string): number | null {
  if (typeof sid !== 'string' || !sid.startsWith(prefix)) return null;
  const end = Number(sid.slice(prefix.length));
  return Number.isSafeInteger(end) ? end : null;
}

/** Ids as they were given, whichever mark they were written for. */
function idsIn(statement: JsonValue): readonly string[] {
  const condition = isJsonObject(statement) ? statement['Condition'] : undefined;
  const matches = isJsonObject(condition)
    ? (condition['StringEquals'] ?? condition['StringLike'])
    : undefined;
  if (!isJsonObject(matches)) return [];
  return Object.values(matches)
    .flat()
    .filter((value): value is string => typeof value === 'string')
    .map((value) => value.split('.').find((part) => part !== '*') ?? value);
}

function write({ foreign, older, ends }: Contents, mark: Mark): JsonObject {
  const ours = (['mission', 'lease'] as const).flatMap((kind) => {
    const buckets = new Map<number, string[]>();
    for (const [id, end] of ends[kind]) buckets.set(end, [...(buckets.get(end) ?? []), id]);
    return [...buckets]
      .sort(([a], [b]) => a - b)
      .map(([end, ids]) => ({
        Sid: `${KINDS[kind].sid}${end}`,
        ...DENY,
        Condition: conditionOf(kind, ids.sort(), mark),
      }));
  });
  return { Version: '2012-10-17', Statement: [...foreign, ...older, ...ours] };
}

function conditionOf(kind: Kind, ids: readonly string[], mark: Mark): JsonObject {
  if (mark === 'session_tag') return { StringEquals: { [`aws:PrincipalTag/${KINDS[kind].tag}`]: ids } };
  const patterns = ids.map((id) => (kind === 'mission' ? sourceIdentity(id, '*') : sourceIdentity('*', id)));
  return { StringLike: { 'aws:SourceIdentity': patterns } };
}
