// The front doors of a worker's listeners. The main thread says what they are, over a port of the worker's own: a message
// is there before the snapshot that it goes with, and is read when that one is looked at.
import { isDeepStrictEqual } from 'node:util';
import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import type { BackendTls } from '../backend-tls.ts';
import { Detector, TLS_BEGINNING, WEBSOCKET_BEGINNING } from './detector.ts';
import type { Door, Welcome } from './door.ts';
import type {
  BackendFault,
  DoorSettings,
  DoorsUpdate,
  TlsDoorSettings,
  WebSocketDoorSettings,
} from './door-settings.ts';
import { PassThroughDoor } from './pass-through.ts';
import { TlsDoor } from './tls.ts';
import { WebSocketDoor } from './websocket.ts';

/** Of one listener. */
interface DoorsOfListener<Entrant> {
  tls: TlsDoor<Entrant> | undefined;
  webSocket: WebSocketDoor<Entrant> | undefined;
  /** Through which everybody comes, the outer one first. */
  all: readonly Door<Entrant>[];
}

const NO_DOORS = { tls: undefined, webSocket: undefined, all: [] };

export class Doors<Entrant> {
  readonly #port: MessagePort | undefined;
  readonly #welcome: Welcome<Entrant>;
  /** By the listener's index. */
  #doors: DoorsOfListener<Entrant>[] = [];
  #backends: ReadonlyMap<number, BackendTls> = new Map();

  constructor(port: MessagePort | undefined, welcome: Welcome<Entrant>) {
    this.#port = port;
    this.#welcome = welcome;
  }

  /** None: the listener's bytes are MQTT's. Whoever begins with these goes through them, whatever is new. */
  of(listener: number): readonly Door<Entrant>[] {
    return this.#doors[listener]?.all ?? NO_DOORS.all;
  }

  /** Who comes to the listener from there brings others, and says whom. */
  isProxy(listener: number, address: string): boolean {
    return this.#doors[listener]?.webSocket?.isProxy(address) ?? false;
  }

  /** undefined: it wants none. */
  backendTls(backend: number): BackendTls | undefined {
    this.follow(); // the snapshot that has brought us to it may be new
    return this.#backends.get(backend);
  }

  report(fault: BackendFault): void {
    this.#port?.postMessage(fault);
  }

  /** Due before the listeners follow a snapshot. */
  follow(): void {
    if (this.#port === undefined) return;
    for (let next = receiveMessageOnPort(this.#port); next; next = receiveMessageOnPort(this.#port)) {
      this.#update(next.message);
    }
  }

  #update({ doors, ticketKeys, backends }: DoorsUpdate): void {
    this.#backends = backends;
    this.#doors = doors.map((settings, listener) =>
      this.#change(this.#doors[listener] ?? NO_DOORS, settings, ticketKeys),
    );
  }

  #change(before: DoorsOfListener<Entrant>, settings: DoorSettings | null, ticketKeys: Uint8Array) {
    const tls = this.#tlsDoor(before.tls, settings?.tls ?? null, ticketKeys);
    const webSocket = this.#webSocketDoor(before.webSocket, settings?.webSocket ?? null);
    const passThrough = settings?.passThrough ?? null;
    if (passThrough !== null) return { tls, webSocket, all: [new PassThroughDoor(passThrough, this.#welcome)] };
    const all = [tls, webSocket].filter((door) => door !== undefined);
    return { tls, webSocket, all: settings?.isDetecting ? [this.#detector(tls, webSocket)] : all };
  }

  /** Inside TLS no other TLS is looked for. */
  #detector(tls: TlsDoor<Entrant> | undefined, webSocket: WebSocketDoor<Entrant> | undefined): Detector<Entrant> {
    const plain = webSocket === undefined ? [] : [{ beginning: WEBSOCKET_BEGINNING, doors: [webSocket] }];
    if (tls === undefined) return new Detector(plain, this.#welcome);
    const inside = plain.length === 0 ? [] : [new Detector(plain, this.#welcome)];
    return new Detector([{ beginning: TLS_BEGINNING, doors: [tls, ...inside] }, ...plain], this.#welcome);
  }

  #tlsDoor(before: TlsDoor<Entrant> | undefined, settings: TlsDoorSettings | null, ticketKeys: Uint8Array) {
    if (settings === null) return undefined;
    if (before === undefined || !isDeepStrictEqual(before.settings, settings)) {
      return new TlsDoor(settings, ticketKeys, this.#welcome);
    }
    before.setTicketKeys(ticketKeys);
    return before;
  }

  #webSocketDoor(before: WebSocketDoor<Entrant> | undefined, settings: WebSocketDoorSettings | null) {
    if (before !== undefined && isDeepStrictEqual(before.settings, settings)) return before;
    before?.close();
    return settings === null ? undefined : new WebSocketDoor(settings, this.#welcome);
  }
}
