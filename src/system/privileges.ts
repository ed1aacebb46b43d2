// From root to somebody who may do less, when everything that takes root is open: ports below 1024, logs, limits. It is
// the process as a whole that changes, since the C library has every thread take part; the workers' don't run yet.
import { closeSync, constants, fchownSync, fstatSync, openSync } from 'node:fs';
import { TidegateError } from '../errors.ts';
import { getrlimit, groupNamed, RLIMIT_MEMLOCK, setrlimit, userNamed } from './libc.ts';

/** Node's types don't have it. */
const posix = process as unknown as { initgroups(user: string, group: number): void };

export interface Identity {
  /** null: whoever it is. */
  user: string | null;
  /** null: the user's own. */
  group: string | null;
}

/**
 * Becomes that user for good; true when something has changed. `files` are those that it will have to open again, and are
 * given to it. Throws a TidegateError when there is no such user, or this process may not become it.
 */
export function dropPrivileges({ user, group }: Identity, files: readonly string[]): boolean {
  if (user === null && group === null) return false;
  const gid = gidOf(user, group);
  const uid = user === null ? process.geteuid!() : uidOf(user);
  // A successor is started by a process that has become that user already.
  if (process.getuid!() === uid && process.getgid!() === gid) return false;
  if (process.geteuid!() !== 0) {
    const message = `only root can become ${nameOf({ user, group })}: start as root, or leave user and group to what starts this program (User= in a systemd unit)`;
    throw new TidegateError('USER', message);
  }
  raiseLockLimit();
  for (const file of files) giveTo(file, uid, gid);
  try {
    if (user === null) process.setgroups!([gid]);
    else posix.initgroups(user, gid);
    process.setgid!(gid);
    process.setuid!(uid);
  } catch (cause) {
    const message = `this root may not become ${nameOf({ user, group })} (${(cause as NodeJS.ErrnoException).code}): it lacks CAP_SETUID or CAP_SETGID`;
    throw new TidegateError('USER', message, undefined, { cause });
  }
  return true;
}

// The folder may be the user's own: neither a link in it, nor a second name of somebody else's file, may stand for the file.
function giveTo(file: string, uid: number, gid: number): void {
  let fd: number;
  try {
    fd = openSync(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch {
    return; // it isn't there, or it is a link
  }
  try {
    const found = fstatSync(fd);
    if (found.isFile() && found.nlink === 1) fchownSync(fd, uid, gid);
  } finally {
    closeSync(fd);
  }
}

/** Rings count against this limit as soon as nobody is root; a container's root may only use what it was given. */
function raiseLockLimit(): void {
  const { hard } = getrlimit(RLIMIT_MEMLOCK);
  const most = [Number.POSITIVE_INFINITY, hard];
  for (const limit of most) {
    try {
      setrlimit(RLIMIT_MEMLOCK, { soft: limit, hard: limit });
      return;
    } catch {}
  }
}

export function nameOf({ user, group }: Identity): string {
  return [user === null ? [] : `user ${user}`, group === null ? [] : `group ${group}`].flat().join(' and ');
}

function uidOf(user: string): number {
  return (userNamed(user) ?? unknown('user', user)).uid;
}

function gidOf(user: string | null, group: string | null): number {
  if (group !== null) return (groupNamed(group) ?? unknown('group', group)).gid;
  return (userNamed(user!) ?? unknown('user', user!)).gid;
}

function unknown(what: string, name: string): never {
  throw new TidegateError('USER', `there is no ${what} ${name} on this machine: create it, or correct the name`);
}
