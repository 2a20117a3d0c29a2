/**
 * `sortie exec`: one command under one mission. Attest, declare, deliver, renew while the command runs, and leave
 * nothing when it ends, however it ends.
 */

import { constants } from 'node:os';
import { type ConnectOptions, connect, type Declaration } from '../sdk/agent/connect.ts';
import { MissionEnded, SortieError } from '../sdk/agent/errors.ts';
import { collectEvidence } from '../sdk/agent/evidence/index.ts';
import type { Mission } from '../sdk/agent/mission.ts';
import { spokenFault } from '../sdk/agent/redact.ts';
import { type Child, FORWARDED, type Forwarded, NotStarted, startChild } from './child.ts';
import { type Delivered, deliverAll, NotDeliverable } from './deliver.ts';
import type { MissionFile } from './mission-file.ts';
import { PrivateFolder, UnsafeFolder } from './private-folder.ts';
import type { Report } from './report.ts';

/** The run failed before its command could be started, as with env(1) and timeout(1). */
export const FAILED = 125;
/** Ending the mission may take this long; the broker ends it by itself later. */
const COMPLETE_MAX_MS = 15_000;
const TOKENLESS_CHECK_SECONDS = 60;

export interface ExecParts {
  readonly file: MissionFile;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  /** How this program is started, for tools that call it back. */
  readonly self: readonly string[];
  readonly report: Report;
  readonly onSignal: (signal: Forwarded, listener: () => void) => void;
  /** For tests and unusual places. */
  readonly connect?: Partial<ConnectOptions>;
}

/** @returns the exit code: the command's, 128 and the number of a signal, or {@link FAILED} */
export async function execUnderMission(parts: ExecParts): Promise<number> {
  const { file, report } = parts;
  const signals = listenForSignals(parts.onSignal);
  let mission: Mission | null = null;
  let folder: PrivateFolder | null = null;
  let delivered: Delivered | null = null;
  try {
    folder = PrivateFolder.create(parts.env);
    mission = await Promise.race([declare(parts), signals.again]);
    signals.throwIfAny();
    delivered = await deliverAll({ mission, deliveries: file.deliver, folder, self: parts.self, report });
    signals.throwIfAny();
    const child = await startChild(parts.command, parts.args, environment(parts.env, delivered.env));
    // The command's arguments may hold what is nobody's business.
    report('started', `${parts.command} runs`, { command: parts.command });
    signals.to(child);
    const stop = watch(mission, child, delivered, parts);
    try {
      const code = await child.exited;
      report('exited', `${parts.command} ended with ${code}`, { code });
      return code;
    } finally {
      stop();
    }
  } catch (cause) {
    return failure(cause, report);
  } finally {
    signals.to(null);
    try {
      await delivered?.close();
      folder?.remove();
    } catch (cause) {
      report('warning', `${folder?.path} could not be removed: ${spokenFault(cause)}`);
    }
    // Whoever is in a hurry leaves the rest to the broker.
    if (mission !== null) await Promise.race([complete(mission, report), signals.again.catch(() => {})]);
  }
}

async function declare({ file, report, connect: options }: ExecParts): Promise<Mission> {
  const { broker, evidence: kind, intent, authorization_details, template } = file;
  const agent = await connect({
    issuer: broker,
    ...(kind !== undefined && {
      evidence: (request) =>
        collectEvidence({ audience: request.issuer, jkt: request.jkt, now: Date.now() / 1000 }, { kind }),
    }),
    ...options,
  });
  report('declaring', `declaring "${intent.goal}" at ${broker}`, { broker, jkt: agent.jkt });
  const { lifetime, ...task } = intent;
  const mission = await agent.declare({
    ...task,
    ...(lifetime !== undefined && { lifetime_seconds: lifetime }),
    ...(authorization_details !== undefined && { authorization_details }),
    ...(template !== undefined && { template_id: template }),
  } as unknown as Declaration);
  const { id, expires_at, credentials, narrowed } = mission;
  const holds = credentials.map(
    ({ type, audience }) => `${type === 'jwt' ? 'a token' : type} for ${audience}`,
  );
  report('mission', `mission ${id} until ${expires_at} holds ${holds.join(', ')}`, {
    mission_id: id,
    expires_at,
    template: mission.template.id,
    credentials: credentials.map(({ id: credential_id, type, audience, expires_at: ends }) => ({
      id: credential_id,
      type,
      target: audience,
      expires_at: ends,
    })),
  });
  for (const { wanted, granted, reason, rule } of narrowed)
    report('cut', `less than asked for: ${reason}, by ${rule}`, { wanted, granted, reason, rule });
  return mission;
}

/** Follows the mission while the command runs. @returns how to stop */
function watch(
  mission: Mission,
  child: Child,
  { fixed }: Delivered,
  { file, report }: ExecParts,
): () => void {
  const { check_every, on_end } = file;
  let [stopped, unreachable, state] = [false, false, mission.state];
  let timer: NodeJS.Timeout | undefined;
  const over = (why: string) => {
    report('ended', `the mission is over: ${SAID[why] ?? why}`, { mission_id: mission.id, why });
    if (on_end.command === 'leave') return;
    report('warning', `ending the command, with SIGKILL after ${on_end.grace} s`);
    child.terminate(on_end.grace * 1000);
  };
  // While the command was being started.
  if (state !== 'active' && state !== 'suspended') over(`mission_${state}`);
  const stops = [
    mission.on('ended', ({ why }) => over(why)),
    mission.on('replaced', ({ credential: { type, target, expires_at } }) =>
      report('replaced', `${type} ${target} renewed until ${expires_at}`, { type, target, expires_at }),
    ),
    mission.on('narrowed', ({ version, expires_at }) =>
      report('narrowed', 'the mission may do less than before', { version, expires_at }),
    ),
    mission.on('renewal_failed', ({ what, error }) =>
      report('warning', `${what} could not be renewed: ${error.message}`, { what }),
    ),
  ];
  const look = async (): Promise<void> => {
    try {
      await mission.refresh();
      unreachable = false;
    } catch (cause) {
      const told = cause instanceof MissionEnded || mission.state === 'suspended';
      if (!stopped && !unreachable && !told) {
        unreachable = true;
        report('warning', `the mission cannot be looked up: ${sentenceOf(cause)}`);
      }
    }
    if (stopped) return;
    if (mission.state !== state && mission.state === 'suspended')
      report('suspended', 'the mission is suspended: its credentials are revoked until it is resumed');
    if (mission.state !== state && mission.state === 'active') {
      report('resumed', 'the mission is on again');
      if (fixed.length > 0)
        report('warning', `revoked meanwhile, and only a new start brings others: ${fixed.join(', ')}`);
    }
    state = mission.state;
    schedule();
  };
  // Without a token to ask with, each look is an attestation.
  const tokenless = mission.credentials.every(({ type }) => type !== 'jwt');
  const every = tokenless ? Math.max(check_every, TOKENLESS_CHECK_SECONDS) : check_every;
  const schedule = () => {
    // A fleet that was started at once does not ask at once.
    timer = setTimeout(look, every * 1000 * (0.8 + 0.4 * Math.random()));
    timer.unref();
  };
  schedule();
  return () => {
    stopped = true;
    clearTimeout(timer);
    for (const off of stops) off();
  };
}

const SAID: Readonly<Record<string, string>> = {
  mission_revoked: 'it was revoked',
  mission_expired: 'its time is up',
  mission_completed: 'it was completed',
};

async function complete(mission: Mission, report: Report): Promise<void> {
  const late = AbortSignal.timeout(COMPLETE_MAX_MS);
  try {
    if (['active', 'suspended'].includes(mission.state))
      await Promise.race([
        mission.complete(),
        new Promise((_, reject) =>
          late.addEventListener('abort', () => reject(new Error('no answer in time'))),
        ),
      ]);
    const residual = Math.max(
      0,
      ...mission.credentials.map(({ residual_after_revoke_seconds: seconds }) => seconds),
    );
    report(
      'completed',
      `mission ${mission.id} is over, its credentials are revoked${residual === 0 ? '' : ` (where that is heard late, within ${residual} s)`}`,
      { mission_id: mission.id, residual_seconds: residual },
    );
  } catch (cause) {
    if (cause instanceof MissionEnded) return;
    report(
      'failed',
      `mission ${mission.id} could not be ended: ${sentenceOf(cause)}; the broker suspends it when it stays silent, and ends it at ${mission.expires_at}`,
      { mission_id: mission.id, expires_at: mission.expires_at },
    );
  } finally {
    mission.close();
  }
}

class Interrupted extends Error {
  readonly signal: Forwarded;

  constructor(signal: Forwarded) {
    super(`ended by ${signal} before the command was started`);
    this.signal = signal;
  }
}

/** Signals go to the command; before there is one they end the run, and after it they end the waiting. */
function listenForSignals(onSignal: ExecParts['onSignal']) {
  let child: Child | null = null;
  let first: Forwarded | null = null;
  let over = false;
  let leave = (_: Interrupted) => {};
  const again = new Promise<never>((_, reject) => {
    leave = reject;
  });
  again.catch(() => {});
  for (const signal of FORWARDED)
    onSignal(signal, () => {
      if (child !== null) child.forward(signal);
      else if (over || first !== null) leave(new Interrupted(signal));
      else first = signal;
    });
  return {
    /** Fails at a second signal while there is no command, or at the first after it. */
    again,
    /** To whom signals go from now on; null once the command is over. */
    to(next: Child | null) {
      child = next;
      if (next === null) over = true;
      // One that came while it was being started.
      else if (first !== null) next.forward(first);
    },
    throwIfAny() {
      if (first !== null) throw new Interrupted(first);
    },
  };
}

function environment(
  inherited: NodeJS.ProcessEnv,
  delivered: Readonly<Record<string, string | undefined>>,
): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries({ ...inherited, ...delivered }).filter(([, value]) => value !== undefined),
  );
}

function failure(cause: unknown, report: Report): number {
  report('failed', sentenceOf(cause), cause instanceof SortieError ? { code: cause.code } : {});
  if (cause instanceof NotStarted) return cause.exit_code;
  return cause instanceof Interrupted ? 128 + constants.signals[cause.signal] : FAILED;
}

/** For people; no error of the SDK and none of these holds a value. */
function sentenceOf(cause: unknown): string {
  if (cause instanceof SortieError || cause instanceof NotDeliverable || cause instanceof NotStarted)
    return cause.message;
  if (cause instanceof UnsafeFolder || cause instanceof Interrupted || cause instanceof TypeError)
    return cause.message;
  return spokenFault(cause);
}
