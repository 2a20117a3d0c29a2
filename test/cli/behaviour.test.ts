/** What the behaviour rules said, as a person on call gets it: in words, exported, and judged again. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { runCli } from '../../src/cli/program.ts';
import { ERP } from '../support/broker.ts';
import { ATTACKER, type Offices, openOffices, POISON } from '../support/offices.ts';

let offices: Offices;
let folder = '';
let env: Record<string, string> = {};
beforeAll(async () => {
  offices = await openOffices();
  folder = mkdtempSync(join(tmpdir(), 'sortie-cli-'));
  env = {
    SORTIE_URL: offices.sortie.url,
    SORTIE_ADMIN_TOKEN: await offices.sortie.adminToken('viewer', 'bob'),
  };
});
afterAll(async () => {
  rmSync(folder, { recursive: true });
  await offices.close();
});

async function sortie(...argv: string[]): Promise<{ code: number; out: string; err: string }> {
  const said = { out: '', err: '' };
  const code = await runCli(['node', 'sortie', ...argv], {
    env,
    out: (text) => {
      said.out += text;
    },
    err: (text) => {
      said.err += text;
    },
    stdin: async () => '',
    onSignal: () => {},
  });
  return { code, ...said };
}

describe('verdicts of a real guard', () => {
  test('are explained without a value, and an export replays to the same bytes', async () => {
    const erp = await offices.guard(ERP);
    const agent = await offices.agent();
    await offices.call(erp, agent, 'inbox.list', {}, POISON);
    for (const to of [ATTACKER, `maria@partner.example, ${ATTACKER}`, 'bоss@office.example'])
      await offices.call(erp, agent, 'mail.send', { to });
    await offices.call(erp, agent, 'mail.forward', { to: ATTACKER });
    await erp.close();
    const file = join(folder, 'verdicts.jsonl');
    expect(await sortie('behaviour', 'export', agent.mission_id, '--out', file)).toMatchObject({
      code: 0,
      err: '',
    });
    const text = readFileSync(file, 'utf8');
    // The broker was asked about some of them as well, and judged by itself.
    const judged = text.trim().split('\n');
    expect(judged.length).toBeGreaterThanOrEqual(4);
    for (const line of judged) expect(line).toContain('"evidence"');
    for (const value of ['attacker', 'exfil', 'maria', 'partner.example', 'office.example'])
      expect(text).not.toContain(value);
    const replayed = await sortie('behaviour', 'replay', file, '--explain');
    expect(replayed).toMatchObject({ code: 0, err: '' });
    expect(replayed.out).toContain(`${judged.length} of ${judged.length} verdicts give the same bytes again`);
    expect(replayed.out).toContain('Denied by unproven_sink');
    expect(replayed.out).toContain('text that strangers wrote');
    expect(replayed.out).toContain('Denied by deceptive_sink');

    const last = judged.findLast((line) => line.includes('"stray_effect"') && line.includes('"evidence"'));
    const { id } = JSON.parse(last ?? '') as { id: string };
    const explained = await sortie('decision', 'explain', id);
    expect(explained.out).toContain('Denied by stray_effect: an effect that the mission does not declare.');
    expect(explained.out).toContain('replayed from its evidence: same');
    expect(explained.out).not.toContain('attacker');

    const explainable = judged.filter((line) => line.includes('"evidence"')).join('\n');
    const forged = join(folder, 'forged.jsonl');
    writeFileSync(forged, explainable.replace('"rule":"unproven_sink"', '"rule":"stray_read"'));
    expect(await sortie('behaviour', 'replay', forged)).toMatchObject({ code: 1 });
    const acquitted = join(folder, 'acquitted.jsonl');
    writeFileSync(
      acquitted,
      explainable.replaceAll('\\"mission\\"', '\\"template\\"').replace('"tainted":true', '"tainted":false'),
    );
    expect((await sortie('behaviour', 'replay', acquitted)).out).toContain('DIFFERENT');
  });

  test('a file that is none is refused by its line', async () => {
    const file = join(folder, 'none.jsonl');
    writeFileSync(file, '{"id":1}\n');
    expect(await sortie('behaviour', 'replay', file)).toMatchObject({
      code: 1,
      err: `${file}:1: not an exported verdict\n`,
    });
    expect(await sortie('behaviour', 'replay', join(folder, 'missing'))).toMatchObject({ code: 1 });
  });
});

describe('a template with a behaviour section', () => {
  const base = {
    id: 'invoices',
    version: '1',
    ceiling: [{ type: 'mission_resource_access', resource: ERP, actions: ['invoices.read'] }],
    lifetime: '1h',
  };
  const written = (name: string, behaviour?: unknown): string => {
    const file = join(folder, `${name}.yaml`);
    writeFileSync(file, stringify(behaviour === undefined ? base : { ...base, behaviour }));
    return file;
  };

  test('is explained in words, and one without the section by its defaults', async () => {
    const plain = await sortie('template', 'explain', written('plain'));
    expect(plain.out).toContain('stray_effect: denied, then suspend');
    const { out } = await sortie(
      'template',
      'explain',
      written('named', {
        responses: { stray_effect: 'revoke', unproven_sink: 'contain' },
        values: [{ kind: 'mail', values: ['payroll@partner.example'], actions: ['mail.send'] }],
        own: [{ kind: 'mail', values: ['me@office.example'] }],
        history: 'internal',
      }),
    );
    expect(out).toContain('stray_effect: denied, then revoke');
    expect(out).toContain('unproven_sink: denied, then contain');
    expect(out).toContain('vouches for mail payroll@partner.example in mail.send');
    expect(out).toContain('vouches for mail me@office.example in every action');
  });

  test.each([
    ['observing a rule', { rules: { unproven_sink: 'observe' } }, 'unproven_sink from deny to observe'],
    [
      'a softer response',
      { responses: { stray_effect: 'observe' } },
      'response to stray_effect from suspend to observe',
    ],
    [
      'a vouched destination',
      { own: [{ kind: 'mail', values: ['a@b.example'] }] },
      'vouches for mail a@b.example in every action',
    ],
    ['history', { history: 'all' }, 'history from off to all'],
  ])('%s widens, and taking it back narrows', async (_, behaviour, text) => {
    const [plain, wide] = [written('plain'), written('wide', behaviour)];
    const widened = await sortie('template', 'diff', plain, wide);
    expect(widened.out).toBe(`widens   behaviour: ${text}\n`);
    expect(widened.code).toBe(1);
    const narrowed = await sortie('template', 'diff', wide, plain);
    expect(narrowed.code).toBe(0);
    expect(narrowed.out).toMatch(/^narrows {2}behaviour: /);
  });

  test('a value for one action more narrowly than for all: no change is missed', async () => {
    const all = written('all', { values: [{ kind: 'mail', values: ['a@b.example'] }] });
    const one = written('one', {
      values: [{ kind: 'mail', values: ['a@b.example'], actions: ['mail.send'] }],
    });
    expect((await sortie('template', 'diff', all, one)).out).toContain(
      'narrows  behaviour: no longer vouches',
    );
    expect((await sortie('template', 'diff', one, all)).code).toBe(1);
  });

  test('lint says what weakens it', async () => {
    const weak = written('weak', {
      rules: { stray_effect: 'off' },
      responses: { stray_effect: 'revoke' },
      history: 'all',
      own: [{ kind: 'id', values: ['13'] }],
    });
    const { out } = await sortie('template', 'lint', weak);
    for (const rule of ['behaviour_weakened', 'response_without_denial', 'history_external', 'value_weak'])
      expect(out).toContain(rule);
  });

  test.each([
    ['a rule that there is not', { rules: { stray_effects: 'deny' } }],
    ['a mode that there is not', { rules: { stray_effect: 'warn' } }],
    ['two destinations in one value', { own: [{ kind: 'mail', values: ['a@b.example, c@d.example'] }] }],
    ['a look-alike', { own: [{ kind: 'mail', values: ['bоss@office.example'] }] }],
    ['an unknown member', { nothing: true }],
  ])('%s is refused by name', async (_, behaviour) => {
    const { code, err } = await sortie('template', 'explain', written('broken', behaviour));
    expect(code).toBe(1);
    expect(err).toMatch(/broken\.yaml:\d+:\d+: .*(behaviour|unknown key)/);
  });

  test('is part of the hash, and what is not written is not hashed', async () => {
    const hash = async (file: string) =>
      (await sortie('template', 'hash', file, '--issuer', 'https://b.example')).out;
    expect(await hash(written('a', { ambient_reads: true }))).not.toBe(await hash(written('b')));
    expect(await hash(written('c', { ambient_reads: true }))).not.toBe(
      await hash(written('d', { ambient_reads: false })),
    );
  });
});
