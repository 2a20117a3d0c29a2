/** The writer thread: owns the write connection and answers one request at a time, in order. */
import { parentPort, workerData } from 'node:worker_threads';
import type { Write } from '../ports.ts';
import { type Engine, openEngine } from './engine.ts';
import type { WriterReply, WriterRequest, WriterStart } from './protocol.ts';

const port = parentPort;
if (port === null) throw new Error('the writer runs as a worker thread only');

function perform(engine: Engine, request: WriterRequest): WriterReply {
  switch (request.kind) {
    case 'apply': {
      const groups = JSON.parse(request.body) as Write[][];
      return { kind: 'applied', body: JSON.stringify(engine.apply(groups)) };
    }
    case 'prune':
      return { kind: 'pruned', removed: engine.prune(request.now, request.keep).removed };
    case 'close':
      engine.close();
      return { kind: 'closed' };
  }
}

function answer(work: () => WriterReply): void {
  let reply: WriterReply;
  try {
    reply = work();
  } catch (error) {
    reply = { kind: 'failed', error: error instanceof Error ? error.message : String(error) };
  }
  port?.postMessage(reply);
}

answer(() => {
  const engine = openEngine(workerData as WriterStart);
  port.on('message', (request: WriterRequest) => {
    answer(() => perform(engine, request));
    if (request.kind === 'close') port.close();
  });
  return { kind: 'ready' };
});
