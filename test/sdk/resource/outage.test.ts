/** A broker that is away, or whose clock is another: the profile's bound of 30 seconds, under a clock that the test moves. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ClockWatch } from '../../../src/sdk/resource/clock-watch.ts';
import type { RunningGuard } from '../../../src/sdk/resource/create-guard.ts';
import { BrokerDouble, until } from './broker-double.ts';
import { call, mint, outcome, prove } from './support.ts';

const START = Math.floor(Date.now() / 1000);
let ahead: number;
let broker: BrokerDouble;
let running: RunningGuard;
let alarms: string[];

const now = () => START + ahead;

const tokenOf = (id: string) =>
  mint({ iat: START - 5, exp: START + 600, mission: { id, expires_at: START + 900 } });
const victim = tokenOf('msn_victim');
const bystander = tokenOf('msn_bystander');

function check(token: string): string {
  const proof = prove(token, { claims: { iat: Math.floor(now()) } });
  return outcome(running.guard.check(call(token, { proof })));
}

const asked = (path: string) => broker.paths().filter((one) => one === path).length;

async function streaming(): Promise<void> {
  await running.ready;
  await until(() => broker.streams.size > 0, 'stream');
}

/** The same broker after a restart, with what was committed meanwhile. */
async function back(away: BrokerDouble): Promise<void> {
  const port = Number(new URL(away.url).port);
  broker = new BrokerDouble();
  Object.assign(broker, { seq: away.seq, entries: away.entries, bundle: away.bundle, now });
  return void (await broker.start(port));
}

beforeEach(async () => {
  ahead = 0;
  alarms = [];
  broker = new BrokerDouble();
  broker.now = now;
  await broker.start();
  running = broker.guard({ now, onAlarm: (kind) => alarms.push(kind) });
  await streaming();
});

afterEach(async () => {
  await running.close();
  await broker.stop();
});

describe('a broker that is away for a minute', () => {
  it('permits within the bound, denies after it, recovers alone, and has missed nothing', async () => {
    expect([check(victim), check(bystander)]).toStrictEqual(['permitted', 'permitted']);
    await broker.stop();
    ahead = 29.9;
    expect(check(bystander)).toBe('permitted');
    expect(running.health().ready).toBe(true);
    ahead = 30.1;
    expect(check(bystander)).toBe('revocations_stale');
    expect(running.health().ready).toBe(false);
    ahead = 60;
    expect(check(bystander)).toBe('revocations_stale');
    broker.revoke({ kind: 'mission', key: 'msn_victim' });
    broker.revoke({ kind: 'mission', key: 'msn_third' });
    await back(broker);
    await until(() => check(bystander) === 'permitted', 'recovered');
    expect(check(victim)).toBe('mission_revoked');
    expect(running.health()).toMatchObject({ ready: true, seq: 2, revocation_age_seconds: 0 });
    await until(() => broker.acks.some((ack) => ack['seq'] === 2), 'acknowledged');
    // It went on where it was: a thousand that lost the broker together ask for no snapshot.
    expect(asked('/revocations')).toBe(0);
    expect(alarms).toStrictEqual([]);
  });

  it('an open answer is cut when the bound has passed, though nothing was heard', async () => {
    const proof = prove(bystander, { claims: { iat: START } });
    const verdict = running.guard.check(call(bystander, { proof }));
    if (!verdict.permitted) throw new Error(verdict.code);
    const cuts: string[] = [];
    running.guard.watch(verdict, ({ code }) => cuts.push(code));
    await broker.stop();
    ahead = 30.1;
    await until(() => cuts.length > 0, 'cut');
    expect(cuts).toStrictEqual(['revocations_stale']);
    await back(broker);
  });

  it('one that comes back with less than it had is not believed', async () => {
    broker.revoke({ kind: 'mission', key: 'msn_victim' });
    await until(() => check(victim) === 'mission_revoked', 'revoked');
    await broker.stop();
    Object.assign(broker, { seq: 0, entries: [] });
    await back(broker);
    await until(() => alarms.includes('feed_rollback'), 'alarm');
    expect(check(bystander)).toBe('revocations_missing');
    expect(check(victim)).toBe('revocations_missing');
  });
});

describe('clocks that disagree', () => {
  /** A guard that never knew the broker's clock as another one. */
  async function connected(skew_seconds: number): Promise<void> {
    await running.close();
    broker.now = () => now() + skew_seconds;
    running = broker.guard({ now, onAlarm: (kind) => alarms.push(kind) });
    await streaming();
  }

  it('a broker behind by less than the bound shortens what its silence may last', async () => {
    await connected(-20);
    expect(check(bystander)).toBe('permitted');
    await broker.stop();
    ahead = 9.9;
    expect(check(bystander)).toBe('permitted');
    ahead = 10.1;
    expect(check(bystander)).toBe('revocations_stale');
  });

  it('a broker behind by more than the bound is never fresh', async () => {
    await connected(-31);
    expect(check(bystander)).toBe('revocations_stale');
  });

  it('a broker ahead buys no time', async () => {
    await connected(3600);
    await broker.stop();
    ahead = 29.9;
    expect(check(bystander)).toBe('permitted');
    ahead = 30.1;
    expect(check(bystander)).toBe('revocations_stale');
  });

  it('one that is set right again, back or forth, is noticed; one that is kept right is not', () => {
    let [wall, passed_ms] = [START, 0];
    const watch = new ClockWatch(
      () => wall,
      () => passed_ms,
    );
    const stepped = (step: number, seconds = 1): boolean => {
      passed_ms += seconds * 1000;
      wall += seconds + step;
      return watch.wasSetBack();
    };
    expect([stepped(0), stepped(0.4), stepped(-0.9), stepped(0, 3600)]).toStrictEqual(Array(4).fill(false));
    expect([stepped(-1.1), stepped(-3600)]).toStrictEqual([true, true]);
    // A step forward makes what is held older, which denies by itself.
    expect(stepped(3600)).toBe(false);
    expect(stepped(Number.NaN)).toBe(true);
  });

  it('a guard whose clock was set back relies on nothing until it heard the broker again', async () => {
    await running.close();
    const real = Date.now;
    try {
      broker.now = () => real() / 1000;
      running = broker.guard({ onAlarm: (kind) => alarms.push(kind) });
      await streaming();
      expect(running.health().ready).toBe(true);
      const last = broker.beat;
      broker.beat = () => {};
      Date.now = () => real() - 3_600_000;
      await until(() => !running.health().ready, 'in doubt');
      expect(alarms).toContain('gap');
      Date.now = real;
      broker.beat = last;
      await until(() => running.health().ready, 'recovered');
    } finally {
      Date.now = real;
    }
  });
});
