// Numbers as people read them.

const { format } = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });
const GIB = 2 ** 30;
const MIB = 2 ** 20;

/** "1,000,000". */
export function countText(count: number): string {
  return count === Number.POSITIVE_INFINITY ? 'unlimited' : format(count);
}

/** "21.4 GiB". */
export function sizeText(bytes: number): string {
  if (bytes === Number.POSITIVE_INFINITY) return 'unlimited';
  return bytes >= GIB ? `${format(bytes / GIB)} GiB` : `${format(bytes / MIB)} MiB`;
}
