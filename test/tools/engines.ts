// Every test of the proxy's behaviour runs on both engines.
import { type TestContext, test } from 'node:test';
import { type EngineName, probeUring } from '../../src/engine/engine.ts';
import { requires } from './requirements.ts';

const uring = await probeUring();
const whyNot: Record<EngineName, string | undefined> = {
  uring: uring.ok ? undefined : `uring can't run here: ${uring.why}`,
  portable: undefined,
};

/** Registers the test once for each engine. */
export function testEveryEngine(name: string, body: (engine: EngineName, context: TestContext) => Promise<void>): void {
  for (const engine of ['uring', 'portable'] as const) {
    test(`${name} (${engine})`, async (context) => {
      if (requires(context, whyNot[engine])) await body(engine, context);
    });
  }
}
