// Where and with what the bench ran: without it no figure means anything.
import { execFileSync, spawnSync } from 'node:child_process';
import { cpus, release, totalmem } from 'node:os';
import { findProgram } from '../src/find-program.ts';
import { getrlimit, RLIMIT_NOFILE } from '../src/system/libc.ts';
import { version } from '../src/version.ts';

export interface Machine {
  cpu: string;
  cores: number;
  memoryGiB: number;
  kernel: string;
  descriptors: number;
  /** Of the programs that were compared. */
  versions: Record<string, string>;
  commit: string;
  date: string;
}

export function describeMachine(): Machine {
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    descriptors: getrlimit(RLIMIT_NOFILE).hard,
    versions: {
      tidegate: version(),
      node: process.versions.node,
      ...program('haproxy', ['-v'], /version (\S+)/),
      ...program('nginx', ['-v'], /nginx\/(\S+)/),
    },
    commit: commit(),
    date: new Date().toISOString(),
  };
}

function program(name: string, args: string[], pattern: RegExp): Record<string, string> {
  const path = findProgram(name);
  if (path === undefined) return {};
  const { stdout, stderr } = spawnSync(path, args, { encoding: 'utf8' });
  return { [name]: pattern.exec(`${stdout}${stderr}`)?.[1] ?? 'unknown' };
}

/** With a + when the tree has changes that are not in it. */
function commit(): string {
  const git = (...args: string[]): string =>
    execFileSync('git', args, {
      cwd: import.meta.dirname,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  try {
    return git('rev-parse', '--short', 'HEAD') + (git('status', '--porcelain', '--untracked-files=no') ? '+' : '');
  } catch {
    return 'unknown';
  }
}
