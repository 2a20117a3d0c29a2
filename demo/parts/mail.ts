/** A mail service with one route, as its owner writes it. */
import { readFileSync } from 'node:fs';
import express from 'express';
import { createGuard, expressGuard } from '../../src/sdk/resource/index.ts'; // @sortie/resource

const { PORT = '', BROKER = '', VERIFIER_KEY_FILE = '' } = process.env;
const outbox: { to: string; subject: string }[] = [];

const { guard, ready } = createGuard({
  issuer: BROKER,
  audience: `http://127.0.0.1:${PORT}`,
  resource_name: 'Mail',
  verifier: { id: 'mail', private_key_jwk: JSON.parse(readFileSync(VERIFIER_KEY_FILE, 'utf8')) },
});
const mail = expressGuard(guard, {
  onDenied: ({ code, private_reason }, { url }) =>
    process.stdout.write(`denied ${JSON.stringify({ code, private_reason, url })}\n`),
});

const app = express();
app.use(mail.metadata());
app.use(express.json({ limit: '16kb' }));

app.post(
  '/messages',
  mail.protect({
    action: 'messages.send',
    context: ({ body }) => ({ recipients: [String((body as { to?: unknown } | undefined)?.to)] }),
  }),
  (request, response) => {
    const { to, subject } = request.body as { to: string; subject: string };
    outbox.push({ to, subject });
    response.status(202).json({ queued: outbox.length });
  },
);

await ready;
app.listen(Number(PORT), '127.0.0.1', () => process.stdout.write('ready mail\n'));
