/**
 * Token Status List: the compressed array of statuses that anybody may fetch (wire profile 3).
 *
 * Source: draft-ietf-oauth-status-list (-20), sections 4 and 5. Statuses are packed from the least significant
 * bit of each byte; the array is compressed with zlib (RFC 1950) and base64url encoded.
 */
import { deflateSync, inflateSync } from 'node:zlib';

export const STATUS_BITS = [1, 2, 4, 8] as const;
export type StatusBits = (typeof STATUS_BITS)[number];

/** Status values of section 7.1 that Sortie uses. */
export const STATUS_VALID = 0;
export const STATUS_INVALID = 1;
export const STATUS_SUSPENDED = 2;

/** The `status_list` member of a `statuslist+jwt`. */
export interface EncodedStatusList {
  readonly bits: StatusBits;
  readonly lst: string;
}

/**
 * Packs statuses into bytes; what is not named is 0.
 * @param size number of slots, a multiple of `8 / bits`.
 * @throws RangeError for a slot outside the list or a status that does not fit in `bits`.
 */
export function packStatuses(
  bits: StatusBits,
  size: number,
  statuses: Iterable<readonly [index: number, status: number]>,
): Uint8Array {
  const perByte = 8 / bits;
  if (!Number.isSafeInteger(size) || size <= 0 || size % perByte !== 0)
    throw new RangeError('status list size must be a positive multiple of the slots in a byte');
  const bytes = new Uint8Array(size / perByte);
  const mask = 2 ** bits - 1;
  for (const [index, status] of statuses) {
    if (!Number.isSafeInteger(index) || index < 0 || index >= size)
      throw new RangeError('status index outside the list');
    if (!Number.isInteger(status) || status < 0 || status > mask)
      throw new RangeError('status does not fit in the bits of the list');
    const byte = Math.floor(index / perByte);
    const shift = (index % perByte) * bits;
    bytes[byte] = ((bytes[byte] ?? 0) & ~(mask << shift)) | (status << shift);
  }
  return bytes;
}

/**
 * The status of one slot.
 * @throws RangeError for a slot outside the list: a referenced token whose index is not there must be refused.
 */
export function statusAt(bytes: Uint8Array, bits: StatusBits, index: number): number {
  const perByte = 8 / bits;
  const byte = Number.isSafeInteger(index) && index >= 0 ? bytes[Math.floor(index / perByte)] : undefined;
  if (byte === undefined) throw new RangeError('status index outside the list');
  return (byte >> ((index % perByte) * bits)) & (2 ** bits - 1);
}

/** Compresses packed statuses at the highest level, as the draft recommends. */
export function encodeStatusList(bits: StatusBits, bytes: Uint8Array): EncodedStatusList {
  return { bits, lst: deflateSync(bytes, { level: 9 }).toString('base64url') };
}

/**
 * Reads a `status_list` member.
 * @param max_bytes bound of the unpacked array, so that a small list cannot unpack into all memory.
 * @throws RangeError if it is not a status list or larger than that.
 */
export function decodeStatusList(list: EncodedStatusList, max_bytes: number): Uint8Array {
  if (!STATUS_BITS.includes(list.bits)) throw new RangeError('bits must be 1, 2, 4 or 8');
  try {
    return inflateSync(Buffer.from(list.lst, 'base64url'), { maxOutputLength: max_bytes });
  } catch {
    throw new RangeError('not a compressed status list of the allowed size');
  }
}
