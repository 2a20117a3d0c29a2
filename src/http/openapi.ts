/** `openapi.yaml` from the route table (OpenAPI 3.1): it cannot say anything that the code does not. */
import { z } from 'zod';
import type { Route, RouteAuth } from './route.ts';

const SECURITY: Record<RouteAuth['kind'], readonly Record<string, readonly string[]>[]> = {
  public: [],
  agent: [{ dpop: [] }],
  verifier: [{ verifierAssertion: [] }],
  admin: [{ adminToken: [] }],
};

/** zod's output without the members that OpenAPI does not know. */
function schemaOf(schema: z.ZodType): Record<string, unknown> {
  const {
    $schema: _schema,
    $id: _id,
    ...rest
  } = z.toJSONSchema(schema, {
    io: 'input',
    unrepresentable: 'any',
  }) as Record<string, unknown>;
  return rest;
}

export function openApiDocument(routes: readonly Route[], version: string): Record<string, unknown> {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of routes) {
    const path = paths[route.path] ?? {};
    paths[route.path] = path;
    path[route.method.toLowerCase()] = operationOf(route);
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Sortie',
      version,
      description: 'Ephemeral credential broker for AI agents. Generated from the route table; do not edit.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    tags: [
      { name: 'agents', description: 'Missions and tokens' },
      { name: 'verifiers', description: 'Checking calls' },
      { name: 'admin', description: 'Seeing and ending everything' },
      { name: 'metadata', description: 'Public' },
      { name: 'operations', description: 'Health and metrics' },
    ],
    paths,
    components: {
      securitySchemes: {
        dpop: {
          type: 'apiKey',
          in: 'header',
          name: 'DPoP',
          description:
            'A proof of possession (RFC 9449); at /missions/{id} with `Authorization: DPoP <token>`.',
        },
        verifierAssertion: {
          type: 'http',
          scheme: 'bearer',
          bearerFormat: 'JWT',
          description: 'private_key_jwt of a registered verifier, or its evidence.',
        },
        adminToken: { type: 'http', scheme: 'bearer', description: 'An admin token of sufficient role.' },
      },
    },
  };
}

function operationOf(route: Route): Record<string, unknown> {
  const { describe } = route;
  const names = [...route.path.matchAll(/\{([a-z_]+)\}/g)].map((found) => found[1] ?? '');
  const query = describe.query ? schemaOf(describe.query) : null;
  const parameters = [
    ...names.map((name) => ({ name, in: 'path', required: true, schema: { type: 'string' } })),
    ...Object.entries((query?.['properties'] ?? {}) as Record<string, unknown>).map(([name, schema]) => ({
      name,
      in: 'query',
      required: false,
      schema,
    })),
  ];
  return {
    operationId: `${route.method.toLowerCase()}_${route.path.replace(/[^a-z0-9]+/gi, '_').replace(/^_|_$/g, '')}`,
    summary: describe.summary,
    tags: [describe.tag],
    security: SECURITY[route.auth.kind],
    ...(route.auth.kind === 'admin' && { 'x-sortie-role': route.auth.role }),
    ...(parameters.length > 0 && { parameters }),
    ...((describe.form || describe.json) && {
      requestBody: {
        required: !describe.json?.safeParse(undefined).success,
        content: {
          ...(describe.form && { 'application/x-www-form-urlencoded': { schema: schemaOf(describe.form) } }),
          ...(describe.json && { 'application/json': { schema: schemaOf(describe.json) } }),
        },
      },
    }),
    responses: Object.fromEntries(
      Object.entries(describe.responses).map(([status, { description, content_type, schema }]) => [
        status,
        {
          description,
          ...((schema || content_type) && {
            content: {
              [content_type ?? contentTypeOf(route, Number(status))]: {
                schema: schema ? schemaOf(schema) : { type: 'string' },
              },
            },
          }),
        },
      ]),
    ),
  };
}

function contentTypeOf(route: Route, status: number): string {
  return status >= 400 && route.errors === 'problem' ? 'application/problem+json' : 'application/json';
}
