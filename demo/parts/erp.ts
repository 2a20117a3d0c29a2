/** An ERP with two routes, as its owner writes it: Express, and one line a route that says what the route does. */
import { readFileSync } from 'node:fs';
import express from 'express';
import { createGuard, expressGuard } from '../../src/sdk/resource/index.ts'; // @sortie/resource

const { PORT = '', BROKER = '', VERIFIER_KEY_FILE = '' } = process.env;
const invoices = new Map([
  ['17', { supplier: 'Acme', amount: '120.00', currency: 'EUR', approved: false }],
  ['18', { supplier: 'Globex', amount: '900.00', currency: 'EUR', approved: false }],
  ['19', { supplier: 'Initech', amount: '80.00', currency: 'EUR', approved: false }],
]);

const { guard, ready } = createGuard({
  issuer: BROKER,
  audience: `http://127.0.0.1:${PORT}`,
  resource_name: 'ERP',
  verifier: { id: 'erp', private_key_jwk: JSON.parse(readFileSync(VERIFIER_KEY_FILE, 'utf8')) },
});
const erp = expressGuard(guard, {
  onDenied: ({ code, private_reason }, { url }) =>
    process.stdout.write(`denied ${JSON.stringify({ code, private_reason, url })}\n`),
});

const app = express();
app.use(erp.metadata());

app.get('/invoices/:id', erp.protect({ action: 'invoices.read' }), (request, response) => {
  response.json(invoices.get(String(request.params['id'])) ?? null);
});

app.post(
  '/invoices/:id/approve',
  erp.protect({
    action: 'invoices.approve',
    // The amount comes from the books, never from the caller.
    context: ({ params }) => {
      const invoice = invoices.get(String(params['id']));
      return invoice ? { amount: { amount: invoice.amount, currency: invoice.currency } } : {};
    },
  }),
  (request, response) => {
    const invoice = invoices.get(String(request.params['id']));
    if (invoice) invoice.approved = true;
    response.json({ approved: request.params['id'] });
  },
);

await ready;
app.listen(Number(PORT), '127.0.0.1', () => process.stdout.write('ready erp\n'));
