/**
 * The least of XML that an AWS query answer is: nested elements with text. Everything else that XML can do (document
 * types, entities, comments, CDATA, processing instructions, mixed content) is refused, not skipped. Linear, pure.
 */

const MAX_DEPTH = 8;
const NAME = /^[A-Za-z][A-Za-z0-9]*$/;
/** One attribute is known: the default namespace on the root. */
const ROOT_ATTRIBUTE = /^xmlns="[^"<&]*"$/;

/** Text by path (`Root/Child/Leaf`), or null if it is not such a document, or a path repeats. */
export function readFlatXml(text: string): ReadonlyMap<string, string> | null {
  const values = new Map<string, string>();
  const open: string[] = [];
  let hasChildren = false;
  let at = 0;
  if (text.startsWith('<?xml ')) at = text.indexOf('?>') + 2;
  let ended = false;
  while (at < text.length) {
    const start = text.indexOf('<', at);
    const between = text.slice(at, start === -1 ? text.length : start);
    if (start === -1) return ended && between.trim() === '' ? values : null;
    const close = text.indexOf('>', start);
    if (close === -1 || ended || between.includes('&') || between.includes('>')) return null;
    const tag = text.slice(start + 1, close);
    at = close + 1;
    if (tag.startsWith('/')) {
      const path = open.join('/');
      if (open.pop() !== tag.slice(1)) return null;
      if (hasChildren ? between.trim() !== '' : values.has(path)) return null;
      if (!hasChildren) values.set(path, between);
      hasChildren = true;
      ended = open.length === 0;
      continue;
    }
    const space = tag.indexOf(' ');
    const name = space === -1 ? tag : tag.slice(0, space);
    if (!NAME.test(name) || between.trim() !== '' || open.length >= MAX_DEPTH) return null;
    if (space !== -1 && (open.length > 0 || !ROOT_ATTRIBUTE.test(tag.slice(space + 1)))) return null;
    open.push(name);
    hasChildren = false;
  }
  return ended ? values : null;
}
