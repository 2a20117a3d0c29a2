/** The verifier bundle: fetched, its signature checked, never an older one than before. */
import { BUNDLE_TYP, type Bundle, readBundle } from '../../domain/bundle.ts';
import { isJsonObject, parseJson } from '../../domain/json.ts';
import type { Alarm } from './alarm.ts';
import { type BrokerClient, readBounded } from './broker-client.ts';
import { type KeyRing, keyRing, verifies } from './keys.ts';
import type { GuardState } from './state.ts';
import { readJson } from './token.ts';

const MAX_BUNDLE_BYTES = 4_194_304;
const MAX_JWKS_BYTES = 262_144;

export class BundleSource {
  readonly #client: BrokerClient;
  readonly #state: GuardState;
  readonly #alarm: Alarm;
  #running: Promise<void> | null = null;

  constructor(client: BrokerClient, state: GuardState, alarm: Alarm) {
    this.#client = client;
    this.#state = state;
    this.#alarm = alarm;
  }

  /** Fetches the bundle unless that is under way. @throws what the request throws; a bad bundle is an alarm, not thrown */
  refresh(): Promise<void> {
    this.#running ??= this.#fetch().finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  async #fetch(): Promise<void> {
    const held = this.#state.bundle;
    const response = await this.#client.request('/verifier/bundle', {
      headers: {
        accept: 'application/jwt',
        ...(held === null ? {} : { 'if-none-match': `"${held.version}"` }),
      },
    });
    if (response.status === 304) return;
    const text = (await readBounded(response, MAX_BUNDLE_BYTES)).trim();
    const bundle = await this.#verify(text);
    if (bundle === null) return;
    // An older bundle could bring back a key or drop a label.
    if (held !== null && bundle.iat < held.iat)
      return this.#alarm('bundle_rollback', `version ${bundle.version}`);
    this.#state.install(bundle);
  }

  async #verify(jws: string): Promise<Bundle | null> {
    const [head, payload, signature, ...more] = jws.split('.');
    if (head === undefined || payload === undefined || signature === undefined || more.length > 0)
      return this.#forged('not one compact JWS');
    const header = readJson(head);
    if (header === null || header['typ'] !== BUNDLE_TYP || header['crit'] !== undefined)
      return this.#forged('header');
    const kid = header['kid'];
    if (typeof kid !== 'string') return this.#forged('kid');
    // The keys of the bundle in force vouch for the next one; otherwise those that the issuer publishes.
    const key = this.#state.keys.get(kid) ?? (await this.#published()).get(kid);
    if (key === undefined || header['alg'] !== key.alg || !verifies(key, `${head}.${payload}`, signature))
      return this.#forged('signature');
    try {
      const claims = parseJson(Buffer.from(payload, 'base64url').toString('utf8'), {
        max_bytes: MAX_BUNDLE_BYTES,
        max_members: 200_000,
      });
      if (!isJsonObject(claims)) return this.#forged('claims');
      const bundle = readBundle(claims);
      if (bundle.iss !== this.#state.issuer || bundle.aud !== this.#state.audience)
        return this.#forged('issuer or audience');
      return bundle;
    } catch (error) {
      return this.#forged(error instanceof Error ? error.message : 'claims');
    }
  }

  async #published(): Promise<KeyRing> {
    const jwks = parseJson(await this.#client.text('/jwks', MAX_JWKS_BYTES), { max_bytes: MAX_JWKS_BYTES });
    const keys = isJsonObject(jwks) ? jwks['keys'] : undefined;
    return keyRing(Array.isArray(keys) ? keys.filter(isJsonObject) : []);
  }

  #forged(why: string): null {
    this.#alarm('bundle_forged', why);
    return null;
  }
}
