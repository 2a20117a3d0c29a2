/**
 * Compact forms on disk. A SHA-256 digest is written as its 32 bytes instead of 43 to 51 characters; anything
 * that is not exactly the canonical text of one is kept as it is, so that packing never changes a value.
 */
import { createHash } from 'node:crypto';
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import type { ReportRecord, Write } from '../ports.ts';

const DIGEST_PREFIX = 'sha-256:';
const DIGEST_BYTES = 32;
const DIGEST_CHARACTERS = 43;
/** First byte of the 33 bytes of a prefixed digest. */
const PREFIXED = 1;
/** Stands between padding and a value kept as text, which is always longer than the packed forms. */
const TEXT = 2;

/** Bytes for a digest column: a bare base64url SHA-256, one with `sha-256:`, or any other text. */
export function packDigest(value: string): Buffer {
  const prefixed = value.startsWith(DIGEST_PREFIX);
  const bare = prefixed ? value.slice(DIGEST_PREFIX.length) : value;
  if (bare.length === DIGEST_CHARACTERS) {
    const bytes = Buffer.from(bare, 'base64url');
    // The last character of 43 carries four bits: two texts could name the same bytes, only one is canonical.
    if (bytes.length === DIGEST_BYTES && bytes.toString('base64url') === bare) {
      return prefixed ? Buffer.concat([Buffer.of(PREFIXED), bytes]) : bytes;
    }
  }
  const text = Buffer.from(value, 'utf8');
  const padding = Math.max(0, DIGEST_BYTES + 1 - text.length);
  return Buffer.concat([Buffer.alloc(padding), Buffer.of(TEXT), text]);
}

/** The text that {@link packDigest} was given. */
export function unpackDigest(bytes: Buffer): string {
  if (bytes.length === DIGEST_BYTES) return bytes.toString('base64url');
  if (bytes.length === DIGEST_BYTES + 1 && bytes[0] === PREFIXED) {
    return DIGEST_PREFIX + bytes.toString('base64url', 1);
  }
  return bytes.toString('utf8', bytes.indexOf(TEXT) + 1);
}

/** Length that stands for a missing digest. */
const MISSING = 0xffff;

/** Several digests in one column: cheaper to read and write than a column each. */
export function packDigests(values: readonly (string | null)[]): Buffer {
  const parts = values.flatMap((value) => {
    const length = Buffer.alloc(2);
    if (value === null) {
      length.writeUInt16BE(MISSING);
      return [length];
    }
    const packed = packDigest(value);
    if (packed.length >= MISSING) throw new RangeError('a digest is longer than any digest is');
    length.writeUInt16BE(packed.length);
    return [length, packed];
  });
  return Buffer.concat(parts);
}

/** What {@link packDigests} was given. */
export function unpackDigests(bytes: Buffer): (string | null)[] {
  const values: (string | null)[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = bytes.readUInt16BE(at);
    at += 2;
    if (length === MISSING) {
      values.push(null);
      continue;
    }
    values.push(unpackDigest(bytes.subarray(at, at + length)));
    at += length;
  }
  return values;
}

/** 16 bytes of SHA-256 over the parts, unambiguous whatever they hold. */
export function keyOf(...parts: readonly string[]): Buffer {
  return createHash('sha256').update(JSON.stringify(parts)).digest().subarray(0, 16);
}

/** 63 bits of SHA-256 over the parts, as an SQLite row number: the cheapest unique key there is. */
export function rowNumberOf(...parts: readonly string[]): bigint {
  return createHash('sha256').update(JSON.stringify(parts)).digest().readBigUInt64BE(0) >> 1n;
}

const REPORT_PREFIX = 'dec_';
const REPORT_DIGEST_BYTES = 16;
const REPORT_MAX_BYTES = 64 * 1024 * 1024;
/** Level 1: reports repeat themselves, and half the size is not worth twice the time. */
const REPORT_COMPRESSION = { params: { [constants.ZSTD_c_compressionLevel]: 1 } };

/** The 16 bytes of a report's id; null for anything else. */
export function reportDigestOf(id: string): Buffer | null {
  if (!id.startsWith(REPORT_PREFIX)) return null;
  const bytes = Buffer.from(id.slice(REPORT_PREFIX.length), 'base64url');
  return bytes.length === REPORT_DIGEST_BYTES ? bytes : null;
}

/** Bodies of reports as they cross to the writer thread: a tenth of the size, in base64. */
export function packReports(writes: readonly Write[]): readonly Write[] {
  if (!writes.some((write) => write.kind === 'insert_report')) return writes;
  return writes.map((write) =>
    write.kind === 'insert_report'
      ? {
          ...write,
          report: {
            ...write.report,
            body: zstdCompressSync(write.report.body, REPORT_COMPRESSION).toString('base64'),
          },
        }
      : write,
  );
}

/** The columns of a report that {@link packReports} packed. @throws RangeError for an id that is none */
export function unpackReport(report: ReportRecord): { readonly digest: Buffer; readonly body: Buffer } {
  const digest = reportDigestOf(report.id);
  if (digest === null) throw new RangeError('not the id of a report');
  return { digest, body: Buffer.from(report.body, 'base64') };
}

/** JSON of a stored body. */
export function unpackBody(body: Buffer): string {
  return zstdDecompressSync(body, { maxOutputLength: REPORT_MAX_BYTES }).toString('utf8');
}
