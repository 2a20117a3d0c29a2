/**
 * Trust rules: which appraised claims make which agent, instance and tier (wire profile 2.1). Pure.
 *
 * A rule names claims and patterns; the first rule whose every pattern matches wins. Patterns are exact text, or
 * `*` in place of one whole segment. Segments are delimited by `/` and by `:`, because the claims that platforms
 * sign are paths (`refs/heads/main`) and colon lists (`system:serviceaccount:ns:name`), and often both at once
 * (`repo:org/name:ref:refs/heads/main`). A `*` never crosses either delimiter and never matches an empty
 * segment, so a claim value cannot grow extra segments to slip through. There are no regular expressions.
 */
import type { JsonObject, JsonValue } from './json.ts';
import { TIERS, type Tier, tierSatisfies } from './mission.ts';

export interface TrustRule {
  readonly name: string;
  /** Claim (top-level name, or RFC 6901 pointer when it starts with `/`) to pattern; at least one. */
  readonly match: Readonly<Record<string, string>>;
  /** Template with `{claim}` or `{/json/pointer}`; claim values are escaped. */
  readonly agent: string;
  readonly instance: string;
  /**
   * The weakest evidence that the rule accepts; the tier granted is what the evidence really showed.
   * Absent: any. `dev` also lowers the granted tier to `dev`.
   */
  readonly tier?: Tier | undefined;
  /** Distinct keys that may present the same reusable evidence; 1 unless given. */
  readonly max_keys?: number | undefined;
  /** Tokens must not outlive the evidence. */
  readonly caps_token?: boolean | undefined;
}

/** A rule whose patterns and templates were checked once; see {@link compileTrustRules}. */
export interface CompiledTrustRule {
  readonly rule: TrustRule;
  readonly matchers: readonly { readonly claim: ClaimPath; readonly pattern: Pattern }[];
  readonly agent: Template;
  readonly instance: Template;
}

export interface TrustMatch {
  readonly rule: string;
  readonly agent: string;
  readonly instance: string;
  readonly tier: Tier;
  readonly max_keys: number;
  readonly caps_token: boolean;
}

/** What an attester established before any rule is asked. */
export interface Established {
  readonly tier: Tier;
  /** Weaker than the attester normally gives (a live check was impossible): only a rule that names a tier accepts it. */
  readonly degraded?: boolean;
}

/** Why one rule did not match. Holds no claim value. */
export interface RuleMiss {
  readonly rule: string;
  readonly misses: readonly {
    readonly claim: string;
    readonly why: 'absent' | 'differs' | 'not_a_scalar' | 'tier_too_weak' | 'unusable_in_id';
    /** The configured pattern or tier. */
    readonly wanted: string;
  }[];
}

/** A mistake in a rule of the configuration. The message teaches the fix. */
export class TrustRuleError extends Error {
  constructor(rule: string, detail: string) {
    super(`trust rule "${rule}": ${detail}`);
    this.name = 'TrustRuleError';
  }
}

/** Longest agent or instance id, and longest claim value that may enter one, in characters. */
export const MAX_IDENTITY_LENGTH = 1024;
const MAX_CLAIM_LENGTH = 512;
const MAX_PATTERN_LENGTH = 1024;
const MAX_ARRAY_SCANNED = 256;

/* ---------------------------------------------------------------- patterns */

const SLASH = 0x2f;
const COLON = 0x3a;

/** Either exact text, or segments where null stands for `*`, with the delimiters between them. */
export type Pattern =
  | { readonly exact: string }
  | { readonly exact: null; readonly segments: readonly (string | null)[]; readonly delimiters: string };

/** @throws Error with a teaching message: empty, too long, or `*` beside other characters of its segment. */
export function parsePattern(text: string): Pattern {
  if (text === '') throw new Error('a pattern must not be empty');
  if (text.length > MAX_PATTERN_LENGTH)
    throw new Error(`a pattern has at most ${MAX_PATTERN_LENGTH} characters`);
  if (!text.includes('*')) return { exact: text };
  const { segments, delimiters } = split(text);
  return {
    exact: null,
    delimiters,
    segments: segments.map((segment) => {
      if (segment === '*') return null;
      if (segment.includes('*')) {
        throw new Error(
          `"*" stands for one whole segment between "/" or ":", so "${segment}" is not a pattern; write the segment out, or "*"`,
        );
      }
      return segment;
    }),
  };
}

/** Linear in the value. `*` matches one segment that is not empty. */
export function matchesPattern(pattern: Pattern, value: string): boolean {
  if (pattern.exact !== null) return pattern.exact === value;
  if (value.length > MAX_PATTERN_LENGTH) return false;
  const found = split(value);
  if (found.delimiters !== pattern.delimiters) return false;
  return pattern.segments.every((segment, index) => {
    const have = found.segments[index];
    return segment === null ? have !== undefined && have !== '' : segment === have;
  });
}

function split(text: string): { segments: string[]; delimiters: string } {
  const segments: string[] = [];
  let delimiters = '';
  let from = 0;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit !== SLASH && unit !== COLON) continue;
    segments.push(text.slice(from, at));
    delimiters += text[at];
    from = at + 1;
  }
  segments.push(text.slice(from));
  return { segments, delimiters };
}

/* ---------------------------------------------------------------- claims */

export interface ClaimPath {
  readonly name: string;
  readonly steps: readonly string[];
}

/** A top-level claim name, or an RFC 6901 pointer. @throws Error for a pointer with a bad escape. */
export function parseClaimPath(name: string): ClaimPath {
  if (name === '' || name === '/') throw new Error('a claim name must not be empty');
  if (!name.startsWith('/')) return { name, steps: [name] };
  const steps = name
    .slice(1)
    .split('/')
    .map((step) => {
      for (let at = step.indexOf('~'); at !== -1; at = step.indexOf('~', at + 1)) {
        const next = step[at + 1];
        if (next !== '0' && next !== '1') {
          throw new Error(`"${name}": in a JSON pointer "~" is written "~0" and "/" within a name "~1"`);
        }
      }
      return step.replaceAll('~1', '/').replaceAll('~0', '~');
    });
  return { name, steps };
}

/** The value at a path, or undefined. Own members only: `__proto__` and friends are absent. */
export function claimAt(claims: JsonObject, path: ClaimPath): JsonValue | undefined {
  let value: JsonValue | undefined = claims;
  for (const step of path.steps) {
    if (typeof value !== 'object' || value === null) return undefined;
    if (Array.isArray(value)) {
      // RFC 6901: an array index has no leading zero and no sign.
      const index = Number(step);
      if (!Number.isSafeInteger(index) || String(index) !== step) return undefined;
      value = value[index];
    } else {
      value = Object.hasOwn(value, step) ? (value as JsonObject)[step] : undefined;
    }
  }
  return value;
}

/** The text a scalar is compared as; null for anything that never matches. */
function scalarText(value: JsonValue | undefined): string | null {
  switch (typeof value) {
    case 'string':
      return value;
    case 'boolean':
      return value ? 'true' : 'false';
    case 'number':
      // A number that a double may have rounded could equal its neighbour.
      return Number.isSafeInteger(value) ? String(value) : null;
    default:
      return null;
  }
}

/* ---------------------------------------------------------------- identity templates */

/** Literal parts around claims: `literals.length === claims.length + 1`. */
export interface Template {
  readonly literals: readonly string[];
  readonly claims: readonly ClaimPath[];
}

const SAFE = /^[A-Za-z0-9._-]$/;
const ALL_SAFE = /^[A-Za-z0-9._-]*$/;
const ONLY_DOTS = /^\.+$/;
const LITERAL = /^[A-Za-z0-9._:/@-]*$/;

/**
 * @throws Error unless two claims are always told apart in the result: between them there must be a character
 * that an escaped value cannot hold (`/`, `:` or `@`), or `{a}{b}` would make one id of ("x", "yz") and ("xy", "z").
 */
export function parseTemplate(text: string): Template {
  const literals: string[] = [];
  const claims: ClaimPath[] = [];
  let rest = text;
  for (;;) {
    const open = rest.indexOf('{');
    const literal = open === -1 ? rest : rest.slice(0, open);
    if (!LITERAL.test(literal)) {
      throw new Error(`"${text}": outside of braces only letters, digits and . _ - : / @ may stand`);
    }
    const separated = literal.includes('/') || literal.includes(':') || literal.includes('@');
    if (claims.length > 0 && open !== -1 && !separated) {
      throw new Error(
        `"${text}": put "/", ":" or "@" between two claims, or different values make the same id`,
      );
    }
    literals.push(literal);
    if (open === -1) break;
    const close = rest.indexOf('}', open);
    if (close === -1) throw new Error(`"${text}": "{" has no "}"`);
    claims.push(parseClaimPath(rest.slice(open + 1, close)));
    rest = rest.slice(close + 1);
  }
  if (text === '') throw new Error('a template must not be empty');
  return { literals, claims };
}

/**
 * Percent-encodes all but letters, digits and `. _ -`, so that a claim value is always one segment and can never
 * write another agent's id. A value of dots alone is encoded too: `..` must not look like a path step.
 */
export function escapeClaim(value: string): string {
  const dotsOnly = ONLY_DOTS.test(value);
  if (!dotsOnly && ALL_SAFE.test(value)) return value;
  let out = '';
  for (const byte of Buffer.from(value, 'utf8')) {
    const character = String.fromCharCode(byte);
    out +=
      SAFE.test(character) && !(dotsOnly && character === '.')
        ? character
        : '%' + byte.toString(16).toUpperCase().padStart(2, '0');
  }
  return out;
}

/** The id, or the name of the claim that cannot be used: absent, not a scalar, empty, or too long. */
function fill(template: Template, claims: JsonObject): { id: string } | { unusable: string } {
  let id = template.literals[0] ?? '';
  for (const [index, path] of template.claims.entries()) {
    const text = scalarText(claimAt(claims, path));
    if (text === null || text === '' || text.length > MAX_CLAIM_LENGTH || !text.isWellFormed()) {
      return { unusable: path.name };
    }
    id += escapeClaim(text) + (template.literals[index + 1] ?? '');
  }
  return id.length > MAX_IDENTITY_LENGTH ? { unusable: template.claims[0]?.name ?? '' } : { id };
}

/* ---------------------------------------------------------------- rules */

/** @throws TrustRuleError on the first mistake; names must be unique. */
export function compileTrustRules(rules: readonly TrustRule[]): readonly CompiledTrustRule[] {
  const names = new Set<string>();
  return rules.map((rule) => {
    const wrong = (error: unknown) =>
      new TrustRuleError(rule.name, error instanceof Error ? error.message : 'not a rule');
    if (names.has(rule.name)) throw wrong(new Error('another rule has this name'));
    names.add(rule.name);
    const match = Object.entries(rule.match);
    if (match.length === 0)
      throw wrong(new Error('match at least one claim; a rule for everything is not a rule'));
    if (rule.max_keys !== undefined && !(Number.isSafeInteger(rule.max_keys) && rule.max_keys >= 1)) {
      throw wrong(new Error('max_keys is a whole number of 1 or more'));
    }
    if (rule.tier !== undefined && !TIERS.includes(rule.tier)) throw wrong(new Error('unknown tier'));
    try {
      return {
        rule,
        matchers: match.map(([claim, pattern]) => ({
          claim: parseClaimPath(claim),
          pattern: parsePattern(pattern),
        })),
        agent: parseTemplate(rule.agent),
        instance: parseTemplate(rule.instance),
      };
    } catch (error) {
      throw wrong(error);
    }
  });
}

/** The first rule that matches, or null. The common path: builds no trace. */
export function applyTrustRules(
  rules: readonly CompiledTrustRule[],
  claims: JsonObject,
  established: Established,
): TrustMatch | null {
  for (const rule of rules) {
    if (!tierAccepted(rule.rule, established)) continue;
    if (!rule.matchers.every((matcher) => claimMisses(matcher, claims) === null)) continue;
    const match = identify(rule, claims, established);
    if (!('unusable' in match)) return match;
  }
  return null;
}

/** As {@link applyTrustRules}, and why each rule before the matching one did not match. For administrators. */
export function explainTrustRules(
  rules: readonly CompiledTrustRule[],
  claims: JsonObject,
  established: Established,
): { readonly match: TrustMatch | null; readonly missed: readonly RuleMiss[] } {
  const missed: RuleMiss[] = [];
  for (const compiled of rules) {
    const misses: RuleMiss['misses'][number][] = [];
    if (!tierAccepted(compiled.rule, established)) {
      misses.push({
        claim: '(tier)',
        why: 'tier_too_weak',
        wanted: compiled.rule.tier ?? 'a live check, or a rule that names the tier it accepts',
      });
    }
    for (const matcher of compiled.matchers) {
      const why = claimMisses(matcher, claims);
      if (why !== null) {
        misses.push({
          claim: matcher.claim.name,
          why,
          wanted: compiled.rule.match[matcher.claim.name] ?? '',
        });
      }
    }
    if (misses.length === 0) {
      const match = identify(compiled, claims, established);
      if (!('unusable' in match)) return { match, missed };
      misses.push({
        claim: match.unusable,
        why: 'unusable_in_id',
        wanted: `a non-empty scalar of at most ${MAX_CLAIM_LENGTH} characters`,
      });
    }
    missed.push({ rule: compiled.rule.name, misses });
  }
  return { match: null, missed };
}

function tierAccepted(rule: TrustRule, established: Established): boolean {
  if (rule.tier === undefined) return established.degraded !== true;
  return tierSatisfies(established.tier, rule.tier);
}

function claimMisses(
  matcher: CompiledTrustRule['matchers'][number],
  claims: JsonObject,
): 'absent' | 'differs' | 'not_a_scalar' | null {
  const value = claimAt(claims, matcher.claim);
  if (value === undefined || value === null) return 'absent';
  if (Array.isArray(value)) {
    // Contains: one element that matches is enough; nested lists and objects never match.
    const scanned: readonly JsonValue[] = value.slice(0, MAX_ARRAY_SCANNED);
    const hit = scanned.some((element) => {
      const text = scalarText(element);
      return text !== null && matchesPattern(matcher.pattern, text);
    });
    return hit ? null : 'differs';
  }
  const text = scalarText(value);
  if (text === null) return 'not_a_scalar';
  return matchesPattern(matcher.pattern, text) ? null : 'differs';
}

function identify(
  compiled: CompiledTrustRule,
  claims: JsonObject,
  established: Established,
): TrustMatch | { readonly unusable: string } {
  const agent = fill(compiled.agent, claims);
  if ('unusable' in agent) return agent;
  const instance = fill(compiled.instance, claims);
  if ('unusable' in instance) return instance;
  const { rule } = compiled;
  return {
    rule: rule.name,
    agent: agent.id,
    instance: instance.id,
    tier: rule.tier === 'dev' ? 'dev' : established.tier,
    max_keys: rule.max_keys ?? 1,
    caps_token: rule.caps_token ?? false,
  };
}
