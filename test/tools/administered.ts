// A balancer with an admin API, and what that answers.
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import type { StatusDocument } from '../../src/admin/status-document.ts';
import { type Asked, type AskOptions, ask } from './ask.ts';
import { type Balancer, type BalancerOptions, startBalancer } from './balancer.ts';

export const JSON_TYPE = { 'content-type': 'application/json' };

export interface Administered extends Balancer {
  ask(path: string, options?: AskOptions): Promise<Asked>;
  status(): Promise<StatusDocument>;
  /** Asks with a JSON body. */
  send(method: string, path: string, body?: object): Promise<Asked>;
  /** What an operator says of a backend of the pool "brokers". */
  setState(address: string, state: string): Promise<Asked>;
}

export async function startAdministered(
  context: TestContext,
  options: Partial<BalancerOptions> = {},
): Promise<Administered> {
  const balancer = await startBalancer(context, {
    engine: 'portable',
    backends: ['127.0.0.1:1'],
    admin: { bind: '127.0.0.1:0' },
    ...options,
  });
  const { port } = balancer.tidegate.admin!;
  return {
    ...balancer,
    ask: (path, asked) => ask(port, path, asked),
    send: (method, path, body) =>
      ask(port, path, { method, headers: JSON_TYPE, ...(body === undefined ? {} : { body: JSON.stringify(body) }) }),
    status: async () => JSON.parse((await ask(port, '/api/v1/status')).text),
    setState: (address, state) =>
      ask(port, `/api/v1/pools/brokers/backends/${encodeURIComponent(address)}`, {
        method: 'PATCH',
        headers: JSON_TYPE,
        body: JSON.stringify({ state }),
      }),
  };
}

/** Finds the value of a sample by its whole name, as of now. */
export async function metricsOf(balancer: Administered): Promise<(sample: string) => number> {
  const lines = (await balancer.ask('/metrics')).text
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'));
  const values = new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.split(' ').at(-1))]));
  return (sample) => {
    const value = values.get(sample);
    assert.ok(value !== undefined, `no ${sample}`);
    return value;
  };
}
