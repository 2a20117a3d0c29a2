/** Every refusal of an attested agent is on record before it is answered. */
import { Denied } from '../domain/denial.ts';
import type { ParsedIntent } from '../domain/intent.ts';
import type { JsonObject } from '../domain/json.ts';
import { redacted } from '../domain/redact.ts';
import type { Evidence, Ports, ValidatedEvidence, VerifiedProof } from '../ports.ts';

/** Who is refused, and what was asked. */
export interface Asking {
  readonly actor: string;
  readonly now: number;
  readonly mission_id: string | null;
  readonly details: JsonObject;
}

/** What the asker says of itself: the asking, beside who asks. */
interface Asked {
  readonly resource?: string;
  readonly mission_id?: string;
  readonly declared?: ParsedIntent;
}

/** An attested agent, as the record names it. */
export function attested(ports: Ports, evidence: ValidatedEvidence, now: number, asked: Asked): Asking {
  return {
    actor: evidence.agent,
    now,
    mission_id: asked.mission_id === undefined ? null : missionIdOf(asked.mission_id),
    details: {
      attester: evidence.attester,
      rule: evidence.rule,
      tier: evidence.tier,
      instance: evidence.instance,
      evidence_digest: evidence.digest,
      asked: {
        ...(asked.resource !== undefined && { resource: asked.resource }),
        ...(asked.declared && {
          // What is not registered may be anything, also a token that went to the wrong place.
          resources: asked.declared.intent.resources.map((resource) =>
            ports.policy().audience(resource) === null ? 'unregistered' : resource,
          ),
          goal: asked.declared.intent.goal,
        }),
      },
    },
  };
}

/** An id as this broker makes them; whatever else was sent in its place is not kept. */
export function missionIdOf(text: string): string {
  return /^msn_[\w-]{1,64}$/.test(text) ? text : 'malformed';
}

/**
 * Runs `work`; a {@link Denied} is recorded and thrown on. Refusals of strangers are not recorded here: whoever
 * can write to the audit log without proving anything can fill the disk; those are counted in the metrics.
 */
export async function recordingRefusals<T>(ports: Ports, asking: Asking, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (!(cause instanceof Denied)) throw cause;
    const { denial, private_reason } = cause;
    await ports.store.atomically([
      {
        kind: 'append_audit',
        record: {
          ts: asking.now,
          event: 'exchange.refused',
          actor: asking.actor,
          mission_id: asking.mission_id,
          details: {
            denial: {
              ...(denial as unknown as JsonObject),
              ...('detail' in denial && denial.detail !== undefined && { detail: redacted(denial.detail) }),
            },
            private_reason: redacted(private_reason),
            ...asking.details,
          },
        },
      },
    ]);
    throw cause;
  }
}

/** An agent that proved its key and whose evidence holds, by one look at the clock. */
export interface AttestedAgent {
  readonly evidence: ValidatedEvidence;
  readonly proof: VerifiedProof;
  readonly now: number;
}

/**
 * Proof first, then evidence, then `work`, whose refusal is on record.
 * @throws Denied
 */
export async function asAttested<T>(
  ports: Ports,
  presented: Evidence,
  proof: { readonly header: string | undefined; readonly url: string },
  asked: Asked,
  work: (agent: AttestedAgent) => Promise<T>,
): Promise<T> {
  const now = ports.clock.now();
  const verified = await ports.proofs.verify(proof.header, { method: 'POST', url: proof.url, now });
  const evidence = await ports.attestation.appraise(presented, { jkt: verified.jkt, now });
  return recordingRefusals(ports, attested(ports, evidence, now, asked), () =>
    work({ evidence, proof: verified, now }),
  );
}
