/**
 * Decimal strings compared exactly, digit by digit: money never becomes a double. Grammar of the mission
 * resource access draft: digits, optionally a point and 1 to 18 more; no exponent, no plus, no separators.
 */

const ZERO = 0x30;
const NINE = 0x39;
const POINT = 0x2e;
const MINUS = 0x2d;
const MAX_LENGTH = 64;
const MAX_FRACTION = 18;

/** True for a decimal string; a sign is accepted only with `signed`. */
export function isDecimal(text: string, signed = false): boolean {
  if (text.length > MAX_LENGTH) return false;
  const start = signed && text.charCodeAt(0) === MINUS ? 1 : 0;
  const point = digitsEnd(text, start);
  if (point === start) return false;
  if (point === text.length) return true;
  if (text.charCodeAt(point) !== POINT) return false;
  const end = digitsEnd(text, point + 1);
  const fraction = end - point - 1;
  return end === text.length && fraction > 0 && fraction <= MAX_FRACTION;
}

/** Negative, zero or positive as `a` is below, equal to or above `b`. Both must be decimals. No allocation. */
export function compareDecimals(a: string, b: string): number {
  const aNegative = a.charCodeAt(0) === MINUS;
  const bNegative = b.charCodeAt(0) === MINUS;
  if (aNegative !== bNegative) {
    // "-0.00" is zero.
    if (isZero(a) && isZero(b)) return 0;
    return aNegative ? -1 : 1;
  }
  const magnitude = compareMagnitudes(a, b, aNegative ? 1 : 0);
  // Zero has no sign here: two equal negatives compare as 0, not -0.
  return aNegative && magnitude !== 0 ? -magnitude : magnitude;
}

function compareMagnitudes(a: string, b: string, start: number): number {
  const aPoint = digitsEnd(a, start);
  const bPoint = digitsEnd(b, start);
  const aFirst = firstDigit(a, start, aPoint);
  const bFirst = firstDigit(b, start, bPoint);
  if (aPoint - aFirst !== bPoint - bFirst) return aPoint - aFirst - (bPoint - bFirst);
  for (let at = 0; at < aPoint - aFirst; at++) {
    const difference = a.charCodeAt(aFirst + at) - b.charCodeAt(bFirst + at);
    if (difference !== 0) return difference;
  }
  for (let at = 1; at <= MAX_FRACTION; at++) {
    const difference = digit(a, aPoint + at) - digit(b, bPoint + at);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** The exact sum of two decimals without a sign, in its shortest form. */
export function addDecimals(a: string, b: string): string {
  const sum = (unitsOf(a) + unitsOf(b)).toString().padStart(MAX_FRACTION + 1, '0');
  return normalDecimal(`${sum.slice(0, -MAX_FRACTION)}.${sum.slice(-MAX_FRACTION)}`);
}

/** `a` less `b`, which must not be larger. */
export function subtractDecimals(a: string, b: string): string {
  const difference = (unitsOf(a) - unitsOf(b)).toString().padStart(MAX_FRACTION + 1, '0');
  return normalDecimal(`${difference.slice(0, -MAX_FRACTION)}.${difference.slice(-MAX_FRACTION)}`);
}

/** In units of the last digit that a decimal can have. */
function unitsOf(text: string): bigint {
  const point = digitsEnd(text, 0);
  return BigInt(text.slice(0, point) + text.slice(point + 1).padEnd(MAX_FRACTION, '0'));
}

/** The shortest way to write the same value: no leading or trailing zeros, no negative zero. */
export function normalDecimal(text: string): string {
  if (isZero(text)) return '0';
  const negative = text.charCodeAt(0) === MINUS;
  const start = negative ? 1 : 0;
  const point = digitsEnd(text, start);
  const whole = text.slice(firstDigit(text, start, point), point);
  let end = text.length;
  while (end > point && text.charCodeAt(end - 1) === ZERO) end--;
  const fraction = text.slice(point + 1, end);
  return (negative ? '-' : '') + (whole === '' ? '0' : whole) + (fraction === '' ? '' : `.${fraction}`);
}

function digitsEnd(text: string, start: number): number {
  let at = start;
  while (at < text.length && text.charCodeAt(at) >= ZERO && text.charCodeAt(at) <= NINE) at++;
  return at;
}

/** Position of the first digit that is not a leading zero, or `end`. */
function firstDigit(text: string, start: number, end: number): number {
  let at = start;
  while (at < end && text.charCodeAt(at) === ZERO) at++;
  return at;
}

/** A digit's value; past the end, zero: "5" and "5.0" have the same fraction. */
function digit(text: string, at: number): number {
  return at < text.length ? text.charCodeAt(at) - ZERO : 0;
}

function isZero(text: string): boolean {
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit > ZERO && unit <= NINE) return false;
  }
  return true;
}
