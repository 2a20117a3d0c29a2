/** What a tree of missions is limited in together: child missions, tokens, calls; and what reaches a child. */
import { decodeJwt } from 'jose';
import { afterEach, expect, test } from 'vitest';
import {
  type BaseConfig,
  creation,
  ERP,
  inAnHour,
  type KeyHolder,
  newKey,
  startBroker,
  TEMPLATE,
  type TestBroker,
  type TokenBody,
} from '../support/broker.ts';

const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const ACCESS = 'urn:ietf:params:oauth:token-type:access_token';
const JWT = 'urn:ietf:params:oauth:token-type:jwt';

let sortie: TestBroker | null = null;
afterEach(async () => {
  await sortie?.close();
  sortie = null;
});

async function start(limits: object, counting = false, more: object = {}): Promise<TestBroker> {
  const delegation = { max_depth: 7 };
  sortie = await startBroker({
    template: {
      ceiling: [
        { type: 'mission_resource_access', resource: ERP, actions: ['invoices.*'], delegation },
        ...TEMPLATE.ceiling.slice(1),
      ],
      limits,
      ...more,
    },
    ...(counting && {
      config: (base: BaseConfig) => ({
        verifiers: (base['verifiers'] as Record<string, unknown>[]).map((verifier) => ({
          ...verifier,
          processes: 1,
        })),
      }),
    }),
  });
  return sortie;
}

interface Holder {
  readonly key: KeyHolder;
  readonly token: string;
  readonly id: string;
  readonly sub: string;
  readonly run: string;
}

async function root(broker: TestBroker): Promise<Holder> {
  const key = await newKey();
  const { body } = await broker.token(key, creation(await broker.evidence()));
  return { key, token: body.access_token, id: body.mission_id, sub: 'reconciler', run: 'run-1' };
}

const reserve = (broker: TestBroker, above: Holder, sub = 'reader') =>
  broker.token(above.key, {
    grant_type: EXCHANGE,
    subject_token: above.token,
    subject_token_type: ACCESS,
    child_actor: JSON.stringify({ sub: `agents/${sub}` }),
    mission_intent: JSON.stringify({
      intent: { goal: 'Read invoice 7', resources: [ERP], expires_at: inAnHour() },
    }),
  });

let runs = 0;
async function activate(
  broker: TestBroker,
  grant: string,
  sub = 'reader',
): Promise<{ status: number; body: TokenBody; holder: Holder }> {
  const key = await newKey();
  const run = `child-${++runs}`;
  const { status, body } = await broker.token(key, {
    grant_type: EXCHANGE,
    subject_token: await broker.evidence({ sub, run }),
    subject_token_type: JWT,
    resource: ERP,
    delegation: grant,
  });
  return { status, body, holder: { key, token: body.access_token, id: body.mission_id, sub, run } };
}

const grantOf = async (broker: TestBroker, above: Holder) => (await reserve(broker, above)).body.access_token;
const childOf = async (broker: TestBroker, above: Holder) =>
  (await activate(broker, await grantOf(broker, above))).holder;
const renew = async (broker: TestBroker, { key, sub, run, id }: Holder) =>
  broker.token(key, {
    grant_type: EXCHANGE,
    subject_token: await broker.evidence({ sub, run }),
    subject_token_type: JWT,
    resource: ERP,
    mission_id: id,
  });

test('grants kept in stock and redeemed at once make no more children than the template allows', async () => {
  const broker = await start({ max_children: 2 });
  const above = await root(broker);
  const grants = [];
  for (let at = 0; at < 6; at++) grants.push(await grantOf(broker, above));
  const answers = await Promise.all(grants.map((grant) => activate(broker, grant)));
  expect(answers.filter(({ status }) => status === 200)).toHaveLength(2);
  for (const { body } of answers.filter(({ status }) => status !== 200))
    expect(body).toMatchObject({
      error: 'access_denied',
      mission_denial_reason: 'delegation_not_permitted',
    });
  // The parent learns it before a child is started for nothing.
  const refused = await reserve(broker, above);
  expect(refused.body.mission_denial_reason).toBe('delegation_not_permitted');
  const first = answers.find(({ status }) => status === 200)?.holder;
  await broker.holder(first?.key ?? above.key, 'POST', `/missions/${first?.id}/complete`, {
    token: first?.token ?? '',
  });
  expect((await activate(broker, await grantOf(broker, above))).status).toBe(200);
});

test('descendants of every depth count against the root, ended ones too', async () => {
  const broker = await start({ max_descendants: 2 });
  const above = await root(broker);
  const child = await childOf(broker, above);
  const grandchild = await childOf(broker, child);
  expect(grandchild.id).toMatch(/^msn_/);
  await broker.admin('POST', `/missions/${grandchild.id}/revoke`, { reason: 'test' });
  // The child has room of its own; the root, whose template it is too, has none.
  expect((await reserve(broker, child)).body.mission_denial_reason).toBe('delegation_not_permitted');
});

test('a line of missions is eight long, and the ninth is not reserved', async () => {
  const broker = await start({});
  let last = await root(broker);
  const line = [last.id];
  for (let depth = 1; depth < 8; depth++) {
    last = await childOf(broker, last);
    line.push(last.id);
    expect((decodeJwt(last.token)['mission'] as { path: string[] }).path).toEqual(line);
  }
  expect((await reserve(broker, last)).body).toMatchObject({
    error: 'access_denied',
    mission_denial_reason: 'delegation_not_permitted',
  });
  const [first] = line;
  const { body } = await broker.admin('POST', `/missions/${first}/revoke`, { reason: 'test' });
  expect(body['cascaded']).toEqual(line.slice(1));
  expect((await renew(broker, last)).body.mission_error).toBe('mission_revoked');
});

test('max_derivations of a root holds for its whole tree', async () => {
  const broker = await start({ max_derivations: 4 });
  const above = await root(broker);
  const child = await childOf(broker, above);
  const grandchild = await childOf(broker, child);
  expect((await renew(broker, grandchild)).status).toBe(200);
  for (const one of [grandchild, child, above])
    expect((await renew(broker, one)).body.mission_error).toBe('derivations_exhausted');
  // It says what really is left, which is what those above it leave.
  const shown = await broker.holder(child.key, 'GET', `/missions/${child.id}`, { token: child.token });
  expect(shown.body['limits']).toEqual({ derivations: { max: 4, left: 0 } });
  const grant = await grantOf(broker, above);
  const late = await activate(broker, grant);
  expect(late.body.mission_error).toBe('derivations_exhausted');
});

test('max_calls of a root is given out once, however many children ask for it at once', async () => {
  const broker = await start({ max_calls: 60 }, true);
  const above = await root(broker);
  const allotted = (token: string | undefined) =>
    token === undefined ? 0 : ((decodeJwt(token)['limits'] as { max_calls?: number })?.max_calls ?? Infinity);
  const grants = [];
  for (let at = 0; at < 6; at++) grants.push(await grantOf(broker, above));
  const children = await Promise.all(grants.map((grant) => activate(broker, grant)));
  const born = children.flatMap(({ status, holder }) => (status === 200 ? [holder] : []));
  expect(born.length).toBeGreaterThan(0);
  const more = await Promise.all([above, ...born, ...born].map((one) => renew(broker, one)));
  const tokens = [
    above.token,
    ...born.map(({ token }) => token),
    ...more.map(({ body }) => body.access_token),
  ];
  const sum = tokens.reduce((total, token) => total + allotted(token), 0);
  expect(sum).toBeGreaterThan(0);
  expect(sum).toBeLessThanOrEqual(60);
});

test('a right that is taken from the parent while a child starts never reaches the child', async () => {
  const broker = await start({});
  for (let round = 0; round < 6; round++) {
    const above = await root(broker);
    const grant = await grantOf(broker, above);
    const [{ status, holder }, contained] = await Promise.all([
      activate(broker, grant),
      broker.admin('POST', `/missions/${above.id}/contain`, {
        reason: 'test',
        remove: [{ action: 'invoices.approve' }],
      }),
    ]);
    expect(contained.status).toBe(200);
    if (status !== 200) continue;
    const { body } = await broker.admin('GET', `/missions/${holder.id}`);
    expect(JSON.stringify(body['effective'])).not.toContain('invoices.approve');
  }
});

test('a child that is born between the look of a containment and its commit is contained with the others', async () => {
  const broker = await start({});
  const above = await root(broker);
  const grant = await grantOf(broker, above);
  const { store } = broker.broker.ports;
  const atomically = store.atomically.bind(store);
  let born: Holder | null = null;
  store.atomically = async (writes) => {
    if (born === null && writes.some(({ kind }) => kind === 'contain')) {
      store.atomically = atomically;
      born = (await activate(broker, grant)).holder;
    }
    return atomically(writes);
  };
  const { status } = await broker.admin('POST', `/missions/${above.id}/contain`, {
    reason: 'test',
    remove: [{ action: 'invoices.approve' }],
    expected_version: 1,
    event_id: 'once',
  });
  expect(status).toBe(200);
  const child = born as Holder | null;
  const { body } = await broker.admin('GET', `/missions/${child?.id}`);
  expect(JSON.stringify(body['granted'])).toContain('invoices.approve');
  expect(JSON.stringify(body['effective'])).not.toContain('invoices.approve');
});

test('containment between the look at the parent and the birth of the child starts the judgement again', async () => {
  const broker = await start({});
  const above = await root(broker);
  const grant = await grantOf(broker, above);
  const { store } = broker.broker.ports;
  const atomically = store.atomically.bind(store);
  let raced = false;
  store.atomically = async (writes) => {
    if (!raced && writes.some(({ kind }) => kind === 'insert_mission')) {
      raced = true;
      await broker.admin('POST', `/missions/${above.id}/contain`, {
        reason: 'test',
        remove: [{ action: 'invoices.approve' }],
      });
    }
    return atomically(writes);
  };
  const { status, body } = await activate(broker, grant);
  expect(raced).toBe(true);
  expect(status).toBe(200);
  expect(body.authorization_details.map((entry) => entry['actions'])).toEqual([['invoices.read']]);
});

test('nobody who only holds the token of a parent gets through any door', async () => {
  const broker = await start({});
  const above = await root(broker);
  const thief = await newKey();
  const stolen = above.token;
  const child = await childOf(broker, above);
  const refused = async (answer: Promise<{ status: number; body: object }>, error: string) => {
    const { status, body } = await answer;
    expect(status).toBeGreaterThanOrEqual(400);
    expect(JSON.stringify(body)).toContain(error);
    expect(body).not.toHaveProperty('access_token');
  };
  const exchange = { grant_type: EXCHANGE, subject_token: stolen, subject_token_type: ACCESS };
  // To reserve, exchange, renew; as a grant; as evidence of a child.
  await refused(reserve(broker, { ...above, key: thief }), 'invalid_grant');
  await refused(broker.token(thief, { ...exchange, resource: ERP }), 'invalid_grant');
  await refused(renew(broker, { ...above, key: thief }), 'invalid_');
  await refused(
    broker.token(thief, {
      ...exchange,
      subject_token: await broker.evidence({ sub: 'reader', run: 'stolen' }),
      subject_token_type: JWT,
      resource: ERP,
      delegation: stolen,
    }),
    'invalid_grant',
  );
  await refused(
    broker.token(thief, { ...exchange, subject_token_type: JWT, resource: ERP, delegation: stolen }),
    'invalid_request',
  );
  // With the mission: read, complete, declare.
  for (const [method, path] of [
    ['GET', ''],
    ['POST', '/complete'],
  ] as const)
    for (const id of [above.id, child.id])
      await refused(broker.holder(thief, method, `/missions/${id}${path}`, { token: stolen }), 'invalid');
  // With the token alone, as a bearer, and at the admin API.
  const bearer = await fetch(`${broker.url}/missions/${above.id}`, {
    headers: { authorization: `Bearer ${stolen}` },
  });
  expect(bearer.status).toBe(401);
  expect((await broker.as(stolen, 'GET', '/missions')).status).toBe(401);
  const revoked = await broker.holder(thief, 'POST', '/revoke', { form: { token: stolen } });
  expect(revoked.status).toBeGreaterThanOrEqual(200);
  expect(await broker.introspect(stolen)).toMatchObject({ active: true });
  expect((await broker.admin('GET', `/missions/${above.id}`)).body['state']).toBe('active');
});

test('a bearer token passes nothing on, not even in the hands of its mission', async () => {
  const broker = await start({}, false, { bearer_audiences: [ERP] });
  const above = await root(broker);
  expect(decodeJwt(above.token)).not.toHaveProperty('cnf');
  const answer = await reserve(broker, above);
  expect(answer.body.error).toBe('invalid_grant');
  expect(answer.body).not.toHaveProperty('access_token');
});

test('a token that was revoked, or whose mission is suspended, reserves nothing', async () => {
  const broker = await start({});
  const above = await root(broker);
  await broker.admin('POST', `/missions/${above.id}/suspend`, { reason: 'test' });
  expect((await reserve(broker, above)).body.mission_error).toBe('mission_suspended');
  await broker.admin('POST', `/missions/${above.id}/resume`, { reason: 'test' });
  const grant = await grantOf(broker, above);
  await broker.holder(above.key, 'POST', '/revoke', { form: { token: above.token } });
  expect((await reserve(broker, above)).body.error).toBe('invalid_grant');
  // A block on the parent's agent holds for what it had reserved.
  await broker.admin('POST', '/blocks', {
    selector: { kind: 'agent', key: 'agents/reconciler' },
    reason: 'test',
  });
  expect((await activate(broker, grant)).body.mission_denial_reason).toBe('blocked');
});

test('a parent has nothing of its child: neither its mission, nor its tokens, nor its evidence', async () => {
  const broker = await start({});
  const above = await root(broker);
  const child = await childOf(broker, above);
  const read = await broker.holder(above.key, 'GET', `/missions/${child.id}`, { token: above.token });
  expect(read.status).toBeGreaterThanOrEqual(400);
  const exchanged = await broker.token(above.key, {
    grant_type: EXCHANGE,
    subject_token: child.token,
    subject_token_type: ACCESS,
    resource: ERP,
  });
  expect(exchanged.body.error).toBe('invalid_grant');
  expect((await renew(broker, { ...child, key: above.key })).body.error).toMatch(/^invalid_/);
  const renewed = await broker.token(above.key, {
    grant_type: EXCHANGE,
    subject_token: await broker.evidence(),
    subject_token_type: JWT,
    resource: ERP,
    mission_id: child.id,
  });
  expect(renewed.body.error).toBe('invalid_grant');
});

test('a forged or altered grant is no grant', async () => {
  const broker = await start({});
  const above = await root(broker);
  const grant = await grantOf(broker, above);
  const [header, , signature] = grant.split('.');
  const claims = decodeJwt(grant) as { delegation: object };
  const wider = { ...claims, delegation: { ...claims.delegation, proposal: null, parent: above.id } };
  const payload = Buffer.from(JSON.stringify({ ...wider, sub: 'agents/impostor' })).toString('base64url');
  expect((await activate(broker, `${header}.${payload}.${signature}`)).body.error).toBe('invalid_grant');
  const unsigned = Buffer.from(JSON.stringify({ alg: 'none', typ: 'sortie-delegation+jwt' })).toString(
    'base64url',
  );
  expect((await activate(broker, `${unsigned}.${payload}.`)).body.error).toBe('invalid_grant');
  // One redemption for as many as present it at once.
  const answers = await Promise.all([1, 2, 3, 4].map(() => activate(broker, grant)));
  expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
  expect(answers.filter(({ body }) => body.error === 'invalid_grant')).toHaveLength(3);
});
