// Loops of take-overs: clients of one ClientId, as two devices that were given the same, or one that has been cloned.
// Each CONNECT makes the broker throw the other one out, which comes back and does the same, for ever. The broker's log
// shows two clients that reconnect, and nothing that says why.
//
// A take-over is a session that a broker has accepted while another one of its ClientId and pool was open: in the same
// worker, which sees it by itself, or in another one, which is seen here. So many of them within a time are a loop: it is
// said once, and from then on the name has to pause after each take-over, for longer each time. Whoever is in stays, and
// the others are refused meanwhile, which costs the brokers nothing. When nobody of that name is left, the pause is over.
import type { TakeOverLoopConfig } from '../config.ts';
import type { Logger } from '../logger.ts';
import type { Life } from './connections.ts';
import { encodeText, type Output, STYLE_DEFAULT, writeValue } from './log-text.ts';
import { NewestSessions } from './newest-sessions.ts';
import { type Session, SessionTable } from './session-table.ts';

const POLL_MS = 200;
/** Between one session's end and the next one's CONNACK nobody of that name is in: only who stays away for longer has gone. */
const GONE_MS = 1000;
/** Names that are kept in mind; the one that was taken over longest ago gives way. */
const FIGHTS_MAX = 1024;
const ADDRESSES_MAX = 4;
/** Many loops at once are worth so many lines; all of them are counted. */
const LINES_A_MINUTE_MAX = 20;
const MINUTE_MS = 60_000;
const ESCAPED_BYTES_MAX = 4;
/** Of a ClientId, in a line for people. */
const CLIENT_ID_SHOWN_MAX = 128;

export interface TakeOversOptions {
  lives(): readonly Life[];
  /** Of the listener of that index; null: it doesn't look for loops. */
  settingsOf(listener: number): TakeOverLoopConfig | null;
  log: Logger;
}

/** What is known of one name. */
interface Fight {
  /** Since the first of these. */
  sinceMs: number;
  count: number;
  addresses: Set<string>;
  clientId: string;
  isLoop: boolean;
  /** What is still to be said of it. */
  announcement: { settings: TakeOverLoopConfig; seconds: number } | null;
  /** When a session of it was last seen open. */
  openMs: number;
  /** Pauses so far, and the end of the last one. */
  pauses: number;
  pausedUntilMs: number;
}

export class TakeOvers {
  /** Since the start. */
  count = 0;
  loops = 0;
  readonly #options: TakeOversOptions;
  readonly #tables = new Map<object, SessionTable>();
  readonly #newest = new NewestSessions();
  /** By tag, in the order of their last take-over. */
  readonly #fights = new Map<bigint, Fight>();
  readonly #announcedMs: number[] = [];

  constructor(options: TakeOversOptions) {
    this.#options = options;
  }

  /** Looks again and again, until the returned function is called. */
  start(): () => void {
    const timer = setInterval(() => this.look(), POLL_MS).unref();
    return () => clearInterval(timer);
  }

  look(nowMs = performance.timeOrigin + performance.now()): void {
    const tables = this.#followLives();
    for (const table of tables) {
      table.visitBegun((beginning) => {
        const rival = tables.length > 1 ? this.#newest.replace(table, beginning) : undefined;
        const { place, overlaps } = beginning;
        if (overlaps === 0 && rival === undefined) return;
        const session = table.read(place);
        const loser = overlaps > 0 ? session.otherAddress : rival && loserOf(session, rival);
        const settings = loser === undefined ? null : this.#options.settingsOf(session.listener);
        if (settings !== null) this.#note(session, Math.max(overlaps, 1), loser!, settings, nowMs);
      });
    }
    for (const [tag, fight] of this.#fights) {
      if (fight.announcement === null && fight.pausedUntilMs <= nowMs) continue;
      const sessions = tables.flatMap((table) => table.find(tag) ?? []);
      if (sessions.some(({ endedMs }) => endedMs === Number.POSITIVE_INFINITY)) fight.openMs = nowMs;
      const hasGone = nowMs - fight.openMs > GONE_MS;
      fight.clientId ||= sessions.find(({ clientId }) => clientId !== '')?.clientId ?? '';
      if (fight.announcement !== null && (fight.clientId !== '' || hasGone)) this.#announce(fight, nowMs);
      // Where nobody is left who could be thrown out, a client that comes harms nobody.
      if (hasGone && fight.pausedUntilMs > nowMs) this.#pause(tag, fight, nowMs);
    }
  }

  #followLives(): SessionTable[] {
    const lives = this.#options.lives();
    const memories = new Set<object>(lives.map(({ memory }) => memory));
    for (const [memory, table] of this.#tables) {
      if (memories.has(memory)) continue;
      this.#newest.forget(table);
      this.#tables.delete(memory);
    }
    const tables = lives.map((life) => {
      const table = this.#tables.get(life.memory) ?? new SessionTable(life);
      this.#tables.set(life.memory, table);
      return table;
    });
    return tables.filter(({ isRunning }) => isRunning);
  }

  #note(session: Session, takeOvers: number, loser: string, settings: TakeOverLoopConfig, nowMs: number): void {
    const { tag, address, clientId } = session;
    const fight = this.#fightOf(tag, settings, nowMs);
    this.count += takeOvers;
    fight.count += takeOvers;
    fight.openMs = nowMs;
    for (const each of [loser, address]) if (fight.addresses.size < ADDRESSES_MAX) fight.addresses.add(each);
    fight.clientId ||= clientId;
    if (fight.count < settings.takeOvers) return;
    if (!fight.isLoop) {
      fight.isLoop = true;
      this.loops += 1;
      fight.announcement = { settings, seconds: (nowMs - fight.sinceMs) / 1000 };
    }
    this.#pause(tag, fight, nowMs + Math.min(settings.pauseMs * 2 ** fight.pauses, settings.pauseMaxMs));
    fight.pauses += 1;
  }

  #pause(tag: bigint, fight: Fight, untilMs: number): void {
    fight.pausedUntilMs = untilMs;
    for (const table of this.#tables.values()) if (table.isRunning) table.pause(tag, untilMs);
  }

  /** The one that is still going on, or a new one. */
  #fightOf(tag: bigint, { windowMs }: TakeOverLoopConfig, nowMs: number): Fight {
    const known = this.#fights.get(tag);
    const sinceMs = known?.isLoop ? known.pausedUntilMs : (known?.sinceMs ?? 0);
    const goesOn = known !== undefined && nowMs - sinceMs <= windowMs;
    const fight = goesOn
      ? known
      : {
          sinceMs: nowMs - POLL_MS, // at the earliest
          count: 0,
          addresses: new Set<string>(),
          clientId: '',
          isLoop: false,
          announcement: null,
          openMs: nowMs,
          pauses: 0,
          pausedUntilMs: 0,
        };
    this.#fights.delete(tag);
    this.#fights.set(tag, fight);
    const [oldest] = this.#fights.keys();
    if (this.#fights.size > FIGHTS_MAX) this.#fights.delete(oldest!);
    return fight;
  }

  #announce(fight: Fight, nowMs: number): void {
    const { clientId, addresses, count, announcement } = fight;
    const { settings, seconds } = announcement!;
    fight.announcement = null;
    while (this.#announcedMs[0]! <= nowMs - MINUTE_MS) this.#announcedMs.shift();
    if (this.#announcedMs.length >= LINES_A_MINUTE_MAX) return;
    this.#announcedMs.push(nowMs);
    const name = clientId === '' ? 'a ClientId that has gone' : `ClientId "${harmless(clientId)}"`;
    const fields = { clientId, addresses: [...addresses], takeOvers: count, seconds: Number(seconds.toFixed(1)) };
    this.#options.log.warn(
      { event: 'take_over_loop', ...fields },
      `take-over loop: ${name} was taken over ${count} times in ${seconds.toFixed(1)} s, by clients at ` +
        `${[...addresses].join(', ')}; give each client a name of its own. From now on further ones are refused for ` +
        `${settings.pauseMs / 1000} s, and for up to ${settings.pauseMaxMs / 1000} s if it goes on`,
    );
  }
}

/** Where the client is, of the two of one ClientId in two workers, that was still there when the other one came. */
function loserOf(one: Session, other: Session): string | undefined {
  if (one.tag !== other.tag) return undefined;
  const [earlier, later] = one.connectMs < other.connectMs ? [one, other] : [other, one];
  return earlier.endedMs >= later.connectMs ? earlier.address : undefined;
}

/** As in the access log: whatever a client calls itself, it makes no other line and no other column of this one. */
function harmless(text: string): string {
  const bytes = encodeText(text.slice(0, CLIENT_ID_SHOWN_MAX));
  const output: Output = { bytes: new Uint8Array(bytes.length * ESCAPED_BYTES_MAX), length: 0 };
  writeValue(output, bytes, 0, bytes.length, STYLE_DEFAULT);
  return new TextDecoder().decode(output.bytes.subarray(0, output.length));
}
