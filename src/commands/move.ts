// `tidegate drain` and `rebalance`: clients are moved at a pace.
import type { MoveDocument } from '../admin/move-document.ts';
import { TidegateError, UsageError } from '../errors.ts';
import { backendPath, targetOf } from './admin.ts';
import { required } from './command.ts';
import { print } from './print.ts';

export async function drain(values: Record<string, string>): Promise<void> {
  const path = `${backendPath('drain', values)}/drain`;
  await move(values, path, { ...rateOf(values), maintenance: values.maintenance !== undefined });
}

export async function rebalance(values: Record<string, string>): Promise<void> {
  const pool = required('rebalance', 'pool', values.pool);
  await move(values, `/api/v1/pools/${encodeURIComponent(pool)}/rebalance`, rateOf(values));
}

async function move(values: Record<string, string>, path: string, body: object): Promise<void> {
  const { askJson } = await import('../admin/client.ts');
  const { followMove, moveText } = await import('../moves-text.ts');
  const target = await targetOf(values);
  const begun = (await askJson(target, { method: 'POST', path, body }, ['id', 'left'])) as MoveDocument;
  const isJson = values.json !== undefined;
  if (values.wait === undefined) return print(isJson ? `${JSON.stringify(begun)}\n` : `${moveText(begun)}\n`);
  const ended = await followMove(target, begun, isJson ? undefined : process.stdout);
  if (isJson) await print(`${JSON.stringify(ended)}\n`);
  if (ended.state !== 'done') throw new TidegateError('MOVE_STOPPED', moveText(ended));
}

function rateOf({ rate }: Record<string, string>): { rate?: number } {
  if (rate === undefined) return {};
  if (!/^\d+(\.\d+)?$/.test(rate) || Number(rate) === 0) {
    throw new UsageError(`--rate takes a number of connections a second, not ${JSON.stringify(rate)}`);
  }
  return { rate: Number(rate) };
}
