/** A broker as a process of its own, for tests that kill it. Arguments: the configuration file. */
import { createBroker } from '../../src/broker.ts';

const [, , config = ''] = process.argv;
const broker = await createBroker({ config, env: {}, log: { write: () => undefined } });
await broker.listen();
process.stdout.write('ready\n');
