/** Tells the story: short lines for people, or one JSON document for machines. Colour only where somebody looks. */

export type Facts = Readonly<Record<string, unknown>>;

export interface Narrator {
  chapter(title: string): void;
  /** One line; `took_ms` stands at its end. */
  say(line: string, took_ms?: number): void;
  good(line: string, took_ms?: number): void;
  refused(line: string, took_ms?: number): void;
  /** What `--json` prints. */
  fact(step: string, facts: Facts): void;
  end(took_ms: number): void;
  failed(cause: Error): void;
}

const WIDTH = 78;

export function narrator(options: {
  readonly json: boolean;
  readonly colour: boolean;
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
}): Narrator {
  const { json, out, err } = options;
  const paint = (code: number, text: string) => (options.colour ? `\u001b[${code}m${text}\u001b[0m` : text);
  const steps: Record<string, unknown>[] = [];
  let chapters = 0;
  const line = (mark: string, text: string, took_ms: number | undefined) => {
    if (json) return;
    if (took_ms === undefined) return out(`  ${mark} ${text}\n`);
    const time = `${took_ms < 10 ? took_ms.toFixed(1) : Math.round(took_ms)} ms`;
    const gap = ' '.repeat(Math.max(2, WIDTH - 4 - text.length - time.length));
    out(`  ${mark} ${text}${gap}${paint(2, time)}\n`);
  };
  return {
    chapter(title) {
      if (!json) out(`\n${paint(1, `${++chapters}. ${title}`)}\n`);
    },
    say: (text, took_ms) => line(' ', text, took_ms),
    good: (text, took_ms) => line(paint(32, '+'), text, took_ms),
    refused: (text, took_ms) => line(paint(31, '-'), text, took_ms),
    fact: (step, facts) => void steps.push({ step, ...facts }),
    end(took_ms) {
      if (json) out(`${JSON.stringify({ ok: true, took_ms: Math.round(took_ms), steps }, null, 2)}\n`);
      else
        out(`\nDone in ${(took_ms / 1000).toFixed(1)} s; every process has ended, nothing is left behind.\n`);
    },
    failed(cause) {
      if (json) out(`${JSON.stringify({ ok: false, error: cause.message, steps }, null, 2)}\n`);
      err(`demo failed: ${cause.message}\n`);
    },
  };
}
