// A process with a balancer of its own: `node balancer-process.ts ENGINE stop` stops it and has nothing more to do,
// `node balancer-process.ts ENGINE exit` leaves with code 7 while it runs.
import { parseConfig } from '../../src/config.ts';
import { start } from '../../src/index.ts';

const [, , engine, way] = process.argv;
const settings = {
  engine,
  workers: 2,
  connections_max: 64,
  listeners: [{ name: 'mqtt', bind: '127.0.0.1:0' }],
  pools: { brokers: { backends: ['127.0.0.1:1'] } },
  access_log: { path: 'off' },
  admin: { bind: '127.0.0.1:0' },
};
const tidegate = await start(parseConfig(JSON.stringify(settings), 'test.yaml'));
if (way === 'exit') process.exit(7);
await tidegate.stop();
