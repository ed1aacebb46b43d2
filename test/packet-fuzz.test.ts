// A short run of `npm run fuzz:packets` in every `npm test`.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runSeed, targets } from './packet-fuzz/runner.ts';
import { testSeed } from './tools/random.ts';

const titles: Record<string, string> = {
  'proxy-header': 'a PROXY header is read as an independent reader reads it, whatever has become of it',
  connect: 'a CONNECT is read, waited for or refused as mqtt-packet does, but for differences that are explained',
  rewrite: 'what mqtt-packet reads in a rewritten CONNECT is what was to be said',
  websocket: 'WebSocket frames in any pieces, and with any lies, come out as RFC 6455 has it',
};

for (const target of targets) {
  test(titles[target.name]!, async (context) => {
    const failure = await runSeed(target, testSeed(context));
    assert.equal(failure, undefined, failure);
    context.diagnostic(`${target.tally.inputs} inputs: ${JSON.stringify(target.tally)}`);
  });
}
