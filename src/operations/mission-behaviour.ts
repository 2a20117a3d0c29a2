/** What a mission's template says of its behaviour at one audience: told to guards, and judged by here. */
import type { MissionBehaviour } from '../behaviour/delivery.ts';
import type { TemplateValue } from '../behaviour/mission.ts';
import { DEFAULT_RULES } from '../behaviour/rules.ts';
import { rulesOf, templateValuesOf } from '../behaviour/section.ts';
import { actionWithin } from '../domain/authority/actions.ts';
import { forAudience, isResourceAccess } from '../domain/authority/index.ts';
import { isJsonObject, type JsonValue } from '../domain/json.ts';
import type { Mission } from '../domain/mission.ts';
import type { TemplateDocument } from '../domain/policy.ts';
import type { Ports } from '../ports.ts';

/** By the version of the template that the mission began under, whatever was approved since. */
export async function missionBehaviour(
  ports: Ports,
  mission: Pick<Mission, 'template'>,
  audience: string,
): Promise<MissionBehaviour> {
  const template = await ports.store.template(mission.template.id, mission.template.hash);
  // It is kept as long as its missions; without it, nothing stricter than the defaults is known.
  if (template === null) return { rules: DEFAULT_RULES, values: [] };
  const { document } = template;
  const actions =
    ports
      .policy()
      .audience(audience)
      ?.actions.map(({ name }) => name) ?? [];
  return {
    rules: rulesOf(document),
    values: [
      ...templateValuesOf(document.behaviour).filter(
        (value) => value.actions === undefined || value.actions.some((action) => actions.includes(action)),
      ),
      ...ceilingValues(ports, document, audience),
    ],
  };
}

/** What the ceiling itself fixes of a destination (`exact`, `one_of`) is named by the template as well. */
function ceilingValues(ports: Ports, document: TemplateDocument, audience: string): TemplateValue[] {
  const catalogue = ports.policy().audience(audience)?.catalogue;
  if (catalogue === undefined) return [];
  const out: TemplateValue[] = [];
  for (const entry of forAudience(document.ceiling, audience)) {
    const rules = isResourceAccess(entry) ? entry.constraints?.['parameters'] : undefined;
    if (!isResourceAccess(entry) || !isJsonObject(rules)) continue;
    for (const [action, { sinks }] of catalogue.actions) {
      if (!entry.actions.some((pattern) => actionWithin(action, pattern))) continue;
      for (const { parameter, kind } of sinks) {
        const value = fixedBy(Object.hasOwn(rules, parameter) ? rules[parameter] : undefined);
        if (value !== undefined) out.push({ kind, value, actions: [action] });
      }
    }
  }
  return out;
}

function fixedBy(rule: JsonValue | undefined): JsonValue | undefined {
  if (!isJsonObject(rule)) return undefined;
  return rule['exact'] ?? rule['one_of'];
}
