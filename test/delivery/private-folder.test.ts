import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { PrivateFolder, UnsafeFolder } from '../../src/delivery/private-folder.ts';

const root = mkdtempSync(join(tmpdir(), 'sortie-private-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

let parent = '';
let count = 0;
beforeEach(() => {
  count += 1;
  parent = join(root, String(count));
  mkdirSync(parent, { mode: 0o700 });
});
const create = () => PrivateFolder.create({ XDG_RUNTIME_DIR: parent });
const modeOf = (path: string) => lstatSync(path).mode & 0o777;

describe('a private folder', () => {
  test("is this user's alone, whatever the umask, and so is every file in it", () => {
    const before = process.umask(0);
    try {
      const folder = create();
      expect(modeOf(folder.path)).toBe(0o700);
      expect(modeOf(folder.write('secret', 'one'))).toBe(0o600);
      expect(modeOf(folder.write('secret', 'two'))).toBe(0o600);
      expect(readFileSync(folder.at('secret'), 'utf8')).toBe('two');
      folder.remove();
    } finally {
      process.umask(before);
    }
    expect(readdirSync(parent)).toEqual([]);
  });

  test.skipIf(process.getuid?.() !== 0)('cannot be read or listed by another user of the machine', () => {
    chmodSync(root, 0o755);
    chmodSync(parent, 0o755);
    const folder = create();
    const secret = folder.write('secret', 'one');
    const nobody = { uid: 65_534, gid: 65_534, stdio: 'pipe' } as const;
    expect(execFileSync('ls', [parent], nobody).toString()).toContain('sortie-run-');
    for (const [program, path] of [
      ['cat', secret],
      ['ls', folder.path],
    ] as const)
      expect(() => execFileSync(program, [path], nobody)).toThrow('Permission denied');
    folder.remove();
  });

  test('goes when its process ends by itself or by a fault', () => {
    const script = (end: string) =>
      `import { PrivateFolder } from ${JSON.stringify(new URL('../../src/delivery/private-folder.ts', import.meta.url).href)};
       PrivateFolder.create(process.env).write('secret', 's'); ${end}`;
    for (const end of ['', 'process.exit(3)', 'throw new Error("fault")']) {
      try {
        execFileSync(process.execPath, ['--input-type=module', '-e', script(end)], {
          env: { XDG_RUNTIME_DIR: parent },
          stdio: 'ignore',
        });
      } catch {
        // Its exit code is not the point.
      }
      expect(readdirSync(parent)).toEqual([]);
    }
  });

  test('is not made where others could exchange it', () => {
    chmodSync(parent, 0o777);
    expect(create).toThrow(UnsafeFolder);
    chmodSync(parent, 0o1777);
    create().remove();
  });

  test('reached through a link is made where the link leads, and judged there', () => {
    const link = join(root, `link-${count}`);
    symlinkSync(parent, link);
    chmodSync(parent, 0o777);
    expect(() => PrivateFolder.create({ XDG_RUNTIME_DIR: link })).toThrow(UnsafeFolder);
    chmodSync(parent, 0o700);
    const folder = PrivateFolder.create({ XDG_RUNTIME_DIR: link });
    expect(folder.path.startsWith(parent)).toBe(true);
    folder.remove();
  });

  test('that was exchanged for a link is not written to, and what it leads to is not removed', () => {
    const folder = create();
    const elsewhere = join(root, `elsewhere-${count}`);
    mkdirSync(elsewhere);
    writeFileSync(join(elsewhere, 'precious'), 'data');
    renameSync(folder.path, `${folder.path}-away`);
    symlinkSync(elsewhere, folder.path);
    expect(() => folder.write('secret', 's')).toThrow(UnsafeFolder);
    folder.remove();
    expect(readdirSync(elsewhere)).toEqual(['precious']);
    expect(existsSync(join(elsewhere, 'secret'))).toBe(false);
  });

  test('that was opened to others is not written to', () => {
    const folder = create();
    chmodSync(folder.path, 0o755);
    expect(() => folder.write('secret', 's')).toThrow(UnsafeFolder);
    folder.remove();
  });

  test('does not write through a link in place of a file', () => {
    const folder = create();
    const victim = join(root, `victim-${count}`);
    writeFileSync(victim, 'before');
    symlinkSync(victim, folder.at('secret'));
    folder.write('secret', 's');
    expect(readFileSync(victim, 'utf8')).toBe('before');
    expect(lstatSync(folder.at('secret')).isSymbolicLink()).toBe(false);
    folder.remove();
  });

  test('of a run that lives is left alone by the next, and of one that was killed it goes', () => {
    const living = create();
    const dead = create();
    const owner = JSON.parse(readFileSync(dead.at('owner'), 'utf8')) as Record<string, unknown>;
    writeFileSync(dead.at('owner'), JSON.stringify({ ...owner, pid: 2 ** 22 + 1 }));
    const recycled = create();
    // The number lives, and is another process.
    writeFileSync(recycled.at('owner'), JSON.stringify({ ...owner, started: '1' }));
    const foreign = create();
    writeFileSync(foreign.at('owner'), JSON.stringify({ ...owner, pid: 2 ** 22 + 1, namespace: 'pid:[1]' }));
    const next = create();
    expect(existsSync(living.path)).toBe(true);
    expect(existsSync(foreign.path)).toBe(true);
    expect(existsSync(dead.path)).toBe(false);
    expect(existsSync(recycled.path)).toBe(false);
    for (const folder of [living, foreign, next]) folder.remove();
  });
});
