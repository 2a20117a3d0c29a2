/** Evidence of an enrolled machine: a key file that only its owner may read, and short proofs signed with it. */
import { randomUUID } from 'node:crypto';
import { chmod, mkdir, open, rename, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { calculateJwkThumbprint, exportJWK, generateKeyPair, importJWK, type JWK, SignJWT } from 'jose';
import { ENROLLED_ISSUER, ENROLLED_TYP, SELF_SIGNED_MAX_SECONDS } from '../../../domain/evidence.ts';
import type { Surroundings } from './surroundings.ts';

/** The public half, as the broker wants it for enrolment. */
export interface EnrolmentKey {
  readonly jwk: JWK;
  readonly jkt: string;
}

/**
 * Makes a key for enrolment and keeps it in a file of mode 0600; an existing file is never overwritten.
 * @returns the public key, to be sent with the one-time code
 */
export async function makeEnrolmentKey(path: string): Promise<EnrolmentKey> {
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
  const jwk = await exportJWK(publicKey);
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  // `wx`: two enrolments at once cannot end with a file whose key nobody enrolled.
  const file = await open(path, 'wx', 0o600);
  try {
    await file.writeFile(JSON.stringify(await exportJWK(privateKey)));
    await file.sync();
  } finally {
    await file.close();
  }
  return { jwk, jkt: await calculateJwkThumbprint(jwk) };
}

/** Moves a key whose enrolment was refused out of the way, so that the next attempt starts clean. */
export async function discardEnrolmentKey(path: string): Promise<void> {
  await chmod(path, 0o600);
  await rename(path, `${path}.refused`);
}

/** Whether a key file is there and closed to others. @throws Error that names the path, if others may read it */
export async function keyFileIsPrivate(path: string): Promise<boolean> {
  let mode: number;
  try {
    mode = (await stat(path)).mode;
  } catch {
    return false;
  }
  if (process.platform !== 'win32' && (mode & 0o077) !== 0)
    throw new Error(`${path} is open to others: chmod 600 it`);
  return true;
}

/** A proof of at most a minute, for this broker and this mission key. @param request.now seconds since the epoch */
export async function signEnrolledEvidence(
  around: Surroundings,
  path: string,
  request: { readonly audience: string; readonly jkt: string; readonly now: number },
): Promise<string> {
  const private_jwk = JSON.parse(await around.readFile(path)) as JWK;
  const key = await importJWK(private_jwk, 'ES256');
  const iat = Math.floor(request.now);
  return new SignJWT({ cnf: { jkt: request.jkt } })
    .setProtectedHeader({ alg: 'ES256', typ: ENROLLED_TYP, kid: await calculateJwkThumbprint(private_jwk) })
    .setIssuer(ENROLLED_ISSUER)
    .setAudience(request.audience)
    .setIssuedAt(iat)
    .setExpirationTime(iat + SELF_SIGNED_MAX_SECONDS)
    .setJti(randomUUID())
    .sign(key);
}
