/** Sub-agents (wire profile 2): a mission reserves a child mission; the grant for it goes to the child's process. */
import { decodeJwt } from 'jose';
import { isJsonObject, type JsonValue } from '../../domain/json.ts';
import type { Asked, Task } from './declaration.ts';

/** What a child may do: within what the parent may pass on, whatever is asked for. */
export interface ChildDeclaration extends Task, Asked {
  /** The agent that will activate it, such as `k8s/payments/reader`. Nobody else can. */
  readonly to: string;
}

/**
 * Works once, within a minute, for the agent that it names and with that agent's own evidence and key. Printed or
 * serialized it shows no grant: send `value` to the child.
 */
export class DelegationGrant {
  /** The child mission, once its agent has activated it. */
  readonly mission_id: string;
  readonly to: string;
  /** Seconds since the epoch, this machine's clock. */
  readonly expires_at: number;
  readonly #value: string;

  /** @internal */
  constructor(grant: { mission_id: string; to: string; expires_at: number; value: string }) {
    this.mission_id = grant.mission_id;
    this.to = grant.to;
    this.expires_at = grant.expires_at;
    this.#value = grant.value;
  }

  get value(): string {
    return this.#value;
  }

  toJSON(): Record<string, unknown> {
    return { mission_id: this.mission_id, to: this.to, expires_at: this.expires_at };
  }

  [Symbol.for('nodejs.util.inspect.custom')](): Record<string, unknown> {
    return this.toJSON();
  }
}

/** The resources of the task in a grant. Read without verifying: the broker judges it. @throws TypeError */
export function resourcesOf(grant: string): readonly string[] {
  let resources: JsonValue | undefined;
  try {
    const claims = decodeJwt<{ delegation?: JsonValue }>(grant);
    const delegation = isJsonObject(claims.delegation) ? claims.delegation : {};
    resources = isJsonObject(delegation['intent']) ? delegation['intent']['resources'] : undefined;
  } catch {
    resources = undefined;
  }
  if (!Array.isArray(resources) || !resources.every((item) => typeof item === 'string'))
    throw new TypeError('not a delegation grant');
  return resources as readonly string[];
}
