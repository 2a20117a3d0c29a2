/** Credentials of other systems in a tree of missions: a child holds a part of its parent's, and no moment longer. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  ERP,
  inAnHour,
  type KeyHolder,
  newKey,
  startBroker,
  TEMPLATE,
  type TestBroker,
} from '../support/broker.ts';
import { type GithubEmulator, startGithubEmulator } from '../support/github-emulator.ts';

const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const ACCESS = 'urn:ietf:params:oauth:token-type:access_token';
const JWT = 'urn:ietf:params:oauth:token-type:jwt';
const delegation = { max_depth: 2 };
const GITHUB = {
  type: 'github_installation_token',
  app: 'main',
  installation_id: 7,
  repositories: ['api', 'web'],
  permissions: { contents: 'write', issues: 'read' },
};

interface Manifest {
  readonly mission: { readonly id: string };
  readonly authorization_details: readonly Record<string, unknown>[];
  readonly credentials: readonly {
    readonly id: string;
    readonly type: string;
    readonly value?: string | Record<string, unknown>;
  }[];
}

interface Holder {
  readonly key: KeyHolder;
  readonly id: string;
  readonly token: string;
  readonly github: string;
  readonly manifest: Manifest;
  readonly run: string;
}

describe('provider credentials of child missions', () => {
  let github: GithubEmulator;
  let sortie: TestBroker;
  const folder = mkdtempSync(join(tmpdir(), 'sortie-github-'));
  let runs = 0;

  beforeAll(async () => {
    github = await startGithubEmulator({
      '7': {
        repositories: [
          { id: 101, name: 'api' },
          { id: 102, name: 'web' },
        ],
        permissions: { contents: 'admin', issues: 'write', metadata: 'read' },
      },
    });
    const private_key = { from_file: join(folder, 'app.pem') };
    writeFileSync(private_key.from_file, github.private_key, { mode: 0o600 });
    sortie = await startBroker({
      template: {
        ceiling: [
          { type: 'mission_resource_access', resource: ERP, actions: ['invoices.read'], delegation },
          ...TEMPLATE.ceiling.slice(1),
          { ...GITHUB, delegation },
        ],
      },
      config: {
        providers: {
          github: [{ name: 'main', api_url: github.url, app_id: github.app_id, private_key }],
        },
      },
    });
  });
  afterAll(async () => {
    await sortie?.close();
    await github?.close();
    rmSync(folder, { recursive: true });
  });

  function holderOf(key: KeyHolder, run: string, manifest: Manifest): Holder {
    const value = (type: string) => manifest.credentials.find((one) => one.type === type)?.value;
    return {
      key,
      id: manifest.mission.id,
      token: String(value('jwt')),
      github: String((value('github_installation_token') as Record<string, unknown> | undefined)?.['token']),
      manifest,
      run,
    };
  }
  async function root(): Promise<Holder> {
    const key = await newKey();
    const run = `root-${++runs}`;
    const { status, body } = await sortie.holder(key, 'POST', '/missions', {
      json: {
        evidence: { type: JWT, token: await sortie.evidence({ run }) },
        intent: { goal: 'Fix the build', resources: [ERP], expires_at: inAnHour() },
      },
    });
    expect({ status, title: body['title'] }).toMatchObject({ status: 201 });
    return holderOf(key, run, body as unknown as Manifest);
  }
  const reserve = (above: Holder, proposal?: readonly object[]) =>
    sortie.token(above.key, {
      grant_type: EXCHANGE,
      subject_token: above.token,
      subject_token_type: ACCESS,
      child_actor: JSON.stringify({ sub: 'agents/fixer' }),
      mission_intent: JSON.stringify({
        intent: { goal: 'Fix one test', resources: [ERP], expires_at: inAnHour() },
      }),
      ...(proposal && { authorization_details: JSON.stringify(proposal) }),
    });
  async function redeem(grant: string, more: object = {}, key?: KeyHolder) {
    const own = key ?? (await newKey());
    const run = `child-${++runs}`;
    const { status, body } = await sortie.holder(own, 'POST', '/missions', {
      json: {
        evidence: { type: JWT, token: await sortie.evidence({ sub: 'fixer', run }) },
        delegation: grant,
        ...more,
      },
    });
    return { status, body, key: own, run };
  }
  async function childOf(above: Holder, proposal?: readonly object[]): Promise<Holder> {
    const reserved = await reserve(above, proposal);
    const { status, body, key, run } = await redeem(reserved.body.access_token);
    expect({ status, title: body['title'] }).toMatchObject({ status: 201 });
    return holderOf(key, run, body as unknown as Manifest);
  }
  const works = ({ github: token }: Holder) => github.permits(token, 'api', 'contents', 'read');
  async function dead(holder: Holder): Promise<boolean> {
    for (let attempt = 0; attempt < 100 && works(holder); attempt++)
      await new Promise((resolve) => setTimeout(resolve, 50));
    return !works(holder);
  }
  const revoke = (id: string) => sortie.admin('POST', `/missions/${id}/revoke`, { reason: 'test' });

  test('a child gets its part by one call, under its own key, and it is no more than the parent’s', async () => {
    const above = await root();
    const read = { type: 'mission_resource_access', resource: ERP, actions: ['invoices.read'] };
    const child = await childOf(above, [
      read,
      { ...GITHUB, repositories: ['api', 'secrets'], permissions: { contents: 'admin', issues: 'read' } },
    ]);
    expect(child.manifest.authorization_details).toEqual([
      read,
      { ...GITHUB, repositories: ['api'], permissions: { contents: 'write', issues: 'read' } },
    ]);
    expect(github.permits(child.github, 'api', 'contents', 'write')).toBe(true);
    expect(github.permits(child.github, 'api', 'contents', 'admin')).toBe(false);
    expect(github.permits(child.github, 'web', 'contents', 'read')).toBe(false);
    expect(child.github).not.toBe(above.github);
    // What it may not pass on, nobody gets below it: its own entry has no delegation.
    expect((await reserve(child, [GITHUB])).body.mission_denial_reason).toBe('delegation_not_permitted');
    await revoke(above.id);
    expect(await dead(child)).toBe(true);
  });

  test('the end of the root ends what its grandchildren hold at GitHub', async () => {
    const above = await root();
    const child = await childOf(above);
    const grandchild = await childOf(child);
    expect([above, child, grandchild].map(works)).toEqual([true, true, true]);
    expect((await reserve(grandchild)).body.mission_denial_reason).toBe('delegation_not_permitted');
    const { body } = await revoke(above.id);
    // The answer names the leases of the whole tree, as they are by then.
    expect(body['leases']).toHaveLength(3);
    for (const one of [above, child, grandchild]) expect(await dead(one)).toBe(true);
  });

  test('a suspended parent leaves its child nothing, and resuming it brings nothing back by itself', async () => {
    const above = await root();
    const child = await childOf(above);
    const grandchild = await childOf(child);
    await sortie.admin('POST', `/missions/${above.id}/suspend`, { reason: 'test' });
    expect(await dead(child)).toBe(true);
    expect(await dead(grandchild)).toBe(true);
    const [credential] = child.manifest.credentials.filter(({ type }) => type !== 'jwt');
    const renew = async () =>
      sortie.holder(child.key, 'POST', `/missions/${child.id}/credentials`, {
        json: {
          ids: [credential?.id],
          evidence: { type: JWT, token: await sortie.evidence({ sub: 'fixer', run: child.run }) },
        },
      });
    expect((await renew()).status).toBeGreaterThanOrEqual(400);
    await sortie.admin('POST', `/missions/${above.id}/resume`, { reason: 'test' });
    expect(works(child)).toBe(false);
    await revoke(above.id);
  });

  test('what is taken from the parent is taken from the child', async () => {
    const above = await root();
    const child = await childOf(above);
    await sortie.admin('POST', `/missions/${above.id}/contain`, {
      reason: 'test',
      remove: [{ type: 'github_installation_token' }],
    });
    expect(await dead(child)).toBe(true);
    await revoke(above.id);
  });

  test('a parent that is suspended while its child is made: nothing becomes live below it', async () => {
    const above = await root();
    const reserved = await reserve(above);
    const { store } = sortie.broker.ports;
    const atomically = store.atomically.bind(store);
    store.atomically = async (writes) => {
      if (writes.some((write) => write.kind === 'update_lease' && write.set.state === 'live')) {
        store.atomically = atomically;
        await sortie.admin('POST', `/missions/${above.id}/suspend`, { reason: 'test' });
      }
      return atomically(writes);
    };
    const before = github.alive();
    const { status, body } = await redeem(reserved.body.access_token);
    store.atomically = atomically;
    expect(status).toBe(503);
    expect(JSON.stringify(body)).not.toContain('ghs_');
    await expect.poll(() => github.alive(), { timeout: 5000 }).toBeLessThan(before);
    await revoke(above.id);
  });

  test('a grant at this door too works once, for its agent, with its own key, and takes nothing beside it', async () => {
    const above = await root();
    const grant = (await reserve(above)).body.access_token;
    const intent = { goal: 'More', resources: [ERP], expires_at: inAnHour() };
    for (const more of [{ intent }, { authorization_details: [GITHUB] }, { creation_request_id: 'x' }])
      expect((await redeem(grant, more)).status).toBe(400);
    expect((await redeem(grant, {}, above.key)).status).toBe(400);
    expect((await redeem(above.token)).status).toBeGreaterThanOrEqual(400);
    const answers = await Promise.all([1, 2, 3].map(() => redeem(grant)));
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(1);
    for (const { status, body } of answers.filter((one) => one.status !== 201)) {
      expect(status).toBeGreaterThanOrEqual(400);
      expect(JSON.stringify(body)).not.toContain('ghs_');
    }
    await revoke(above.id);
  });

  test('no token of GitHub is kept where it can be read: store, audit, log', async () => {
    const above = await root();
    const child = await childOf(above);
    const leases = await sortie.broker.ports.store.leases(child.id);
    const audit = await sortie.broker.ports.store.auditRecords({ limit: 1000, newest_first: true });
    const kept = JSON.stringify([leases, audit, sortie.log]);
    const files = readdirSync(sortie.folder)
      .filter((name) => name.startsWith('sortie.db'))
      .map((name) => readFileSync(join(sortie.folder, name)));
    expect(leases[0]?.revocation['sealed']).toMatch(/^[\w-]{60,}$/);
    for (const token of [above.github, child.github]) {
      expect(kept).not.toContain(token);
      for (const file of files) expect(file.includes(token)).toBe(false);
    }
    await revoke(above.id);
    expect(await dead(child)).toBe(true);
  });
});
