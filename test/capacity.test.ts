import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findCapacity } from '../src/control/capacity.ts';
import type { TidegateError } from '../src/errors.ts';

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
