/** What the tests of provider entries share. */
import type { EntryType } from '../../../../src/domain/authority/entry_type.ts';
import type { Refusal } from '../../../../src/domain/authority/model.ts';
import type { Denied } from '../../../../src/domain/denial.ts';
import type { JsonObject, JsonValue } from '../../../../src/domain/json.ts';

export const list = (length: number, item: (index: number) => JsonValue) =>
  Array.from({ length }, (_, index) => item(index));

/** One type with a good entry: reading, comparing and joining changes of it. */
export function of<E extends JsonObject>(type: EntryType<never>, good: E) {
  const entry = (change: JsonObject) => ({ ...good, ...change }) as never;
  return {
    read: (change: JsonObject): string => {
      try {
        type.parse(entry(change), 'e');
      } catch (error) {
        return (error as Denied).private_reason;
      }
      return 'accepted';
    },
    within: (a: JsonObject, b: JsonObject): Refusal | null => type.within(entry(a), entry(b)),
    both: (a: JsonObject, b: JsonObject): unknown => type.intersect(entry(a), entry(b)),
    normal: (change: JsonObject): unknown => type.normalize(entry(change)),
    place: (change: JsonObject) => type.resourceOf?.(entry(change)),
    words: (change: JsonObject) => type.describe?.(entry(change)),
  };
}
