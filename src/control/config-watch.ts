// Says when a configuration file, or one of its folder, may have changed. Editors and Kubernetes don't write into a file
// but put another one in its place, so it is the folder that is watched, and the folder that a link leads to.
import { type FSWatcher, realpathSync, statSync, watch } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';

/** A file is often written in several steps, and half of it may be valid too. */
const QUIET_MS = 200;

/** Calls once for changes that come closely together, until the returned function is called. */
export function watchConfig(path: string, onChange: () => void, onTrouble: (error: unknown) => void): () => void {
  let timer: NodeJS.Timeout | undefined;
  const notice = (): void => {
    clearTimeout(timer);
    timer = setTimeout(onChange, QUIET_MS);
  };
  const watchers = placesOf(path).flatMap(({ folder, isOurs }): FSWatcher[] => {
    try {
      const watcher = watch(folder, { persistent: false }, (_, name) => {
        if (name === null || isOurs(name)) notice();
      });
      return [watcher.on('error', onTrouble)];
    } catch (error) {
      onTrouble(error);
      return [];
    }
  });
  return () => {
    clearTimeout(timer);
    for (const watcher of watchers) watcher.close();
  };
}

interface Place {
  folder: string;
  isOurs(name: string): boolean;
}

function placesOf(path: string): Place[] {
  const isFolder = statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
  const paths = new Set([resolve(path), targetOf(path)]);
  return Array.from(paths, (each) =>
    isFolder
      ? { folder: each, isOurs: (name) => /\.ya?ml$/.test(name) || isVolumeLink(name) }
      : { folder: dirname(each), isOurs: (name) => name === basename(each) || isVolumeLink(name) },
  );
}

/** A file that is being replaced may be missing for a moment. */
function targetOf(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return resolve(path);
  }
}

/** What Kubernetes exchanges when a ConfigMap changes: the files are links into it. */
function isVolumeLink(name: string): boolean {
  return name === '..data';
}
