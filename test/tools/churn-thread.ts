// A thread that opens and closes connections in a table without a pause, with ClientIds of no chunk, one and several. The
// id of each can be told from its port.
import { isMainThread, parentPort, workerData } from 'node:worker_threads';
import { COLD_PEER, HEADER_REGION_SCRATCH, REASON_CLIENT_CLOSED } from '../../assembly/layout.ts';
import { startDataPlane } from '../../src/data-plane.ts';
import { regionOffset } from '../../src/header.ts';
import { encodeSockaddr } from '../../src/system/sockaddr.ts';
import { connectPacket } from './packets.ts';

/** Few, so that each is used again at once. */
export const SLOTS = 16;
const IDS = 64;

export function churnedId(port: number): string {
  return `${port}`.repeat(1 + ((port * 13) % 50));
}

if (!isMainThread && workerData?.memory !== undefined) churn(workerData.memory, workerData.module);

function churn(memory: WebAssembly.Memory, module: WebAssembly.Module): never {
  const plane = startDataPlane(memory, module);
  plane.observeSnapshot();
  const bytes = new Uint8Array(memory.buffer);
  const scratch = regionOffset(memory, HEADER_REGION_SCRATCH);
  const visitors = Array.from({ length: IDS }, (_, index) => ({
    packet: connectPacket({ clientId: churnedId(1000 + index) }),
    sockaddr: encodeSockaddr('127.0.0.1', 1000 + index),
  }));
  const open: number[] = [];
  parentPort!.postMessage('begins');
  for (let turn = 0; ; turn++) {
    if (open.length === SLOTS) plane.connectionClose(open.splice((turn * 7) % SLOTS, 1)[0]!, REASON_CLIENT_CLOSED);
    const { packet, sockaddr } = visitors[turn % IDS]!;
    const slot = plane.connectionOpen(0);
    bytes.set(sockaddr, plane.coldAddress(slot) + COLD_PEER);
    bytes.set(packet, scratch);
    plane.connectionDecide(slot, scratch, packet.length);
    plane.connectionDialled(slot);
    open.push(slot);
  }
}
