import { compactForm, decodeBase64, proofForm, skeleton, urlForm } from './forms.ts';

/**
 * Typed extraction of salient values from prose: one pass, no regular expression, bounded work. A token is cut at
 * white space and brackets; a table of character classes decides what it can be before any string is built, so a
 * megabyte of plain words costs a few milliseconds.
 */

export type ValueKind =
  | 'mail'
  | 'url'
  | 'account'
  | 'phone'
  | 'handle'
  | 'path'
  | 'file'
  | 'key'
  | 'id'
  | 'number'
  | 'date'
  | 'name'
  | 'quoted'
  | 'word';

/** Called once a value; returns false to stop the scan (the caller's memory is full). */
export type ScanVisitor = (kind: ValueKind, form: string) => boolean;

export interface ScanOptions {
  /** Also report every word, number and date (for short, trusted text: the declared mission). Default false. */
  readonly words?: boolean;
  /** Characters looked at; what lies beyond is reported as unread. Default 1,000,000. */
  readonly max_chars?: number;
}

export interface ScanOutcome {
  /** False where text was left unread: its values are unknown, never absent. */
  readonly complete: boolean;
}

const SPACE = 1;
const BREAK = 2;
const DIGIT = 4;
const UPPER = 8;
const LOWER = 16;
const AT = 32;
const DOT = 64;
const SLASH = 128;
const OTHER = 256;

const CLASS = new Uint16Array(128);
for (let code = 0; code < 128; code++) {
  const character = String.fromCharCode(code);
  if (code <= 0x20) CLASS[code] = SPACE;
  else if ('<>"\'`()[]{},;|'.includes(character)) CLASS[code] = BREAK;
  else if (character >= '0' && character <= '9') CLASS[code] = DIGIT;
  else if (character >= 'A' && character <= 'Z') CLASS[code] = UPPER;
  else if (character >= 'a' && character <= 'z') CLASS[code] = LOWER;
  else if (character === '@') CLASS[code] = AT;
  else if (character === '.') CLASS[code] = DOT;
  else if (character === '/' || character === '\\') CLASS[code] = SLASH;
  else CLASS[code] = OTHER;
}
const SALIENT = DIGIT | AT | DOT | SLASH | OTHER;
const MAX_TOKEN = 512;
const MAX_QUOTE = 160;
const MAX_NAME_WORDS = 5;

function classOf(text: string, index: number): number {
  const code = text.charCodeAt(index);
  if (code < 128) return CLASS[code] ?? OTHER;
  return code === 0xa0 || code === 0x3000 || (code >= 0x2000 && code <= 0x200a) ? SPACE : LOWER;
}

function countDigits(token: string): number {
  let count = 0;
  for (let i = 0; i < token.length; i++) {
    const code = token.charCodeAt(i);
    if (code >= 0x30 && code <= 0x39) count++;
  }
  return count;
}

function isAlnum(token: string): boolean {
  for (let i = 0; i < token.length; i++)
    if (((CLASS[token.charCodeAt(i)] ?? 0) & (DIGIT | UPPER | LOWER)) === 0) return false;
  return token.length > 0;
}

function isAlpha(token: string): boolean {
  for (let i = 0; i < token.length; i++)
    if (((CLASS[token.charCodeAt(i)] ?? 0) & (UPPER | LOWER)) === 0) return false;
  return token.length > 0;
}

function startsLikeAccount(token: string): boolean {
  return (
    token.length >= 4 &&
    isAlpha(token.slice(0, 2)) &&
    token[0] === token[0]?.toUpperCase() &&
    token[1] === token[1]?.toUpperCase() &&
    countDigits(token.slice(2, 4)) === 2
  );
}

function looksLikeHost(host: string): boolean {
  const dot = host.lastIndexOf('.');
  if (dot <= 0) return false;
  const top = host.slice(dot + 1);
  return top.length >= 2 && top.length <= 24 && isAlpha(top) && !host.includes('..');
}

const FILE_ENDINGS = new Set(
  'txt md pdf doc docx xls xlsx csv ppt pptx png jpg jpeg gif svg zip gz tar json xml yaml yml html py js ts sh bin pem pub key log ini cfg conf eml ics mp3 mp4'.split(
    ' ',
  ),
);

/** What kinds one token can be; used for tokens of prose and for whole string leaves alike. */
export function classifyToken(raw: string, visit: ScanVisitor): boolean {
  let token = raw;
  while (token.length > 0 && '.:!?*#_-=~'.includes(token[token.length - 1] ?? ' '))
    token = token.slice(0, -1);
  while (token.length > 0 && '*#=:!?~'.includes(token[0] ?? ' ')) token = token.slice(1);
  if (token.length < 2 || token.length > MAX_TOKEN) return true;
  const at = token.indexOf('@');
  if (at > 0 && !token.includes('/')) {
    const start = token.lastIndexOf(':', at) + 1;
    const mail = token.slice(start);
    if (looksLikeHost(mail.slice(mail.lastIndexOf('@') + 1))) {
      const form = proofForm(mail);
      return form === null || visit('mail', form);
    }
  }
  if (at === 0 && token.length > 2) {
    const form = proofForm(token.slice(1));
    return form === null || visit('handle', form);
  }
  const scheme = token.indexOf('://');
  if (scheme > 0) {
    // A markdown link or a key=value pair glues text before the scheme.
    let start = scheme;
    while (start > 0 && ((CLASS[token.charCodeAt(start - 1)] ?? 0) & (LOWER | UPPER)) !== 0) start--;
    const form = urlForm(token.slice(start));
    return form === null || visit('url', form);
  }
  const digits = countDigits(token);
  const slash = token.indexOf('/');
  if (slash < 0) {
    const dot = token.lastIndexOf('.');
    if (dot > 0) {
      const ending = token.slice(dot + 1).toLowerCase();
      if (FILE_ENDINGS.has(ending) && !token.startsWith('www.')) {
        const form = proofForm(token);
        return form === null || visit('file', form);
      }
      if (
        looksLikeHost(token) &&
        (token.startsWith('www.') || token.indexOf('.') !== dot || ending.length <= 6)
      ) {
        const form = urlForm(token);
        return form === null || visit('url', form);
      }
    }
    if (startsLikeAccount(token) && isAlnum(token) && token.length >= 10 && digits >= 6)
      return visit('account', compactForm(token));
    if (digits >= 3 && token.length >= 6 && isAlnum(token) && digits < token.length)
      return visit('id', token.toLowerCase());
    if (token.length >= 20 && decodeBase64(token) !== null) {
      const inner = skeleton(token);
      if (inner !== null && !visit('quoted', inner)) return false;
    }
    if (token.length >= 20 && digits > 0) {
      const form = proofForm(token);
      return form === null || visit('key', form);
    }
    return true;
  }
  if (slash > 0 && (token.startsWith('www.') || looksLikeHost(token.slice(0, slash)))) {
    const form = urlForm(token);
    return form === null || visit('url', form);
  }
  if (slash === 0 || slash > 0) {
    const form = proofForm(token.endsWith('/') && token.length > 1 ? token.slice(0, -1) : token);
    return form === null || visit('path', form);
  }
  return true;
}

/** Reports the salient values of a text, in order of appearance. */
export function scanText(text: string, visit: ScanVisitor, options: ScanOptions = {}): ScanOutcome {
  const limit = Math.min(text.length, options.max_chars ?? 1_000_000);
  const words = options.words === true;
  let complete = limit === text.length;
  let open = true;
  let nameStart = -1;
  let nameEnd = -1;
  let nameWords = 0;
  let quoteAt = -1;
  let quoteMark = 0;
  let run = '';
  let runEnd = -1;

  const say: ScanVisitor = (kind, form) => {
    if (open && !visit(kind, form)) {
      open = false;
      complete = false;
    }
    return open;
  };
  const endName = (): void => {
    if (nameWords >= 2) {
      const form = proofForm(text.slice(nameStart, nameEnd));
      if (form !== null) say('name', form);
    }
    nameWords = 0;
    nameStart = -1;
  };
  const endRun = (): void => {
    // Grouped accounts and telephone numbers: "DE89 3704 0044", "+44 20 7946 0000".
    if (run !== '') {
      const form = compactForm(run);
      if (startsLikeAccount(run) && form.length >= 12) say('account', form);
      else if (countDigits(run) >= 7 && (run[0] === '+' || form.length === countDigits(run)))
        say('phone', form);
    }
    run = '';
  };

  let i = 0;
  while (i < limit && open) {
    const first = classOf(text, i);
    if ((first & (SPACE | BREAK)) !== 0) {
      const code = text.charCodeAt(i);
      if (code === 0x22 || code === 0x27 || code === 0x60) {
        const before = i === 0 ? SPACE : classOf(text, i - 1);
        const after = i + 1 >= limit ? SPACE : classOf(text, i + 1);
        if (quoteAt >= 0 && code === quoteMark && (after & (LOWER | UPPER | DIGIT)) === 0) {
          if (i - quoteAt > 2 && i - quoteAt <= MAX_QUOTE) {
            const form = proofForm(text.slice(quoteAt + 1, i));
            if (form !== null) say('quoted', form);
          }
          quoteAt = -1;
        } else if (
          (quoteAt < 0 || i - quoteAt > MAX_QUOTE) &&
          (before & (SPACE | BREAK | OTHER)) !== 0 &&
          (after & SPACE) === 0
        ) {
          quoteAt = i;
          quoteMark = code;
        }
      }
      if ((first & BREAK) !== 0) {
        endName();
        endRun();
      }
      i++;
      continue;
    }
    const start = i;
    let seen = 0;
    while (i < limit) {
      const kind = classOf(text, i);
      if ((kind & (SPACE | BREAK)) !== 0) break;
      seen |= kind;
      i++;
    }
    const capital = (first & UPPER) !== 0;
    const endsSentence = (classOf(text, i - 1) & (DOT | OTHER)) !== 0;
    if (capital && (seen & (AT | SLASH)) === 0 && i - start <= 40) {
      if (nameWords === 0 || nameWords >= MAX_NAME_WORDS) {
        endName();
        nameStart = start;
      }
      nameWords++;
      nameEnd = endsSentence ? i - 1 : i;
      if (endsSentence) endName();
    } else if (nameWords > 0) endName();
    if ((seen & SALIENT) !== 0 || words) {
      const token = text.slice(start, Math.min(i, start + MAX_TOKEN + 1));
      if ((seen & SALIENT) !== 0) classifyToken(token, say);
      if ((seen & DIGIT) !== 0) {
        const grouped = run !== '' && start - runEnd <= 1;
        if (grouped && run.length < 40 && i - start <= 12) run += ' ' + token;
        else {
          endRun();
          if (token[0] === '+' || startsLikeAccount(token) || countDigits(token) >= 3) run = token;
        }
        runEnd = i;
      } else endRun();
      if (words) {
        const form = proofForm(token);
        if (form !== null && form.length >= 2) say((seen & DIGIT) !== 0 ? 'number' : 'word', form);
      }
    } else endRun();
  }
  endName();
  endRun();
  return { complete: complete && open };
}
