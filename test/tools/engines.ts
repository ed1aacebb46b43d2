// Every test of the proxy's behaviour runs on both engines.
import { type TestContext, test } from 'node:test';
import { type EngineName, probeUring } from '../../src/engine/engine.ts';
import { requires } from './requirements.ts';

const uring = await probeUring();
const whyNot: Record<EngineName, string | undefined> = {
  uring: uring.ok ? undefined : `uring can't run here: ${uring.why}`,
  portable: undefined,
};

type Body = (engine: EngineName, context: TestContext) => Promise<void>;

/** Registers the test once for each engine. */
export function testEveryEngine(name: string, body: Body): void {
  testEngine('uring', name, body);
  testEngine('portable', name, body);
}

/** For what only that engine can be brought to. */
export function testEngine(engine: EngineName, name: string, body: Body): void {
  test(`${name} (${engine})`, async (context) => {
    if (requires(context, whyNot[engine])) await body(engine, context);
  });
}
