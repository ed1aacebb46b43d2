// Tables for people in a terminal.

export type Cell = string | number;

/** A line for each row under its headings. Numbers stand at the right of their column. */
export function textTable(headings: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const texts = rows.map((row) => row.map(cellText));
  const widths = headings.map((heading, column) => {
    return Math.max(heading.length, ...texts.map((row) => row[column]!.length));
  });
  const isNumeric = headings.map(
    (_, column) => rows.length > 0 && rows.every((row) => typeof row[column] === 'number'),
  );
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) => (isNumeric[column] ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!)))
      .join('  ')
      .trimEnd();
  return [headings, ...texts].map((cells) => `${line(cells)}\n`).join('');
}

/** As a terminal may show it: what came over a network could hold its control codes. */
function cellText(cell: Cell): string {
  return String(cell).replace(/[\p{Cc}\p{Cf}]/gu, '?');
}

/** "3 d 4 h", "12 min 5 s": the two largest units. */
export function durationText(seconds: number): string {
  let left = Math.floor(seconds);
  const parts: [number, string][] = [];
  for (const [unit, unitSeconds] of UNITS) {
    parts.push([Math.floor(left / unitSeconds), unit]);
    left %= unitSeconds;
  }
  const first = parts.findIndex(([count]) => count > 0);
  if (first < 0) return '0 s';
  const shown = parts.slice(first, first + 2).filter(([count]) => count > 0);
  return shown.map(([count, unit]) => `${count} ${unit}`).join(' ');
}

const UNITS: readonly (readonly [string, number])[] = [
  ['d', 86_400],
  ['h', 3600],
  ['min', 60],
  ['s', 1],
];
