/**
 * `sortie credential-process SOCKET PROFILE`: what an AWS profile of a running `sortie exec` calls. Loads nothing else,
 * because a tool waits for it.
 */
import { request } from 'node:http';

const TIMEOUT_MS = 60_000;

/** @returns the exit code. The credentials go to standard output, as AWS's tools want them. */
export async function credentialProcess(
  args: readonly string[],
  out: (text: string) => void,
  err: (text: string) => void,
): Promise<number> {
  const [socket, profile, ...more] = args;
  if (socket === undefined || profile === undefined || more.length > 0) {
    err('sortie credential-process SOCKET PROFILE: called by a profile that sortie exec made\n');
    return 1;
  }
  try {
    const { status, text } = await get(socket, `/aws/${profile}`);
    if (status !== 200) throw new Error(status === 403 ? `no profile ${profile}` : 'no credentials now');
    const { AccessKeyId, SecretAccessKey, Token, Expiration } = JSON.parse(text) as Record<string, string>;
    out(`${JSON.stringify({ Version: 1, AccessKeyId, SecretAccessKey, SessionToken: Token, Expiration })}\n`);
    return 0;
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    err(
      code === undefined
        ? `sortie: ${(cause as Error).message}\n`
        : `sortie: the run that made this profile is over (${code})\n`,
    );
    return 1;
  }
}

function get(socketPath: string, path: string): Promise<{ readonly status: number; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ socketPath, path, signal: AbortSignal.timeout(TIMEOUT_MS) }, (incoming) => {
      let text = '';
      incoming.setEncoding('utf8');
      incoming.on('data', (chunk: string) => {
        text += chunk;
      });
      incoming.on('end', () => resolve({ status: incoming.statusCode ?? 0, text }));
      incoming.on('error', reject);
    });
    outgoing.on('error', reject);
    outgoing.end();
  });
}
