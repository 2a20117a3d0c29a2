/** How a configuration file names a secret. */
import { z } from 'zod';

export const secretSchema = z
  .union([
    z.strictObject({ from_env: z.string().min(1).describe('Name of an environment variable.') }),
    z.strictObject({ from_file: z.string().min(1).describe('Path of a file, relative to this one.') }),
  ])
  .describe('A secret is never written here: name the environment variable or the file that holds it.');

export type SecretSource = z.output<typeof secretSchema>;
