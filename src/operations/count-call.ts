/**
 * What the broker counts of a call that it permits: calls at gateways and engines that ask it for each, and money
 * everywhere (docs/authority.md, Limits). Taken in the transaction that permits the call, so exactly: of two calls that
 * would pass the end together, one is refused.
 */
import type { CallContext } from '../domain/authority/index.ts';
import { moneyOf, onlyReads } from '../domain/budget.ts';
import type { DenialCode } from '../domain/call-denial.ts';
import { Denied } from '../domain/denial.ts';
import type { Ports, TokenClaims, VerifierPolicy, Write } from '../ports.ts';
import { budgetsOf, countersOf, storedPurse } from './purse.ts';

export interface Counted {
  readonly refused: DenialCode | null;
  readonly writes: readonly Write[];
}

const NOTHING: Counted = { refused: null, writes: [] };

/** @param call whose token lives and whose authority permits it */
export async function countCall(
  ports: Ports,
  verifier: VerifierPolicy,
  claims: TokenClaims,
  call: { readonly action: string; readonly context: CallContext },
): Promise<Counted> {
  const { limits } = claims;
  if (limits === undefined) return NOTHING;
  const calls = await countedCalls(ports, verifier, claims);
  if (calls.refused !== null || limits['max_budget'] === undefined) return calls;
  const money = await countedMoney(ports, verifier, claims, call);
  return money.refused !== null ? money : { refused: null, writes: [...calls.writes, ...money.writes] };
}

async function countedCalls(ports: Ports, verifier: VerifierPolicy, claims: TokenClaims): Promise<Counted> {
  const { max_calls, max_egress_volume } = claims.limits ?? {};
  // A verifier that counts by itself asks for a second opinion on a call that it has counted.
  if (verifier.asks !== true && verifier.processes !== undefined) return NOTHING;
  // Nobody would count: whoever asks the broker sees the answer when the broker does not.
  if (max_egress_volume !== undefined) return refused('rules_unenforceable');
  if (max_calls === undefined) return NOTHING;
  if (!countersOf(ports.policy()).some(({ id, asks }) => id === verifier.id && asks === true))
    return refused('rules_unenforceable');
  const mission = await ports.store.mission(claims.mission.id);
  const template = mission && (await ports.store.template(mission.template.id, mission.template.hash));
  if (!mission || !template) return refused('mission_revoked');
  try {
    const purse = await storedPurse(ports, mission, template.document);
    const taken = purse?.spend(verifier.audience, 'max_calls') ?? null;
    if (taken === null) return refused('limit_exhausted');
    return {
      refused: null,
      writes: taken.map((part) => ({ kind: 'reserve_allotment', audience: verifier.audience, ...part })),
    };
  } catch (cause) {
    if (cause instanceof Denied) return refused('limit_exhausted');
    throw cause;
  }
}

async function countedMoney(
  ports: Ports,
  verifier: VerifierPolicy,
  claims: TokenClaims,
  call: { readonly action: string; readonly context: CallContext },
): Promise<Counted> {
  const action = ports
    .policy()
    .audience(verifier.audience)
    ?.actions.find(({ name }) => name === call.action);
  if (onlyReads(action?.labels ?? [])) return NOTHING;
  const spent = moneyOf(call.context.amount);
  // What does not say what it spends may spend anything.
  if (spent === null) return refused('constraint_unevaluable');
  const budgets = await budgetsOf(ports, claims.mission.path);
  if (budgets.some(({ budget }) => budget.currency !== spent.currency)) return refused('constraint_violated');
  return {
    refused: null,
    writes: budgets.map(
      ({ mission_id, budget }): Write => ({
        kind: 'spend_budget',
        mission_id,
        currency: budget.currency,
        max: budget.amount,
        amount: spent.amount,
      }),
    ),
  };
}

function refused(code: DenialCode): Counted {
  return { refused: code, writes: [] };
}
