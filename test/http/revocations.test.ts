/** Bulk revocation: consequences shown first, done once, and never undone by chance. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { creation, ERP, newKey, startBroker, type TestBroker } from '../support/broker.ts';
import { type HeldMission, newMission } from '../support/missions.ts';

let sortie: TestBroker;
beforeAll(async () => {
  sortie = await startBroker();
});
afterAll(() => sortie.close());

const reason = 'a test';

describe('revocations', () => {
  test('a dry run shows the blast radius and changes nothing; what was born since is ended and listed', async () => {
    const sub = 'radius';
    const first = await newMission(sortie, {}, { sub });
    const second = await newMission(sortie, {}, { sub });
    const other = await newMission(sortie, {}, { sub: 'bystander' });
    const asked = { selector: { kind: 'agent', key: 'agents/radius' }, reason };
    const preview = await sortie.admin('POST', '/revocations', { ...asked, dry_run: true });
    expect(preview.body).toMatchObject({ dry_run: true, missions: 2, seq: null });
    expect(new Set(preview.body['mission_ids'] as string[])).toEqual(
      new Set([first.mission_id, second.mission_id]),
    );
    expect(preview.body['credentials']).toEqual([
      expect.objectContaining({ type: 'jwt', target: ERP, count: 2, works_until: expect.any(String) }),
    ]);
    expect((await sortie.introspect(first.access_token))['active']).toBe(true);

    const born = await newMission(sortie, {}, { sub });
    const done = await sortie.admin('POST', '/revocations', {
      ...asked,
      bulk_token: preview.body['bulk_token'],
      event_id: 'radius-1',
    });
    expect(done.body).toMatchObject({ dry_run: false, missions: 3, born_since_preview: [born.mission_id] });
    expect(done.body['seq']).toEqual(expect.any(Number));
    for (const held of [first, second, born])
      expect(await sortie.introspect(held.access_token)).toEqual({ active: false });
    expect((await sortie.introspect(other.access_token))['active']).toBe(true);
    // A block keeps it ended.
    const again = await sortie.token(await newKey(), creation(await sortie.evidence({ sub })));
    expect(again.body.mission_denial_reason).toBe('blocked');
    const repeated = await sortie.admin('POST', '/revocations', { ...asked, event_id: 'radius-1' });
    expect([repeated.status, repeated.body['seq']]).toEqual([200, null]);
  });

  test('the same event_id for another selector is another revocation', async () => {
    const held = await newMission(sortie, {}, { sub: 'second-selector' });
    await sortie.admin('POST', '/revocations', {
      selector: { kind: 'agent', key: 'agents/x' },
      reason,
      event_id: 'same',
    });
    await sortie.admin('POST', '/revocations', {
      selector: { kind: 'agent', key: 'agents/second-selector' },
      reason,
      event_id: 'same',
    });
    expect(await sortie.introspect(held.access_token)).toEqual({ active: false });
  });

  test('allow_new ends what is there and lets the next one begin', async () => {
    const held = await newMission(sortie, {}, { sub: 'renewed' });
    const asked = { selector: { kind: 'agent', key: 'agents/renewed' }, reason, allow_new: true };
    expect((await sortie.admin('POST', '/revocations', asked)).body['block']).toBeUndefined();
    expect(await sortie.introspect(held.access_token)).toEqual({ active: false });
    await newMission(sortie, {}, { sub: 'renewed' });
  });

  test('one token dies alone', async () => {
    const held = await newMission(sortie);
    const { mission_intent: _, ...form } = creation(await sortie.evidence({ run: 'token' }));
    const { jti } = JSON.parse(
      Buffer.from(held.access_token.split('.')[1] ?? '', 'base64url').toString(),
    ) as {
      jti: string;
    };
    const done = await sortie.admin('POST', '/revocations', {
      selector: { kind: 'token', key: jti },
      reason,
    });
    expect(done.status).toBe(200);
    expect(await sortie.introspect(held.access_token)).toEqual({ active: false });
    expect(form).toHaveProperty('subject_token');
    const unknown = await sortie.admin('POST', '/revocations', {
      selector: { kind: 'token', key: 'cred_x' },
      reason,
    });
    expect(unknown.status).toBe(404);
  });

  test('a mission that is not there is told so, and a foreign bulk_token is refused', async () => {
    for (const kind of ['mission', 'mission_tree']) {
      const asked = { selector: { kind, key: 'msn_x' }, reason };
      expect((await sortie.admin('POST', '/revocations', asked)).status).toBe(404);
    }
    const asked = { selector: { kind: 'agent', key: 'agents/nobody' }, reason };
    for (const bulk_token of [
      'nonsense',
      Buffer.from('{"selector":{"kind":"agent","key":"y"}}').toString('base64url'),
      Buffer.from('null').toString('base64url'),
    ])
      expect((await sortie.admin('POST', '/revocations', { ...asked, bulk_token })).status).toBe(400);
  });

  test.each([
    ['instance', (held: HeldMission, run: string) => [held, run][1]],
    ['agent_key', (held: HeldMission) => held.key.jkt],
    ['mission', (held: HeldMission) => held.mission_id],
    ['mission_tree', (held: HeldMission) => held.mission_id],
  ])('by %s ends what it names', async (kind, keyOf) => {
    const run = `run-${kind}`;
    const held = await newMission(sortie, {}, { run });
    const { body } = await sortie.admin('POST', '/revocations', {
      selector: { kind, key: keyOf(held, run) },
      reason,
    });
    expect(body['mission_ids']).toEqual([held.mission_id]);
    expect(await sortie.introspect(held.access_token)).toEqual({ active: false });
  });
});
