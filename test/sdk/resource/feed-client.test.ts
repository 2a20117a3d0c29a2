import { verify } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CreateGuardOptions, RunningGuard } from '../../../src/sdk/resource/create-guard.ts';
import { BrokerDouble, until, verifierKey } from './broker-double.ts';
import { call, issuerKey, jws, mint, outcome, pair, prove, URL_OF_CALL } from './support.ts';

let broker: BrokerDouble;
let running: RunningGuard;
let alarms: string[];

const seconds = () => Math.floor(Date.now() / 1000);
const token = (change: Record<string, unknown> = {}) =>
  mint({
    iat: seconds() - 5,
    exp: seconds() + 300,
    ...change,
    mission: { expires_at: seconds() + 600, ...(change['mission'] as object) },
  });

/** The guard's word on a fresh call with this token. */
function check(with_token: string): string {
  const proof = prove(with_token, { claims: { iat: seconds() } });
  return outcome(running.guard.check(call(with_token, { proof, url: URL_OF_CALL })));
}

function connect(options: Partial<CreateGuardOptions> = {}): void {
  running = broker.guard({ onAlarm: (kind) => alarms.push(kind), ...options });
}

/** Ready, and the stream is open. */
async function streaming(): Promise<void> {
  await running.ready;
  await until(() => broker.streams.size > 0, 'stream');
}

/** Ready again, on the n-th stream since the start. */
async function healed(streams: number): Promise<void> {
  const opened = () => broker.paths().filter((path) => path === '/revocations/stream').length;
  await until(() => running.health().ready && opened() >= streams && broker.streams.size > 0, 'healed');
}

beforeEach(async () => {
  alarms = [];
  broker = await new BrokerDouble().start();
});

afterEach(async () => {
  await running.close();
  await broker.stop();
});

describe('from nothing to ready', () => {
  it('denies, then permits once bundle and snapshot are held', async () => {
    connect();
    expect(check(token())).toBe('bundle_missing');
    await streaming();
    expect(check(token())).toBe('permitted');
    expect(running.health()).toMatchObject({ ready: true, bundle_version: 'v1', epoch: 1, seq: 0 });
    expect(alarms).toStrictEqual([]);
  });

  it('says who it is with its own key, and nothing that a stranger could use elsewhere', async () => {
    connect();
    await streaming();
    const assertion = (broker.asked[0]?.authorization ?? '').replace('Bearer ', '');
    const [header, payload, signature] = assertion.split('.') as [string, string, string];
    const read = (part: string) => JSON.parse(Buffer.from(part, 'base64url').toString());
    expect(read(header)).toStrictEqual({ typ: 'client-authentication+jwt', alg: 'ES256', kid: 'verifier-1' });
    const claims = read(payload);
    expect(claims).toMatchObject({
      iss: 'erp-verifier',
      sub: 'erp-verifier',
      aud: 'https://broker.example.com',
    });
    expect(claims.exp - claims.iat).toBeLessThanOrEqual(300);
    const key = { key: verifierKey.public_key, dsaEncoding: 'ieee-p1363' } as const;
    expect(
      verify('sha256', Buffer.from(`${header}.${payload}`), key, Buffer.from(signature, 'base64url')),
    ).toBe(true);
  });

  it('acknowledges its position after it is enforced', async () => {
    connect({ instance_id: 'pod-7' });
    await until(() => broker.acks.length > 0, 'ack of the snapshot');
    broker.revoke({ kind: 'mission', key: 'msn_x' });
    await until(() => broker.acks.some((ack) => ack['seq'] === 1), 'ack of the entry');
    expect(broker.acks.at(-1)).toStrictEqual({ instance_id: 'pod-7', epoch: 1, seq: 1 });
  });
});

describe('revocations arrive', () => {
  it('the next call of a revoked mission fails, and a lift lets it pass', async () => {
    connect();
    await streaming();
    const mine = token();
    expect(check(mine)).toBe('permitted');
    broker.revoke({ kind: 'mission', key: 'msn_self', reason_code: 'admin_suspended' });
    await until(() => check(mine) === 'mission_suspended', 'suspended');
    broker.revoke({ kind: 'mission', key: 'msn_self', effect: 'lift', reason_code: 'admin_resumed' });
    await until(() => check(mine) === 'permitted', 'resumed');
  });

  it('a snapshot brings what happened before', async () => {
    broker.revoke({ kind: 'agent', key: 'k8s/payments/reconciler', issued_before: seconds() + 5 });
    connect();
    await streaming();
    expect(check(token())).toBe('agent_revoked');
  });

  it('a cut stream goes on where it was, without a new snapshot', async () => {
    connect();
    await streaming();
    broker.revoke({ kind: 'mission', key: 'msn_a' });
    await until(() => running.health().seq === 1, 'first entry');
    for (const stream of broker.streams) stream.destroy();
    broker.revoke({ kind: 'mission', key: 'msn_b' });
    await until(() => running.health().seq === 2, 'second entry');
    expect(broker.paths().filter((path) => path === '/revocations')).toHaveLength(1);
    expect(broker.asked.filter(({ path }) => path === '/revocations/stream').at(-1)?.last_event_id).toBe(
      '1.1',
    );
    expect(alarms).toStrictEqual([]);
  });

  it('an open stream of a revoked mission is cut', async () => {
    connect();
    await streaming();
    const mine = token();
    const permit = running.guard.check(call(mine, { proof: prove(mine, { claims: { iat: seconds() } }) }));
    if (!permit.permitted) throw new Error(permit.code);
    const cut: string[] = [];
    running.guard.watch(permit, (denial) => cut.push(denial.code));
    broker.revoke({ kind: 'mission_tree', key: 'msn_self' });
    await until(() => cut.length > 0, 'cut');
    expect(cut).toStrictEqual(['mission_revoked']);
  });
});

describe('a feed that cannot be trusted', () => {
  it('a gap denies, then heals with a snapshot, and nothing is missed', async () => {
    connect();
    await streaming();
    const mine = token();
    expect(check(mine)).toBe('permitted');
    // An entry that was never sent, then one that names it as its predecessor.
    broker.seq = 7;
    broker.entries.push({
      seq: 7,
      ts: seconds(),
      kind: 'mission',
      key: 'msn_self',
      effect: 'deny',
      not_after: seconds() + 960,
      reason_code: 'admin_revoked',
    });
    broker.revoke({ kind: 'mission', key: 'msn_other' });
    await until(() => check(mine) === 'mission_revoked', 'the missed entry');
    expect(alarms).toContain('gap');
    expect(running.health().seq).toBe(8);
  });

  it('a heartbeat of another head is a gap', async () => {
    connect();
    await streaming();
    broker.seq = 5;
    await until(() => running.health().seq === 5, 'snapshot at 5');
    expect(alarms).toContain('gap');
    expect(check(token())).toBe('permitted');
  });

  it('a broker that went back in time is not believed until it caught up', async () => {
    broker.seq = 10;
    connect();
    await streaming();
    const mine = token();
    expect(check(mine)).toBe('permitted');
    broker.seq = 4;
    await until(() => alarms.filter((kind) => kind === 'feed_rollback').length > 1, 'alarms');
    expect(check(mine)).toBe('revocations_missing');
    broker.seq = 10;
    await until(() => check(mine) === 'permitted', 'caught up');
  });

  it('a restored backup with a higher epoch is taken', async () => {
    broker.seq = 10;
    connect();
    await streaming();
    broker.epoch = 2;
    broker.seq = 3;
    await until(() => running.health().epoch === 2, 'epoch 2');
    expect(check(token())).toBe('permitted');
  });

  it('a replayed lift, an entry of another epoch, an id that does not fit', async () => {
    broker.seq = 10;
    connect();
    await streaming();
    const entry = {
      seq: 5,
      prev: 4,
      ts: seconds(),
      kind: 'mission',
      key: 'msn_self',
      effect: 'lift',
      not_after: seconds() + 900,
      reason_code: 'admin_resumed',
    };
    broker.send('entry', entry, '1.5');
    await until(() => alarms.includes('feed_rollback'), 'replay');
    await healed(2);
    broker.send('entry', { ...entry, seq: 11, prev: 10 }, '0.11');
    await until(() => alarms.filter((kind) => kind === 'feed_rollback').length === 2, 'old epoch');
    await healed(3);
    broker.send('entry', { ...entry, seq: 11, prev: 10 }, '1.12');
    await until(() => alarms.includes('feed_malformed'), 'id');
    await healed(4);
  });

  it('an entry that it does not understand denies until a snapshot without it', async () => {
    connect();
    await streaming();
    broker.override = (request, response) => {
      if (request.url !== '/revocations') return false;
      response.end('{"epoch":1}');
      return true;
    };
    broker.send(
      'entry',
      {
        seq: 1,
        prev: 0,
        ts: 1,
        kind: 'galaxy',
        key: 'x',
        effect: 'deny',
        not_after: 9,
        reason_code: 'blocked',
      },
      '1.1',
    );
    await until(() => alarms.filter((kind) => kind === 'feed_malformed').length > 1, 'malformed twice');
    expect(check(token())).toBe('revocations_missing');
    broker.override = null;
    await until(() => check(token()) === 'permitted', 'healed');
  });
});

describe('a broker that is away', () => {
  it('denies after the bound and recovers by itself, with what was revoked meanwhile', async () => {
    broker.bundle = { ...broker.bundle, max_staleness_seconds: 0.3 };
    connect();
    await streaming();
    const mine = token();
    const other = token({ mission: { id: 'msn_other' } });
    expect(check(mine)).toBe('permitted');
    const port = Number(new URL(broker.url).port);
    const { seq, entries, bundle } = broker;
    await broker.stop();
    expect(check(mine)).toBe('permitted');
    await until(() => check(mine) === 'revocations_stale', 'stale');
    broker = new BrokerDouble();
    Object.assign(broker, { seq, entries, bundle });
    broker.revoke({ kind: 'mission', key: 'msn_self' });
    await broker.start(port);
    await until(() => check(mine) === 'mission_revoked', 'missed nothing');
    expect(check(other)).toBe('permitted');
  });

  it('a stalled stream goes stale though the connection stands', async () => {
    broker.bundle = { ...broker.bundle, max_staleness_seconds: 0.3 };
    connect();
    await streaming();
    const beat = broker.beat;
    broker.beat = () => {};
    await until(() => check(token()) === 'revocations_stale', 'stale');
    broker.beat = beat;
    await until(() => check(token()) === 'permitted', 'recovered');
  });

  it('a broker whose clock is ahead buys no time', async () => {
    broker.bundle = { ...broker.bundle, max_staleness_seconds: 0.3 };
    connect();
    await streaming();
    broker.beat({ ts: Date.now() / 1000 + 3600 });
    broker.beat = () => {};
    await until(() => check(token()) === 'revocations_stale', 'stale');
  });

  it('a verifier that is not registered denies and alarms', async () => {
    broker.override = (_request, response) => {
      response.writeHead(401).end();
      return true;
    };
    connect();
    await until(() => alarms.includes('not_registered'), 'alarm');
    expect(check(token())).toBe('bundle_missing');
  });

  it('a redirect is not followed', async () => {
    broker.override = (request, response) => {
      if (request.url === '/elsewhere') return false;
      response.writeHead(302, { location: `${broker.url}/elsewhere` }).end();
      return true;
    };
    connect();
    await until(() => broker.asked.length > 2, 'tries');
    expect(broker.paths()).not.toContain('/elsewhere');
    expect(check(token())).toBe('bundle_missing');
  });
});

describe('the bundle', () => {
  const header = { typ: 'sortie-bundle+jwt', alg: 'ES256', kid: 'key-1' };

  it('an unknown key is fetched off the call path, and the next call passes', async () => {
    connect();
    await streaming();
    const next = pair('ES256', 'key-2');
    const mine = jws(
      { typ: 'at+jwt', alg: 'ES256', kid: 'key-2' },
      JSON.parse(Buffer.from(token().split('.')[1] as string, 'base64url').toString()),
      next,
    );
    broker.bundle = { ...broker.bundle, version: 'v2', keys: [issuerKey.jwk, next.jwk] };
    expect(check(mine)).toBe('key_unknown');
    await until(() => running.health().bundle_version === 'v2', 'new bundle');
    expect(check(mine)).toBe('permitted');
  });

  it('an announced one is fetched', async () => {
    connect();
    await streaming();
    broker.bundle = { ...broker.bundle, version: 'v3' };
    broker.send('bundle', { version: 'v3' });
    await until(() => running.health().bundle_version === 'v3', 'v3');
  });

  it('a forged one is never put in force, and alarms', async () => {
    const thief = pair('ES256', 'key-1');
    for (const forged of [
      () => jws(header, broker.bundle, thief),
      () => jws({ ...header, typ: 'at+jwt' }, broker.bundle, issuerKey),
      () => jws({ ...header, kid: 'other' }, broker.bundle, issuerKey),
      () => jws({ ...header, jwk: thief.jwk }, broker.bundle, thief),
      () => jws(header, { ...broker.bundle, aud: 'https://mail.example.com' }, issuerKey),
      () => jws(header, { ...broker.bundle, iss: 'https://other.example.com' }, issuerKey),
      () => jws(header, { ...broker.bundle, keys: 'none' }, issuerKey),
      () => 'not a bundle',
    ]) {
      alarms = [];
      broker.bundle_jws = forged;
      const attempt = broker.guard({ onAlarm: (kind) => alarms.push(kind) });
      await until(() => alarms.includes('bundle_forged'), 'alarm');
      expect(attempt.health().bundle_version).toBeNull();
      await attempt.close();
    }
    broker.bundle_jws = null;
    connect();
    await streaming();
  });

  it('an older one is never put in force, and alarms', async () => {
    connect();
    await streaming();
    broker.bundle = { ...broker.bundle, version: 'v0', iat: (broker.bundle['iat'] as number) - 60 };
    broker.send('bundle', { version: 'v0' });
    await until(() => alarms.includes('bundle_rollback'), 'alarm');
    expect(running.health().bundle_version).toBe('v1');
  });
});

describe('consequential calls', () => {
  const details = [
    { type: 'mission_resource_access', resource: 'https://erp.example.com', actions: ['payments.send'] },
  ];
  const decide = async () => {
    const mine = token({ authorization_details: details });
    const proof = prove(mine, { claims: { iat: seconds() } });
    return outcome(
      await running.guard.decide(
        call(mine, { proof, action: 'payments.send', parameters: { amount: '5.00' } }),
      ),
    );
  };

  it('carry token, proof and parameters to the broker, and only a true decision permits', async () => {
    connect();
    await streaming();
    expect(await decide()).toBe('permitted');
    const asked = broker.asked.find(({ path }) => path === '/access/v1/evaluation');
    expect(asked?.body).toMatchObject({
      subject: { type: 'mission', id: 'msn_self' },
      action: { name: 'payments.send' },
      context: { parameters: { amount: '5.00' }, method: 'GET', url: URL_OF_CALL },
    });
    for (const decision of [{ decision: false }, { decision: 'true' }, {}, [], null]) {
      broker.decision = decision;
      expect(await decide()).toBe('broker_denied');
    }
    broker.override = (_request, response) => {
      response.writeHead(503).end();
      return true;
    };
    expect(await decide()).toBe('broker_unreachable');
  });
});
