/** All routes over one server: who may call what, what is shed, what is counted. */
import type { Server } from 'node:http';
import { z } from 'zod';
import type { TemplateDocument } from '../domain/policy.ts';
import type { RevocationFeed } from '../feed/feed.ts';
import { authenticateAdmin } from '../operations/admin-tokens.ts';
import type { SignedBundle } from '../operations/bundle.ts';
import type { Judgement } from '../operations/judgement.ts';
import type { MissionDigestKey } from '../operations/mission-facts.ts';
import type { VerifierAuthentication } from '../operations/verifiers.ts';
import type { Evidence, Ports, VerifierPolicy } from '../ports.ts';
import { createAdmission, type OverloadPolicy } from './admission.ts';
import type { Route } from './route.ts';
import { historyRoutes } from './routes/admin/history.ts';
import { missionRoutes } from './routes/admin/missions.ts';
import { adminOperationRoutes } from './routes/admin/operations.ts';
import { providerRoutes } from './routes/admin/providers.ts';
import { revocationRoutes } from './routes/admin/revocations.ts';
import { templateRoutes } from './routes/admin/templates.ts';
import { adminTokenRoutes } from './routes/admin/tokens.ts';
import { agentRoutes } from './routes/agents.ts';
import { authzenRoutes } from './routes/authzen.ts';
import { decisionRoutes } from './routes/decisions.ts';
import { type Enrolment, enrolmentRoutes } from './routes/enrolment.ts';
import { eventRoutes } from './routes/events.ts';
import { type Gateways, gatewayRoutes } from './routes/gateway.ts';
import { metadataRoutes } from './routes/metadata.ts';
import { settlementRoutes } from './routes/settlements.ts';
import { assertionOf, verifierRoutes } from './routes/verifiers.ts';
import { createHttpServer, type RequestObservation } from './server.ts';

export interface AppParts {
  readonly ports: Ports;
  readonly feed: RevocationFeed;
  readonly bundle: (verifier: VerifierPolicy) => Promise<SignedBundle>;
  readonly statusList: (id: string) => Promise<string>;
  readonly verifiers: VerifierAuthentication;
  readonly parseTemplate: (value: unknown) => TemplateDocument;
  readonly enrolment: Enrolment;
  readonly explainEvidence: (evidence: Evidence) => Promise<unknown>;
  readonly rotateKeys: (emergency: boolean, actor: string) => Promise<unknown>;
  readonly metrics: { readonly content_type: string; text(): Promise<string> };
  readonly overload: OverloadPolicy;
  readonly gateways: Gateways;
  readonly missionDigestKey: MissionDigestKey;
  readonly judgement: Judgement;
  /** False until a person confirmed the block list of a restored backup. */
  readonly issuing: () => boolean;
  readonly confirmRestore: (actor: string, reason: string) => Promise<void>;
  observe(event: RequestObservation): void;
}

export function routeTable(parts: AppParts): Route[] {
  const { ports, judgement } = parts;
  return [
    ...agentRoutes(ports),
    ...verifierRoutes(ports, parts),
    ...authzenRoutes(ports, judgement.behaviour),
    ...eventRoutes(judgement.reports),
    ...gatewayRoutes(ports, judgement.behaviour, parts.gateways),
    ...metadataRoutes(ports, parts.statusList),
    ...missionRoutes(ports, parts.feed),
    ...historyRoutes(ports),
    ...revocationRoutes(ports, parts.feed),
    ...providerRoutes(ports),
    ...templateRoutes(ports, parts.parseTemplate),
    ...adminTokenRoutes(ports),
    ...adminOperationRoutes(parts),
    ...decisionRoutes(ports, judgement.adminStream),
    ...enrolmentRoutes(ports, parts.enrolment),
    ...settlementRoutes(ports),
    ...operationRoutes(parts),
  ];
}

/** The readiness probe commits: one a second, however many ask. */
const READY_SHARED_MS = 1000;

function operationRoutes(parts: AppParts): Route[] {
  let probe = { at: Number.NEGATIVE_INFINITY, ready: Promise.resolve(false) };
  const isReady = () => {
    if (performance.now() - probe.at > READY_SHARED_MS)
      probe = { at: performance.now(), ready: parts.ports.store.healthy() };
    return probe.ready;
  };
  return [
    {
      method: 'GET',
      path: '/healthz',
      auth: { kind: 'public' },
      errors: 'problem',
      hot: true,
      describe: {
        summary: 'The server answers',
        tag: 'operations',
        responses: { 200: { description: 'Alive', schema: z.object({ status: z.literal('ok') }) } },
      },
      handle: () => ({ status: 200, json: { status: 'ok' } }),
    },
    {
      method: 'GET',
      path: '/readyz',
      auth: { kind: 'public' },
      errors: 'problem',
      hot: true,
      describe: {
        summary: 'A mission could be recorded now',
        tag: 'operations',
        responses: {
          200: { description: 'Ready', schema: z.object({ status: z.string() }) },
          503: { description: 'The store does not accept writes', schema: z.object({ status: z.string() }) },
        },
      },
      async handle() {
        const ready = await isReady();
        return { status: ready ? 200 : 503, json: { status: ready ? 'ready' : 'store_unavailable' } };
      },
    },
    {
      method: 'GET',
      path: '/metrics',
      auth: { kind: 'admin', role: 'viewer' },
      errors: 'problem',
      describe: {
        summary: 'Counters and latencies in the Prometheus text format',
        tag: 'operations',
        responses: { 200: { description: 'Metrics', content_type: 'text/plain' } },
      },
      handle: async () => ({
        status: 200,
        headers: { 'content-type': parts.metrics.content_type },
        text: await parts.metrics.text(),
      }),
    },
  ];
}

/** The server, not yet listening. */
export function createApp(parts: AppParts): { readonly server: Server; readonly routes: readonly Route[] } {
  const routes = routeTable(parts);
  const server = createHttpServer({
    routes,
    authenticateVerifier: (authorization, form) =>
      parts.verifiers.authenticate(assertionOf(authorization, form)),
    authenticateAdmin: (authorization, needs) => authenticateAdmin(parts.ports, authorization, needs),
    nonce: () => parts.ports.proofs.nonce(parts.ports.clock.now()),
    admit: createAdmission(parts.overload, parts.issuing),
    observe: (event) => parts.observe(event),
  });
  return { server, routes };
}
