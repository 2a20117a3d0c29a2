/**
 * The least of DER (ITU-T X.690) that certificate extensions need; node:crypto shows neither key usage nor
 * criticality. Strict: definite lengths, shortest form, nothing left over. Pure.
 */

export interface DerNode {
  /** Identifier octet: class, constructed bit and number below 31. */
  readonly tag: number;
  readonly body: Buffer;
}

export const BOOLEAN = 0x01;
export const INTEGER = 0x02;
export const BIT_STRING = 0x03;
export const OCTET_STRING = 0x04;
export const OID = 0x06;
export const SEQUENCE = 0x30;

const HIGH_TAG = 0x1f;
const LONG_LENGTH = 0x80;
const MAX_LENGTH_OCTETS = 3;

/** All nodes of a body. @throws Error if it is not DER */
export function readAll(bytes: Buffer): readonly DerNode[] {
  const nodes: DerNode[] = [];
  for (let at = 0; at < bytes.length; ) {
    const tag = octet(bytes, at);
    if ((tag & HIGH_TAG) === HIGH_TAG) throw notDer();
    let length = octet(bytes, at + 1);
    let start = at + 2;
    if (length >= LONG_LENGTH) {
      const octets = length - LONG_LENGTH;
      if (octets === 0 || octets > MAX_LENGTH_OCTETS || start + octets > bytes.length) throw notDer();
      length = bytes.readUIntBE(start, octets);
      if (length < LONG_LENGTH || length >>> (8 * (octets - 1)) === 0) throw notDer();
      start += octets;
    }
    if (start + length > bytes.length) throw notDer();
    nodes.push({ tag, body: bytes.subarray(start, start + length) });
    at = start + length;
  }
  return nodes;
}

/** The only node of a text, which must have this tag. */
export function readOne(bytes: Buffer, tag: number): Buffer {
  const [node, more] = readAll(bytes);
  if (node === undefined || more !== undefined || node.tag !== tag) throw notDer();
  return node.body;
}

/** Dotted form of an object identifier's body. */
export function oidText(body: Buffer): string {
  const arcs: number[] = [];
  let arc = 0;
  for (const byte of body) {
    if (arc > 0xff_ffff) throw notDer();
    arc = arc * 128 + (byte & 0x7f);
    if (byte >= 0x80) continue;
    if (arcs.length === 0) {
      const first = Math.min(Math.floor(arc / 40), 2);
      arcs.push(first, arc - first * 40);
    } else {
      arcs.push(arc);
    }
    arc = 0;
  }
  if (body.length === 0 || octet(body, body.length - 1) >= 0x80) throw notDer();
  return arcs.join('.');
}

/** Several certificates, one after the other (as the Workload API sends them). */
export function splitCertificates(bytes: Buffer): readonly Buffer[] {
  const certificates: Buffer[] = [];
  let at = 0;
  for (const node of readAll(bytes)) {
    if (node.tag !== SEQUENCE) throw notDer();
    const end = node.body.byteOffset - bytes.byteOffset + node.body.length;
    certificates.push(bytes.subarray(at, end));
    at = end;
  }
  return certificates;
}

function octet(bytes: Buffer, at: number): number {
  const value = bytes[at];
  if (value === undefined) throw notDer();
  return value;
}

function notDer(): Error {
  return new Error('not DER');
}
