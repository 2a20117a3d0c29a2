/** What a command may touch, so that tests can run commands in their own process. */
export interface Terminal {
  readonly env: NodeJS.ProcessEnv;
  out(text: string): void;
  err(text: string): void;
  stdin(): Promise<string>;
  onSignal(signal: NodeJS.Signals, listener: () => void): void;
  /** How this program is started, for tools that call it back. */
  readonly self?: readonly string[];
}

/** A failure that is the user's to mend: printed as one line, exit code 1. */
export class Failure extends Error {}

/** The end of a command that has said everything itself. */
export class Exit extends Error {
  readonly code: number;

  constructor(code: number) {
    super(`exit ${code}`);
    this.code = code;
  }
}

/** Rows under a header, columns as wide as their widest cell. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [header, ...rows];
  const widths = header.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  return all
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .map((line) => `${line}\n`)
    .join('');
}
