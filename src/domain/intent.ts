/**
 * The mission intent (wire profile 2.2): a closed object of inert prose, resources and an end. Prose is stored,
 * shown and hashed; it is never parsed for authority.
 */
import { readBudget } from './budget.ts';
import { malformed } from './denial.ts';
import type { JsonObject, JsonValue } from './json.ts';
import type { MissionControls, MissionIntent } from './mission.ts';
import { readCount, readInstant, readObject, readText, readTexts } from './reader.ts';

const GOAL_MAX = 4096;
const TEXT_MAX = 1024;
const LIST_MAX = 64;
const RESOURCE_MAX = 2048;

const INTENT_MEMBERS = [
  'goal',
  'resources',
  'expires_at',
  'constraints',
  'success_criteria',
  'purpose',
  'goal_lang',
  'needs',
  'continues',
  'controls',
] as const;

const CONTROL_MEMBERS = [
  'max_calls',
  'max_derivations',
  'max_duration',
  'max_budget',
  'max_egress_volume',
  'acr',
] as const;

export interface ParsedIntent {
  /** As declared: what `intent_hash` is computed over, with no defaults inserted. */
  readonly intent: MissionIntent;
  readonly expires_at: number;
}

/** The envelope `{"intent": {...}}` of the `mission_intent` parameter. @throws Denied */
export function parseIntentEnvelope(value: JsonValue): ParsedIntent {
  const envelope = readObject(value, 'mission_intent', ['intent']);
  return parseIntent(envelope['intent']);
}

/** @throws Denied `invalid_request`, or `access_denied` `unsupported_control` */
export function parseIntent(value: JsonValue | undefined): ParsedIntent {
  const intent = readObject(value, 'intent', INTENT_MEMBERS);
  readText(intent['goal'], 'intent.goal', GOAL_MAX);
  const resources = readTexts(intent['resources'], 'intent.resources', LIST_MAX, RESOURCE_MAX);
  if (new Set(resources).size !== resources.length)
    throw malformed('intent.resources names a resource twice');
  const expires_at = readInstant(intent['expires_at'], 'intent.expires_at');
  if (intent['constraints'] !== undefined)
    readTexts(intent['constraints'], 'intent.constraints', LIST_MAX, TEXT_MAX);
  if (intent['success_criteria'] !== undefined)
    readTexts(intent['success_criteria'], 'intent.success_criteria', LIST_MAX, TEXT_MAX);
  if (intent['purpose'] !== undefined) readText(intent['purpose'], 'intent.purpose', 128);
  if (intent['goal_lang'] !== undefined) readText(intent['goal_lang'], 'intent.goal_lang', 35);
  if (intent['continues'] !== undefined) readText(intent['continues'], 'intent.continues', 64);
  if (intent['needs'] !== undefined) readNeeds(intent['needs'], resources);
  if (intent['controls'] !== undefined) readControls(intent['controls']);
  return { intent: intent as unknown as MissionIntent, expires_at };
}

function readNeeds(value: JsonValue, resources: readonly string[]): void {
  if (!Array.isArray(value) || value.length > LIST_MAX)
    throw malformed(`intent.needs must be an array of at most ${LIST_MAX} items`);
  value.forEach((item: JsonValue, index) => {
    const at = `intent.needs[${index}]`;
    const need = readObject(item, at, ['resource', 'actions', 'why']);
    const resource = readText(need['resource'], `${at}.resource`, RESOURCE_MAX);
    if (!resources.includes(resource)) throw malformed(`${at}.resource is not among intent.resources`);
    readTexts(need['actions'], `${at}.actions`, LIST_MAX, 256);
    readText(need['why'], `${at}.why`, TEXT_MAX);
  });
}

function readControls(value: JsonValue): MissionControls {
  const controls: JsonObject = readObject(value, 'intent.controls', CONTROL_MEMBERS);
  for (const member of ['max_calls', 'max_derivations', 'max_duration', 'max_egress_volume'] as const)
    if (controls[member] !== undefined) readCount(controls[member], `intent.controls.${member}`);
  if (controls['max_budget'] !== undefined) readBudget(controls['max_budget'], 'intent.controls.max_budget');
  if (controls['acr'] !== undefined) readText(controls['acr'], 'intent.controls.acr', 256);
  return controls as MissionControls;
}
