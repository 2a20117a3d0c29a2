/**
 * A preset is what a platform's documentation says about its tokens, written down once: short names for claims, which
 * claims are immutable, what must hold of every token. A rule then takes three lines.
 */
import type { JsonObject } from '../../domain/json.ts';
import { parsePattern, type TrustRule } from '../../domain/trust.ts';
import type { Algorithm } from '../jws.ts';

export interface Preset {
  readonly algorithms: readonly Algorithm[];
  /** Longest time since issue that the platform's tokens live, seconds. */
  readonly max_age_seconds: number;
  /** Short name to JSON pointer, in `match` and in templates. */
  readonly aliases: Readonly<Record<string, string>>;
  /**
   * Every rule must name one of these: claims that belong to one tenant for ever. A rule on names alone would admit
   * whoever takes over a renamed or deleted repository, project or account.
   */
  readonly anchors: readonly string[];
  /** Whether an anchor must be exact text: where strangers share the issuer, `*` would admit them all. */
  readonly shared_issuer: boolean;
  /** Added to a rule that does not name the claim itself. */
  readonly implied: Readonly<Record<string, string>>;
  readonly agent: string;
  readonly instance: string;
  /** Claims that the workload chooses itself; no rule may trust them. */
  readonly chosen_by_workload?: readonly string[];
}

/** A rule as written under a preset: agent and instance have defaults. */
export interface PresetRule extends Omit<TrustRule, 'agent' | 'instance'> {
  readonly agent?: string | undefined;
  readonly instance?: string | undefined;
}

/** What must hold of every token of a platform, beyond patterns. @throws Refusal */
export type PlatformCheck = (claims: JsonObject) => void;

/** @throws Error that teaches, for a rule without an immutable claim. */
export function presetRules(
  kind: string,
  preset: Preset,
  rules: readonly PresetRule[],
): readonly TrustRule[] {
  return rules.map((rule) => {
    const match = { ...preset.implied, ...rule.match };
    checkAnchors(kind, preset, rule);
    return {
      name: rule.name,
      match: Object.fromEntries(
        Object.entries(match).map(([claim, pattern]) => [expand(preset, claim), pattern]),
      ),
      agent: expandTemplate(preset, rule.agent ?? preset.agent),
      instance: expandTemplate(preset, rule.instance ?? preset.instance),
      tier: rule.tier,
      max_keys: rule.max_keys,
      caps_token: rule.caps_token,
    };
  });
}

function checkAnchors(kind: string, preset: Preset, rule: PresetRule): void {
  const wrong = (detail: string) => new Error(`trust rule "${rule.name}" (${kind}): ${detail}`);
  for (const claim of Object.keys(rule.match)) {
    const path = expand(preset, claim);
    if (preset.chosen_by_workload?.some((chosen) => path === chosen || path.startsWith(chosen + '/'))) {
      throw wrong(`the workload itself chooses "${claim}"; match what the platform says instead`);
    }
  }
  const anchored = preset.anchors.some((anchor) =>
    Object.entries(rule.match).some(
      ([claim, pattern]) =>
        expand(preset, claim) === expand(preset, anchor) &&
        (!preset.shared_issuer || parsePattern(pattern).exact !== null),
    ),
  );
  if (anchored) return;
  const exact = preset.shared_issuer ? ', as exact text: strangers use this issuer too' : '';
  throw wrong(`match one of ${preset.anchors.join(', ')}${exact}; names alone can be taken over`);
}

function expand(preset: Preset, claim: string): string {
  return Object.hasOwn(preset.aliases, claim) ? (preset.aliases[claim] ?? claim) : claim;
}

/** Replaces short names in braces. */
function expandTemplate(preset: Preset, template: string): string {
  return template
    .split('{')
    .map((part, index) => {
      const close = part.indexOf('}');
      if (index === 0 || close === -1) return part;
      return expand(preset, part.slice(0, close)) + part.slice(close);
    })
    .join('{');
}
