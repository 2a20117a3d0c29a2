/** What an agent declares, for itself or for a child, and the mission intent that goes on the wire. */
import type { AuthorityEntry } from '../../domain/authority/index.ts';
import type { JsonObject } from '../../domain/json.ts';
import type { MissionIntent } from '../../domain/mission.ts';
import { rfc3339 } from '../../domain/reader.ts';

/** A task: inert prose, resources and an end (wire profile 2.2). */
export interface Task extends Omit<MissionIntent, 'expires_at'> {
  /** RFC 3339 or a Date: when the mission is to end. This or `lifetime_seconds`. */
  readonly expires_at?: string | Date;
  /** Instead of `expires_at`: from now. */
  readonly lifetime_seconds?: number;
}

/** The task, and what is asked for. */
export interface Declaration extends Task {
  /** The proposal. Without it: the template's ceiling over `resources`. */
  readonly authorization_details?: readonly AuthorityEntry[];
  /** Only this template; else the broker's dispatch list decides. */
  readonly template_id?: string;
  /**
   * Makes a repeated declaration the same mission. Default: new for each call of `declare`, kept over its own retries.
   * With your own, give `expires_at`: a repetition must ask for exactly the same.
   */
  readonly creation_request_id?: string;
}

/** Members of a declaration that are no part of the intent. */
export interface Asked {
  readonly authorization_details?: readonly AuthorityEntry[];
  readonly template_id?: string;
}

/** @throws TypeError for a task without exactly one end */
export function intentOf(task: Task, now: number): JsonObject {
  const { expires_at, lifetime_seconds, ...rest } = task;
  if ((expires_at === undefined) === (lifetime_seconds === undefined))
    throw new TypeError('a mission needs an end: give one of expires_at and lifetime_seconds');
  const end =
    expires_at === undefined
      ? rfc3339(now + (lifetime_seconds ?? 0))
      : expires_at instanceof Date
        ? expires_at.toISOString()
        : expires_at;
  return { ...rest, expires_at: end } as unknown as JsonObject;
}
