/** `@sortie/resource`: checks every call of a resource server against its mission, in process. */
export type { Alarm, AlarmKind } from './alarm.ts';
export { AnswerMeter, type ByteAllowance } from './answer-meter.ts';
export type { VerifierIdentity } from './broker-client.ts';
export type { GuardedCall } from './call.ts';
export { type CreateGuardOptions, createGuard, type GuardHealth, type RunningGuard } from './create-guard.ts';
export type { DenialAnswer, DenialCode, GuardDenial, Retry } from './denial.ts';
export { type ExpressGuard, type ExpressRequest, expressGuard } from './express.ts';
export { type FastifyGuard, fastifyGuard } from './fastify.ts';
export { type Admission, type FetchGuard, fetchGuard, permitOfRequest } from './fetch.ts';
export type { BrokerWord, DecisionFacts, DecisionObserver, Guard, Verdict } from './guard.ts';
export {
  type McpAuthInfo,
  McpGuard,
  type McpGuardOptions,
  type McpRequestExtra,
  permitOfMcp,
} from './mcp.ts';
export { metadataPath, metadataUrl, type ResourceMetadata } from './metadata.ts';
export { HttpAdapter, type HttpAdapterOptions, permitOf } from './node-http.ts';
export type { ProtectedRoute } from './route.ts';
export type { GuardLimits, SequenceJudge, Settled } from './state.ts';
export type { AccessClaims, VerifiedToken } from './token.ts';
