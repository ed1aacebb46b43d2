/** As the wall clock had it, of a time by performance.now. */
export function isoTime(ms: number): string {
  return new Date(performance.timeOrigin + ms).toISOString();
}
