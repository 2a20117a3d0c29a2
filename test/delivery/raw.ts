/** Requests byte by byte: what no HTTP library would send. */
import { connect } from 'node:net';

export interface RawAnswer {
  readonly status: number;
  readonly head: string;
  readonly body: string;
}

/** @param address `http://127.0.0.1:PORT`, or the path of a Unix socket */
export function raw(address: string, request: string): Promise<RawAnswer> {
  return new Promise((resolve, reject) => {
    const url = URL.parse(address);
    const socket = url === null ? connect(address) : connect(Number(url.port), url.hostname);
    let text = '';
    socket.setEncoding('latin1');
    socket.on('data', (chunk: string) => {
      text += chunk;
    });
    socket.on('error', reject);
    socket.on('close', () => {
      const end = text.indexOf('\r\n\r\n');
      const head = text.slice(0, end);
      resolve({ status: Number(head.split(' ')[1] ?? 0), head, body: text.slice(end + 4) });
    });
    socket.write(request, 'latin1');
  });
}

/** One request with these headers, and the end of the connection. */
export function get(target: string, headers: Readonly<Record<string, string | readonly string[]>>): string {
  return requestOf('GET', target, headers);
}

export function requestOf(
  method: string,
  target: string,
  headers: Readonly<Record<string, string | readonly string[]>>,
  body = '',
): string {
  const lines = Object.entries(headers).flatMap(([name, value]) =>
    [value].flat().map((one) => `${name}: ${one}\r\n`),
  );
  return `${method} ${target} HTTP/1.1\r\n${lines.join('')}connection: close\r\n\r\n${body}`;
}
