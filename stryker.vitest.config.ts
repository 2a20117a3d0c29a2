import { defineConfig } from 'vitest/config';

/** The tests that hold the pure core; each mutant runs only those that reach it. */
export default defineConfig({
  test: {
    include: [
      'test/domain/authority/**/*.test.ts',
      'test/domain/json.test.ts',
      'test/domain/anchors.test.ts',
      'test/domain/limits.test.ts',
    ],
    isolate: false,
    testTimeout: 30_000,
    env: { SORTIE_PROPERTY_RUNS: '40' },
  },
});
