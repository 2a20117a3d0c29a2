/** Import a template version, have another person approve exactly its hash (wire profile 2.3). */
import { z } from 'zod';
import type { TemplateDocument } from '../../../domain/policy.ts';
import { approveTemplate, importTemplate } from '../../../operations/templates.ts';
import type { Ports } from '../../../ports.ts';
import { json, type Route, readJsonValue } from '../../route.ts';
import { templateView, viewSchemas } from '../../views.ts';
import { actorOf, responses } from './parts.ts';

export function templateRoutes(ports: Ports, parseTemplate: (value: unknown) => TemplateDocument): Route[] {
  return [
    {
      method: 'GET',
      path: '/admin/v1/templates',
      auth: { kind: 'admin', role: 'viewer' },
      errors: 'problem',
      describe: {
        summary: 'Every imported version',
        tag: 'admin',
        responses: responses(200, 'Versions', viewSchemas.templates),
      },
      handle: async () => json(200, { items: (await ports.store.templates()).map(templateView) }),
    },
    {
      method: 'POST',
      path: '/admin/v1/templates',
      auth: { kind: 'admin', role: 'admin' },
      errors: 'problem',
      describe: {
        summary: 'Import a version; it dispatches once another person approved its hash',
        tag: 'admin',
        json: z.looseObject({ id: z.string(), version: z.string() }),
        responses: responses(201, 'The version', viewSchemas.template),
      },
      async handle(incoming) {
        const document = parseTemplate(readJsonValue(incoming));
        return json(201, templateView(await importTemplate(ports, document, actorOf(incoming))));
      },
    },
    {
      method: 'POST',
      path: '/admin/v1/templates/{id}/versions/{hash}/approve',
      auth: { kind: 'admin', role: 'admin' },
      errors: 'problem',
      describe: {
        summary: 'Approve exactly this hash; whoever imported it cannot',
        tag: 'admin',
        responses: responses(200, 'The version', viewSchemas.template),
      },
      async handle(incoming) {
        const { id = '', hash = '' } = incoming.params;
        return json(200, templateView(await approveTemplate(ports, id, hash, actorOf(incoming))));
      },
    },
  ];
}
