/**
 * The authority algebra (wire profile 2.3): what is granted is within what was approved, what a child gets is
 * within its parent, what is checked is what was granted. Pure, total and deterministic; rules and examples
 * are in docs/authority.md, vectors for other implementations in docs/vectors/authority.json.
 */

export { isFamily, isLiteralAction } from './actions.ts';
export { delegable, forAudience } from './audience.ts';
export { type CompiledAuthority, compile, permits } from './compile.ts';
export {
  applyContainment,
  type Containment,
  effective,
  effectiveEnd,
  parseRemovals,
  type Removal,
  shownContainment,
} from './containment.ts';
export { type Change, type Difference, diff } from './diff.ts';
export type { EntryType } from './entry_type.ts';
export { explain, explainEntry } from './explain.ts';
export { catalogueOf, expandFamilies } from './families.ts';
export { resolveIncludes } from './include.ts';
export { instantMicros } from './instant.ts';
export { type Finding, type LintRule, lint } from './lint.ts';
export {
  type AuthorityEntry,
  type AuthoritySet,
  type Call,
  type CallContext,
  type Catalogue,
  type CataloguedAction,
  type Delegate,
  type Delegation,
  isResourceAccess,
  type Narrowing,
  ORIGINS,
  type Origin,
  type OriginFact,
  type OriginStep,
  type ProviderEntry,
  RESOURCE_ACCESS,
  type Refusal,
  type RefusalCode,
  type ResourceAccess,
  type ResourceMatch,
} from './model.ts';
export { isAtOrBelow, normalResource } from './resource.ts';
export { intersect, MAX_ENTRIES, normalize, parseAuthoritySet, type Within, within } from './sets.ts';
