/** What every HTTP adapter shares: how a route of the resource server becomes a call. */
import type { CallContext } from '../../domain/authority/index.ts';
import type { JsonObject } from '../../domain/json.ts';
import { AnswerMeter } from './answer-meter.ts';
import { type GuardedCall, NO_CONTEXT, NO_PARAMETERS } from './call.ts';
import type { Guard } from './guard.ts';

/** One protected route. The functions read the request that the framework gives them. */
export interface ProtectedRoute<Request> {
  /** Name from the audience's catalogue, or a function; null refuses the request. */
  readonly action: string | ((request: Request) => string | null);
  /** What is acted on: the audience itself unless given. */
  readonly resource?: (request: Request) => string;
  /** Parameters that constraints look at. Only what the handler will really use belongs here. */
  readonly parameters?: (request: Request) => JsonObject;
  /** Facts that this server knows of the call: amount, recipients, tenant, ... */
  readonly context?: (request: Request) => CallContext;
  /** Ask the broker before each call of this route. */
  readonly consequential?: boolean;
  /** A lower bound on staleness than the bundle's, seconds. */
  readonly max_staleness_seconds?: number;
  /** Step-up: the token must be at most this many seconds old, so that the workload attested itself just now. */
  readonly max_token_age_seconds?: number;
  /** False: the answer is not read for where values come from. It then counts as untrusted whatever it holds. */
  readonly inspect?: boolean;
}

/** The parts of a request that a proof is bound to. */
export interface RequestFacts {
  readonly authorization: string | undefined;
  readonly proof: string | undefined;
  readonly method: string;
  /** Path and query as they came on the request line. */
  readonly target: string;
}

/**
 * The call of one request. The origin comes from configuration: a Host header says what the client wants it to say.
 * @throws what the route's own functions throw; adapters answer that with a denial.
 */
export function callOf<Request>(
  guard: Guard,
  origin: string,
  route: ProtectedRoute<Request>,
  request: Request,
  facts: RequestFacts,
): GuardedCall | null {
  const action = typeof route.action === 'string' ? route.action : route.action(request);
  if (action === null) return null;
  return {
    authorization: facts.authorization,
    proof: facts.proof,
    method: facts.method,
    url: origin + facts.target,
    action,
    resource: route.resource?.(request) ?? guard.audience,
    parameters: route.parameters?.(request) ?? NO_PARAMETERS,
    context: route.context?.(request) ?? NO_CONTEXT,
    meter: new AnswerMeter(),
    ...(route.consequential === undefined ? {} : { consequential: route.consequential }),
    ...(route.max_staleness_seconds === undefined
      ? {}
      : { max_staleness_seconds: route.max_staleness_seconds }),
    ...(route.max_token_age_seconds === undefined
      ? {}
      : { max_token_age_seconds: route.max_token_age_seconds }),
  };
}

/** `https://erp.example.com` of `https://erp.example.com/api`. */
export function originOf(audience: string): string {
  return new URL(audience).origin;
}
