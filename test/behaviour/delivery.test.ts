import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { type Catalogue, parseCatalogue } from '../../src/behaviour/catalogue.ts';
import {
  deliverBehaviour,
  deliverCatalogue,
  receiveBehaviour,
  receiveCatalogue,
} from '../../src/behaviour/delivery.ts';
import { DEFAULT_RULES } from '../../src/behaviour/rules.ts';
import { rulesOf, strictest, templateValuesOf } from '../../src/behaviour/section.ts';
import type { JsonObject } from '../../src/domain/json.ts';

const FOLDER = 'bench/containment/config';

function sent(catalogue: Catalogue, own_labels: readonly string[] = []) {
  return {
    aud: catalogue.audience,
    actions: [...catalogue.actions.values()].map(({ action, labels }) => ({
      name: action,
      labels: [...labels, ...own_labels],
    })),
    ...deliverCatalogue(catalogue),
  };
}

describe('a catalogue in a bundle', () => {
  it.each(readdirSync(FOLDER))('%s is received as it was written', (name) => {
    const catalogue = parseCatalogue(parse(readFileSync(`${FOLDER}/${name}`, 'utf8')));
    const wire = JSON.parse(JSON.stringify(sent(catalogue))) as ReturnType<typeof sent>;
    expect(receiveCatalogue(wire)).toStrictEqual(catalogue);
  });

  it('labels of the audience alone do not reach the engine', () => {
    const catalogue = parseCatalogue({ audience: 'a', version: '1', actions: { x: { labels: ['read'] } } });
    expect(receiveCatalogue(sent(catalogue, ['gdpr']))).toStrictEqual(catalogue);
  });

  it('an audience without catalogue has none', () => {
    expect(receiveCatalogue({ aud: 'a', actions: [], sinks: [], field_trust: [] })).toBeNull();
  });

  it('a part that names an unknown action is refused, not skipped', () => {
    const catalogue = parseCatalogue({ audience: 'a', version: '1', actions: { x: { labels: ['effect'] } } });
    const wire = sent(catalogue);
    expect(() => receiveCatalogue({ ...wire, actions: [] })).toThrow('field_trust');
    expect(() =>
      receiveCatalogue({ ...wire, sinks: [{ action: 'y', parameter: 'to', kind: 'mail' }] }),
    ).toThrow('sinks');
    expect(() =>
      receiveCatalogue({ ...wire, sinks: [{ action: 'x', parameter: 'to', kind: 'nail' }] }),
    ).toThrow('kind');
  });
});

describe("a template's behaviour in the facts of a mission", () => {
  const behaviour = {
    rules: { stray_read: 'observe' },
    responses: { stray_effect: 'observe', unproven_sink: 'revoke' },
    values: [{ kind: 'mail', values: ['a@b.example'], actions: ['mail.send'] }],
    own: [{ kind: 'mail', values: ['me@b.example'] }],
    history: 'internal',
  } as const;
  const template = { id: 'weekly', version: '3', behaviour };
  const told = deliverBehaviour({ rules: rulesOf(template), values: templateValuesOf(behaviour) });

  it('is received as it was written, by the version of the template', () => {
    const { rules, values } = receiveBehaviour(JSON.parse(JSON.stringify(told)) as JsonObject);
    expect(rules).toStrictEqual(rulesOf(template));
    expect(rules).toMatchObject({
      version: '1:weekly@3',
      stray_read: 'observe',
      stray_effect: 'deny',
      stray_effect_response: 'none',
      responses: { unproven_sink: 'revoke' },
      history: 'internal',
    });
    expect(values).toStrictEqual([
      { kind: 'mail', value: ['a@b.example'], actions: ['mail.send'] },
      { kind: 'mail', value: ['me@b.example'] },
    ]);
  });

  it('without a section is the default, member by member', () => {
    expect(rulesOf({ id: 'weekly', version: '3' })).toBe(DEFAULT_RULES);
  });

  it.each([
    ['an unknown rule', { rules: { ...(told['rules'] as JsonObject), stray_thing: 'deny' } }],
    ['an unknown mode', { rules: { ...(told['rules'] as JsonObject), stray_read: 'warn' } }],
    ['a rule that is missing', { rules: { version: '1' } }],
    [
      'an unknown response',
      { rules: { ...(told['rules'] as JsonObject), responses: { stray_read: 'block' } } },
    ],
    ['an unknown kind of value', { values: [{ kind: 'nail', value: 'x' }] }],
    ['a value without one', { values: [{ kind: 'mail' }] }],
    ['actions that are none', { values: [{ kind: 'mail', value: 'x', actions: [1] }] }],
    ['a member that a later broker adds', { more: true }],
  ])('%s is refused, not left out', (_, part) => {
    expect(() => receiveBehaviour({ ...told, ...part })).toThrow();
  });

  it('and the rules of a server come to the stricter of the two, both ways round', () => {
    const rules = rulesOf(template);
    for (const both of [strictest(rules, DEFAULT_RULES), strictest(DEFAULT_RULES, rules)])
      expect(both).toMatchObject({
        stray_read: 'deny',
        stray_effect: 'deny',
        stray_secret: 'observe',
        history: 'off',
      });
    expect(strictest(rules, rules)).toBe(rules);
  });
});
