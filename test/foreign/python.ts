/** Python for cross-checks with clients that others wrote. Missing, a suite skips loudly; in CI it fails. */
import { execFileSync } from 'node:child_process';

/** @returns whether `python3` can import every module */
export function pythonHas(suite: string, ...modules: string[]): boolean {
  try {
    execFileSync('python3', ['-c', `import ${modules.join(', ')}`], { stdio: 'ignore' });
    return true;
  } catch {
    const missing = `python3 with ${modules.join(', ')} (test/foreign/requirements.txt)`;
    if (process.env['CI'] === 'true') throw new Error(`CI needs ${missing}`);
    process.stderr.write(`SKIPPED: ${suite}, because ${missing} is not installed here\n`);
    return false;
  }
}
