import { type AuthoritySet, isResourceAccess } from '../domain/authority/model.ts';
import { isJsonObject } from '../domain/json.ts';
import { type Catalogue, hasLabel } from './catalogue.ts';
import { declaredActions } from './declare.ts';
import type { DeclaredAction, DeclaredSource } from './mission.ts';
import type { Verdict } from './verdict.ts';

/**
 * What a mission declares at one audience: the actions of its `needs`, in their order, with what the granted entries
 * fix and name as origins. An intent without needs declares everything that was granted. A read that is declared
 * before an effect is an implied source of it. Guards and the broker read it alike.
 */
export function plannedActions(
  needs: readonly string[],
  authority: AuthoritySet,
  catalogue: Catalogue | null,
): DeclaredAction[] {
  const granted = new Map(declaredActions(authority).map((one) => [one.action, one]));
  if (needs.length === 0) return [...granted.values()];
  const out = new Map<string, DeclaredAction>();
  const reads: string[] = [];
  for (const action of needs) {
    const entry = granted.get(action);
    if (entry === undefined) continue;
    const sources: DeclaredSource[] = [...(out.get(action)?.sources ?? [])];
    for (const read of reads)
      if (read !== action && !sources.some((known) => known.action === read))
        sources.push({ action: read, implied: true });
    out.set(action, { action, parameters: entry.parameters, sources });
    const known = catalogue?.actions.get(action);
    if (known !== undefined && hasLabel(known, 'read') && !reads.includes(action)) reads.push(action);
  }
  return [...out.values()];
}

/** Steps that granted entries name as origins (`origin.from`), each once, whoever serves them. */
export function namedSources(authority: AuthoritySet): DeclaredSource[] {
  const out: DeclaredSource[] = [];
  for (const { parameters } of declaredActions(authority))
    for (const { sources } of Object.values(parameters))
      for (const source of sources)
        if (!out.some((known) => known.action === source.action && known.field === source.field))
          out.push(source);
  return out;
}

/** Parameters of an action that some entry limits by origin. */
export function originParameters(authority: AuthoritySet, action: string): string[] {
  const names = new Set<string>();
  for (const entry of authority) {
    if (!isResourceAccess(entry) || !entry.actions.includes(action)) continue;
    const rules = entry.constraints?.['parameters'];
    if (!isJsonObject(rules)) continue;
    for (const [name, rule] of Object.entries(rules))
      if (isJsonObject(rule) && Object.hasOwn(rule, 'origin')) names.add(name);
  }
  return [...names];
}

/** Whether what an action answers may hold words of strangers, as far as its catalogue knows. */
export function answersText(catalogue: Catalogue, action: string): boolean {
  const entry = catalogue.actions.get(action);
  if (entry === undefined) return true;
  const strange = (trust: string): boolean => trust === 'third_party' || trust === 'unknown';
  return strange(entry.default_trust) || entry.fields.some(({ trust }) => strange(trust));
}

/** Whether nothing but an unproven destination speaks against a call: what somebody else knows may prove it. */
export function onlyUnproven(verdict: Verdict): boolean {
  return (
    verdict.decision === 'deny' &&
    verdict.record.findings.every(({ rule, mode }) => mode !== 'deny' || rule === 'unproven_sink')
  );
}
