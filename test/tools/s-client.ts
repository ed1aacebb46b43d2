// openssl s_client, as a client of a TLS listener.
import { spawn } from 'node:child_process';
import { findProgram } from '../../src/find-program.ts';
import { connectPacket } from './packets.ts';

/** What it has printed once `until` is in it, or when it has ended before. */
export function handshake(port: number, args: readonly string[], until = /Verify return code/): Promise<string> {
  return run(port, args, (output, child) => {
    if (until.test(output)) child.stdin!.write('Q\n');
  });
}

/** What an MQTT client over it gets for its CONNECT, in hex; empty when it is closed without a word. */
export async function connectOver(port: number, args: readonly string[], clientId = 'device'): Promise<string> {
  const output = await run(port, ['-quiet', ...args], (received, child) => {
    if (received === '') child.stdin!.write(connectPacket({ clientId }));
    else child.kill();
  });
  return Buffer.from(output, 'latin1').toString('hex');
}

type Child = ReturnType<typeof spawn>;

function run(port: number, args: readonly string[], onOutput: (output: string, child: Child) => void): Promise<string> {
  const child = spawn(findProgram('openssl')!, ['s_client', '-connect', `127.0.0.1:${port}`, ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  let output = '';
  child.stdin.on('error', () => {});
  child.stderr.resume();
  child.stdout.setEncoding('latin1').on('data', (text) => {
    output += text;
    onOutput(output, child);
  });
  onOutput('', child);
  return new Promise((resolve) => child.once('close', () => resolve(output)));
}
