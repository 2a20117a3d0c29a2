/**
 * A broker as a process of its own, for tests that kill it. Arguments: the configuration file, and seconds that its
 * clock is ahead of the machine's.
 */
import { createBroker } from '../../src/broker.ts';
import { systemClock } from '../../src/system.ts';

const [, , config = '', ahead = '0'] = process.argv;
const clock = { now: () => systemClock.now() + Number(ahead) };
const broker = await createBroker({ config, clock, env: {}, log: { write: () => undefined } });
await broker.listen();
process.stdout.write('ready\n');
