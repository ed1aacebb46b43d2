// A process with echoing brokers, as many as its argument says: so many sessions are more descriptors than one process
// may have. Says where they are, and ends with its parent.
import { type AddressInfo, createServer } from 'node:net';
import { echo } from './backends.ts';

process.on('disconnect', () => process.exit());
const [, , count = '1'] = process.argv;
const addresses = await Promise.all(Array.from({ length: Number(count) }, open));
process.send!(addresses);

function open(): Promise<string> {
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    socket.on('error', () => {});
    void echo(socket);
  });
  return new Promise((done) => {
    server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => {
      done(`127.0.0.1:${(server.address() as AddressInfo).port}`);
    });
  });
}
