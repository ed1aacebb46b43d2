// A device as brokers know it: an MQTT session that outlives its connections, QoS 1 both ways, and a parser that notices
// a packet cut off. Light enough for thousands in one process.
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { generate, type IPublishPacket, type Packet, type Parser, parser } from 'mqtt-packet';

export interface DeviceOptions {
  host: string;
  port: number;
  clientId: string;
  version?: 4 | 5;
  /** Seconds. */
  keepAlive?: number;
  /** Through another door than TCP. */
  open?: () => Duplex;
}

export class Device {
  readonly options: DeviceOptions;
  /** By performance.now; undefined while the connection is open. */
  closedMs: number | undefined;
  /** How often a connection ended that this end had not asked to end. */
  losses = 0;
  /** Reason codes of the DISCONNECTs that came. */
  readonly farewells: { code: number; serverReference: string | undefined }[] = [];
  onMessage: (payload: string) => void = () => {};
  onLoss: () => void = () => {};
  #socket: Duplex | undefined;
  #leaving = false;
  #packetId = 0;
  readonly #awaited = new Map<string, (packet: Packet) => void>();

  constructor(options: DeviceOptions) {
    this.options = options;
  }

  get isConnected(): boolean {
    return this.#socket !== undefined && this.closedMs === undefined;
  }

  /** Returns milliseconds from the dial to CONNACK. Rejects when it is refused, or closed before. */
  async connect(): Promise<number> {
    const { host, port, clientId, version = 4, keepAlive = 60 } = this.options;
    const begunMs = performance.now();
    this.closedMs = undefined;
    this.#leaving = false;
    const socket = this.options.open?.() ?? connect({ host, port, noDelay: true });
    this.#socket = socket;
    const packets = parser({ protocolVersion: version });
    packets.on('packet', (packet) => this.#onPacket(packet));
    let ended: (error: Error) => void = () => {};
    const early = new Promise<never>((_, reject) => {
      ended = reject;
    });
    early.catch(() => {});
    socket.on('error', () => {});
    socket.on('data', (bytes) => packets.parse(bytes));
    socket.on('close', () => {
      ended(new Error(`${clientId} was closed before CONNACK`));
      if (this.#socket === socket) this.#onClose(packets);
    });
    const answer = this.#await('connack');
    this.#send({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: version,
      clean: false,
      clientId,
      keepalive: keepAlive,
      ...(version === 5 ? { properties: { sessionExpiryInterval: 3600 } } : {}),
    });
    const connack = await Promise.race([answer, early]);
    assert.ok(connack.cmd === 'connack');
    const code = version === 5 ? connack.reasonCode : connack.returnCode;
    if (code !== 0) throw new Error(`${clientId} was refused with ${code}`);
    return performance.now() - begunMs;
  }

  /** Of QoS 1; resolves when the broker has granted it. */
  async subscribe(topic: string): Promise<void> {
    const messageId = this.#nextId();
    const granted = this.#await(`suback ${messageId}`);
    this.#send({ cmd: 'subscribe', messageId, subscriptions: [{ topic, qos: 1 }] });
    await granted;
  }

  /** Of QoS 1; resolves when the broker has acknowledged it. */
  async publish(topic: string, payload: string): Promise<void> {
    const messageId = this.#nextId();
    const acknowledged = this.#await(`puback ${messageId}`);
    this.#send({ cmd: 'publish', topic, payload, qos: 1, messageId, dup: false, retain: false });
    await acknowledged;
  }

  leave(): void {
    this.#leaving = true;
    this.#send({ cmd: 'disconnect' });
    this.#socket?.end();
  }

  /** Without a word. */
  destroy(): void {
    this.#leaving = true;
    this.#socket?.destroy();
  }

  #onPacket(packet: Packet): void {
    if (packet.cmd === 'publish') {
      this.#onPublish(packet);
      return;
    }
    if (packet.cmd === 'disconnect') {
      const serverReference = packet.properties?.serverReference;
      this.farewells.push({ code: packet.reasonCode ?? 0, serverReference });
      return;
    }
    const key = packet.messageId === undefined ? packet.cmd : `${packet.cmd} ${packet.messageId}`;
    const resolve = this.#awaited.get(key);
    this.#awaited.delete(key);
    resolve?.(packet);
  }

  #onPublish({ payload, messageId }: IPublishPacket): void {
    if (messageId !== undefined) this.#send({ cmd: 'puback', messageId });
    this.onMessage(payload.toString());
  }

  #onClose(packets: Parser): void {
    this.closedMs = performance.now();
    if (this.#leaving) return;
    this.losses += 1;
    const cut = packets.parse(Buffer.alloc(0));
    assert.equal(cut, 0, `${this.options.clientId} was left with ${cut} bytes of a packet`);
    this.onLoss();
  }

  #await(key: string): Promise<Packet> {
    return new Promise((resolve) => this.#awaited.set(key, resolve));
  }

  #send(packet: Packet): void {
    this.#socket!.write(generate(packet, { protocolVersion: this.options.version ?? 4 }));
  }

  #nextId(): number {
    this.#packetId = (this.#packetId % 65535) + 1;
    return this.#packetId;
  }
}
