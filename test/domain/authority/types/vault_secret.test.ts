import * as fc from 'fast-check';
import { describe } from 'vitest';
import { vaultSecret } from '../../../../src/domain/authority/types/vault_secret.ts';
import { keepsTheLaws } from './laws.ts';

const entries = fc.record(
  {
    type: fc.constant('vault_secret'),
    server: fc.constant('main'),
    role: fc.constantFrom('reader', 'reader', 'writer'),
    paths: fc.uniqueArray(fc.constantFrom('database/creds/a', 'database/creds/b', 'kv/c', 'kv/d'), {
      minLength: 1,
      maxLength: 3,
    }),
    wrap_ttl_seconds: fc.constantFrom(30, 60),
    max_ttl_seconds: fc.constantFrom(60, 600),
  },
  { requiredKeys: ['type', 'server', 'role', 'paths'] },
);
const good = { type: 'vault_secret', server: 'main', role: 'reader', paths: ['database/creds/readonly'] };

describe('vault_secret', () => {
  keepsTheLaws({
    type: vaultSecret,
    entries,
    good,
    optional: ['wrap_ttl_seconds', 'max_ttl_seconds'],
    bad: [
      [{ server: 'https://elsewhere' }, 'entry.server'],
      [{ role: 'a/b' }, 'entry.role'],
      [{ paths: [] }, 'entry.paths'],
      [{ paths: ['database/creds/a', 'database/creds/a'] }, 'entry.paths'],
      [{ paths: ['database/creds/*'] }, 'entry.paths[0]'],
      [{ paths: ['database/../sys/seal'] }, 'entry.paths[0]'],
      [{ paths: ['database//creds'] }, 'entry.paths[0]'],
      [{ paths: ['/database/creds'] }, 'entry.paths[0]'],
      [{ paths: ['database/creds?list=1'] }, 'entry.paths[0]'],
      [{ paths: ['database/creds%2Fa'] }, 'entry.paths[0]'],
      [{ paths: ['sys/policies'] }, 'entry.paths[0]'],
      [{ paths: ['auth/token/create'] }, 'entry.paths[0]'],
      [{ paths: ['identity/oidc/token/x'] }, 'entry.paths[0]'],
      [{ wrap_ttl_seconds: 7200 }, 'entry.wrap_ttl_seconds'],
      [{ token: 'hvs.x' }, 'entry.token'],
    ],
  });
});
