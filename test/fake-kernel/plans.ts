// Who comes, and how it will behave: every plan is drawn from the life's own seed, so that one life stays the same when
// others are left out of a replay.
import type { Random } from '../tools/random.ts';
import type { ActorPlan, Ending } from './actor.ts';
import type { Plan } from './hooks.ts';
import {
  type ConnectFields,
  connackPacket,
  connectPacket,
  DISCONNECT,
  NO_BYTES,
  type Offence,
  offences,
  type Version,
} from './packets.ts';
import { isClientIdDenied, type Rules, rewritten } from './rules.ts';

/** A stream isn't sent in more pieces than about these. */
const PIECES_MAX = 300;

/** What sets the scale of one simulation. */
export interface Scale {
  bufferBytes: number;
  /** Peers that stop reading, never end, or take minutes. */
  hasStallers: boolean;
}

export type Beginning = 'connects' | 'offends' | 'stops halfway' | 'is silent' | 'leaves early';

export interface ClientPlan extends ActorPlan {
  beginning: Beginning;
  /** A whole CONNECT, or what stands in its place. */
  head: Uint8Array;
  /** What its hook is asked about. */
  ruledHead: Uint8Array;
  /** What backends get instead of it. */
  passedHead: Uint8Array;
  /** Its hook's; null: there is none. */
  decision: Plan | null;
  bodyBytes: number;
  tail: Uint8Array;
  offence: Offence | null;
  version: Version;
  clientId: string;
  /** What backends take it for. */
  passedClientId: string;
  /** It is refused for what it calls itself. */
  isDenied: boolean;
  keepAlive: number;
  /** The longest packet that it takes; 0: any. */
  packetBytesMax: number;
}

export function planClient(
  random: Random,
  index: number,
  scale: Scale,
  rules: Rules,
  decide: (said: ConnectFields) => Plan | null,
): ClientPlan {
  const beginning = planBeginning(random);
  const version = random.pick([3, 4, 5] as const);
  const clientId = planClientId(random, index);
  const keepAlive = random.pick([0, 1, 2, 3, 60, 65535]);
  const offence = beginning === 'offends' ? random.pick(offences) : null;
  const packetBytesMax = random.pick([0, 0, 20, 100, 300]);
  const willBytes = random.chance(0.15) ? random.magnitude(1, Math.min(8 * scale.bufferBytes, 8000)) : -1;
  const username = random.chance(0.3) ? 'somebody' : null;
  const fields = { version, clientId, username, password: null, willBytes, keepAlive, packetBytesMax };
  const whole = offence?.bytes ?? connectPacket(fields);
  const says = beginning === 'connects';
  const ruled = rewritten(rules, fields);
  const decision = decide(ruled);
  const passed = decision?.fields ?? ruled;
  const head = cutHead(random, beginning, whole);
  const bodyBytes = says || (offence && random.chance(0.3)) ? planBytes(random, scale) : 0;
  return {
    ...planActor(random, scale, bodyBytes),
    beginning,
    head,
    ruledHead: says && ruled !== fields ? connectPacket(ruled) : head,
    passedHead: says && passed !== fields ? connectPacket(passed) : head,
    decision,
    bodyBytes,
    tail: says && random.chance(0.4) ? DISCONNECT : NO_BYTES,
    offence,
    version,
    clientId,
    passedClientId: passed.clientId,
    isDenied: isClientIdDenied(rules, clientId),
    keepAlive,
    packetBytesMax,
    unansweredBytes: says && random.chance(0.4) ? whole.length : Infinity,
    ending: planEnding(random, beginning, scale),
    patienceMs: random.magnitude(50, scale.hasStallers ? 200_000 : 15_000),
  };
}

function planBeginning(random: Random): Beginning {
  if (random.chance(0.85)) return 'connects';
  return random.pick(['offends', 'offends', 'stops halfway', 'is silent', 'leaves early'] as const);
}

function planClientId(random: Random, index: number): string {
  const start = `device-${index}-`;
  // Around what the cold line holds, and what a record holds.
  const length = random.chance(0.7) ? random.integer(12, 30) : random.pick([24, 25, 84, 85, 144, 1020, 1021, 1100]);
  return start.padEnd(length, '0123456789');
}

function cutHead(random: Random, beginning: Beginning, whole: Uint8Array): Uint8Array {
  if (beginning === 'is silent') return NO_BYTES;
  if (beginning === 'stops halfway' || beginning === 'leaves early')
    return whole.subarray(0, random.integer(1, whole.length - 1));
  return whole;
}

function planEnding(random: Random, beginning: Beginning, scale: Scale): Ending {
  if (beginning === 'leaves early') return random.pick(['ends first', 'closes'] as const);
  if (beginning !== 'connects') return 'ends second';
  if (scale.hasStallers && random.chance(0.05)) return 'never ends';
  return random.pick(['ends first', 'ends when answered', 'ends when answered', 'ends second', 'closes'] as const);
}

export interface BackendPlan extends ActorPlan {
  /** What it begins with: sometimes a CONNACK that refuses, or that names another keep alive. */
  head: Uint8Array;
  /** The keep alive that its CONNACK names; the client's own if none. */
  serverKeepAlive: number | undefined;
  bodyBytes: number;
  /** Talks before it has read anything. */
  talksFirst: boolean;
  /** Closes as soon as it has read a DISCONNECT. */
  obeysDisconnect: boolean;
}

export function planBackend(random: Random, scale: Scale): BackendPlan {
  const talksFirst = random.chance(0.1);
  const bodyBytes = planBytes(random, scale);
  const serverKeepAlive = random.chance(0.3) ? random.pick([0, 1, 4, 60]) : undefined;
  return {
    ...planActor(random, scale, bodyBytes),
    head: planConnack(random, serverKeepAlive),
    serverKeepAlive,
    bodyBytes,
    talksFirst,
    obeysDisconnect: random.chance(0.6),
    unansweredBytes: talksFirst ? Infinity : 0,
    ending: planBackendEnding(random, scale),
    patienceMs: Infinity,
  };
}

function planConnack(random: Random, serverKeepAlive: number | undefined): Uint8Array {
  if (serverKeepAlive !== undefined) return connackPacket(0, serverKeepAlive);
  return random.chance(0.5) ? connackPacket(random.pick([0, 0, 2, 0x87])) : NO_BYTES;
}

function planBackendEnding(random: Random, scale: Scale): Ending {
  if (scale.hasStallers && random.chance(0.05)) return 'never ends';
  if (random.chance(0.7)) return 'ends second';
  return random.pick(['ends first', 'ends when answered', 'closes'] as const);
}

function planActor(random: Random, scale: Scale, bodyBytes: number): ActorPlan {
  const isPatientReader = random.chance(0.6);
  return {
    pieceBytes: Math.max(bodyBytes / PIECES_MAX, random.magnitude(1, 8 * scale.bufferBytes)),
    gapMs: random.magnitude(0.01, random.chance(0.1) ? 500 : 5),
    unansweredBytes: Infinity,
    readBytes: isPatientReader ? 65536 : random.magnitude(16, 8 * scale.bufferBytes),
    readGapMs: random.magnitude(0.01, random.chance(0.1) ? 200 : 2),
    ...planStop(random, scale),
    capacity: isPatientReader ? 262_144 : random.magnitude(1, 16 * scale.bufferBytes),
    ending: 'ends second',
    goesOn: random.chance(0.5),
    resetsAtMs: random.chance(0.12) ? random.magnitude(0.001, 300) : Infinity,
    patienceMs: Infinity,
  };
}

function planStop(random: Random, scale: Scale): { stopsReadingAt: number; stopsReadingMs: number } {
  if (!random.chance(0.15)) return { stopsReadingAt: Infinity, stopsReadingMs: 0 };
  const stopsReadingAt = random.magnitude(1, 10 * scale.bufferBytes) - 1;
  if (scale.hasStallers && random.chance(0.3)) return { stopsReadingAt, stopsReadingMs: Infinity };
  return { stopsReadingAt, stopsReadingMs: random.magnitude(1, scale.hasStallers ? 300_000 : 3000) };
}

/** Most say little, some a lot. */
function planBytes(random: Random, scale: Scale): number {
  if (random.chance(0.2)) return 0;
  return random.magnitude(2, random.chance(0.15) ? 60 * scale.bufferBytes : 2 * scale.bufferBytes);
}
