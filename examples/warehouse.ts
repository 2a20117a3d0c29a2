/**
 * An agent that reads a database which it has no standing login for, and lets a sub-agent read invoices.
 * docs/agents.md explains it part by part; tests run it against a real broker, a real PostgreSQL and a real sub-agent.
 */
import pg from 'pg';
import type { Agent, Mission } from '../src/sdk/agent/index.ts'; // @sortie/agent

/** Rows of a table, read with the login of this mission. */
export async function countRows(mission: Mission, table: string): Promise<number> {
  const login = mission.credential('postgres_role', 'warehouse/sales');
  // Asked for each connection: a renewed login is another one.
  const { host, port, database, user, password } = await login.value();
  const client = new pg.Client({ host, port, database, user, password });
  await client.connect();
  try {
    const { rows } = await client.query(
      `SELECT count(*)::int AS count FROM ${client.escapeIdentifier(table)}`,
    );
    return rows[0].count;
  } finally {
    await client.end();
  }
}

/** On the coordinator's side: a child mission for one agent, within what this mission may pass on. */
export async function passOnReading(mission: Mission, erp: string, reader: string): Promise<string> {
  const grant = await mission.delegate({
    to: reader,
    goal: 'Read the invoices of Acme',
    resources: [erp],
    lifetime_seconds: 600,
    authorization_details: [{ type: 'mission_resource_access', resource: erp, actions: ['invoices.read'] }],
  });
  return grant.value; // to the sub-agent, within a minute
}

/** On the sub-agent's side: its own evidence, its own key, its own mission. */
export async function takeUp(agent: Agent, grant: string): Promise<Mission> {
  const mission = await agent.activate(grant);
  mission.on('ended', ({ why }) => process.stderr.write(`over: ${why}\n`));
  return mission;
}
