// One screen of `tidegate top`: two readings of the status and the events, as lines.
import type { BackendDocument } from './admin/backend-document.ts';
import type { MoveDocument } from './admin/move-document.ts';
import type { EventsDocument } from './admin/routes/events.ts';
import type { StatusDocument } from './admin/status-document.ts';
import { stateText } from './status-text.ts';
import { durationText, textTable } from './text-table.ts';

export const SORTS = ['configuration', 'connections', 'CONNECT/s', 'state'] as const;
export type Sort = (typeof SORTS)[number];

export interface Reading {
  status: StatusDocument;
  events: EventsDocument;
}

export interface View {
  now: Reading;
  /** The one before; undefined: there are no rates yet. */
  before: Reading | undefined;
  sort: Sort;
  isColoured: boolean;
}

type PoolDocument = StatusDocument['pools'][number];

const BAR_CELLS = 16;
/** As its heading. */
const RATE_CELLS = 'CONNECT/S'.length;
const EIGHTHS = ' ▏▎▍▌▋▊▉█';
/** Of states that somebody should look at, in a terminal's own colours. */
const COLOURS: Record<string, number> = { suspect: 33, down: 31, drain: 34, maintenance: 35 };
const BOLD = 1;
const FAINT = 2;

/** Without the line ends. The events come last: who has less room sees fewer of them. */
export function topLines(view: View): string[] {
  const { status, events } = view.now;
  return [
    ...headLines(view),
    ...status.pools.flatMap((pool) => ['', ...poolLines(pool, view)]),
    '',
    painted('EVENTS', FAINT, view),
    ...events.events
      .toReversed()
      .map(({ at, level, message }) => plain(`${at.slice(11, 19)}  ${level.padEnd(5)}  ${message}`)),
  ];
}

function headLines(view: View): string[] {
  const { status } = view.now;
  const { version, engine, uptime_seconds, connections, ready, not_ready_because, listeners, workers } = status;
  const readiness = ready ? 'ready' : `not ready (${not_ready_because})`;
  const rate = (of: (status: StatusDocument) => number) => rateOf(view, of);
  const { format } = new Intl.NumberFormat('en');
  return [
    painted(
      plain(`Tidegate ${version}  engine ${engine}  up ${durationText(uptime_seconds)}  ${readiness}`),
      BOLD,
      view,
    ),
    `${format(connections)} connections  ${rateText(rate(connectsOf))} CONNECT/s  ` +
      `${rateText(rate(({ counters }) => counters.refused))} refused/s  ` +
      `in ${bytesText(rate(({ counters }) => counters.bytes_from_clients))}/s  ` +
      `out ${bytesText(rate(({ counters }) => counters.bytes_to_clients))}/s`,
    plain(
      [
        ...listeners.map(({ name, address, pool }) => `${name} ${address} to ${pool}`),
        ...workers.map(({ index, state, connections }) => `worker ${index} ${state} ${connections}`),
      ].join('  '),
    ),
  ];
}

function connectsOf({ pools }: StatusDocument): number {
  return pools.reduce((sum, { backends }) => sum + backends.reduce((all, { connects }) => all + connects, 0), 0);
}

function poolLines(pool: PoolDocument, view: View): string[] {
  const { name, method, key, algorithm, backends, connections, queued } = pool;
  const how = key === null ? method : `${method} of ${key} by ${algorithm}`;
  const waiting = queued > 0 ? `, ${queued} waiting` : '';
  const most = Math.max(1, ...backends.map((backend) => backend.connections));
  const sorted = sortBackends(pool, view);
  const rows = sorted.map((backend) => [
    backend.address,
    stateText(backend),
    backend.connections,
    barText(backend.connections / most),
    rateText(connectRate(backend, pool, view)).padStart(RATE_CELLS),
    backend.weight,
    backend.reason,
  ]);
  const headings = ['BACKEND', 'STATE', 'CONNECTIONS', '', 'CONNECT/S', 'WEIGHT', 'REASON'];
  const [head = '', ...lines] = textTable(headings, rows).split('\n').slice(0, -1);
  return [
    painted(plain(`Pool ${name}: ${how}, ${connections} connections${waiting}`), BOLD, view),
    ...moveLines(pool.rebalance),
    painted(head, FAINT, view),
    ...lines.flatMap((line, index) => {
      const { state, move } = sorted[index]!;
      return [painted(line, COLOURS[state], view), ...moveLines(move)];
    }),
  ];
}

/** While it runs. */
function moveLines(move: MoveDocument | null): string[] {
  if (move?.state !== 'running') return [];
  const { kind, moved, left, rate } = move;
  const bar = `[${barText(moved / Math.max(1, moved + left))}]`;
  const time = rate > 0 ? `, about ${durationText(Math.ceil(left / rate))} left` : '';
  return [`  ${kind} ${bar} ${moved} of ${moved + left} moved, ${rate} a second${time}`];
}

function sortBackends(pool: PoolDocument, view: View): BackendDocument[] {
  const ranks: Record<Sort, (backend: BackendDocument) => number> = {
    configuration: () => 0,
    connections: ({ connections }) => -connections,
    'CONNECT/s': (backend) => -(connectRate(backend, pool, view) ?? 0),
    state: ({ state }) => ['down', 'suspect', 'maintenance', 'drain', 'up'].indexOf(state),
  };
  const rank = ranks[view.sort];
  return pool.backends.toSorted((a, b) => rank(a) - rank(b));
}

function connectRate({ address }: BackendDocument, { name }: PoolDocument, view: View): number | undefined {
  return rateOf(view, ({ pools }) => {
    const pool = pools.find((one) => one.name === name);
    return pool?.backends.find((one) => one.address === address)?.connects ?? Number.NaN;
  });
}

/** undefined where two readings can't be compared: there is one, or Tidegate was started again. */
function rateOf({ now, before }: View, of: (status: StatusDocument) => number): number | undefined {
  if (before === undefined || before.status.started_at !== now.status.started_at) return undefined;
  const seconds = now.status.uptime_seconds - before.status.uptime_seconds;
  const rate = (of(now.status) - of(before.status)) / seconds;
  return Number.isFinite(rate) && rate >= 0 ? rate : undefined;
}

function rateText(rate: number | undefined): string {
  if (rate === undefined) return '-';
  return rate > 0 && rate < 10 ? rate.toFixed(1) : String(Math.round(rate));
}

const BYTE_UNITS = ['B', 'kB', 'MB', 'GB', 'TB'];

function bytesText(bytes: number | undefined): string {
  if (bytes === undefined) return '-';
  const power = Math.min(BYTE_UNITS.length - 1, Math.floor(Math.log10(Math.max(1, bytes)) / 3));
  const value = bytes / 1000 ** power;
  return `${power === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${BYTE_UNITS[power]}`;
}

/** Always as wide. */
function barText(part: number): string {
  const eighths = Math.round(Math.min(1, part) * BAR_CELLS * 8);
  const last = eighths % 8 === 0 ? '' : EIGHTHS[eighths % 8]!;
  return ('█'.repeat(Math.floor(eighths / 8)) + last).padEnd(BAR_CELLS);
}

function painted(text: string, colour: number | undefined, { isColoured }: View): string {
  return isColoured && colour !== undefined ? `\x1b[${colour}m${text}\x1b[0m` : text;
}

/** What came over a network could hold a terminal's control codes. */
function plain(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}]/gu, '?');
}

/** As many characters as fit, not counting colours. */
export function clipped(line: string, columns: number): string {
  let left = columns;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the colours that painted() has put there
  return line.replace(/(\x1b\[\d+m)|./gsu, (character, colour) => {
    if (colour !== undefined) return colour;
    left -= 1;
    return left >= 0 ? character : '';
  });
}
