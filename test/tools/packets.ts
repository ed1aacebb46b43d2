// The little MQTT that clients and backends of these tests speak.
import type { Socket } from 'node:net';
import { generate } from 'mqtt-packet';

export const PINGREQ = Buffer.from([0xc0, 0]);

export interface ConnectOptions {
  clientId?: string;
  username?: string;
  version?: 3 | 4 | 5;
  /** Seconds. */
  keepAlive?: number;
  /** Of MQTT 5.0: the longest packet that the client takes. */
  maximumPacketSize?: number;
}

export function connectPacket(options: ConnectOptions = {}): Buffer {
  const { clientId = 'device', username, version = 4, keepAlive = 60, maximumPacketSize } = options;
  return generate({
    cmd: 'connect',
    protocolId: version === 3 ? 'MQIsdp' : 'MQTT',
    protocolVersion: version,
    clean: true,
    clientId,
    keepalive: keepAlive,
    ...(username === undefined ? {} : { username }),
    ...(maximumPacketSize === undefined ? {} : { properties: { maximumPacketSize } }),
  });
}

/** Accepted. Version 5 says so with one byte more, for its properties. */
export function connackPacket(version: number): Buffer {
  return version === 5 ? Buffer.from([0x20, 3, 0, 0, 0]) : Buffer.from([0x20, 2, 0, 0]);
}

/** Refused, with the code that the version has for it. */
export function refusalPacket(version: number, code: number): Buffer {
  return Buffer.from(version === 5 ? [0x20, 3, 0, code, 0] : [0x20, 2, 0, code]);
}

/** The protocol level of a CONNECT: after the protocol's name, whose length stands before it. */
export function levelOf(connect: Buffer): number {
  return connect[4 + connect[3]!]!;
}

/** undefined: closed before. Leaves the socket paused, with what came after the packet to be read. */
export function firstPacket(socket: Socket): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    let bytes = Buffer.alloc(0);
    const onData = (more: Buffer) => {
      bytes = Buffer.concat([bytes, more]);
      const length = packetBytes(bytes);
      if (length === undefined || bytes.length < length) return;
      socket.pause();
      socket.off('data', onData);
      if (bytes.length > length) socket.unshift(bytes.subarray(length));
      resolve(bytes.subarray(0, length));
    };
    socket.on('data', onData);
    socket.on('close', () => resolve(undefined));
  });
}

/** Cuts a stream into its packets; what is left over of the last one comes back as `rest`. */
export function splitPackets(bytes: Buffer): { packets: Buffer[]; rest: Buffer } {
  const packets: Buffer[] = [];
  let rest = bytes;
  for (let length = packetBytes(rest); length !== undefined && length <= rest.length; length = packetBytes(rest)) {
    packets.push(rest.subarray(0, length));
    rest = rest.subarray(length);
  }
  return { packets, rest };
}

/** Bytes of the packet that `bytes` begin with, undefined while its length isn't known. */
function packetBytes(bytes: Buffer): number | undefined {
  let length = 0;
  for (let index = 1; index < bytes.length; index++) {
    length += (bytes[index]! & 0x7f) * 128 ** (index - 1);
    if (bytes[index]! < 0x80) return 1 + index + length;
  }
  return undefined;
}
