/** `@sortie/agent`: attest, declare a mission, hold its manifest, make calls under it. */
export type { AuthorityEntry, AuthoritySet, CallContext, Refusal } from '../../domain/authority/index.ts';
export type { Backoff } from './backoff.ts';
export { type Agent, type ConnectOptions, connect, type Declaration } from './connect.ts';
export type { Credential } from './credential.ts';
export {
  type AwsSessionValue,
  type CredentialValue,
  type CredentialValues,
  type GithubInstallationTokenValue,
  type KubernetesTokenValue,
  type PostgresRoleValue,
  reveal,
  type VaultSecretValue,
} from './credential-values.ts';
export { type ChildDeclaration, DelegationGrant } from './delegation.ts';
export {
  AttestationFailed,
  BrokerUnavailable,
  CallDenied,
  MissionDenied,
  type MissionEnd,
  MissionEnded,
  type Retry,
  SortieError,
} from './errors.ts';
export { collectEvidence, explainEvidence, NoEvidenceError } from './evidence/index.ts';
export type { EvidenceRequest, EvidenceSource, PresentedEvidence } from './evidence-source.ts';
export type { Mission } from './mission.ts';
export type {
  AgentMissionState,
  CanOptions,
  EndedEvent,
  LocalRefusal,
  MissionEvents,
  NarrowedEvent,
  RenewalFailedEvent,
  RenewedEvent,
  ReplacedEvent,
} from './mission-events.ts';
export { generateProofKey, type ProofKey, proofKeyOf } from './proof-key.ts';
export type { HeldCredential, Narrowed } from './wire.ts';
