/**
 * Keeps the deny policy of each role up to date. Revocations that arrive while a write is under way share the
 * next one, so that a thousand at once are two writes and none of them waits for more than that.
 *
 * IAM has no conditional write: exactly one broker may write one policy name.
 */

import {
  GetRolePolicyCommand,
  IAMClient,
  type IAMClientConfig,
  PutRolePolicyCommand,
} from '@aws-sdk/client-iam';
import { isJsonObject, type JsonObject, type JsonValue } from '../../domain/json.ts';
import { ProviderFault } from '../provider.ts';
import { type Denial, denies, type Mark, sizeOf, withDenials, withOlderDenied } from './deny-policy.ts';
import { faultOf, isAbsent, isFull, PROVIDER } from './faults.ts';

export interface DenyListOptions {
  readonly client: IAMClientConfig;
  readonly policy_name: string;
  readonly mark: Mark;
  /** What the policy may grow to: IAM allows 10,240 characters over all inline policies of a role. */
  readonly max_characters: number;
  readonly timeout_ms: number;
}

interface Waiting {
  readonly denial: Denial;
  readonly now: number;
  readonly done: (fault: ProviderFault | null) => void;
}

export class DenyLists {
  readonly #options: DenyListOptions;
  readonly #iam: IAMClient;
  readonly #waiting = new Map<string, Waiting[]>();
  /** The last piece of work on each role; the next one starts after it. */
  readonly #tail = new Map<string, Promise<void>>();

  constructor(options: DenyListOptions) {
    this.#options = options;
    this.#iam = new IAMClient(options.client);
  }

  /** Resolves when IAM has the denial. @throws ProviderFault, `deny_list_full` where there is no room */
  async deny(role: string, denial: Denial, now: number): Promise<void> {
    const fault = await new Promise<ProviderFault | null>((done) => {
      const waiting = this.#waiting.get(role);
      if (waiting !== undefined) {
        waiting.push({ denial, now, done });
        return;
      }
      this.#waiting.set(role, [{ denial, now, done }]);
      void this.#after(role, () => this.#flush(role));
    });
    if (fault !== null) throw fault;
  }

  /**
   * The way out of a full list: every session of the role that was issued before now is denied, also those of
   * other missions. It makes room, since the missions on the list are covered by it. The same `issued_before` again
   * changes nothing.
   * @param ends_at when the longest such session of the role is over
   */
  async denyOlder(role: string, issued_before: number, ends_at: number, now: number): Promise<void> {
    const { mark, max_characters, timeout_ms } = this.#options;
    let fault: ProviderFault | null = null;
    await this.#after(role, async () => {
      try {
        const current = await this.#get(role);
        // Half of it: the next revocations need room as well.
        const room = max_characters / 2;
        await this.#put(role, withOlderDenied(current, issued_before, ends_at, mark, now, room));
      } catch (cause) {
        fault = isFull(cause) ? full() : faultOf(cause, 'denying older sessions', timeout_ms);
      }
    });
    if (fault !== null) throw fault;
  }

  close(): void {
    this.#iam.destroy();
  }

  async #after(role: string, work: () => Promise<void>): Promise<void> {
    const before = this.#tail.get(role) ?? Promise.resolve();
    const own = before.then(work);
    this.#tail.set(role, own);
    await own;
    if (this.#tail.get(role) === own) this.#tail.delete(role);
  }

  /** Never rejects: each that waits is told for itself. */
  async #flush(role: string): Promise<void> {
    const batch = this.#waiting.get(role) ?? [];
    this.#waiting.delete(role);
    const now = Math.max(...batch.map((waiting) => waiting.now));
    try {
      const current = await this.#get(role);
      const { document, left_out } = this.#fit(current, batch, now);
      await this.#put(role, document);
      for (const waiting of batch) waiting.done(left_out.has(waiting) ? full() : null);
    } catch (cause) {
      const fault = isFull(cause) ? full() : faultOf(cause, 'denying sessions', this.#options.timeout_ms);
      for (const waiting of batch) waiting.done(fault);
    }
  }

  /** As many as there is room for, those that would live longest first. */
  #fit(
    current: JsonObject | null,
    batch: readonly Waiting[],
    now: number,
  ): { readonly document: JsonObject; readonly left_out: ReadonlySet<Waiting> } {
    const { mark, max_characters } = this.#options;
    const all = withDenials(
      current,
      batch.map(({ denial }) => denial),
      mark,
      now,
    );
    if (sizeOf(all) <= max_characters) return { document: all, left_out: new Set() };
    const left_out = new Set<Waiting>();
    let document = withDenials(current, [], mark, now);
    for (const waiting of [...batch].sort((a, b) => b.denial.ends_at - a.denial.ends_at)) {
      const next = withDenials(document, [waiting.denial], mark, now);
      if (sizeOf(next) <= max_characters) document = next;
      else if (!denies(document, waiting.denial, now)) left_out.add(waiting);
    }
    return { document, left_out };
  }

  async #get(role: string): Promise<JsonObject | null> {
    try {
      const answer = await this.#iam.send(
        new GetRolePolicyCommand({ RoleName: nameOf(role), PolicyName: this.#options.policy_name }),
        { abortSignal: AbortSignal.timeout(this.#options.timeout_ms) },
      );
      return readDocument(answer.PolicyDocument);
    } catch (cause) {
      if (isAbsent(cause)) return null;
      throw cause;
    }
  }

  async #put(role: string, document: JsonObject): Promise<void> {
    // IAM refuses a policy without statements: with nothing to deny there is nothing to write.
    if ((document['Statement'] as readonly JsonValue[]).length === 0) return;
    await this.#iam.send(
      new PutRolePolicyCommand({
        RoleName: nameOf(role),
        PolicyName: this.#options.policy_name,
        PolicyDocument: JSON.stringify(document),
      }),
      { abortSignal: AbortSignal.timeout(this.#options.timeout_ms) },
    );
  }
}

/** A role's name is what follows its path. */
function nameOf(role: string): string {
  return role.slice(role.lastIndexOf('/') + 1);
}

/** IAM answers percent-encoded JSON (RFC 3986); some that speak its language do not encode. */
function readDocument(text: string | undefined): JsonObject {
  let document: unknown;
  try {
    document = JSON.parse(text?.startsWith('%') ? decodeURIComponent(text) : (text ?? ''));
  } catch {
    document = null;
  }
  if (!isJsonObject(document))
    throw new ProviderFault(PROVIDER, 'unexpected_answer', 'the deny policy on the role cannot be read');
  return document;
}

function full(): ProviderFault {
  return new ProviderFault(PROVIDER, 'deny_list_full', 'the deny policy on the role has no room');
}
