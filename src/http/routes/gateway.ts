/** Forward-auth for nginx, Caddy, Traefik and Envoy: 200, or the refusal that the guard would have given. */
import { z } from 'zod';
import { answerOf, DPOP_ALGS } from '../../domain/call-denial.ts';
import { Denied } from '../../domain/denial.ts';
import {
  authenticateGateway,
  type ForwardedRequest,
  forwardAuth,
  type Gateway,
} from '../../operations/forward-auth.ts';
import type { CallBehaviour } from '../../operations/judge-behaviour.ts';
import type { Ports } from '../../ports.ts';
import { header, type Incoming, json, type Outgoing, type Route } from '../route.ts';
import { problemSchema } from '../schemas.ts';

/** In the request from the gateway, never in one from a client: the gateway overwrites it. */
export const SECRET_HEADER = 'sortie-gateway-secret';

export type Gateways = () => ReadonlyMap<string, Gateway>;

export function gatewayRoutes(ports: Ports, behaviour: CallBehaviour, gateways: Gateways): Route[] {
  const responses = {
    200: { description: 'Permitted; Sortie-Mission and Sortie-Client name the caller' },
    401: { description: 'No good token or proof; the challenge says which', schema: problemSchema },
    403: { description: 'Not within the mission, or not a known gateway', schema: problemSchema },
    503: { description: 'Cannot be judged now', schema: problemSchema },
  };
  const route = (method: 'GET' | 'POST', path: string, summary: string, rest = false): Route => ({
    method,
    path,
    auth: { kind: 'public' },
    errors: 'problem',
    hot: true,
    ...(rest && { rest }),
    describe: { summary, tag: 'verifiers', responses },
    handle: (incoming) => judge(ports, behaviour, gateways, incoming, rest),
  });
  return [
    route('GET', '/forward-auth/{gateway}', 'Judge the request that a gateway describes in its headers'),
    route('POST', '/forward-auth/{gateway}', 'Judge the request that a gateway describes in its headers'),
    route(
      'GET',
      '/forward-auth/{gateway}/{target}',
      'The same for Envoy: its own method, path and query',
      true,
    ),
    {
      method: 'GET',
      path: '/gateways/{gateway}/protected-resource',
      auth: { kind: 'public' },
      errors: 'problem',
      describe: {
        summary: 'Which broker protects what is behind a gateway (RFC 9728)',
        tag: 'metadata',
        responses: {
          200: { description: 'Metadata', schema: z.looseObject({ resource: z.string() }) },
          404: { description: 'No such gateway', schema: problemSchema },
        },
      },
      handle(incoming) {
        const gateway = gateways().get(incoming.params['gateway'] ?? '');
        if (!gateway) throw new Denied({ tag: 'not_found' });
        return json(200, {
          resource: gateway.verifier.audience,
          authorization_servers: [ports.policy().issuer],
          bearer_methods_supported: ['header'],
          dpop_signing_alg_values_supported: DPOP_ALGS,
          authorization_details_types_supported: ['mission_resource_access'],
        });
      },
    },
  ];
}

async function judge(
  ports: Ports,
  behaviour: CallBehaviour,
  gateways: Gateways,
  incoming: Incoming,
  by_path: boolean,
): Promise<Outgoing> {
  const gateway = authenticateGateway(
    gateways().get(incoming.params['gateway'] ?? ''),
    header(incoming, SECRET_HEADER),
  );
  if (gateway === null || (gateway.kind === 'envoy') !== by_path)
    throw new Denied({ tag: 'forbidden', needs: 'a registered gateway' });
  const verdict = await forwardAuth(ports, behaviour, gateway, readForwarded(gateway, incoming));
  if (verdict.permitted)
    return {
      status: 200,
      headers: {
        'cache-control': 'no-store',
        'sortie-mission': verdict.mission_id,
        'sortie-client': encodeURIComponent(verdict.client_id),
      },
      text: '',
    };
  const metadata = `${ports.policy().issuer}/gateways/${gateway.id}/protected-resource`;
  const { status, headers, body } = answerOf(verdict.denial, verdict.scheme, metadata);
  // For gateways that build their own page: the code without a body to parse.
  return { status, headers: { ...headers, 'sortie-denial': verdict.denial.code }, json: body };
}

function readForwarded(gateway: Gateway, incoming: Incoming): ForwardedRequest {
  const described = {
    nginx: () => [header(incoming, 'x-original-method'), header(incoming, 'x-original-uri')] as const,
    caddy: () => [header(incoming, 'x-forwarded-method'), header(incoming, 'x-forwarded-uri')] as const,
    traefik: () => [header(incoming, 'x-forwarded-method'), header(incoming, 'x-forwarded-uri')] as const,
    envoy: () => [incoming.sent_method, incoming.params['target']] as const,
  };
  const [method, target] = described[gateway.kind]();
  return {
    method,
    target,
    authorization: header(incoming, 'authorization'),
    proof: header(incoming, 'dpop'),
  };
}
