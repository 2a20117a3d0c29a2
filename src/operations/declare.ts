/** `POST /missions`: declare once, get every credential, all or none (wire profile 2). */
import { type AuthoritySet, effective, forAudience } from '../domain/authority/index.ts';
import { deriveToken, type ReportedNarrowing } from '../domain/grant.ts';
import type { ParsedIntent } from '../domain/intent.ts';
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
  findCreation,
  fingerprintOf,
  mayHaveLostRace,
  narrowedAtCreation,
  possession,
  type StoredMission,
  selectorsOf,
  storeMission,
} from './create-mission.ts';
import { awake } from './lifecycle.ts';
import { type Manifest, manifestOf } from './manifest.ts';
import { type PlannedToken, planToken, signToken } from './mint.ts';
import { attested, recordingRefusals } from './refusals.ts';

/** Renewals race with containments; each retry sees the newer version. */
const VERSION_RETRIES = 3;

export interface DeclareRequest {
  readonly evidence: Evidence;
  readonly declared: ParsedIntent;
  readonly proposal: AuthoritySet | null;
  readonly template_id: string | null;
  readonly creation_request_id: string | null;
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
  const now = ports.clock.now();
  const verified = await ports.proofs.verify(proof.header, { method: 'POST', url: proof.url, now });
  const evidence = await ports.attestation.appraise(request.evidence, { jkt: verified.jkt, now });
  return recordingRefusals(ports, attested(ports, evidence, now, { declared: request.declared }), () =>
    grantAll(ports, request, evidence, verified, now),
  );
}

async function grantAll(
  ports: Ports,
  request: DeclareRequest,
  evidence: ValidatedEvidence,
  proof: VerifiedProof,
  now: number,
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
  let stored: StoredMission;
  try {
    stored = await storeMission(ports, declaration, ({ mission, template }) =>
      planAll(ports, mission, template, evidence, now),
    );
  } catch (cause) {
    const winner = mayHaveLostRace(cause)
      ? await findCreation(ports, evidence, proof, request.creation_request_id, fingerprint)
      : null;
    if (winner) return mintAgain(ports, winner, request.declared, evidence, proof, now);
    throw cause;
  }
  const { mission, planned, narrowed } = stored;
  return { manifest: await deliver(ports, mission, planned, now), narrowed };
}

/** A repeated `POST /missions`: the same mission, every token anew. */
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
    const planned = planAll(ports, mission, template.document, evidence, now);
    const { id, version } = mission;
    try {
      await commit(ports, [
        ...possession(evidence, proof),
        { kind: 'require_unblocked', selectors: selectorsOf(mission), at: now },
        ...woken.writes,
        // Each token counts.
        ...planned.map((): Write => ({ kind: 'derive', id, at: now, version, attested: true })),
        ...planned.map((token) => token.write),
        minted(mission, planned, now),
      ]);
    } catch (cause) {
      if (!(cause instanceof WriteConflict) || attempt >= VERSION_RETRIES) throw cause;
      // A containment or transition came between: judge the newer mission.
      mission = (await ports.store.mission(id)) ?? mission;
      continue;
    }
    const current = { ...mission, derivations: mission.derivations + planned.length, last_attested_at: now };
    const narrowed = narrowedAtCreation(ports, mission, template.document, declared);
    return { manifest: await deliver(ports, current, planned, now), narrowed };
  }
}

/** One token for each audience at which the mission has authority and whose tokens may leave the broker. */
function planAll(
  ports: Ports,
  mission: Mission,
  template: TemplateDocument,
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
        now,
      });
    });
}

async function deliver(
  ports: Ports,
  mission: Mission,
  planned: readonly PlannedToken[],
  now: number,
): Promise<Manifest> {
  const tokens = await Promise.all(planned.map((token) => signToken(ports, token)));
  return manifestOf(
    ports,
    mission,
    tokens.map((token) => token.credential),
    new Map(
      tokens.map((token) => [token.claims.jti, { value: token.access_token, token_type: token.token_type }]),
    ),
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
