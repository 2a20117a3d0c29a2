/** Missions of a running test broker, and the forms that its token endpoint takes. */
import { afterEach, expect } from 'vitest';
import {
  creation,
  ERP,
  type KeyHolder,
  MAIL,
  newKey,
  startBroker,
  type TestBroker,
  type TestBrokerOptions,
  type TokenBody,
} from './broker.ts';

export const GRANT = { grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange' };
export const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';
export const JWT = 'urn:ietf:params:oauth:token-type:jwt';

/** A running mission, with what renews it. */
export interface HeldMission extends TokenBody {
  readonly key: KeyHolder;
  /** The claim that names the workload's instance. */
  readonly run: string;
  readonly evidence: string;
  readonly access_token: string;
}

/** A mission of an instance of its own, unless `claims` name one. */
export async function newMission(
  broker: TestBroker,
  more: Record<string, string> = {},
  claims: Record<string, unknown> = {},
): Promise<HeldMission> {
  const [key, run] = [await newKey(), String(claims['run'] ?? crypto.randomUUID())];
  const evidence = await broker.evidence({ ...claims, run });
  const { status, body } = await broker.token(key, creation(evidence, more));
  expect(status).toBe(200);
  return { ...body, key, run, evidence };
}

/** The form of a renewal. */
export const renewal = (evidence: string, mission_id: string, more: Record<string, string> = {}) => ({
  ...GRANT,
  subject_token: evidence,
  subject_token_type: JWT,
  mission_id,
  resource: ERP,
  ...more,
});

/** The form of an exchange of a token for another of the same mission. */
export const exchange = (token: string, more: Record<string, string> = {}) => ({
  ...GRANT,
  subject_token: token,
  subject_token_type: ACCESS_TOKEN,
  resource: MAIL,
  ...more,
});

/** A `mission_resource_access` entry. */
export const entry = (actions: string[], more: Record<string, unknown> = {}, resource = ERP) => ({
  type: 'mission_resource_access',
  resource,
  actions,
  ...more,
});

/** For files in which each test has a broker of its own: starts one, and closes it after the test. */
export function brokerPerTest(): (options: TestBrokerOptions) => Promise<TestBroker> {
  let sortie: TestBroker | null = null;
  afterEach(async () => {
    await sortie?.close();
    sortie = null;
  });
  return async (options) => {
    sortie = await startBroker(options);
    return sortie;
  };
}

/** Asks for a mission and answers whatever came. */
export async function create(
  broker: TestBroker,
  more: Record<string, string> = {},
  claims: Record<string, unknown> = {},
) {
  const key = await newKey();
  return { key, ...(await broker.token(key, creation(await broker.evidence(claims), more))) };
}
