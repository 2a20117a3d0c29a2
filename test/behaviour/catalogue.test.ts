import { describe, expect, test } from 'vitest';
import { catalogueDocument, fieldFor, parseCatalogue } from '../../src/behaviour/catalogue.ts';
import { describeMcpTools, describeService, suggestCatalogue } from '../../src/behaviour/suggest.ts';
import { OFFICE } from './fixture.ts';

const minimal = { audience: 'a', version: 1, actions: { 'x.get': { labels: ['read'] } } };

describe('a catalogue', () => {
  test.each([
    ['an unknown member', { ...minimal, sink: [] }],
    ['an action that neither reads nor acts', { ...minimal, actions: { x: { labels: [] } } }],
    ['an action that does both', { ...minimal, actions: { x: { labels: ['read', 'effect'] } } }],
    [
      'a local effect that is external',
      { ...minimal, actions: { x: { labels: ['effect', 'local', 'external'] } } },
    ],
    [
      'a sink of no known kind',
      { ...minimal, actions: { x: { labels: ['effect'], sinks: [{ parameter: 'p', kind: 'place' }] } } },
    ],
    ['a misspelt member of an action', { ...minimal, actions: { x: { labels: ['effect'], sink: [] } } }],
    [
      'a field without trust',
      { ...minimal, actions: { x: { labels: ['read'], returns: { fields: [{ field: 'a' }] } } } },
    ],
  ])('with %s is refused', (_, document) => {
    expect(() => parseCatalogue(document)).toThrow(/catalogue:/);
  });

  test('is written and read back unchanged', () => {
    const again = parseCatalogue(catalogueDocument(OFFICE));
    for (const [name, entry] of OFFICE.actions) expect(again.actions.get(name)).toEqual(entry);
  });

  test('takes the most specific field, and a member with a slash does not pose as a path', () => {
    const entry = parseCatalogue({
      ...minimal,
      fields: [{ field: 'name', trust: 'system' }],
      actions: {
        x: { labels: ['read'], returns: { fields: [{ field: 'author.name', trust: 'counterparty' }] } },
      },
    }).actions.get('x');
    if (entry === undefined) throw new Error('x is in the catalogue');
    expect(fieldFor(entry, ['post', 'author', 'name'], false)?.trust).toBe('counterparty');
    expect(fieldFor(entry, ['post', 'name'], false)?.trust).toBe('system');
    expect(fieldFor(entry, ['author/name'], false)).toBeNull();
    expect(fieldFor(entry, ['author', 'x/name'], false)).toBeNull();
  });
});

const tool = (
  name: string,
  description: string,
  properties: Record<string, unknown> = {},
  required: string[] = [],
): unknown => ({ name, description, inputSchema: { properties, required } });

describe('a proposed catalogue', () => {
  const proposed = suggestCatalogue(
    'crm',
    describeMcpTools([
      tool('list_tickets', 'Lists all tickets of a customer.', { customer_id: { type: 'string' } }),
      tool(
        'forward_ticket',
        'Forwards a ticket.',
        {
          ticket_id: { type: 'string' },
          to: { type: 'string', description: 'Email address of the receiver' },
          comment: { type: 'string' },
        },
        ['to'],
      ),
      tool('fetch_page', 'Fetches the page at an address.', { url: { type: 'string' } }, ['url']),
      tool('wipe_customer', 'Erases a customer.', { customer_id: { type: 'string' } }, ['customer_id']),
      tool(
        'refundOrder',
        'Refunds an order to a bank account.',
        { iban: { type: 'string' }, amount: { type: 'number' } },
        ['iban'],
      ),
      tool('create_directory', 'Create a new local directory.', { path: { type: 'string' } }, ['path']),
      tool('confirm_login', 'Confirm with the one-time code.', { otp: { type: 'string' } }, ['otp']),
      tool('get_api_key', 'Returns the secret key of the account.'),
      tool('frobnicate', 'Frobnicates.', { webhook: { type: 'string', format: 'uri' } }),
    ]),
  );
  const labels = (name: string): string => proposed.actions.get(name)?.labels.join(' ') ?? '';
  const sinks = (name: string): string =>
    proposed.actions
      .get(name)
      ?.sinks.map((sink) => `${sink.parameter}:${sink.kind}`)
      .join(' ') ?? '';

  test('tells reads from effects by verb, and takes an unknown verb for an effect', () => {
    expect(labels('list_tickets')).toBe('read');
    expect(labels('fetch_page')).toBe('read external');
    expect(labels('get_api_key')).toBe('read sensitive');
    expect(labels('wipe_customer')).toContain('consequential');
    expect(labels('forward_ticket')).toBe('effect external consequential');
    expect(labels('create_directory')).toBe('effect local');
    expect(labels('frobnicate')).toContain('effect');
  });

  test('finds destinations by name, description and format', () => {
    expect(sinks('forward_ticket')).toBe('ticket_id:id to:mail');
    expect(sinks('fetch_page')).toBe('url:url');
    expect(sinks('refundOrder')).toBe('iban:account');
    expect(sinks('wipe_customer')).toBe('customer_id:id');
    expect(sinks('frobnicate')).toBe('webhook:url');
    expect(proposed.actions.get('confirm_login')?.confirms).toBe(true);
  });

  test('is itself a valid catalogue', () => {
    expect([...parseCatalogue(catalogueDocument(proposed)).actions.keys()]).toEqual([
      ...proposed.actions.keys(),
    ]);
  });

  test('reads OpenAPI by method and operation', () => {
    const described = describeService({
      paths: {
        '/users/{id}/messages': {
          get: { operationId: 'listMessages', parameters: [{ name: 'id', schema: { type: 'string' } }] },
          post: {
            operationId: 'sendMessage',
            requestBody: {
              content: {
                'application/json': {
                  schema: {
                    properties: { recipient: { type: 'string', format: 'email' }, body: { type: 'string' } },
                    required: ['recipient'],
                  },
                },
              },
            },
          },
          delete: {},
        },
      },
    });
    const catalogue = suggestCatalogue('api', described);
    expect(catalogue.actions.get('listMessages')?.labels).toEqual(['read']);
    expect(catalogue.actions.get('sendMessage')?.sinks).toEqual([{ parameter: 'recipient', kind: 'mail' }]);
    expect([...catalogue.actions.keys()]).toEqual(['listMessages', 'sendMessage']);
  });
});
