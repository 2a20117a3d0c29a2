/** Everything that the mission file says about how credentials reach the command, put in place and kept fresh. */
import type { JsonObject } from '../domain/json.ts';
import { instant } from '../domain/reader.ts';
import type { Credential } from '../sdk/agent/credential.ts';
import { reveal } from '../sdk/agent/credential-values.ts';
import type { Mission } from '../sdk/agent/mission.ts';
import { spokenFault } from '../sdk/agent/redact.ts';
import { deliverAws } from './aws.ts';
import { startLocalServer } from './local-server.ts';
import type { Deliveries } from './mission-file.ts';
import { POSTGRES_TAKEN_AWAY, serviceFile, variablesOf } from './postgres.ts';
import type { PrivateFolder } from './private-folder.ts';
import { passOn } from './proxy.ts';
import type { Report } from './report.ts';
import { NoSuchPart, partOf } from './value-parts.ts';

/** The mission file wants something that the mission does not hold. */
export class NotDeliverable extends Error {}

export interface Delivered {
  /** For the command; undefined takes a variable away. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Variables whose values nothing can change once the command runs. */
  readonly fixed: readonly string[];
  close(): Promise<void>;
}

/** A run's own rights must not pass to its command. */
const SORTIE_TAKEN_AWAY = ['SORTIE_ADMIN_TOKEN', 'SORTIE_ADMIN_TOKEN_FILE'];
/** Clocks and roundings: a credential that ends with its mission may seem to end a little before. */
const SAME_END_SECONDS = 5;

export async function deliverAll(parts: {
  readonly mission: Mission;
  readonly deliveries: Deliveries;
  readonly folder: PrivateFolder;
  readonly self: readonly string[];
  readonly report: Report;
}): Promise<Delivered> {
  const { mission, deliveries, folder, self, report } = parts;
  const env: Record<string, string | undefined> = Object.fromEntries(
    SORTIE_TAKEN_AWAY.map((name) => [name, undefined]),
  );
  const fixed: string[] = [];
  const closing: (() => Promise<void>)[] = [];
  /** By credential: what to write anew when its value is another. */
  const rewrites = new Map<Credential, (() => Promise<void>)[]>();
  const rewritten = (credential: Credential, write: () => Promise<void>): Promise<void> => {
    rewrites.set(credential, [...(rewrites.get(credential) ?? []), write]);
    return write();
  };
  const fault = (why: string) => report('warning', `a local server failed: ${why}`);
  const close = async () => {
    stop();
    await Promise.all(closing.map((end) => end()));
  };
  const stop = mission.on('replaced', ({ credential }) => {
    for (const write of rewrites.get(credential) ?? [])
      write().catch((cause: unknown) =>
        report('warning', `${nameOf(credential)} could not be put in place: ${spokenFault(cause)}`),
      );
  });

  try {
    if (deliveries.aws.length > 0) {
      const wanted = deliveries.aws.map(({ role, nth, container, profile, region }, at) => ({
        credential: choose(
          mission,
          `deliver.aws[${at}]`,
          role,
          nth,
          'aws_session',
        ) as Credential<'aws_session'>,
        container: container ?? false,
        profile,
        region,
      }));
      const delivered = await deliverAws(wanted, folder, self, fault);
      closing.push(delivered.close);
      Object.assign(env, delivered.env);
      for (const { credential, container, profile } of wanted)
        tell(report, credential, container ? 'the container endpoint' : `the profile ${profile}`);
    }

    if (deliveries.postgres.length > 0) {
      const logins = deliveries.postgres.map(({ credential, nth, service }, at) => ({
        credential: choose(
          mission,
          `deliver.postgres[${at}]`,
          credential,
          nth,
          'postgres_role',
        ) as Credential<'postgres_role'>,
        service: service ?? 'default',
      }));
      const write = async () => {
        const values = await Promise.all(logins.map(({ credential }) => credential.value()));
        folder.write(
          'pg_service.conf',
          serviceFile(
            logins.map(({ service }) => service),
            values,
          ),
        );
      };
      for (const { credential } of logins) await rewritten(credential, write);
      for (const name of POSTGRES_TAKEN_AWAY) env[name] = undefined;
      env['PGSERVICEFILE'] = folder.at('pg_service.conf');
      for (const { credential, service } of logins) {
        tell(report, credential, `the service ${service} in PGSERVICEFILE`);
        if (service !== 'default') continue;
        Object.assign(env, { PGSERVICE: service, ...variablesOf(await credential.value()) });
        fixed.push('PGUSER', 'PGPASSWORD');
        warnOfEnd(
          report,
          mission,
          credential,
          'PGUSER and PGPASSWORD (programs on libpq see the next login)',
        );
      }
    }

    for (const [at, { credential: target, nth, member, text, name, path_in }] of deliveries.files.entries()) {
      const where = `deliver.files[${at}]`;
      const credential = choose(mission, where, target, nth);
      await rewritten(credential, async () => {
        folder.write(name, partAt(where, await plain(credential, true), { member, text }));
      });
      env[path_in] = folder.at(name);
      tell(report, credential, `the file in ${path_in}`);
    }

    for (const [name, { credential: target, nth, member, text }] of Object.entries(deliveries.environment)) {
      const where = `deliver.environment.${name}`;
      const credential = choose(mission, where, target, nth);
      // Not renewed for this: the value in hand would end, and the command could not be told.
      env[name] = partAt(where, await plain(credential, false), { member, text });
      fixed.push(name);
      tell(report, credential, name);
      warnOfEnd(report, mission, credential, name);
      if (rewrites.has(credential))
        report(
          'warning',
          `${name}: its credential is renewed for a file too, and the variable will not follow`,
        );
    }

    for (const [at, proxy] of deliveries.proxies.entries()) {
      const { audience, url_in, secret_in, secret_in_url, socket_in } = proxy;
      await mission.token(audience).catch((cause: unknown) => {
        if (cause instanceof TypeError) throw new NotDeliverable(`deliver.proxies[${at}]: ${cause.message}`);
        throw cause;
      });
      const server = await startLocalServer({
        socket: socket_in === undefined ? null : folder.at(`proxy-${at}.sock`),
        secret_in_path: secret_in_url ?? false,
        fault,
        handle: (request, response) => passOn(mission, audience, request, response),
      });
      closing.push(server.close);
      if (socket_in !== undefined) env[socket_in] = server.address;
      if (url_in !== undefined)
        env[url_in] = secret_in_url ? `${server.address}/${server.secret}` : server.address;
      if (secret_in !== undefined) env[secret_in] = server.secret;
      report('delivered', `${audience} through ${url_in ?? socket_in}`, {
        audience,
        to: url_in ?? socket_in ?? '',
      });
    }
  } catch (cause) {
    await close();
    throw cause;
  }
  return { env, fixed, close };
}

function choose(
  mission: Mission,
  where: string,
  target: string,
  nth: number | undefined,
  type?: string,
): Credential {
  const found = mission.held.filter(
    (credential) => credential.target === target && (type === undefined || credential.type === type),
  );
  const chosen = nth === undefined && found.length === 1 ? found[0] : found[(nth ?? 0) - 1];
  if (chosen !== undefined) return chosen;
  const held = mission.held.map(nameOf).join(', ') || 'none';
  throw new NotDeliverable(
    found.length > 1 && nth === undefined
      ? `${where}: the mission holds ${found.length} credentials of ${target}: say which with nth`
      : `${where}: the mission holds no such ${type ?? 'credential'} of ${target}; it holds: ${held}`,
  );
}

async function plain(credential: Credential, keep: boolean): Promise<JsonObject> {
  return reveal((await credential.value({ keep })) as JsonObject);
}

function partAt(where: string, value: JsonObject, part: Parameters<typeof partOf>[1]): string {
  try {
    return partOf(value, part);
  } catch (cause) {
    if (cause instanceof NoSuchPart) throw new NotDeliverable(`${where}: ${cause.message}`);
    throw cause;
  }
}

function nameOf({ type, target }: Credential): string {
  return `${type} ${target}`;
}

function tell(report: Report, credential: Credential, to: string): void {
  const { type, target, expires_at } = credential;
  report('delivered', `${nameOf(credential)} in ${to}`, { type, target, expires_at, to });
}

/** A variable cannot follow a renewal. */
function warnOfEnd(report: Report, mission: Mission, credential: Credential, what: string): void {
  const [end, mission_end] = [instant(credential.expires_at) ?? 0, instant(mission.expires_at) ?? 0];
  if (end < mission_end - SAME_END_SECONDS)
    report(
      'warning',
      `${what}: ends at ${credential.expires_at}, before the mission; a file would be renewed`,
      {
        type: credential.type,
        target: credential.target,
        expires_at: credential.expires_at,
      },
    );
}
