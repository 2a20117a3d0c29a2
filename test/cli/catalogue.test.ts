import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { hasLabel, parseCatalogue } from '../../src/behaviour/catalogue.ts';
import { runCli } from '../../src/cli/program.ts';

const folder = mkdtempSync(join(tmpdir(), 'sortie-catalogue-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function sortie(...argv: string[]): Promise<{ code: number; out: string; err: string }> {
  let [out, err] = ['', ''];
  const code = await runCli(['node', 'sortie', ...argv], {
    env: {},
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    stdin: async () => '',
    onSignal: () => {},
  });
  return { code, out, err };
}

function file(name: string, content: string): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

const TOOLS = JSON.stringify({
  tools: [
    { name: 'list_mails', description: 'List the mails of the inbox.', inputSchema: { properties: {} } },
    {
      name: 'send_mail',
      description: 'Send a mail to a recipient.',
      inputSchema: { properties: { recipient: { type: 'string' }, body: { type: 'string' } } },
    },
  ],
});

const OPENAPI = `openapi: 3.1.0
paths:
  /invoices/{id}:
    get:
      summary: Get an invoice
      parameters: [{ name: id, in: path, required: true, schema: { type: string } }]
      responses:
        "200": { content: { application/json: { schema: { $ref: '#/components/schemas/Invoice' } } } }
  /payments:
    post:
      operationId: sendPayment
      summary: Send a payment
      requestBody: { content: { application/json: { schema: { $ref: '#/components/schemas/Payment' } } } }
components:
  schemas:
    Invoice: { type: object, properties: { id: { type: string }, description: { type: string } } }
    Payment: { type: object, required: [recipient], properties: { recipient: { type: string }, amount: { type: number } } }
`;

describe('catalogue suggest', () => {
  it('proposes from an MCP tool list what the broker can read back', async () => {
    const { code, out } = await sortie(
      'catalogue',
      'suggest',
      file('tools.json', TOOLS),
      '--audience',
      'https://mail.example',
    );
    expect(code).toBe(0);
    const { audience, actions } = parseCatalogue(parse(out));
    expect(audience).toBe('https://mail.example');
    expect(actions.get('list_mails')?.labels).toContain('read');
    expect(actions.get('send_mail')?.labels).toContain('effect');
    expect(actions.get('send_mail')?.sinks.map(({ parameter }) => parameter)).toEqual(['recipient']);
    expect(
      (await sortie('catalogue', 'check', file('proposed.yaml', out), '--audience', 'https://mail.example'))
        .out,
    ).toContain('2 actions');
  });

  it('follows references of an OpenAPI document, and names actions as authority does', async () => {
    const { code, out } = await sortie('catalogue', 'suggest', file('api.yaml', OPENAPI));
    expect(code).toBe(0);
    const { actions } = parseCatalogue(parse(out));
    const payment = actions.get('sendPayment');
    expect(payment && hasLabel(payment, 'effect')).toBe(true);
    expect(payment?.sinks.map(({ parameter }) => parameter)).toEqual(['recipient']);
    expect(actions.get('get.invoices.id')?.labels).toContain('read');
  });

  it('puts first what a person must decide, says why each line is there, and lets no name end its comment', async () => {
    const { out } = await sortie(
      'catalogue',
      'suggest',
      file(
        'review.json',
        JSON.stringify({
          tools: [
            { name: 'list_mails', description: 'List mails.' },
            {
              name: 'frobnicate',
              description: '',
              inputSchema: { properties: { 'to\nactions: {}': { type: 'string' } } },
            },
          ],
        }),
      ),
    );
    const { actions } = parseCatalogue(parse(out));
    expect([...actions.keys()]).toEqual(['frobnicate', 'list_mails']);
    expect(out).toContain('1 of 2 actions are marked');
    expect(out).toContain('# LOOK: it has no description');
    expect(out).toContain('# read: named "list"');
    expect(out.split('\n').filter((line) => line.startsWith('actions:'))).toHaveLength(1);
  });

  it('refuses a document that describes two actions of one name', async () => {
    const { code, err } = await sortie(
      'catalogue',
      'suggest',
      file('twice.json', JSON.stringify([{ name: 'x' }, { name: 'x' }])),
    );
    expect([code, err.includes('two actions are called x')]).toEqual([1, true]);
  });

  it('says what is wrong instead of proposing nothing', async () => {
    expect((await sortie('catalogue', 'suggest', file('empty.json', '{"tools":[]}'))).code).toBe(1);
    expect((await sortie('catalogue', 'suggest', file('broken.json', '{'))).err).toContain('broken.json');
  });
});

describe('catalogue check', () => {
  it('names file, line and member of a fault', async () => {
    const path = file(
      'bad.yaml',
      'audience: https://mail.example\nversion: "1"\nactions:\n  mail.send:\n    labels: [effect]\n    sinks:\n      - { parameter: to, kind: nail }\n',
    );
    const { code, err } = await sortie('catalogue', 'check', path, '--audience', 'https://mail.example');
    expect(code).toBe(1);
    expect(err).toContain('bad.yaml:7:');
    expect(err).toContain('actions.mail.send.sinks[0].kind');
  });

  it('refuses a misspelt member: it must not mean that there are no destinations', async () => {
    const path = file(
      'typo.yaml',
      'audience: https://mail.example\nversion: "1"\nactions:\n  mail.send:\n    labels: [effect]\n    sink: []\n',
    );
    expect((await sortie('catalogue', 'check', path, '--audience', 'https://mail.example')).err).toContain(
      'typo.yaml:6:',
    );
  });

  it('refuses the catalogue of another audience', async () => {
    const path = file('other.yaml', 'audience: https://mail.example\nversion: "1"\nactions: {}\n');
    expect((await sortie('catalogue', 'check', path, '--audience', 'https://erp.example')).err).toContain(
      'other.yaml:1:',
    );
  });
});
