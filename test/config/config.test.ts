/** The configuration file: strict, taught by its faults, swapped whole, and never a place for secrets. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { loadConfig, readSecret } from '../../src/config/load.ts';
import { ConfigFault } from '../../src/config/yaml.ts';
import { creation, newKey, startBroker, TEMPLATE, type TestBroker } from '../support/broker.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sortie-config-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const BASE = `issuer: http://127.0.0.1:8480
development: true
store:
  sqlite:
    path: sortie.db
keys:
  key_encryption_key:
    from_env: SORTIE_KEK
attesters:
  - name: laptops
    kind: enrolled
admin:
  bootstrap_token_file: bootstrap
`;

function faultsOf(text: string): readonly string[] {
  const path = join(folder, 'broker.yaml');
  writeFileSync(path, text);
  try {
    loadConfig(path);
  } catch (cause) {
    expect(cause).toBeInstanceOf(ConfigFault);
    return (cause as ConfigFault).faults.map((fault) => fault.replace(`${folder}/`, ''));
  }
  return [];
}

test('the smallest file is enough', () => {
  expect(faultsOf(BASE)).toEqual([]);
});

test.runIf(existsSync('config/broker.example.yaml'))('the example loads and names every key', () => {
  expect(loadConfig('config/broker.example.yaml').config.issuer).toMatch(/^https:/);
});

describe('a typo', () => {
  test('is named with line, column, key and what was meant', () => {
    expect(faultsOf(BASE.replace('issuer:', 'isuer:'))).toEqual(
      expect.arrayContaining(['broker.yaml:1:1: unknown key "isuer"; did you mean "issuer"?']),
    );
    expect(faultsOf(BASE.replace('    path:', '    paht:'))).toEqual(
      expect.arrayContaining(['broker.yaml:5:5: unknown key "paht"; did you mean "path"?']),
    );
    expect(faultsOf(`${BASE}dpop:\n  require_nonces: true\n`)).toEqual([
      'broker.yaml:15:3: unknown key "require_nonces"; did you mean "require_nonce"?',
    ]);
  });

  test('in a template is named in its own file', async () => {
    const { mkdirSync } = await import('node:fs');
    mkdirSync(join(folder, 'templates'));
    writeFileSync(join(folder, 'templates', 'a.yaml'), 'id: a\nversion: "1"\nlifetme: 1h\nceiling: []\n');
    const faults = faultsOf(`${BASE}templates:\n  folder: templates\n`);
    expect(faults).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/^templates\/a\.yaml:3:1: unknown key "lifetme"; did you mean "lifetime"\?/),
      ]),
    );
  });

  test.each([
    ['a repeated key', `${BASE}issuer: http://127.0.0.1:1\n`, /^broker\.yaml:14:1: /],
    ['broken YAML', `${BASE}  : [\n`, /^broker\.yaml:\d+:\d+: /],
    [
      'a duration without a unit',
      `${BASE}tokens:\n  max_ttl: "300"\n`,
      /^broker\.yaml:15:3: tokens\.max_ttl: must be a duration/,
    ],
    ['a duration of nothing', `${BASE}tokens:\n  max_ttl: 0s\n`, /tokens\.max_ttl/],
    ['a port that is none', `${BASE}listen:\n  port: 70000\n`, /^broker\.yaml:15:3: listen\.port/],
    [
      'an issuer with a slash',
      BASE.replace('8480', '8480/'),
      /^broker\.yaml:1:1: issuer: must have no trailing slash/,
    ],
    [
      'plain http off loopback',
      BASE.replace('127.0.0.1', 'broker.example.com').replace('development: true\n', ''),
      /must be https/,
    ],
    ['a pattern that is none', `${BASE}dispatch:\n  - agent: "a*b"\n    template: x\n`, /dispatch\.0\.agent/],
    [
      'a verifier of no audience',
      `${BASE}verifiers:\n  - id: v\n    audience: https://x.example.com\n    auth: {evidence: {attester: laptops, agent: v}}\n`,
      /names an audience that is not registered/,
    ],
    [
      'two audiences in one place',
      `${BASE}audiences:\n${'  - {resource: "https://x.example.com", name: X, actions: {}}\n'.repeat(2)}`,
      /is there twice/,
    ],
    [
      'aliases without end',
      `${BASE}x: &a [1,1]\ny: ${'&b '.slice(0, 0)}[${'*a,'.repeat(300)}*a]\n`,
      /^broker\.yaml/,
    ],
    ['nothing', '', /^broker\.yaml/],
    ['a list', '- 1\n', /^broker\.yaml/],
  ])('%s is a fault with its place', (_name, text, fault) => {
    const faults = faultsOf(text);
    expect(faults.length).toBeGreaterThan(0);
    expect(faults.some((one) => fault.test(one))).toBe(true);
  });

  test('a file that is not there says so', () => {
    expect(() => loadConfig(join(folder, 'none.yaml'))).toThrow(/cannot be read \(ENOENT\)/);
  });
});

describe('secrets', () => {
  test('are refused in the file, and no fault repeats one', () => {
    const secret = 'c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U=';
    for (const text of [
      BASE.replace('\n    from_env: SORTIE_KEK', ` ${secret}`),
      BASE.replace('from_env: SORTIE_KEK', `value: ${secret}`),
      `${BASE}verifiers:\n  - {id: v, audience: "https://x.example.com", auth: {private_key_jwt: [{kty: oct, k: ${secret}}]}}\n`,
      `${BASE}verifiers:\n  - {id: v, audience: "https://x.example.com", auth: {private_key_jwt: [{kty: EC, d: ${secret}}]}}\n`,
    ]) {
      const faults = faultsOf(text);
      expect(faults.length).toBeGreaterThan(0);
      expect(faults.join()).not.toContain(secret);
    }
  });

  test('come from the environment or a file, and their absence names the source alone', () => {
    const path = join(folder, 'broker.yaml');
    writeFileSync(join(folder, 'kek'), 'the-secret\n');
    expect(readSecret({ from_file: 'kek' }, path, {})).toBe('the-secret');
    expect(readSecret({ from_env: 'KEK' }, path, { KEK: 'from-env' })).toBe('from-env');
    expect(() => readSecret({ from_env: 'KEK' }, path, {})).toThrow('environment variable KEK is not set');
    expect(() => readSecret({ from_file: 'none' }, path, {})).toThrow(/none: cannot be read \(ENOENT\)/);
  });
});

describe('reload', () => {
  let sortie: TestBroker;
  beforeEach(async () => {
    sortie = await startBroker();
  });
  afterEach(() => sortie.close());

  const change = (edit: (config: Record<string, unknown>) => void) => {
    const config = parse(readFileSync(sortie.config_path, 'utf8')) as Record<string, unknown>;
    edit(config);
    writeFileSync(sortie.config_path, stringify(config));
  };
  const works = async () =>
    (await sortie.token(await newKey(), creation(await sortie.evidence({ run: crypto.randomUUID() }))))
      .status;

  test.each<[string, (config: Record<string, unknown>) => void]>([
    ['a typo', (config) => Object.assign(config, { isuer: 'x' })],
    ['another issuer', (config) => Object.assign(config, { issuer: 'http://127.0.0.1:1' })],
    [
      'an attester twice',
      (config) =>
        Object.assign(config, { attesters: [1, 1].map(() => (config['attesters'] as unknown[])[0]) }),
    ],
    [
      'a template that no file defines',
      (config) => Object.assign(config, { dispatch: [{ agent: '*', template: 'none' }] }),
    ],
  ])('with %s is refused whole, and the old configuration keeps running', async (_name, edit) => {
    const before = readFileSync(sortie.config_path, 'utf8');
    change(edit);
    await expect(sortie.broker.reload()).rejects.toThrow();
    expect(await works()).toBe(200);
    writeFileSync(sortie.config_path, before);
    await sortie.broker.reload();
    expect(await works()).toBe(200);
  });

  test('a template changed under its version is refused by name', async () => {
    writeFileSync(
      join(sortie.folder, 'templates', 'invoices-1.yaml'),
      stringify({ ...TEMPLATE, lifetime: '2h' }),
    );
    await expect(sortie.broker.reload()).rejects.toThrow(/version 1 of invoices exists with another content/);
    expect(await works()).toBe(200);
  });

  test('a verifier that is taken out is refused at once, also with an assertion that it used before', async () => {
    const assertion = await sortie.assertion();
    const ask = () =>
      fetch(`${sortie.url}/revocations`, { headers: { authorization: `Bearer ${assertion}` } }).then(
        ({ status }) => status,
      );
    expect(await ask()).toBe(200);
    change((config) => {
      config['verifiers'] = (config['verifiers'] as { id: string }[]).filter(({ id }) => id !== 'erp');
    });
    await sortie.broker.reload();
    expect(await ask()).toBe(401);
  });

  test('an audience that now wants another signature gets it', async () => {
    change((config) => {
      config['audiences'] = (config['audiences'] as object[]).map((audience) => ({
        ...audience,
        token_alg: 'Ed25519',
      }));
    });
    await sortie.broker.reload();
    expect(await works()).toBe(200);
  });

  test('a new dispatch list is a new policy version', async () => {
    const before = sortie.broker.loaded().policy.version;
    change((config) => Object.assign(config, { dispatch: [] }));
    await sortie.broker.reload();
    expect(sortie.broker.loaded().policy.version).not.toBe(before);
    expect(await works()).toBe(400);
  });
});
