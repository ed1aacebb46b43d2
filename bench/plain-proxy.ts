// What a few lines of Node.js do: takes the brokers in turn and pipes both ways, with no look at MQTT. The measure for
// what Tidegate's portable engine may cost.
// Usage: plain-proxy.ts PORT BROKER_PORT
import { connect, createServer } from 'node:net';

const [port = 0, brokerPort = 0] = process.argv.slice(2).map(Number);
const brokers = ['127.0.0.1', '127.0.0.2', '127.0.0.3'];
let turn = 0;

const server = createServer({ noDelay: true }, (client) => {
  const broker = connect({ host: brokers[turn++ % brokers.length]!, port: brokerPort, noDelay: true });
  client.pipe(broker).pipe(client);
  client.on('error', () => broker.destroy());
  broker.on('error', () => client.destroy());
});
server.listen({ port, host: '127.0.0.1', backlog: 4096 });
