/**
 * One broker over HTTP: proofs with its nonces, bounded attempts, answers and refusals as types. Every attempt takes a
 * new proof and, after a failure, new evidence: single-use evidence may be spent by an attempt whose answer was lost.
 */
import { boundAudience } from '../../domain/evidence.ts';
import type { JsonObject } from '../../domain/json.ts';
import { type Backoff, delayBefore, retryAfterSeconds } from './backoff.ts';
import { AttestationFailed, type BrokerRefusal, BrokerUnavailable, MissionDenied } from './errors.ts';
import { type EvidenceSource, type PresentedEvidence, presentEvidence } from './evidence-source.ts';
import { type ProofKey, prove } from './proof-key.ts';
import { spokenFault } from './redact.ts';
import { type Runtime, readText } from './runtime.ts';
import {
  type ManifestAnswer,
  type ReservationAnswer,
  readManifest,
  readRefusal,
  readReservation,
  readToken,
  type TokenAnswer,
  UnexpectedAnswer,
} from './wire.ts';

const ANSWER_MAX_BYTES = 1_048_576;
const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';
const FORM = 'application/x-www-form-urlencoded';
/** The broker's one body for evidence that it did not accept, whatever the cause (wire profile 2.7). */
const EVIDENCE_REFUSED = 'the evidence was not accepted';

export interface BrokerClientOptions {
  readonly issuer: string;
  readonly key: ProofKey;
  readonly evidence: EvidenceSource;
  readonly runtime: Runtime;
  readonly backoff: Backoff;
  /** Of one attempt. */
  readonly timeout_ms: number;
}

export interface DeclarationBody {
  readonly intent: JsonObject;
  readonly authorization_details?: readonly unknown[];
  readonly template_id?: string;
  readonly creation_request_id: string;
}

export interface ReservationBody {
  /** The child agent. */
  readonly sub: string;
  readonly intent: JsonObject;
  readonly authorization_details?: readonly unknown[];
  readonly template_id?: string;
}

interface Request {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly content_type?: string;
  readonly access_token?: string;
  /** With evidence that is made anew for each attempt. */
  readonly body?: (evidence: PresentedEvidence) => string;
  /** Without evidence. */
  readonly plain_body?: string;
}

interface Answer {
  readonly status: number;
  readonly text: string;
  readonly retry_after_seconds: number | null;
}

export class BrokerClient {
  readonly issuer: string;
  readonly #options: BrokerClientOptions;
  #nonce: string | undefined;

  constructor(options: BrokerClientOptions) {
    this.issuer = options.issuer;
    this.#options = options;
  }

  /** `POST /missions`. @throws MissionDenied, AttestationFailed, BrokerUnavailable */
  async declare(declaration: DeclarationBody): Promise<ManifestAnswer> {
    const text = await this.#ask({
      method: 'POST',
      path: '/missions',
      content_type: 'application/json',
      body: (evidence) => JSON.stringify({ evidence, ...declaration }),
    });
    return this.#read(() => readManifest(text));
  }

  /** `POST /token`: the next token of a mission; renewing is attesting again. @throws as {@link declare} */
  async renew(mission_id: string, resource: string): Promise<TokenAnswer> {
    const text = await this.#ask({
      method: 'POST',
      path: '/token',
      content_type: FORM,
      body: (evidence) => form({ ...subjectOf(evidence), mission_id, resource }),
    });
    return this.#read(() => readToken(text));
  }

  /**
   * `POST /missions/{id}/credentials`: provider credentials made anew; without ids, the mission is only attested.
   * @throws as {@link declare}
   */
  async renewCredentials(mission_id: string, ids: readonly string[]): Promise<ManifestAnswer> {
    const text = await this.#ask({
      method: 'POST',
      path: `/missions/${encodeURIComponent(mission_id)}/credentials`,
      content_type: 'application/json',
      body: (evidence) => JSON.stringify({ ids, evidence }),
    });
    return this.#read(() => readManifest(text));
  }

  /** `POST /token`: reserves a child mission. @throws MissionDenied, BrokerUnavailable */
  async reserve(access_token: string, child: ReservationBody): Promise<ReservationAnswer> {
    const { sub, intent, authorization_details, template_id } = child;
    const text = await this.#ask({
      method: 'POST',
      path: '/token',
      content_type: FORM,
      plain_body: form({
        subject_token: access_token,
        subject_token_type: ACCESS_TOKEN,
        child_actor: JSON.stringify({ sub }),
        mission_intent: JSON.stringify({ intent }),
        ...(authorization_details !== undefined && {
          authorization_details: JSON.stringify(authorization_details),
        }),
        ...(template_id !== undefined && { template_id }),
      }),
    });
    return this.#read(() => readReservation(text));
  }

  /** `POST /missions`: takes up a reserved child mission. @throws as {@link declare} */
  async activate(delegation: string): Promise<ManifestAnswer> {
    const text = await this.#ask({
      method: 'POST',
      path: '/missions',
      content_type: 'application/json',
      body: (evidence) => JSON.stringify({ evidence, delegation }),
    });
    return this.#read(() => readManifest(text));
  }

  /** `GET /missions/{id}`. @throws MissionDenied, BrokerUnavailable */
  async manifest(mission_id: string, access_token: string): Promise<ManifestAnswer> {
    const path = `/missions/${encodeURIComponent(mission_id)}`;
    const text = await this.#ask({ method: 'GET', path, access_token });
    return this.#read(() => readManifest(text));
  }

  /** `POST /missions/{id}/complete`. @throws MissionDenied, BrokerUnavailable */
  async complete(mission_id: string, access_token: string): Promise<void> {
    const path = `/missions/${encodeURIComponent(mission_id)}/complete`;
    await this.#ask({ method: 'POST', path, access_token });
  }

  /** The same with fresh evidence, where no token is at hand. @throws as {@link declare} */
  async completeAttested(mission_id: string): Promise<void> {
    await this.#ask({
      method: 'POST',
      path: `/missions/${encodeURIComponent(mission_id)}/complete`,
      content_type: 'application/json',
      body: (evidence) => JSON.stringify({ evidence }),
    });
  }

  /** The text of a successful answer. */
  async #ask(request: Request): Promise<string> {
    const { backoff, runtime } = this.#options;
    for (let attempt = 1; ; attempt++) {
      let failure: { why: string; status: number | null; retry_after_seconds: number | null };
      // A refused source is the caller's to mend: it is not asked again here.
      const evidence = request.body === undefined ? null : await this.#present();
      try {
        const answer = await this.#sendWithNonce(request, evidence);
        if (answer.status >= 200 && answer.status < 300) return answer.text;
        const refusal = readRefusal(answer.status, answer.text);
        if (refusal !== null && !isPassing(answer.status, refusal)) throw refusedAs(refusal);
        if (refusal === null && !isPassing(answer.status, null))
          throw new UnexpectedAnswer(`status ${answer.status}`);
        failure = {
          why:
            refusal === null
              ? `status ${answer.status}`
              : `${refusal.error}${refusal.description === null ? '' : `: ${refusal.description}`}`,
          status: answer.status,
          retry_after_seconds: answer.retry_after_seconds,
        };
      } catch (cause) {
        if (cause instanceof MissionDenied || cause instanceof AttestationFailed) throw cause;
        if (cause instanceof UnexpectedAnswer) throw this.#unavailable(cause.message, attempt);
        failure = { why: networkFault(cause), status: null, retry_after_seconds: null };
      }
      const delay =
        attempt >= backoff.attempts
          ? null
          : delayBefore(backoff, attempt, failure.retry_after_seconds, runtime.random());
      if (delay === null) throw new BrokerUnavailable(failure.why, { ...failure, attempts: attempt });
      await runtime.sleep(delay);
    }
  }

  #present(): Promise<PresentedEvidence> {
    const { key, evidence } = this.#options;
    return presentEvidence(evidence, {
      issuer: this.issuer,
      jkt: key.jkt,
      bound_audience: boundAudience(this.issuer, key.jkt),
    });
  }

  /** A refused nonce spends nothing: the same evidence goes out again with a proof that has the new one. */
  async #sendWithNonce(request: Request, evidence: PresentedEvidence | null): Promise<Answer> {
    const used = this.#nonce;
    const answer = await this.#send(request, evidence);
    if (answer.status !== 400 || this.#nonce === used) return answer;
    return readRefusal(answer.status, answer.text)?.error === 'use_dpop_nonce'
      ? this.#send(request, evidence)
      : answer;
  }

  async #send(request: Request, evidence: PresentedEvidence | null): Promise<Answer> {
    const { key, runtime, timeout_ms } = this.#options;
    const url = `${this.issuer}${request.path}`;
    const proof = await prove(key, {
      method: request.method,
      url,
      now: runtime.now(),
      jti: runtime.crypto.randomUUID(),
      ...(request.access_token !== undefined && { access_token: request.access_token }),
      ...(this.#nonce !== undefined && { nonce: this.#nonce }),
    });
    const response = await runtime.fetch(url, {
      method: request.method,
      headers: {
        accept: 'application/json',
        dpop: proof,
        ...(request.content_type !== undefined && { 'content-type': request.content_type }),
        ...(request.access_token !== undefined && { authorization: `DPoP ${request.access_token}` }),
      },
      ...(request.plain_body !== undefined && { body: request.plain_body }),
      ...(request.body !== undefined && evidence !== null && { body: request.body(evidence) }),
      // Evidence and tokens go to the configured broker and nowhere else.
      redirect: 'manual',
      signal: AbortSignal.timeout(timeout_ms),
    });
    this.#nonce = response.headers.get('dpop-nonce') ?? this.#nonce;
    return {
      status: response.status,
      text: await readText(response, ANSWER_MAX_BYTES),
      retry_after_seconds: retryAfterSeconds(response.headers.get('retry-after'), runtime.now()),
    };
  }

  /** A success that cannot be read is not asked for again: it may have been spent already. */
  #read<T>(work: () => T): T {
    try {
      return work();
    } catch (cause) {
      if (cause instanceof UnexpectedAnswer) throw this.#unavailable(cause.message, 1);
      throw cause;
    }
  }

  #unavailable(why: string, attempts: number): BrokerUnavailable {
    return new BrokerUnavailable(why, { status: null, attempts, retry_after_seconds: null });
  }
}

function form(members: Readonly<Record<string, string>>): string {
  return new URLSearchParams({ grant_type: TOKEN_EXCHANGE, ...members }).toString();
}

function subjectOf({ type, token }: PresentedEvidence) {
  return { subject_token: token, subject_token_type: type };
}

/** Worth another attempt: overload and faults of the broker or of what stands before it. */
function isPassing(status: number, refusal: BrokerRefusal | null): boolean {
  return status === 429 || status >= 500 || refusal?.error === 'temporarily_unavailable';
}

function refusedAs(refusal: BrokerRefusal): MissionDenied | AttestationFailed {
  return refusal.error === 'invalid_request' && refusal.description === EVIDENCE_REFUSED
    ? new AttestationFailed('evidence_refused', EVIDENCE_REFUSED)
    : new MissionDenied(refusal);
}

/** fetch hides the network's word in `cause`; neither holds a header or a body. */
function networkFault(thrown: unknown): string {
  const cause = thrown instanceof Error && thrown.cause instanceof Error ? thrown.cause : thrown;
  return spokenFault(cause);
}
