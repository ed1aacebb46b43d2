// Programs of the system that a test needs. Where one is missing the test is skipped, and its report says why; in CI,
// where everything is installed, a missing one is a failure.
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { findProgram } from '../../src/find-program.ts';

/** The program's path; undefined when the test was skipped and has to return. */
export function requireProgram(t: TestContext, name: string): string | undefined {
  const path = findProgram(name);
  if (path !== undefined) return path;
  assert.notEqual(process.env.CI, 'true', `${name} is not installed, and CI skips nothing`);
  t.skip(`${name} is not installed`);
  return undefined;
}
