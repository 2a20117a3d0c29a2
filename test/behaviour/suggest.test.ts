import { describe, expect, test } from 'vitest';
import {
  type CataloguedAction,
  catalogueDocument,
  fieldFor,
  parseCatalogue,
} from '../../src/behaviour/catalogue.ts';
import { describeService, proposeCatalogue, suggestCatalogue } from '../../src/behaviour/suggest.ts';
import type { JsonValue } from '../../src/domain/json.ts';
import { PUBLIC_SERVERS, type PublicTool } from './public-tools.ts';

function published({ name, about, takes, read_only }: PublicTool): JsonValue {
  const names = takes.split(' ').filter((one) => one !== '');
  return {
    name,
    description: about,
    ...(read_only === undefined ? {} : { annotations: { readOnlyHint: read_only } }),
    inputSchema: {
      type: 'object',
      properties: Object.fromEntries(names.map((one) => [one.replace('!', ''), { type: 'string' }])),
      required: names.filter((one) => one.endsWith('!')).map((one) => one.slice(0, -1)),
    },
  };
}

function marksOf(entry: CataloguedAction | undefined): string {
  const marks = [
    ...(entry?.names_one_object ? ['one'] : []),
    ...(entry?.confirms ? ['confirms'] : []),
    ...(entry?.default_trust === 'system' ? ['facts'] : []),
  ];
  const sinks = entry?.sinks.map(({ parameter, kind }) => `${parameter}:${kind}`).join(' ');
  return `${entry?.labels.join(' ')} | ${sinks} | ${marks.join(' ')}`
    .replaceAll('  ', ' ')
    .replace(/[ |]+$/, '');
}

describe('what is proposed for tools as public servers publish them', () => {
  for (const [server, tools] of Object.entries(PUBLIC_SERVERS)) {
    const proposed = suggestCatalogue(server, describeService({ tools: tools.map(published) }));
    test.each(tools.map((tool) => [tool.name, tool] as const))(
      `${server}: %s, as a reviewer would write it`,
      (name, tool) => {
        expect(marksOf(proposed.actions.get(name))).toBe(tool.expected.replace(/[ |]+$/, ''));
      },
    );
  }

  test('a read-only hint never makes a read of what is called a deletion', () => {
    const [entry] = suggestCatalogue(
      'x',
      describeService([{ name: 'delete_all', description: '', annotations: { readOnlyHint: true } }]),
    ).actions.values();
    expect(entry?.labels).toContain('effect');
  });

  test("nearly every action takes the caller's own address: it is not a destination, and the reviewer is told", () => {
    const tools = ['list_mails', 'get_mail', 'send_mail', 'list_events', 'add_event', 'get_event'].map(
      (name) => ({
        name,
        description: '',
        inputSchema: { properties: { account_email: {}, to: {} }, required: ['account_email'] },
      }),
    );
    const { catalogue, notes } = proposeCatalogue('x', describeService({ tools }));
    expect(catalogue.actions.get('send_mail')?.sinks.map(({ parameter }) => parameter)).toEqual(['to']);
    expect(notes.get('send_mail')?.doubts.join()).toContain('account_email');
  });
});

describe('trust of answers', () => {
  const proposed = suggestCatalogue(
    'x',
    describeService({
      tools: [
        {
          name: 'ticketsList',
          description: 'List tickets.',
          inputSchema: { properties: { projectId: { type: 'string' } } },
          outputSchema: {
            properties: {
              tickets: {
                type: 'array',
                items: {
                  properties: {
                    ticketId: { type: 'string' },
                    requester: { properties: { email: { type: 'string' } } },
                    email: { type: 'string' },
                    severity: { enum: ['low', 'high'] },
                    customerNote: { type: 'string' },
                  },
                },
              },
            },
          },
        },
        { name: 'contactsList', description: 'List contacts.' },
        { name: 'invoicesList', description: 'List invoices.' },
      ],
    }),
  );
  const trust = (action: string, ...path: string[]): string | undefined => {
    const entry = proposed.actions.get(action);
    return entry === undefined ? undefined : (fieldFor(entry, path, false)?.trust ?? entry.default_trust);
  };

  test('what strangers fill in is theirs, whatever the member is called', () => {
    expect(trust('ticketsList', 'tickets', 'email')).toBe('counterparty');
    expect(trust('ticketsList', 'tickets', 'requester', 'email')).toBe('counterparty');
    expect(trust('ticketsList', 'tickets', 'customerNote')).toBe('unknown');
    expect(trust('contactsList', 'email')).toBe('system');
    expect(trust('contactsList', 'sender', 'email')).toBe('counterparty');
    expect(trust('invoicesList', 'iban')).toBe('counterparty');
  });

  test('ids, fixed values and the names under which the service takes ids are its own', () => {
    expect(trust('ticketsList', 'tickets', 'ticketId')).toBe('system');
    expect(trust('ticketsList', 'tickets', 'severity')).toBe('system');
    expect(trust('contactsList', 'projectId')).toBe('system');
  });

  test('is written and read back unchanged, with what is common said once', () => {
    const again = parseCatalogue(JSON.parse(JSON.stringify(catalogueDocument(proposed))));
    for (const [name, entry] of proposed.actions) {
      const read = again.actions.get(name);
      expect(new Set(read?.fields.map((field) => JSON.stringify(field)))).toEqual(
        new Set(entry.fields.map((field) => JSON.stringify(field))),
      );
      expect(read?.sinks).toEqual(entry.sinks);
    }
  });
});

const OPENAPI = {
  openapi: '3.1.0',
  paths: {
    '/contacts/{contactId}': {
      parameters: [{ $ref: '#/components/parameters/ContactId' }],
      get: {
        summary: 'Get a contact',
        responses: {
          '200': {
            content: { 'application/vnd.api+json': { schema: { $ref: '#/components/schemas/Contact' } } },
          },
        },
      },
      put: {
        operationId: 'replaceContact',
        requestBody: { $ref: '#/components/requestBodies/Contact' },
      },
    },
    '/search': {
      post: {
        operationId: 'searchContacts',
        summary: 'Search contacts',
        requestBody: {
          content: { 'application/json': { schema: { properties: { q: { type: 'string' } } } } },
        },
      },
    },
    '/transfers': {
      post: {
        operationId: 'create transfer',
        requestBody: {
          content: {
            'application/json': {
              schema: {
                allOf: [
                  { $ref: '#/components/schemas/Money' },
                  {
                    properties: {
                      target: {
                        oneOf: [
                          { properties: { iban: { type: ['string', 'null'] } } },
                          { properties: { phone: { type: 'string' } } },
                        ],
                      },
                    },
                  },
                ],
              },
            },
          },
        },
      },
    },
  },
  components: {
    parameters: { ContactId: { name: 'contactId', in: 'path', required: true, schema: { type: 'string' } } },
    requestBodies: {
      Contact: { content: { 'application/json': { schema: { $ref: '#/components/schemas/Contact' } } } },
    },
    schemas: {
      Money: { properties: { amount: { type: 'integer' } } },
      Contact: {
        properties: {
          contactId: { type: 'string' },
          manager: { $ref: '#/components/schemas/Contact' },
          email: { type: 'string', format: 'email' },
        },
      },
    },
  },
} as const;

describe('an OpenAPI document', () => {
  const described = describeService(OPENAPI as unknown as JsonValue);
  const names = (action: string): string[] =>
    described.find((one) => one.action === action)?.parameters.map(({ name }) => name) ?? [];

  test('is followed through references, alternatives and circles', () => {
    expect(described.map(({ action }) => action)).toEqual([
      'get.contacts.contactId',
      'replaceContact',
      'searchContacts',
      'create_transfer',
    ]);
    expect(names('get.contacts.contactId')).toEqual(['contactId']);
    expect(names('replaceContact')).toContain('email');
    expect(names('create_transfer')).toEqual(['amount', 'target.iban', 'target.phone']);
    expect(described[0]?.returns.map(({ name }) => name)).toContain('contactId');
  });

  test('tells what reads from what acts by method and name together', () => {
    const { actions } = suggestCatalogue('x', described);
    expect(actions.get('get.contacts.contactId')?.labels).toContain('read');
    expect(actions.get('searchContacts')?.labels).toEqual(['read']);
    expect(actions.get('replaceContact')?.labels).toContain('effect');
    expect(actions.get('create_transfer')?.sinks).toEqual([
      { parameter: 'target.iban', kind: 'account' },
      { parameter: 'target.phone', kind: 'phone' },
    ]);
  });
});

describe('a method of the wire', () => {
  const path = (method: string, operationId: string, summary: string): JsonValue => ({
    paths: { '/x': { [method]: { operationId, summary } } },
  });
  const label = (method: string, name: string, summary: string): string | undefined =>
    suggestCatalogue('x', describeService(path(method, name, summary))).actions.get(name)?.labels[0];

  test('is no verb of the name, and a POST reads only where its name says so', () => {
    expect(label('post', 'post_missions', 'Get a mission and its token')).toBe('effect');
    expect(label('post', 'post_orders_search', 'Search orders')).toBe('read');
    expect(label('get', 'get_orders', 'Orders')).toBe('read');
  });

  test('does not make a read of what is called an effect', () => {
    expect(label('get', 'unsubscribeCustomer', 'Unsubscribe a customer')).toBe('effect');
    expect(label('delete', 'getRid', 'Get rid of it')).toBe('effect');
    expect(label('put', 'listOrder', 'List order')).toBe('effect');
  });
});

describe('a hostile document', () => {
  test('that doubles by references is refused, not followed', () => {
    const schemas = Object.fromEntries(
      Array.from({ length: 40 }, (_, i) => [
        `s${i}`,
        {
          allOf: [
            { $ref: `#/$defs/s${i + 1}` },
            { $ref: `#/$defs/s${i + 1}` },
            { properties: { [`p${i}`]: {} } },
          ],
        },
      ]),
    );
    const tools = Array.from({ length: 400 }, (_, i) => ({
      name: `t${i}`,
      inputSchema: {
        $defs: schemas,
        properties: Object.fromEntries(
          Array.from({ length: 60 }, (__, n) => [`m${n}`, { $ref: '#/$defs/s0' }]),
        ),
      },
    }));
    expect(() => describeService(tools as unknown as JsonValue)).toThrow('more than can be read');
  });

  test('with a thousand members, circles and odd names proposes within bounds', () => {
    const circle: JsonValue = {
      properties: { a: { $ref: '#/properties/b' }, b: { $ref: '#/properties/a' }, __proto__x: {} },
    };
    const wide = {
      properties: Object.fromEntries(
        Array.from({ length: 5000 }, (_, i) => [`recipient${i}`, { type: 'string' }]),
      ),
    };
    const described = describeService([
      { name: 'loop', inputSchema: circle },
      { name: 'wide', inputSchema: wide },
      { name: '__proto__', inputSchema: {} },
      { name: 'a tool, with spaces', inputSchema: null },
    ] as unknown as JsonValue);
    expect(described.map(({ action }) => action)).toEqual([
      'loop',
      'wide',
      '__proto__',
      'a_tool__with_spaces',
    ]);
    expect(described[1]?.parameters.length).toBe(256);
    const proposed = suggestCatalogue('x', described);
    expect([...parseCatalogue(catalogueDocument(proposed)).actions.keys()]).toEqual([
      ...proposed.actions.keys(),
    ]);
  });

  test.each([
    ['two tools of one name', [{ name: 'x' }, { name: 'x' }]],
    ['a tool without a name', [{ description: 'x' }]],
    ['no tools at all', { tools: 'none' }],
  ])('%s is refused', (_, document) => {
    expect(() => describeService(document as unknown as JsonValue)).toThrow(/document:|tool list:/);
  });
});
