import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe } from 'vitest';
import { gatewayGuarantees } from './attacks.ts';
import { counterpart, documented, run, type Scene, SECRET, startScene } from './support.ts';

describe.skipIf(!counterpart('caddy'))('Caddy with the documented configuration', () => {
  let scene: Scene;
  beforeAll(async () => {
    scene = await startScene({
      kind: 'caddy',
      start(folder, { port, api, broker }) {
        const site = documented('Caddyfile', {
          '127.0.0.1:8480': broker,
          '127.0.0.1:8000': api,
          '127.0.0.1:8080': `127.0.0.1:${port}`,
        });
        const file = join(folder, 'Caddyfile');
        writeFileSync(file, site);
        return run('caddy', ['run', '--config', file, '--adapter', 'caddyfile'], {
          SORTIE_GATEWAY_SECRET: SECRET,
          HOME: folder,
          XDG_DATA_HOME: folder,
          XDG_CONFIG_HOME: folder,
        });
      },
    });
  });
  afterAll(() => scene?.stop());
  gatewayGuarantees(() => scene);
});
