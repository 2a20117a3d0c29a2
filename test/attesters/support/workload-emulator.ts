/** An emulator of the SPIFFE Workload API, written from its public specification. It is not a SPIRE agent. */
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Http2Server, type ServerHttp2Stream } from 'node:http2';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fieldsOf, frame, textField } from '../../../src/sdk/agent/evidence/workload-api.ts';

export interface WorkloadEmulator {
  readonly socket: string;
  jwt_bundles: Record<string, string>;
  x509_bundles: Record<string, Buffer>;
  /** Makes a JWT-SVID for an audience. */
  jwt_svid: ((audience: string) => Promise<{ spiffe_id: string; token: string }>) | null;
  x509_svid: { spiffe_id: string; chain: Buffer; private_key: Buffer } | null;
  /** Replaces the answers. */
  answer: ((stream: ServerHttp2Stream, method: string) => void) | null;
  readonly calls: string[];
  close(): Promise<void>;
}

export async function startWorkloadEmulator(): Promise<WorkloadEmulator> {
  const folder = await mkdtemp(join(tmpdir(), 'spiffe-'));
  const socket = join(folder, 'agent.sock');
  const server: Http2Server = createServer();
  const emulator: WorkloadEmulator = {
    socket,
    jwt_bundles: {},
    x509_bundles: {},
    jwt_svid: null,
    x509_svid: null,
    answer: null,
    calls: [],
    close: async () => {
      server.close();
      await rm(folder, { recursive: true });
    },
  };
  const entry = (key: string, value: string | Buffer) =>
    Buffer.concat([textField(1, key), textField(2, value)]);
  server.on('stream', (stream, headers) => {
    const method = String(headers[':path']).split('/').at(-1) ?? '';
    emulator.calls.push(method);
    stream.on('error', () => {});
    if (emulator.answer) return emulator.answer(stream, method);
    const body: Buffer[] = [];
    stream.on('data', (chunk: Buffer) => body.push(chunk));
    stream.on('end', async () => {
      // The specification has the agent refuse calls without this metadata.
      if (headers['workload.spiffe.io'] !== 'true') {
        stream.respond(
          { ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '3' },
          { endStream: true },
        );
        return;
      }
      const request = Buffer.concat(body).subarray(5);
      let message: Buffer | null = null;
      if (method === 'FetchJWTBundles') {
        message = Buffer.concat(
          Object.entries(emulator.jwt_bundles).map(([id, set]) => textField(1, entry(id, set))),
        );
      } else if (method === 'FetchX509Bundles') {
        message = Buffer.concat(
          Object.entries(emulator.x509_bundles).map(([id, set]) => textField(2, entry(id, set))),
        );
      } else if (method === 'FetchJWTSVID' && emulator.jwt_svid) {
        const svid = await emulator.jwt_svid(fieldsOf(request, 1)[0]?.toString() ?? '');
        message = textField(1, entry(svid.spiffe_id, svid.token));
      } else if (method === 'FetchX509SVID' && emulator.x509_svid) {
        const { spiffe_id, chain, private_key } = emulator.x509_svid;
        message = textField(
          1,
          Buffer.concat([textField(1, spiffe_id), textField(2, chain), textField(3, private_key)]),
        );
      }
      if (message === null) {
        stream.respond(
          { ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '7' },
          { endStream: true },
        );
        return;
      }
      // Bundles and X509-SVIDs are streams that stay open; only the caller ends them.
      stream.respond(
        { ':status': 200, 'content-type': 'application/grpc' },
        { waitForTrailers: method === 'FetchJWTSVID' },
      );
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      stream.write(frame(message));
      if (method === 'FetchJWTSVID') stream.end();
    });
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  return emulator;
}
