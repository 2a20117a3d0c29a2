/** Gateways that ask by forward-auth: their part of the configuration, and what it compiles to. */
import { z } from 'zod';
import { compileGateway } from '../domain/gateway.ts';
import { GATEWAY_KINDS, type Gateway, secretDigest } from '../operations/forward-auth.ts';
import type { VerifierPolicy } from '../ports.ts';
import { secretSchema } from './secret.ts';

/** Shorter ones can be guessed. */
const SECRET_MIN_LENGTH = 24;

const routeSchema = z.strictObject({
  methods: z
    .array(z.enum(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', '*']))
    .min(1)
    .describe('Methods of the request; * for every one.'),
  path: z
    .string()
    .startsWith('/')
    .describe('`/invoices/{id}`: a {name} is one whole segment; a last {name...} takes the rest.'),
  action: z.string().min(1).max(128).describe("One of the audience's actions."),
  resource: z
    .string()
    .startsWith('/')
    .optional()
    .describe('What is acted on, below the audience, with {name} from the path; else the audience itself.'),
  parameters: z
    .record(z.string().min(1).max(64), z.string().min(1).max(128))
    .optional()
    .describe('Parameter of the call to path.<name> or query.<name>; else every {name} of the path.'),
});

export const gatewaySchema = z.strictObject({
  id: z
    .string()
    .min(1)
    .max(64)
    .refine((id) => encodeURIComponent(id) === id, 'must need no escaping in a URL')
    .describe('In its URL: /forward-auth/{id}.'),
  kind: z.enum(GATEWAY_KINDS).describe('Says which headers tell what the request was; no other is read.'),
  audience: z.string().min(1).describe('The registered audience behind it.'),
  secret: secretSchema.describe(
    'Shared with the gateway, at least 24 characters; it sends it with every question.',
  ),
  base_url: z
    .url({ protocol: /^https?$/ })
    .refine(
      (url) => !url.endsWith('/') && !url.includes('?') && !url.includes('#'),
      'must have no trailing slash',
    )
    .describe("What agents call it: their proofs' `htu` starts with it."),
  routes: z.array(routeSchema).min(1).describe('Which requests are which actions; all others are denied.'),
});

export type GatewayConfig = z.output<typeof gatewaySchema>;

/** As whom a gateway judges: its audience, and its name in the audit chain. It asks for each call. */
export function gatewayVerifier({ id, audience }: Pick<GatewayConfig, 'id' | 'audience'>): VerifierPolicy {
  return { id: `gateway:${id}`, audience, asks: true };
}

/**
 * @param audiences what is registered, with its actions
 * @param secretOf reads a secret; its fault passes through
 * @throws Error naming the gateway
 */
export function openGateways(
  configs: readonly GatewayConfig[],
  audiences: readonly { readonly resource: string; readonly actions: readonly { readonly name: string }[] }[],
  secretOf: (source: GatewayConfig['secret']) => string,
): ReadonlyMap<string, Gateway> {
  const gateways = new Map<string, Gateway>();
  for (const config of configs) {
    const at = `gateway ${config.id}`;
    if (gateways.has(config.id)) throw new Error(`${at} is there twice`);
    const audience = audiences.find(({ resource }) => resource === config.audience);
    if (!audience) throw new Error(`${at} names an audience that is not registered`);
    const known = new Set(audience.actions.map(({ name }) => name));
    for (const { action } of config.routes)
      if (!known.has(action)) throw new Error(`${at}: ${action} is not an action of ${config.audience}`);
    const secret = secretOf(config.secret);
    if (secret.length < SECRET_MIN_LENGTH)
      throw new Error(`${at}: its secret has fewer than ${SECRET_MIN_LENGTH} characters`);
    const verifier = gatewayVerifier(config);
    gateways.set(config.id, {
      id: config.id,
      kind: config.kind,
      base_url: config.base_url,
      secret_digest: secretDigest(secret),
      routes: compileGateway(config.audience, config.routes as Parameters<typeof compileGateway>[1]),
      verifier,
    });
  }
  return gateways;
}
