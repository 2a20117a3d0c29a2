/** Row numbers of shared strings and grounds, found or made; a bounded memory keeps the usual ones. */
import type { Mission } from '../../domain/mission.ts';
import { TIERS } from '../../domain/mission.ts';
import { keyOf } from '../packing.ts';
import type { Connection, Mirror } from './context.ts';

/** Past this a memory is emptied; its entries are read again as they are needed. */
const REMEMBERED = 4096;

export interface Interned extends Mirror {
  /** Row number of an audience, role, path or type. */
  name(text: string): number;
  /** Row number of a name that is already there; null if it never was. */
  known(text: string): number | null;
  nameOf(n: number): string;
  ground(mission: Mission): number;
}

/** Every agent that a token of the mission names: an agent's revocation reaches them all. */
function agentsOf(mission: Mission): Set<string> {
  const agents = new Set([mission.sub, mission.agent]);
  for (let act = mission.act; act !== null && act !== undefined; act = act.act ?? null) agents.add(act.sub);
  return agents;
}

export function interned(db: Connection): Interned {
  const names = new Map<string, number>();
  const texts = new Map<number, string>();
  const grounds = new Map<string, number>();
  const findName = db.prepare<[string], { n: number }>('select n from names where name = ?');
  const addName = db.prepare<[string]>('insert into names (name) values (?)');
  const readName = db.prepare<[number], { name: string }>('select name from names where n = ?');
  const findGround = db.prepare<[Buffer], { n: number }>('select n from grounds where digest = ?');
  const addGround = db.prepare(
    `insert into grounds (digest, sub, agent, act, attester, rule, tier, template_id, template_version,
      template_hash, policy_version, declared_by, attest_every_seconds, token_ttl_seconds)
     values (@digest, @sub, @agent, @act, @attester, @rule, @tier, @template_id, @template_version,
      @template_hash, @policy_version, @declared_by, @attest_every_seconds, @token_ttl_seconds)`,
  );
  const addAgent = db.prepare<[string, number]>('insert into ground_agents (agent, ground_n) values (?, ?)');
  /** Whether rows were made since the mark: only then does a rollback make the memory wrong. */
  let made = false;

  function remember<K, V>(memory: Map<K, V>, key: K, value: V): V {
    if (memory.size >= REMEMBERED) memory.clear();
    memory.set(key, value);
    return value;
  }

  function reload(): void {
    names.clear();
    texts.clear();
    grounds.clear();
    made = false;
  }

  function known(text: string): number | null {
    const n = names.get(text) ?? findName.get(text)?.n;
    return n === undefined ? null : remember(names, text, n);
  }

  function name(text: string): number {
    const n = known(text);
    if (n !== null) return n;
    made = true;
    return remember(names, text, Number(addName.run(text).lastInsertRowid));
  }

  function nameOf(n: number): string {
    const text = texts.get(n) ?? readName.get(n)?.name;
    if (text === undefined) throw new Error(`name ${n} is gone`);
    return remember(texts, n, text);
  }

  function ground(mission: Mission): number {
    const act = mission.act === null ? null : JSON.stringify(mission.act);
    const parts = [
      mission.sub,
      mission.agent,
      act ?? '',
      mission.attester,
      mission.rule,
      mission.tier,
      mission.template.id,
      mission.template.version,
      mission.template.hash,
      mission.policy_version,
      mission.declared_by,
      String(mission.attest_every_seconds),
      String(mission.token_ttl_seconds),
    ];
    const key = JSON.stringify(parts);
    const remembered = grounds.get(key);
    if (remembered !== undefined) return remembered;
    const digest = keyOf(...parts);
    const found = findGround.get(digest);
    if (found !== undefined) return remember(grounds, key, found.n);
    made = true;
    const n = Number(
      addGround.run({
        digest,
        sub: mission.sub,
        agent: mission.agent,
        act,
        attester: mission.attester,
        rule: mission.rule,
        tier: TIERS.indexOf(mission.tier),
        template_id: mission.template.id,
        template_version: mission.template.version,
        template_hash: mission.template.hash,
        policy_version: mission.policy_version,
        declared_by: mission.declared_by,
        attest_every_seconds: mission.attest_every_seconds,
        token_ttl_seconds: mission.token_ttl_seconds,
      }).lastInsertRowid,
    );
    for (const agent of agentsOf(mission)) addAgent.run(agent, n);
    return remember(grounds, key, n);
  }

  return {
    name,
    known,
    nameOf,
    ground,
    mark: () => {
      made = false;
    },
    undo: () => {
      if (made) reload();
    },
    reload,
  };
}
