/** `GET /status-lists/{id}`: Token Status List (draft-ietf-oauth-status-list), 2 bits a mission. */

import { Denied } from '../domain/denial.ts';
import { encodeStatusList, packStatuses, STATUS_INVALID, STATUS_SUSPENDED } from '../domain/status-list.ts';
import type { Ports } from '../ports.ts';
import { STATUS_LIST_SIZE } from './status-slots.ts';

export const STATUS_LIST_TYP = 'statuslist+jwt';
/** The stated staleness: whoever needs less reads the feed. */
const TTL_SECONDS = 60;
const BUILT_SECONDS = 15;
const CACHED = 32;
const LOOK_SECONDS = 1;

/** Lists are built when asked for and at most every quarter minute, so that a crowd of readers costs one build. */
export function createStatusLists(ports: Ports): (id: string) => Promise<string> {
  let last = { list: -1, until: 0 };
  const built = new Map<number, { readonly until: number; readonly token: Promise<string> }>();
  return async (id) => {
    const list = /^(0|[1-9]\d{0,8})$/.test(id) ? Number(id) : -1;
    const now = ports.clock.now();
    const known = built.get(list);
    if (known && known.until > now) return known.token;
    // Anybody may ask: what does not exist costs one look a second, however often it is asked for.
    if (list > last.list && last.until <= now)
      last = { list: (await ports.store.statusListInUse()).list, until: now + LOOK_SECONDS };
    if (list < 0 || list > last.list) throw new Denied({ tag: 'not_found' });
    const token = build(ports, list, now);
    token.catch(() => built.delete(list));
    if (built.size >= CACHED) built.clear();
    built.set(list, { until: now + BUILT_SECONDS, token });
    return token;
  };
}

async function build(ports: Ports, list: number, now: number): Promise<string> {
  const statuses = await ports.store.statuses(list, now);
  const bytes = packStatuses(
    2,
    STATUS_LIST_SIZE,
    statuses.map(({ index, status }) => [index, status === 1 ? STATUS_INVALID : STATUS_SUSPENDED]),
  );
  const { issuer } = ports.policy();
  return ports.tokens.sign(STATUS_LIST_TYP, 'ES256', {
    sub: `${issuer}/status-lists/${list}`,
    iss: issuer,
    iat: Math.floor(now),
    exp: Math.floor(now) + 2 * TTL_SECONDS,
    ttl: TTL_SECONDS,
    status_list: { ...encodeStatusList(2, bytes) },
  });
}
