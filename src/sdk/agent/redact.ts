/** Messages of other people's errors, fit for a log: whatever could be a credential is taken out. */

/** Words of a language, host names and paths stay; keys, tokens and their parts are longer than this. */
const LONGEST_WORD = 24;
const MESSAGE_MAX = 300;

function isWordUnit(unit: number): boolean {
  const letter = unit | 0x20;
  return (
    (letter >= 0x61 && letter <= 0x7a) ||
    (unit >= 0x30 && unit <= 0x39) ||
    unit === 0x2b || // +
    unit === 0x2d || // -
    unit === 0x3d || // =
    unit === 0x5f || // _
    unit === 0x7e // ~
  );
}

/** Replaces each run of token characters that is longer than a word. Linear. */
export function redacted(text: string): string {
  const shown = text.slice(0, MESSAGE_MAX);
  let out = '';
  let start = 0;
  for (let at = 0; at <= shown.length; at++) {
    if (at < shown.length && isWordUnit(shown.charCodeAt(at))) continue;
    out += at - start > LONGEST_WORD ? '[redacted]' : shown.slice(start, at);
    if (at < shown.length) out += shown.charAt(at);
    start = at + 1;
  }
  return out;
}

/** Name and redacted message of whatever was thrown; with the code of a system error. */
export function spokenFault(thrown: unknown): string {
  if (!(thrown instanceof Error)) return 'something that is not an error was thrown';
  const code = 'code' in thrown && typeof thrown.code === 'string' ? ` ${thrown.code}` : '';
  return `${thrown.name}${redacted(code)}: ${redacted(thrown.message)}`;
}
