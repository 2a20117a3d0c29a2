/** One deadline over a whole exchange with a counterpart. */

import { ProviderFault } from './provider.ts';

/**
 * Rejects after `timeout_ms`, whatever `work` does. `work` must be something that its own side also gives up:
 * this only frees the caller.
 * @throws ProviderFault `timeout`
 */
export async function within<T>(
  provider: string,
  timeout_ms: number,
  work: Promise<T>,
  give_up?: () => void,
): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      give_up?.();
      reject(new ProviderFault(provider, 'timeout', `no answer within ${timeout_ms} ms`));
    }, timeout_ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
