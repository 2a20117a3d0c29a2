/** What the demo tells its agent to do, and what it hears back. */
import type { CallContext, Declaration } from '../src/sdk/agent/index.ts';

export type AgentOrder =
  | { readonly do: 'declare'; readonly declaration: Declaration }
  | { readonly do: 'call'; readonly method: string; readonly url: string; readonly body?: unknown }
  | { readonly do: 'can'; readonly action: string; readonly resource: string; readonly context?: CallContext }
  | { readonly do: 'watch'; readonly url: string; readonly max_ms: number }
  | { readonly do: 'status' }
  /** Asks the broker how the mission stands. */
  | { readonly do: 'refresh' }
  | { readonly do: 'leak'; readonly resource: string };

/** Times in milliseconds since the epoch, with a fraction. */
export interface CallReport {
  readonly started_at: number;
  readonly ended_at: number;
  readonly status: number | null;
  readonly answer: unknown;
  /** A typed refusal, as JSON. */
  readonly error: Record<string, unknown> | null;
  /** Renewals that happened meanwhile. */
  readonly renewed: number;
}

export interface WatchReport {
  /** When each permitted call was started. */
  readonly permitted: readonly number[];
  readonly refused: CallReport;
}
