/** What decides whether a mission is made: templates, tiers, limits, blocks, audiences. */
import { describe, expect, test } from 'vitest';
import { creation, ERP, intent, MAIL, newKey, TEMPLATE } from '../support/broker.ts';
import { brokerPerTest, create } from '../support/missions.ts';
import { read } from '../support/tokens.ts';

const start = brokerPerTest();

const denied = (answer: { status: number; body: { error?: string; mission_denial_reason?: string } }) => [
  answer.status,
  answer.body.error,
  answer.body.mission_denial_reason,
];

describe('templates outside development', () => {
  test('dispatch only after a second person approved exactly that hash', async () => {
    const broker = await start({ config: { development: false } });
    expect(denied(await create(broker))).toEqual([400, 'access_denied', 'policy_denied']);

    const next = { ...TEMPLATE, id: 'invoices', version: '2', lifetime: '30m' };
    const imported = await broker.admin('POST', '/templates', next);
    expect(imported.status).toBe(201);
    const path = `/templates/invoices/versions/${String(imported.body['hash'])}/approve`;
    const own = await broker.admin('POST', path);
    expect([own.status, own.body['type']]).toEqual([409, 'urn:sortie:problem:conflict']);
    expect(denied(await create(broker))).toEqual([400, 'access_denied', 'policy_denied']);

    const bob = await broker.adminToken('admin', 'bob');
    const wrong = await broker.as(bob, 'POST', '/templates/invoices/versions/sha-256:nothing/approve');
    expect(wrong.status).toBe(404);
    const approved = await broker.as(bob, 'POST', path);
    expect([approved.status, approved.body['approved_by']]).toEqual([200, 'admin:bob']);
    const { body } = await create(broker);
    expect(read(body.access_token).claims.mission.template).toEqual({ id: 'invoices', version: '2' });
    expect((await broker.as(bob, 'POST', path)).status).toBe(409);
  });

  test('another token of the importer is the same person', async () => {
    const broker = await start({ config: { development: false } });
    const imported = await broker.admin('POST', '/templates', { ...TEMPLATE, version: '2' });
    const second = await broker.adminToken('admin', 'alice');
    const path = `/templates/invoices/versions/${String(imported.body['hash'])}/approve`;
    expect((await broker.as(second, 'POST', path)).status).toBe(409);
  });

  test('a version cannot change under its name', async () => {
    const broker = await start({});
    const changed = await broker.admin('POST', '/templates', { ...TEMPLATE, lifetime: '2h' });
    expect(changed.status).toBe(409);
    const same = await broker.admin('POST', '/templates', TEMPLATE);
    expect(same.status).toBe(201);
  });

  test('an approval that is due for review stops new missions; running ones go on', async () => {
    const broker = await start({ template: { review_every: '30m', attest_every: '1h' } });
    const running = await create(broker, {}, { run: 'long' });
    broker.clock.ahead = 1801;
    expect(denied(await create(broker))).toEqual([400, 'access_denied', 'template_review_overdue']);
    const renewed = await broker.token(running.key, {
      ...creation(await broker.evidence({ run: 'long' })),
      mission_intent: '',
      mission_id: running.body.mission_id,
    });
    expect(renewed.status).toBe(400);
    const { mission_intent: _, ...form } = creation(await broker.evidence({ run: 'long' }));
    expect((await broker.token(running.key, { ...form, mission_id: running.body.mission_id })).status).toBe(
      200,
    );
  });

  test('approving again renews the review, by anybody but the importer, and on record', async () => {
    const broker = await start({ template: { version: '0' }, config: { development: false } });
    const reviewed = { ...TEMPLATE, version: '1', review_every: '30m' };
    const imported = await broker.admin('POST', '/templates', reviewed);
    const path = `/templates/invoices/versions/${String(imported.body['hash'])}/approve`;
    const bob = await broker.adminToken('admin', 'bob');
    const first = await broker.as(bob, 'POST', path);
    expect(first.status).toBe(200);
    expect((await create(broker)).status).toBe(200);
    broker.clock.ahead = 1801;
    expect(denied(await create(broker))).toEqual([400, 'access_denied', 'template_review_overdue']);
    expect((await broker.admin('POST', path)).status).toBe(409);
    expect(denied(await create(broker))).toEqual([400, 'access_denied', 'template_review_overdue']);
    const again = await broker.as(bob, 'POST', path);
    expect(again.status).toBe(200);
    const due = (answer: typeof again) => Date.parse(String(answer.body['review_due_at']));
    expect(due(again) - due(first)).toBeGreaterThanOrEqual(1_800_000);
    expect((await create(broker)).status).toBe(200);
    const { body } = await broker.admin('GET', '/audit?event=template.reviewed&limit=5');
    expect(body['items']).toEqual([
      expect.objectContaining({
        actor: 'admin:bob',
        details: { id: 'invoices', version: '1', hash: imported.body['hash'] },
      }),
    ]);
  });

  test('without a review, one approval is for good', async () => {
    const broker = await start({ template: { version: '0' }, config: { development: false } });
    const imported = await broker.admin('POST', '/templates', { ...TEMPLATE, version: '1' });
    const path = `/templates/invoices/versions/${String(imported.body['hash'])}/approve`;
    const bob = await broker.adminToken('admin', 'bob');
    expect((await broker.as(bob, 'POST', path)).status).toBe(200);
    expect((await broker.as(bob, 'POST', path)).status).toBe(409);
  });

  test('that include from a catalogue hold the actions that it had when they were read', async () => {
    const actions = ['journal.write', { include: { label: 'read' } }];
    const ceiling = [{ type: 'mission_resource_access', resource: ERP, actions }];
    const broker = await start({ template: { ceiling } });
    const { body } = await create(broker);
    expect(body.authorization_details).toEqual([
      { type: 'mission_resource_access', resource: ERP, actions: ['journal.write', 'invoices.read'] },
    ]);
    const next = { ...TEMPLATE, version: '2', ceiling };
    const imported = await broker.admin('POST', '/templates', next);
    expect([imported.status, imported.body['document']]).toEqual([
      201,
      expect.objectContaining({
        ceiling: [{ ...ceiling[0], actions: ['journal.write', 'invoices.read'] }],
      }),
    ]);
    const wrong = [{ ...ceiling[0], actions: [{ include: { label: 'raed' } }] }];
    const refused = await broker.admin('POST', '/templates', { ...next, version: '3', ceiling: wrong });
    expect([refused.status, JSON.stringify(refused.body)]).toEqual([
      400,
      expect.stringContaining('names no action of its audience'),
    ]);
  });

  test('a template that no rule gives this agent, and an agent that no rule names, are policy_denied', async () => {
    const broker = await start({});
    expect(denied(await create(broker, { template_id: 'other' }))).toEqual([
      400,
      'access_denied',
      'policy_denied',
    ]);
    const nobody = await start({
      config: { dispatch: [{ agent: 'agents/accountant', template: 'invoices' }] },
    });
    expect(denied(await create(nobody))).toEqual([400, 'access_denied', 'policy_denied']);
  });
});

describe('limits of a template', () => {
  test('evidence of a weaker tier is refused and told what is needed', async () => {
    const broker = await start({ template: { required_tier: 'bound' } });
    const answer = await create(broker);
    expect(denied(answer)).toEqual([400, 'access_denied', 'attestation_tier_too_low']);
    expect(answer.body.error_description).toContain('bound');
  });

  test('max_active counts exactly, and an ended mission makes room', async () => {
    const broker = await start({ template: { max_active: 2 } });
    const [first, second] = await Promise.all([1, 2, 3, 4].map(() => create(broker))).then((answers) =>
      answers.filter(({ status }) => status === 200),
    );
    expect(first && second).toBeTruthy();
    expect(denied(await create(broker))).toEqual([400, 'access_denied', 'max_active_reached']);
    await broker.admin('POST', `/missions/${first?.body.mission_id}/revoke`, { reason: 'room' });
    expect((await create(broker)).status).toBe(200);
    expect(denied(await create(broker))).toEqual([400, 'access_denied', 'max_active_reached']);
  });

  test('a repeated creation joins its mission even where it took the last place', async () => {
    const broker = await start({ template: { max_active: 1, dispatch_rate: { count: 1, per: '1h' } } });
    const key = await newKey();
    const form = creation(await broker.evidence(), { creation_request_id: 'only', mission_intent: intent() });
    await broker.token(key, { ...form, resource: 'https://unregistered.example.com' });
    const answers = await Promise.all(Array.from({ length: 8 }, () => broker.token(key, form)));
    expect(answers.map(({ status }) => status)).toEqual(Array(8).fill(200));
    expect(new Set(answers.map(({ body }) => body.mission_id)).size).toBe(1);
  });

  test('dispatch_rate refuses the next one too soon, per agent', async () => {
    const broker = await start({ template: { dispatch_rate: { count: 2, per: '1h' } } });
    expect((await create(broker)).status).toBe(200);
    expect((await create(broker)).status).toBe(200);
    expect(denied(await create(broker))).toEqual([400, 'access_denied', 'dispatch_rate']);
    expect((await create(broker, {}, { sub: 'another' })).status).toBe(200);
    broker.clock.ahead = 1801;
    expect((await create(broker)).status).toBe(200);
  });

  test('max_derivations counts every token: creation, renewal, exchange and declaration', async () => {
    const broker = await start({ template: { limits: { max_derivations: 3 } } });
    const { key, body } = await create(broker, {}, { run: 'counted' });
    const exchanged = {
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token: body.access_token,
      subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      resource: MAIL,
    };
    expect((await broker.token(key, exchanged)).status).toBe(200);
    expect((await broker.token(key, exchanged)).status).toBe(200);
    const over = await broker.token(key, exchanged);
    expect([over.status, over.body]).toEqual([
      400,
      { error: 'invalid_grant', mission_error: 'derivations_exhausted' },
    ]);

    const declarer = await newKey();
    const declared = await broker.holder(declarer, 'POST', '/missions', {
      json: {
        evidence: {
          type: exchanged.subject_token_type.replace('access_token', 'jwt'),
          token: await broker.evidence(),
        },
        ...(JSON.parse(intent({ controls: { max_derivations: 2 } })) as object),
      },
    });
    expect(declared.status).toBe(201);
    expect(declared.body['limits']).toEqual({ derivations: { max: 2, left: 0 } });
  });

  test('a control that nobody counts here is refused, not stored', async () => {
    const broker = await start({});
    for (const controls of [
      { max_calls: 5 },
      { max_egress_volume: 5 },
      { max_budget: { amount: '1', currency: 'EUR' } },
    ])
      expect(denied(await create(broker, { mission_intent: intent({ controls }) }))).toEqual([
        400,
        'access_denied',
        'unsupported_control',
      ]);
    const unknown = await create(broker, { mission_intent: intent({ controls: { max_fun: 1 } }) });
    expect(unknown.body.error).toBe('invalid_request');
  });

  test('max_duration ends the mission', async () => {
    const broker = await start({});
    const { body } = await create(broker, { mission_intent: intent({ controls: { max_duration: 60 } }) });
    const { claims } = read(body.access_token);
    expect(claims.mission.expires_at - claims.iat).toBeLessThanOrEqual(60);
    expect(claims.exp).toBeLessThanOrEqual(claims.mission.expires_at);
  });
});

describe('blocks', () => {
  test.each([
    ['agent', 'agents/reconciler'],
    ['instance', 'run-1'],
    ['attester', 'workloads'],
    ['rule', 'by-sub'],
    ['template', 'invoices'],
    ['template', 'invoices@1'],
    ['agent_key', null],
    ['mission', null],
    ['mission_tree', null],
  ])('of %s %s refuse creation or renewal, and introspection, until lifted', async (kind, named) => {
    const broker = await start({});
    const { key, body } = await create(broker);
    const target = named ?? (kind === 'agent_key' ? key.jkt : body.mission_id);
    const made = await broker.admin('POST', '/blocks', {
      selector: { kind, key: target },
      reason: 'incident',
    });
    expect(made.status).toBe(201);
    const { mission_intent: _, ...form } = creation(await broker.evidence());
    const renewal = { ...form, mission_id: body.mission_id };
    expect(denied(await broker.token(key, renewal))).toEqual([400, 'access_denied', 'blocked']);
    if (!kind.startsWith('mission'))
      expect(denied(await broker.token(key, creation(await broker.evidence())))).toEqual([
        400,
        'access_denied',
        'blocked',
      ]);
    expect(await broker.introspect(body.access_token)).toEqual({ active: false });
    expect((await broker.admin('DELETE', `/blocks/${String(made.body['id'])}`)).status).toBe(204);
    expect((await broker.token(key, renewal)).status).toBe(200);
    expect((await broker.admin('DELETE', `/blocks/${String(made.body['id'])}`)).status).toBe(409);
  });

  test('end by themselves at their time', async () => {
    const broker = await start({});
    const until = new Date(Date.now() + 60_000).toISOString();
    const selector = { kind: 'agent', key: 'agents/reconciler' };
    await broker.admin('POST', '/blocks', { selector, reason: 'a minute', until });
    expect(denied(await create(broker))).toEqual([400, 'access_denied', 'blocked']);
    broker.clock.ahead = 61;
    expect((await create(broker)).status).toBe(200);
  });

  test('that could never hold are refused', async () => {
    const broker = await start({});
    const past = await broker.admin('POST', '/blocks', {
      selector: { kind: 'agent', key: 'x' },
      reason: 'past',
      until: '2020-01-01T00:00:00Z',
    });
    const token = await broker.admin('POST', '/blocks', {
      selector: { kind: 'token', key: 'cred_x' },
      reason: 'r',
    });
    expect([past.status, token.status]).toEqual([400, 400]);
  });
});
