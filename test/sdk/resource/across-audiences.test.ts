/**
 * Attacks that go by way of two audiences, end to end: a real broker and real guards of a directory and a post office.
 * The agent holds good tokens for both; what it reads at one must not steer it at the other.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { digestKey, keyedDigest } from '../../../src/behaviour/memory.ts';
import type { JsonObject } from '../../../src/domain/json.ts';
import { ERP, MAIL } from '../../support/broker.ts';
import {
  type Agent,
  ATTACKER,
  KIM,
  MARIA,
  noted,
  openTwoAudiences,
  POISON,
  tappedFetch,
} from './two-audiences.ts';

let two: Awaited<ReturnType<typeof openTwoAudiences>>;
beforeAll(async () => {
  two = await openTwoAudiences();
});
afterEach(() => two.closeGuards());
afterAll(() => two.close());

async function both() {
  return { directory: await two.guard(ERP), post: await two.guard(MAIL) };
}

describe('what is read at one audience and done at another', () => {
  it('an address that a stranger wrote there is no destination here', async () => {
    const { directory, post } = await both();
    const held = await two.agent();
    expect(await two.say(directory, held, 'board.read', {}, POISON)).toBe('permit');
    expect(await two.say(post, held, 'letter.send', { to: ATTACKER })).toBe('behaviour_denied');
    expect(await two.say(post, held, 'letter.register', { to: ATTACKER })).toBe('behaviour_denied');
    expect(await two.say(post, held, 'letter.send', { to: MARIA })).toBe('permit');
    expect(await two.say(post, held, 'letter.register', { to: MARIA })).toBe('permit');
  });

  it('an address that the directory vouches for is one, for plain and for consequential effects', async () => {
    const { directory, post } = await both();
    const held = await two.agent();
    await two.say(directory, held, 'board.read', {}, POISON);
    await two.say(directory, held, 'people.find', {}, [{ email: KIM }]);
    expect(await two.say(post, held, 'letter.send', { to: KIM })).toBe('permit');
    expect(await two.say(post, held, 'letter.register', { to: KIM })).toBe('permit');
  });

  it('a code completes an effect that only the broker could permit, and none that it refused', async () => {
    const { directory, post } = await both();
    const needs = [{ resource: MAIL, actions: ['letter.register'], why: 'tell them' }];
    for (const [to, said] of [
      [ATTACKER, 'behaviour_denied'],
      [KIM, 'permit'],
    ] as const) {
      const held = await two.agent({ needs });
      await two.say(directory, held, 'board.read', {}, POISON);
      await two.say(directory, held, 'people.find', {}, [{ email: KIM }]);
      expect(await two.say(post, held, 'letter.register', { to })).toBe(said);
      expect(await two.say(post, held, 'letter.confirm', { code: '123456' })).toBe(said);
    }
  });

  it('tells the agent code and retry, and nothing of where the boundary is', async () => {
    const { directory, post } = await both();
    const held = await two.agent();
    await two.say(directory, held, 'board.read', {}, POISON);
    for (const action of ['letter.send', 'letter.register']) {
      const verdict = await two.call(post, held, action, { to: ATTACKER });
      if (verdict.permitted) throw new Error('permitted');
      const { body } = post.guard.answer(verdict, 'DPoP x');
      expect(body).toStrictEqual({
        type: 'about:blank',
        title: 'Forbidden',
        status: 403,
        error: 'insufficient_scope',
        mission_denial: 'behaviour_denied',
        retry: 'with_new_mission',
      });
    }
  });

  it('asks the broker about a destination only where it is unknown here', async () => {
    const tap = tappedFetch();
    const directory = await two.guard(ERP);
    const post = await two.guard(MAIL, { fetch: tap.fetch });
    const held = await two.agent();
    await two.say(directory, held, 'board.read', {}, POISON);
    await two.say(directory, held, 'people.find', {}, [{ email: KIM }]);
    await two.say(post, held, 'letter.send', { to: MARIA });
    expect(tap.count('/access/v1/evaluation')).toBe(0);
    await two.say(post, held, 'letter.send', { to: KIM });
    expect(tap.count('/access/v1/evaluation')).toBe(1);
  });

  it('values in a text that can instruct nobody are told, and mark nothing', async () => {
    const { directory, post } = await both();
    const held = await two.agent();
    await two.say(directory, held, 'page.get', {}, { code: 'desk@partner.example' });
    expect(await two.say(post, held, 'letter.register', { to: 'desk@partner.example' })).toBe('permit');
    const { body } = await two.verifier('erp', `/verifier/missions/${held.mission_id}`);
    expect(body['tainted']).toBe(false);
  });

  it('refuses where the broker cannot be asked', async () => {
    const tap = tappedFetch();
    const directory = await two.guard(ERP);
    const post = await two.guard(MAIL, { fetch: tap.fetch });
    const held = await two.agent();
    await two.say(directory, held, 'board.read', {}, POISON);
    await two.say(directory, held, 'people.find', {}, [{ email: KIM }]);
    await two.say(post, held, 'letter.send', { to: MARIA });
    tap.through((path) =>
      path === '/access/v1/evaluation' ? Promise.reject(new Error('down')) : Promise.resolve(),
    );
    expect(await two.say(post, held, 'letter.send', { to: KIM })).toBe('behaviour_denied');
  });

  it('a value that a declared step told at one audience counts at the other, and only for that', async () => {
    const { directory, post } = await both();
    const from = [{ action: 'page.get', field: '*' }];
    const held = await two.agent({
      goal: 'Send the report to the desk that the page names',
      proposal: [
        { type: 'mission_resource_access', resource: ERP, actions: ['page.get', 'board.read'] },
        {
          type: 'mission_resource_access',
          resource: MAIL,
          actions: ['letter.send'],
          constraints: {
            parameters: { to: { origin: { in: ['template', 'mission', 'trusted', 'untrusted'], from } } },
          },
        },
        { type: 'mission_resource_access', resource: MAIL, actions: ['letter.register'] },
      ],
    });
    await two.say(
      directory,
      held,
      'page.get',
      {},
      { note: 'For reports please write to desk@partner.example.' },
    );
    await two.say(directory, held, 'board.read', {}, POISON);
    expect(await two.say(post, held, 'letter.send', { to: 'desk@partner.example' })).toBe('permit');
    expect(await two.say(post, held, 'letter.send', { to: ATTACKER })).toBe('constraint_unevaluable');
    // The other action names no such source.
    expect(await two.say(post, held, 'letter.register', { to: 'desk@partner.example' })).toBe(
      'behaviour_denied',
    );
    expect(await two.say(post, held, 'letter.register', { to: ATTACKER })).toBe('behaviour_denied');
  });
});

describe('two audiences at once', () => {
  /** Holds what one guard says to the broker until it is let go. */
  function held(path: string) {
    const tap = tappedFetch();
    let release: () => void = () => {};
    let arrive: () => void = () => {};
    const arrived = new Promise<void>((resolve) => {
      arrive = resolve;
    });
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    tap.through(async (one) => {
      if (one !== path) return;
      arrive();
      await gate;
    });
    return { tap, arrived, release: () => release() };
  }

  it('nothing is released before the mark is durable, and an effect that begins after it is refused', async () => {
    const { tap, arrived, release } = held('/observations');
    const directory = await two.guard(ERP, { fetch: tap.fetch });
    const post = await two.guard(MAIL);
    const agent = await two.agent();
    await two.say(post, agent, 'letter.send', { to: MARIA });
    let released = false;
    const read = two.call(directory, agent, 'board.read', {}, POISON).then(() => {
      released = true;
    });
    await arrived;
    // The read is held: nobody can know yet what it says, so that the mission is as clean as it was.
    expect(await two.say(post, agent, 'letter.send', { to: 'friend@elsewhere.example' })).toBe('permit');
    expect(released).toBe(false);
    release();
    await read;
    expect(await two.say(post, agent, 'letter.send', { to: ATTACKER })).toBe('behaviour_denied');
    expect(await two.say(post, agent, 'letter.register', { to: ATTACKER })).toBe('behaviour_denied');
  });

  it('no interleaving lets an effect through that began after the release', async () => {
    const directory = await two.guard(ERP);
    const post = await two.guard(MAIL);
    for (let round = 0; round < 12; round++) {
      const agent = await two.agent();
      if (round % 2 === 0) await two.say(post, agent, 'letter.send', { to: MARIA });
      const action = round % 3 === 0 ? 'letter.register' : 'letter.send';
      let released = false;
      const outcomes: { readonly known: boolean; readonly said: string }[] = [];
      const effect = async () => {
        const known = released;
        outcomes.push({ known, said: await two.say(post, agent, action, { to: ATTACKER }) });
      };
      const read = two.call(directory, agent, 'board.read', {}, POISON).then(() => {
        released = true;
        return effect();
      });
      const racing = Array.from({ length: 4 }, async (_, turn) => {
        for (let wait = 0; wait < turn * (round + 1); wait++) await new Promise((next) => setImmediate(next));
        await effect();
      });
      await Promise.all([read, ...racing]);
      expect(outcomes.filter(({ known, said }) => known && said === 'permit')).toStrictEqual([]);
      expect(outcomes.some(({ known }) => known)).toBe(true);
    }
  });

  it('waits a little for observations that are on their way', async () => {
    const { tap, arrived, release } = held('/observations');
    const post = await two.guard(MAIL);
    const agent = await two.agent();
    const first = await two.guard(ERP);
    await two.say(first, agent, 'board.read', {}, POISON);
    const directory = await two.guard(ERP, { fetch: tap.fetch });
    await two.say(directory, agent, 'people.find', {}, [{ email: KIM }]);
    const asked = two.say(post, agent, 'letter.register', { to: KIM });
    await arrived;
    release();
    expect(await asked).toBe('permit');
  });

  it('and refuses where they do not come', async () => {
    const { tap, release } = held('/observations');
    const post = await two.guard(MAIL);
    const agent = await two.agent();
    await two.say(await two.guard(ERP), agent, 'board.read', {}, POISON);
    const directory = await two.guard(ERP, { fetch: tap.fetch });
    await two.say(directory, agent, 'people.find', {}, [{ email: KIM }]);
    expect(await two.say(post, agent, 'letter.register', { to: KIM })).toBe('behaviour_denied');
    release();
  });
});

describe('a hop between audiences', () => {
  it('through a directory: what the agent wrote into it is its own word when it comes back', async () => {
    const { directory, post } = await both();
    const held = await two.agent();
    await two.say(post, held, 'inbox.list', {}, POISON);
    expect(await two.say(directory, held, 'people.add', { email: ATTACKER })).toBe('permit');
    await two.say(directory, held, 'people.find', {}, [{ email: ATTACKER }]);
    expect(await two.say(post, held, 'letter.send', { to: ATTACKER })).toBe('behaviour_denied');
    expect(await two.say(post, held, 'letter.register', { to: ATTACKER })).toBe('behaviour_denied');
  });

  it('through a note at one audience that the other reads back as a field that it vouches for', async () => {
    const { directory, post } = await both();
    const held = await two.agent();
    await two.say(post, held, 'inbox.list', {}, POISON);
    expect(await two.say(post, held, 'notes.write', { text: noted(ATTACKER) })).toBe('permit');
    await two.say(directory, held, 'people.find', {}, [{ email: ATTACKER }, { email: KIM }]);
    expect(await two.say(post, held, 'letter.register', { to: ATTACKER })).toBe('behaviour_denied');
    expect(await two.say(post, held, 'letter.register', { to: KIM })).toBe('permit');
  });

  it('by another process of the same audience', async () => {
    const [one, other] = [await two.guard(ERP), await two.guard(ERP)];
    const post = await two.guard(MAIL);
    const held = await two.agent();
    await two.say(post, held, 'inbox.list', {}, POISON);
    await two.say(one, held, 'people.add', { email: ATTACKER });
    await two.say(other, held, 'people.find', {}, [{ email: ATTACKER }]);
    expect(await two.say(post, held, 'letter.send', { to: ATTACKER })).toBe('behaviour_denied');
  });

  it('what the agent writes is marked before the call runs, or it does not run', async () => {
    const tap = tappedFetch();
    const post = await two.guard(MAIL, { fetch: tap.fetch });
    const held = await two.agent();
    await two.say(post, held, 'inbox.list', {}, POISON);
    tap.through((path) => (path === '/observations' ? Promise.reject(new Error('down')) : Promise.resolve()));
    expect(await two.say(post, held, 'notes.write', { text: noted(ATTACKER) })).toBe('rules_unenforceable');
  });
});

describe('several missions', () => {
  it('a sub-agent that was started before its parent read is judged by what the parent read', async () => {
    const { directory, post } = await both();
    const parent = await two.agent();
    const child = await two.childOf(parent, `Send the report to ${MARIA}`);
    await two.say(post, child, 'letter.send', { to: MARIA });
    await two.say(directory, parent, 'board.read', {}, POISON);
    expect(await two.say(post, child, 'letter.send', { to: ATTACKER })).toBe('behaviour_denied');
    expect(await two.say(post, child, 'letter.register', { to: ATTACKER })).toBe('behaviour_denied');
    expect(await two.say(post, child, 'letter.send', { to: MARIA })).toBe('permit');
  });

  it('a parent is judged by what its sub-agent read, and knows what that was vouched for', async () => {
    const { directory, post } = await both();
    const parent = await two.agent();
    const child = await two.childOf(parent);
    await two.say(post, parent, 'letter.send', { to: MARIA });
    await two.say(directory, child, 'board.read', {}, POISON);
    await two.say(directory, child, 'people.find', {}, [{ email: KIM }]);
    expect(await two.say(post, parent, 'letter.send', { to: ATTACKER })).toBe('behaviour_denied');
    expect(await two.say(post, parent, 'letter.send', { to: KIM })).toBe('permit');
  });

  it('a value is not laundered by a sub-agent that looks it up where the parent wrote it', async () => {
    const { directory, post } = await both();
    const parent = await two.agent();
    const child = await two.childOf(parent, `Send the report to ${MARIA}`);
    await two.say(directory, parent, 'board.read', {}, POISON);
    expect(await two.say(directory, parent, 'people.add', { note: noted(ATTACKER) })).toBe('permit');
    await two.say(directory, child, 'people.find', {}, [{ email: ATTACKER }]);
    expect(await two.say(post, child, 'letter.register', { to: ATTACKER })).toBe('behaviour_denied');
  });

  it('declaring again sheds nothing, at either audience', async () => {
    const { directory, post } = await both();
    const run = crypto.randomUUID();
    const first = await two.agent({ run });
    await two.say(directory, first, 'board.read', {}, POISON);
    const again = await two.agent({ run, goal: `Send the report to ${ATTACKER}` });
    expect(await two.say(post, again, 'letter.send', { to: ATTACKER })).toBe('behaviour_denied');
    expect(await two.say(post, again, 'letter.register', { to: ATTACKER })).toBe('behaviour_denied');
  });
});

describe('a verifier that lies', () => {
  const jtiOf = (token: string) =>
    (JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as { jti: string }).jti;

  async function lie(held: Agent, id: 'erp' | 'mail', origin: string, value: string, more: JsonObject = {}) {
    const { body: facts } = await two.verifier(id, `/verifier/missions/${held.mission_id}`);
    const key = digestKey(Buffer.from(String(facts['digest_key']), 'base64url'));
    const observation = {
      mission_id: held.mission_id,
      jti: jtiOf(held.tokens[id === 'erp' ? ERP : MAIL]),
      seq: 1,
      origin,
      field: '*',
      digests: [keyedDigest(key, `v:${value}`)],
      ...more,
    };
    return two.verifier(id, '/observations', { batch_id: crypto.randomUUID(), observations: [observation] });
  }

  it('vouches for nothing that its own catalogue does not vouch for', async () => {
    const { directory } = await both();
    const held = await two.agent();
    await two.say(directory, held, 'board.read', {}, POISON);
    // The post office's catalogue vouches for no address.
    for (const origin of ['system', 'template', 'mission', 'history', 'trusted'])
      expect((await lie(held, 'mail', origin, ATTACKER)).body['accepted']).toBe(1);
    expect(await two.say(directory, held, 'people.invite', { email: ATTACKER })).toBe('behaviour_denied');
  });

  it('of an audience that does vouch for addresses can vouch for one, as its catalogue says', async () => {
    const { directory, post } = await both();
    const held = await two.agent();
    await two.say(directory, held, 'board.read', {}, POISON);
    await lie(held, 'erp', 'system', ATTACKER);
    expect(await two.say(post, held, 'letter.register', { to: ATTACKER })).toBe('permit');
  });

  it('speaks of its own tokens only', async () => {
    const { directory, post } = await both();
    const held = await two.agent();
    await two.say(directory, held, 'board.read', {}, POISON);
    const foreign = await lie(held, 'mail', 'system', ATTACKER, { jti: jtiOf(held.tokens[ERP]) });
    expect(foreign.body).toMatchObject({ accepted: 0, dropped: { foreign: 1 } });
    const other = await two.agent();
    const borrowed = await lie(held, 'erp', 'system', ATTACKER, { jti: jtiOf(other.tokens[ERP]) });
    expect(borrowed.body).toMatchObject({ accepted: 0, dropped: { foreign: 1 } });
    expect(await two.say(post, held, 'letter.register', { to: ATTACKER })).toBe('behaviour_denied');
  });

  it('gains nothing by repeating what was true: an echo stays one', async () => {
    const { directory, post } = await both();
    const held = await two.agent();
    await two.say(directory, held, 'board.read', {}, POISON);
    await two.say(post, held, 'notes.write', { text: noted(ATTACKER) });
    for (let replay = 0; replay < 3; replay++) {
      const { body } = await lie(held, 'erp', 'system', ATTACKER);
      expect(body['unsettled']).toMatchObject([{ mission_id: held.mission_id }]);
    }
    expect(await two.say(post, held, 'letter.register', { to: ATTACKER })).toBe('behaviour_denied');
  });
});

describe('a proof', () => {
  it('is not asked about twice: a call that the broker judged in full is not brought before it again', async () => {
    const directory = await two.guard(ERP);
    const tap = tappedFetch();
    const post = await two.guard(MAIL, { fetch: tap.fetch });
    const origin = { in: ['mission', 'trusted', 'untrusted'], from: [{ action: 'page.get', field: '*' }] };
    const held = await two.agent({
      goal: 'Register the report with the desk that the page names',
      proposal: [
        { type: 'mission_resource_access', resource: ERP, actions: ['page.get', 'board.read'] },
        {
          type: 'mission_resource_access',
          resource: MAIL,
          actions: ['letter.register'],
          constraints: { parameters: { to: { origin } } },
        },
      ],
    });
    await two.say(
      directory,
      held,
      'page.get',
      {},
      { note: 'For reports please write to desk@partner.example.' },
    );
    await two.say(directory, held, 'board.read', {}, POISON);
    expect(await two.say(post, held, 'letter.register', { to: 'desk@partner.example' })).toBe('permit');
    expect(tap.count('/access/v1/evaluation')).toBe(1);
    const given = await two.callOf(held, MAIL, 'letter.register', { to: 'desk@partner.example' });
    expect((await post.guard.decide(given)).permitted).toBe(true);
    expect((await post.guard.decide(given)).permitted).toBe(false);
  });

  it('nor where the broker said no', async () => {
    const tap = tappedFetch();
    const post = await two.guard(MAIL, { fetch: tap.fetch });
    const origin = { in: ['mission', 'trusted', 'untrusted'] };
    const held = await two.agent({
      proposal: [
        { type: 'mission_resource_access', resource: ERP, actions: ['board.read'] },
        {
          type: 'mission_resource_access',
          resource: MAIL,
          actions: ['letter.register'],
          constraints: { parameters: { to: { origin } } },
        },
        { type: 'mission_resource_access', resource: MAIL, actions: ['inbox.list'] },
      ],
    });
    await two.say(post, held, 'inbox.list', {}, POISON);
    const before = tap.count('/access/v1/evaluation');
    expect(await two.say(post, held, 'letter.register', { to: ATTACKER })).toBe('behaviour_denied');
    expect(tap.count('/access/v1/evaluation')).toBe(before + 1);
  });
});

describe('memory that is lost', () => {
  it('a mission that was dropped between permit and answer still marks before it releases', async () => {
    const directory = await two.guard(ERP, { behaviour_missions: 1 });
    const post = await two.guard(MAIL);
    const held = await two.agent();
    await two.say(post, held, 'letter.send', { to: MARIA });
    const given = await two.callOf(held, ERP, 'board.read');
    const verdict = await directory.guard.decide(given);
    if (!verdict.permitted) throw new Error(verdict.code);
    const reader = directory.guard.openAnswer(given, verdict);
    await two.say(directory, await two.agent(), 'people.find', {}, []);
    reader?.begin('application/json', true);
    reader?.finish(Buffer.from(JSON.stringify(POISON)));
    const mark = reader?.held();
    expect(mark).toBeInstanceOf(Promise);
    await mark;
    expect(await two.say(post, held, 'letter.send', { to: ATTACKER })).toBe('behaviour_denied');
  });

  it('and one that was dropped before its answer was opened, too', async () => {
    const directory = await two.guard(ERP, { behaviour_missions: 1 });
    const post = await two.guard(MAIL);
    const held = await two.agent();
    await two.say(post, held, 'letter.send', { to: MARIA });
    const given = await two.callOf(held, ERP, 'board.read');
    const verdict = await directory.guard.decide(given);
    if (!verdict.permitted) throw new Error(verdict.code);
    await two.say(directory, await two.agent(), 'people.find', {}, []);
    const reader = directory.guard.openAnswer(given, verdict);
    reader?.begin('application/json', true);
    reader?.finish(Buffer.from(JSON.stringify(POISON)));
    await reader?.held();
    expect(await two.say(post, held, 'letter.send', { to: ATTACKER })).toBe('behaviour_denied');
  });

  it('an answer that nobody opens marks the mission, too', async () => {
    const { directory, post } = await both();
    const held = await two.agent();
    await two.say(post, held, 'letter.send', { to: MARIA });
    await directory.guard.decide(await two.callOf(held, ERP, 'board.read'));
    await expect
      .poll(async () => (await two.verifier('erp', `/verifier/missions/${held.mission_id}`)).body['tainted'])
      .toBe(true);
    expect(await two.say(post, held, 'letter.send', { to: ATTACKER })).toBe('behaviour_denied');
  });

  it('a flood of missions pushes nothing clean: the broker knows what this process forgot', async () => {
    const directory = await two.guard(ERP);
    const post = await two.guard(MAIL, { behaviour_missions: 1 });
    const held = await two.agent();
    await two.say(directory, held, 'board.read', {}, POISON);
    await two.say(directory, held, 'people.find', {}, [{ email: KIM }]);
    await two.say(post, held, 'notes.write', { text: noted(ATTACKER) });
    for (let other = 0; other < 3; other++)
      await two.say(post, await two.agent(), 'letter.send', { to: MARIA });
    expect(await two.say(post, held, 'letter.send', { to: ATTACKER })).toBe('behaviour_denied');
    expect(await two.say(post, held, 'letter.send', { to: KIM })).toBe('permit');
  });

  it('a flood of values pushes nothing clean, and nothing that was vouched for out', async () => {
    const { directory, post } = await both();
    const held = await two.agent();
    await two.say(directory, held, 'people.find', {}, [{ email: KIM }]);
    for (let page = 0; page < 40; page++)
      await two.say(
        directory,
        held,
        'board.read',
        {},
        {
          note: Array.from({ length: 90 }, (_, i) => `x${page}-${i}@flood.example`).join(' '),
        },
      );
    await two.say(directory, held, 'board.read', {}, POISON);
    expect(await two.say(post, held, 'letter.send', { to: ATTACKER })).toBe('behaviour_denied');
    expect(await two.say(post, held, 'letter.send', { to: KIM })).toBe('permit');
  });

  it('after a restart of the broker a tainted mission has its own words left, and nothing else', async () => {
    const { directory, post } = await both();
    const held = await two.agent();
    await two.say(directory, held, 'board.read', {}, POISON);
    await two.say(directory, held, 'people.find', {}, [{ email: KIM }]);
    await two.sortie.restart();
    await expect
      .poll(() => two.say(post, held, 'letter.register', { to: MARIA }), { timeout: 5_000 })
      .toBe('permit');
    expect(await two.say(post, held, 'letter.register', { to: KIM })).toBe('behaviour_denied');
    await two.say(directory, held, 'people.find', {}, [{ email: KIM }]);
    expect(await two.say(post, held, 'letter.register', { to: KIM })).toBe('behaviour_denied');
  });
});

describe('who asks without reading answers', () => {
  it('taints the mission by every permitted call that may answer with text', async () => {
    const post = await two.guard(MAIL);
    const held = await two.agent();
    const ask = async (action: string, parameters: JsonObject = {}, behaviour?: JsonObject) => {
      const { proof, url, method } = await two.callOf(held, MAIL, action);
      const { body } = await two.verifier('mail', '/access/v1/evaluation', {
        subject: { type: 'mission', id: held.mission_id },
        action: { name: action },
        resource: { type: 'resource', id: MAIL },
        context: {
          access_token: held.tokens[MAIL],
          dpop: proof,
          method,
          url,
          parameters,
          ...(behaviour && { behaviour }),
        },
      });
      return body;
    };
    const tainted = async () =>
      (await two.verifier('mail', `/verifier/missions/${held.mission_id}`)).body['tainted'];
    expect(await ask('letter.send', { to: ATTACKER })).toStrictEqual({ decision: true });
    expect(await ask('inbox.list', {}, { answers_inspected: true })).toStrictEqual({ decision: true });
    expect(await tainted()).toBe(false);
    expect(await ask('inbox.list')).toStrictEqual({ decision: true });
    expect(await tainted()).toBe(true);
    const refused = { decision: false, context: { reason: 'behaviour_denied', retry: 'with_new_mission' } };
    expect(await ask('letter.send', { to: ATTACKER })).toStrictEqual(refused);
    expect(await ask('letter.send', { to: MARIA })).toStrictEqual({ decision: true });
    expect(await two.say(post, held, 'letter.send', { to: ATTACKER })).toBe('behaviour_denied');
    for (const behaviour of [{ mode: 'observe' }, { mode: 'off' }])
      expect(await ask('letter.send', { to: ATTACKER }, behaviour)).toStrictEqual({ decision: true });
  });

  it('and moves no counter and no taint without a valid proof', async () => {
    const held = await two.agent();
    const { url, method } = await two.callOf(held, MAIL, 'inbox.list');
    const { body } = await two.verifier('mail', '/access/v1/evaluation', {
      subject: { type: 'mission', id: held.mission_id },
      action: { name: 'inbox.list' },
      resource: { type: 'resource', id: MAIL },
      context: { access_token: held.tokens[MAIL], method, url },
    });
    expect(body).toStrictEqual({ decision: false, context: { reason: 'proof_invalid' } });
    const { body: facts } = await two.verifier('mail', `/verifier/missions/${held.mission_id}`);
    expect(facts['tainted']).toBe(false);
  });
});
