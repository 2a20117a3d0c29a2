/** A broker whose missions get a secret of an emulated Vault besides their tokens. */
import type { JSONWebKeySet } from 'jose';
import { ERP, startBroker, TEMPLATE, type TestBroker } from '../../support/broker.ts';
import { startVaultEmulator, type VaultEmulator } from '../../support/vault-emulator.ts';

const VAULT_AUDIENCE = 'https://vault.example.com';

export interface BrokerWithSecrets {
  readonly sortie: TestBroker;
  readonly vault: VaultEmulator;
  /** Both clocks. */
  ahead(seconds: number): void;
  close(): Promise<void>;
}

/** Secrets live for `max_ttl_seconds`. @param template over the usual one */
export async function startWithSecrets(
  max_ttl_seconds: number,
  template: Record<string, unknown> = {},
): Promise<BrokerWithSecrets> {
  let url = '';
  let jwks: JSONWebKeySet = { keys: [] };
  const role = {
    policies: ['reader'],
    token_ttl: 60,
    token_max_ttl: 7200,
    bound_audiences: [VAULT_AUDIENCE],
  };
  const vault = await startVaultEmulator({
    jwks: () => jwks,
    get issuer() {
      return url;
    },
    roles: { reader: role, 'sortie-broker': { ...role, policies: ['revoker'], token_ttl: 600 } },
    policies: {
      reader: { 'database/creds/readonly': ['read'] },
      revoker: { 'auth/token/revoke-accessor': ['update'] },
    },
  });
  const sortie = await startBroker({
    template: {
      ...template,
      ceiling: [
        ...TEMPLATE.ceiling,
        {
          type: 'mission_resource_access',
          resource: ERP,
          actions: ['invoices.read'],
          delegation: { max_depth: 1, allowed_delegates: [{ sub_profile: 'ai_agent' }] },
        },
        { type: 'mission_resource_access', resource: VAULT_AUDIENCE, actions: ['login'] },
        {
          type: 'vault_secret',
          server: 'main',
          role: 'reader',
          paths: ['database/creds/readonly'],
          max_ttl_seconds,
          delegation: { max_depth: 1, allowed_delegates: [{ sub_profile: 'ai_agent' }] },
        },
      ],
    },
    config: (base) => {
      url = base.issuer;
      return {
        audiences: [
          ...base.audiences,
          { resource: VAULT_AUDIENCE, name: 'Vault', reserved: true, actions: { login: {} } },
        ],
        providers: {
          vault: [
            {
              name: 'main',
              url: vault.url,
              timeout: '2s',
              login: { jwt: { audience: VAULT_AUDIENCE, broker_role: 'sortie-broker' } },
            },
          ],
        },
      };
    },
  });
  jwks = (await (await fetch(`${sortie.url}/jwks`)).json()) as JSONWebKeySet;
  return {
    sortie,
    vault,
    ahead(seconds) {
      sortie.clock.ahead += seconds;
      vault.advance(seconds);
    },
    async close() {
      await sortie.close();
      await vault.close();
    },
  };
}
