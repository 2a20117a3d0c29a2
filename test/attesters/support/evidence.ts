/** Short forms shared by attester tests. */
import { type AttesterConfigInput, attesterConfigSchema } from '../../../src/attesters/config.ts';
import { type AttestationOptions, createAttestation } from '../../../src/attesters/create.ts';
import type { AttestationRegistry } from '../../../src/attesters/registry.ts';
import { Denied } from '../../../src/domain/denial.ts';
import type { EnrolledKeyRecord, Evidence } from '../../../src/ports.ts';

export const BROKER = 'https://broker.example.com';
export const NOW = 1_790_000_000;
/** A well-formed thumbprint, and another. */
export const JKT = 'A'.repeat(43);
export const OTHER_JKT = 'B'.repeat(43);

export function attestation(
  configs: readonly AttesterConfigInput[],
  options: Partial<AttestationOptions> & { readonly keys?: readonly EnrolledKeyRecord[] } = {},
): AttestationRegistry {
  const { keys = [], ...rest } = options;
  return createAttestation(
    configs.map((config) => attesterConfigSchema.parse(config)),
    {
      issuer: BROKER,
      store: { enrolledKey: async (jkt) => keys.find((key) => key.jkt === jkt) ?? null },
      ...rest,
    },
  );
}

export function jwt(token: string): Evidence {
  return { type: 'urn:ietf:params:oauth:token-type:jwt', token };
}

/** The private reason of the refusal; fails unless it is the one constant refusal. */
export async function refusalOf(attempt: Promise<unknown>): Promise<string> {
  try {
    await attempt;
  } catch (error) {
    if (!(error instanceof Denied)) throw error;
    if (JSON.stringify(error.denial) !== '{"tag":"invalid_evidence"}') {
      throw new Error(`not the constant refusal: ${JSON.stringify(error.denial)}`);
    }
    return error.private_reason;
  }
  throw new Error('the evidence was accepted');
}
