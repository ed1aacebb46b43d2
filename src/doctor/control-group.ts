// What the control groups of this process allow it, in version 2 and 1 of them (cgroups(7)). A group's limit holds for all
// below it, so of the groups from the process's own up to the top that is visible here the one with the least room counts.
import { dirname } from 'node:path';
import type { ReadText } from '../system/read-text.ts';

export interface ControlGroup {
  /** null: nothing limits it. */
  memory: Allowance | null;
  tasks: Allowance | null;
}

export interface Allowance {
  /** That says so. */
  file: string;
  max: number;
  used: number;
}

/** The files of a controller. */
interface Controller {
  name: string;
  max: string;
  used: string;
}

const CONTROLLERS: Record<keyof ControlGroup, Record<'v1' | 'v2', Controller>> = {
  memory: {
    v1: { name: 'memory', max: 'memory.limit_in_bytes', used: 'memory.usage_in_bytes' },
    v2: { name: 'memory', max: 'memory.max', used: 'memory.current' },
  },
  tasks: {
    v1: { name: 'pids', max: 'pids.max', used: 'pids.current' },
    v2: { name: 'pids', max: 'pids.max', used: 'pids.current' },
  },
};
/** Version 1 writes "no limit" as the largest number of whole pages. */
const UNLIMITED = 2 ** 60;

/** `ownThreads` of this process, which looks and ends, are not counted. */
export function readControlGroup(read: ReadText, ownThreads: number): ControlGroup {
  const tasks = allowanceOf('tasks', read);
  if (tasks !== null) tasks.used = Math.max(0, tasks.used - ownThreads);
  return { memory: allowanceOf('memory', read), tasks };
}

function allowanceOf(kind: keyof ControlGroup, read: ReadText): Allowance | null {
  const { v1, v2 } = CONTROLLERS[kind];
  const oldFolders = foldersOf(v1.name, read);
  const [folders, files] = oldFolders.length > 0 ? [oldFolders, v1] : [foldersOf('', read), v2];
  const allowances = folders.flatMap((folder) => {
    const max = Number.parseInt(read(`${folder}/${files.max}`), 10);
    if (!(max < UNLIMITED)) return [];
    const used = Number.parseInt(read(`${folder}/${files.used}`), 10) || 0;
    const reclaimable = kind === 'memory' ? reclaimableBytes(read(`${folder}/memory.stat`)) : 0;
    return { file: `${folder}/${files.max}`, max, used: Math.max(0, used - reclaimable) };
  });
  return allowances.sort((a, b) => a.max - a.used - (b.max - b.used))[0] ?? null;
}

/** Files that were read and are kept: they give way. */
function reclaimableBytes(stat: string): number {
  const [, bytes] = /^total_inactive_file (\d+)$/m.exec(stat) ?? /^inactive_file (\d+)$/m.exec(stat) ?? [];
  return Number(bytes ?? 0);
}

/** From the process's own group upwards. `controller` is empty for version 2, which has all of them in one tree. */
function foldersOf(controller: string, read: ReadText): string[] {
  const path = pathOf(controller, read('/proc/self/cgroup'));
  const mount = mountOf(controller, read('/proc/self/mountinfo'));
  if (path === undefined || mount === undefined) return [];
  // A container sees its own group as the top, and may be told the path that it has outside.
  const below = mount.root !== '/' && path.startsWith(mount.root) ? path.slice(mount.root.length) : path;
  const folders = [];
  for (let folder = below; folder !== '/' && folder !== '.' && folder !== ''; folder = dirname(folder)) {
    folders.push(mount.point + folder);
  }
  return [...folders, mount.point];
}

/** Each line is "number:controllers:path"; version 2 has number 0 and no controllers. */
function pathOf(controller: string, groups: string): string | undefined {
  for (const line of groups.split('\n')) {
    const [, controllers = '', path = ''] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (path !== '' && controllers.split(',').includes(controller)) return path;
  }
  return undefined;
}

/** proc_pid_mountinfo(5): the root and the mount point are its fields 4 and 5, type and options follow behind " - ". */
function mountOf(controller: string, mounts: string): { root: string; point: string } | undefined {
  for (const line of mounts.split('\n')) {
    const [front = '', back = ''] = line.split(' - ');
    const [, , , root = '', point = ''] = front.split(' ');
    const [type, , options = ''] = back.split(' ');
    const isIt = controller === '' ? type === 'cgroup2' : type === 'cgroup' && options.split(',').includes(controller);
    if (isIt) return { root, point };
  }
  return undefined;
}
