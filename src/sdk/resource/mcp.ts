/**
 * Model Context Protocol servers over Streamable HTTP: each tool call is an action and its arguments are the
 * parameters; a list shows only what the token names; the rest of the protocol needs a living token and acts on
 * nothing. Put it before the transport:
 *
 *     const permit = await mcp.admit(request, response, request.body);
 *     if (permit !== null) await transport.handleRequest(request, response, request.body);
 *
 * `permitOfMcp(extra)` gives the permit to the SDK's request handlers.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { CallContext } from '../../domain/authority/index.ts';
import { isJsonObject, type JsonObject } from '../../domain/json.ts';
import type { Guard } from './guard.ts';
import { HttpAdapter, type HttpAdapterOptions } from './node-http.ts';
import type { VerifiedToken } from './token.ts';
import { namesAction } from './visible-actions.ts';

export interface McpGuardOptions extends HttpAdapterOptions {
  /** The catalogued action of a tool; null refuses it. Default: the tool's own name. */
  readonly action?: (tool: string) => string | null;
  /** Facts of a call beside the tool's name, such as an amount. */
  readonly context?: (tool: string, parameters: JsonObject) => CallContext;
}

/** The `AuthInfo` of the MCP SDK. Its token member is an id: the credential stays with the guard. */
export interface McpAuthInfo {
  readonly token: string;
  readonly clientId: string;
  readonly scopes: string[];
  /** Seconds since the epoch. */
  readonly expiresAt: number;
  readonly extra: { readonly permit: VerifiedToken };
}

type McpRequest = IncomingMessage & { auth?: McpAuthInfo };

/** What the SDK gives a request handler beside the request, as far as it is used here. */
export interface McpRequestExtra {
  readonly authInfo?: { readonly extra?: Record<string, unknown> | undefined } | undefined;
}

const permits = new WeakSet<object>();

/** The verified token of the HTTP request that brought a message; undefined where no guard admitted it. */
export function permitOfMcp({ authInfo }: McpRequestExtra): VerifiedToken | undefined {
  const permit = authInfo?.extra?.['permit'];
  return isPermit(permit) ? permit : undefined;
}

/** Only what a guard in this process permitted: `authInfo` may have been set by anything. */
function isPermit(value: unknown): value is VerifiedToken {
  return typeof value === 'object' && value !== null && permits.has(value);
}

/** Methods that read what there is, or keep the session; each needs a living token. */
const HARMLESS: ReadonlySet<string> = new Set([
  'initialize',
  'ping',
  'tools/list',
  'logging/setLevel',
  'notifications/initialized',
  'notifications/cancelled',
  'notifications/progress',
]);

export class McpGuard {
  readonly #guard: Guard;
  readonly #adapter: HttpAdapter;
  readonly #action: (tool: string) => string | null;
  readonly #context: (tool: string, parameters: JsonObject) => CallContext;

  constructor(guard: Guard, options: McpGuardOptions = {}) {
    this.#guard = guard;
    this.#adapter = new HttpAdapter(guard, options);
    this.#action = options.action ?? ((tool) => tool);
    this.#context = options.context ?? (() => ({}));
  }

  /**
   * Judges one HTTP request of the transport. Null: it was refused and answered.
   * @param body the parsed JSON-RPC message of a POST. A batch is refused: one proof is for one call.
   */
  async admit(
    request: IncomingMessage,
    response: ServerResponse,
    body?: unknown,
  ): Promise<VerifiedToken | null> {
    const permit = await this.#judge(request, response, body);
    if (permit !== null) {
      permits.add(permit);
      (request as McpRequest).auth = {
        token: permit.claims.jti,
        clientId: permit.agent,
        scopes: [],
        expiresAt: permit.claims.exp,
        extra: { permit },
      };
    }
    return permit;
  }

  /** Serves the RFC 9728 metadata; false for every other request. */
  metadata(request: IncomingMessage, response: ServerResponse): boolean {
    return this.#adapter.metadata(request, response);
  }

  /** The tools that the token names, for the answer to `tools/list`. */
  visible<Tool extends { readonly name: string }>(
    permit: VerifiedToken | undefined,
    tools: readonly Tool[],
  ): Tool[] {
    if (permit === undefined) return [];
    return tools.filter(({ name }) => {
      const action = this.#action(name);
      return (
        action !== null && namesAction(permit.claims.authorization_details, this.#guard.audience, action)
      );
    });
  }

  #judge(request: IncomingMessage, response: ServerResponse, body: unknown): Promise<VerifiedToken | null> {
    // GET opens the server's stream, DELETE ends the session: both act on nothing.
    if (request.method !== 'POST') return this.#adapter.recognize(request, response);
    const message = isJsonObject(body) ? body : null;
    const method = message?.['method'];
    // Answers of the client to requests of the server carry no method.
    const answers = message !== null && method === undefined && ('result' in message || 'error' in message);
    if (answers || (typeof method === 'string' && HARMLESS.has(method)))
      return this.#adapter.recognize(request, response);
    const tool = method === 'tools/call' ? toolOf(message) : null;
    return this.#adapter.admit(
      {
        action: () => (tool === null ? null : this.#action(tool.name)),
        parameters: () => tool?.parameters ?? {},
        context: () =>
          tool === null ? {} : { ...this.#context(tool.name, tool.parameters), tool: tool.name },
      },
      request,
      response,
    );
  }
}

function toolOf(
  message: JsonObject | null,
): { readonly name: string; readonly parameters: JsonObject } | null {
  const params = message?.['params'];
  if (!isJsonObject(params)) return null;
  const { name, arguments: given } = params;
  if (typeof name !== 'string' || (given !== undefined && !isJsonObject(given))) return null;
  return { name, parameters: given ?? {} };
}
