/**
 * The folder of one run: 0700, in a place where nobody else can exchange it, with files of 0600 that are replaced in
 * one step. It goes at the end, and what a killed run left behind goes at the next start.
 */
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  lstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The folder is not, or is no longer, one that only this user can change. */
export class UnsafeFolder extends Error {}

const PREFIX = 'sortie-run-';
const OWNER = 'owner';
const GROUP_OR_OTHERS_WRITE = 0o022;
const STICKY = 0o1000;

export class PrivateFolder {
  readonly path: string;
  readonly #identity: { readonly dev: number; readonly ino: number };
  readonly #on_exit = () => this.remove();
  #removed = false;

  private constructor(path: string, { dev, ino }: Stats) {
    this.path = path;
    this.#identity = { dev, ino };
  }

  /**
   * @param env `XDG_RUNTIME_DIR` (in memory, and the user's own) is preferred to the temporary folder
   * @throws UnsafeFolder where somebody else could exchange the folder
   */
  static create(env: NodeJS.ProcessEnv): PrivateFolder {
    const runtime = env['XDG_RUNTIME_DIR'];
    // After su or sudo it names a folder that is not there.
    const parent = realpathSync(runtime && existsSync(runtime) ? runtime : env['TMPDIR'] || tmpdir());
    requireSafeParent(parent);
    sweep(parent);
    const path = mkdtempSync(join(parent, PREFIX));
    const folder = new PrivateFolder(path, lstatSync(path));
    folder.#require();
    folder.write(OWNER, JSON.stringify(ownerOf(process.pid)));
    // Also where this process ends on a fault of its own.
    process.once('exit', folder.#on_exit);
    return folder;
  }

  /** Where a file of this name is. */
  at(name: string): string {
    return join(this.path, name);
  }

  /** Puts a file in place in one step: a reader sees the old content or the new, never a part. @throws UnsafeFolder */
  write(name: string, content: string): string {
    this.#require();
    const path = this.at(name);
    const next = this.at(`.${randomBytes(8).toString('hex')}`);
    const file = openSync(
      next,
      constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
      0o600,
    );
    try {
      writeSync(file, content);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(next, path);
    return path;
  }

  /** Removes the folder and all that is in it; once. Follows no link. */
  remove(): void {
    if (this.#removed) return;
    this.#removed = true;
    process.off('exit', this.#on_exit);
    // Somebody put something else in its place: that is not ours to empty.
    if (!this.#same()) return;
    rmSync(this.path, { recursive: true, force: true });
  }

  #same(): boolean {
    try {
      const now = lstatSync(this.path);
      return now.isDirectory() && now.dev === this.#identity.dev && now.ino === this.#identity.ino;
    } catch {
      return false;
    }
  }

  #require(): void {
    const uid = process.getuid?.();
    if (!this.#same()) throw new UnsafeFolder(`${this.path} is not the folder that this run made`);
    const { mode, uid: owner } = lstatSync(this.path);
    if ((mode & 0o777) !== 0o700 || owner !== uid)
      throw new UnsafeFolder(`${this.path} must be this user's alone (0700)`);
  }
}

/** Others may not rename what is in it: it is this user's or root's, and closed to others or sticky. */
function requireSafeParent(parent: string): void {
  const { mode, uid } = statSync(parent);
  const owned = uid === 0 || uid === process.getuid?.();
  if (!owned || ((mode & GROUP_OR_OTHERS_WRITE) !== 0 && (mode & STICKY) === 0))
    throw new UnsafeFolder(
      `${parent}: others can exchange what is in it; set XDG_RUNTIME_DIR or TMPDIR to a folder of your own`,
    );
}

/** Folders of this user whose run was killed. */
function sweep(parent: string): void {
  for (const name of readdirSync(parent)) {
    if (!name.startsWith(PREFIX)) continue;
    const path = join(parent, name);
    try {
      const found = lstatSync(path);
      if (!found.isDirectory() || found.uid !== process.getuid?.()) continue;
      const { pid, started, namespace } = JSON.parse(readFileSync(join(path, OWNER), 'utf8')) as Owner;
      // Another container's numbers say nothing here.
      if (namespace !== pidNamespace() || startOf(pid) === started) continue;
      rmSync(path, { recursive: true, force: true });
    } catch {
      // Being made or removed by its own run.
    }
  }
}

interface Owner {
  readonly pid: number;
  readonly started: string | null;
  readonly namespace: string;
}

function ownerOf(pid: number): Owner {
  return { pid, started: startOf(pid), namespace: pidNamespace() };
}

function pidNamespace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid');
  } catch {
    return 'unknown';
  }
}

/** What tells a process from a later one with its number; null where there is none. */
function startOf(pid: number): string | null {
  try {
    process.kill(pid, 0);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ESRCH') return null;
  }
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // Field 22; the name in field 2 may hold spaces and parentheses.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? 'unknown';
  } catch {
    // No /proc here (macOS): the number alone has to do.
    return 'unknown';
  }
}
