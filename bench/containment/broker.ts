import { createHash, randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { type Catalogue, catalogueDocument } from '../../src/behaviour/catalogue.ts';
import type { DeclaredAction, DeclaredMission } from '../../src/behaviour/mission.ts';
import type { BehaviourRules } from '../../src/behaviour/rules.ts';
import type { VerdictRecord } from '../../src/behaviour/verdict.ts';
import { type Broker, createBroker } from '../../src/broker.ts';
import type { JsonObject, JsonValue } from '../../src/domain/json.ts';
import { generateKek } from '../../src/keys/seal.ts';
import { createGuard, type RunningGuard } from '../../src/sdk/resource/create-guard.ts';
import { jws, type RawKey, rawKey } from '../support.ts';
import { bodyOf, type CallOutcome, type Replay, type RunOutcome } from './replay.ts';
import { suiteKey, type Trace } from './traces.ts';

/**
 * The recorded runs through a real broker and real guards, over loopback sockets: each run declares its mission at
 * `/token` with fresh evidence, holds a DPoP-bound token for the whole audience, proves every call by a fresh proof,
 * and is judged by the guard of its suite; actions labelled consequential also need the broker's word. What was
 * permitted "runs": its recorded output is what the guard's answer reader is given.
 *
 * The template's ceiling is everything that a suite has, so that nothing is refused by scope what the engine alone
 * would let pass as a detour: what is measured is the judgement.
 */
export interface BrokerReplay extends Replay {
  close(): Promise<void>;
}

const WORKLOADS = 'https://workloads.example';
const GOAL_CHARS = 4096;
const NOTE_CHARS = 1024;
/** A name that no catalogue has: an empty plan declares nothing, and not everything that was granted. */
const NOTHING = 'nothing';

/** Suites may be called anything; hosts, ids and files may not. */
function slugsOf(keys: Iterable<string>): Map<string, string> {
  return new Map([...keys].map((key, at) => [key, `suite-${at + 1}`]));
}

function audienceOf(slug: string): string {
  return `https://${slug}.example`;
}

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const address = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  return typeof address === 'object' && address ? address.port : 0;
}

/** @param by_suite catalogues by `suiteKey`; a suite without actions has nothing to replay */
export async function openBrokerReplay(by_suite: ReadonlyMap<string, Catalogue>): Promise<BrokerReplay> {
  const slugs = slugsOf(by_suite.keys());
  const slugOf = (trace: Trace): string => slugs.get(suiteKey(trace)) ?? '';
  const catalogues = new Map(
    [...by_suite].flatMap(([key, catalogue]) =>
      catalogue.actions.size === 0 ? [] : [[slugs.get(key) ?? '', catalogue] as const],
    ),
  );
  if (catalogues.size === 0) throw new Error('no suite has an action');
  const folder = mkdtempSync(join(tmpdir(), 'sortie-containment-'));
  const workloads = rawKey();
  const agent = rawKey();
  const verifiers = new Map([...catalogues.keys()].map((suite) => [suite, rawKey()]));
  const url = `http://127.0.0.1:${await freePort()}`;
  const broker = await open(folder, url, catalogues, workloads, verifiers);
  const guards = new Map<string, Promise<RunningGuard>>();
  /** Rule of the last verdict of each mission. */
  const rules_by_mission = new Map<string, VerdictRecord>();

  async function guardOf(suite: string, rules: BehaviourRules): Promise<RunningGuard> {
    const name = `${suite} ${JSON.stringify(rules)}`;
    const known = guards.get(name);
    if (known !== undefined) return known;
    const key = verifiers.get(suite) ?? rawKey();
    const running = createGuard({
      issuer: url,
      audience: audienceOf(suite),
      verifier: { id: suite, private_key_jwk: key.privateKey.export({ format: 'jwk' }) as JsonObject },
      behaviour: 'enforce',
      behaviour_rules: rules,
      onVerdict: (record) => void rules_by_mission.set(record.mission_id, record),
      events: 'none',
    });
    const ready = running.ready.then(() => running);
    guards.set(name, ready);
    return ready;
  }

  async function declare(trace: Trace, mission: DeclaredMission, catalogue: Catalogue): Promise<Held> {
    const now = Math.floor(Date.now() / 1000);
    const audience = audienceOf(slugOf(trace));
    const evidence = jws(
      workloads,
      { alg: 'ES256', kid: 'w1' },
      {
        iss: WORKLOADS,
        aud: url,
        sub: 'replayed',
        run: randomUUID(),
        jti: randomUUID(),
        iat: now,
        exp: now + 300,
      },
    );
    const response = await fetch(`${url}/token`, {
      method: 'POST',
      headers: { dpop: prove(agent, 'POST', `${url}/token`) },
      body: new URLSearchParams({
        grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
        subject_token: evidence,
        subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
        resource: audience,
        mission_intent: JSON.stringify({ intent: intentOf(mission, audience) }),
        authorization_details: JSON.stringify(proposalOf(mission, audience, catalogue)),
      }),
    });
    const body = (await response.json()) as { access_token?: string; mission_id?: string };
    if (body.access_token === undefined || body.mission_id === undefined)
      throw new Error(`${trace.id}: the broker refused the mission: ${JSON.stringify(body)}`);
    const ath = createHash('sha256').update(body.access_token).digest('base64url');
    return { token: body.access_token, mission_id: body.mission_id, ath };
  }

  async function run(
    trace: Trace,
    mission: DeclaredMission,
    catalogue: Catalogue,
    rules: BehaviourRules,
  ): Promise<RunOutcome> {
    const { guard } = await guardOf(slugOf(trace), rules);
    const held = await declare(trace, mission, catalogue);
    const calls: CallOutcome[] = [];
    for (const call of trace.calls) {
      const target = `${guard.audience}/${call.tool}`;
      const guarded = {
        authorization: `DPoP ${held.token}`,
        proof: prove(agent, 'POST', target, held.ath),
        method: 'POST',
        url: target,
        action: call.tool,
        resource: guard.audience,
        parameters: call.args as JsonObject,
        context: {},
      };
      rules_by_mission.delete(held.mission_id);
      const verdict = await guard.decide(guarded);
      const entry = catalogue.actions.get(call.tool);
      const judged = rules_by_mission.get(held.mission_id);
      if (!verdict.permitted && verdict.code !== 'behaviour_denied' && entry !== undefined)
        throw new Error(`${trace.id}: ${verdict.code}: ${verdict.private_reason ?? ''}`);
      calls.push({
        i: call.i,
        refused: !verdict.permitted,
        rule: verdict.permitted ? null : (judged?.rule ?? verdict.code),
        effect: entry === undefined || entry.labels.includes('effect'),
      });
      if (!verdict.permitted) continue;
      const reader = guard.openAnswer(guarded, verdict);
      reader?.begin('application/json', true);
      reader?.finish(Buffer.from(JSON.stringify(bodyOf(call))));
      // As an adapter does: the agent sees nothing before the broker knows of the mark.
      await reader?.held();
    }
    rules_by_mission.delete(held.mission_id);
    return { calls, memory_bytes: 0 };
  }

  return {
    path: 'broker (missions declared at /token, one real guard for each suite)',
    at_once: 6,
    run,
    async close() {
      for (const running of guards.values()) await (await running).close();
      await broker.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

interface Held {
  readonly token: string;
  readonly mission_id: string;
  readonly ath: string;
}

function prove(key: RawKey, method: string, target: string, ath?: string): string {
  return jws(
    key,
    { alg: 'ES256', typ: 'dpop+jwt', jwk: key.jwk },
    {
      jti: randomUUID(),
      htm: method,
      htu: target,
      iat: Math.floor(Date.now() / 1000),
      ...(ath !== undefined && { ath }),
    },
  );
}

async function open(
  folder: string,
  url: string,
  catalogues: ReadonlyMap<string, Catalogue>,
  workloads: RawKey,
  verifiers: ReadonlyMap<string, RawKey>,
): Promise<Broker> {
  mkdirSync(join(folder, 'templates'));
  writeFileSync(join(folder, 'kek'), generateKek());
  for (const [suite, catalogue] of catalogues)
    writeFileSync(
      join(folder, `${suite}.yaml`),
      stringify(catalogueDocument({ ...catalogue, audience: audienceOf(suite) })),
    );
  writeFileSync(
    join(folder, 'templates', 'replayed.yaml'),
    stringify({
      id: 'replayed',
      version: '1',
      ceiling: [...catalogues].map(([suite, { actions }]) => entryOf(audienceOf(suite), [...actions.keys()])),
      token_ttl: '15m',
      lifetime: '1h',
      // What is measured is each judgement: a mission that is suspended by the first would hide all later ones.
      behaviour: { responses: { stray_effect: 'observe' } },
    }),
  );
  const config = join(folder, 'broker.yaml');
  writeFileSync(
    config,
    stringify({
      issuer: url,
      development: true,
      listen: { host: '127.0.0.1', port: Number(new URL(url).port) },
      store: { sqlite: { path: 'sortie.db' } },
      keys: { key_encryption_key: { from_file: 'kek' } },
      dpop: { require_nonce: false },
      attesters: [
        {
          name: 'workloads',
          kind: 'oidc',
          issuer: WORKLOADS,
          jwks: { keys: [{ ...workloads.jwk, alg: 'ES256', kid: 'w1' }] },
          rules: [
            {
              name: 'any',
              match: { sub: '*' },
              agent: 'agents/{sub}',
              instance: '{run}',
              tier: 'reusable',
            },
          ],
        },
      ],
      audiences: [...catalogues.keys()].map((suite) => ({
        resource: audienceOf(suite),
        name: suite,
        catalogue: `${suite}.yaml`,
      })),
      verifiers: [...verifiers].map(([suite, { jwk }]) => ({
        id: suite,
        audience: audienceOf(suite),
        auth: { private_key_jwt: [jwk] },
      })),
      templates: { folder: 'templates' },
      dispatch: [{ agent: 'agents/*', template: 'replayed' }],
      admin: { bootstrap_token_file: 'bootstrap' },
      log: { level: 'silent' },
    }),
  );
  const broker = await createBroker({ config, env: {} });
  await broker.listen();
  return broker;
}

function entryOf(resource: string, actions: readonly string[], parameters?: JsonObject): JsonObject {
  return {
    type: 'mission_resource_access',
    resource,
    actions: [...actions],
    ...(parameters !== undefined && { constraints: { parameters } }),
  };
}

/** Texts and numbers of what the plan fixed: lists and objects by their items. */
function scalarsOf(value: JsonValue): (string | number)[] {
  if (typeof value === 'string') return value.isWellFormed() ? [value] : [];
  if (typeof value === 'number') return [value];
  if (value === null || typeof value === 'boolean') return [];
  return (Array.isArray(value) ? value : Object.values(value)).flatMap((item: JsonValue) => scalarsOf(item));
}

/** Everything that the suite has, and for each planned step what it fixes and where its values are to come from. */
function proposalOf(mission: DeclaredMission, audience: string, catalogue: Catalogue): JsonObject[] {
  const steps = mission.actions.flatMap(({ action, parameters }) => {
    const rules: Record<string, JsonValue> = {};
    for (const [name, { literals, sources }] of Object.entries(parameters)) {
      const values = [...new Set(literals.flatMap(scalarsOf))];
      const from = sources.map((source) => ({ action: source.action, field: source.field ?? '*' }));
      if (name === '' || name.length > 128 || values.length + from.length === 0) continue;
      rules[name] = {
        ...(values.length > 0 && { one_of: values }),
        ...(from.length > 0 && { origin: { from } }),
      };
    }
    return Object.keys(rules).length === 0 ? [] : [entryOf(audience, [action], rules)];
  });
  return [entryOf(audience, [...catalogue.actions.keys()]), ...steps];
}

function piecesOf(text: string, length: number): string[] {
  const out: string[] = [];
  for (let at = 0; at < text.length; at += length) out.push(text.slice(at, at + length));
  return out;
}

function intentOf(mission: DeclaredMission, audience: string): JsonObject {
  const text = mission.texts.join('\n');
  const rest = piecesOf(text.slice(GOAL_CHARS), NOTE_CHARS);
  const order = stepsInOrder(mission.actions);
  return {
    goal: text.slice(0, GOAL_CHARS),
    resources: [audience],
    expires_at: new Date(Date.now() + 3_000_000).toISOString(),
    ...(rest.length > 0 && { constraints: rest }),
    needs: [{ resource: audience, actions: order.length === 0 ? [NOTHING] : order.slice(0, 64), why: '-' }],
  };
}

/**
 * The plan's steps in an order from which the guard draws the same implied sources: a step comes after the reads that
 * it may have meant, and comes again where the plan repeats it after later ones.
 */
function stepsInOrder(actions: readonly DeclaredAction[]): string[] {
  const names = actions.map(({ action }) => action);
  const out: string[] = [];
  const reads = names.filter((name) =>
    actions.some(({ sources }) =>
      sources.some((source) => source.implied === true && source.action === name),
    ),
  );
  const last = (sources: DeclaredAction['sources']): number =>
    Math.max(-1, ...sources.filter((one) => one.implied === true).map((one) => reads.indexOf(one.action)));
  for (let turn = -1; turn < reads.length; turn++) {
    const read = reads[turn];
    if (read !== undefined) out.push(read);
    for (const { action, sources } of actions)
      if (last(sources) === turn && (!reads.includes(action) || turn >= reads.indexOf(action)))
        if (out.at(-1) !== action) out.push(action);
  }
  return out;
}
