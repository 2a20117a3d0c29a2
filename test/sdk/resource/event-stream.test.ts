import { describe, expect, it } from 'vitest';
import { EventReader, type ServerSentEvent } from '../../../src/sdk/resource/event-stream.ts';

function read(...chunks: (string | Buffer)[]): ServerSentEvent[] {
  const events: ServerSentEvent[] = [];
  const reader = new EventReader((event) => events.push(event));
  for (const chunk of chunks) reader.push(Buffer.from(chunk));
  return events;
}

describe('server-sent events', () => {
  it('are read whatever the chunks and line ends', () => {
    const text = 'id: 1.7\nevent: entry\ndata: {"a":"ü"}\n\n: comment\n\nevent:heartbeat\r\ndata:{}\r\n\r\n';
    const wanted = [
      { event: 'entry', data: '{"a":"ü"}', id: '1.7' },
      { event: 'heartbeat', data: '{}', id: '1.7' },
    ];
    expect(read(text)).toStrictEqual(wanted);
    expect(read(...[...Buffer.from(text)].map((byte) => Buffer.from([byte])))).toStrictEqual(wanted);
  });

  it('an event without data is none, lines of data are joined, unknown fields are skipped', () => {
    expect(read('event: x\n\ndata: a\ndata: b\nretry: 5\nwhat\n\n')).toStrictEqual([
      { event: 'message', data: 'a\nb', id: '' },
    ]);
  });

  it('an event that never ends is refused', () => {
    expect(() => read('data: ', 'x'.repeat(70_000))).toThrow(RangeError);
    expect(() => read(...Array.from({ length: 100 }, () => `data: ${'x'.repeat(1000)}\n`))).toThrow(
      RangeError,
    );
  });
});
