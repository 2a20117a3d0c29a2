/**
 * Stands in for `fast-check` when the mutation runner loads the tests: at most SORTIE_PROPERTY_RUNS cases a property, the
 * same ones for each mutant, and the first failure is enough. Fewer cases find fewer mutants, never more.
 */
import * as real from 'fast-check';

export * from 'fast-check';

const RUNS = Number(process.env['SORTIE_PROPERTY_RUNS'] ?? 10);

export function assert<T>(property: real.IRawProperty<T, false>, options: real.Parameters<T> = {}): void {
  real.assert(property, {
    ...options,
    numRuns: Math.min(options.numRuns ?? 100, RUNS * 5),
    seed: options.seed ?? 1,
    endOnFailure: true,
  });
}

export default { ...real, assert };
