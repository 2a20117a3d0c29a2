/**
 * RFC 3339 date-times as exact microseconds since the epoch. Refused, because two readers could differ about
 * them: lower case, a leap second, an unknown offset (`-00:00`), more than six digits of a second, and years
 * outside 1900 to 2199 (beyond which microseconds are not exact in a double).
 */

const DAYS_BEFORE_MONTH = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
const SECOND = 1_000_000;

/** Microseconds since the epoch, or NaN for what is not an accepted date-time. No allocation. */
export function instantMicros(text: string): number {
  const length = text.length;
  if (length < 20 || length > 32) return Number.NaN;
  const year = number(text, 0, 4);
  const month = number(text, 5, 7);
  const day = number(text, 8, 10);
  const hour = number(text, 11, 13);
  const minute = number(text, 14, 16);
  const second = number(text, 17, 19);
  if (text[4] !== '-' || text[7] !== '-' || text[10] !== 'T' || text[13] !== ':' || text[16] !== ':') {
    return Number.NaN;
  }
  // A part that is not digits is -1, and fails its lower bound here.
  if (year < 1900 || year > 2199 || month < 1 || month > 12 || day < 1 || day > daysIn(year, month)) {
    return Number.NaN;
  }
  if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59) return Number.NaN;
  let at = 19;
  let micros = 0;
  if (text[at] === '.') {
    const start = at + 1;
    for (at = start; at < length && at < start + 6 && isDigit(text, at); at++) {
      micros = micros * 10 + text.charCodeAt(at) - 0x30;
    }
    if (at === start) return Number.NaN;
    for (let scale = at - start; scale < 6; scale++) micros *= 10;
  }
  const offset = offsetMinutes(text, at);
  const days = daysSinceEpoch(year, month, day);
  return (((days * 24 + hour) * 60 + minute - offset) * 60 + second) * SECOND + micros;
}

/** The offset that ends the text at `at`, or NaN. */
function offsetMinutes(text: string, at: number): number {
  const sign = text[at];
  if (sign === 'Z') return at + 1 === text.length ? 0 : Number.NaN;
  if ((sign !== '+' && sign !== '-') || text.length !== at + 6 || text[at + 3] !== ':') return Number.NaN;
  const hours = number(text, at + 1, at + 3);
  const minutes = number(text, at + 4, at + 6);
  if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59) return Number.NaN;
  const offset = hours * 60 + minutes;
  if (sign === '+') return offset;
  return offset === 0 ? Number.NaN : -offset;
}

/** RFC 3339 in UTC, with a fraction only when there is one. */
export function printInstant(micros: number): string {
  const seconds = Math.floor(micros / SECOND);
  const text = new Date(seconds * 1000).toISOString().slice(0, 19);
  const rest = micros - seconds * SECOND;
  if (rest === 0) return `${text}Z`;
  let digits = String(rest).padStart(6, '0');
  while (digits.endsWith('0')) digits = digits.slice(0, -1);
  return `${text}.${digits}Z`;
}

function number(text: string, start: number, end: number): number {
  let value = 0;
  for (let at = start; at < end; at++) {
    if (!isDigit(text, at)) return -1;
    value = value * 10 + text.charCodeAt(at) - 0x30;
  }
  return value;
}

function isDigit(text: string, at: number): boolean {
  const unit = text.charCodeAt(at);
  return unit >= 0x30 && unit <= 0x39;
}

function isLeap(year: number): boolean {
  return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
}

function daysIn(year: number, month: number): number {
  if (month === 2) return isLeap(year) ? 29 : 28;
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31;
}

function daysSinceEpoch(year: number, month: number, day: number): number {
  const before = year - 1;
  const leaps = Math.floor(before / 4) - Math.floor(before / 100) + Math.floor(before / 400);
  const afterFebruary = month > 2 && isLeap(year) ? 1 : 0;
  // 719162 days lie between 0001-01-01 and 1970-01-01.
  return before * 365 + leaps + (DAYS_BEFORE_MONTH[month - 1] ?? 0) + afterFebruary + day - 1 - 719_162;
}
