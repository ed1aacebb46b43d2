// The hook of a simulation's listeners: what it decides on each client, and the main thread that brings its decisions,
// early, late, twice, for lives that are over or were never asked about.
import {
  ASK_BYTES_TOTAL,
  ASK_CONNECT,
  ASK_CONNECT_BYTES,
  ASK_GENERATION,
  ASK_HOOK,
  ASK_PEER,
  ASK_SLOT,
  ASKS_BYTES,
  DECISIONS_BYTES,
  ENTRY_SKIP,
  HEADER_ASKS_READ,
  HEADER_ASKS_WRITTEN,
  HEADER_DECISIONS_READ,
  HEADER_DECISIONS_WRITTEN,
  HEADER_OFFSET,
  HEADER_REGION_ASKS,
  HOOK_ACCEPTS,
  HOOK_BYTES,
  HOOK_ID,
  HOOK_TIMEOUT_MS,
  SNAPSHOT_LISTENER_HOOKS,
} from '../../assembly/layout.ts';
import { regionOffset } from '../../src/header.ts';
import { type Answer, Lane } from '../../src/hooks/lane.ts';
import { Random } from '../tools/random.ts';
import type { Kernel } from './kernel.ts';
import type { Life } from './life.ts';
import type { ConnectFields } from './packets.ts';
import { rewritten } from './rules.ts';
import { Violation } from './violation.ts';

/** Of every listener. */
export interface HookPlan {
  timeoutMs: number;
  /** Whom it has no decision for. */
  acceptsOnError: boolean;
  /** Most that a decision takes, but for those that take for ever. */
  latencyMs: number;
  /** Of the asks' ring, as if others that nobody reads had filled the rest. */
  roomBytes: number;
  /** How often a decision comes that nobody has asked for. */
  strays: number;
}

/** On one client. */
export interface Plan {
  /** never: there is none. fails: it is no decision, or can't be carried out. */
  kind: 'accepts' | 'refuses' | 'fails' | 'never';
  code: number;
  answer: Answer;
  /** What its broker is told if it is let in by this. */
  fields: ConnectFields;
}

const HOOK = 77;
/** The one pool of a simulation, and one that there isn't. */
const POOL_ID = 0;
const NO_POOL_ID = 9;
const CODES = [0x80, 0x85, 0x86, 0x87, 0x97];
/** An ask has so many bytes at least. */
const ASK_BYTES_MIN = 64;
/** More than a CONNECT may have. */
const TOO_LONG = 'u'.repeat(20_000);
const encode = (text: string | null) => (text === null ? null : Buffer.from(text));

export function planHook(random: Random): HookPlan | null {
  if (random.chance(0.6)) return null;
  return {
    timeoutMs: random.magnitude(50, 3000),
    acceptsOnError: random.chance(0.4),
    latencyMs: random.magnitude(0.1, random.chance(0.3) ? 3000 : 50),
    roomBytes: random.chance(0.3) ? random.magnitude(ASK_BYTES_MIN, 20_000) : ASKS_BYTES,
    strays: random.chance(0.6) ? random.integer(1, 60) : 0,
  };
}

/** `said`: what its CONNECT says behind the rules. */
export function planDecision(random: Random, { acceptsOnError }: HookPlan, said: ConnectFields): Plan {
  const code = random.pick(CODES);
  if (random.chance(0.05)) return { kind: 'never', code, answer: { kind: 'failed' }, fields: said };
  if (random.chance(0.1)) return { kind: 'refuses', code, answer: { kind: 'refuse', code }, fields: said };
  if (random.chance(0.1)) return { kind: 'fails', code, answer: planFailure(random), fields: said };
  const key = random.chance(0.3) ? Buffer.from(random.pick(['', 'k', 'key'.repeat(50)])) : null;
  const pool = random.chance(0.3) ? POOL_ID : null;
  // Without its decision a client that is let in all the same is told of as it is: nobody could say which it will be.
  const texts = acceptsOnError ? NO_CHANGE : planTexts(random);
  const clientId = texts.clientId?.replaceAll('${client_id}', said.clientId) ?? null;
  const fields = rewritten({ deny: [], identity: identityOf({ ...texts, clientId }) }, said);
  const answer: Answer = {
    kind: 'accept',
    pool,
    key,
    clientId: encode(clientId),
    username: encode(texts.username),
    password: encode(texts.password),
  };
  return { kind: 'accepts', code, answer, fields };
}

const NO_CHANGE = { clientId: null, username: null, password: null } as Record<string, string | null> & Texts;

interface Texts {
  clientId: string | null;
  username: string | null;
  password: string | null;
}

function planTexts(random: Random): Texts {
  if (random.chance(0.4)) return NO_CHANGE;
  return {
    clientId: random.pick([null, 'hooked', 'h/${client_id}', '${client_id}'.repeat(3)]),
    username: random.pick([null, '', 'hook', 'n'.repeat(500)]),
    password: random.pick([null, null, '', 'secret', 'p'.repeat(2000)]),
  };
}

function identityOf(rewrite: Texts) {
  const anything = { patterns: [], deny: [] };
  return {
    clientId: { ...anything, empty: 'allow' as const },
    username: { ...anything, required: false },
    rewrite,
  };
}

function planFailure(random: Random): Answer {
  const texts = { key: null, clientId: null, username: null, password: null };
  return random.pick<Answer>([
    { kind: 'failed' },
    { kind: 'accept', pool: NO_POOL_ID, ...texts },
    { kind: 'accept', pool: null, ...texts, username: encode(TOO_LONG) },
    { kind: 'accept', pool: null, ...texts, clientId: Buffer.of(0xff, 0xfe) },
  ]);
}

export function writeHooks(snapshot: Uint8Array, listenerCount: number, hook: HookPlan | null): void {
  const view = new DataView(snapshot.buffer, snapshot.byteOffset);
  for (let index = 0; index < listenerCount; index++) {
    const at = SNAPSHOT_LISTENER_HOOKS + index * HOOK_BYTES;
    view.setUint32(at + HOOK_ID, HOOK, true);
    view.setUint32(at + HOOK_TIMEOUT_MS, hook?.timeoutMs ?? 0, true);
    view.setUint32(at + HOOK_ACCEPTS, Number(hook?.acceptsOnError ?? false), true);
  }
}

export interface HooksParts {
  memory: WebAssembly.Memory;
  kernel: Kernel;
  plan: HookPlan | null;
  seed: number;
  lives: readonly (Life | undefined)[];
  connectionsMax: number;
}

export class Hooks {
  readonly #parts: HooksParts;
  readonly #lane: Lane;
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  readonly #random: Random;
  #read: number;

  constructor(parts: HooksParts) {
    this.#parts = parts;
    this.#lane = new Lane(parts.memory);
    this.#view = new DataView(parts.memory.buffer);
    this.#bytes = new Uint8Array(parts.memory.buffer);
    this.#random = new Random(parts.seed ^ 0x1b873593);
    // Close to the rings' ends, or with as much room as there is: then nothing may reach the end, for which there is
    // none.
    const room = parts.plan?.roomBytes ?? ASKS_BYTES;
    this.#read = room === ASKS_BYTES ? ASKS_BYTES - 5000 : 0;
    this.#set(HEADER_ASKS_WRITTEN, this.#read);
    this.#giveBack();
    this.#set(HEADER_DECISIONS_WRITTEN, DECISIONS_BYTES - 2000);
    this.#set(HEADER_DECISIONS_READ, DECISIONS_BYTES - 2000);
  }

  /** How many decisions come that nobody has asked for. */
  get strays(): number {
    return this.#parts.plan?.strays ?? 0;
  }

  /** Due after every turn: the main thread was woken. */
  look(): void {
    const { plan } = this.#parts;
    const written = this.#view.getUint32(HEADER_OFFSET + HEADER_ASKS_WRITTEN, true);
    while (this.#read !== written) {
      const at = regionOffset(this.#parts.memory, HEADER_REGION_ASKS) + (this.#read & (ASKS_BYTES - 1));
      const total = this.#view.getUint32(at + ASK_BYTES_TOTAL, true);
      const bytes = (total & ~ENTRY_SKIP) >>> 0;
      if (plan === null || bytes === 0 || bytes > (written - this.#read) >>> 0)
        throw new Violation(`an ask of ${bytes} bytes`);
      if (bytes === total) this.#onAsk(at, plan);
      this.#read = (this.#read + bytes) >>> 0;
      this.#giveBack();
    }
  }

  #onAsk(at: number, plan: HookPlan): void {
    const word = (field: number) => this.#view.getUint32(at + field, true);
    const [slot, generation] = [word(ASK_SLOT), word(ASK_GENERATION)];
    const connect = this.#bytes.subarray(at + ASK_CONNECT, at + ASK_CONNECT + word(ASK_CONNECT_BYTES));
    const peer = this.#bytes.subarray(at + ASK_PEER, at + ASK_CONNECT);
    // Its life may have ended in the turn in which it was asked about.
    const life = this.#parts.lives.find((each) => each?.isAccepted && isSameStart(peer, each.told));
    if (life === undefined || word(ASK_HOOK) !== HOOK) throw new Violation('a hook is asked about nobody', { slot });
    if (life.slot !== slot) throw new Violation('a hook is asked about another slot', life.about);
    if (life.askedAt !== null) throw new Violation('a hook is asked twice', life.about);
    const { ruledHead, isDenied } = life.client.plan;
    if (isDenied || !Buffer.from(ruledHead).equals(connect))
      throw new Violation('a hook is asked about another CONNECT', life.about);
    const { kernel } = this.#parts;
    life.askedAt = kernel.timeline.now;
    life.move();
    const decision = life.client.plan.decision!;
    if (decision.kind === 'never') return;
    const delayMs = this.#random.magnitude(0.01, Math.max(plan.latencyMs, 0.02));
    kernel.timeline.after(delayMs, () => {
      const isLate = kernel.plane.wholeGeneration(slot) !== generation;
      if (!isLate) life.decidedAt ??= kernel.timeline.now;
      kernel.trace?.deed(life.index, `its hook ${decision.kind}`);
      this.#write(slot, generation, decision.answer);
      if (this.#random.chance(0.1)) this.#write(slot, generation, { kind: 'refuse', code: 0x99 });
    });
  }

  /** A decision that nobody has asked for, or one for another life. */
  stray(): void {
    const { kernel, connectionsMax, lives } = this.#parts;
    const random = this.#random;
    const answer: Answer = random.pick<Answer>([{ kind: 'refuse', code: 0x99 }, { kind: 'failed' }]);
    const slot = random.integer(0, connectionsMax + 2);
    const isThere = slot < connectionsMax;
    const generation = isThere ? kernel.plane.wholeGeneration(slot) : 0;
    // Only of a life that is past its hook it is certain that it won't be asked about before this is read.
    const isPast = isThere && lives.some((life) => life?.slot === slot && !life.isOver && life.isEstablished);
    this.#write(slot, isPast ? generation : generation + random.pick([-1, 1 << 24]), answer);
  }

  #write(slot: number, generation: number, answer: Answer): void {
    if (!this.#lane.write({ slot, generation: generation >>> 0 }, answer))
      throw new Violation('decisions are not taken', { slot });
    this.#parts.kernel.writeEventfd();
  }

  #giveBack(): void {
    const room = this.#parts.plan?.roomBytes ?? ASKS_BYTES;
    this.#set(HEADER_ASKS_READ, this.#read - (ASKS_BYTES - (room & ~7)));
  }

  #set(field: number, value: number): void {
    this.#view.setUint32(HEADER_OFFSET + field, value >>> 0, true);
  }
}

function isSameStart(bytes: Uint8Array, start: Uint8Array): boolean {
  return start.every((byte, index) => bytes[index] === byte);
}
