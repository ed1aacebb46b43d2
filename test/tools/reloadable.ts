// A balancer whose configuration is a file that the test writes again.
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { loadConfig } from '../../src/config.ts';
import { type EngineName, type Logger, start, type Tidegate } from '../../src/index.ts';
import { waitFor } from './wait.ts';

/** The configuration file's own words. */
export interface FileSettings {
  listeners: object[];
  pools: Record<string, object>;
  [key: string]: unknown;
}

export interface Reloadable {
  readonly tidegate: Tidegate;
  readonly folder: string;
  /** Of the configuration file. */
  readonly path: string;
  readonly messages: readonly string[];
  /** Writes the file and reloads it; resolves with what has changed. */
  reload(settings: FileSettings): Promise<string[]>;
  portOf(listener: string): number;
  /** Lines of the access log, once there are so many. */
  lines(count: number): Promise<string[]>;
  stop(): Promise<void>;
}

export interface ReloadableOptions {
  engine: EngineName;
  workers?: number;
  connectionsMax?: number;
  mayDie?: boolean;
  folder?: string;
}

export async function startReloadable(
  context: TestContext,
  { engine, workers = 2, connectionsMax = 2048, mayDie = false, folder }: ReloadableOptions,
  settings: FileSettings,
): Promise<Reloadable> {
  const home = folder ?? (await makeFolder(context));
  const path = join(home, 'tidegate.yaml');
  const logPath = join(home, 'access.log');
  const common = { engine, workers, connections_max: connectionsMax, access_log: { path: logPath }, admin: 'off' };
  // Many tests' clients have one name, and stay beside each other.
  const quiet = { take_over_loop: 'off' };
  const write = ({ listeners, ...changed }: FileSettings) =>
    writeFile(
      path,
      JSON.stringify({ ...common, listeners: listeners.map((each) => ({ ...quiet, ...each })), ...changed }),
    );
  await write(settings);
  const messages: string[] = [];
  const note = (_fields: object, message: string) => void messages.push(message);
  const log: Logger = { info: note, warn: note, error: note };
  const tidegate = await start(await loadConfig(path), { log, configPath: path });
  const stop = async () => {
    const deaths = tidegate.status().workers.filter(({ restarts }) => restarts > 0);
    await tidegate.stop({ now: true });
    if (!mayDie) assert.deepEqual(deaths, [], messages.join('\n'));
  };
  context.after(stop);
  return {
    tidegate,
    folder: home,
    path,
    messages,
    reload: async (changed) => {
      await write(changed);
      return tidegate.reload();
    },
    portOf: (name) => {
      const listener = tidegate.listeners.find((each) => each.name === name);
      assert.ok(listener, `there is no listener ${name}`);
      return listener.port;
    },
    lines: (count) =>
      waitFor(`${count} lines in the access log`, async () => {
        const lines = (await readFile(logPath, 'utf8').catch(() => '')).split('\n').slice(0, -1);
        return lines.length >= count && lines;
      }),
    stop,
  };
}

export async function makeFolder(context: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-reload-'));
  context.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}
