import { defineConfig } from 'drizzle-kit';

/** `make migrations` compares src/store/schema with migrations/ and writes what changed. */
export default defineConfig({
  dialect: 'sqlite',
  schema: './src/store/schema/index.ts',
  out: './migrations',
});
