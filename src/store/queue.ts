/**
 * Group commit, seen from the main thread: while the writer is busy, groups queue; when it is free, what is
 * queued goes as one message and shares one fsync.
 */
import { Worker } from 'node:worker_threads';
import { Denied } from '../domain/denial.ts';
import { type Committed, type RetentionPolicy, type Write, WriteConflict } from '../ports.ts';
import type { GroupResult } from './engine.ts';
import type { WriterReply, WriterRequest, WriterStart } from './protocol.ts';

/** Groups in one transaction at most: bounds how long a revocation waits behind those before it. */
const BATCH_GROUPS = 1000;
/** Beyond this, new authority is refused; ending authority is not. */
/** Longest wait for the writer to end by itself. */
const CLOSE_MILLISECONDS = 2000;
const QUEUED_GROUPS = 10_000;

/** The storage itself failed: nothing of the group is stored, and it may be tried again. */
export class StorageError extends Error {
  /** SQLite's code, such as `SQLITE_FULL`; null where SQLite did not speak. */
  readonly code: string | null;

  constructor(message: string, code: string | null) {
    super(message);
    this.name = 'StorageError';
    this.code = code;
  }
}

interface Waiting {
  readonly settle: (reply: WriterReply) => void;
  readonly fail: (error: Error) => void;
}

interface Group {
  readonly body: string;
  readonly resolve: (committed: Committed) => void;
  readonly reject: (error: Error) => void;
}

export interface WriteQueue {
  add(writes: readonly Write[]): Promise<Committed>;
  prune(now: number, keep: RetentionPolicy): Promise<{ removed: number }>;
  /** Groups that wait; for readiness and metrics. */
  readonly waiting: number;
  close(): Promise<void>;
}

/** Writes that take authority away pass however long the queue is (architecture rule 10). */
function endsAuthority(write: Write): boolean {
  return (
    write.kind === 'transition' ||
    write.kind === 'transition_all' ||
    write.kind === 'contain' ||
    write.kind === 'taint' ||
    write.kind === 'append_feed' ||
    write.kind === 'insert_block'
  );
}

/** Resolves once the database is migrated and can be read. */
export async function openWriteQueue(
  start: WriterStart,
  onCommit: (committed: Committed) => void,
): Promise<WriteQueue> {
  // Compiled output has .js where the source has .ts; a URL is not rewritten by the compiler.
  const entry = import.meta.url.endsWith('.ts') ? './writer.ts' : './writer.js';
  const worker = new Worker(new URL(entry, import.meta.url), { workerData: start });
  const requests: Waiting[] = [];
  const queued: Group[] = [];
  let busy = false;
  let stopped: Error | null = null;
  let closing: Promise<void> | null = null;

  function stop(error: Error): void {
    stopped ??= error;
    for (const request of requests.splice(0)) request.fail(stopped);
    for (const group of queued.splice(0)) group.reject(stopped);
  }

  function reply(): Promise<WriterReply> {
    return new Promise((settle, fail) => requests.push({ settle, fail }));
  }

  function ask(request: WriterRequest): Promise<WriterReply> {
    if (stopped !== null) return Promise.reject(stopped);
    const answered = reply();
    worker.postMessage(request);
    return answered;
  }

  function settle(group: Group, result: GroupResult): void {
    if ('committed' in result) {
      onCommit(result.committed);
      group.resolve(result.committed);
    } else if ('conflict' in result) {
      group.reject(new WriteConflict(result.conflict, result.index));
    } else {
      group.reject(new StorageError(result.error, result.code));
    }
  }

  async function send(): Promise<void> {
    if (busy || stopped !== null) return;
    busy = true;
    while (queued.length > 0) {
      const batch = queued.splice(0, BATCH_GROUPS);
      try {
        const answered = await ask({
          kind: 'apply',
          body: `[${batch.map((group) => group.body).join(',')}]`,
        });
        if (answered.kind !== 'applied') throw new StorageError(failureOf(answered), null);
        const results = JSON.parse(answered.body) as GroupResult[];
        for (const [at, group] of batch.entries()) {
          settle(group, results[at] ?? { error: 'the writer did not answer', code: null });
        }
      } catch (error) {
        const failure = error instanceof Error ? error : new StorageError(String(error), null);
        for (const group of batch) group.reject(failure);
      }
    }
    busy = false;
  }

  worker.on('message', (answered: WriterReply) => requests.shift()?.settle(answered));
  worker.on('error', (error) => stop(new StorageError(`the store's writer failed: ${String(error)}`, null)));
  worker.on('exit', () => stop(new StorageError('the store is closed', null)));

  const opened = await reply();
  if (opened.kind !== 'ready') {
    await worker.terminate();
    throw new StorageError(failureOf(opened), null);
  }

  return {
    get waiting() {
      return queued.length;
    },
    add(writes) {
      if (stopped !== null) return Promise.reject(stopped);
      if (queued.length >= QUEUED_GROUPS && !writes.some(endsAuthority)) {
        return Promise.reject(
          new Denied({ tag: 'overloaded', retry_after_seconds: 1 }, 'the write queue is full'),
        );
      }
      return new Promise((resolve, reject) => {
        queued.push({ body: JSON.stringify(writes), resolve, reject });
        // A turn later: what is asked for in this turn shares the transaction.
        if (!busy) queueMicrotask(send);
      });
    },
    async prune(now, keep) {
      const answered = await ask({ kind: 'prune', now, keep });
      if (answered.kind !== 'pruned') throw new StorageError(failureOf(answered), null);
      return { removed: answered.removed };
    },
    close() {
      closing ??= (async () => {
        while (queued.length > 0 || busy) await new Promise((turn) => setImmediate(turn));
        if (stopped === null) {
          const gone = new Promise<void>((resolve) => void worker.once('exit', () => resolve()));
          await ask({ kind: 'close' });
          // It ends by itself. Killing a thread while the addon tears its database down is asking for a crash.
          await Promise.race([gone, new Promise((late) => setTimeout(late, CLOSE_MILLISECONDS).unref())]);
        }
        await worker.terminate();
      })();
      return closing;
    },
  };
}

function failureOf(reply: WriterReply): string {
  return reply.kind === 'failed' ? reply.error : `the writer answered ${reply.kind}`;
}
