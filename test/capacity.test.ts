import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findCapacity, memlockError } from '../src/control/capacity.ts';
import { defaultSettings, lockedBytes } from '../src/control/memory-map.ts';
import type { TidegateError } from '../src/errors.ts';
import { getrlimit, RLIMIT_MEMLOCK } from '../src/system/libc.ts';

test('a ring bounds the connections of its own worker, a process those of all its workers', () => {
  assert.equal(findCapacity('uring', 2, 'auto', 20_000).connectionsMax, (20_000 - 64) / 2);
  assert.equal(findCapacity('portable', 2, 'auto', 20_000).connectionsMax, (20_000 - 200) / 2 / 2);
  assert.match(findCapacity('uring', 2, 'auto', 20_000).limit, /RLIMIT_NOFILE \(20000\)/);
  assert.equal(findCapacity('uring', 1, 'auto', Number.POSITIVE_INFINITY).connectionsMax, ((1 << 20) - 64) / 2);
  assert.equal(findCapacity('uring', 1, 500, 20_000).connectionsMax, 500);
  assert.equal(findCapacity('uring', 1, 500, 20_000).limit, 'connections_max');
});

test("connections_max that can't be had names the limit, what it should be, and what would fit", () => {
  const refusal = (engine: 'uring' | 'portable', workers: number, wanted: number | 'auto', descriptors: number) => {
    let message = '';
    assert.throws(
      () => findCapacity(engine, workers, wanted, descriptors),
      (error: TidegateError) => {
        message = error.message;
        return error.exitCode === 2 && !message.includes('\n');
      },
    );
    return message;
  };
  assert.match(refusal('uring', 2, 10_000, 20_000), /20064 descriptors.*RLIMIT_NOFILE is 20000.*ulimit -n 20064.*9968/);
  assert.match(refusal('portable', 2, 5_000, 20_000), /20200 descriptors.*RLIMIT_NOFILE is 20000.*4950/);
  assert.match(refusal('uring', 1, 600_000, 1 << 21), /descriptor table \(1048576\) allows 524256/);
  assert.match(refusal('uring', 1, 'auto', 60), /RLIMIT_NOFILE is 60/);
});

test('rings that fit into no locked memory name the limit, what all workers need, and both ways out', () => {
  const settings = defaultSettings(1000, 1);
  const cause = new Error('io_uring_setup: ENOMEM');
  const error = memlockError(settings, 3, cause);
  const [, needed, allowed] =
    /^the rings need (\d+) KiB of locked memory, but RLIMIT_MEMLOCK is (\d+|Infinity) KiB: /.exec(error.message)!;
  assert.ok(Number(needed) * 1024 >= 3 * lockedBytes(settings));
  assert.ok(Number(needed) * 1024 < 3 * lockedBytes(settings) + (1 << 20));
  assert.equal(Number(allowed), Math.floor(getrlimit(RLIMIT_MEMLOCK).soft / 1024));
  const ways = `raise it (ulimit -l ${needed}, or LimitMEMLOCK=${needed}K in the systemd unit)`;
  assert.ok(error.message.endsWith(`: ${ways} or give the process CAP_IPC_LOCK`), error.message);
  assert.deepEqual([error.code, error.exitCode, error.cause], ['RLIMIT_MEMLOCK', 2, cause]);
});
