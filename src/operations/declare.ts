/** `POST /missions`: declare once, get every credential, all or none (wire profile 2). */
import { type AuthoritySet, effective, forAudience } from '../domain/authority/index.ts';
import { Denied } from '../domain/denial.ts';
import { deriveToken, type ReportedNarrowing } from '../domain/grant.ts';
import type { ParsedIntent } from '../domain/intent.ts';
import type { Purse } from '../domain/limits.ts';
import type { Mission } from '../domain/mission.ts';
import type { TemplateDocument } from '../domain/policy.ts';
import {
  type Evidence,
  type Ports,
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
  type StoredMission,
  selectorsOf,
  storeMission,
} from './create-mission.ts';
import { currentParent } from './delegate.ts';
import {
  carriedEntries,
  issueLeases,
  type LiveLease,
  type PlannedLease,
  planLeases,
  takeOver,
} from './leases.ts';
import { awake, intervene } from './lifecycle.ts';
import { type DeliveredValue, type Manifest, manifestOf } from './manifest.ts';
import { type PlannedToken, planToken, signToken } from './mint.ts';
import { scarcest, storedPurse } from './purse.ts';
import { type AttestedAgent, asAttested } from './refusals.ts';

/** Renewals race with containments; each retry sees the newer version. */
const VERSION_RETRIES = 3;

export interface DeclareRequest {
  readonly evidence: Evidence;
  readonly declared: ParsedIntent;
  readonly proposal: AuthoritySet | null;
  readonly template_id: string | null;
  readonly creation_request_id: string | null;
}

/** A child's side: what it may declare is in the grant that its parent reserved. */
export interface DelegatedRequest {
  readonly evidence: Evidence;
  readonly delegation: string;
}

export interface DeclareAnswer {
  readonly manifest: Manifest;
  readonly narrowed: readonly ReportedNarrowing[];
}

/** @throws Denied */
export async function declare(
  ports: Ports,
  request: DeclareRequest,
  proof: { readonly header: string | undefined; readonly url: string },
): Promise<DeclareAnswer> {
  return asAttested(ports, request.evidence, proof, { declared: request.declared }, (agent) =>
    grantAll(ports, request, agent),
  );
}

async function grantAll(
  ports: Ports,
  request: DeclareRequest,
  { evidence, proof, now }: AttestedAgent,
): Promise<DeclareAnswer> {
  const fingerprint = fingerprintOf(request.declared, request.proposal, null, request.template_id);
  const repeated = await findCreation(ports, evidence, proof, request.creation_request_id, fingerprint);
  if (repeated) return mintAgain(ports, repeated, request.declared, evidence, proof, now);

  const declaration = {
    evidence,
    proof,
    declared: request.declared,
    proposal: request.proposal,
    template_id: request.template_id,
    creation_request_id: request.creation_request_id,
    fingerprint: request.creation_request_id === null ? null : fingerprint,
    refuse_narrowing: false,
    now,
  };
  let stored: Awaited<ReturnType<typeof storeAll>>;
  try {
    stored = await storeAll(ports, declaration);
  } catch (cause) {
    const winner = mayHaveLostRace(cause)
      ? await findCreation(ports, evidence, proof, request.creation_request_id, fingerprint)
      : null;
    if (winner) return mintAgain(ports, winner, request.declared, evidence, proof, now);
    throw cause;
  }
  const { mission, planned, narrowed, leases } = stored;
  const live = await issueOrEnd(ports, mission, leases);
  return { manifest: await deliver(ports, mission, planned, live, now), narrowed };
}

/** The child mission that a delegation grant names, with every credential that its parent may pass on to it. */
export async function declareChild(
  ports: Ports,
  request: DelegatedRequest,
  proof: { readonly header: string | undefined; readonly url: string },
): Promise<DeclareAnswer> {
  return asAttested(ports, request.evidence, proof, {}, ({ evidence, proof: verified, now }) =>
    currentParent(ports, request.delegation, evidence, verified, now, async (redeemed) => {
      const declaration = {
        ...redeemed,
        evidence,
        proof: verified,
        creation_request_id: null,
        fingerprint: null,
        refuse_narrowing: false,
        now,
      };
      const { mission, planned, narrowed, leases } = await storeAll(ports, declaration);
      const live = await issueOrEnd(ports, mission, leases);
      return { manifest: await deliver(ports, mission, planned, live, now), narrowed };
    }),
  );
}

/** The mission with every token and every lease of it, in one commit. */
async function storeAll(
  ports: Ports,
  declaration: Declaration,
): Promise<StoredMission & { readonly leases: readonly PlannedLease[] }> {
  const { evidence, now } = declaration;
  let leases: readonly PlannedLease[] = [];
  const stored = await storeMission(
    ports,
    declaration,
    ({ mission, template, purse }) => planAll(ports, mission, template, purse, evidence, now),
    ({ mission }) => {
      leases = planLeases(ports, mission, carriedEntries(mission), now);
      return leases.map((lease) => lease.write);
    },
  );
  return { ...stored, leases };
}

/** All or nothing: a mission of which one credential could not be made ends, and with it whatever was made. */
function issueOrEnd(
  ports: Ports,
  mission: Mission,
  leases: readonly PlannedLease[],
): Promise<readonly LiveLease[]> {
  return issueLeases(ports, mission, leases, {
    async abandon() {
      const by = { actor: 'broker', reason: 'not every credential of its bundle could be made' };
      await intervene(ports, mission.id, 'revoke', by, 'completed').catch((cause: unknown) => {
        // Somebody else ended it first.
        if (!(cause instanceof Denied)) throw cause;
      });
    },
  });
}

/** A repeated `POST /missions`: the same mission, every token anew, provider credentials replaced. */
async function mintAgain(
  ports: Ports,
  repeated: Mission,
  declared: ParsedIntent,
  evidence: ValidatedEvidence,
  proof: VerifiedProof,
  now: number,
): Promise<DeclareAnswer> {
  let mission = repeated;
  for (let attempt = 1; ; attempt++) {
    const woken = awake(ports, mission, true, now);
    mission = woken.mission;
    const template = await ports.store.template(mission.template.id, mission.template.hash);
    if (template === null) throw new Error(`template of ${mission.id} is gone`);
    const purse = await storedPurse(ports, mission, template.document);
    const planned = planAll(ports, mission, template.document, purse, evidence, now);
    const entries = carriedEntries(mission);
    const leases = planLeases(ports, mission, entries, now);
    const before = takeOver(mission, await ports.store.leases(mission.id), entries, now);
    const counted = Math.max(1, planned.length);
    const { id, version } = mission;
    try {
      await commit(ports, [
        ...possession(evidence, proof),
        { kind: 'require_unblocked', selectors: selectorsOf(mission), at: now },
        ...woken.writes,
        // Each token counts; without any, it is still a renewal.
        ...Array.from(
          { length: counted },
          (): Write => ({
            kind: 'derive',
            id,
            at: now,
            version,
            attested: true,
          }),
        ),
        ...planned.flatMap((token) => [token.write, ...token.reserves]),
        ...before.writes,
        ...leases.map((lease) => lease.write),
        minted(mission, planned, now),
      ]);
    } catch (cause) {
      if (!(cause instanceof WriteConflict) || attempt >= VERSION_RETRIES) throw cause;
      // A containment or transition came between: judge the newer mission.
      mission = (await ports.store.mission(id)) ?? mission;
      continue;
    }
    const current = { ...mission, derivations: mission.derivations + counted, last_attested_at: now };
    const narrowed = narrowedAtCreation(ports, mission, template.document, declared);
    // A repetition that fails leaves the agent what it had.
    const live = await issueLeases(ports, mission, leases, { replaced: before.replaced });
    return { manifest: await deliver(ports, current, planned, live, now), narrowed };
  }
}

/** One token for each audience at which the mission has authority and whose tokens may leave the broker. */
function planAll(
  ports: Ports,
  mission: Mission,
  template: TemplateDocument,
  purse: Purse | null,
  evidence: ValidatedEvidence,
  now: number,
): PlannedToken[] {
  const available = effective(mission.authority, mission.containments);
  return ports
    .policy()
    .audiences.filter(
      (audience) =>
        (!audience.reserved || template.deliver_audiences.includes(audience.resource)) &&
        forAudience(available, audience.resource).length > 0,
    )
    .map((audience) => {
      const { authority } = deriveToken({
        effective: available,
        created: mission.authority,
        resource: audience.resource,
        wanted: null,
      });
      return planToken(ports, {
        mission,
        template,
        audience,
        authority,
        cap_at: evidence.caps_token ? evidence.expires_at : null,
        purse,
        now,
      });
    });
}

async function deliver(
  ports: Ports,
  mission: Mission,
  planned: readonly PlannedToken[],
  leases: readonly LiveLease[],
  now: number,
): Promise<Manifest> {
  const tokens = await Promise.all(planned.map((token) => signToken(ports, token)));
  return manifestOf(
    ports,
    mission,
    [...tokens.map((token) => token.credential), ...leases.map(({ credential }) => credential)],
    new Map<string, DeliveredValue>([
      ...tokens.map(
        (token) => [token.claims.jti, { value: token.access_token, token_type: token.token_type }] as const,
      ),
      ...leases.map(({ credential, deliver }) => [credential.id, { value: deliver }] as const),
    ]),
    await scarcest(ports, mission),
    now,
  );
}

function minted(mission: Mission, planned: readonly PlannedToken[], now: number): Write {
  return {
    kind: 'append_audit',
    record: {
      ts: now,
      event: 'bundle.minted',
      actor: mission.agent,
      mission_id: mission.id,
      details: {
        mission_version: mission.version,
        credentials: planned.map((token) => ({ jti: token.claims.jti, audience: token.audience.resource })),
      },
    },
  };
}
