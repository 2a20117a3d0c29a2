/**
 * The slow reader behind parseJson: walks a refused text once more only to say where it is wrong. It quotes
 * keys (shortened), never values: a value may be evidence.
 */

const KEY_SHOWN = 64;

interface Cursor {
  readonly text: string;
  at: number;
}

class Fault extends Error {}

/** One line saying what is wrong with the text and where, or null if this reader finds nothing wrong. */
export function locate(text: string): string | null {
  const cursor: Cursor = { text, at: 0 };
  try {
    readValue(cursor, '$');
    skipSpace(cursor);
    if (cursor.at < text.length) return `unexpected text at position ${cursor.at}`;
    return null;
  } catch (fault) {
    if (fault instanceof Fault) return fault.message;
    throw fault;
  }
}

function readValue(cursor: Cursor, path: string): void {
  skipSpace(cursor);
  switch (cursor.text[cursor.at]) {
    case '{':
      readObject(cursor, path);
      return;
    case '[':
      readArray(cursor, path);
      return;
    case '"':
      readString(cursor);
      return;
    default:
      readWord(cursor);
  }
}

function readObject(cursor: Cursor, path: string): void {
  const seen = new Set<string>();
  cursor.at++;
  skipSpace(cursor);
  if (take(cursor, '}')) return;
  for (;;) {
    skipSpace(cursor);
    const start = cursor.at;
    if (cursor.text[start] !== '"') throw new Fault(`a key was expected at position ${start}`);
    const key = readString(cursor);
    const shown = JSON.stringify(key.slice(0, KEY_SHOWN));
    if (seen.has(key)) throw new Fault(`the key ${shown} is repeated in ${path} at position ${start}`);
    seen.add(key);
    skipSpace(cursor);
    if (!take(cursor, ':')) throw new Fault(`":" was expected at position ${cursor.at}`);
    readValue(cursor, `${path}.${key.slice(0, KEY_SHOWN)}`);
    skipSpace(cursor);
    if (take(cursor, '}')) return;
    if (!take(cursor, ',')) throw new Fault(`"," or "}" was expected at position ${cursor.at}`);
  }
}

function readArray(cursor: Cursor, path: string): void {
  cursor.at++;
  skipSpace(cursor);
  if (take(cursor, ']')) return;
  for (let index = 0; ; index++) {
    readValue(cursor, `${path}[${index}]`);
    skipSpace(cursor);
    if (take(cursor, ']')) return;
    if (!take(cursor, ',')) throw new Fault(`"," or "]" was expected at position ${cursor.at}`);
  }
}

function readString(cursor: Cursor): string {
  const start = cursor.at;
  for (cursor.at++; cursor.at < cursor.text.length; cursor.at++) {
    const char = cursor.text[cursor.at];
    if (char === '\\') cursor.at++;
    else if (char === '"') {
      cursor.at++;
      try {
        return JSON.parse(cursor.text.slice(start, cursor.at)) as string;
      } catch {
        throw new Fault(`the string at position ${start} holds a bad escape or a control character`);
      }
    }
  }
  throw new Fault(`the string at position ${start} does not end`);
}

/** A number or one of the three words: up to the next structural character. */
function readWord(cursor: Cursor): void {
  const start = cursor.at;
  while (cursor.at < cursor.text.length && !'{}[],:" \t\n\r'.includes(cursor.text[cursor.at] ?? ''))
    cursor.at++;
  try {
    JSON.parse(cursor.text.slice(start, cursor.at));
  } catch {
    throw new Fault(`a value was expected at position ${start}`);
  }
}

function skipSpace(cursor: Cursor): void {
  while (cursor.at < cursor.text.length && ' \t\n\r'.includes(cursor.text[cursor.at] ?? '')) cursor.at++;
}

function take(cursor: Cursor, char: string): boolean {
  if (cursor.text[cursor.at] !== char) return false;
  cursor.at++;
  return true;
}
