// What a test needs of the machine. Where it is missing the test is skipped, and its report says why; in CI, where
// everything is installed, a missing thing is a failure.
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { findProgram } from '../../src/find-program.ts';

/** `missing` says what; undefined when nothing is. False when the test was skipped and has to return. */
export function requires(context: TestContext, missing: string | undefined): boolean {
  if (missing === undefined) return true;
  assert.notEqual(process.env.CI, 'true', `${missing}, and CI skips nothing`);
  context.skip(missing);
  return false;
}

/** The program's path; undefined when the test was skipped and has to return. */
export function requireProgram(context: TestContext, name: string): string | undefined {
  const path = findProgram(name);
  requires(context, path === undefined ? `${name} is not installed` : undefined);
  return path;
}
