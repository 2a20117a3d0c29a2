/**
 * The broker's configuration file: one strict schema, from which the JSON Schema for editors is generated and
 * against which the example is tested. Every key has its description here and nowhere else.
 */
import { z } from 'zod';
import { attesterConfigSchema } from '../attesters/config.ts';
import { TIERS } from '../domain/mission.ts';
import { patternFault } from '../domain/pattern.ts';
import { duration } from './duration.ts';
import { gatewaySchema } from './gateways.ts';
import { providersSchema } from './providers.ts';
import { secretSchema } from './secret.ts';

export const patternSchema = z.string().superRefine((pattern, context) => {
  const fault = patternFault(pattern);
  if (fault !== null) context.addIssue({ code: 'custom', message: fault });
});

const audienceUri = z
  .url({ protocol: /^https?$/ })
  .refine((uri) => !uri.includes('#') && !uri.endsWith('/'), 'must have no fragment and no trailing slash')
  .describe('Resource indicator (RFC 8707): the `resource` that agents ask for and the `aud` of its tokens.');

const jwkSchema = z.looseObject({ kty: z.string() }).refine((jwk) => !('d' in jwk) && !('k' in jwk), {
  message: 'must be a public key: a private or symmetric key does not belong in a configuration file',
});

export const brokerSchema = z.strictObject({
  issuer: z
    .url({ protocol: /^https?$/ })
    .refine(
      (url) => !url.endsWith('/') && !url.includes('?') && !url.includes('#'),
      'must have no trailing slash',
    )
    .describe("The broker's own URL: `iss` of its tokens and the audience that evidence must name."),
  development: z
    .boolean()
    .default(false)
    .describe(
      'Approves the templates of the folder by itself and allows a plain-http issuer off loopback. Says so loudly.',
    ),
  listen: z
    .strictObject({
      host: z.string().default('127.0.0.1').describe('Address to bind. TLS ends in front of the broker.'),
      port: z.number().int().min(0).max(65_535).default(8480).describe('Port; 0 picks a free one.'),
    })
    .prefault({})
    .describe('Where the broker listens.'),
  store: z
    .strictObject({
      sqlite: z
        .strictObject({ path: z.string().min(1).describe('Database file, relative to this one.') })
        .describe('SQLite, in the broker itself.'),
    })
    .describe('Where missions, credentials and the audit chain live.'),
  keys: z
    .strictObject({
      key_encryption_key: secretSchema.describe('32 bytes in base64 that seal the signing keys at rest.'),
      rotate_every: duration().prefault('30d').describe('How long a signing key signs.'),
      publish_ahead: duration()
        .prefault('1h')
        .describe('How long a key is published before it signs: longer than any verifier caches keys.'),
    })
    .describe('Signing keys.'),
  dpop: z
    .strictObject({
      require_nonce: z
        .boolean()
        .default(true)
        .describe('Demand a server nonce in each proof (RFC 9449 section 8).'),
    })
    .prefault({})
    .describe('Proof of possession at the broker.'),
  tokens: z
    .strictObject({
      max_ttl: duration()
        .prefault('15m')
        .describe('No template may give a token a longer life; verifiers refuse longer ones.'),
    })
    .prefault({})
    .describe('Access tokens.'),
  attesters: z
    .array(attesterConfigSchema)
    .min(1)
    .describe('Who may vouch for a workload, and what its claims mean.'),
  audiences: z
    .array(
      z.strictObject({
        resource: audienceUri,
        name: z.string().min(1).max(64).describe('For people.'),
        token_alg: z
          .enum(['ES256', 'RS256', 'Ed25519'])
          .default('ES256')
          .describe('Signature of its tokens.'),
        reserved: z
          .boolean()
          .default(false)
          .describe('Used inside the broker to log in to a provider; its tokens are never handed out.'),
        max_staleness: duration()
          .prefault('30s')
          .describe('A verifier whose revocation list is older than this denies.'),
        actions: z
          .record(
            z.string().min(1).max(128),
            z.strictObject({
              labels: z
                .array(z.string().min(1).max(32))
                .default([])
                .describe('read, effect, consequential, external, sensitive.'),
              description: z.string().max(512).optional().describe('For people.'),
            }),
          )
          .default({})
          .describe('Every action that a token for this audience can name, beside those of its catalogue.'),
        catalogue: z
          .string()
          .min(1)
          .optional()
          .describe(
            'A file with labels, destinations and trust by field (docs/containment.md); its actions and labels are added to those here. `sortie catalogue suggest` proposes one.',
          ),
      }),
    )
    .default([])
    .describe('Registered resource servers.'),
  verifiers: z
    .array(
      z.strictObject({
        id: z.string().min(1).max(128).describe('`iss` and `sub` of its client assertion.'),
        audience: audienceUri.describe('The only audience whose tokens it sees.'),
        auth: z
          .union([
            z.strictObject({ private_key_jwt: z.array(jwkSchema).min(1).describe('Its public keys.') }),
            z.strictObject({
              private_key_jwt_file: z
                .string()
                .min(1)
                .describe('A JSON Web Key Set file with its public keys.'),
            }),
            z.strictObject({
              evidence: z
                .strictObject({
                  attester: z.string().describe('Name of an attester.'),
                  agent: patternSchema.describe('Agent id.'),
                })
                .describe('Evidence from this attester whose agent id matches.'),
            }),
          ])
          .describe('How each of its processes proves what it is.'),
        processes: z
          .number()
          .int()
          .min(1)
          .max(10_000)
          .optional()
          .describe(
            "The most processes that it runs at once, each counting its part of a token's `limits`. Without it this verifier counts nothing, and max_calls is refused for its audience.",
          ),
        counts_bytes: z
          .boolean()
          .default(false)
          .describe(
            'Its processes also count the bytes that they send; without it max_egress_volume is refused for its audience.',
          ),
        asks: z
          .boolean()
          .default(false)
          .describe(
            'It asks the broker for each call (POST /access/v1/evaluation) and permits none by itself: the broker counts its calls, one by one. Not for a verifier with a guard.',
          ),
      }),
    )
    .default([])
    .describe('Processes that check calls.'),
  providers: providersSchema,
  gateways: z
    .array(gatewaySchema)
    .default([])
    .describe('Gateways that ask about each request: APIs that need no code of their own.'),
  templates: z
    .strictObject({
      folder: z.string().min(1).describe('Template files (*.yaml) that are imported at start and on reload.'),
    })
    .optional()
    .describe("Mission templates. Outside development each version still needs a person's approval."),
  dispatch: z
    .array(
      z.strictObject({
        agent: patternSchema.describe('Agent id; * stands for one whole segment.'),
        tier: z.enum(TIERS).optional().describe('The weakest evidence that this rule accepts.'),
        purpose: z.string().optional().describe('`purpose` of the intent, exactly.'),
        template: z.string().describe('Id of the template to instantiate.'),
      }),
    )
    .default([])
    .describe("Which template an agent's mission is cut from: the first match wins, none is a refusal."),
  admin: z
    .strictObject({
      bootstrap_token_file: z
        .string()
        .min(1)
        .describe('Written once (0600) while there is no admin: creates the first one within an hour.'),
    })
    .describe('The admin API.'),
  overload: z
    .strictObject({
      concurrent_exchanges: z
        .number()
        .int()
        .min(1)
        .default(64)
        .describe('Exchanges at work at once; more get 503.'),
      concurrent_per_instance: z
        .number()
        .int()
        .min(1)
        .default(32)
        .describe('Exchanges at work at once for one key, so that one agent cannot starve the others.'),
    })
    .prefault({})
    .describe('When the broker sheds load.'),
  retention: z
    .strictObject({
      missions: duration().prefault('30d').describe('Ended missions are kept for this long.'),
      credentials: duration()
        .prefault('7d')
        .describe('Records of expired credentials are kept for this long.'),
      audit: duration().prefault('400d').describe('Sealed audit segments are kept for this long.'),
      reports: duration()
        .prefault('30d')
        .describe('Decisions and observations of verifiers are kept for this long.'),
    })
    .prefault({})
    .describe('What is pruned, and when.'),
  log: z
    .strictObject({
      level: z
        .enum(['debug', 'info', 'warn', 'error', 'silent'])
        .default('info')
        .describe('Least severe line printed.'),
    })
    .prefault({})
    .describe('Log lines go to standard error as JSON.'),
});

export type BrokerConfig = z.output<typeof brokerSchema>;
export type { SecretSource } from './secret.ts';
