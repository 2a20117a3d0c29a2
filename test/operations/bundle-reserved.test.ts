/**
 * A reserved audience's JWT never leaves the broker, whichever way it is asked for: whoever held one could log in as
 * the broker where a provider does. Every answer of the broker in this file is searched for such a token.
 */
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { creation, ERP, inAnHour, type KeyHolder, newKey, type TestBroker } from '../support/broker.ts';
import { type BundleBroker, type BundleManifest, startBundle, VAULT_AUDIENCE } from '../support/bundle.ts';
import { postgresFor } from '../support/postgres.ts';

const bin = postgresFor('reserved audiences');

const GRANT = 'urn:ietf:params:oauth:grant-type:token-exchange';
const ACCESS = 'urn:ietf:params:oauth:token-type:access_token';
const JWT = 'urn:ietf:params:oauth:token-type:jwt';
const LOGIN = { type: 'mission_resource_access', resource: VAULT_AUDIENCE, actions: ['login'] };
const BOTH = JSON.stringify({
  intent: { goal: 'Log in as the broker', resources: [ERP, VAULT_AUDIENCE], expires_at: inAnHour() },
});

describe.skipIf(bin === null)('the JWT of a reserved audience', () => {
  let bundle: BundleBroker;
  let broker: TestBroker;
  const answers: string[] = [];

  beforeAll(async () => {
    bundle = await startBundle(bin ?? '', {
      template: {
        ceiling: [
          {
            type: 'mission_resource_access',
            resource: ERP,
            actions: ['invoices.read'],
            delegation: { max_depth: 1, allowed_delegates: [{ sub_profile: 'ai_agent' }] },
          },
          { ...LOGIN, delegation: { max_depth: 1, allowed_delegates: [{ sub_profile: 'ai_agent' }] } },
          {
            type: 'vault_secret',
            server: 'main',
            role: 'reader',
            paths: ['database/creds/readonly'],
          },
        ],
      },
    });
    ({ broker } = bundle);
  }, 120_000);
  afterAll(() => bundle?.close());

  /** Remembers the answer for the search at the end. */
  function heard<T extends { readonly body: unknown }>(answer: T): T {
    answers.push(JSON.stringify(answer.body));
    return answer;
  }

  async function mission(run: string): Promise<{ key: KeyHolder; token: string; id: string }> {
    const key = await newKey();
    const { status, body } = heard(
      await broker.token(key, creation(await broker.evidence({ run }), { mission_intent: BOTH })),
    );
    expect(status).toBe(200);
    return { key, token: body.access_token, id: body.mission_id };
  }

  it('is refused at creation, also for a mission that may use the audience', async () => {
    const { status, body } = heard(
      await broker.token(
        await newKey(),
        creation(await broker.evidence({ run: 'create' }), {
          mission_intent: BOTH,
          resource: VAULT_AUDIENCE,
        }),
      ),
    );
    expect(status).toBe(400);
    expect(body.error).toBe('invalid_target');
  });

  it('is refused at renewal', async () => {
    const { key, id } = await mission('renew');
    const { body } = heard(
      await broker.token(key, {
        grant_type: GRANT,
        subject_token: await broker.evidence({ run: 'renew' }),
        subject_token_type: JWT,
        mission_id: id,
        resource: VAULT_AUDIENCE,
        authorization_details: JSON.stringify([LOGIN]),
      }),
    );
    expect(body.error).toBe('invalid_target');
  });

  it('is refused for another token of the mission', async () => {
    const { key, token } = await mission('exchange');
    const { body } = heard(
      await broker.token(key, {
        grant_type: GRANT,
        subject_token: token,
        subject_token_type: ACCESS,
        resource: VAULT_AUDIENCE,
      }),
    );
    expect(body.error).toBe('invalid_target');
  });

  it('is refused to a child, by reservation and by activation', async () => {
    const { key, token } = await mission('parent');
    const reserved = heard(
      await broker.token(key, {
        grant_type: GRANT,
        subject_token: token,
        subject_token_type: ACCESS,
        resource: VAULT_AUDIENCE,
        child_actor: JSON.stringify({ sub: 'agents/reader' }),
        mission_intent: BOTH,
      }),
    );
    // A reservation hands out a grant and no token, whatever it names.
    const grant =
      reserved.status === 200
        ? reserved.body.access_token
        : heard(
            await broker.token(key, {
              grant_type: GRANT,
              subject_token: token,
              subject_token_type: ACCESS,
              child_actor: JSON.stringify({ sub: 'agents/reader' }),
              mission_intent: BOTH,
            }),
          ).body.access_token;
    const activated = heard(
      await broker.token(await newKey(), {
        grant_type: GRANT,
        subject_token: await broker.evidence({ sub: 'reader', run: 'child' }),
        subject_token_type: JWT,
        resource: VAULT_AUDIENCE,
        delegation: grant,
      }),
    );
    expect(activated.body.error).toBe('invalid_target');
  });

  it('is in no bundle, no repeated one and no renewal, though a provider logs in with it there', async () => {
    const key = await newKey();
    const more = {
      creation_request_id: crypto.randomUUID(),
      intent: { goal: 'Log in', resources: [ERP, VAULT_AUDIENCE], expires_at: inAnHour() },
    };
    const logins = () => bundle.vault.requests.filter(({ path }) => path === 'auth/jwt/login').length;
    const before = logins();
    const first = heard(await bundle.declare(key, more, 'declared'));
    const second = heard(await bundle.declare(key, more, 'declared'));
    const audiences = ({ credentials }: BundleManifest) =>
      [...new Set(credentials.map(({ audience }) => audience))].sort();
    for (const { status, body } of [first, second]) {
      expect(status).toBe(201);
      // The mission has the authority; nobody gets the token.
      expect(JSON.stringify(body)).toContain('"login"');
      expect(audiences(body)).toEqual([ERP, 'main/reader']);
    }
    const secret = second.body.credentials.find(({ type }) => type === 'vault_secret');
    const renewed = heard(await bundle.renew(key, second.body.mission.id, [String(secret?.id)], 'declared'));
    expect(renewed.status).toBe(200);
    expect(audiences(renewed.body)).toEqual([ERP, 'main/reader']);
    expect(logins()).toBeGreaterThanOrEqual(before + 3);
    const token = String(first.body.credentials.find(({ type }) => type === 'jwt')?.value);
    const shown = heard(await broker.holder(key, 'GET', `/missions/${first.body.mission.id}`, { token }));
    expect(shown.status).toBe(200);
    const jwt = second.body.credentials.find(({ type }) => type === 'jwt');
    const asked = heard(await bundle.renew(key, second.body.mission.id, [String(jwt?.id)], 'declared'));
    expect(asked.status).toBe(400);
  });

  it('was in none of these answers', () => {
    const found = answers.flatMap((text) => text.match(/eyJ[\w-]+\.[\w-]+\.[\w-]+/g) ?? []);
    expect(found.length).toBeGreaterThan(5);
    const audiences = new Set(found.map((token) => decodeJwt(token).aud));
    expect([...audiences].flat()).toContain(ERP);
    expect([...audiences].flat()).not.toContain(VAULT_AUDIENCE);
  });
});
