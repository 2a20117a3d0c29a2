/**
 * The key-encryption key (KEK) and everything derived from it. The KEK comes from a file or the environment,
 * never from the database, so a stolen database yields no signing key.
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';

const KEK_BYTES = 32;
const IV_BYTES = 12;
const TAG_BYTES = 16;

export interface Seal {
  /** AES-256-GCM, base64url of iv, tag and ciphertext. `purpose` is authenticated, so that one sealed value cannot stand in for another. */
  seal(plaintext: Buffer, purpose: string): string;
  /** @throws Error if the value was sealed under another key or for another purpose, or was changed. */
  open(sealed: string, purpose: string): Buffer;
  /** 32 bytes for one purpose (HKDF-SHA-256, RFC 5869); the same KEK and purpose give the same bytes. */
  derive(purpose: string): Buffer;
}

/**
 * @param encoded 32 bytes, base64 or base64url, as the configuration's secret gives them.
 * @throws Error that names no part of the value.
 */
export function createSeal(encoded: string): Seal {
  const kek = Buffer.from(encoded.trim(), 'base64');
  if (kek.length !== KEK_BYTES)
    throw new Error(`the key-encryption key must be ${KEK_BYTES} bytes in base64; it has ${kek.length}`);
  const derive = (purpose: string) => Buffer.from(hkdfSync('sha256', kek, '', `sortie/${purpose}`, 32));
  const sealing = derive('seal');
  return {
    seal(plaintext, purpose) {
      const iv = randomBytes(IV_BYTES);
      const cipher = createCipheriv('aes-256-gcm', sealing, iv).setAAD(Buffer.from(purpose));
      const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final()]);
      return Buffer.concat([iv, cipher.getAuthTag(), ciphertext]).toString('base64url');
    },
    open(sealed, purpose) {
      const bytes = Buffer.from(sealed, 'base64url');
      const decipher = createDecipheriv('aes-256-gcm', sealing, bytes.subarray(0, IV_BYTES), {
        authTagLength: TAG_BYTES,
      })
        .setAAD(Buffer.from(purpose))
        .setAuthTag(bytes.subarray(IV_BYTES, IV_BYTES + TAG_BYTES));
      return Buffer.concat([decipher.update(bytes.subarray(IV_BYTES + TAG_BYTES)), decipher.final()]);
    },
    derive,
  };
}

/** A fresh KEK as `sortie keys generate-kek` and the development start print it. */
export function generateKek(): string {
  return randomBytes(KEK_BYTES).toString('base64');
}
