/**
 * An agent in thirty lines. It finds its own evidence (on a laptop: the enrolled key of SORTIE_KEY_FILE), declares
 * what it is about to do, and reads an invoice every second until it is told to stop or its mission ends.
 */
import { CallDenied, connect, MissionEnded } from '../src/sdk/agent/index.ts'; // @sortie/agent

const BROKER = process.env['SORTIE_URL'] ?? 'http://127.0.0.1:8480';
const ERP = 'http://127.0.0.1:8481';
const say = (text: string) => process.stdout.write(`${text}\n`);

const agent = await connect({ issuer: BROKER });
const mission = await agent.declare({
  goal: 'Reconcile the open invoices of Acme',
  resources: [ERP],
  lifetime_seconds: 1800,
});
say(`mission ${mission.id}`);
const amount = (euros: string) => ({ context: { amount: { amount: euros, currency: 'EUR' } } });
say(`may read invoices: ${mission.can('invoices.read')}`);
say(`may approve 120 EUR: ${mission.can('invoices.approve', {}, amount('120.00'))}`);
say(`may approve 10,000 EUR: ${mission.can('invoices.approve', {}, amount('10000.00'))}`);
mission.on('narrowed', () => {
  say(`narrowed: may approve 120 EUR: ${mission.can('invoices.approve', {}, amount('120.00'))}`);
});

for (let call = 1; call <= 600; call++) {
  try {
    const answer = await mission.fetch(`${ERP}/invoices/17`);
    say(`call ${call}: ${answer.status} ${JSON.stringify(await answer.json())}`);
  } catch (error) {
    if (!(error instanceof CallDenied || error instanceof MissionEnded)) throw error;
    say(`call ${call}: ${error.message}`);
    break;
  }
  await new Promise((resolve) => setTimeout(resolve, 1000));
}
mission.close();
