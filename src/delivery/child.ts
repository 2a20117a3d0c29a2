/** The command: started with what it is given, signals passed on, ended when its mission is. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';

export const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const;
export type Forwarded = (typeof FORWARDED)[number];

/** The command cannot be started: 127 where it is not found, 126 where it may not be run, as in a shell. */
export class NotStarted extends Error {
  readonly exit_code: number;

  constructor(command: string, code: string) {
    super(`${command}: ${code === 'ENOENT' ? 'not found' : `cannot be run (${code})`}`);
    this.exit_code = code === 'ENOENT' ? 127 : 126;
  }
}

export interface Child {
  /** Exit code, or 128 and the number of the signal that ended it. */
  readonly exited: Promise<number>;
  /** As it came to this process. */
  forward(signal: Forwarded): void;
  /** SIGTERM now, SIGKILL after the grace period. */
  terminate(grace_ms: number): void;
}

/** Inherits the three standard streams. @throws NotStarted */
export async function startChild(
  command: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<Child> {
  const child = spawn(command, args, { env, stdio: 'inherit' });
  const exited = new Promise<number>((resolve) => {
    child.once('exit', (code, signal) => resolve(code ?? 128 + numberOf(signal)));
  });
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve);
    // Later ones are signals that could not be sent; the command goes on.
    child.on('error', (cause: NodeJS.ErrnoException) =>
      reject(new NotStarted(command, cause.code ?? 'unknown')),
    );
  });
  let kill: NodeJS.Timeout | undefined;
  exited.then(() => clearTimeout(kill));
  return {
    exited,
    forward(signal) {
      // A key press reaches every process in the foreground by itself; twice would be a second key press.
      if ((signal === 'SIGINT' || signal === 'SIGQUIT') && inForeground()) return;
      deliver(child, signal);
    },
    terminate(grace_ms) {
      deliver(child, 'SIGTERM');
      kill ??= setTimeout(() => deliver(child, 'SIGKILL'), grace_ms);
    },
  };
}

function deliver(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.exitCode === null && child.signalCode === null) child.kill(signal);
}

function numberOf(signal: NodeJS.Signals | null): number {
  return signal === null ? 0 : constants.signals[signal];
}

/** Whether this process is in the foreground of a terminal, and so gets its key presses together with its command. */
function inForeground(): boolean {
  try {
    const stat = readFileSync('/proc/self/stat', 'utf8');
    const [, , group, , , foreground] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return group === foreground;
  } catch {
    // No /proc here (macOS).
    return process.stdin.isTTY === true;
  }
}
