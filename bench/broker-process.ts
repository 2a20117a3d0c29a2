/** The broker under measurement, in a process of its own that can say what it used. */
import { createBroker } from '../src/broker.ts';

const broker = await createBroker({ config: process.argv[2] ?? '', env: process.env });
await broker.listen();
process.on('message', (message: { readonly name: string }) => {
  if (message.name !== 'usage') return;
  const { user, system } = process.cpuUsage();
  process.send?.({ name: 'usage', cpu_us: user + system, rss_bytes: process.memoryUsage().rss });
});
process.once('SIGTERM', () => {
  void broker.close().then(() => process.exit(0));
});
process.send?.({ name: 'ready' });
