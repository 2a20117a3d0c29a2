import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe } from 'vitest';
import { gatewayGuarantees } from './attacks.ts';
import { counterpart, documented, run, type Scene, SECRET, startScene } from './support.ts';

describe.skipIf(!counterpart('nginx'))('nginx with the documented configuration', () => {
  let scene: Scene;
  beforeAll(async () => {
    scene = await startScene({
      kind: 'nginx',
      start(folder, { port, api, broker }) {
        const secret = join(folder, 'secret.conf');
        writeFileSync(secret, `proxy_set_header Sortie-Gateway-Secret "${SECRET}";\n`, { mode: 0o600 });
        const site = documented('nginx.conf', {
          '127.0.0.1:8480': broker,
          '127.0.0.1:8000': api,
          '127.0.0.1:8080': `127.0.0.1:${port}`,
          '/etc/nginx/sortie-gateway-secret.conf': secret,
        });
        writeFileSync(join(folder, 'site.conf'), site);
        const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
          .map((name) => `${name}_temp_path ${join(folder, 'run', name)};`)
          .join('\n');
        writeFileSync(
          join(folder, 'nginx.conf'),
          `daemon off;\nworker_processes 1;\npid ${join(folder, 'nginx.pid')};\nerror_log stderr;\n` +
            `events { worker_connections 64; }\nhttp {\naccess_log off;\n${temporary}\n` +
            `include ${join(folder, 'site.conf')};\n}\n`,
        );
        return run('nginx', ['-p', folder, '-c', join(folder, 'nginx.conf'), '-e', 'stderr']);
      },
    });
  });
  afterAll(() => scene?.stop());
  gatewayGuarantees(() => scene);
});
