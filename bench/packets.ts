// The MQTT packets that the load sends.

const TOPIC = 'bench';
const PUBLISH = 0x30;
const PUBACK = 0x40;

/** A PUBLISH of exactly that many bytes; with a packet identifier it is QoS 1, else QoS 0. */
export function publishPacket(bytes: number, packetId?: number): Buffer {
  const lengthBytes = [1, 2, 3, 4].find((count) => bytes - 1 - count < 128 ** count)!;
  const remaining = bytes - 1 - lengthBytes;
  const headerBytes = 2 + TOPIC.length + (packetId === undefined ? 0 : 2);
  if (remaining < headerBytes) throw new RangeError(`a PUBLISH to "${TOPIC}" has more than ${bytes} bytes`);
  const packet = Buffer.alloc(bytes, 'x');
  packet[0] = PUBLISH | (packetId === undefined ? 0 : 2);
  let at = 1;
  for (let rest = remaining; at <= lengthBytes; rest >>= 7) packet[at++] = (rest & 127) | (at <= lengthBytes ? 128 : 0);
  at = packet.writeUInt16BE(TOPIC.length, at);
  at += packet.write(TOPIC, at);
  if (packetId !== undefined) packet.writeUInt16BE(packetId, at);
  return packet;
}

export function pubackPacket(packetId: number): Buffer {
  return Buffer.from([PUBACK, 2, packetId >> 8, packetId & 255]);
}
