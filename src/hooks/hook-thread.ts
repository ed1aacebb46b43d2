// The thread in which hooks run: it loads their modules, and calls onConnect for whatever it is asked. Nothing but these
// calls happens here, and nothing else waits for them. hooks.ts starts it, and speaks to it in Asked.
import { pathToFileURL } from 'node:url';
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { FRONT_CLIENT_CN, FRONT_SNI, FRONT_TLS_CIPHER, FRONT_TLS_VERSION } from '../../assembly/layout.ts';
import { parseConnect } from '../core.ts';
import { frontTexts } from '../front/front-block.ts';
import { decodeSockaddr } from '../system/sockaddr.ts';
import type { ConnectInfo, OnConnect, TlsInfo } from './on-connect.ts';
import { type Verdict, verdictOf } from './verdict.ts';

export interface HookThreadStart {
  hooks: readonly LoadedHook[];
  /** Grows as long as the thread comes back from what it is asked. */
  beat: Int32Array;
}

export interface LoadedHook {
  id: number;
  listener: string;
  /** Absolute path. */
  module: string;
}

export interface Asked {
  /** Of the question, for the answer. */
  number: number;
  hook: number;
  peer: Uint8Array;
  connect: Uint8Array;
  front: Uint8Array;
}

export type HookReport =
  | { type: 'ready' }
  | { type: 'failed'; text: string }
  | { type: 'decided'; number: number; verdict: Verdict }
  | { type: 'broken'; number: number; text: string };

const BEAT_MS = 50;
const VERSIONS: Record<number, ConnectInfo['version']> = { 3: '3.1', 4: '3.1.1', 5: '5.0' };

class HookThread {
  readonly #port: MessagePort;
  readonly #functions = new Map<number, { listener: string; onConnect: OnConnect }>();

  constructor(port: MessagePort) {
    this.#port = port;
  }

  async load(hooks: readonly LoadedHook[]): Promise<void> {
    for (const { id, listener, module } of hooks) {
      try {
        this.#functions.set(id, { listener, onConnect: await load(module) });
      } catch (error) {
        throw new Error(`listener ${listener}: ${module}: ${textOf(error)}`);
      }
    }
  }

  listen(): void {
    this.#port.on('message', (asked: Asked) => void this.#decide(asked));
    this.#report({ type: 'ready' });
  }

  async #decide(asked: Asked): Promise<void> {
    const { number, hook } = asked;
    try {
      const { listener, onConnect } = this.#functions.get(hook)!;
      this.#report({ type: 'decided', number, verdict: verdictOf(await onConnect(infoOf(asked, listener))) });
    } catch (error) {
      this.#report({ type: 'broken', number, text: textOf(error) });
    }
  }

  #report(report: HookReport): void {
    this.#port.postMessage(report);
  }
}

async function load(module: string): Promise<OnConnect> {
  const { onConnect } = await import(pathToFileURL(module).href);
  if (typeof onConnect !== 'function') throw new TypeError('it exports no function onConnect');
  return onConnect;
}

function infoOf({ peer, connect, front }: Asked, listener: string): ConnectInfo {
  const parsed = parseConnect(connect);
  if (parsed.state !== 'complete') throw new Error(`a mistake of ours: the CONNECT is ${parsed.state}`);
  const { version, clientId, username, password, cleanStart, keepAlive, will } = parsed;
  const { host, port } = decodeSockaddr(peer);
  return {
    listener,
    remoteAddress: host,
    remotePort: port,
    version: VERSIONS[version]!,
    clientId,
    username,
    password,
    cleanStart,
    keepAlive,
    will: will && { topic: will.topic, qos: will.qos, retain: will.retain },
    tls: front.length === 0 ? null : tlsOf(frontTexts(front)),
  };
}

/** A front door without TLS knows nothing of it. */
function tlsOf(texts: readonly string[]): TlsInfo | null {
  const version = texts[FRONT_TLS_VERSION]!;
  if (version === '') return null;
  return {
    version,
    cipher: texts[FRONT_TLS_CIPHER]!,
    serverName: texts[FRONT_SNI] || null,
    clientCommonName: texts[FRONT_CLIENT_CN] || null,
  };
}

/** In one line. */
function textOf(error: unknown): string {
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return text.split('\n', 1)[0]!;
}

async function start(port: MessagePort): Promise<void> {
  const { hooks, beat } = workerData as HookThreadStart;
  const thread = new HookThread(port);
  try {
    await thread.load(hooks);
  } catch (error) {
    port.postMessage({ type: 'failed', text: (error as Error).message } satisfies HookReport);
    return;
  }
  setInterval(() => Atomics.add(beat, 0, 1), BEAT_MS);
  thread.listen();
}

if (parentPort !== null) await start(parentPort);
