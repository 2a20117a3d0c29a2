/**
 * The verifier that PostgreSQL keeps of a SCRAM-SHA-256 password (RFC 5803 in PostgreSQL's spelling). Sent
 * instead of the password, so that a server that logs its statements logs nothing that can log in.
 */

import { createHash, createHmac, pbkdf2 } from 'node:crypto';
import { promisify } from 'node:util';

const derive = promisify(pbkdf2);
const ITERATIONS = 4096;

/** @param password ASCII, so that SASLprep leaves it alone  @param salt 16 random bytes */
export async function scramVerifier(password: string, salt: Buffer): Promise<string> {
  const salted = await derive(password, salt, ITERATIONS, 32, 'sha256');
  const client_key = createHmac('sha256', salted).update('Client Key').digest();
  const stored_key = createHash('sha256').update(client_key).digest('base64');
  const server_key = createHmac('sha256', salted).update('Server Key').digest('base64');
  return `SCRAM-SHA-256$${ITERATIONS}:${salt.toString('base64')}$${stored_key}:${server_key}`;
}
