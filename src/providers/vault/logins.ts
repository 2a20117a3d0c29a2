/** How the broker gets tokens of Vault: one for itself to revoke with, and one for each lease, born on probation. */

import { isJsonObject, type JsonObject } from '../../domain/json.ts';
import { ProviderFault } from '../provider.ts';
import { faultOf, openVault, PROVIDER, type VaultAddress, type VaultClient, VaultStatus } from './client.ts';

/** Signs a JWT with the broker's key, for an audience that is reserved for this server. */
export type SignLogin = (claims: JsonObject) => Promise<string>;

export type VaultLogin =
  | {
      /** JWT auth with the broker's own JWT: no secret of Vault is kept anywhere. */
      readonly kind: 'jwt';
      /** Mount of the auth method, such as `jwt`. */
      readonly mount: string;
      /** `bound_audiences` of its roles; must be a reserved audience. */
      readonly audience: string;
      /** Role of the broker itself: it may call `auth/token/revoke-accessor` and nothing else. */
      readonly broker_role: string;
      readonly issuer: string;
      readonly sign: SignLogin;
    }
  | {
      /** A token of the broker that may create tokens of orphan token roles, and revoke by accessor. */
      readonly kind: 'token';
      readonly token: string;
    };

export interface VaultToken {
  readonly token: string;
  readonly accessor: string;
  readonly ttl_seconds: number;
}

/** A login JWT lives only as long as its use. */
const LOGIN_SECONDS = 60;
/** The broker's own token is renewed by a new login when this little is left. */
const SPARE_SECONDS = 30;

export class VaultLogins {
  readonly #address: VaultAddress;
  readonly #login: VaultLogin;
  #own: { readonly client: VaultClient; readonly until: number } | null = null;

  constructor(address: VaultAddress, login: VaultLogin) {
    this.#address = address;
    this.#login = login;
  }

  /** A new token of `role` for one lease. @throws ProviderFault */
  async forLease(
    role: string,
    lease: { readonly lease_id: string; readonly mission_id: string; readonly agent: string },
    probation_seconds: number,
    now: number,
  ): Promise<VaultToken> {
    if (this.#login.kind === 'jwt')
      return this.#jwt(role, { sub: lease.agent, jti: lease.lease_id, mission_id: lease.mission_id }, now);
    const client = openVault(this.#address, this.#login.token);
    return tokenOf(
      client.write(
        `auth/token/create/${role}`,
        {
          ttl: `${probation_seconds}s`,
          renewable: true,
          no_default_policy: false,
          display_name: lease.lease_id,
          meta: { mission: lease.mission_id, agent: lease.agent },
        },
        'creating a token',
      ),
      'creating a token',
    );
  }

  /**
   * A client of the broker's own, for revocation.
   * @param renewed true after the last one was refused
   */
  async own(now: number, renewed = false): Promise<VaultClient> {
    if (this.#login.kind === 'token') return openVault(this.#address, this.#login.token);
    if (this.#own !== null && !renewed && this.#own.until > now + SPARE_SECONDS) return this.#own.client;
    const { token, ttl_seconds } = await this.#jwt(this.#login.broker_role, { sub: this.#login.issuer }, now);
    const client = openVault(this.#address, token);
    this.#own = { client, until: now + ttl_seconds };
    return client;
  }

  async #jwt(role: string, claims: JsonObject, now: number): Promise<VaultToken> {
    if (this.#login.kind !== 'jwt') throw new Error('not a JWT login');
    const iat = Math.floor(now);
    const jwt = await this.#login.sign({
      iss: this.#login.issuer,
      aud: this.#login.audience,
      iat,
      nbf: iat,
      exp: iat + LOGIN_SECONDS,
      ...claims,
    });
    const login = openVault(this.#address, '').write(
      `auth/${this.#login.mount}/login`,
      { role, jwt },
      'logging in',
    );
    return tokenOf(login, 'logging in');
  }
}

async function tokenOf(answer: Promise<JsonObject>, step: string): Promise<VaultToken> {
  let auth: unknown;
  try {
    ({ auth } = await answer);
  } catch (cause) {
    // Vault answers 400 to a login that it does not accept.
    if (cause instanceof VaultStatus && cause.status === 400)
      throw new ProviderFault(PROVIDER, 'refused', `${step}: the broker's login was refused`);
    throw faultOf(cause, step);
  }
  if (
    !isJsonObject(auth) ||
    typeof auth['client_token'] !== 'string' ||
    typeof auth['accessor'] !== 'string' ||
    auth['accessor'] === '' ||
    typeof auth['lease_duration'] !== 'number'
  )
    // Batch tokens have no accessor and cannot be revoked: the role must make service tokens.
    throw new ProviderFault(
      PROVIDER,
      'misconfigured',
      `${step}: the answer is no service token with an accessor`,
    );
  return { token: auth['client_token'], accessor: auth['accessor'], ttl_seconds: auth['lease_duration'] };
}
