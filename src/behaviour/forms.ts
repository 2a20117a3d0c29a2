/**
 * Canonical forms of salient values. Two directions, never mixed:
 *
 * - `proofForm` is *strict*: two values share it only where every system that will act on them treats them as the
 *   same. It decides whether a destination is known, so folding a look-alike here would let a forgery pass.
 * - `skeleton` is *lenient*: look-alikes, invisible characters and encodings fall together. It only ever adds
 *   suspicion (a value that looks like one from untrusted content).
 */

const MAX_FORM_CHARS = 512;
const WRAPPING = new Set([...'<>"\'`()[]{},;*_|“”‘’«»']);
const TRAILING = new Set([...'.:!?']);

/** Letters of other scripts that print like Latin ones (subset of Unicode TR39 confusables, lower case). */
const CONFUSABLE: ReadonlyMap<string, string> = new Map(
  Object.entries({
    а: 'a',
    в: 'b',
    с: 'c',
    ԁ: 'd',
    е: 'e',
    һ: 'h',
    і: 'i',
    ј: 'j',
    к: 'k',
    ӏ: 'l',
    м: 'm',
    п: 'n',
    о: 'o',
    р: 'p',
    ԛ: 'q',
    г: 'r',
    ѕ: 's',
    т: 't',
    υ: 'u',
    ѵ: 'v',
    ԝ: 'w',
    х: 'x',
    у: 'y',
    α: 'a',
    β: 'b',
    ϲ: 'c',
    ε: 'e',
    η: 'n',
    ι: 'i',
    κ: 'k',
    ν: 'v',
    ο: 'o',
    ρ: 'p',
    τ: 't',
    χ: 'x',
    γ: 'y',
    ı: 'i',
    ł: 'l',
    ø: 'o',
  }),
);

function isInvisible(code: number): boolean {
  return (
    (code < 0x20 && code !== 0x09 && code !== 0x0a && code !== 0x0d) ||
    (code >= 0x7f && code <= 0x9f) ||
    code === 0xad ||
    code === 0x034f ||
    code === 0x061c ||
    code === 0x180e ||
    (code >= 0x200b && code <= 0x200f) ||
    (code >= 0x202a && code <= 0x202e) ||
    (code >= 0x2060 && code <= 0x2069) ||
    (code >= 0xfe00 && code <= 0xfe0f) ||
    code === 0xfeff ||
    (code >= 0xdb40 && code <= 0xdb43)
  );
}

function isLatin(code: number): boolean {
  return (code >= 0x41 && code <= 0x5a) || (code >= 0x61 && code <= 0x7a) || (code >= 0xc0 && code <= 0x24f);
}

function isLatinLookalikeScript(code: number): boolean {
  return (
    (code >= 0x370 && code <= 0x52f) ||
    (code >= 0x13a0 && code <= 0x13ff) ||
    (code >= 0xff01 && code <= 0xff5e)
  );
}

/**
 * Whether a destination is written so that a person or a log would read another one: invisible or directional
 * characters, full-width ASCII, or Latin letters mixed with look-alikes of another script in one word.
 */
export function isDeceptive(raw: string): boolean {
  let latin = false;
  let lookalike = false;
  for (let i = 0; i < raw.length; i++) {
    const code = raw.charCodeAt(i);
    if (code < 0x80) {
      if (code <= 0x20 && code !== 0x20 && isInvisible(code)) return true;
      if (code === 0x20 || code === 0x2c || code === 0x3b) {
        latin = false;
        lookalike = false;
      } else if (isLatin(code)) latin = true;
    } else if (isInvisible(code)) return true;
    else if (isLatinLookalikeScript(code)) {
      if (code >= 0xff01) return true;
      lookalike = true;
    } else if (isLatin(code)) latin = true;
    if (latin && lookalike) return true;
  }
  return false;
}

/** Drops wrapping characters from both ends and closing punctuation from the end. */
export function unwrap(raw: string): string {
  let start = 0;
  let end = raw.length;
  while (start < end && (WRAPPING.has(raw[start] ?? '') || raw.charCodeAt(start) <= 0x20)) start++;
  while (end > start) {
    const last = raw[end - 1] ?? '';
    if (!WRAPPING.has(last) && !TRAILING.has(last) && last.charCodeAt(0) > 0x20) break;
    end--;
  }
  return raw.slice(start, end);
}

function isPlainAscii(raw: string): boolean {
  for (let i = 0; i < raw.length; i++) if (raw.charCodeAt(i) > 0x7e) return false;
  return true;
}

function collapseSpace(raw: string): string {
  let out = '';
  let gap = false;
  let clean = true;
  for (let i = 0; i < raw.length; i++) {
    const code = raw.charCodeAt(i);
    if (code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09) {
      if (code !== 0x20 || gap) clean = false;
      gap = true;
    } else {
      gap = false;
    }
  }
  if (clean) return raw;
  gap = false;
  for (const character of raw) {
    const space = character === ' ' || character === '\n' || character === '\r' || character === '\t';
    if (!space) out += character;
    else if (!gap) out += ' ';
    gap = space;
  }
  return out;
}

/** Strict form for proof: unwrapped, NFC, case-folded, white space collapsed. `null` where nothing is left. */
export function proofForm(raw: string): string | null {
  if (raw.length > MAX_FORM_CHARS) return null;
  const bare = collapseSpace(unwrap(raw));
  const form = (isPlainAscii(bare) ? bare : bare.normalize('NFC')).toLowerCase();
  return form === '' ? null : form;
}

/** Letters and digits only: how accounts and telephone numbers are compared whatever their grouping. */
export function compactForm(raw: string): string {
  let out = '';
  for (let i = 0; i < raw.length && i < MAX_FORM_CHARS; i++) {
    const code = raw.charCodeAt(i);
    const digit = code >= 0x30 && code <= 0x39;
    if (digit || (code >= 0x61 && code <= 0x7a)) out += raw[i];
    else if (code >= 0x41 && code <= 0x5a) out += String.fromCharCode(code + 32);
    else if (code > 0x7e) out += raw[i];
  }
  return out;
}

/**
 * `host[:port]/path?query` of a web address with or without scheme, lower-case host, default port and trailing
 * slash dropped. Userinfo is dropped: `https://bank.example@evil.example` goes to `evil.example`. A back slash
 * counts as a slash, as browsers read it. `null` where there is no host.
 */
export function urlForm(raw: string): string | null {
  if (raw.length > 2048) return null;
  const text = unwrap(raw);
  const scheme = text.indexOf('://');
  let rest = text;
  let defaultPort = '';
  if (scheme > 0 && scheme < 12) {
    const name = text.slice(0, scheme).toLowerCase();
    rest = text.slice(scheme + 3);
    defaultPort = name === 'https' ? ':443' : name === 'http' ? ':80' : '';
  } else if (text.startsWith('//')) {
    rest = text.slice(2);
  }
  let end = rest.length;
  for (let i = 0; i < rest.length; i++) {
    const character = rest[i];
    if (character === '/' || character === '?' || character === '#' || character === '\\') {
      end = i;
      break;
    }
  }
  const authority = rest.slice(0, end);
  let host = authority.slice(authority.lastIndexOf('@') + 1).toLowerCase();
  if (defaultPort !== '' && host.endsWith(defaultPort)) host = host.slice(0, -defaultPort.length);
  if (host.endsWith('.')) host = host.slice(0, -1);
  if (host === '' || host.includes(' ') || host.includes('%')) return null;
  if (!isPlainAscii(host)) host = host.normalize('NFC');
  let path = rest.slice(end).split('\\').join('/');
  const fragment = path.indexOf('#');
  if (fragment >= 0) path = path.slice(0, fragment);
  while (path.endsWith('/')) path = path.slice(0, -1);
  return host + path;
}

/** The address itself and every parent at a `/`, longest first, with and without `www.`: whoever names a site vouches for what lies below it. */
export function urlAncestors(form: string, limit = 8): string[] {
  const question = form.indexOf('?');
  const out = [form];
  let rest = question >= 0 ? form.slice(0, question) : form;
  // A dot segment would climb out of the named parent, so such an address is only ever itself.
  if (rest.includes('/.') || rest.includes('%2e') || rest.includes('%2E') || rest.includes('%2f')) return out;
  while (rest.endsWith('/')) rest = rest.slice(0, -1);
  if (rest !== form) out.push(rest);
  while (out.length < limit) {
    const slash = rest.lastIndexOf('/');
    if (slash <= 0) break;
    rest = rest.slice(0, slash);
    out.push(rest);
  }
  return out;
}

function decodePercent(raw: string): string {
  if (!raw.includes('%')) return raw;
  try {
    return decodeURIComponent(raw);
  } catch {
    return raw;
  }
}

const BASE64 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=';

/** What a base64 word decodes to, where that is printable text; `null` otherwise. */
export function decodeBase64(raw: string): string | null {
  if (raw.length < 8 || raw.length > MAX_FORM_CHARS) return null;
  for (let i = 0; i < raw.length; i++) if (!BASE64.includes(raw[i] ?? ' ')) return null;
  const text = Buffer.from(raw, 'base64').toString('utf8');
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x20 || code > 0x7e) return null;
  }
  return text.length >= 4 ? text : null;
}

/** Lenient form for suspicion: NFKC, look-alikes folded, invisible characters, spaced-out letters and encodings undone. */
export function skeleton(raw: string): string | null {
  if (raw.length > MAX_FORM_CHARS) return null;
  let text = decodePercent(decodePercent(raw));
  text = decodeBase64(text.trim()) ?? text;
  text = text.normalize('NFKC').toLowerCase();
  let out = '';
  for (const character of text) {
    const code = character.charCodeAt(0);
    if (!isInvisible(code)) out += CONFUSABLE.get(character) ?? character;
  }
  out = out.split('[at]').join('@').split('(at)').join('@').split(' at ').join('@');
  out = out.split('[dot]').join('.').split('(dot)').join('.').split(' dot ').join('.');
  return proofForm(out);
}
