import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { type Catalogue, parseCatalogue } from '../../src/behaviour/catalogue.ts';
import { deliverCatalogue, receiveCatalogue } from '../../src/behaviour/delivery.ts';

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
