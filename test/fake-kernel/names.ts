// ClientIds in the simulation: those that the main thread has told to pause, and what the data plane notes of sessions.
import {
  HEADER_OFFSET,
  HEADER_SESSIONS,
  HEADER_WALL_MS,
  PAUSES,
  SESSION_BYTES,
  SESSION_GENERATION,
  SESSION_OVERLAPS,
  SESSION_SLOT,
} from '../../assembly/layout.ts';
import { sessionsOffset } from '../../src/control/memory-map.ts';
import { type Session, SessionTable } from '../../src/control/session-table.ts';
import { headerWords } from '../../src/header.ts';
import type { Random } from '../tools/random.ts';
import type { Life } from './life.ts';
import { Violation } from './violation.ts';
import type { World } from './world.ts';

/** What was decided is done so much later. */
const DONE_MS = 50;

interface Paused {
  /** Where it is written: another one there ends it. */
  place: bigint;
  clientId: string;
  fromMs: number;
  untilMs: number;
}

export class Names {
  readonly #world: World;
  readonly #table: SessionTable;
  readonly #view: DataView;
  readonly #sessions: number;
  readonly #wallMs: number;
  readonly #paused: Paused[] = [];

  constructor(world: World, memory: WebAssembly.Memory) {
    this.#world = world;
    this.#table = new SessionTable({ worker: 0, life: 0, memory });
    this.#sessions = headerWords(memory)[HEADER_SESSIONS / 4]!;
    this.#view = new DataView(memory.buffer, sessionsOffset(memory));
    this.#wallMs = new DataView(memory.buffer).getFloat64(HEADER_OFFSET + HEADER_WALL_MS, true);
  }

  /** One of those who have begun a session lately has to pause. Returns what was done. */
  pause(random: Random): string {
    const { now, lives } = this.#world;
    const sessions: Session[] = [];
    this.#table.visitBegun(({ place }) => sessions.push(this.#table.read(place)));
    if (sessions.length === 0) return 'lets nobody pause';
    const { tag, clientId } = random.pick(sessions);
    // Where all have one name anybody has it; else the number of a life stands in it.
    const life = lives.find((each) => each?.client.plan.passedClientId.slice(0, clientId.length) === clientId);
    if (life === undefined || clientId === '') return 'lets nobody pause';
    const name = life.client.plan.passedClientId;
    const untilMs = now + random.magnitude(5, 2000);
    const place = tag % BigInt(PAUSES);
    for (const paused of this.#paused) if (paused.place === place) paused.untilMs = Math.min(paused.untilMs, now);
    this.#paused.push({ place, clientId: name, fromMs: now, untilMs });
    this.#table.pause(tag, this.#wallMs + untilMs);
    return `lets ${name.slice(0, 30)} pause until ${untilMs.toFixed(0)}`;
  }

  /** A hook that has failed, or a decision that came astray, leaves a client the name that it had. */
  get #areSure(): boolean {
    return this.#world.hook === null;
  }

  /** Its CONNECT was refused for it: at some time of its life its name had to pause. */
  hadToPause({ acceptedAt, client }: Life, endedMs: number): boolean {
    return this.#paused.some(
      ({ clientId, fromMs, untilMs }) =>
        (!this.#areSure || clientId === client.plan.passedClientId) &&
        fromMs <= endedMs &&
        untilMs >= acceptedAt - DONE_MS,
    );
  }

  /** It has come since the pause began, and is dialled before it ends. */
  checkDial({ acceptedAt, client, about }: Life, nowMs: number): void {
    if (!this.#areSure) return;
    const early = this.#paused.some(
      ({ clientId, fromMs, untilMs }) =>
        clientId === client.plan.passedClientId && acceptedAt > fromMs + DONE_MS && nowMs < untilMs - DONE_MS,
    );
    if (early) throw new Violation('a client that has to pause is dialled', about);
  }

  /** No session is said to take the place of one whose name nobody else has. */
  checkOverlaps(): void {
    for (let index = 0; index < this.#sessions; index++) {
      const word = (field: number) => this.#view.getUint32(index * SESSION_BYTES + field, true);
      if (word(SESSION_OVERLAPS) === 0) continue;
      const life = this.#world.lifeIn(word(SESSION_SLOT), word(SESSION_GENERATION));
      if (life === undefined) continue;
      const name = life.client.plan.passedClientId;
      const others = this.#world.lives.filter((each) => each !== life && each?.client.plan.passedClientId === name);
      if (others.length === 0) throw new Violation('a session overlaps with one that never was', life.about);
    }
  }
}
