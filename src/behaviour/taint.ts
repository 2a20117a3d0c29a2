/**
 * Taint beyond one mission and one audience, as pure state. Two things are decided here: what a new mission
 * inherits from the instance and the parent that declare it, and when an answer may be released to an agent that
 * could carry it to another audience.
 */

/** Instances that have taken in untrusted content, and since when (seconds). */
export interface InstanceTaint {
  readonly since: ReadonlyMap<string, number>;
}

export const NO_TAINT: InstanceTaint = { since: new Map() };

/** Remembers that a mission of this instance took in untrusted content. The first time stands. */
export function taintInstance(state: InstanceTaint, instance: string, now: number): InstanceTaint {
  if (state.since.has(instance)) return state;
  return { since: new Map([...state.since, [instance, now]]) };
}

export interface Birth {
  readonly instance: string;
  /** `launcher`: an attested identity other than the executing key wrote intent and proposal. */
  readonly declared_by: 'launcher' | 'agent';
  /** The declaring mission, for a child. */
  readonly parent?: { readonly instance: string; readonly tainted: boolean };
}

/**
 * Whether a mission is tainted from birth (wire profile 2.6): whoever declares it had already read what strangers
 * wrote. Only a launcher or a new instance clears this; neither a later declaration nor a sub-agent does.
 */
export function isBornTainted(state: InstanceTaint, birth: Birth): boolean {
  if (birth.parent !== undefined) {
    if (birth.parent.tainted || state.since.has(birth.parent.instance)) return true;
  }
  return birth.declared_by === 'agent' && state.since.has(birth.instance);
}

/** Drops instances that ended; an instance id is never used again, so nothing is forgiven by this. */
export function forgetInstances(state: InstanceTaint, ended: ReadonlySet<string>): InstanceTaint {
  return { since: new Map([...state.since].filter(([instance]) => !ended.has(instance))) };
}

/** What one verifier has told about one mission's untrusted reads. */
interface VerifierMarks {
  /** Highest read announced, and highest the broker has acknowledged. */
  readonly announced: number;
  readonly acknowledged: number;
}

export interface MissionMarks {
  readonly tainted: boolean;
  readonly verifiers: ReadonlyMap<string, VerifierMarks>;
}

export const UNMARKED: MissionMarks = { tainted: false, verifiers: new Map() };

/** Longest that a consequential check waits for outstanding observations, in milliseconds. */
export const OBSERVATION_WAIT_MS = 150;

export type MarkEvent =
  | { readonly type: 'untrusted_read'; readonly verifier: string; readonly read: number }
  | { readonly type: 'acknowledged'; readonly verifier: string; readonly read: number }
  | { readonly type: 'check'; readonly sink_known: boolean; readonly waited_ms: number };

export type MarkAction =
  /** Tell the broker and hold the body back until it answers. */
  | 'announce_and_hold'
  /** The mission is known to be tainted there: release now, report in the next batch. */
  | 'release_and_report'
  | 'release'
  | 'judge'
  | 'wait'
  | 'refuse';

/**
 * Mark, then release. The first untrusted read at each verifier is acknowledged before its body reaches the agent,
 * so a consequential check elsewhere can never come before the mark. Later reads report behind; an unknown sink
 * then waits for them a little, and is refused where they do not come.
 */
export function mark(
  state: MissionMarks,
  event: MarkEvent,
): { readonly state: MissionMarks; readonly action: MarkAction } {
  switch (event.type) {
    case 'untrusted_read': {
      const before = state.verifiers.get(event.verifier);
      const marks = {
        announced: Math.max(before?.announced ?? 0, event.read),
        acknowledged: before?.acknowledged ?? 0,
      };
      const next = { tainted: true, verifiers: new Map([...state.verifiers, [event.verifier, marks]]) };
      return { state: next, action: marks.acknowledged === 0 ? 'announce_and_hold' : 'release_and_report' };
    }
    case 'acknowledged': {
      const before = state.verifiers.get(event.verifier);
      if (before === undefined) return { state, action: 'release' };
      const acknowledged = Math.min(before.announced, Math.max(before.acknowledged, event.read));
      const marks = { announced: before.announced, acknowledged };
      return {
        state: { tainted: true, verifiers: new Map([...state.verifiers, [event.verifier, marks]]) },
        action: 'release',
      };
    }
    case 'check': {
      const outstanding = [...state.verifiers.values()].some((marks) => marks.acknowledged < marks.announced);
      if (event.sink_known || !outstanding) return { state, action: 'judge' };
      return { state, action: event.waited_ms < OBSERVATION_WAIT_MS ? 'wait' : 'refuse' };
    }
  }
}
