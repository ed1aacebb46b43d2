// The two servers that carry the admin API, for tests of what each must do alike.
import { type TestContext, test } from 'node:test';
import { loadUws } from '../../src/admin/uwebsockets.ts';
import { requires } from './requirements.ts';

export const SERVERS = ['uwebsockets', 'node'] as const;
export type Server = (typeof SERVERS)[number];

/** Registers the test once for each server. */
export function testEveryServer(
  name: string,
  body: (adminServer: Server, context: TestContext) => Promise<void>,
): void {
  for (const server of SERVERS) {
    test(`${name} (${server})`, async (context) => {
      if (requires(context, server === 'node' ? undefined : whyNoUws())) await body(server, context);
    });
  }
}

export function whyNoUws(): string | undefined {
  try {
    loadUws();
    return undefined;
  } catch (error) {
    return `uWebSockets.js does not load: ${(error as Error).message}`;
  }
}
