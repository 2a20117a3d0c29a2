/** A template's limits in words, and what a change of them widens or narrows: a limit that is gone is authority too. */
import type { TemplateDocument, TemplateLimits } from './policy.ts';

type Limited = Pick<TemplateDocument, 'limits' | 'lifetime_seconds' | 'max_active'>;

const WORDS: Readonly<Record<keyof TemplateLimits, string>> = {
  max_derivations: 'tokens',
  max_calls: 'calls',
  max_egress_volume: 'bytes of answers',
  max_children: 'live missions directly below it',
  max_descendants: 'missions below it',
};
const NAMES = Object.keys(WORDS) as (keyof TemplateLimits)[];

/** One sentence a limit. */
export function explainLimits({ limits, lifetime_seconds, max_active }: Limited): readonly string[] {
  return [
    `a mission lives for at most ${lifetime_seconds} seconds`,
    ...(max_active === null ? [] : [`at most ${max_active} missions live at once`]),
    ...NAMES.flatMap((name) => {
      const max = limits[name];
      return max === undefined ? [] : [`a mission has at most ${max} ${WORDS[name]}`];
    }),
  ];
}

export function diffLimits(
  before: Limited,
  after: Limited,
): { readonly widened: readonly string[]; readonly narrowed: readonly string[] } {
  const widened: string[] = [];
  const narrowed: string[] = [];
  const compare = (name: string, was: number | null | undefined, is: number | null | undefined): void => {
    const [from, to] = [was ?? Number.POSITIVE_INFINITY, is ?? Number.POSITIVE_INFINITY];
    if (from === to) return;
    const shown = (value: number) => (value === Number.POSITIVE_INFINITY ? 'no limit' : String(value));
    (to > from ? widened : narrowed).push(`${name} from ${shown(from)} to ${shown(to)}`);
  };
  compare('lifetime in seconds', before.lifetime_seconds, after.lifetime_seconds);
  compare('max_active', before.max_active, after.max_active);
  for (const name of NAMES) compare(`limits.${name}`, before.limits[name], after.limits[name]);
  return { widened, narrowed };
}
