/** What processes that count tell of tokens that are over. */
import { z } from 'zod';
import { STATEMENT_TOKENS } from '../../domain/settlement.ts';
import { settle } from '../../operations/settle.ts';
import type { Ports } from '../../ports.ts';
import { json, type Route, readJsonValue } from '../route.ts';
import { problemSchema } from '../schemas.ts';
import { verifierOf } from './verifiers.ts';

const seconds = z.number().min(0);
const statement = z.strictObject({
  run_id: z.string().min(1).max(128).describe('Drawn anew at each start of the process.'),
  since: seconds.describe('It spends nothing of tokens issued until then.'),
  alive_at: seconds.describe("The broker's newest time that it had heard."),
  from: seconds.describe('It tells of tokens that end after this'),
  through: seconds.describe('and until this, and spends nothing of them any more.'),
  spent: z
    .array(
      z.strictObject({
        jti: z.string().min(1).max(128),
        max_calls: z.number().int().min(0).optional(),
        max_egress_volume: z.number().int().min(0).optional(),
      }),
    )
    .max(STATEMENT_TOKENS)
    .describe('Of every other token in between it spent nothing.'),
});

export function settlementRoutes(ports: Ports): Route[] {
  return [
    {
      method: 'POST',
      path: '/settlements',
      auth: { kind: 'verifier' },
      errors: 'problem',
      hot: true,
      describe: {
        summary: 'What one process spent of the allotments of tokens that are over',
        tag: 'verifiers',
        json: statement,
        responses: {
          200: {
            description: 'Taken note of, durably',
            schema: z.object({ settled: z.number().int(), repeated: z.boolean() }),
          },
          400: { description: 'No statement, or of a verifier that does not count', schema: problemSchema },
          401: { description: 'Not a registered verifier', schema: problemSchema },
        },
      },
      async handle(incoming) {
        return json(200, await settle(ports, verifierOf(incoming), readJsonValue(incoming)));
      },
    },
  ];
}
