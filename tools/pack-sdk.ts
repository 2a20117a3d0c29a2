/**
 * Packs `@sortie/resource` and `@sortie/agent` from these sources into the folder given (default `dist/sdk`):
 * compiled files of the SDK, the domain and the behaviour rules, with jose as their only dependency. Nobody's API
 * pulls in a database or a cloud SDK.
 */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const out = resolve(process.argv[2] ?? join(root, 'dist', 'sdk'));
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  version: string;
  license: string;
  dependencies: Record<string, string>;
};

const PACKAGES = [
  {
    name: 'resource',
    description: 'Checks every call of a resource server against its Sortie mission, in process.',
  },
  { name: 'agent', description: 'Attest, declare a mission, hold its credentials, make calls under it.' },
] as const;

mkdirSync(out, { recursive: true });
for (const { name, description } of PACKAGES) {
  const folder = mkdtempSync(join(tmpdir(), `sortie-${name}-`));
  try {
    writeFileSync(
      join(folder, 'tsconfig.json'),
      JSON.stringify({
        extends: join(root, 'tsconfig.json'),
        compilerOptions: {
          noEmit: false,
          declaration: true,
          rootDir: join(root, 'src'),
          outDir: join(folder, 'dist'),
          typeRoots: [join(root, 'node_modules', '@types')],
        },
        include: [],
        files: [join(root, 'src', 'sdk', name, 'index.ts')],
      }),
    );
    execFileSync(join(root, 'node_modules', '.bin', 'tsc'), ['-p', join(folder, 'tsconfig.json')], {
      stdio: 'inherit',
    });
    writeFileSync(
      join(folder, 'package.json'),
      `${JSON.stringify(
        {
          name: `@sortie/${name}`,
          version: manifest.version,
          description,
          license: manifest.license,
          type: 'module',
          engines: { node: '>=22' },
          exports: {
            '.': { types: `./dist/sdk/${name}/index.d.ts`, default: `./dist/sdk/${name}/index.js` },
          },
          files: ['dist', 'LICENSE'],
          dependencies: { jose: manifest.dependencies['jose'] },
        },
        null,
        2,
      )}\n`,
    );
    cpSync(join(root, 'LICENSE'), join(folder, 'LICENSE'));
    rmSync(join(folder, 'tsconfig.json'));
    execFileSync('npm', ['pack', '--silent', '--pack-destination', out], { cwd: folder, stdio: 'inherit' });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
