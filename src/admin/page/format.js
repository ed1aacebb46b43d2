// Numbers and times for people. A value that isn't known is a dash.

const DASH = '–';
const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const brief = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });

function isNumber(value) {
  return typeof value === 'number' && Number.isFinite(value);
}

export function countText(value) {
  return isNumber(value) ? whole.format(value) : DASH;
}

/** For axes: "12K". */
export function briefText(value) {
  return isNumber(value) ? brief.format(value) : DASH;
}

/** Of something a second: a small one keeps a decimal. */
export function rateText(value) {
  if (!isNumber(value)) return DASH;
  return value > 0 && value < 10 ? value.toFixed(1) : whole.format(value);
}

const BYTE_UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];

export function bytesText(value) {
  if (!isNumber(value)) return DASH;
  let left = value;
  let unit = 0;
  while (left >= 999.5 && unit < BYTE_UNITS.length - 1) {
    left /= 1000;
    unit += 1;
  }
  return `${unit === 0 || left >= 100 ? Math.round(left) : left.toFixed(1)} ${BYTE_UNITS[unit]}`;
}

const TIME_UNITS = [
  ['d', 86_400],
  ['h', 3600],
  ['min', 60],
  ['s', 1],
];

/** The two largest units: "3 d 4 h". */
export function durationText(seconds) {
  if (!isNumber(seconds)) return DASH;
  const total = Math.max(0, Math.floor(seconds));
  const first = TIME_UNITS.findIndex(([, size]) => total >= size);
  if (first < 0) return '0 s';
  let left = total;
  const parts = [];
  for (const [unit, size] of TIME_UNITS.slice(first, first + 2)) {
    if (left >= size) parts.push(`${Math.floor(left / size)} ${unit}`);
    left %= size;
  }
  return parts.join(' ');
}

/** Of a time that is short: "0.4 ms", "12 ms", "1.2 s". */
export function latencyText(seconds) {
  if (!isNumber(seconds)) return DASH;
  const milliseconds = seconds * 1000;
  if (milliseconds === 0) return '0 ms';
  if (milliseconds >= 1000) return `${seconds.toFixed(1)} s`;
  return `${milliseconds < 10 ? milliseconds.toFixed(1) : Math.round(milliseconds)} ms`;
}

export function clockText(iso) {
  return clock.format(new Date(iso));
}

export function plural(count, word) {
  return `${countText(count)} ${word}${count === 1 ? '' : 's'}`;
}
