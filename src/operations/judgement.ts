/**
 * The broker's side of behaviour as one: what verifiers observed, the judge of single calls, what is reported of
 * them, what verdicts do by themselves, and who watches all that.
 */
import type { Ports } from '../ports.ts';
import { type AdminStream, createAdminStream } from './admin-stream.ts';
import { createReports, type Reports } from './events.ts';
import { type CallBehaviour, createCallBehaviour } from './judge-behaviour.ts';
import type { MissionDigestKey } from './mission-facts.ts';
import { createProvenance } from './provenance.ts';
import { type Alert, createVerdictResponses } from './verdicts.ts';

export interface Judgement {
  readonly behaviour: CallBehaviour;
  readonly reports: Reports;
  readonly adminStream: AdminStream;
}

/** @param told what verdicts did by themselves, and what they could not do */
export function createJudgement(
  ports: Ports,
  missionDigestKey: MissionDigestKey,
  told: { alert(alert: Alert): void; failed(cause: unknown): void },
): Judgement {
  const provenance = createProvenance(ports);
  const behaviour = createCallBehaviour(ports, provenance, missionDigestKey);
  const reports = createReports(ports, provenance);
  createVerdictResponses(ports, reports, behaviour, told);
  return { behaviour, reports, adminStream: createAdminStream(ports, reports) };
}
