// A configuration for each round of many: listeners, pools and backends come and go, weights and settings change, and
// one listener stays.
import type { FileSettings } from './reloadable.ts';

/** `backends` serve the listener that stays, `port` is its own. */
export function settingsOfRound(round: number, backends: readonly string[], port: number): FileSettings {
  const has = (bit: number) => ((round >> bit) & 1) === 1;
  const members = backends.map((address, index) => ({ address, weight: 1 + ((round + index) % 3) }));
  const main = {
    name: has(2) ? 'main' : 'principal',
    bind: `127.0.0.1:${port}`,
    pool: 'brokers',
    idle_timeout: has(3) ? '1h' : '0s',
  };
  const extra = { name: 'extra', bind: '127.0.0.1:0', pool: has(1) ? 'others' : 'brokers' };
  const others = { balance: { method: 'round_robin' }, backends: members.slice(0, 1) };
  return {
    admin: 'off',
    listeners: has(0) ? [extra, main] : [main],
    pools: {
      ...(has(1) || has(0) ? { others } : {}),
      brokers: {
        balance: { method: has(4) ? 'hash' : 'least_conn' },
        connect_timeout: has(1) ? '5s' : '6s',
        // One of them is away every other round.
        backends: members.length > 1 && has(0) ? members.slice(1) : members,
      },
    },
  };
}
