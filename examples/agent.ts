/**
 * An agent that reconciles invoices: `node examples/agent.ts https://broker.example.com https://erp.example.com`.
 * docs/agents.md explains it part by part; a test runs it against a real broker and a real guard.
 */
import { pathToFileURL } from 'node:url';
import {
  AttestationFailed,
  BrokerUnavailable,
  CallDenied,
  type ConnectOptions,
  connect,
  type Mission,
  MissionDenied,
  MissionEnded,
} from '../src/sdk/agent/index.ts'; // @sortie/agent

export interface Outcome {
  readonly approved: readonly string[];
  /** Invoices left for a person, with why. */
  readonly left: readonly { readonly id: string; readonly why: string }[];
}

interface Invoice {
  readonly amount: string;
  readonly currency: string;
}

export async function reconcile(
  options: Pick<ConnectOptions, 'issuer' | 'evidence'>,
  erp: string,
  invoices: readonly string[],
): Promise<Outcome> {
  const agent = await connect(options);
  const mission = await agent.declare({
    goal: 'Reconcile the Q3 invoices',
    resources: [erp],
    lifetime_seconds: 900,
    authorization_details: [
      {
        type: 'mission_resource_access',
        resource: erp,
        actions: ['invoices.read', 'invoices.approve'],
      },
    ],
  });
  for (const { wanted, granted, rule } of mission.narrowed) log('narrowed', { wanted, granted, rule });
  mission.on('narrowed', ({ version }) => log('less than before', { version }));
  mission.on('ended', ({ why }) => log('over', { why }));

  const approved: string[] = [];
  const left: { id: string; why: string }[] = [];
  try {
    for (const id of invoices) {
      const why = await approve(mission, erp, id);
      if (why === null) approved.push(id);
      else left.push({ id, why });
    }
    await mission.complete();
  } finally {
    agent.close();
  }
  return { approved, left };
}

/** Null if it was approved, else why not. */
async function approve(mission: Mission, erp: string, id: string): Promise<string | null> {
  try {
    const answer = await mission.fetch(`${erp}/invoices/${id}`);
    const { amount, currency } = (await answer.json()) as Invoice;
    if (!mission.can('invoices.approve', {}, { context: { amount: { amount, currency } } }))
      return `${amount} ${currency} is more than this mission may approve`;
    await mission.fetch(`${erp}/invoices/${id}/approve`, { method: 'POST' });
    return null;
  } catch (error) {
    if (error instanceof CallDenied && error.retry !== 'after') return error.code;
    throw error;
  }
}

/** One sentence for whoever started the agent. No error of the SDK holds a token. */
export function explain(error: unknown): string {
  if (error instanceof MissionEnded) return `stopped: ${error.code}`;
  if (error instanceof MissionDenied) return `not permitted: ${error.code}`;
  if (error instanceof AttestationFailed) return `cannot prove what this is: ${error.message}`;
  if (error instanceof BrokerUnavailable)
    return `try again${error.retry_after_seconds === null ? ' later' : ` in ${error.retry_after_seconds} s`}`;
  if (error instanceof CallDenied) return `denied: ${error.code}, retry ${error.retry}`;
  return 'failed';
}

function log(event: string, facts: object): void {
  process.stderr.write(`${JSON.stringify({ event, ...facts })}\n`);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [issuer = '', erp = '', ...invoices] = process.argv.slice(2);
  try {
    // Without `evidence`, the SDK asks the platform that this process runs on.
    const outcome = await reconcile({ issuer }, erp, invoices);
    process.stdout.write(`${JSON.stringify(outcome)}\n`);
  } catch (error) {
    process.stderr.write(`${explain(error)}\n`);
    process.exitCode = 1;
  }
}
