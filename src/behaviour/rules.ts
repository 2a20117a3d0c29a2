/**
 * The behaviour section of a template: each rule can deny, only observe, or be off. An observed rule is judged
 * and recorded exactly as if it denied, so that its cost is known before it is switched on.
 */

export type RuleMode = 'deny' | 'observe' | 'off';

/** What a verdict asks of the broker. */
export type RequestedResponse = 'none' | 'contain' | 'suspend' | 'revoke';

export interface BehaviourRules {
  readonly version: string;
  /** A read outside the mission that fetches a foreign address. */
  readonly stray_read: RuleMode;
  /**
   * After taint, a read outside the mission that hands out secrets. Only observed by default: what it read cannot
   * leave except by an effect, and effects are judged.
   */
  readonly stray_secret: RuleMode;
  /** An effect that the mission does not name. */
  readonly stray_effect: RuleMode;
  /** After taint, a destination that nothing vouches for. */
  readonly unproven_sink: RuleMode;
  /** A destination written to read as another one. */
  readonly deceptive_sink: RuleMode;
  /** An effect without a destination whose content stands only in text that the mission never meant to draw on. */
  readonly foreign_content: RuleMode;
  /** What the stray-effect rule asks of the broker, under the event-authenticity rules. */
  readonly stray_effect_response: RequestedResponse;
  /** What other rules ask for; nothing where they are not named. */
  readonly responses?: Readonly<Partial<Record<RuleName, RequestedResponse>>>;
  /** Plain reads (neither external nor sensitive) outside the mission are counted, not refused. */
  readonly ambient_reads: boolean;
  /** Effects confined to the agent's own working copy are counted, not refused. */
  readonly local_detours: boolean;
  /** A message outside the mission is permitted where the mission itself names its every recipient. */
  readonly declared_destinations: boolean;
  /** A one-time code may complete an effect that was permitted. */
  readonly confirmations: boolean;
  /** One link found in the text of a declared source may be read. */
  readonly follow_one_link: boolean;
  /** Trust by field of what comes back; off means that whole answers count as text. */
  readonly field_trust: boolean;
  /** `origin.from` of the mission's proposal vouches for what the named step returned. */
  readonly declared_sources: boolean;
  /** History of the same template and agent: never, for sinks of non-external effects, or for all. */
  readonly history: 'off' | 'internal' | 'all';
}

export const DEFAULT_RULES: BehaviourRules = {
  version: '1',
  stray_read: 'deny',
  stray_secret: 'observe',
  stray_effect: 'deny',
  unproven_sink: 'deny',
  deceptive_sink: 'deny',
  foreign_content: 'deny',
  stray_effect_response: 'suspend',
  ambient_reads: true,
  local_detours: true,
  declared_destinations: true,
  confirmations: true,
  follow_one_link: true,
  field_trust: true,
  declared_sources: true,
  history: 'off',
};

export const RULE_NAMES = [
  'stray_effect',
  'stray_read',
  'stray_secret',
  'unproven_sink',
  'deceptive_sink',
  'foreign_content',
] as const;
export type RuleName = (typeof RULE_NAMES)[number];
