/** AuthZEN 1.0 (OpenID): one call, or several, judged by the broker. */
import { z } from 'zod';
import type { CallContext } from '../../domain/authority/index.ts';
import { malformed } from '../../domain/denial.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../domain/json.ts';
import { readText } from '../../domain/reader.ts';
import { type Evaluation, type EvaluationRequest, evaluate } from '../../operations/evaluate.ts';
import type { BehaviourWish, CallBehaviour } from '../../operations/judge-behaviour.ts';
import type { Ports } from '../../ports.ts';
import { type Incoming, json, type Route, readJsonValue } from '../route.ts';
import { problemSchema } from '../schemas.ts';
import { verifierOf } from './verifiers.ts';

const MAX_EVALUATIONS = 100;
/** Members of `context` that are the call's credentials and not facts about it. */
const CREDENTIALS = ['access_token', 'dpop', 'parameters', 'method', 'url', 'behaviour'];

const evaluationSchema = z.object({
  subject: z.object({ type: z.literal('mission'), id: z.string() }).loose(),
  action: z.object({ name: z.string() }).loose(),
  resource: z.object({ type: z.string(), id: z.string() }).loose(),
  context: z
    .object({
      access_token: z.string(),
      dpop: z.string().optional().describe('The proof of the call itself.'),
      method: z.string().optional(),
      url: z.string().optional(),
      parameters: z.record(z.string(), z.unknown()).optional(),
      behaviour: z
        .object({
          mode: z.enum(['enforce', 'observe', 'off']).optional().describe('Default enforce.'),
          answers_inspected: z
            .boolean()
            .optional()
            .describe(
              'The caller reports what the call answers to /observations; else it taints where it may be text.',
            ),
        })
        .optional()
        .describe('How the call is judged by where its values came from.'),
    })
    .loose(),
});
const decisionSchema = z.object({
  decision: z.boolean(),
  context: z
    .object({
      reason: z.string().optional(),
      retry: z.enum(['never', 'with_new_mission']).optional(),
      origins: z
        .record(z.string(), z.unknown())
        .optional()
        .describe('Where the values came from by which origin constraints permitted the call.'),
    })
    .optional(),
});

export function authzenRoutes(ports: Ports, behaviour: CallBehaviour): Route[] {
  const refused = {
    400: { description: 'Malformed', schema: problemSchema },
    401: { description: 'Not a registered verifier', schema: problemSchema },
  };
  return [
    {
      method: 'GET',
      path: '/.well-known/authzen-configuration',
      auth: { kind: 'public' },
      errors: 'problem',
      describe: {
        summary: 'Policy decision point metadata (AuthZEN 1.0)',
        tag: 'metadata',
        responses: { 200: { description: 'Metadata', schema: z.looseObject({}) } },
      },
      handle: () => {
        const { issuer } = ports.policy();
        return {
          status: 200,
          headers: { 'cache-control': 'public, max-age=60' },
          json: {
            policy_decision_point: issuer,
            access_evaluation_endpoint: `${issuer}/access/v1/evaluation`,
            access_evaluations_endpoint: `${issuer}/access/v1/evaluations`,
          },
        };
      },
    },
    {
      method: 'POST',
      path: '/access/v1/evaluation',
      auth: { kind: 'verifier' },
      errors: 'problem',
      hot: true,
      describe: {
        summary: 'May this call happen (AuthZEN 1.0)',
        tag: 'verifiers',
        json: evaluationSchema,
        responses: { 200: { description: 'The decision', schema: decisionSchema }, ...refused },
      },
      async handle(incoming) {
        const body = objectOf(readJsonValue(incoming), 'the body');
        return json(
          200,
          answerOf(await evaluate(ports, behaviour, verifierOf(incoming), readEvaluation(body, {}))),
        );
      },
    },
    {
      method: 'POST',
      path: '/access/v1/evaluations',
      auth: { kind: 'verifier' },
      errors: 'problem',
      hot: true,
      describe: {
        summary: 'May these calls happen (AuthZEN 1.0, boxcarred)',
        tag: 'verifiers',
        json: z.object({ evaluations: z.array(z.looseObject({})) }).loose(),
        responses: {
          200: {
            description: 'Decisions, in order',
            schema: z.object({ evaluations: z.array(decisionSchema) }),
          },
          ...refused,
        },
      },
      handle: (incoming) => evaluateAll(ports, behaviour, incoming),
    },
  ];
}

async function evaluateAll(ports: Ports, behaviour: CallBehaviour, incoming: Incoming) {
  const body = objectOf(readJsonValue(incoming), 'the body');
  const { evaluations, options, ...defaults } = body;
  if (!Array.isArray(evaluations) || evaluations.length === 0 || evaluations.length > MAX_EVALUATIONS)
    throw malformed(`evaluations must be a list of 1 to ${MAX_EVALUATIONS}`);
  const semantic = isJsonObject(options) ? (options['evaluations_semantic'] ?? 'execute_all') : 'execute_all';
  if (!['execute_all', 'deny_on_first_deny', 'permit_on_first_permit'].includes(String(semantic)))
    throw malformed('options.evaluations_semantic is not one of AuthZEN 1.0');
  // Read before any is judged: a malformed one must not leave half of them counted.
  const requests = evaluations.map((item: JsonValue, index) =>
    readEvaluation(objectOf(item, `evaluations[${index}]`), defaults),
  );
  const decided: unknown[] = [];
  const spent = new Set<string>();
  for (const request of requests) {
    const evaluation = await evaluate(ports, behaviour, verifierOf(incoming), request, spent);
    decided.push(answerOf(evaluation));
    if (semantic === 'deny_on_first_deny' && !evaluation.decision) break;
    if (semantic === 'permit_on_first_permit' && evaluation.decision) break;
  }
  return json(200, { evaluations: decided });
}

function answerOf({ decision, reason, retry, origins }: Evaluation) {
  if (decision) return { decision, ...(origins !== undefined && { context: { origins } }) };
  return { decision, context: { reason, ...(retry !== undefined && { retry }) } };
}

function objectOf(value: JsonValue | undefined, at: string): JsonObject {
  if (!isJsonObject(value)) throw malformed(`${at} must be an object`);
  return value;
}

/** @param defaults members of the boxcar that an item does not have itself (AuthZEN 1.0 section 7) */
function readEvaluation(item: JsonObject, defaults: JsonObject): EvaluationRequest {
  const member = (name: string) => objectOf(item[name] ?? defaults[name], name);
  const subject = member('subject');
  if (subject['type'] !== 'mission') throw malformed('subject.type must be mission');
  const context = member('context');
  const optional = (name: string, max: number) =>
    context[name] === undefined ? undefined : readText(context[name], `context.${name}`, max);
  const [proof, method, url] = [optional('dpop', 8192), optional('method', 16), optional('url', 4096)];
  const facts = Object.fromEntries(Object.entries(context).filter(([name]) => !CREDENTIALS.includes(name)));
  return {
    subject: { type: 'mission', id: readText(subject['id'], 'subject.id', 128) },
    action: readText(member('action')['name'], 'action.name', 256),
    resource: readText(member('resource')['id'], 'resource.id', 4096),
    access_token: readText(context['access_token'], 'context.access_token', 16_384),
    ...(proof !== undefined && { proof }),
    ...(method !== undefined && { method }),
    ...(url !== undefined && { url }),
    parameters:
      context['parameters'] === undefined ? {} : objectOf(context['parameters'], 'context.parameters'),
    ...(context['behaviour'] !== undefined && {
      behaviour: readWish(objectOf(context['behaviour'], 'context.behaviour')),
    }),
    // The algebra reads each fact by its own kind and denies what it cannot evaluate.
    context: facts as CallContext,
  };
}

function readWish({ mode = 'enforce', answers_inspected = false, ...rest }: JsonObject): BehaviourWish {
  const unknown = Object.keys(rest)[0];
  if (unknown !== undefined) throw malformed(`context.behaviour.${unknown} is unknown`);
  if (mode !== 'enforce' && mode !== 'observe' && mode !== 'off')
    throw malformed('context.behaviour.mode must be enforce, observe or off');
  if (typeof answers_inspected !== 'boolean')
    throw malformed('context.behaviour.answers_inspected must be true or false');
  return { mode, answers_inspected };
}
