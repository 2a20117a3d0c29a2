/**
 * node-vault with its hazards closed: its own HTTP client follows redirects with the token, has no timeout and
 * puts the token into its errors, so every request goes through {@link send}; it reads VAULT_* variables and
 * traces what it writes, so both are turned off. A client holds one token: there is one for each mission.
 */

import nodeVault from 'node-vault';
import { isJsonObject, type JsonObject, type JsonValue } from '../../domain/json.ts';
import { send } from '../http.ts';
import { ProviderFault } from '../provider.ts';

export const PROVIDER = 'vault_secret';

export interface VaultAddress {
  /** Base URL without a path. */
  readonly url: string;
  /** Enterprise and OpenBao namespaces. */
  readonly namespace?: string;
  readonly ca?: string;
  /** For each request. */
  readonly timeout_ms: number;
}

/** One token's view of the API. Paths are ours or passed the entry's strict reader. */
export interface VaultClient {
  read(path: string, step: string): Promise<JsonObject>;
  write(
    path: string,
    body: JsonObject,
    step: string,
    headers?: Readonly<Record<string, string>>,
  ): Promise<JsonObject>;
}

/** A status that is not a success, with nothing of its body but whether it names an unknown accessor. */
export class VaultStatus extends Error {
  readonly status: number;
  readonly unknown_accessor: boolean;

  constructor(status: number, unknown_accessor: boolean) {
    super(`status ${status}`);
    this.status = status;
    this.unknown_accessor = unknown_accessor;
  }
}

/** What node-vault hands to the function under its `request-promise` option. */
interface NodeVaultRequest {
  readonly method: string;
  readonly uri: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly json?: unknown;
  readonly step?: string;
}

export function openVault(address: VaultAddress, token: string): VaultClient {
  const transport = async (request: NodeVaultRequest) => {
    const { status, body } = await send({
      provider: PROVIDER,
      step: request.step ?? 'request',
      url: request.uri,
      method: request.method,
      headers: {
        accept: 'application/json',
        'x-vault-request': 'true',
        ...(request.json === undefined ? {} : { 'content-type': 'application/json' }),
        ...request.headers,
      },
      ...(request.json === undefined ? {} : { body: JSON.stringify(request.json) }),
      timeout_ms: address.timeout_ms,
      ...(address.ca === undefined ? {} : { ca: address.ca }),
    });
    // The library would wrap the body into its error.
    if (status !== 200 && status !== 204) throw new VaultStatus(status, body.includes('invalid accessor'));
    return { statusCode: status, body: status === 204 ? {} : readBody(body), request: { path: '' } };
  };
  const client = nodeVault({
    endpoint: address.url,
    debug: () => undefined,
    'request-promise': { defaults: () => transport },
  });
  client.token = token;
  // Set after construction: empty options would fall back to VAULT_PREFIX and VAULT_NAMESPACE.
  Object.assign(client, { pathPrefix: '', namespace: address.namespace ?? '' });
  return {
    read: (path, step) => answered(client.read(path, { step })),
    write: (path, body, step, headers) =>
      answered(
        client.write(path, body, { step, ...(headers === undefined ? {} : { headers: { ...headers } }) }),
      ),
  };
}

async function answered(request: Promise<unknown>): Promise<JsonObject> {
  const body = (await request) as JsonValue;
  if (!isJsonObject(body))
    throw new ProviderFault(PROVIDER, 'unexpected_answer', 'the answer is no JSON object');
  return body;
}

function readBody(text: string): JsonValue {
  if (text === '') return {};
  try {
    return JSON.parse(text) as JsonValue;
  } catch {
    throw new ProviderFault(PROVIDER, 'unexpected_answer', 'the answer is no JSON');
  }
}

/** For a step that has no use for the status itself. */
export function faultOf(cause: unknown, step: string): ProviderFault {
  if (cause instanceof ProviderFault) return cause;
  if (!(cause instanceof VaultStatus))
    return new ProviderFault(PROVIDER, 'unexpected_answer', `${step}: failed`);
  const { status } = cause;
  // 429 too many requests, 472 and 473 standby, 503 sealed: another moment may do.
  if (status === 429 || status === 472 || status === 473 || status >= 500)
    return new ProviderFault(PROVIDER, 'unavailable', `${step}: status ${status}`);
  if (status === 404) return new ProviderFault(PROVIDER, 'misconfigured', `${step}: there is no such path`);
  return new ProviderFault(PROVIDER, 'refused', `${step}: status ${status}`);
}
