/** PostgreSQL logins for libpq (psql, psycopg, ...), which reads its service file for each connection, and for others. */
import type { PostgresRoleValue } from '../sdk/agent/credential-values.ts';

/** What would lead past the login of the mission. */
export const POSTGRES_TAKEN_AWAY = [
  'PGHOST',
  'PGHOSTADDR',
  'PGPORT',
  'PGDATABASE',
  'PGUSER',
  'PGPASSWORD',
  'PGPASSFILE',
  'PGSERVICE',
  'PGSSLMODE',
];

/** One section for each service: a service's members go before variables (libpq, "The Connection Service File"). */
export function serviceFile(services: readonly string[], values: readonly PostgresRoleValue[]): string {
  return values
    .map((value, at) =>
      [
        `[${services[at]}]`,
        `host=${value.host}`,
        `port=${value.port}`,
        `dbname=${value.database}`,
        `user=${value.user}`,
        `password=${value.password}`,
        `sslmode=${value.sslmode}`,
        '',
      ].join('\n'),
    )
    .join('\n');
}

export function variablesOf(value: PostgresRoleValue): Readonly<Record<string, string>> {
  return {
    PGHOST: value.host,
    PGPORT: String(value.port),
    PGDATABASE: value.database,
    PGUSER: value.user,
    PGPASSWORD: value.password,
    PGSSLMODE: value.sslmode,
  };
}
