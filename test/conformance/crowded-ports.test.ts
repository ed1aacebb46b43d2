// Ports between two addresses while there are still some left: the kernel looks through every second one before it looks at
// the others, and when that half is taken each connect takes long. So a dial between two addresses that have many
// connections already asks it to look at all of them.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Socket } from 'node:net';
import { boundSocket, encodeSockaddr } from '../../src/system/libc.ts';
import { startBackend } from '../tools/backends.ts';
import { startBalancer } from '../tools/balancer.ts';
import { nextBytes } from '../tools/client.ts';
import { testEngine } from '../tools/engines.ts';
import { testWithFewPorts } from '../tools/namespace.ts';
import { connackPacket, connectPacket } from '../tools/packets.ts';
import { reset } from '../tools/reset.ts';

const RANGE = [40000, 40255] as const;
/** Outside of the range. */
const [BALANCER_PORT, BACKEND_PORT] = [20000, 20001];
/** From a quarter of them on. */
const BEFORE = 63;
/** Half of them: more than that would come to the others anyhow. */
const CONNECTIONS = 128;

testWithFewPorts(import.meta.filename, RANGE.join(' '), () => {
  testEngine(
    'uring',
    'half of the ports are taken, and the others have been looked at before',
    async (engine, context) => {
      const ports: number[] = [];
      const backend = await startBackend(
        context,
        (socket) => {
          ports.push(socket.remotePort!);
          socket.once('data', () => socket.write(connackPacket(4))).on('error', () => {});
        },
        { port: BACKEND_PORT },
      );
      await startBalancer(context, { engine, backends: [backend.address], bind: `127.0.0.1:${BALANCER_PORT}` });
      for (let index = 0; index < CONNECTIONS; index++) {
        const socket = new Socket({ fd: boundSocket(encodeSockaddr(`127.0.100.${index + 1}`, 0)) });
        context.after(() => reset(socket));
        socket.connect({ host: '127.0.0.1', port: BALANCER_PORT });
        await once(socket, 'connect');
        socket.write(connectPacket());
        await nextBytes(socket);
      }
      const [first, last] = RANGE;
      assert.ok(
        ports.every((port) => port >= first && port <= last),
        'the system’s range holds',
      );
      const odd = (some: number[]): number => some.filter((port) => port % 2 === 1).length;
      assert.equal(odd(ports.slice(0, BEFORE)), 0, 'the kernel’s own way');
      assert.ok(odd(ports.slice(BEFORE)) > 0, `among ${ports.slice(BEFORE).join(' ')} is no odd one`);
    },
  );
});
