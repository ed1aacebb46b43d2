// A test file that runs itself again in a network namespace of its own, where it may set the system's values: with few
// local ports, these run out in no time.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { findProgram } from '../../src/find-program.ts';
import { requires } from './requirements.ts';

const INSIDE = 'TIDEGATE_TEST_NAMESPACE';
const RUN_MS = 60_000;

/** Registers the tests of `file` inside of the namespace; outside, the one test that they all pass there. */
export function testWithFewPorts(file: string, range: string, register: () => void): void {
  if (process.env[INSIDE] === file) {
    register();
    return;
  }
  test(`with the local ports ${range} and no others`, async (context) => {
    const missing = ['unshare', 'ip'].find((program) => findProgram(program) === undefined);
    if (!requires(context, missing && `${missing} is not installed`)) return;
    // Containers seldom allow it, and no installation changes that.
    if ((await unshare(['true'], process.env)).error) context.skip('network namespaces are not allowed here');
    else await runInside(file, range);
  });
}

async function runInside(file: string, range: string): Promise<void> {
  const setUp = `ip link set lo up && echo "${range}" > /proc/sys/net/ipv4/ip_local_port_range && exec "$@"`;
  const node = [process.execPath, '--disable-warning=ExperimentalWarning', file];
  const { NODE_TEST_CONTEXT: _, ...environment } = process.env; // it would report in the runner's own way
  const { error, output } = await unshare(['sh', '-c', setUp, 'sh', ...node], { ...environment, [INSIDE]: file });
  assert.equal(error, null, output);
  assert.match(output, /^# pass [1-9]/m, output);
}

/** Who isn't root is so inside. */
function unshare(command: readonly string[], env: NodeJS.ProcessEnv): Promise<{ error: Error | null; output: string }> {
  const options = process.getuid?.() === 0 ? ['--net'] : ['--net', '--map-root-user'];
  return new Promise((resolve) => {
    execFile('unshare', [...options, ...command], { env, timeout: RUN_MS }, (error, stdout, stderr) => {
      resolve({ error, output: stdout + stderr });
    });
  });
}
