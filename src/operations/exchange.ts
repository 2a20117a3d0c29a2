/**
 * `POST /token`: evidence or a token in, a mission-bound token out. One file, three asks: create, renew,
 * exchange for another audience (wire profile 2).
 */
import { type AuthoritySet, effective } from '../domain/authority/index.ts';
import { Denied, malformed } from '../domain/denial.ts';
import { deriveToken, type ReportedNarrowing } from '../domain/grant.ts';
import type { ParsedIntent } from '../domain/intent.ts';
import type { Mission } from '../domain/mission.ts';
import type { AudiencePolicy, TemplateDocument } from '../domain/policy.ts';
import {
  type Evidence,
  type Ports,
  type TokenClaims,
  type ValidatedEvidence,
  type VerifiedProof,
  type Write,
  WriteConflict,
} from '../ports.ts';
import { commit } from './conflicts.ts';
import {
  type Declaration,
  findCreation,
  fingerprintOf,
  mayHaveLostRace,
  narrowedAtCreation,
  possession,
  selectorsOf,
  spend,
  storeMission,
} from './create-mission.ts';
import { currentParent } from './delegate.ts';
import type { ExchangeRequest } from './exchange-request.ts';
import { ownMission } from './holder.ts';
import { awake } from './lifecycle.ts';
import { type MintedToken, planToken, signToken, TOKEN_TYP } from './mint.ts';
import { storedPurse } from './purse.ts';
import { attested, recordingRefusals } from './refusals.ts';

/** Renewals race with containments; each retry sees the newer version. */
const VERSION_RETRIES = 3;

export interface ExchangeAnswer {
  readonly token: MintedToken;
  readonly mission: Mission;
  readonly narrowed: readonly ReportedNarrowing[];
}

/**
 * @param proof the DPoP header; required for every ask
 * @throws Denied
 */
export async function exchange(
  ports: Ports,
  request: ExchangeRequest,
  proof: { readonly header: string | undefined; readonly url: string },
): Promise<ExchangeAnswer> {
  const now = ports.clock.now();
  const audience = registeredAudience(ports, request.resource);
  const verified = await ports.proofs.verify(proof.header, { method: 'POST', url: proof.url, now });
  switch (request.ask.kind) {
    case 'create': {
      const { declared } = request.ask;
      const evidence = await appraise(ports, request.ask.evidence, verified, request.client_id, now);
      return recordingRefusals(
        ports,
        attested(ports, evidence, now, { resource: request.resource, declared }),
        () => create(ports, request, declared, evidence, verified, audience, now),
      );
    }
    case 'renew': {
      const { mission_id } = request.ask;
      const evidence = await appraise(ports, request.ask.evidence, verified, request.client_id, now);
      return recordingRefusals(
        ports,
        attested(ports, evidence, now, { resource: request.resource, mission_id }),
        () => renew(ports, request, mission_id, evidence, verified, audience, now),
      );
    }
    case 'activate': {
      const { grant } = request.ask;
      const evidence = await appraise(ports, request.ask.evidence, verified, request.client_id, now);
      return recordingRefusals(ports, attested(ports, evidence, now, { resource: request.resource }), () =>
        activate(ports, request, grant, evidence, verified, audience, now),
      );
    }
    case 'delegate':
      throw malformed('a delegation is no exchange');
    case 'exchange':
      return exchangeToken(ports, request, request.ask.token, verified, audience, now);
  }
}

async function appraise(
  ports: Ports,
  presented: Evidence,
  proof: VerifiedProof,
  client_id: string | null,
  now: number,
): Promise<ValidatedEvidence> {
  const evidence = await ports.attestation.appraise(presented, { jkt: proof.jkt, now });
  // OAuth libraries send a client_id; it must not claim to be somebody else.
  if (client_id !== null && client_id !== evidence.agent)
    throw malformed('client_id is not the agent that the evidence attests; it may be left out');
  return evidence;
}

async function create(
  ports: Ports,
  request: ExchangeRequest,
  declared: ParsedIntent,
  evidence: ValidatedEvidence,
  proof: VerifiedProof,
  audience: AudiencePolicy,
  now: number,
): Promise<ExchangeAnswer> {
  const fingerprint = fingerprintOf(declared, request.proposal, request.resource, request.template_id);
  const repeated = await findCreation(ports, evidence, proof, request.creation_request_id, fingerprint);
  if (repeated) return renew(ports, request, repeated.id, evidence, proof, audience, now);

  const declaration: Declaration = {
    evidence,
    proof,
    declared,
    proposal: request.proposal,
    template_id: request.template_id,
    creation_request_id: request.creation_request_id,
    fingerprint: request.creation_request_id === null ? null : fingerprint,
    refuse_narrowing: request.refuse_narrowing,
    now,
  };
  try {
    return await firstToken(ports, request, declaration, audience);
  } catch (cause) {
    // Two requests with one creation_request_id raced: the loser joins the winner's mission.
    const winner = mayHaveLostRace(cause)
      ? await findCreation(ports, evidence, proof, request.creation_request_id, fingerprint)
      : null;
    if (winner) return renew(ports, request, winner.id, evidence, proof, audience, now);
    throw cause;
  }
}

/** The child's first token: its own evidence and key, under the mission that its grant names. */
async function activate(
  ports: Ports,
  request: ExchangeRequest,
  grant: string,
  evidence: ValidatedEvidence,
  proof: VerifiedProof,
  audience: AudiencePolicy,
  now: number,
): Promise<ExchangeAnswer> {
  return currentParent(ports, grant, evidence, proof, now, (redeemed) =>
    firstToken(
      ports,
      request,
      {
        ...redeemed,
        evidence,
        proof,
        creation_request_id: null,
        fingerprint: null,
        refuse_narrowing: request.refuse_narrowing,
        now,
      },
      audience,
    ),
  );
}

async function firstToken(
  ports: Ports,
  request: ExchangeRequest,
  declaration: Declaration,
  audience: AudiencePolicy,
): Promise<ExchangeAnswer> {
  const { evidence, declared, now } = declaration;
  if (!declared.intent.resources.includes(request.resource))
    throw malformed('resource is not among intent.resources');
  const stored = await storeMission(ports, declaration, ({ mission, template, purse }) => {
    const { authority } = deriveToken({
      effective: mission.authority,
      created: mission.authority,
      resource: request.resource,
      wanted: null,
    });
    const cap_at = evidence.caps_token ? evidence.expires_at : null;
    return [planToken(ports, { mission, template, audience, authority, cap_at, purse, now })];
  });
  const [planned] = stored.planned;
  if (!planned) throw new Error('a mission without its first token');
  return { token: await signToken(ports, planned), mission: stored.mission, narrowed: stored.narrowed };
}

async function renew(
  ports: Ports,
  request: ExchangeRequest,
  mission_id: string,
  evidence: ValidatedEvidence,
  proof: VerifiedProof,
  audience: AudiencePolicy,
  now: number,
): Promise<ExchangeAnswer> {
  const { ask } = request;
  return retrying(ports, request, audience, now, {
    wanted: ask.kind === 'create' ? null : request.proposal,
    ...(ask.kind === 'create' && {
      reported: (mission: Mission, template: TemplateDocument) =>
        narrowedAtCreation(ports, mission, template, ask.declared),
    }),
    cap_at: evidence.caps_token ? evidence.expires_at : null,
    attested: true,
    writes: possession(evidence, proof),
    mission: () => ownMission(ports, mission_id, evidence, proof, 'renewal'),
  });
}

async function exchangeToken(
  ports: Ports,
  request: ExchangeRequest,
  token: string,
  proof: VerifiedProof,
  audience: AudiencePolicy,
  now: number,
): Promise<ExchangeAnswer> {
  const claims = await ports.tokens.verify(token, TOKEN_TYP, now);
  if (claims === null)
    throw new Denied({ tag: 'unknown_mission' }, 'subject token is not one of this broker');
  // From here on it is a token of ours: whoever is refused with it is on record.
  const presented = {
    actor: claims.client_id,
    now,
    mission_id: claims.mission.id,
    details: { jti: claims.jti, proof_jkt: proof.jkt, asked: { resource: request.resource } },
  };
  return recordingRefusals(ports, presented, async () => {
    // A resource server that received a token does not hold its key; a bearer token has none.
    if (claims.cnf?.jkt !== proof.jkt)
      throw new Denied({ tag: 'unknown_mission' }, 'subject token is not bound to the key of the proof');
    const recorded = await ports.store.credential(claims.jti);
    if (recorded === null || recorded.revoked_at !== null)
      throw new Denied({ tag: 'unknown_mission' }, 'subject token was revoked');
    return exchanged(ports, request, claims, proof, audience, now);
  });
}

function exchanged(
  ports: Ports,
  request: ExchangeRequest,
  claims: TokenClaims,
  proof: VerifiedProof,
  audience: AudiencePolicy,
  now: number,
): Promise<ExchangeAnswer> {
  return retrying(ports, request, audience, now, {
    wanted: request.proposal,
    // Exchanging never extends a life: only re-attestation does.
    cap_at: claims.exp,
    attested: false,
    writes: [spend(proof)],
    mission: async () => {
      const mission = await ports.store.mission(claims.mission.id);
      if (mission === null || mission.jkt !== proof.jkt) throw new Denied({ tag: 'unknown_mission' });
      return mission;
    },
  });
}

/** Mints from a stored mission; reads it again when a containment or transition came between. */
async function retrying(
  ports: Ports,
  request: ExchangeRequest,
  audience: AudiencePolicy,
  now: number,
  plan: {
    readonly wanted: AuthoritySet | null;
    readonly cap_at: number | null;
    readonly attested: boolean;
    readonly writes: readonly Write[];
    readonly mission: () => Promise<Mission>;
    /** What to report instead of this token's own cuts. */
    readonly reported?: (mission: Mission, template: TemplateDocument) => readonly ReportedNarrowing[];
  },
): Promise<ExchangeAnswer> {
  for (let attempt = 1; ; attempt++) {
    const { mission, writes: waking } = awake(ports, await plan.mission(), plan.attested, now);
    const template = await ports.store.template(mission.template.id, mission.template.hash);
    if (template === null) throw new Error(`template of ${mission.id} is gone`);
    const cut = deriveToken({
      effective: effective(mission.authority, mission.containments),
      created: mission.authority,
      resource: request.resource,
      wanted: plan.wanted,
    });
    if (request.refuse_narrowing && cut.narrowed.length > 0)
      throw new Denied({
        tag: 'invalid_authorization_details',
        reason: 'not_strict_subset',
        detail: 'narrowing is refused, and the mission has less than what was asked for',
      });
    const planned = planToken(ports, {
      mission,
      template: template.document,
      audience,
      authority: cut.authority,
      cap_at: plan.cap_at,
      purse: await storedPurse(ports, mission, template.document),
      now,
    });
    try {
      await commit(ports, [
        ...plan.writes,
        { kind: 'require_unblocked', selectors: selectorsOf(mission), at: now },
        ...mission.path
          .filter((ancestor) => ancestor !== mission.id)
          .map((id): Write => ({ kind: 'require_active', id, at: now })),
        ...waking,
        { kind: 'derive', id: mission.id, at: now, version: mission.version, attested: plan.attested },
        planned.write,
        ...planned.reserves,
        minted(mission, planned.claims, audience, now),
      ]);
    } catch (cause) {
      if (!(cause instanceof WriteConflict) || attempt >= VERSION_RETRIES) throw cause;
      continue;
    }
    const narrowed = plan.reported?.(mission, template.document) ?? cut.narrowed;
    return { token: await signToken(ports, planned), mission, narrowed };
  }
}

/** @throws Denied `invalid_target` */
export function registeredAudience(ports: Ports, resource: string): AudiencePolicy {
  const audience = ports.policy().audience(resource);
  if (audience === null) throw new Denied({ tag: 'invalid_target' }, 'resource is not registered');
  return audience;
}

function minted(
  mission: Mission,
  { jti, limits }: TokenClaims,
  audience: AudiencePolicy,
  now: number,
): Write {
  return {
    kind: 'append_audit',
    record: {
      ts: now,
      event: 'token.minted',
      actor: mission.agent,
      mission_id: mission.id,
      details: {
        jti,
        audience: audience.resource,
        mission_version: mission.version,
        ...(limits && { limits }),
      },
    },
  };
}
