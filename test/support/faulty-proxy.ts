/**
 * A TCP proxy before a counterpart that can fail like a network does: at a connection, or at the request that has a
 * given text. Everything is plain text on loopback, so the text of a statement or a path names the step.
 */
import { createServer, connect as dial, type Socket } from 'node:net';

export type Fault =
  /** Connections are closed as soon as they are made; nobody hears a request. */
  | { readonly kind: 'refuse' }
  /** The request never arrives, and nothing comes back. */
  | { readonly kind: 'hang'; readonly at: string }
  /** The request arrives and is acted upon; its answer, and everything after it, is lost. */
  | { readonly kind: 'lose_answer'; readonly at: string }
  /** The same, and the connection breaks at once. */
  | { readonly kind: 'cut_answer'; readonly at: string }
  /** The request arrives, but only after everybody has stopped waiting for it. */
  | { readonly kind: 'late'; readonly at: string; readonly seconds: number }
  /** HTTP only: the request never arrives, and is answered with 500. */
  | { readonly kind: 'error'; readonly at: string };

export interface FaultyProxy {
  readonly port: number;
  /** Null heals. */
  fail(fault: Fault | null): void;
  /** How often the fault struck. */
  struck(): number;
  close(): Promise<void>;
}

const SERVER_ERROR = 'HTTP/1.1 500 Internal Server Error\r\nconnection: close\r\ncontent-length: 0\r\n\r\n';

export async function startFaultyProxy(target_port: number): Promise<FaultyProxy> {
  const sockets = new Set<Socket>();
  let fault: Fault | null = null;
  let struck = 0;

  function tracked(socket: Socket): Socket {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    return socket;
  }

  /** What to do with the answers of the counterpart on one connection. */
  type Answers = 'pass' | 'lose' | 'cut';

  function serve(client: Socket): void {
    tracked(client);
    if (fault?.kind === 'refuse') {
      struck++;
      client.resetAndDestroy();
      return;
    }
    const server = tracked(dial(target_port, '127.0.0.1'));
    let answers: Answers = 'pass';
    let deaf = false;
    client.on('data', (chunk: Buffer) => {
      if (deaf) return;
      const now = fault;
      if (now !== null && now.kind !== 'refuse' && chunk.includes(now.at)) {
        struck++;
        switch (now.kind) {
          case 'hang':
            deaf = true;
            return;
          case 'late':
            deaf = true;
            setTimeout(() => server.write(chunk), now.seconds * 1000).unref();
            answers = 'lose';
            return;
          case 'error':
            // The rest of the request, and whatever the counterpart makes of its half, is nobody's.
            deaf = true;
            answers = 'lose';
            client.end(SERVER_ERROR);
            server.destroy();
            return;
          case 'lose_answer':
            answers = 'lose';
            break;
          case 'cut_answer':
            answers = 'cut';
            break;
        }
      }
      server.write(chunk);
    });
    server.on('data', (chunk: Buffer) => {
      if (answers === 'pass') client.write(chunk);
      else if (answers === 'cut') client.resetAndDestroy();
    });
    // A client that gave up does not take back what is on its way.
    client.on('close', () => {
      if (answers === 'pass') server.destroy();
      else setTimeout(() => server.destroy(), 5000).unref();
    });
    server.on('close', () => {
      if (answers === 'pass') client.destroy();
    });
  }

  const proxy = createServer(serve);
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const address = proxy.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    port: address.port,
    fail(next) {
      fault = next;
      struck = 0;
      // Kept connections would go around a refusal.
      if (next?.kind === 'refuse') for (const socket of sockets) socket.destroy();
    },
    struck: () => struck,
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        proxy.close(() => resolve());
      }),
  };
}
