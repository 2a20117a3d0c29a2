import { type BehaviourRules, DEFAULT_RULES } from '../../src/behaviour/rules.ts';

/** Operating points and ablations: the same engine with parts switched, so that each part's share can be told. */

export const FULL: BehaviourRules = DEFAULT_RULES;

const SCOPE_ONLY: BehaviourRules = {
  ...FULL,
  ambient_reads: false,
  local_detours: false,
  declared_destinations: false,
  confirmations: false,
  unproven_sink: 'off',
  deceptive_sink: 'off',
  foreign_content: 'off',
};

/** From the bluntest to the finest: what each step buys and costs. */
export const CURVE: readonly { readonly point: string; readonly rules: BehaviourRules }[] = [
  { point: 'scope', rules: SCOPE_ONLY },
  { point: 'scope, plain reads free', rules: { ...SCOPE_ONLY, ambient_reads: true } },
  {
    point: 'scope, destinations only from the mission',
    rules: {
      ...SCOPE_ONLY,
      unproven_sink: 'deny',
      field_trust: false,
      declared_sources: false,
      follow_one_link: false,
    },
  },
  {
    point: 'plain reads free, destinations only from the mission',
    rules: { ...FULL, field_trust: false, declared_sources: false, follow_one_link: false },
  },
  { point: 'and trusted fields', rules: { ...FULL, declared_sources: false, follow_one_link: false } },
  { point: 'and declared sources', rules: { ...FULL, follow_one_link: false } },
  { point: 'full', rules: FULL },
];

export const ABLATIONS: readonly { readonly without: string; readonly rules: BehaviourRules }[] = [
  { without: 'stray_effect', rules: { ...FULL, stray_effect: 'off' } },
  { without: 'stray_read', rules: { ...FULL, stray_read: 'off' } },
  { without: 'unproven_sink', rules: { ...FULL, unproven_sink: 'off' } },
  { without: 'foreign_content', rules: { ...FULL, foreign_content: 'off' } },
  { without: 'field_trust', rules: { ...FULL, field_trust: false } },
  { without: 'declared_sources', rules: { ...FULL, declared_sources: false } },
  { without: 'ambient_reads', rules: { ...FULL, ambient_reads: false } },
  { without: 'local_detours', rules: { ...FULL, local_detours: false } },
  { without: 'declared_destinations', rules: { ...FULL, declared_destinations: false } },
  { without: 'confirmations', rules: { ...FULL, confirmations: false } },
  { without: 'follow_one_link', rules: { ...FULL, follow_one_link: false } },
];
