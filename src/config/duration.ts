import { z } from 'zod';

const UNITS: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86_400 };

/** Seconds in `90s`, `15m`, `8h` or `30d`; null if it is none of these. */
export function parseDuration(text: string): number | null {
  const unit = UNITS[text.at(-1) ?? ''];
  const count = Number(text.slice(0, -1));
  if (unit === undefined || !/^\d{1,9}$/.test(text.slice(0, -1)) || count === 0) return null;
  return count * unit;
}

/** A duration for people in the file, seconds in the code. */
export const duration = () =>
  z
    .string()
    .regex(/^[0-9]{1,9}[smhd]$/, 'must be a duration such as 90s, 15m, 8h or 30d')
    .transform((text, context) => {
      const seconds = parseDuration(text);
      if (seconds === null) context.addIssue({ code: 'custom', message: 'must be a duration above zero' });
      return seconds ?? 0;
    });
