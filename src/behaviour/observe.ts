import {
  DEFAULT_MEMORY_LIMITS,
  type MemoryLimits,
  MemoryWriter,
  ORIGIN,
  rememberedValues,
} from './memory.ts';
import type { MissionState } from './mission.ts';

/** Provenance that one verifier tells another by way of the broker: `POST /observations`, digests only. */
export interface Observation {
  readonly mission_id: string;
  readonly origin: 'system' | 'counterparty' | 'text' | 'echo';
  readonly digests: readonly string[];
}

const BATCH = 256;

/** What this audience learned since `before`: values that are new, or known from a further origin. */
export function observationsSince(before: MissionState, after: MissionState): Observation[] {
  const known = new Map([...rememberedValues(before.memory)].map((value) => [value.digest, value.origins]));
  const fresh = new Map<Observation['origin'], string[]>();
  for (const value of rememberedValues(after.memory)) {
    const added = value.origins & ~(known.get(value.digest) ?? 0);
    for (const origin of ['system', 'counterparty', 'text', 'echo'] as const) {
      if ((added & ORIGIN[origin]) !== 0) fresh.set(origin, [...(fresh.get(origin) ?? []), value.digest]);
    }
  }
  return [...fresh].flatMap(([origin, digests]) => {
    const out: Observation[] = [];
    for (let i = 0; i < digests.length; i += BATCH) {
      out.push({ mission_id: after.mission_id, origin, digests: digests.slice(i, i + BATCH) });
    }
    return out;
  });
}

/**
 * Takes in what another audience observed. Origins only ever add up: a digest that somebody heard from strangers
 * keeps that mark whatever else is said of it. `trusted` is whether the reporting verifier's word on vouched-for
 * fields is taken; without it only taint travels.
 */
export function applyObservation(
  state: MissionState,
  observation: Observation,
  trusted: boolean,
  limits: MemoryLimits = DEFAULT_MEMORY_LIMITS,
): MissionState {
  if (observation.mission_id !== state.mission_id) return state;
  const strange = observation.origin === 'text' || observation.origin === 'echo';
  if (!strange && !trusted) return state;
  const writer = new MemoryWriter(state.memory, limits);
  for (const digest of observation.digests) {
    if (/^[0-9a-f]{12}$/.test(digest)) writer.add(digest, ORIGIN[observation.origin]);
  }
  return { ...state, memory: writer.done(), tainted: state.tainted || observation.origin === 'text' };
}
