/**
 * The agent. It has no credential for the ERP or the mail service and never gets a standing one: it asks its platform
 * what it is, declares a mission, and calls. What it does next comes from the demo, over IPC.
 */
import { connect, type Declaration, type Mission, SortieError } from '../../src/sdk/agent/index.ts'; // @sortie/agent
import type { AgentOrder, CallReport, WatchReport } from '../orders.ts';

const { BROKER = '', ISSUER = '', CLIENT_SECRET = '' } = process.env;
const JWT = 'urn:ietf:params:oauth:token-type:jwt';
let evidence_ms = 0;

const agent = await connect({
  issuer: BROKER,
  async evidence({ issuer }) {
    const started = performance.now();
    const answer = await fetch(`${ISSUER}/token`, {
      method: 'POST',
      headers: {
        authorization: `Basic ${Buffer.from(`reconciler:${CLIENT_SECRET}`).toString('base64')}`,
      },
      body: new URLSearchParams({ grant_type: 'client_credentials', resource: issuer }),
    });
    if (!answer.ok) throw new Error(`the platform's issuer answered ${answer.status}`);
    const { access_token } = (await answer.json()) as { access_token: string };
    evidence_ms = performance.now() - started;
    return { type: JWT, token: access_token };
  },
});

let mission: Mission;
let renewals = 0;
let ended: string | null = null;

async function declare(declaration: Declaration) {
  const started = performance.now();
  const declared = await agent.declare(declaration);
  const took_ms = performance.now() - started;
  mission = declared;
  mission.on('renewed', () => renewals++);
  mission.on('ended', ({ why }) => {
    ended = why;
  });
  return { manifest: mission.toJSON(), took_ms, evidence_ms };
}

/** One call, timed; a refusal is part of the report. */
async function call(order: Extract<AgentOrder, { do: 'call' }>): Promise<CallReport> {
  const before = renewals;
  const started_at = epoch();
  const report = async (): Promise<Pick<CallReport, 'status' | 'answer' | 'error'>> => {
    try {
      const answer = await mission.fetch(order.url, {
        method: order.method,
        ...(order.body !== undefined && {
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify(order.body),
        }),
      });
      return { status: answer.status, answer: await answer.json(), error: null };
    } catch (error) {
      if (!(error instanceof SortieError)) throw error;
      return { status: null, answer: null, error: error.toJSON() };
    }
  };
  const outcome = await report();
  return { ...outcome, started_at, ended_at: epoch(), renewed: renewals - before };
}

/** Calls without a pause until one is refused: shows when a kill is felt. */
async function watch(order: Extract<AgentOrder, { do: 'watch' }>): Promise<WatchReport> {
  const permitted: number[] = [];
  const deadline = epoch() + order.max_ms;
  for (;;) {
    const one = await call({ do: 'call', method: 'GET', url: order.url });
    if (one.error !== null) return { permitted, refused: one };
    permitted.push(one.started_at);
    if (epoch() > deadline) throw new Error(`no call was refused within ${order.max_ms} ms`);
  }
}

/** Milliseconds since the epoch, with a fraction; comparable between processes of one machine. */
function epoch(): number {
  return performance.timeOrigin + performance.now();
}

async function obey(order: AgentOrder): Promise<unknown> {
  switch (order.do) {
    case 'declare':
      return declare(order.declaration);
    case 'call':
      return call(order);
    case 'can':
      return mission.whyNot(order.action, {}, { resource: order.resource, context: order.context ?? {} });
    case 'watch':
      return watch(order);
    case 'status':
      return { jkt: agent.jkt, state: mission.state, version: mission.version, ended };
    case 'refresh':
      return mission.refresh();
    case 'leak':
      // What a careless log line would do. Nothing but this demo asks for it.
      return mission.token(order.resource);
  }
}

process.on('message', ({ id, order }: { id: number; order: AgentOrder }) => {
  obey(order).then(
    (value) => process.send?.({ id, value }),
    (error: unknown) =>
      process.send?.({
        id,
        error: error instanceof SortieError ? error.toJSON() : { message: String(error) },
      }),
  );
});
// Orders are what it lives for.
process.channel?.ref();
process.stdout.write('ready agent\n');
