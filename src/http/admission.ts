/**
 * What is shed, and for whom: agents' exchanges are bounded as a whole and for each key, so that one agent in a
 * loop cannot starve the others, and nobody can starve revocation and administration, which are never shed.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { Denied } from '../domain/denial.ts';
import type { Route } from './route.ts';

export interface OverloadPolicy {
  readonly concurrent_exchanges: number;
  readonly concurrent_per_instance: number;
}

const RETRY_AFTER_SECONDS = 1;
const CLOSED_RETRY_AFTER_SECONDS = 60;

/** @param issuing false while nothing may be issued, as after a restored backup */
export function createAdmission(
  policy: OverloadPolicy,
  issuing: () => boolean = () => true,
): (route: Route, headers: IncomingHttpHeaders) => () => void {
  let total = 0;
  const byKey = new Map<string, number>();
  return (route, headers) => {
    if (route.auth.kind !== 'agent' || !route.hot) return () => undefined;
    if (!issuing()) throw new Denied({ tag: 'overloaded', retry_after_seconds: CLOSED_RETRY_AFTER_SECONDS });
    const key = keyOf(headers['dpop']);
    const own = byKey.get(key) ?? 0;
    if (total >= policy.concurrent_exchanges || own >= policy.concurrent_per_instance)
      throw new Denied({ tag: 'overloaded', retry_after_seconds: RETRY_AFTER_SECONDS });
    total++;
    byKey.set(key, own + 1);
    return () => {
      total--;
      const left = (byKey.get(key) ?? 1) - 1;
      if (left === 0) byKey.delete(key);
      else byKey.set(key, left);
    };
  };
}

/**
 * The header part of a proof carries the key and nothing that changes from proof to proof. It is not verified
 * here: lying about it only spreads the liar over more keys, and the total bound still holds.
 */
function keyOf(proof: string | string[] | undefined): string {
  if (typeof proof !== 'string') return '';
  return proof.slice(0, Math.min(1024, Math.max(0, proof.indexOf('.'))));
}
