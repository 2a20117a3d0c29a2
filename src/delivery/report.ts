/** What a run tells whoever started it, on standard error: sentences, or JSON lines on request. Never a value. */
import type { JsonValue } from '../domain/json.ts';

export type ReportEvent =
  | 'declaring'
  | 'mission'
  | 'cut'
  | 'delivered'
  | 'started'
  | 'replaced'
  | 'narrowed'
  | 'suspended'
  | 'resumed'
  | 'ended'
  | 'exited'
  | 'completed'
  | 'warning'
  | 'failed';

export type Report = (
  event: ReportEvent,
  sentence: string,
  facts?: Readonly<Record<string, JsonValue>>,
) => void;

/** Said even if a run is to be quiet. */
const ALWAYS: readonly ReportEvent[] = ['suspended', 'resumed', 'ended', 'warning', 'failed'];

export function createReport(options: {
  readonly json: boolean;
  readonly quiet: boolean;
  readonly write: (line: string) => void;
  /** Seconds since the epoch. */
  readonly now: () => number;
}): Report {
  return (event, sentence, facts = {}) => {
    if (options.json) {
      const ts = new Date(options.now() * 1000).toISOString();
      options.write(`${JSON.stringify({ ts, event, message: sentence, ...facts })}\n`);
      return;
    }
    if (!options.quiet || ALWAYS.includes(event)) options.write(`sortie: ${sentence}\n`);
  };
}
