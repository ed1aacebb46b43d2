// What a ring of ours may do, asked of the kernel itself.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { describe, type TestContext, test } from 'node:test';
import { PAGE_BYTES } from '../assembly/layout.ts';
import * as abi from '../assembly/uring/abi.ts';
import { probeUring, setUpRing } from '../src/engine/uring.ts';
import { addressOf, close, ioUringEnter, ioUringRegister } from '../src/system/libc.ts';

const IORING_OP_NOP = 0;
const IORING_OP_OPENAT = 18;
const IOSQE_ASYNC = 1 << 4;
const IORING_REGISTER_PROBE = 8;

const { ok, why } = probeUring() as { ok: boolean; why?: string };

interface Ring {
  /** Submits one entry, and returns its answer. */
  answerTo(fields: { opcode: number; flags?: number; fd?: number }): number;
  fd: number;
}

/** Pages: parameters, submissions, heads and completions, provided buffers. */
function startRing(context: TestContext): Ring {
  const { buffer } = new WebAssembly.Memory({ initial: 4, maximum: 4, shared: true });
  const base = addressOf(buffer);
  const page = (index: number) => index * PAGE_BYTES;
  const at = (index: number) => base + BigInt(page(index));
  const place = { parameters: base, submissions: at(1), heads: at(2), provided: at(8) };
  const fd = setUpRing(buffer, place, { submissionEntries: 8, completionEntries: 16, provided: 16, files: 8 });
  context.after(() => close(fd));
  const view = new DataView(buffer);
  const head = (field: number) => page(2) + view.getUint32(field, true);
  let entries = 0;
  const answerTo = ({ opcode, flags = 0, fd: file = -1 }: { opcode: number; flags?: number; fd?: number }) => {
    const entry = page(1) + (entries % 8) * 64;
    new Uint8Array(buffer, entry, 64).fill(0);
    view.setUint8(entry + abi.SQE_OPCODE, opcode);
    view.setUint8(entry + abi.SQE_FLAGS, flags);
    view.setInt32(entry + abi.SQE_FD, file, true);
    view.setUint32(head(abi.PARAMS_SQ_TAIL), ++entries, true);
    assert.equal(ioUringEnter(fd, 1, 1, abi.IORING_ENTER_GETEVENTS, 0, 0), 1);
    const completion = head(abi.PARAMS_CQ_CQES) + ((entries - 1) % 16) * 16;
    view.setUint32(head(abi.PARAMS_CQ_HEAD), entries, true);
    return view.getInt32(completion + abi.CQE_RES, true);
  };
  return { answerTo, fd };
}

describe('a restricted ring', { skip: ok ? false : why }, () => {
  const { EACCES } = constants.errno;

  test('refuses what the data plane has no use for', (context) => {
    const ring = startRing(context);
    assert.equal(ring.answerTo({ opcode: IORING_OP_NOP }), -EACCES);
    assert.equal(ring.answerTo({ opcode: IORING_OP_OPENAT }), -EACCES);
    assert.equal(ring.answerTo({ opcode: abi.IORING_OP_READ, flags: IOSQE_ASYNC }), -EACCES);
  });

  test('carries out every operation of the data plane', (context) => {
    const ring = startRing(context);
    const operations = Object.entries(abi).filter(([name]) => name.startsWith('IORING_OP_'));
    assert.ok(operations.length > 10);
    // On a file that isn't there, and with the flags that are allowed: the kernel looks at the entry, and finds no file.
    for (const [name, opcode] of operations) assert.notEqual(ring.answerTo({ opcode }), -EACCES, name);
  });

  test('takes no further registration', (context) => {
    const { fd } = startRing(context);
    const probe = new ArrayBuffer(16);
    assert.equal(ioUringRegister(fd, IORING_REGISTER_PROBE, addressOf(probe), 0), -EACCES);
    assert.ok(ioUringRegister(fd, abi.IORING_REGISTER_RESTRICTIONS, addressOf(probe), 1) < 0);
  });
});

test('every operation that a ring may carry out is one that an entry is filled for', () => {
  const ops = readFileSync(new URL('../assembly/uring/ops.ts', import.meta.url), 'utf8');
  const allowed = Object.keys(abi).filter((name) => /^(IORING_OP|IOSQE)_/.test(name));
  const unused = allowed.filter((name) => ops.split(new RegExp(`\\b${name}\\b`)).length < 3);
  assert.deepEqual(unused, []);
});
