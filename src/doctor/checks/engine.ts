// What engine uring takes: the kernel, the permission, and memory that may be locked.
import { lockedBytes } from '../../control/memory-map.ts';
import { TidegateError } from '../../errors.ts';
import { type Check, type Observation, type Situation, sysctlLine } from '../check.ts';
import { CAP_IPC_LOCK, CAP_SYS_RESOURCE, hasCapability, type Machine, numberOf } from '../machine.ts';
import { connectionsWith, memoryOf, type Plan, portably } from '../plan.ts';
import type { Trials } from '../trials.ts';
import { sizeText } from '../units.ts';

const KERNEL_NEEDED = { major: 6, minor: 13 };
/** The ring of the probe at a start, which the kernel takes its time to release. */
const LOCKED_BYTES_SPARE = 64 << 10;

export const ENGINE_CHECKS: readonly Check[] = [
  { name: 'kernel', look: lookAtKernel },
  { name: 'io_uring', look: lookAtRings },
  { name: 'RLIMIT_MEMLOCK', look: lookAtLocks },
];

function lookAtKernel({ machine, plan }: Situation): Observation {
  const { major, minor } = KERNEL_NEEDED;
  const found = `Linux ${machine.kernel}`;
  if (plan.config.engine === 'portable') return { found, needed: '-' };
  const needed = `${major}.${minor} for uring`;
  if (isNewEnough(machine)) return { found, needed };
  return { found, needed, ...withoutRings(plan, machine, [`boot Linux ${major}.${minor} or newer`]) };
}

function lookAtRings({ machine, trials, plan }: Situation): Observation | null {
  if (!isNewEnough(machine) || plan.config.engine === 'portable') return null;
  const needed = 'permission, for uring';
  const why = whyRefused(trials);
  if (why === undefined) return { found: 'allowed', needed };
  return { found: why, needed, ...withoutRings(plan, machine, [permission(machine, why)]) };
}

function whyRefused({ engine }: Trials): string | undefined {
  if (engine instanceof TidegateError) return engine.message;
  return engine.engine === 'portable' ? engine.why : undefined;
}

/** What it comes to: the portable engine carries everything, or nothing starts. */
function withoutRings(plan: Plan, { descriptors }: Machine, lines: readonly string[]): Partial<Observation> {
  const bound = connectionsWith(portably(plan), descriptors.hard);
  return { bound, fails: plan.config.engine === 'uring', mend: lines, isAdvised: true };
}

function permission(machine: Machine, why: string): string {
  if (numberOf(machine, 'kernel.io_uring_disabled')) return sysctlLine('kernel.io_uring_disabled', 0);
  if (!/EPERM|EACCES/.test(why)) return 'boot another kernel, or live with engine: portable';
  return machine.isFiltered
    ? 'allow io_uring_setup, io_uring_enter and io_uring_register in the seccomp profile (SystemCallFilter= in a systemd unit)'
    : 'allow io_uring in the security module that forbids it';
}

function isNewEnough({ kernel }: Machine): boolean {
  const [major = 0, minor = 0] = kernel.split('.').map(Number.parseFloat);
  return major > KERNEL_NEEDED.major || (major === KERNEL_NEEDED.major && minor >= KERNEL_NEEDED.minor);
}

function lookAtLocks({ machine, plan }: Situation): Observation | null {
  if (plan.engine !== 'uring') return null;
  const bytes = lockedBytes(memoryOf(plan, 'uring', machine)) * plan.workers + LOCKED_BYTES_SPARE;
  const needed = `${sizeText(bytes)} with ${plan.workers} workers`;
  const { hard } = machine.lockedBytes;
  if (isExempt(plan, machine)) return { found: `${sizeText(hard)}, which does not count for this user`, needed };
  const found = `${sizeText(hard)}${hard < bytes * 2 ? '; a successor at an upgrade needs as much again' : ''}`;
  const mend = ['LimitMEMLOCK=infinity', 'ulimit -l unlimited'];
  if (bytes <= hard) return { found, needed, mend, isAdvised: hard < bytes * 2 };
  const observation = { found, needed, ...withoutRings(plan, machine, mend) };
  return { ...observation, fails: observation.fails || !mayFallBack(plan) };
}

/** Rings are set up last: who is root no more may not be able to begin again with another engine. */
function mayFallBack({ config: { user, group } }: Plan): boolean {
  return user === null && group === null;
}

/** Who may lock what he likes, or lifts the limit before he becomes somebody who may not. */
function isExempt({ config }: Plan, machine: Machine): boolean {
  return hasCapability(machine, config.user === null ? CAP_IPC_LOCK : CAP_SYS_RESOURCE);
}
