/** The demo's processes: started, waited for, spoken to, and ended by their own ids. */
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** A machine that runs all its tests at once is slow to start five processes. */
const READY_MS = 40_000;
const ANSWER_MS = 15_000;
const END_MS = 3_000;
const TAIL_LINES = 12;

export interface ChildOptions {
  readonly name: string;
  /** Path below the project, and arguments. */
  readonly command: readonly [string, ...string[]];
  readonly env: Readonly<Record<string, string>>;
  /** A line that holds this says that it is ready. */
  readonly ready: string;
}

export class Child {
  readonly name: string;
  /** Everything it printed on its standard output, line by line. */
  readonly lines: string[] = [];
  readonly #process: ChildProcess;
  readonly #exited: Promise<number | null>;
  readonly #answers = new Map<number, { resolve(value: unknown): void; reject(cause: Error): void }>();
  readonly #tail: string[] = [];
  #asked = 0;
  #ending = false;
  #onLine: (() => void)[] = [];

  constructor(options: ChildOptions, failed: (cause: Error) => void) {
    this.name = options.name;
    const [file, ...args] = options.command;
    const { PATH = '', HOME = '' } = process.env;
    this.#process = spawn(
      process.execPath,
      [
        '--disable-warning=ExperimentalWarning',
        '--import',
        new URL('end-with-parent.ts', import.meta.url).href,
        path(file),
        ...args,
      ],
      { env: { PATH, HOME, ...options.env }, stdio: ['ignore', 'pipe', 'pipe', 'ipc'] },
    );
    this.#exited = new Promise((resolve) => {
      this.#process.once('exit', (code) => {
        for (const { reject } of this.#answers.values()) reject(new Error(`${this.name} ended`));
        if (!this.#ending) failed(new Error(`${this.name} ended by itself (${code}):\n${this.tail()}`));
        resolve(code);
      });
    });
    this.#process.once('error', failed);
    this.#process.stdout?.setEncoding('utf8').on(
      'data',
      byLine((line) => {
        this.#remember(line);
        this.lines.push(line);
        for (const listener of this.#onLine) listener();
      }),
    );
    this.#process.stderr?.setEncoding('utf8').on(
      'data',
      byLine((line) => this.#remember(line)),
    );
    this.#process.on(
      'message',
      (message: { id: number; value?: unknown; error?: Record<string, unknown> }) => {
        const waiting = this.#answers.get(message.id);
        this.#answers.delete(message.id);
        if (message.error === undefined) waiting?.resolve(message.value);
        else
          waiting?.reject(
            Object.assign(new Error(String(message.error['message'])), { wire: message.error }),
          );
      },
    );
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  /** The last lines that it printed, for a failure's message. */
  tail(): string {
    return this.#tail.map((line) => `    ${line}`).join('\n');
  }

  /** Resolves with the first line that holds `text`, those printed already included. */
  line(text: string, max_ms = READY_MS): Promise<string> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`${this.name} did not say "${text}" in ${max_ms} ms:\n${this.tail()}`)),
        max_ms,
      );
      const look = () => {
        const found = this.lines.find((line) => line.includes(text));
        if (found === undefined) return;
        clearTimeout(timer);
        this.#onLine = this.#onLine.filter((listener) => listener !== look);
        resolve(found);
      };
      this.#onLine.push(look);
      look();
    });
  }

  /** Sends an order and waits for its answer. @throws Error with `wire` for a typed refusal */
  ask<T>(order: unknown): Promise<T> {
    const id = ++this.#asked;
    return new Promise<T>((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`${this.name} did not answer within ${ANSWER_MS} ms`)),
        ANSWER_MS,
      );
      this.#answers.set(id, {
        resolve: (value) => {
          clearTimeout(timer);
          resolve(value as T);
        },
        reject: (cause) => {
          clearTimeout(timer);
          reject(cause);
        },
      });
      this.#process.send({ id, order });
    });
  }

  /** Ends it, politely and then not. @returns its exit code */
  async end(): Promise<number | null> {
    this.#ending = true;
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), END_MS);
    this.#process.kill('SIGTERM');
    const code = await this.#exited;
    clearTimeout(timer);
    return code;
  }

  #remember(line: string): void {
    this.#tail.push(line);
    if (this.#tail.length > TAIL_LINES) this.#tail.shift();
  }
}

export class Children {
  readonly #running: Child[] = [];
  readonly #failures: ((cause: Error) => void)[] = [];
  /** Rejects when any of them ends by itself; never resolves. */
  readonly failed: Promise<never>;

  constructor() {
    this.failed = new Promise((_, reject) => this.#failures.push(reject));
    this.failed.catch(() => undefined);
  }

  async start(options: ChildOptions): Promise<Child> {
    const child = new Child(options, (cause) => {
      for (const fail of this.#failures) fail(cause);
    });
    this.#running.push(child);
    await Promise.race([child.line(options.ready), this.failed]);
    return child;
  }

  async end(child: Child): Promise<number | null> {
    this.#running.splice(this.#running.indexOf(child), 1);
    return child.end();
  }

  get pids(): readonly number[] {
    return this.#running.map(({ pid }) => pid);
  }

  async endAll(): Promise<void> {
    await Promise.all(this.#running.splice(0).map((child) => child.end()));
  }
}

/** Runs one command of the project to its end. */
export function runToEnd(
  command: readonly [string, ...string[]],
): Promise<{ code: number | null; out: string }> {
  const [file, ...args] = command;
  return new Promise((resolve, reject) => {
    const { PATH = '', HOME = '' } = process.env;
    const child = spawn(process.execPath, [path(file), ...args], { env: { PATH, HOME }, timeout: ANSWER_MS });
    let out = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      out += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      out += text;
    });
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, out: out.trim() }));
  });
}

function path(below: string): string {
  return fileURLToPath(new URL(`../${below}`, import.meta.url));
}

function byLine(take: (line: string) => void): (chunk: string) => void {
  let rest = '';
  return (chunk) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) take(line);
  };
}
