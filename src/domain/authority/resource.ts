/**
 * Resource identifiers: RFC 3986 syntax normalization, and containment at a path segment. What two servers
 * read differently is refused rather than normalized: an encoded slash, backslash or dot, double encoding,
 * userinfo, query, fragment, control characters, and anything that is not ASCII (look-alike hosts must come
 * as punycode, where the difference shows).
 */

import type { ResourceMatch } from './model.ts';

const MAX_LENGTH = 2048;
const DEFAULT_PORT: Readonly<Record<string, string>> = { http: '80', https: '443', ws: '80', wss: '443' };

/** The normal form of an absolute URI, or null when it is refused. */
export function normalResource(text: string): string | null {
  if (text.length === 0 || text.length > MAX_LENGTH) return null;
  const colon = text.indexOf(':');
  if (colon < 1) return null;
  const scheme = text.slice(0, colon).toLowerCase();
  if (!isScheme(scheme)) return null;
  const rest = text.slice(colon + 1);
  if (!rest.startsWith('//')) return opaque(scheme, rest);
  const slash = rest.indexOf('/', 2);
  const authority = normalAuthority(scheme, slash === -1 ? rest.slice(2) : rest.slice(2, slash));
  const path = normalPath(slash === -1 ? '' : rest.slice(slash));
  if (authority === null || path === null) return null;
  // A hierarchical URI with no path and one with "/" are one resource (RFC 3986, section 6.2.3).
  return `${scheme}://${authority}${path === '' ? '/' : path}`;
}

/** `urn:...` and the like: no authority, no hierarchy, only ever matched exactly. */
function opaque(scheme: string, rest: string): string | null {
  if (rest === '' || rest.startsWith('/')) return null;
  const normal = normalEncoding(rest);
  if (normal === null || normal.split('/').some(isDots)) return null;
  return `${scheme}:${normal}`;
}

function normalAuthority(scheme: string, authority: string): string | null {
  const bracket = authority.startsWith('[') ? authority.indexOf(']') : -1;
  const colon = authority.indexOf(':', bracket === -1 ? 0 : bracket);
  const host = (colon === -1 ? authority : authority.slice(0, colon)).toLowerCase();
  const port = colon === -1 ? null : authority.slice(colon + 1);
  if (!isHost(host)) return null;
  if (port === null) return host;
  if (!isPort(port)) return null;
  return DEFAULT_PORT[scheme] === port ? host : `${host}:${port}`;
}

function normalPath(path: string): string | null {
  const encoded = normalEncoding(path);
  if (encoded === null) return null;
  if (!encoded.includes('/.')) return encoded;
  const kept: string[] = [];
  const segments = encoded.slice(1).split('/');
  for (const [index, segment] of segments.entries()) {
    if (!isDots(segment)) {
      kept.push(segment);
      continue;
    }
    if (segment === '..') kept.pop();
    // A path that ends in a dot segment ends in a slash (RFC 3986, section 5.2.4).
    if (index === segments.length - 1) kept.push('');
  }
  return `/${kept.join('/')}`;
}

/** Percent-encoding in upper case, unreserved characters decoded; null for what may not appear. */
function normalEncoding(text: string): string | null {
  let normal = '';
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit !== 0x25) {
      if (!isPathChar(unit)) return null;
      normal += text[at];
      continue;
    }
    const octet = hexOctet(text, at + 1);
    if (octet === -1 || isAmbiguous(octet) || (octet === 0x25 && hexOctet(text, at + 3) !== -1)) return null;
    normal += isUnreserved(octet) ? String.fromCharCode(octet) : text.slice(at, at + 3).toUpperCase();
    at += 2;
  }
  return normal;
}

/** Encoded, these are read differently by different servers: controls, `.`, `/`, `\`. */
function isAmbiguous(octet: number): boolean {
  return octet < 0x20 || octet === 0x7f || octet === 0x2e || octet === 0x2f || octet === 0x5c;
}

function isDots(segment: string): boolean {
  return segment === '.' || segment === '..';
}

function isScheme(text: string): boolean {
  if (!isLetter(text.charCodeAt(0))) return false;
  for (let at = 1; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (!isLetter(unit) && !isDigit(unit) && !'+-.'.includes(text[at] ?? '')) return false;
  }
  return true;
}

/** A DNS name of whole labels, an IPv4 address, or an IPv6 address in brackets; lower case. */
function isHost(host: string): boolean {
  if (host.startsWith('[')) {
    if (!host.endsWith(']') || host.length < 4) return false;
    for (let at = 1; at < host.length - 1; at++) {
      if (hexDigit(host.charCodeAt(at)) === -1 && !':.'.includes(host[at] ?? '')) return false;
    }
    return true;
  }
  if (host.length === 0 || host.length > 253) return false;
  return host.split('.').every(isLabel);
}

function isLabel(label: string): boolean {
  if (label.length === 0 || label.length > 63 || label.startsWith('-') || label.endsWith('-')) return false;
  for (let at = 0; at < label.length; at++) {
    const unit = label.charCodeAt(at);
    if (!isLetter(unit) && !isDigit(unit) && unit !== 0x2d && unit !== 0x5f) return false;
  }
  return true;
}

function isPort(port: string): boolean {
  if (port.length === 0 || port.length > 5 || port.startsWith('0')) return false;
  for (let at = 0; at < port.length; at++) if (!isDigit(port.charCodeAt(at))) return false;
  return Number(port) <= 65_535;
}

function isLetter(unit: number): boolean {
  return (unit >= 0x61 && unit <= 0x7a) || (unit >= 0x41 && unit <= 0x5a);
}

function isDigit(unit: number): boolean {
  return unit >= 0x30 && unit <= 0x39;
}

function isUnreserved(unit: number): boolean {
  return isLetter(unit) || isDigit(unit) || unit === 0x2d || unit === 0x2e || unit === 0x5f || unit === 0x7e;
}

/** pchar and "/" of RFC 3986, without the percent sign. */
function isPathChar(unit: number): boolean {
  return isUnreserved(unit) || (unit < 0x80 && "/:@!$&'()*+,;=".includes(String.fromCharCode(unit)));
}

function hexDigit(unit: number): number {
  if (isDigit(unit)) return unit - 0x30;
  const lower = unit | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

function hexOctet(text: string, at: number): number {
  const high = hexDigit(text.charCodeAt(at));
  const low = hexDigit(text.charCodeAt(at + 1));
  return high === -1 || low === -1 ? -1 : high * 16 + low;
}

/** Only a hierarchical resource can be a prefix. */
export function canBePrefix(normal: string): boolean {
  return normal.includes('://');
}

/** True if `below` is `base` or lies under it at a "/". Both normal. */
export function isAtOrBelow(below: string, base: string): boolean {
  if (!below.startsWith(base)) return false;
  return below.length === base.length || base.endsWith('/') || below.charCodeAt(base.length) === 0x2f;
}

/** A resource with how it matches, both normal. */
export interface Scope {
  readonly resource: string;
  readonly match: ResourceMatch;
}

export function scopeWithin(a: Scope, b: Scope): boolean {
  if (b.match === 'exact') return a.match === 'exact' && a.resource === b.resource;
  return isAtOrBelow(a.resource, b.resource);
}

/** True if some call could be at both. */
export function scopesOverlap(a: Scope, b: Scope): boolean {
  return scopeWithin(a, b) || scopeWithin(b, a);
}

/**
 * True if `text` from `start` on is certainly normal already: the cheap test of the check path. False sends
 * the caller to {@link normalResource}, never to a permit.
 */
export function isCertainlyNormal(text: string, start: number): boolean {
  if (text.length > MAX_LENGTH) return false;
  let previous = start > 0 ? text.charCodeAt(start - 1) : 0;
  for (let at = start; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    const plain =
      isLetter(unit) || isDigit(unit) || unit === 0x2d || unit === 0x5f || unit === 0x2f || unit === 0x7e;
    if (!plain && !(unit === 0x2e && previous !== 0x2f && previous !== 0x2e)) return false;
    previous = unit;
  }
  return true;
}
