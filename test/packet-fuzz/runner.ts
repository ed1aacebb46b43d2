// One seed of a target: all its inputs follow from it. One that fails is made as small as it can be.
import fc, { type IAsyncProperty, type RunDetails } from 'fast-check';
import { connect } from './connect.ts';
import { proxyHeader } from './proxy-header.ts';
import { rewrite } from './rewrite.ts';
import type { Target } from './target.ts';
import { websocket } from './websocket.ts';

export const targets: readonly Target[] = [proxyHeader, connect, rewrite, websocket];

/** The story of the smallest input that fails; undefined when none does. */
export async function runSeed({ property, runs }: Target, seed: number): Promise<string | undefined> {
  const details: RunDetails<unknown[]> = await fc.check(property as IAsyncProperty<unknown[]>, { seed, numRuns: runs });
  if (!details.failed) return undefined;
  return `${fc.defaultReportMessage(details)}\n${String(details.errorInstance)}`;
}
