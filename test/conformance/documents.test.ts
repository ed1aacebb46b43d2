// Every CONNECT document over real sockets: whole, byte by byte, and cut at every point.

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ConnectDocument, loadConnectDocuments } from '../documents/load.ts';
import { type Balancer, startBalancer } from '../tools/balancer.ts';
import { testEveryEngine } from '../tools/engines.ts';
import { exchange } from '../tools/exchange.ts';
import { inParallel } from '../tools/parallel.ts';
import { reset } from '../tools/reset.ts';
import { startScriptBackend } from '../tools/script-backend.ts';

/** Replays at once: nearly all the time goes by between two pieces. */
const AT_ONCE = 300;
/** Between two pieces, so that they are read one by one. */
const GAP_MS = 2;
/** A longer document is cut at this many points at either end, and here and there in between. */
const ENDS_BYTES = 100;
const IN_BETWEEN_BYTES = 4001;
/** A CONNECT is parsed again with every piece: of a longer one that would be all that this test does. */
const BYTE_BY_BYTE_MAX = 20_000;
/** How long a part of a CONNECT must be left unanswered. */
const SILENCE_MS = 50;

const documents = loadConnectDocuments();
const limits = [...new Set(documents.map(({ connectMaxBytes }) => connectMaxBytes))];

testEveryEngine('treats a CONNECT alike whole, byte by byte and cut anywhere', async (engine, context) => {
  const backend = await startScriptBackend(context);
  for (const connectMaxBytes of limits) {
    const replays = documents.filter((document) => document.connectMaxBytes === connectMaxBytes).flatMap(replaysOf);
    const balancer = await startBalancer(context, {
      engine,
      backends: [backend.mirror],
      connectMaxBytes,
      connectionsMax: 4096,
      connectTimeout: '60s',
    });
    await inParallel(AT_ONCE, replays, (replay) => checkReplay(balancer, replay));
    await balancer.idle();
    checkReasons(balancer, replays);
    await balancer.stop();
  }
});

interface Replay {
  document: ConnectDocument;
  pieces: Buffer[];
}

function replaysOf(document: ConnectDocument): Replay[] {
  const bytes = Buffer.from(document.bytes);
  const replays = [[bytes], ...cuts(bytes.length).map((at) => [bytes.subarray(0, at), bytes.subarray(at)])];
  if (bytes.length <= BYTE_BY_BYTE_MAX) replays.push(Array.from(bytes, (byte) => Buffer.from([byte])));
  return replays.map((pieces) => ({ document, pieces }));
}

function cuts(length: number): number[] {
  const points = Array.from({ length: length - 1 }, (_, index) => index + 1);
  return points.filter((at) => at < ENDS_BYTES || at > length - ENDS_BYTES || at % IN_BETWEEN_BYTES === 0);
}

async function checkReplay(balancer: Balancer, { document, pieces }: Replay): Promise<void> {
  const { expected, bytes } = document;
  const where = `${document.place} in ${pieces.length} pieces, the first of ${pieces[0]!.length} bytes`;
  const gapMs = pieces.length === 1 || pieces.length > 1000 ? 0 : GAP_MS;
  const client = balancer.connect();
  if (expected.state === 'partial') {
    const reply = exchange(client, pieces, { gapMs });
    const answered = await Promise.race([reply, sleep(SILENCE_MS + gapMs * pieces.length)]);
    assert.equal(answered, undefined, where);
    reset(client);
  } else if (expected.state === 'complete') {
    const reply = await exchange(client, pieces, { gapMs, replyBytes: bytes.length });
    assert.ok(reply.bytes.equals(bytes), `${where}: the mirror sent back ${reply.bytes.toString('hex', 0, 200)}`);
  } else {
    // That the balancer closes after its answer takes its time in an engine that listens on: seen once for each document.
    const replyBytes = pieces.length === 1 ? undefined : expected.answer.length || undefined;
    const reply = await exchange(client, pieces, { gapMs, replyBytes });
    if (pieces.length > 1 && mayBeSilent(expected, reply.bytes)) return;
    assert.deepEqual(reply.bytes, Buffer.from(expected.answer), where);
  }
}

/** A packet that is too large is refused before its version has come, if it comes in pieces. */
function mayBeSilent({ reason }: { reason: string }, reply: Buffer): boolean {
  return reason === 'connect_too_large' && reply.length === 0;
}

function checkReasons(balancer: Balancer, replays: readonly Replay[]): void {
  const { counters } = balancer.tidegate.status();
  const refusals = replays.flatMap(({ document: { expected } }) =>
    expected.state === 'refused' ? [expected.reason] : [],
  );
  for (const [reason, given] of Object.entries(Object.groupBy(refusals, (reason) => reason))) {
    assert.equal(counters[reason], given?.length, reason);
  }
}
