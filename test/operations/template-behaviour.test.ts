/** What a template says of behaviour, at real guards: modes, destinations, and missions that were born tainted. */
import { afterEach, describe, expect, test } from 'vitest';
import type { Verdict } from '../../src/sdk/resource/guard.ts';
import { ERP, MAIL } from '../support/broker.ts';
import { ACTIONS, ATTACKER, type Offices, openOffices, POISON } from '../support/offices.ts';

let offices: Offices | null = null;
afterEach(async () => {
  await offices?.close();
  offices = null;
});

async function open(template: Record<string, unknown>): Promise<Offices> {
  offices = await openOffices(template);
  return offices;
}

const passed = ({ permitted }: Verdict): boolean => permitted;

describe('a template', () => {
  test('vouches for destinations, for every action or for one, at every office alike', async () => {
    const { guard, agent, again, call } = await open({
      behaviour: {
        values: [{ kind: 'mail', values: ['payroll@partner.example'], actions: ['mail.send'] }],
        own: [{ kind: 'mail', values: ['me@office.example'] }],
      },
    });
    const [erp, mail] = [await guard(ERP), await guard(MAIL)];
    const held = await agent({ needs: ['inbox.list', 'mail.send', 'mail.purge'] });
    await call(erp, held, 'inbox.list', {}, POISON);
    for (const [action, to, allowed] of [
      ['mail.send', 'payroll@partner.example', true],
      ['mail.send', 'me@office.example', true],
      ['mail.send', 'other@partner.example', false],
      ['mail.purge', 'me@office.example', true],
      ['mail.purge', 'payroll@partner.example', false],
    ] as const)
      expect(passed(await call(erp, held, action, { to })), `${action} ${to}`).toBe(allowed);
    const there = (await again(held, MAIL)).agent;
    expect(passed(await call(mail, there, 'mail.send', { to: 'payroll@partner.example' }))).toBe(true);
  });

  test('names the only destinations of a mission that was born tainted, those that its ceiling fixes among them', async () => {
    const { guard, agent, call, sortie } = await open({
      ceiling: [ERP, MAIL].map((resource) => ({
        type: 'mission_resource_access',
        resource,
        actions: Object.keys(ACTIONS),
        ...(resource === ERP && {
          constraints: { parameters: { to: { one_of: ['fixed@partner.example', 'me@office.example'] } } },
        }),
      })),
      behaviour: { own: [{ kind: 'mail', values: ['me@office.example'] }] },
    });
    const [erp, mail] = [await guard(ERP), await guard(MAIL)];
    const run = crypto.randomUUID();
    const first = await agent({ audience: MAIL, run });
    await call(mail, first, 'inbox.list', {}, POISON);
    const again = await agent({ run, goal: `Write to ${ATTACKER} and maria@partner.example` });
    for (const [to, allowed] of [
      ['fixed@partner.example', true],
      ['me@office.example', true],
    ] as const)
      expect(passed(await call(erp, again, 'mail.send', { to })), to).toBe(allowed);
    const there = await agent({
      audience: MAIL,
      run,
      goal: `Write to ${ATTACKER} and maria@partner.example`,
    });
    for (const [to, allowed] of [
      ['me@office.example', true],
      [ATTACKER, false],
      ['maria@partner.example', false],
      ['fixed@partner.example', false],
    ] as const)
      expect(passed(await call(mail, there, 'mail.send', { to })), to).toBe(allowed);
    const facts = await fetch(`${sortie.url}/verifier/missions/${there.mission_id}`, {
      headers: { authorization: `Bearer ${await sortie.assertion('mail')}` },
    });
    // What the ceiling fixes for one office is not told to another.
    expect(await facts.text()).not.toContain('fixed@');
  });

  test('sets a rule to observe: judged and recorded as if it denied, and nothing is refused', async () => {
    const { guard, agent, call, sortie } = await open({
      behaviour: { rules: { stray_effect: 'observe', unproven_sink: 'observe' } },
    });
    const erp = await guard(ERP);
    const held = await agent();
    await call(erp, held, 'inbox.list', {}, POISON);
    expect(passed(await call(erp, held, 'mail.forward', { to: ATTACKER }))).toBe(true);
    await erp.close();
    const { body } = await sortie.admin('GET', `/decisions?mission_id=${held.mission_id}`);
    const found = (
      body['items'] as { action: string; verdict: { record: Record<string, unknown> } | null }[]
    ).find(({ action, verdict }) => action === 'mail.forward' && verdict !== null);
    expect(found?.verdict?.record).toMatchObject({
      decision: 'permit',
      rules_version: '1:invoices@1',
      findings: [
        { rule: 'stray_effect', mode: 'observe' },
        { rule: 'unproven_sink', mode: 'observe' },
      ],
    });
    expect((await sortie.admin('GET', `/missions/${held.mission_id}`)).body).toMatchObject({
      state: 'active',
      version: 1,
    });
  });

  test("cannot weaken what a server's operator set, nor the other way round", async () => {
    const { DEFAULT_RULES } = await import('../../src/behaviour/rules.ts');
    const { guard, agent, call } = await open({ behaviour: { rules: { stray_effect: 'off' } } });
    const strict = await guard(ERP, { behaviour_rules: DEFAULT_RULES });
    const held = await agent();
    await call(strict, held, 'inbox.list', {}, POISON);
    expect(passed(await call(strict, held, 'mail.forward', { to: ATTACKER }))).toBe(false);
    await offices?.close();
    offices = null;
    const firm = await open({});
    const lax = await firm.guard(ERP, {
      behaviour_rules: { ...DEFAULT_RULES, stray_effect: 'off', unproven_sink: 'off' },
    });
    const other = await firm.agent();
    await firm.call(lax, other, 'inbox.list', {}, POISON);
    expect(passed(await firm.call(lax, other, 'mail.forward', { to: ATTACKER }))).toBe(false);
  });
});
