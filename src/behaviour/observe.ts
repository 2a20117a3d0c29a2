import { ORIGIN, type ProvenanceMemory, recall, rememberedValues } from './memory.ts';
import { type DeclaredSource, LINKED_TEXT, MAX_SOURCES, type MissionState } from './mission.ts';
import { SINK_KINDS } from './values.ts';

/**
 * Provenance that one verifier tells the broker (`POST /observations`): digests only, under the key that all audiences
 * of a mission share. What the mission's own words or its template name is never told: everybody can read those.
 */
export interface Observation {
  /** One of {@link OBSERVED}, or a fact without digests (see {@link factsSince}). */
  readonly origin: string;
  /** `*`, or the declared step that a value came from: `action`, or `action#member.names`. */
  readonly field: string;
  readonly digests: readonly string[];
}

/**
 * Origins that values are observed with. `heard`: in text, which need not be text that can instruct. `vouched` and `told` name a step: it returned the value in a field that the
 * service vouches for, or in text. Marks that take proof away come first, so that a batch that is cut is never kinder.
 */
export const OBSERVED = [
  'echo',
  'repeated',
  'ambiguous',
  'system',
  'counterparty',
  'heard',
  'linked',
  'vouched',
  'told',
  'linked_text',
] as const;

/** Said of a mission, with digests or without: it has taken in what strangers wrote. Marks it, as `heard` does not. */
export const MARK = 'text';

export const WHOLE = '*';
/** Digests in one observation. */
const BATCH = 1000;
const NAME_MAX = 256;

/** Name of a step on the wire. */
export function stepName(source: DeclaredSource): string {
  return source.field === undefined ? source.action : `${source.action}#${source.field}`;
}

/** @param name as {@link stepName} gives it */
export function stepOf(name: string): DeclaredSource {
  const mark = name.indexOf('#');
  return mark < 0 ? { action: name } : { action: name.slice(0, mark), field: name.slice(mark + 1) };
}

/** What a mission has been told of so far, as a state that the broker acknowledged; null for nothing. */
export type Told = Pick<MissionState, 'memory' | 'linked_sources' | 'vouched_kinds' | 'pending'> | null;

/** What was learned since `before`: values that are new, or known from a further origin, and facts of the mission. */
export function observationsSince(before: Told, after: MissionState): Observation[] {
  const fresh = new Map<string, string[]>();
  if (after.memory !== before?.memory) collectValues(before?.memory ?? null, after, fresh);
  const out: Observation[] = [];
  for (const origin of OBSERVED) {
    for (const [key, digests] of fresh) {
      if (!key.startsWith(`${origin} `)) continue;
      const field = key.slice(origin.length + 1);
      for (let at = 0; at < digests.length; at += BATCH)
        out.push({ origin, field, digests: digests.slice(at, at + BATCH) });
    }
  }
  return [...out, ...factsSince(before, after)];
}

function collectValues(
  before: ProvenanceMemory | null,
  after: MissionState,
  fresh: Map<string, string[]>,
): void {
  const steps = after.sources.map(stepName);
  const add = (origin: string, field: string, digest: string): void => {
    const key = `${origin} ${field}`;
    const known = fresh.get(key);
    if (known === undefined) fresh.set(key, [digest]);
    else known.push(digest);
  };
  for (const { digest, origins, vouched, text } of rememberedValues(after.memory)) {
    const known = before === null ? null : recall(before, digest);
    const added = origins & ~(known?.origins ?? 0);
    if ((added & ORIGIN.text) !== 0) add('heard', WHOLE, digest);
    for (const origin of ['echo', 'repeated', 'ambiguous', 'system', 'counterparty', 'linked'] as const)
      if ((added & ORIGIN[origin]) !== 0) add(origin, WHOLE, digest);
    const vouching = vouched & ~(known?.vouched ?? 0);
    const telling = text & ~(known?.text ?? 0);
    if ((vouching | telling) === 0) continue;
    for (let slot = 0; slot < MAX_SOURCES; slot++) {
      const step = steps[slot];
      if (step === undefined || step.length > NAME_MAX) continue;
      if ((vouching & (1 << slot)) !== 0) add('vouched', step, digest);
      if ((telling & (1 << slot)) !== 0) add('told', step, digest);
    }
    if ((telling & LINKED_TEXT) !== 0) add('linked_text', WHOLE, digest);
  }
}

/**
 * Facts without digests: `linked_source` (the step returned a counterparty whom the mission names), `kind_<kind>` (the
 * step vouches for destinations of that kind), `confirmable` (an effect was permitted that a code may complete).
 */
function factsSince(before: Told, after: MissionState): Observation[] {
  const out: Observation[] = [];
  const fact = (origin: string, field: string): void => {
    if (field.length <= NAME_MAX) out.push({ origin, field, digests: [] });
  };
  for (const [slot, source] of after.sources.entries()) {
    const bit = 1 << slot;
    if ((after.linked_sources & ~(before?.linked_sources ?? 0) & bit) !== 0)
      fact('linked_source', stepName(source));
    const kinds = (after.vouched_kinds[slot] ?? 0) & ~(before?.vouched_kinds[slot] ?? 0);
    for (const [at, kind] of SINK_KINDS.entries())
      if ((kinds & (1 << at)) !== 0) fact(`kind_${kind}`, stepName(source));
  }
  if (after.pending > 0 && (before?.pending ?? 0) === 0) fact('confirmable', WHOLE);
  return out;
}
