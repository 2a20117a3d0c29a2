/** `make demo` as a newcomer runs it: real processes, and every step of the story holds. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const DEMO = new URL('../../demo/run.ts', import.meta.url).pathname;

interface Run {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
  /** What it left in its folder for temporary files. */
  readonly left: readonly string[];
}

async function demo(args: readonly string[], stopAfter?: (out: string) => boolean): Promise<Run> {
  const folder = mkdtempSync(join(tmpdir(), 'sortie-demo-test-'));
  try {
    return await new Promise((resolve, reject) => {
      const child = spawn(process.execPath, [DEMO, ...args], {
        env: { PATH: process.env['PATH'], HOME: folder, TMPDIR: folder },
      });
      let out = '';
      let err = '';
      let stopped = false;
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        out += text;
        // Once: a second signal would meet a process that has stopped listening.
        if (!stopped && stopAfter?.(out)) stopped = child.kill('SIGTERM');
      });
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        err += text;
      });
      child.once('error', reject);
      child.once('close', (code) => resolve({ code, out, err, left: readdirSync(folder) }));
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

test('tells the whole story, each step checked, and leaves nothing behind', {
  timeout: 120_000,
}, async () => {
  const run = await demo(['--json']);
  expect(run.err).toBe('');
  expect(run.code).toBe(0);
  expect(run.left).toEqual([]);
  const { ok, steps } = JSON.parse(run.out) as { ok: boolean; steps: Record<string, unknown>[] };
  expect(ok).toBe(true);
  expect(steps.map(({ step }) => step)).toEqual([
    'ready',
    'attested',
    'mission_granted',
    'calls_permitted',
    'overreach_denied',
    'contained',
    'killed',
    'audit_verified',
  ]);
  const facts = Object.fromEntries(steps.map((facts) => [facts['step'], facts]));
  const pids = facts['ready']?.['pids'] as number[];
  expect(pids).toHaveLength(5);
  for (const pid of pids) expect(() => process.kill(pid, 0)).toThrow('ESRCH');
  expect(facts['attested']).toMatchObject({ agent: 'platform/reconciler', tier: 'reusable' });
  expect(facts['mission_granted']?.['narrowed']).toHaveLength(3);
  expect(facts['overreach_denied']).toMatchObject({
    told: { code: 'constraint_violated', rule: 'max_amount', retry: 'with_new_mission' },
    stolen_token: { told: 'proof_invalid' },
    second_mission: { told: 'out_of_template_ceiling', on_record: 'platform/reconciler' },
  });
  expect(facts['contained']).toMatchObject({ told: 'action_not_covered', version: 2 });
  expect(facts['killed']).toMatchObject({
    told: 'mission_revoked',
    ended: 'mission_revoked',
    blast_radius: { missions: 1 },
  });
  // An answer that names a service as enforcing is true from then on.
  const killed = facts['killed'] as {
    permitted_after_answer: number;
    verifiers: { enforced_ms: number | null }[];
  };
  expect(killed.verifiers).toHaveLength(2);
  if (killed.verifiers.every(({ enforced_ms }) => enforced_ms !== null))
    expect(killed.permitted_after_answer).toBe(0);
  expect(facts['audit_verified']?.['verdict']).toContain('the audit chain holds');
});

test('stopped in the middle, it ends its processes and cleans up', { timeout: 60_000 }, async () => {
  const run = await demo([], (out) => out.includes('1. Attested'));
  expect(run.code).toBe(1);
  expect(run.err).toContain('stopped by SIGTERM');
  expect(run.left).toEqual([]);
  // Plain where nobody looks.
  expect(run.out).not.toContain('\u001b');
});
