/**
 * More exchanges than the broker can do: requests prepared elsewhere are sent at a fixed rate over many connections,
 * whatever the answers; what is shed is sent again. Bounded in time and in requests.
 */
import { Agent, request } from 'node:http';
import type { Prepared } from '../support.ts';

export interface TokenLoad {
  readonly name: 'load';
  readonly url: string;
  readonly prepared: readonly Prepared[];
  readonly per_second: number;
  readonly seconds: number;
  readonly connections: number;
}

const TICK_MS = 5;

function load({ url, prepared, per_second, seconds, connections }: TokenLoad): void {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  const waiting = [...prepared];
  const answers = { offered: 0, unsent: 0, dry: 0, permitted: 0, shed: 0, failed: 0 };
  let in_flight = 0;
  const send = (one: Prepared): void => {
    in_flight++;
    const sent = request(`${url}${one.path}`, { method: 'POST', agent, headers: one.headers }, (response) => {
      if (response.statusCode === 200) answers.permitted++;
      else if (response.statusCode === 503) {
        answers.shed++;
        waiting.push(one);
      } else answers.failed++;
      response.resume().on('end', () => in_flight--);
    });
    sent.on('error', () => in_flight--);
    sent.end(one.body);
  };
  const started = performance.now();
  const tick = setInterval(() => {
    const due = Math.floor((per_second * (performance.now() - started)) / 1000);
    while (answers.offered < due) {
      answers.offered++;
      // A connection that waits for its answer can ask for nothing else: what is due then is counted as unsent.
      const one = in_flight < connections ? waiting.shift() : undefined;
      if (one !== undefined) send(one);
      else if (in_flight < connections) answers.dry++;
      else answers.unsent++;
    }
  }, TICK_MS);
  let finished = false;
  const finish = (): void => {
    if (finished) return;
    finished = true;
    clearInterval(tick);
    clearTimeout(end);
    agent.destroy();
    process.send?.({ name: 'loaded', ...answers });
  };
  const end = setTimeout(finish, seconds * 1000);
  process.on('message', (message: { readonly name: string }) => {
    if (message.name === 'enough') finish();
  });
}

process.on('message', (message: TokenLoad) => {
  if (message.name === 'load') load(message);
});
process.on('disconnect', () => process.exit(0));
