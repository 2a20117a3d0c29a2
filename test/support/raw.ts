/** Requests as bytes, for what no client of ours would send. */
import { expect } from 'vitest';

export const FORM = { 'content-type': 'application/x-www-form-urlencoded' };
export const JSON_TYPE = { 'content-type': 'application/json' };

export async function send(
  url: string,
  body: string | Uint8Array<ArrayBuffer> | URLSearchParams,
  headers: Record<string, string> = {},
  method = 'POST',
) {
  const response = await fetch(url, { method, headers, body });
  const text = await response.text();
  return { status: response.status, text, headers: response.headers };
}

/** What no answer may ever show. */
export function expectNoInternals(text: string): void {
  expect(text).not.toMatch(/\n\s+at |node_modules|node:internal|\.ts\b|SQLITE|Error:|\/tmp\//);
  expect(text).not.toContain(process.cwd());
}
