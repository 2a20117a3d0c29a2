/**
 * Sub-agents (wire profile 2): the holder of a mission reserves a child mission for another agent and gets a grant
 * that works once, within a minute, for that agent alone. The child attests itself and proves its own key; its
 * evidence and its credentials never pass through the parent.
 */
import {
  type AuthoritySet,
  delegable,
  effective,
  forAudience,
  intersect,
  isResourceAccess,
} from '../domain/authority/index.ts';
import { Denied, malformed } from '../domain/denial.ts';
import { type ParsedIntent, parseIntent } from '../domain/intent.ts';
import type { JsonObject, JsonValue } from '../domain/json.ts';
import { MAX_PATH, type Mission, missionError, stateAt } from '../domain/mission.ts';
import {
  type Ports,
  type TokenClaims,
  type ValidatedEvidence,
  type VerifiedProof,
  type Write,
  WriteConflict,
} from '../ports.ts';
import { commit, ONCE_GRANT } from './conflicts.ts';
import { selectorsOf, spend } from './create-mission.ts';
import type { DelegationAsk } from './exchange-request.ts';
import { TOKEN_TYP } from './mint.ts';
import { recordingRefusals } from './refusals.ts';

export const DELEGATION_TYP = 'sortie-delegation+jwt';
/** Long enough for a child that starts now; short enough that a lost grant is worth nothing. */
const GRANT_SECONDS = 60;

export interface DelegationAnswer {
  readonly grant: string;
  readonly mission_id: string;
  readonly expires_in: number;
}

/** What the grant says; signed by the broker, readable by the child. */
interface GrantClaims {
  readonly jti: string;
  readonly exp: number;
  /** The only agent that may redeem it. */
  readonly sub: string;
  readonly delegation: {
    readonly mission_id: string;
    readonly parent: string;
    readonly intent: JsonValue;
    readonly proposal: AuthoritySet | null;
    readonly template_id: string | null;
  };
}

/** A parent as a child mission needs it. */
export interface Parent {
  readonly mission: Mission;
  /** The child's id, named by the grant. */
  readonly child_id: string;
  /** What may be passed on to this child, effective now. */
  readonly authority: AuthoritySet;
  /** Spends the grant and holds the whole line above as it was judged; committed ahead of the child mission. */
  readonly writes: readonly Write[];
}

/** @throws Denied */
export async function reserveChild(
  ports: Ports,
  ask: DelegationAsk,
  proposal: AuthoritySet | null,
  template_id: string | null,
  proof: VerifiedProof,
): Promise<DelegationAnswer> {
  const now = ports.clock.now();
  const claims = await ports.tokens.verify(ask.token, TOKEN_TYP, now);
  if (claims === null)
    throw new Denied({ tag: 'unknown_mission' }, 'subject token is not one of this broker');
  const presented = {
    actor: claims.client_id,
    now,
    mission_id: claims.mission.id,
    details: { jti: claims.jti, proof_jkt: proof.jkt, asked: { child: ask.child } },
  };
  return recordingRefusals(ports, presented, () =>
    reserve(ports, ask, proposal, template_id, claims, proof, now),
  );
}

async function reserve(
  ports: Ports,
  ask: DelegationAsk,
  proposal: AuthoritySet | null,
  template_id: string | null,
  claims: TokenClaims,
  proof: VerifiedProof,
  now: number,
): Promise<DelegationAnswer> {
  // A resource server that was called with the parent's token does not hold its key: it can do none of this.
  if (claims.cnf?.jkt !== proof.jkt)
    throw new Denied({ tag: 'unknown_mission' }, 'subject token is not bound to the key of the proof');
  const [recorded, mission] = await Promise.all([
    ports.store.credential(claims.jti),
    ports.store.mission(claims.mission.id),
  ]);
  if (recorded === null || recorded.revoked_at !== null || mission === null || mission.jkt !== proof.jkt)
    throw new Denied({ tag: 'unknown_mission' }, 'subject token was revoked');
  const authority = passedOn(mission, ask.child, now);
  // Early, so that the parent learns it and not the child: nothing of what is asked could be passed on.
  if (proposal !== null && intersect(proposal, authority).granted.length === 0)
    throw new Denied({
      tag: 'invalid_authorization_details',
      reason: 'not_strict_subset',
      detail: 'nothing of authorization_details may be passed on to this agent',
    });
  if (
    authority.every(isResourceAccess) &&
    ask.declared.intent.resources.every((resource) => forAudience(authority, resource).length === 0)
  )
    throw new Denied({
      tag: 'access_denied',
      reason: 'delegation_not_permitted',
      detail: 'nothing at these resources may be passed on to this agent',
    });
  const mission_id = ports.chance.id('msn');
  const jti = ports.chance.id('cred');
  await commit(ports, [
    spend(proof),
    { kind: 'require_unblocked', selectors: selectorsOf(mission), at: now },
    ...(await standing(ports, mission, now)),
    {
      kind: 'append_audit',
      record: {
        ts: now,
        event: 'delegation.reserved',
        actor: mission.agent,
        mission_id: mission.id,
        details: { child_mission: mission_id, child: ask.child, grant: jti },
      },
    },
  ]);
  const { issuer } = ports.policy();
  const iat = Math.floor(now);
  const grant = await ports.tokens.sign(DELEGATION_TYP, 'ES256', {
    iss: issuer,
    aud: issuer,
    sub: ask.child,
    jti,
    iat,
    exp: iat + GRANT_SECONDS,
    delegation: {
      mission_id,
      parent: mission.id,
      intent: ask.declared.intent as unknown as JsonObject,
      proposal: proposal as unknown as JsonValue,
      template_id,
    },
  });
  return { grant, mission_id, expires_in: GRANT_SECONDS };
}

/** What a grant lets its redeemer declare. */
export interface RedeemedGrant {
  readonly parent: Parent;
  readonly declared: ParsedIntent;
  readonly proposal: AuthoritySet | null;
  readonly template_id: string | null;
}

/**
 * Judges a grant for the child that presents it. Whatever is wrong with it has one answer, so that it cannot be
 * used to find out about the parent.
 * @throws Denied `unknown_mission`, `dead_mission`, `access_denied`
 */
async function redeemGrant(
  ports: Ports,
  grant: string,
  evidence: ValidatedEvidence,
  proof: VerifiedProof,
  now: number,
): Promise<RedeemedGrant> {
  const refused = (why: string) => new Denied({ tag: 'unknown_mission' }, why);
  const claims = (await ports.tokens.verify(grant, DELEGATION_TYP, now)) as unknown as GrantClaims | null;
  if (claims === null) throw refused('not a delegation grant of this broker, or over');
  if (claims.sub !== evidence.agent) throw refused('the grant is for another agent');
  const { delegation } = claims;
  const mission = await ports.store.mission(delegation.parent);
  if (mission === null) throw refused('the parent is gone');
  if (mission.jkt === proof.jkt) throw malformed('a child mission needs a key of its own');
  const state = stateAt(mission, now);
  if (state !== 'active') throw new Denied({ tag: 'dead_mission', error: missionError(state) });
  return {
    parent: {
      mission,
      child_id: delegation.mission_id,
      authority: passedOn(mission, claims.sub, now),
      writes: [
        { kind: 'use_once', space: ONCE_GRANT, id: claims.jti, expires_at: claims.exp },
        { kind: 'require_unblocked', selectors: selectorsOf(mission), at: now },
        ...(await standing(ports, mission, now)),
      ],
    },
    declared: parseIntent(delegation.intent),
    proposal: delegation.proposal,
    template_id: delegation.template_id,
  };
}

/** A containment or a transition of the parent may come between look and birth. */
const PARENT_RETRIES = 3;

/**
 * Begins a child mission with what its grant lets it have now; again, where something happened to the parent
 * meanwhile: what it has then is what can be passed on.
 * @throws Denied
 */
export async function currentParent<T>(
  ports: Ports,
  grant: string,
  evidence: ValidatedEvidence,
  proof: VerifiedProof,
  now: number,
  begin: (redeemed: RedeemedGrant) => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await begin(await redeemGrant(ports, grant, evidence, proof, now));
    } catch (cause) {
      const outdated = cause instanceof WriteConflict && cause.conflict === 'mission_not_active';
      if (!outdated || attempt >= PARENT_RETRIES) throw cause;
    }
  }
}

/**
 * The whole line stands, none of it has more below it than its template allows, and the parent is as it was judged:
 * whatever is taken from it meanwhile must not reach the child.
 */
async function standing(ports: Ports, parent: Mission, now: number): Promise<readonly Write[]> {
  const writes: Write[] = [];
  for (const id of parent.path) {
    const own = id === parent.id;
    writes.push({ kind: 'require_active', id, at: now, ...(own && { version: parent.version }) });
    const mission = own ? parent : await ports.store.mission(id);
    const template = mission && (await ports.store.template(mission.template.id, mission.template.hash));
    if (!template) throw new Denied({ tag: 'unknown_mission' }, `a mission above ${parent.id} is gone`);
    const { max_children, max_descendants } = template.document.limits;
    const fan_out = {
      ...(own && max_children !== undefined && { max_children }),
      ...(max_descendants !== undefined && { max_descendants }),
    };
    if (Object.keys(fan_out).length > 0) writes.push({ kind: 'require_fan_out', id, at: now, ...fan_out });
  }
  return writes;
}

/** @throws Denied where the mission is too deep, or passes nothing on to this agent */
function passedOn(mission: Mission, child: string, now: number): AuthoritySet {
  const state = stateAt(mission, now);
  if (state !== 'active') throw new Denied({ tag: 'dead_mission', error: missionError(state) });
  const depth = mission.path.length;
  const authority = delegable(
    effective(mission.authority, mission.containments),
    { sub: child, sub_profile: 'ai_agent' },
    depth,
  );
  if (depth >= MAX_PATH || authority.length === 0)
    throw new Denied({
      tag: 'access_denied',
      reason: 'delegation_not_permitted',
      detail:
        depth >= MAX_PATH
          ? `missions are at most ${MAX_PATH} deep`
          : 'nothing may be passed on to this agent',
    });
  return authority;
}
