/** Random input at every door: never a fault of ours, never a token, never a stack. */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { creation, ERP, intent, newKey, startBroker, type TestBroker } from '../support/broker.ts';
import { expectNoInternals, FORM, JSON_TYPE, send } from '../support/raw.ts';

let sortie: TestBroker;
beforeAll(async () => {
  sortie = await startBroker();
});
afterAll(() => sortie.close());

describe('anything at all', () => {
  const word = fc.oneof(
    fc.string({ maxLength: 30 }),
    fc.string({ unit: 'binary', maxLength: 30 }),
    fc.constantFrom(...Object.values(creation('x')), ERP, 'null', '[]', '{}', '[{}]', '{"intent":{}}'),
    fc.json({ maxDepth: 3 }),
  );
  const names = fc.constantFrom(
    'grant_type subject_token subject_token_type mission_intent mission_id authorization_details resource template_id creation_request_id narrowing child_actor delegation client_id requested_token_type'.split(
      ' ',
    ),
  );
  const name = names.chain((known) =>
    fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...known) }, { weight: 1, arbitrary: fc.string() }),
  );

  test('never makes /token fault, mint or tell', async () => {
    const key = await newKey();
    await sortie.token(key, creation('x'));
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(name, word), { maxLength: 12 }),
        fc.boolean(),
        async (pairs, whole) => {
          const form = new URLSearchParams(pairs);
          // Half of them are good requests with one thing changed, and a good proof: they get far.
          if (whole) {
            const good = new URLSearchParams(creation('e30.e30.AA'));
            for (const [changed, value] of pairs.slice(0, 1)) good.set(changed, value);
            for (const known of [...form.keys()]) form.delete(known);
            for (const [known, value] of good) form.set(known, value);
          }
          const answer = await send(`${sortie.url}/token`, form, {
            dpop: await sortie.proof(key, 'POST', `${sortie.url}/token`),
          });
          expect(answer.status).toBe(400);
          expect(answer.text).not.toContain('"access_token"');
          expectNoInternals(answer.text);
        },
      ),
      { numRuns: 150, seed: 4 },
    );
  });

  test('attested agents asking for anything never make it fault', async () => {
    const key = await newKey();
    const evidence = await sortie.evidence({ run: 'fuzz' });
    await fc.assert(
      fc.asyncProperty(
        fc.jsonValue({ maxDepth: 4 }),
        fc.jsonValue({ maxDepth: 3 }),
        async (details, extra) => {
          const form = creation(evidence, {
            authorization_details: JSON.stringify([
              {
                type: 'mission_resource_access',
                resource: ERP,
                actions: ['invoices.read'],
                constraints: details,
              },
            ]),
            mission_intent: intent({ success_criteria: extra }),
          });
          const { status, body } = await sortie.token(key, form);
          expect([200, 400]).toContain(status);
          expectNoInternals(JSON.stringify(body.error_description ?? ''));
        },
      ),
      { numRuns: 80, seed: 5 },
    );
  });

  test('random bytes at every route never fault', async () => {
    const routes = sortie.broker.routes.filter((route) => route.method === 'POST');
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...routes),
        fc.uint8Array({ maxLength: 200 }),
        fc.constantFrom(FORM, JSON_TYPE, {}),
        async (route, bytes, headers) => {
          const answer = await send(sortie.url + route.path.replaceAll(/\{\w+\}/g, 'x'), bytes, headers);
          expect(answer.status).toBeLessThan(500);
          expect(answer.headers.get('cache-control')).toBe('no-store');
          expectNoInternals(answer.text);
        },
      ),
      { numRuns: 150, seed: 6 },
    );
  });
});
