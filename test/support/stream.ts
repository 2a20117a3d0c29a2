/** Reads a server-sent event stream as a verifier would. */

import type { IncomingMessage } from 'node:http';
import { request } from 'node:http';

export interface StreamEvent {
  readonly event: string;
  readonly id: string | null;
  readonly data: Record<string, unknown>;
}

export interface EventReader {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly events: StreamEvent[];
  readonly ended: boolean;
  of(event: string): StreamEvent[];
  /** Stops taking bytes from the socket. */
  pause(): void;
  resume(): void;
  close(): void;
}

export async function openStream(url: string, headers: Record<string, string>): Promise<EventReader> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const sent = request(url, { headers }, resolve);
    sent.on('error', reject);
    sent.end();
  });
  const events: StreamEvent[] = [];
  let ended = false;
  let text = '';
  response.setEncoding('utf8');
  response.on('data', (chunk: string) => {
    text += chunk;
    for (let end = text.indexOf('\n\n'); end !== -1; end = text.indexOf('\n\n')) {
      const fields = text.slice(0, end).split('\n');
      text = text.slice(end + 2);
      const of = (name: string) =>
        fields.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
      events.push({
        event: of('event') ?? 'message',
        id: of('id') ?? null,
        data: JSON.parse(of('data') ?? '{}') as Record<string, unknown>,
      });
    }
  });
  for (const end of ['end', 'close', 'error'] as const) response.on(end, () => (ended = true));
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    events,
    get ended() {
      return ended;
    },
    of: (event) => events.filter((one) => one.event === event),
    pause: () => void response.pause(),
    resume: () => void response.resume(),
    close: () => void response.destroy(),
  };
}
