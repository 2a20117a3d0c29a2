/** One command under one mission: real processes, a real broker, an emulated Vault. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { pythonHas } from '../foreign/python.ts';
import { type BrokerWithSecrets, startWithSecrets } from '../sdk/agent/secrets.ts';
import { serve } from '../sdk/agent/support.ts';
import { ERP, MAIL } from '../support/broker.ts';
import { eventually, missionFile, node, type Place, startPlace, stateOf } from './support.ts';

let world: BrokerWithSecrets;
let place: Place;
beforeAll(async () => {
  world = await startWithSecrets(4);
  place = startPlace(world.sortie);
});
afterAll(async () => {
  place.close();
  await world.close();
});

const SECRET_FILE = {
  deliver: {
    files: [
      { name: 'db.json', credential: 'main/reader', member: 'secrets.0.data', path_in: 'DB_SECRET_FILE' },
    ],
  },
};
/** Tells where it is and waits. */
const WAITING = 'console.log(process.env.DB_SECRET_FILE ?? "ready"); setInterval(() => {}, 1000);';
const exec = (more: Record<string, unknown>, command: readonly string[], options = {}) =>
  place.exec(missionFile(world.sortie, more), command, options);

describe('the command', () => {
  test("gets its standard streams and arguments, and its exit code is exec's", async () => {
    const run = await exec(
      {},
      node('console.log(process.argv.length); console.error("from it"); process.exit(7)'),
    );
    expect(await run.exited).toBe(7);
    expect(run.said.out).toBe('1\n');
    expect(run.said.err).toContain('from it\n');
    expect(await stateOf(world.sortie, run)).toBe('completed');
    expect(place.left()).toEqual([]);
  });

  test('that a signal ended gives 128 and its number', async () => {
    const run = await exec({}, node('process.kill(process.pid, "SIGKILL")'));
    expect(await run.exited).toBe(137);
    expect(await stateOf(world.sortie, run)).toBe('completed');
    expect(place.left()).toEqual([]);
  });

  test('that is not there gives 127, and its mission is over', async () => {
    const run = await exec({}, ['no-such-command']);
    expect(await run.exited).toBe(127);
    expect(await stateOf(world.sortie, run)).toBe('completed');
    expect(place.left()).toEqual([]);
  });

  test('does not get the admin token of whoever started it', async () => {
    const run = await exec({}, node('console.log(JSON.stringify(process.env))'), {
      env: { SORTIE_ADMIN_TOKEN: 'standing-right', HARMLESS: 'kept' },
    });
    expect(await run.exited).toBe(0);
    expect(run.said.out).not.toContain('standing-right');
    expect(run.said.out).toContain('"HARMLESS":"kept"');
  });
});

describe('a file', () => {
  test("is this user's alone, holds what was asked for, and goes with the run", async () => {
    const run = await exec(SECRET_FILE, node(WAITING));
    await eventually(() => run.said.out !== '', 'the command runs', run);
    const path = run.said.out.trim();
    // A second process of another user sees modes, and no more.
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(statSync(join(path, '..')).mode & 0o777).toBe(0o700);
    const { username, password } = JSON.parse(readFileSync(path, 'utf8')) as Record<string, string>;
    expect(world.vault.login(username ?? '', password ?? '')).toBe(true);
    expect(run.said.err).not.toContain(password);
    run.process.kill('SIGTERM');
    expect(await run.exited).toBe(143);
    expect(place.left()).toEqual([]);
    await eventually(() => !world.vault.login(username ?? '', password ?? ''), 'it is revoked');
  });

  test('is replaced when its credential is renewed, and is whole at every moment', async () => {
    const run = await exec(
      SECRET_FILE,
      node(`
        const { readFileSync } = require('node:fs');
        const seen = new Set();
        setInterval(() => {
          seen.add(JSON.parse(readFileSync(process.env.DB_SECRET_FILE, 'utf8')).username);
          if (seen.size === 3) { console.log([...seen].join(' ')); process.exit(0); }
        }, 1);
      `),
    );
    expect(await run.exited).toBe(0);
    const replaced = run.events().filter(({ event }) => event === 'replaced');
    expect(replaced.length).toBeGreaterThanOrEqual(2);
    for (const username of run.said.out.trim().split(' ')) expect(run.said.err).not.toContain(username);
  });
});

describe('a variable', () => {
  test('holds a member or a text of several, and a value that ends early is announced', async () => {
    const credential = 'main/reader';
    const run = await exec(
      {
        deliver: {
          environment: {
            DB_USER: { credential, member: 'secrets.0.data.username' },
            DB_URL: {
              credential,
              text: 'db://{secrets.0.data.username|url}:{secrets.0.data.password|url}@h/{{d}}',
            },
          },
        },
      },
      node('console.log(process.env.DB_USER, process.env.DB_URL)'),
    );
    expect(await run.exited).toBe(0);
    const [user, url] = run.said.out.trim().split(' ');
    expect(url).toMatch(/^db:\/\/.+:.+@h\/\{d\}$/);
    expect(url).toContain(encodeURIComponent(user ?? '-'));
    const warned = run.events().filter(({ event }) => event === 'warning');
    expect(warned.map(({ message }) => message).join()).toContain('DB_USER: ends at');
  });

  test.each([
    [
      { credential: 'main/writer' },
      'holds no such credential of main/writer; it holds: vault_secret main/reader',
    ],
    [
      { credential: 'main/reader', member: 'password' },
      'the value has no password; it has secrets, expires_at',
    ],
    [{ credential: 'main/reader', text: '{secrets' }, 'a brace at 1 of text has no other half'],
    [{ credential: 'main/reader', nth: 2 }, 'holds no such credential'],
  ])('that cannot be filled fails before the command runs: %j', async (entry, why) => {
    const run = await exec({ deliver: { environment: { X: entry } } }, node('console.log("ran")'));
    expect(await run.exited).toBe(125);
    expect(run.said.out).toBe('');
    expect(run.said.err).toContain(`deliver.environment.X: `);
    expect(run.said.err).toContain(why);
    expect(await stateOf(world.sortie, run)).toBe('completed');
    expect(place.left()).toEqual([]);
  });
});

describe('signals', () => {
  test.each(['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const)(
    '%s reaches the command, which decides; nothing is left',
    async (signal) => {
      const run = await exec(
        SECRET_FILE,
        node(
          `process.on('${signal}', () => { console.log('${signal} came'); process.exit(3); }); ${WAITING}`,
        ),
      );
      await eventually(() => run.said.out !== '', 'the command runs', run);
      run.process.kill(signal);
      expect(await run.exited).toBe(3);
      expect(run.said.out).toContain(`${signal} came`);
      expect(await stateOf(world.sortie, run)).toBe('completed');
      expect(place.left()).toEqual([]);
    },
  );

  test.skipIf(!pythonHas('Ctrl-C on a terminal', 'pty'))(
    'Ctrl-C reaches a command in the foreground once, not twice',
    async () => {
      const run = await exec(
        {},
        node(`
          let presses = 0;
          process.on('SIGINT', () => { console.log('press', ++presses); setTimeout(() => process.exit(9), 500); });
          console.log('ready'); setInterval(() => {}, 1000);
        `),
        { under: ['python3', fileURLToPath(new URL('press.py', import.meta.url))] },
      );
      expect(await run.exited).toBe(9);
      expect(run.said.out).toContain('press 1');
      expect(run.said.out).not.toContain('press 2');
      expect(run.said.out).toContain('"event":"completed"');
    },
  );

  test('a terminal that is closed does not keep the run from cleaning up', async () => {
    const run = await exec(SECRET_FILE, node(WAITING));
    await eventually(() => run.said.out !== '', 'the command runs', run);
    const path = run.said.out.trim();
    run.process.stderr?.destroy();
    run.process.stdout?.destroy();
    run.process.kill('SIGHUP');
    expect(await run.exited).toBe(129);
    expect(existsSync(path)).toBe(false);
    expect(place.left()).toEqual([]);
    expect(await stateOf(world.sortie, run)).toBe('completed');
  });

  test('a second one leaves a broker that does not answer alone', async () => {
    const silent = await serve(() => {});
    const run = await place.exec({ ...missionFile(world.sortie), broker: silent.url }, node(''));
    await eventually(() => silent.seen.length > 0, 'it asks', run);
    run.process.kill('SIGINT');
    run.process.kill('SIGTERM');
    expect([130, 143]).toContain(await run.exited);
    expect(place.left()).toEqual([]);
    await silent.close();
  });

  test('before the command runs, one ends the run and its mission', async () => {
    const run = await exec(SECRET_FILE, node(WAITING));
    await eventually(() => run.events().some(({ event }) => event === 'declaring'), 'it declares', run);
    run.process.kill('SIGTERM');
    // A moment later it would be the command that ends by it: with the same code.
    expect(await run.exited).toBe(143);
    expect(place.left()).toEqual([]);
    expect(await stateOf(world.sortie, run)).toBe('completed');
  });

  test('kill -9 of exec leaves a folder that the next run removes', async () => {
    const run = await exec(
      SECRET_FILE,
      node('setTimeout(() => {}, 1500); console.log(process.env.DB_SECRET_FILE)'),
    );
    await eventually(() => run.said.out !== '', 'the command runs', run);
    run.process.kill('SIGKILL');
    expect(await run.exited).toBe('SIGKILL');
    expect(place.left()).toHaveLength(1);
    expect(await (await exec({}, node(''))).exited).toBe(0);
    expect(place.left()).toEqual([]);
  });
});

describe('a proxy', () => {
  test('to a resource that was not declared is refused before the command runs', async () => {
    const run = await exec(
      { deliver: { proxies: [{ audience: MAIL, url_in: 'MAIL_URL', secret_in: 'MAIL_KEY' }] } },
      node('console.log("ran")'),
    );
    expect(await run.exited).toBe(125);
    expect(run.said.out).toBe('');
    expect(run.said.err).toContain(`${MAIL} is not a resource that this mission declared`);
    expect(await stateOf(world.sortie, run)).toBe('completed');
  });

  test("is at the address and with the secret of the command's variables, and gone with the run", async () => {
    const run = await exec(
      {
        deliver: {
          proxies: [
            { audience: ERP, url_in: 'ERP_URL', secret_in: 'ERP_KEY' },
            { audience: ERP, socket_in: 'ERP_SOCKET' },
          ],
        },
      },
      node(`
        const { ERP_URL, ERP_KEY, ERP_SOCKET } = process.env;
        const { request } = require('node:http');
        const ask = (options) => new Promise((resolve) =>
          request(ERP_URL + '/a%2fb', options, (answer) => resolve(answer.resume().statusCode)).end());
        (async () => {
          const authorization = 'Bearer ' + ERP_KEY;
          // A path that is refused needs no server behind: whoever is let in is told 400.
          console.log(await ask({}), await ask({ headers: { authorization } }), await ask({ socketPath: ERP_SOCKET }), ERP_URL);
        })();
      `),
    );
    expect(await run.exited).toBe(0);
    const [none, secret, socket, url] = run.said.out.trim().split(' ');
    expect([none, secret, socket]).toEqual(['403', '400', '400']);
    await expect(fetch(url ?? '')).rejects.toThrow('fetch failed');
  });
});

describe('a mission that ends before its command', () => {
  const revoke = async (run: Awaited<ReturnType<typeof exec>>) => {
    const id = String(run.events().find(({ event }) => event === 'mission')?.['mission_id']);
    await world.sortie.admin('POST', `/missions/${id}/revoke`, { reason: 'incident' });
  };

  test('is told with its reason, and the command is ended', async () => {
    const run = await exec(SECRET_FILE, node(WAITING));
    await eventually(() => run.said.out !== '', 'the command runs', run);
    await revoke(run);
    expect(await run.exited).toBe(143);
    expect(run.events().find(({ event }) => event === 'ended')).toMatchObject({ why: 'mission_revoked' });
    expect(place.left()).toEqual([]);
  });

  test('is killed if it will not end', async () => {
    const run = await exec(
      { ...SECRET_FILE, on_end: { grace: '1s' } },
      node(`process.on('SIGTERM', () => {}); ${WAITING}`),
    );
    await eventually(() => run.said.out !== '', 'the command runs', run);
    await revoke(run);
    expect(await run.exited).toBe(137);
    expect(place.left()).toEqual([]);
  });

  test('may be left to run without credentials', async () => {
    const run = await exec(
      { on_end: { command: 'leave' } },
      node('console.log("ready"); setTimeout(() => process.exit(5), 4000)'),
    );
    await eventually(() => run.said.out !== '', 'the command runs', run);
    await revoke(run);
    expect(await run.exited).toBe(5);
    expect(run.said.err).toContain('mission_revoked');
  });

  test('is told when it is suspended and resumed, and the file holds a credential that works again', async () => {
    const run = await exec(SECRET_FILE, node(WAITING));
    await eventually(() => run.said.out !== '', 'the command runs', run);
    const id = String(run.events().find(({ event }) => event === 'mission')?.['mission_id']);
    const has = (event: string) => run.events().some((told) => told.event === event);
    await world.sortie.admin('POST', `/missions/${id}/suspend`, { reason: 'look first' });
    await eventually(() => has('suspended'), 'the suspension is told', run);
    await world.sortie.admin('POST', `/missions/${id}/resume`, { reason: 'fine' });
    await eventually(() => has('resumed'), 'the resumption is told', run);
    await eventually(
      () => {
        const { username, password } = JSON.parse(readFileSync(run.said.out.trim(), 'utf8'));
        return world.vault.login(username, password);
      },
      'the file has another login',
      run,
    );
    run.process.kill('SIGTERM');
    await run.exited;
  });
});

test('a mission that is refused says why, for people and in JSON', async () => {
  const file = {
    authorization_details: [{ type: 'mission_resource_access', resource: ERP, actions: ['users.delete'] }],
  };
  const run = await exec(file, node('console.log("ran")'), { flags: [] });
  expect(await run.exited).toBe(125);
  expect(run.said.out).toBe('');
  expect(run.said.err).toContain('sortie: the broker refused: out_of_template_ceiling');
  const json = await exec(file, node(''));
  await json.exited;
  expect(json.events().find(({ event }) => event === 'failed')).toMatchObject({
    code: 'out_of_template_ceiling',
  });
});

test('--quiet says nothing while all is well', async () => {
  const run = await exec(SECRET_FILE, node(''), { flags: ['--quiet'] });
  expect(await run.exited).toBe(0);
  expect(run.said.err).toBe('');
});
