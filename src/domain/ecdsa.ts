/**
 * ECDSA signatures between their two encodings: JWS puts r and s side by side (RFC 7518 section 3.4), OpenSSL works
 * on DER (RFC 3279 section 2.2.3). Node can convert by itself (`dsaEncoding: 'ieee-p1363'`), but asks the key for
 * its curve each time, which costs half as much again as verifying and more than signing.
 */

const SEQUENCE = 0x30;
const INTEGER = 0x02;
/** Content of a DER sequence that still has a one-byte length; P-521 would need two. */
const SHORT = 0x80;

/**
 * r and s side by side as DER.
 * @param signature of exactly `2 * bytes`
 * @returns null for any other length
 */
export function derOfConcatenated(signature: Buffer, bytes: 32 | 48): Buffer | null {
  if (signature.length !== 2 * bytes) return null;
  const [r, r_pad] = significant(signature, 0, bytes);
  const [s, s_pad] = significant(signature, bytes, 2 * bytes);
  const r_length = bytes - r + r_pad;
  const s_length = 2 * bytes - s + s_pad;
  const der = Buffer.allocUnsafe(6 + r_length + s_length);
  der[0] = SEQUENCE;
  der[1] = 4 + r_length + s_length;
  writeInteger(der, 2, signature, r, bytes, r_pad);
  writeInteger(der, 4 + r_length, signature, s, 2 * bytes, s_pad);
  return der;
}

/** The other way. @throws RangeError for what OpenSSL would never have written */
export function concatenatedOfDer(der: Buffer, bytes: 32 | 48): Buffer {
  const length = der[1] ?? 0;
  const r_length = der[3] ?? 0;
  const s_at = 4 + r_length;
  const s_length = der[s_at + 1] ?? 0;
  if (
    der[0] !== SEQUENCE ||
    length >= SHORT ||
    der.length !== 2 + length ||
    der[2] !== INTEGER ||
    der[s_at] !== INTEGER ||
    der.length !== s_at + 2 + s_length ||
    r_length > bytes + 1 ||
    s_length > bytes + 1
  )
    throw new RangeError('not an ECDSA signature in DER');
  const signature = Buffer.alloc(2 * bytes);
  copyInteger(der, 4, r_length, signature, bytes, bytes);
  copyInteger(der, s_at + 2, s_length, signature, 2 * bytes, bytes);
  return signature;
}

/** Where the number really begins, and whether DER needs a zero before it to keep it positive. */
function significant(from: Buffer, start: number, end: number): [at: number, pad: 0 | 1] {
  let at = start;
  while (at < end - 1 && from[at] === 0) at++;
  return [at, (from[at] ?? 0) & 0x80 ? 1 : 0];
}

function writeInteger(to: Buffer, at: number, from: Buffer, start: number, end: number, pad: 0 | 1): void {
  to[at] = INTEGER;
  to[at + 1] = end - start + pad;
  if (pad === 1) to[at + 2] = 0;
  from.copy(to, at + 2 + pad, start, end);
}

/** Right-aligned before `end`; a leading zero of DER falls off. */
function copyInteger(from: Buffer, at: number, length: number, to: Buffer, end: number, bytes: number): void {
  const skip = Math.max(0, length - bytes);
  from.copy(to, end - (length - skip), at + skip, at + length);
}
