/** The broker under measurement, in a process of its own that can say what it used and how long it held its event loop. */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { createBroker } from '../src/broker.ts';

const broker = await createBroker({ config: process.argv[2] ?? '', env: process.env });
await broker.listen();
const delay = monitorEventLoopDelay({ resolution: 1 });
process.on('message', (message: { readonly name: string }) => {
  if (message.name === 'watch_loop') {
    delay.enable();
    delay.reset();
  }
  if (message.name === 'held_loop') {
    process.send?.({ name: 'held_loop', longest_ms: delay.max / 1e6 });
    delay.disable();
  }
  if (message.name !== 'usage') return;
  const { user, system } = process.cpuUsage();
  process.send?.({ name: 'usage', cpu_us: user + system, rss_bytes: process.memoryUsage().rss });
});
process.once('SIGTERM', () => {
  void broker.close().then(() => process.exit(0));
});
process.send?.({ name: 'ready' });
