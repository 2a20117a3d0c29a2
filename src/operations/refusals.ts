/** Every refusal of an attested agent is on record before it is answered. */
import { Denied } from '../domain/denial.ts';
import type { ParsedIntent } from '../domain/intent.ts';
import type { JsonObject } from '../domain/json.ts';
import type { Ports, ValidatedEvidence } from '../ports.ts';

/**
 * Runs `work`; a {@link Denied} is recorded and thrown on. Refusals of strangers are not recorded here: whoever
 * can write to the audit log without proving anything can fill the disk; those are counted in the metrics.
 */
export async function recordingRefusals<T>(
  ports: Ports,
  who: {
    readonly evidence: ValidatedEvidence;
    readonly now: number;
    readonly asked: {
      readonly resource?: string;
      readonly mission_id?: string;
      readonly declared?: ParsedIntent;
    };
  },
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (!(cause instanceof Denied)) throw cause;
    const { denial, private_reason } = cause;
    await ports.store.atomically([
      {
        kind: 'append_audit',
        record: {
          ts: who.now,
          event: 'exchange.refused',
          actor: who.evidence.agent,
          mission_id: who.asked.mission_id ?? null,
          details: {
            denial: denial as unknown as JsonObject,
            private_reason,
            attester: who.evidence.attester,
            rule: who.evidence.rule,
            tier: who.evidence.tier,
            instance: who.evidence.instance,
            evidence_digest: who.evidence.digest,
            asked: {
              ...(who.asked.resource !== undefined && { resource: who.asked.resource }),
              ...(who.asked.declared && {
                resources: [...who.asked.declared.intent.resources],
                goal: who.asked.declared.intent.goal,
              }),
            },
          },
        },
      },
    ]);
    throw cause;
  }
}
